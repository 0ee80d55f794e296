"""The devices of one protocol, as far as their datagrams tell: joined, kept, given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from bcast.accessory.description import Identity
from bcast.accessory.template import Value
from bcast.datagram import Endpoint, Interface, IPAddress
from bcast.device import (
    Added,
    Cause,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Sighting,
    Suspect,
)
from bcast.discovery.rejection import Rejection
from bcast.messages import Attributes

__all__ = ["MAX_DEVICES", "Find", "Finds", "Heard", "text_of"]

#: Devices of one protocol: what a flood of made-up ids may take of memory.
MAX_DEVICES = 4_096

# Places that one device is heard at: what replies in its name from forged sources may take.
_SIGHTINGS = 16

# Seconds after which a place doesn't count any more where it wasn't heard, but elsewhere: a
# device that was given another address.
_PLACE = 120.0

# Sources whose messages wait for one that says whose they are, and messages of each.
_WAITING = 256
_PIECES = 4

# Texts of an attribute of which a device tells several.
_COLLECTED = 64

# Where a device is heard: the index of the interface, and the address.
_Place = tuple[int, IPAddress]


class Heard(NamedTuple):
    """One datagram of an accessory, taken apart.

    ``latency``: seconds since it was asked, None if it wasn't. ``asked``: which round of asking
    it answers, 0 if none. ``until``: the time when it is no longer good.
    """

    identity: Identity
    values: Mapping[str, Value]
    source: Endpoint
    interface: Interface
    time_ns: int
    latency: float | None
    asked: int
    until: float


class Find:
    """A device as it is known."""

    __slots__ = (
        "_collect",
        "_collected",
        "_rounds",
        "answered",
        "attributes",
        "deadline",
        "id",
        "name",
        "places",
        "port",
        "protocol",
        "suspect",
        "type",
        "values",
    )

    def __init__(self, id: str, protocol: str, collect: Collection[str]) -> None:
        self.id = id
        self.protocol = protocol
        self.name = self.type = ""
        self.port = 0
        self.attributes: dict[str, str] = {}
        #: All values that its messages had, for those that follow them up.
        self.values: dict[str, Value] = {}
        self.places: dict[_Place, Sighting] = {}
        self.answered = 0
        self.deadline = 0.0
        self.suspect = False
        self._rounds: set[int] = set()
        self._collect = collect
        self._collected: dict[str, dict[str, None]] = {}

    @property
    def device(self) -> Device:
        return Device(
            self.id,
            self.name,
            self.type,
            self.port,
            Attributes(self.attributes),
            tuple(self.places.values()),
            (self.protocol,),
            self.answered,
        )

    def learn(self, identity: Identity, values: Mapping[str, Value]) -> list[str]:
        """Takes in what a message says; returns the names of the fields that it changed."""
        changed = []
        for name, told in (
            ("name", identity.name),
            ("type", identity.type),
            ("port", identity.port),
        ):
            if told and getattr(self, name) != told:
                setattr(self, name, told)
                changed.append(name)
        before = dict(self.attributes)
        for key, value in identity.attributes.items():
            self.attributes[key] = self._text(key, value)
        if before != self.attributes:
            changed.append("attributes")
        self.values |= values
        return changed

    def _text(self, key: str, value: Value) -> str:
        if key not in self._collect:
            return text_of(value)
        texts = self._collected.setdefault(key, {})
        for one in value if isinstance(value, list) else [value]:
            if len(texts) < _COLLECTED:
                texts[text_of(one)] = None
        return ", ".join(texts)

    def see(self, heard: Heard) -> bool:
        """Notes where it was heard; returns whether that is a new place."""
        if heard.asked and heard.asked not in self._rounds:
            self._rounds = {*self._rounds, heard.asked} if len(self._rounds) < 64 else set()
            self.answered += 1
        place = heard.interface.index, heard.source.address
        before = self.places.get(place)
        latency = heard.latency
        if before is not None and before.latency is not None:
            latency = before.latency
        self.places[place] = Sighting(
            heard.interface.name,
            heard.interface.index,
            heard.source.address,
            heard.source.port,
            self.protocol,
            latency,
            heard.time_ns,
        )
        self.deadline = heard.until
        self.suspect = False
        return before is None


class Finds:
    """All devices of one protocol; what happens to them becomes events.

    ``collect``: attributes of which a device tells several.
    """

    def __init__(
        self,
        protocol: str,
        events: deque[DeviceEvent],
        *,
        collect: Collection[str] = (),
        limit: int = MAX_DEVICES,
    ) -> None:
        self._protocol = protocol
        self._events = events
        self._collect = collect
        self._limit = limit
        self._by_id: dict[str, Find] = {}
        self._by_place: dict[_Place, set[str]] = {}
        self._waiting: dict[_Place, list[Heard]] = {}

    def __iter__(self) -> Iterator[Find]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id: str) -> Find | None:
        """The device with that id."""
        return self._by_id.get(id)

    def at(self, place: _Place) -> Collection[str]:
        """The ids of those that are heard there."""
        return self._by_place.get(place, ())

    def take(self, heard: Heard) -> Find | Rejection | None:
        """Takes a message in: the device that it is of.

        None: it doesn't say which, and waits until another one from there does.
        """
        place = heard.interface.index, heard.source.address
        id = heard.identity.id
        if id is None:
            known = self._by_place.get(place, ())
            if len(known) > 1:
                return Rejection.CLAIM
            if not known:
                self._keep(place, heard)
                return None
            [id] = known
        find = self._by_id.get(id)
        if find is not None:
            self._tell_change(find, self._join(find, heard))
            return find
        if len(self._by_id) >= self._limit:
            return Rejection.FULL
        find = self._by_id[id] = Find(id, self._protocol, self._collect)
        self._join(find, heard)
        self._events.append(Added(find.device))
        return find

    def _join(self, find: Find, heard: Heard) -> list[str] | None:
        """Adds a message to a device, and those that waited for it; None if nothing is new."""
        was_suspect = find.suspect
        place = heard.interface.index, heard.source.address
        changed = []
        for earlier in self._waiting.pop(place, ()):
            changed += find.learn(earlier.identity, earlier.values)
        changed += find.learn(heard.identity, heard.values)
        if find.see(heard):
            changed.append("sightings")
            self._by_place.setdefault(place, set()).add(find.id)
            old = heard.time_ns - round(_PLACE * 1e9)
            for other, sighting in list(find.places.items()):
                if sighting.last_heard_ns < old or len(find.places) > _SIGHTINGS:
                    self._forget(find, other)
        return list(dict.fromkeys(changed)) if changed or was_suspect else None

    def _tell_change(self, find: Find, changed: list[str] | None) -> None:
        if changed is not None:
            self._events.append(Changed(find.device, tuple(changed)))

    def _keep(self, place: _Place, heard: Heard) -> None:
        if place not in self._waiting and len(self._waiting) >= _WAITING:
            del self._waiting[next(iter(self._waiting))]
        pieces = self._waiting.setdefault(place, [])
        if len(pieces) < _PIECES:
            pieces.append(heard)

    def leave(self, heard: Heard) -> Rejection | None:
        """A device says that it goes."""
        place = heard.interface.index, heard.source.address
        id = heard.identity.id
        if id is None:
            known = self._by_place.get(place, ())
            id = next(iter(known)) if len(known) == 1 else None
        find = None if id is None else self._by_id.get(id)
        if find is None:
            return None
        if place not in find.places:
            # Anybody could send others away in their name.
            return Rejection.CLAIM
        self._remove(find, Cause.GOODBYE)
        return None

    def lose(self, index: int) -> None:
        """An interface is gone, and all that was heard by it only."""
        for find in list(self._by_id.values()):
            gone = [place for place in find.places if place[0] == index]
            if gone and len(gone) == len(find.places):
                self._remove(find, Cause.PATH)
            elif gone:
                for place in gone:
                    self._forget(find, place)
                self._tell_change(find, ["sightings"])
        for place in [place for place in self._waiting if place[0] == index]:
            del self._waiting[place]

    def suspect(self, find: Find, deadline: float) -> None:
        """A device has been silent for too long, and has until then."""
        find.suspect = True
        find.deadline = deadline
        self._events.append(Suspect(find.device))

    def give_up(self, find: Find) -> None:
        """A device has been silent for too long."""
        self._remove(find, Cause.SILENCE)

    def _forget(self, find: Find, place: _Place) -> None:
        del find.places[place]
        ids = self._by_place[place]
        ids.discard(find.id)
        if not ids:
            del self._by_place[place]

    def _remove(self, find: Find, cause: Cause) -> None:
        del self._by_id[find.id]
        removed = find.device
        for place in list(find.places):
            self._forget(find, place)
        self._events.append(Removed(removed, cause))


def text_of(value: Value) -> str:
    """A value as attributes have it: text."""
    if isinstance(value, list):
        return ", ".join(map(text_of, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
