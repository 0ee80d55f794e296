"""Targets of presence: T8, what it costs to be there, and to look after who is."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address
from random import Random
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT
from bcast.device import DeviceEvent, Removed, Suspect
from bcast.discovery.inquiries import Purpose
from bcast.discovery.responder import Responder
from bcast.simnet import Faults, Lan, Process, Transmission
from bcast.wire.layout import QUERY_SIZE
from tests.bench.rows import Row, spread
from tests.bench.simulated import QUERY, Peer, Population, reference_service, undisturbed

__all__ = ["dead_after", "deaths", "false_removals", "idle", "memory_of", "watched", "week"]

#: Seconds after which a watcher has found a thousand peers by their beats: fifty a second, again
#: and again if answers are lost.
_ACQUAINTED = 150.0
#: Bytes of IPv4 and UDP headers.
_HEADERS = 28
#: Bytes that a watcher keeps of a peer that is gone; of 4,096 at the most.
_GONE = 400
_HOUR = 3_600.0
_DAY = 24 * _HOUR


class _Counted(Responder):
    """Counts how often its driver wakes up for it."""

    wakes = 0

    def handle_timer(self, now: float) -> None:
        self.wakes += 1
        super().handle_timer(now)


def idle(quick: bool = False) -> Iterator[Row]:
    """An announcer to whom nobody talks."""
    minutes = 10 if quick else 60
    lan = Lan(1)
    host = lan.host("lamp")
    host.connect(lan.segment())
    responder = _Counted([reference_service()], random=host.random)
    host.run(responder, port=DEFAULT_PORT, groups=DEFAULT_GROUPS)
    lan.run(60.0)
    wakes, beats = responder.wakes, responder.statistics.beats
    lan.run(60.0 * (minutes + 1))
    wakes, beats = responder.wakes - wakes, responder.statistics.beats - beats
    yield Row(
        f"an announcer that nobody talks to, {minutes} min",
        "wakes up for its beats alone",
        f"{wakes / minutes:g} timers a minute, {wakes - beats} without a beat",
        wakes == beats,
    )


def watched(
    count: int, *, loss: float, interval: int, seed: int = 1
) -> tuple[Population, Process[DeviceEvent]]:
    """Peers whom nothing reaches but what is sent to them, and a watcher who knows them all."""
    population = Population(
        count, seed=seed, faults=Faults(loss), interval=interval, listens=False
    )
    watcher = population.prober(watch=True)
    with undisturbed():
        population.lan.run(population.began + _ACQUAINTED)
    return population, watcher


def deaths(quick: bool = False) -> Iterator[Row]:
    """How long it takes to see that a peer is dead."""
    count, dying = (100, 20) if quick else (1_000, 150)
    for interval, limit in ((30, 120.0), (5, 40.0)):
        for loss in (0.0, 0.1, 0.3):
            times, lost = dead_after(count, dying, loss=loss, interval=interval)
            yield Row(
                f"{dying} of {count:,} die, T = {interval} s, {loss:.0%} loss",
                f"seen <= {limit:.0f} s",
                f"{spread(times)} s, {dying - len(times)} unseen, {lost} others removed",
                max(times) <= limit and len(times) == dying and not lost,
            )


def dead_after(
    count: int, dying: int, *, loss: float, interval: int, seed: int = 1
) -> tuple[list[float], int]:
    """Seconds from each death to its removal, and how many of the living were removed."""
    population, watcher = watched(count, loss=loss, interval=interval, seed=seed)
    lan, random = population.lan, Random(seed)
    died: dict[str, float] = {}

    def kill(peer: Peer) -> None:
        died[peer.responder.id.hex()] = lan.now
        peer.process.host.stop()

    began = lan.now
    for peer in random.sample(population.peers, dying):
        lan.at(began + random.uniform(0, 4 * interval), partial(kill, peer))
    with undisturbed():
        lan.run(began + 4 * interval + 200.0)
    gone = [
        (time, event.device.id) for time, event in watcher.events if isinstance(event, Removed)
    ]
    return [time - died[id] for time, id in gone if id in died], sum(
        id not in died for _, id in gone
    )


class _Silences:
    """Counts the queries that ask a silent peer, by how many came before in the same matter."""

    def __init__(self, lan: Lan) -> None:
        self._lan = lan
        self._last: dict[IPv4Address, tuple[float, int]] = {}
        self.asked: Counter[int] = Counter()

    def observe(self, sent: Transmission) -> None:
        payload = sent.payload
        if payload[3] != QUERY or payload[QUERY_SIZE - 1] != Purpose.SILENCE:
            return
        address = sent.destination.address
        assert isinstance(address, IPv4Address)
        then, times = self._last.get(address, (-10.0, 0))
        times = times + 1 if sent.time - then < 1.5 else 1
        self._last[address] = sent.time, times
        self.asked[times] += 1


def false_removals(quick: bool = False) -> Iterator[Row]:
    """Whether the living are taken for dead, and what presence costs on the segment."""
    count = 100 if quick else 1_000
    for loss, hours in ((0.0, 1), (0.1, 4), (0.3, 8)):
        seconds = (0.5 if quick else hours) * _HOUR
        population, watcher = watched(count, loss=loss, interval=30)
        lan, segment = population.lan, population.segment
        silences = _Silences(lan)
        segment.observe(silences.observe)
        began, sent, datagrams = lan.now, segment.bytes, segment.datagrams
        removed = suspected = 0
        with undisturbed():
            while lan.now < began + seconds:
                watcher.events.clear()
                lan.run(lan.now + 600.0)
                removed += sum(isinstance(event, Removed) for _, event in watcher.events)
                suspected += sum(isinstance(event, Suspect) for _, event in watcher.events)
        each = (segment.bytes - sent) / seconds / count
        whole = each + (segment.datagrams - datagrams) * _HEADERS / seconds / count
        asked = silences.asked
        yield Row(
            f"{count:,} live peers, {seconds / _HOUR:g} h, {loss:.0%} loss",
            "<= 0.1 removed a day, <= 3.2 B/s a peer",
            f"{removed} removed, {asked[1]} asked, {suspected} suspected"
            f", up to {max(asked, default=0)} queries; {each:.2f} B/s ({whole:.2f} with IP, UDP)",
            not removed and whole <= 3.2,
        )


def week(quick: bool = False) -> Iterator[Row]:
    """Whether a watcher's memory stays flat while peers come and go."""
    count, interval, days = (50, 600, 1.0) if quick else (1_000, 600, 7.0)
    population, watcher = watched(count, loss=0.1, interval=interval)
    lan = population.lan
    began = lan.now
    peers = population.peers
    random = Random(1)
    sizes: list[int] = []
    events = restarts = 0
    with undisturbed():
        # Everybody has been heard, and those who went first are remembered, when a tenth is over.
        for step in range(1, 11):
            end = began + step * days / 10 * _DAY
            while lan.now < end:
                number = random.randrange(count)
                peers[number].process.stop()
                peers[number] = population.start(peers[number].link, listens=False)
                restarts += 1
                lan.run(min(end, lan.now + 600.0))
                events += len(watcher.events)
                watcher.events.clear()
            if step in (1, 10):
                sizes.append(memory_of(watcher.machine))
    growth = sizes[1] - sizes[0]
    bound = 0.02 * sizes[0] + _GONE * min(restarts, 4_096)
    known = len({one.responder.id.hex() for one in peers})
    yield Row(
        f"watch, {days:g} days, {count:,} peers, {restarts} restarts",
        "grows from 10 to 100 % by 2 % and 400 B for each gone",
        f"{sizes[0] / 1_000:.0f} kB, then {sizes[1] / 1_000:.0f} kB"
        f"; {known} peers, {events} events",
        growth <= bound,
    )


def memory_of(root: object) -> int:
    """Bytes of all that can be reached from an object, without code and types."""
    code = (type, ModuleType, FunctionType, BuiltinFunctionType)
    seen: dict[int, Any] = {id(root): root}
    left = [root]
    total = 0
    while left:
        one = left.pop()
        total += sys.getsizeof(one)
        for other in gc.get_referents(one):
            if id(other) not in seen and not isinstance(other, code):
                seen[id(other)] = other
                left.append(other)
    return total
