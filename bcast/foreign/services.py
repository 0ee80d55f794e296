"""Services that others find by DNS-SD (RFC 6763), as devices: attributed to interfaces, bounded.

Nothing here knows DNS: whoever does tells what it has seen of each service.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from bcast.datagram import Endpoint, Family, IPAddress, address_of
from bcast.destinations import MDNS
from bcast.device import Added, Cause, Changed, Device, DeviceEvent, Removed, Sighting
from bcast.discovery.rejection import Rejection
from bcast.errors import ArgumentError
from bcast.foreign.ends import End
from bcast.foreign.finder import FinderStatistics
from bcast.foreign.finds import MAX_DEVICES
from bcast.machine import Attached, Outgoing, Received
from bcast.messages import MAX_ATTRIBUTES, MAX_TYPE, Attributes

__all__ = ["PORT", "Seen", "Services", "check_service_type", "is_service_type"]

#: Where multicast DNS is spoken (RFC 6762, section 5).
PORT = 5353

# _ipp._tcp, or one kind of such: _printer._sub._http._tcp (RFC 6763, sections 7 and 7.1).
_TYPE = re.compile(r"(?:[a-z0-9_-]{1,63}\._sub\.)?_[a-z0-9-]{1,62}\._(?:tcp|udp)")

# Seconds in which who is asked has answered: a second question follows after one, and answers
# take a fraction of a second.
_PATIENCE = 1.6

# Seconds in which those who were known are asked anew three times: there are other interfaces.
_RENEWAL = 8.0

# Addresses of one service that are looked at: what a made-up one can make us keep.
_ADDRESSES = 16


class Seen(NamedTuple):
    """What is known of a service: all of it, each time.

    ``instance``: its full name (``Printer._ipp._tcp.local``), which tells it from all others.
    """

    instance: str
    name: str
    type: str
    port: int
    addresses: Sequence[IPAddress]
    attributes: Mapping[str, str]


class Services:
    """The services that are there, on any number of interfaces.

    ``since``: what Unix time it was when ``now`` was 0. ``max_devices``: more are refused and
    counted.
    """

    def __init__(self, *, since: float = 0.0, max_devices: int = MAX_DEVICES) -> None:
        self._since = since
        self._limit = max_devices
        self._events: deque[DeviceEvent] = deque()
        self._devices: dict[str, Device] = {}
        self._ends: dict[int, End] = {}
        self._families: dict[int, tuple[Family, ...]] = {}
        self._rejected: Counter[str] = Counter()
        self._questions = self._replies = 0
        self._calm: float | None = None
        self._is_asking = False
        # Who is still to be heard of since the interfaces changed, and until when.
        self._doubtful: set[str] = set()
        self._doubt: float | None = None

    # -- what is known ------------------------------------------------------------------------

    @property
    def devices(self) -> tuple[Device, ...]:
        """All that are there, as they are known now."""
        return tuple(self._devices.values())

    @property
    def statistics(self) -> FinderStatistics:
        """``probes`` are the questions, each counted once however often it is repeated."""
        rejected = dict(self._rejected)
        return FinderStatistics(self._questions, self._replies, len(self._devices), rejected)

    @property
    def quiet(self) -> bool:
        """Whether all was asked, and had time to be answered."""
        return self._is_asking and self._calm is None

    def next_event(self) -> DeviceEvent | None:
        return self._events.popleft() if self._events else None

    # -- what is told -------------------------------------------------------------------------

    def note_question(self, now: float) -> None:
        """Something more is asked, from now on."""
        self._questions += 1
        self._is_asking = True
        self._calm = now + _PATIENCE

    def note_failure(self) -> None:
        """Nothing can be asked: there is nothing to wait for."""
        self._is_asking = True
        self._calm = None

    def refuse(self, count: int = 1) -> None:
        """So many services were more than can be looked after."""
        self._rejected[Rejection.FULL] += count

    def see(self, seen: Seen, now: float) -> None:
        """Takes what is known of a service."""
        self._replies += 1
        sightings = self._sightings(seen, now)
        if not sightings:
            self._rejected[Rejection.OFF_LINK] += 1
            return
        before = self._devices.get(seen.instance)
        if before is None and len(self._devices) >= self._limit:
            self.refuse()
            return
        self._doubtful.discard(seen.instance)
        told = list(seen.attributes.items())[:MAX_ATTRIBUTES]
        device = self._devices[seen.instance] = Device(
            seen.instance,
            seen.name,
            seen.type,
            seen.port,
            Attributes(told),
            sightings,
            (MDNS,),
            1,
        )
        if before is None:
            self._events.append(Added(device))
        else:
            self._tell_change(before, device)

    def _sightings(self, seen: Seen, now: float) -> tuple[Sighting, ...]:
        """Where it can be reached on the links that there are, in the order of its addresses."""
        found: dict[tuple[int, IPAddress], Sighting] = {}
        time = round((self._since + now) * 1e9)
        for address in seen.addresses[:_ADDRESSES]:
            if (end := self._end_of(address)) is None:
                continue
            name, index = end.interface.name, end.index
            here = address_of(address.packed, name, index)
            found[index, here] = Sighting(name, index, here, PORT, MDNS, None, time)
        return tuple(found.values())

    def _end_of(self, address: IPAddress) -> End | None:
        """The interface whose link an address is on; None: no one, or it can't be told."""
        there = Endpoint(address, PORT)
        near = [
            end
            for end in self._ends.values()
            if address.version in self._families[end.index] and end.sources.is_on_link(there)
        ]
        if isinstance(address, IPv4Address):
            # Link-local addresses are on every link; whoever has such itself is nearer.
            within = [
                end
                for end in near
                if any(
                    one.family == Family.IPV4 and address in one.network
                    for one in end.interface.addresses
                )
            ]
            near = within or (near if len(near) == 1 else [])
        elif address.is_link_local:
            scope = address.scope_id
            if scope:
                near = [end for end in near if scope in (str(end.index), end.interface.name)]
            elif len(near) > 1:
                return None
        return near[0] if near else None

    def lose(self, instance: str, cause: Cause) -> None:
        """A service is gone: it said so, or isn't heard any more."""
        self._doubtful.discard(instance)
        if (device := self._devices.pop(instance, None)) is not None:
            self._events.append(Removed(device, cause))

    def _tell_change(self, before: Device, after: Device) -> None:
        changed = [
            name
            for name in ("name", "type", "port", "attributes")
            if getattr(before, name) != getattr(after, name)
        ]
        if _places(before) != _places(after):
            changed.append("sightings")
        if changed:
            self._events.append(Changed(after, tuple(changed)))

    # -- as a machine -------------------------------------------------------------------------

    @property
    def attached(self) -> tuple[tuple[End, tuple[Family, ...]], ...]:
        """The interfaces that there are now, with the families that are spoken there."""
        return tuple((end, self._families[index]) for index, end in self._ends.items())

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._ends = {attached.interface.index: End(attached) for attached in interfaces}
        self._families = {attached.interface.index: attached.families for attached in interfaces}
        for instance, device in list(self._devices.items()):
            left = tuple(one for one in device.sightings if one.index in self._ends)
            if not left:
                self.lose(instance, Cause.PATH)
            elif left != device.sightings:
                self._devices[instance] = shown = _seen_at(device, left)
                self._tell_change(device, shown)

    def renew(self, now: float) -> None:
        """All is asked anew, from now on: who isn't heard of any more is gone."""
        self._doubtful = set(self._devices)
        self._doubt = now + _RENEWAL if self._doubtful else None

    def receive_datagrams(self, received: Received, now: float) -> None:
        """There are none: somebody else has the sockets."""

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        return []

    def get_timer(self) -> float | None:
        return min((time for time in (self._calm, self._doubt) if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self._calm is not None and self._calm <= now:
            self._calm = None
        if self._doubt is not None and self._doubt <= now:
            self._doubt = None
            for instance in list(self._doubtful):
                self.lose(instance, Cause.SILENCE)


def is_service_type(type: str) -> bool:
    """Whether services can be of that type."""
    return len(type) <= MAX_TYPE and _TYPE.fullmatch(type) is not None


def check_service_type(type: str) -> str:
    """Returns ``type`` if services can be of it; raises `ArgumentError` otherwise."""
    if not is_service_type(type):
        stem = "_" + type.strip("_.").partition(".")[0]
        raise ArgumentError(
            f"{type!r} is no type of DNS-SD, in which {MDNS} finds services",
            f"they end in _tcp or _udp, like {stem}._tcp",
        )
    return type


def _places(device: Device) -> set[tuple[int, IPAddress]]:
    return {(one.index, one.address) for one in device.sightings}


def _seen_at(device: Device, sightings: tuple[Sighting, ...]) -> Device:
    from dataclasses import replace

    return replace(device, sightings=sightings)
