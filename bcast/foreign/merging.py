"""One row a device: what several protocols say of it, put together.

Two are the same device if they name the same hardware address or UUID. Failing that, if they are
heard at the same address of the same interface, each protocol has one device there, and they
don't name different hardware: several of one protocol at an address are a gateway's, or a test's,
and stay apart.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count

from bcast.datagram import IPAddress
from bcast.device import (
    Added,
    Cause,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Restarted,
    Suspect,
)
from bcast.messages import Attributes

__all__ = ["Merger"]

# Devices that share a name for hardware, at most; more of them share a mistake, or a flood.
_SHARING = 16

_MAC = re.compile(r"[0-9a-f]{2}([:-]?)[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}")
_UUID = re.compile(r"(?:urn:)?(?:uuid:)?([0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12})")
# What attributes are called that name the device itself, and not something that it knows.
_NAMING = frozenset(("mac", "uuid", "udn", "hardware_address", "deviceid"))
_NOBODY = frozenset(("0" * 12, "f" * 12, "0" * 32, "f" * 32))
_MAC_DIGITS = 12

# A device as one protocol knows it: the protocol and its id.
_Key = tuple[str, str]
_Place = tuple[int, IPAddress]


class _Row:
    """What is shown as one device."""

    __slots__ = ("id", "keys", "shown", "suspects")

    def __init__(self, id: str) -> None:
        self.id = id
        self.keys: tuple[_Key, ...] = ()
        #: As it was last told.
        self.shown: Device | None = None
        self.suspects: set[_Key] = set()


class Merger:
    """Takes the events of several searches, and gives those of their devices put together.

    ``merge``: False leaves all as they are heard, and only makes ids differ where they don't.
    """

    def __init__(self, *, merge: bool = True) -> None:
        self._merge = merge
        self._events: deque[DeviceEvent] = deque()
        self._members: dict[_Key, Device] = {}
        self._ages: dict[_Key, int] = {}
        self._count = count()
        self._rows: dict[_Row, None] = {}
        self._row_of: dict[_Key, _Row] = {}
        self._ids: set[str] = set()
        # By what a device may be known elsewhere: names of hardware, and places.
        self._names: dict[_Key, frozenset[str]] = {}
        self._named: dict[str, dict[_Key, None]] = {}
        self._where: dict[_Key, frozenset[_Place]] = {}
        self._there: dict[_Place, dict[str, dict[_Key, None]]] = {}

    @property
    def devices(self) -> tuple[Device, ...]:
        """All rows, as they are known now."""
        return tuple(map(self._put_together, self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def next_event(self) -> DeviceEvent | None:
        return self._events.popleft() if self._events else None

    def renew(self, devices: Iterable[Device]) -> None:
        """Takes devices as they are known now, where that makes no event: when they were heard."""
        for device in devices:
            key = _key(device)
            if key in self._members:
                self._members[key] = device

    def take(self, event: DeviceEvent) -> None:
        """Something happened to a device of one protocol."""
        device = event.device
        key = _key(device)
        if isinstance(event, Removed):
            if key in self._members:
                self._remove(key, event)
            return
        is_new = key not in self._members
        self._members[key] = device
        near = self._note(key, _names_of(device), _places_of(device)) if self._merge else {}
        if is_new:
            self._ages[key] = next(self._count)
        if is_new or near:
            self._arrange({**near, key: None})
        row = self._row_of[key]
        if isinstance(event, Suspect):
            row.suspects.add(key)
            if row.suspects.issuperset(row.keys):
                self._events.append(Suspect(self._put_together(row)))
            return
        was_suspect = row.suspects.issuperset(row.keys)
        row.suspects.discard(key)
        if isinstance(event, Restarted):
            row.shown = self._put_together(row)
            self._events.append(Restarted(row.shown))
        elif not is_new:
            self._tell_change(row, anyway=was_suspect)

    def _remove(self, key: _Key, event: Removed) -> None:
        row = self._row_of.pop(key)
        gone = self._put_together(row)
        near = self._note(key, frozenset(), frozenset())
        del self._members[key], self._ages[key]
        self._names.pop(key, None)
        self._where.pop(key, None)
        row.keys = tuple(other for other in row.keys if other != key)
        row.suspects.discard(key)
        if not row.keys:
            self._end(row)
            self._events.append(Removed(gone, event.cause))
        near.pop(key, None)
        self._arrange({**near, **dict.fromkeys(row.keys)})
        if row in self._rows:
            self._tell_change(row)

    def _end(self, row: _Row) -> None:
        del self._rows[row]
        self._ids.discard(row.id)

    # -- who belongs together -----------------------------------------------------------------

    def _note(
        self, key: _Key, names: frozenset[str], places: frozenset[_Place]
    ) -> dict[_Key, None]:
        """Notes by what a device may be known elsewhere; returns whom that may concern."""
        near: dict[_Key, None] = {}
        before = self._names.get(key, frozenset())
        self._names[key] = names
        for name in before ^ names:
            sharing = self._named.setdefault(name, {})
            near |= dict(list(sharing.items())[: _SHARING + 1])
            _toggle(sharing, key)
            if not sharing:
                del self._named[name]
        were = self._where.get(key, frozenset())
        self._where[key] = places
        if before != names:
            # Whether all at a place may be one follows from the names of all.
            for place in were & places:
                for others in self._there[place].values():
                    if len(others) == 1:
                        near |= others
        for place in were ^ places:
            protocols = self._there.setdefault(place, {})
            there = protocols.setdefault(key[0], {})
            _toggle(there, key)
            # One more or less of those that there are several of changes nothing.
            if len(there) <= 2:
                for others in protocols.values():
                    if len(others) <= 2:
                        near |= others
            if not there:
                del protocols[key[0]]
            if not protocols:
                del self._there[place]
        return near

    def _neighbours(self, key: _Key) -> Iterator[_Key]:
        """Who is the same device as far as these two alone tell."""
        for name in self._names.get(key, ()):
            sharing = self._named[name]
            if len(sharing) <= _SHARING:
                yield from sharing
        for place in self._where.get(key, ()):
            protocols = self._there[place]
            if all(len(keys) == 1 for keys in protocols.values()):
                others = [other for keys in protocols.values() for other in keys]
                if self._agree(others):
                    yield from others

    def _agree(self, keys: Iterable[_Key]) -> bool:
        """Whether no two of them name different hardware."""
        named: list[set[str]] = []
        for key in keys:
            addresses = {name for name in self._names[key] if len(name) == _MAC_DIGITS}
            if addresses:
                if any(addresses.isdisjoint(others) for others in named):
                    return False
                named.append(addresses)
        return True

    def _arrange(self, near: Iterable[_Key]) -> None:
        """Finds out anew who belongs together, among these and those that are with them."""
        rows: dict[_Row, None] = {}
        concerned: dict[_Key, None] = {}
        for key in near:
            if (row := self._row_of.get(key)) is not None:
                rows[row] = None
                concerned |= dict.fromkeys(row.keys)
            elif key in self._members:
                concerned[key] = None
        left = dict.fromkeys(sorted(concerned, key=self._ages.__getitem__))
        found: list[list[_Key]] = []
        while left:
            together = [next(iter(left))]
            del left[together[0]]
            for key in together:
                for other in self._neighbours(key):
                    if other in left:
                        del left[other]
                        together.append(other)
            found.append(sorted(together, key=self._ages.__getitem__))
        self._share_out(rows, found)

    def _share_out(self, rows: dict[_Row, None], found: list[list[_Key]]) -> None:
        """Gives those who belong together a row; the eldest keep the one that they have."""
        changed = []
        suspects = {key for row in rows for key in row.suspects}
        for keys in found:
            own = (self._row_of[key] for key in keys if key in self._row_of)
            row = next((row for row in own if row in rows), None)
            if row is None:
                row = self._new_row(keys[0])
            else:
                del rows[row]
            if row.keys != tuple(keys):
                changed.append((row, tuple(keys)))
        for row in rows:
            # All of its devices have another row now.
            if row in self._rows:
                self._end(row)
                if row.shown is not None:
                    self._events.append(Removed(row.shown, Cause.MERGED))
        for row, members in changed:
            row.keys = members
            row.suspects = suspects & set(members)
            self._row_of |= dict.fromkeys(members, row)
        for row, _ in changed:
            if row.shown is None:
                row.shown = self._put_together(row)
                self._events.append(Added(row.shown))
            else:
                self._tell_change(row)

    def _new_row(self, key: _Key) -> _Row:
        protocol, id = key
        if id in self._ids:
            id = f"{id}@{protocol}"
        for number in count(2):
            if id not in self._ids:
                break
            id = f"{key[1]}@{protocol}#{number}"
        self._ids.add(id)
        row = _Row(id)
        self._rows[row] = None
        return row

    def _tell_change(self, row: _Row, *, anyway: bool = False) -> None:
        before, row.shown = row.shown, self._put_together(row)
        assert before is not None
        changed = tuple(_differences(before, row.shown))
        if changed or anyway:
            self._events.append(Changed(row.shown, changed))

    def _put_together(self, row: _Row) -> Device:
        members = [self._members[key] for key in row.keys]
        if len(members) == 1:
            [device] = members
            return device if device.id == row.id else _renamed(device, row.id)
        # Native peers say what their makers wanted to say.
        members.sort(key=lambda device: device.protocols != ("bcast",))
        attributes: dict[str, str] = {}
        for device in members:
            attributes = {**device.attributes, **attributes}
        return Device(
            row.id,
            next((device.name for device in members if device.name), ""),
            next((device.type for device in members if device.type), ""),
            next((device.port for device in members if device.port), 0),
            Attributes(attributes),
            tuple(sighting for device in members for sighting in device.sightings),
            tuple(dict.fromkeys(name for device in members for name in device.protocols)),
            max(device.probes_answered for device in members),
        )


def _key(device: Device) -> _Key:
    return device.protocols[0], device.id


def _names_of(device: Device) -> frozenset[str]:
    """Names of its hardware: the digits of hardware addresses and UUIDs."""
    given = [device.id]
    for key, value in device.attributes.items():
        # What is called "id" may be made up in the form of a hardware address, as HomeKit does.
        if key.lower() in _NAMING or (key.lower() == "id" and not _MAC.fullmatch(value.lower())):
            given.append(value)
    found = set()
    for text in given:
        text = text.lower()
        if _MAC.fullmatch(text):
            found.add(text.replace(":", "").replace("-", ""))
        elif uuid := _UUID.fullmatch(text):
            found.add(uuid[1].replace("-", ""))
    return frozenset(found - _NOBODY)


def _places_of(device: Device) -> frozenset[_Place]:
    return frozenset((one.index, one.address) for one in device.sightings)


def _toggle(keys: dict[_Key, None], key: _Key) -> None:
    if key in keys:
        del keys[key]
    else:
        keys[key] = None


def _renamed(device: Device, id: str) -> Device:
    from dataclasses import replace

    return replace(device, id=id)


def _differences(before: Device, after: Device) -> Iterator[str]:
    """The names of the fields in which two differ, as `Changed` has them."""
    for name in ("name", "type", "port", "attributes", "protocols"):
        if getattr(before, name) != getattr(after, name):
            yield name
    if _heard(before) != _heard(after):
        yield "sightings"


def _heard(device: Device) -> list[tuple[int, str, str]]:
    """Where and how it is heard, without when."""
    return sorted((one.index, str(one.address), one.protocol) for one in device.sightings)
