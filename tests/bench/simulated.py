"""Peers that have been there for a while on a simulated LAN, and searches for them.

All under made-up time: what is measured depends on the seed, not on the machine it runs on. The
LAN's model is in ``docs/simnet.md``.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from random import Random
from typing import NamedTuple

from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT
from bcast.device import Added, DeviceEvent
from bcast.discovery.prober import DEFAULT_MAX_PEERS, Prober
from bcast.discovery.responder import Responder, ResponderEvent
from bcast.discovery.schedule import BEATS_PER_SECOND, SHORTEST_INTERVAL
from bcast.discovery.search import Opening
from bcast.machine import Attached
from bcast.messages import Service
from bcast.simnet import Faults, Lan, Link, Process, Transmission, WifiMode
from bcast.wire import Decoder

__all__ = [
    "BUFFER",
    "DRAIN",
    "LARGE_BUFFER",
    "MANY",
    "QUERY",
    "REPLY",
    "Outcome",
    "Peer",
    "Population",
    "reference_service",
    "undisturbed",
]

#: Bytes of receive buffer that Linux grants to everybody, and to those who may have 2 MiB of it.
BUFFER = 425_984
LARGE_BUFFER = 2 * 1024 * 1024
#: Datagrams that a prober reads a second.
DRAIN = 20_000.0

#: The types of messages, as the fourth byte of a datagram has them.
PROBE, REPLY, ANNOUNCE, BEAT, GOODBYE, QUERY = range(1, 7)
_OF_A_SEARCH = (PROBE, REPLY, QUERY)
_TYPE = 3

#: Announcements are over so many seconds after a peer's start.
_ANNOUNCED = 4.0
#: From so many peers on, nobody listens any more once all have been found: they would only look
#: themselves up in the filter. Twenty milliseconds are for what is under way then.
MANY = 1_000
_UNDER_WAY = 0.02
#: Searches begin at random within so many seconds: the time between an access point's beacons.
_PHASES = 0.1


def reference_service(number: int = 1) -> Service:
    """The one that sizes are compared with: 110 bytes as a field, a REPLY of 158."""
    attributes = {
        "fw": "1.4.2",
        "model": "LX-20",
        "serial": "AB12CD34",
        "room": "kitchen",
        "caps": "dim,rgb",
        "channel": "7",
    }
    return Service(f"lamp-{number:011d}", "_lamp._dev-v1", 80, attributes)


class Peer(NamedTuple):
    """A peer, its process and its link."""

    responder: Responder
    process: Process[ResponderEvent]
    link: Link


class Outcome(NamedTuple):
    """What one prober found among ``peers``: the seconds from its start to each.

    ``datagrams``: PROBEs, REPLYs and QUERYs that were sent because of it and of the probers that
    began with it, for each of these. ``drops``: what its receive buffer had no room for.
    """

    peers: int
    times: tuple[float, ...]
    datagrams: float
    drops: int
    prober: Prober

    def time(self, share: float = 1.0) -> float:
        """Seconds until this share of all peers was found; infinite if it never was."""
        needed = max(1, ceil(self.peers * share - 1e-9))
        return self.times[needed - 1] if len(self.times) >= needed else float("inf")

    def missing(self, after: float) -> int:
        """How many weren't found within so many seconds."""
        return self.peers - sum(time <= after for time in self.times)

    def over_bound(self, loss: float) -> float:
        """The datagrams, as a multiple of what can't be avoided.

        That is one PROBE, and of each peer so many REPLYs that one gets through.
        """
        return self.datagrams / (1 + self.peers / (1 - loss))


class Population:
    """``count`` peers on one segment, whose announcements are over and who beat now and then.

    ``interval``: of their beats; None: what so many peers would choose. ``listens``: whether
    anything that goes to groups reaches them. Faults begin when it is made.
    """

    def __init__(
        self,
        count: int,
        *,
        seed: int,
        faults: Faults | None = None,
        wifi: WifiMode | None = None,
        interval: int | None = None,
        listens: bool = True,
        trace: int | None = None,
    ) -> None:
        self.seed = seed
        self.lan = Lan(seed, trace=trace)
        self.segment = self.lan.segment(wifi=wifi)
        self.decode = Decoder().decode
        self.listens = listens
        self.interval = interval or max(SHORTEST_INTERVAL, ceil(count / BEATS_PER_SECOND))
        #: How many datagrams of each type were sent, and the bytes of the largest one.
        self.sent: Counter[int] = Counter()
        self.largest = 0
        self.segment.observe(self._observe)
        self.lan.run(_ANNOUNCED + self.interval)
        self.peers = [self._settle(number) for number in range(count)]
        self.segment.faults = faults or Faults()
        self.began = self.lan.now

    def _observe(self, sent: Transmission) -> None:
        payload = sent.payload
        if len(payload) > _TYPE:
            self.sent[payload[_TYPE]] += 1
        if len(payload) > self.largest:
            self.largest = len(payload)

    def _settle(self, number: int) -> Peer:
        """A peer that has been there since the LAN began, although nobody has heard it yet."""
        host = self.lan.host(f"peer-{number}")
        link = host.connect(self.segment)
        responder = Responder(
            [reference_service(number)],
            random=host.random,
            interval=self.interval,
            decode=self.decode,
        )
        families = tuple(address.family for address in link.interface.addresses)
        responder.interfaces_changed([Attached(link.interface, families, 512)], 0.0)
        while (due := responder.get_timer()) is not None and due <= self.lan.now:
            responder.handle_timer(due)
            responder.datagrams_to_send(due)
        process = host.run(
            responder, port=DEFAULT_PORT, groups=DEFAULT_GROUPS, listens=self.listens
        )
        return Peer(responder, process, link)

    def newcomer(self, name: str, *, listens: bool = True, interval: int | None = None) -> Peer:
        """A peer that starts now, with announcements."""
        host = self.lan.host(name)
        link = host.connect(self.segment)
        return self.start(link, listens=listens, interval=interval)

    def start(self, link: Link, *, listens: bool = True, interval: int | None = None) -> Peer:
        """Starts a peer, another one each time, on the host of a link."""
        responder = Responder(
            [reference_service()],
            random=link.host.random,
            interval=interval or self.interval,
            decode=self.decode,
        )
        process = link.host.run(
            responder, port=DEFAULT_PORT, groups=DEFAULT_GROUPS, listens=listens
        )
        return Peer(responder, process, link)

    def prober(
        self,
        name: str = "prober",
        *,
        opening: Opening = Opening.AUTO,
        buffer: int = BUFFER,
        drain: float = DRAIN,
        watch: bool = False,
        expected: int = 0,
    ) -> Process[DeviceEvent]:
        """Starts a prober."""
        host = self.lan.host(name)
        host.connect(self.segment, buffer=buffer, drain=drain)
        prober = Prober(
            random=host.random,
            opening=opening,
            watch=watch,
            expected=expected,
            max_peers=max(DEFAULT_MAX_PEERS, 2 * len(self.peers)),
            decode=self.decode,
        )
        return host.run(prober, port=DEFAULT_PORT, groups=DEFAULT_GROUPS)

    def search(
        self,
        opening: Opening = Opening.AUTO,
        *,
        buffer: int = BUFFER,
        drain: float = DRAIN,
        probers: int = 1,
        seconds: float = 5.0,
    ) -> list[Outcome]:
        """What ``probers`` that start now have found when ``seconds`` are over."""
        lan, count = self.lan, len(self.peers)
        # At any time between two beacons of an access point.
        lan.run(lan.now + _PHASES * Random(self.seed).random())
        before = Counter(self.sent)
        began = lan.now
        expected = count if opening is Opening.CACHED else 0
        running = [
            self.prober(
                f"prober-{number}",
                opening=opening,
                buffer=buffer,
                drain=drain,
                expected=expected,
            )
            for number in range(probers)
        ]
        with undisturbed():
            if count >= MANY:
                wanted = probers * count
                lan.run_until(
                    lambda: sum(len(one.events) for one in running) >= wanted, began + seconds
                )
                lan.run(min(lan.now + _UNDER_WAY, began + seconds))
                if all(_found(one, began, count) for one in running):
                    self.segment.faults = Faults(loss=1.0)
            lan.run(began + seconds)
        sent = sum(self.sent[kind] - before[kind] for kind in _OF_A_SEARCH)
        outcomes = []
        for process in running:
            times = tuple(
                time - began for time, event in process.events if isinstance(event, Added)
            )
            prober = process.machine
            assert isinstance(prober, Prober)
            outcomes.append(Outcome(count, times, sent / probers, process.drops, prober))
        return outcomes


def _found(process: Process[DeviceEvent], began: float, count: int) -> bool:
    return sum(isinstance(event, Added) for _, event in process.events) >= count


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the collector, which would look through all peers again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
