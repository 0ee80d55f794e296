"""Who is known: verified peers, and in a pool of their own those that only say that they exist.

Whatever comes by group may be forged, in any number. It must neither push out who is really
there nor keep out who comes next; so a peer is only shown when it has answered a question of
ours, and never evicted while it lives.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator, Sequence
from itertools import count
from random import Random
from typing import NamedTuple

from bcast.datagram import Endpoint, Family, Interface, IPAddress
from bcast.device import (
    Added,
    Cause,
    Changed,
    Device,
    DeviceEvent,
    Removed,
    Restarted,
    Sighting,
)
from bcast.messages import Service
from bcast.wire.filters import entry
from bcast.wire.hashes import id64

__all__ = ["Candidate", "Candidates", "Path", "Peer", "PeerTable"]

# Candidates of one source address: a forger with one address doesn't fill the pool.
_PER_SOURCE = 64

# Candidates that are looked at to find one of the source that has most.
_CHOICES = 8

# Peers that said goodbye, or were found to be gone, whose late datagrams must not revive them.
_TOMBSTONES = 4096

# Sequence numbers are u32, and so many of the last are told apart.
_SERIAL = 0xFFFF_FFFF
_WINDOW = 64

_PROTOCOLS = ("bcast",)

# The fields of a device that it says itself.
_OFFERED = ("name", "type", "port", "attributes")

# Epochs of a peer that ended: whoever still speaks as one of them is stale, or another one.
_PAST_EPOCHS = 4


class Path:
    """A way to a peer that it has answered by: one for each interface and family."""

    __slots__ = ("_seen", "endpoint", "interface", "latency", "sequence", "time_ns")

    def __init__(self, interface: Interface, endpoint: Endpoint, sequence: int) -> None:
        self.interface = interface
        self.endpoint = endpoint
        self.latency: float | None = None
        self.time_ns = 0
        self.restart_window(sequence)

    def restart_window(self, sequence: int) -> None:
        """Counts from here: this datagram is known to be new."""
        self.sequence = sequence
        self._seen = 1

    def accepts(self, sequence: int) -> bool:
        """Whether a datagram is none of the last 64, nor older; then it is one of them."""
        # Serial number arithmetic (RFC 1982); the window is that of RFC 4303, section 3.4.3.
        ahead = (sequence - self.sequence) & _SERIAL
        if ahead <= _SERIAL >> 1:
            if not ahead:
                return False
            self._seen = (self._seen << min(ahead, _WINDOW) | 1) & ((1 << _WINDOW) - 1)
            self.sequence = sequence
            return True
        bit = 1 << min((self.sequence - sequence) & _SERIAL, _WINDOW)
        if bit >> _WINDOW or self._seen & bit:
            return False
        self._seen |= bit
        return True


class Peer:
    """A peer that has answered: its paths, its services, and when it was heard where."""

    def __init__(self, id: bytes, epoch: int, sequence: int = 0) -> None:
        self.id = id
        self.id64 = id64(id)
        self.epoch = epoch
        self.past_epochs: tuple[int, ...] = ()
        self.sequence = sequence
        #: What stands for it in filters.
        self.entry = 0
        #: The version of the state that is known; None before one is.
        self.version: int | None = None
        #: What it offers of what is looked for, by the number of the device.
        self.offers: dict[int, Service] = {}
        #: Parts of a version that isn't complete yet.
        self.parts: dict[int, tuple[Service, ...]] = {}
        #: The version that they are of, and how many it has.
        self.parts_of = (0, 0)
        self.interval = 0.0
        self.paths: dict[tuple[int, Family], Path] = {}
        #: When it was last heard on each interface, and when the last beat came, by index.
        self.heard: dict[int, float] = {}
        self.beats: dict[int, float] = {}
        self.last_nonce = 0
        self.probes_answered = 0
        #: It has started anew, and what it offers now isn't known yet.
        self.restarted = False
        #: It was said to be silent.
        self.suspect = False
        #: Who answers in its name from elsewhere, or as of another start: interface and endpoint.
        self.claimant: tuple[int, Endpoint] | None = None
        #: It doesn't contradict whoever that is.
        self.yields = False
        #: The round of the search that found it, from 1; 0 if it wasn't a search.
        self.found_in = 0

    def begin_epoch(self, epoch: int, sequence: int = 0) -> None:
        """It has started anew: all it said before is void, except that it exists."""
        self.past_epochs = (self.epoch, *self.past_epochs)[:_PAST_EPOCHS]
        self.epoch = epoch
        self.sequence = sequence
        self.version = None
        self.parts = {}
        self.restarted = True
        self.yields = False
        self.paths.clear()
        self.heard.clear()
        self.beats.clear()

    def note_answer(self, version: int, sequence: int) -> None:
        """It has answered, in this version of its state: that is what filters say is known."""
        self.entry = entry(self.id64, self.epoch, version)
        self.note_sequence(sequence)

    def note_sequence(self, sequence: int) -> None:
        """It has said so much in this epoch."""
        if (sequence - self.sequence) & _SERIAL <= _SERIAL >> 1:
            self.sequence = sequence

    def path(self, index: int) -> Path | None:
        """A path on an interface, IPv4 first."""
        for family in (Family.IPV4, Family.IPV6):
            path = self.paths.get((index, family))
            if path is not None:
                return path
        return None

    def drop_paths(self, index: int) -> bool:
        """Forgets an interface; returns whether it was heard there."""
        for key in [key for key in self.paths if key[0] == index]:
            del self.paths[key]
        self.beats.pop(index, None)
        return self.heard.pop(index, None) is not None

    # -- what is shown of it ------------------------------------------------------------------

    @property
    def sightings(self) -> tuple[Sighting, ...]:
        paths = self.paths
        return tuple(
            [_sighting(paths[key]) for key in (sorted(paths) if len(paths) > 1 else paths)]
        )

    @property
    def devices(self) -> tuple[Device, ...]:
        """What it offers now, as devices with the sightings there are now."""
        id = self.id.hex()
        sightings = self.sightings
        return tuple(
            [
                Device(
                    f"{id}/{number}" if number else id,
                    offer.name,
                    offer.type,
                    offer.port,
                    offer.attributes,
                    sightings,
                    _PROTOCOLS,
                    self.probes_answered,
                )
                for number, offer in self.offers.items()
            ]
        )

    def offer(self, services: Sequence[Service]) -> list[DeviceEvent]:
        """Takes what it offers now; returns what that changes.

        A device stays the same as long as its type and name do, or else its type and place.
        """
        if not self.offers and not self.restarted:
            self.offers = dict(enumerate(services))
            return [Added(device) for device in self.devices]
        before = dict(zip(self.offers, self.devices, strict=True))
        left = list(services)
        now: dict[int, Service] = {}
        for likeness in (_same_name, _same_type):
            for number, old in self.offers.items():
                match = next((s for s in left if number not in now and likeness(s, old)), None)
                if match is not None:
                    now[number] = match
                    left.remove(match)
        for service in left:
            now[next(n for n in count() if n not in now and n not in before)] = service
        self.offers = dict(sorted(now.items()))
        events: list[DeviceEvent] = [
            Removed(old, Cause.GOODBYE) for number, old in before.items() if number not in now
        ]
        for number, device in zip(self.offers, self.devices, strict=True):
            was = before.get(number)
            if was is None:
                events.append(Added(device))
                continue
            if self.restarted:
                events.append(Restarted(device))
            changed = tuple(n for n in _OFFERED if getattr(was, n) != getattr(device, n))
            if changed:
                events.append(Changed(device, changed))
        self.restarted = False
        return events


def _sighting(path: Path) -> Sighting:
    interface, endpoint = path.interface, path.endpoint
    return Sighting(
        interface.name,
        interface.index,
        endpoint.address,
        endpoint.port,
        "bcast",
        path.latency,
        path.time_ns,
    )


def _same_name(one: Service, other: Service) -> bool:
    return one.type == other.type and one.name == other.name


def _same_type(one: Service, other: Service) -> bool:
    return one.type == other.type


class PeerTable:
    """The verified peers, at most ``limit``: then newcomers are refused and counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._peers: dict[bytes, Peer] = {}
        self._gone: OrderedDict[tuple[bytes, int], int] = OrderedDict()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def get(self, id: bytes) -> Peer | None:
        return self._peers.get(id)

    def add(self, id: bytes, epoch: int, sequence: int = 0) -> Peer | None:
        """A new peer, or None if there is no room for one."""
        if len(self._peers) >= self._limit:
            self.refused += 1
            return None
        peer = self._peers[id] = Peer(id, epoch, sequence)
        return peer

    def remove(self, peer: Peer) -> None:
        """Forgets a peer, except that what it said up to now is no sign of life."""
        del self._peers[peer.id]
        self._gone[peer.id, peer.epoch] = peer.sequence
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    def is_stale(self, id: bytes, epoch: int, sequence: int) -> bool:
        """Whether a peer that is gone by now said this before it went."""
        last = self._gone.get((id, epoch))
        # Serial number arithmetic (RFC 1982): sequence numbers wrap around.
        return last is not None and (sequence - last - 1) & _SERIAL > _SERIAL >> 1


class Candidate(NamedTuple):
    """Somebody said by group, from there, that a peer exists. It may be a lie."""

    id: bytes
    epoch: int
    interface: int
    source: Endpoint


class Candidates:
    """Those that are to be asked whether they exist: at most ``limit``, in turn by source."""

    def __init__(self, limit: int, random: Random) -> None:
        self._limit = max(1, limit)
        self._random = random
        self._by_source: OrderedDict[IPAddress, list[Candidate]] = OrderedDict()
        self._known: dict[Candidate, int] = {}
        self._order: list[Candidate] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, candidate: Candidate) -> bool:
        """Takes one in; returns whether another had to go, one of a busy source."""
        if candidate in self._known:
            return False
        count = len(self._order)
        mine = self._by_source.get(candidate.source.address)
        if mine is not None and len(mine) >= _PER_SOURCE:
            self.discard(mine[int(self._random.random() * len(mine))])
        elif len(self._order) >= self._limit:
            choices = (self._order[self._pick()] for _ in range(_CHOICES))
            self.discard(max(choices, key=lambda c: len(self._by_source[c.source.address])))
        self._by_source.setdefault(candidate.source.address, []).append(candidate)
        self._known[candidate] = len(self._order)
        self._order.append(candidate)
        return len(self._order) == count

    def _pick(self) -> int:
        return int(self._random.random() * len(self._order))

    def discard(self, candidate: Candidate) -> None:
        position = self._known.pop(candidate, None)
        if position is None:
            return
        last = self._order.pop()
        if position < len(self._order):
            self._order[position] = last
            self._known[last] = position
        address = candidate.source.address
        mine = self._by_source[address]
        mine.remove(candidate)
        if not mine:
            del self._by_source[address]

    def take(self, busy: Container[IPAddress]) -> Candidate | None:
        """One of the next source that isn't ``busy`` being asked already."""
        for address, mine in self._by_source.items():
            if address not in busy:
                candidate = mine[int(self._random.random() * len(mine))]
                # Its source goes to the end of the queue.
                self._by_source.move_to_end(address)
                return candidate
        return None

    def has_one(self, busy: Container[IPAddress]) -> bool:
        """Whether `take` would return one."""
        return any(address not in busy for address in self._by_source)

    def drop_interface(self, index: int) -> None:
        """Forgets all that were heard on an interface."""
        for candidate in [c for c in self._order if c.interface == index]:
            self.discard(candidate)
