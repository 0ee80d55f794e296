"""Targets of the defence: T10, what an attacker on the link can do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address
from random import Random
from statistics import median

from bcast.datagram import Endpoint
from bcast.destinations import DEFAULT_GROUPS, DEFAULT_PORT
from bcast.device import Added, Removed
from bcast.discovery.prober import Prober
from bcast.messages import Announcement, Header, Probe, Query, Reply
from bcast.simnet import Lan, Link, Transmission
from bcast.wire import encode
from bcast.wire.layout import FULL_QUERY, QUERY_SIZE
from tests.bench.presence import memory_of, watched
from tests.bench.rows import Row
from tests.bench.simulated import QUERY, REPLY, Peer, Population, reference_service, undisturbed

__all__ = ["RATE", "Answers", "Flood", "forged_peers", "requests", "under_forged_peers"]

#: Datagrams a second that an attacker sends, in bunches so many seconds apart.
RATE = 5_000
_BUNCH = 0.01

_GROUP = Endpoint(DEFAULT_GROUPS[0].address, DEFAULT_PORT)
#: Sources of the segment (10.0.0.0/16) that no host has, and others that aren't on it.
_FORGED = [
    Endpoint(IPv4Address("10.0.128.0") + number, 40_000 + number % 97) for number in range(4_096)
]
_OFF_LINK = [Endpoint(IPv4Address("203.0.113.0") + number, 40_000) for number in range(256)]

#: A crowd of candidates makes a prober search anew after 10 s, at the most.
_PATIENCE = 12.0

#: Where id, epoch and nonce are in a datagram.
_ID, _EPOCH, _NONCE = slice(8, 24), slice(24, 28), slice(32, 40)
_NOBODY = Header(bytes(16), 0, 0)


class Flood:
    """Sends ``payload(random)`` from one of ``sources``, ``rate`` times a second."""

    def __init__(
        self,
        link: Link,
        lan: Lan,
        payload: Callable[[Random], bytes],
        to: Endpoint,
        *,
        sources: list[Endpoint],
        until: float,
        ttl: int = 255,
        rate: int = RATE,
    ) -> None:
        self.sent = 0
        random = Random(1)

        def bunch() -> None:
            for _ in range(int(rate * _BUNCH)):
                source = sources[random.randrange(len(sources))]
                link.send(payload(random), to, source=source, ttl=ttl)
                self.sent += 1
            if lan.now + _BUNCH < until:
                lan.at(lan.now + _BUNCH, bunch)

        bunch()


class Answers:
    """Compares every REPLY with what it answers, and counts them by the second."""

    def __init__(self) -> None:
        self._asked: dict[bytes, int] = {}
        self.ratio = 0.0
        self.by_second: Counter[int] = Counter()
        self.unasked = 0

    def observe(self, sent: Transmission) -> None:
        payload = sent.payload
        kind, nonce = payload[3], payload[_NONCE]
        if kind in (1, QUERY):
            self._asked[nonce] = len(payload)
        elif kind == REPLY:
            asked = self._asked.get(nonce)
            if asked is None:
                self.unasked += 1
                return
            self.ratio = max(self.ratio, len(payload) / asked)
            self.by_second[int(sent.time)] += 1

    @property
    def total(self) -> int:
        return sum(self.by_second.values())


def _with_id(template: bytes) -> Callable[[Random], bytes]:
    """The same from somebody else each time."""
    head, tail = template[: _ID.start], template[_EPOCH.stop :]
    return lambda random: head + random.randbytes(20) + tail


def _with_nonce(template: bytes) -> Callable[[Random], bytes]:
    """The same from somebody else each time, who asks something else."""
    head, middle = template[: _ID.start], template[_EPOCH.stop : _NONCE.start]
    tail = template[_NONCE.stop :]
    return lambda random: head + random.randbytes(20) + middle + random.randbytes(8) + tail


def requests(quick: bool = False) -> Iterator[Row]:
    """What forged questions make a peer send, and forged answers a prober show."""
    seconds = 2 if quick else 10
    probe = encode(Probe(_NOBODY, 0))
    late = encode(Probe(_NOBODY, 0, window=1_000))
    never = encode(Probe(_NOBODY, 0, window=65_535))
    query = encode(Query(_NOBODY, 0, 0, padding=FULL_QUERY - QUERY_SIZE))
    bare = encode(Query(_NOBODY, 0, 0))
    for what, template, unicast in (
        ("PROBEs", probe, False),
        ("PROBEs, window 1 s", late, False),
        ("PROBEs, window 65 s", never, False),
        ("QUERYs of 400 bytes", query, True),
        ("QUERYs of 48 bytes", bare, True),
    ):
        answers, _ = _flooded(template, unicast, seconds, _FORGED)
        most = max(answers.by_second.values(), default=0)
        yield Row(
            f"5,000 forged {what} a second at one peer, {seconds} s",
            "<= 3 x what it answers, <= 1,000/s + 500",
            f"{answers.ratio:.2f} x, {answers.total} replies, at most {most} a second",
            answers.ratio <= 3 and answers.total <= 1_000 * (seconds + 1) + 500,
        )
    for what, sources, ttl in (
        ("from off the link", _OFF_LINK, 255),
        ("from a router", _FORGED, 254),
    ):
        replies = sum(
            _flooded(template, unicast, 1, sources, ttl)[0].total
            for template, unicast in ((probe, False), (query, True))
        )
        yield Row(f"5,000 PROBEs, 5,000 QUERYs {what}", "no reply", f"{replies}", not replies)
    yield _unasked(seconds)


def _flooded(
    template: bytes, unicast: bool, seconds: int, sources: list[Endpoint], ttl: int = 255
) -> tuple[Answers, Peer]:
    population = Population(1, seed=1)
    answers = Answers()
    population.segment.observe(answers.observe)
    lan, [peer] = population.lan, population.peers
    attacker = lan.host("attacker").connect(population.segment)
    to = Endpoint(peer.link.address(), DEFAULT_PORT) if unicast else _GROUP
    until = lan.now + seconds
    Flood(attacker, lan, _with_nonce(template), to, sources=sources, until=until, ttl=ttl)
    lan.run(until + 1.0)
    return answers, peer


def _unasked(seconds: int) -> Row:
    population = Population(0, seed=1)
    lan = population.lan
    process = population.prober(watch=True)
    link = process.host.links[0]
    attacker = lan.host("attacker").connect(population.segment)
    template = encode(Reply(_NOBODY, 0, 1, 30, services=(reference_service(),)))
    own: list[Endpoint] = []
    population.segment.observe(lambda sent: own.append(sent.source) if not own else None)
    lan.run(lan.now + 1.0)
    until = lan.now + seconds
    flood = Flood(attacker, lan, _with_nonce(template), own[0], sources=_FORGED, until=until)
    lan.run(until + 1.0)
    prober = process.machine
    assert isinstance(prober, Prober)
    assert own[0].address == link.address()
    rejected = prober.statistics.rejected.get("unasked", 0)
    return Row(
        "5,000 unasked REPLYs a second at a prober",
        "none shown, all counted",
        f"{len(prober.devices)} shown, {rejected} of {flood.sent} counted",
        not prober.devices and rejected == flood.sent,
    )


def forged_peers(quick: bool = False) -> Iterator[Row]:
    """Forged announcements: neither do live peers go, nor are newcomers kept out."""
    count, seconds, newcomers = (50, 30, 5) if quick else (1_000, 600, 50)
    yield under_forged_peers(count, seconds, newcomers)


def under_forged_peers(count: int, seconds: int, newcomers: int, rate: int = RATE) -> Row:
    """A flood of forged ids on a watcher that knows ``count`` live peers."""
    population, process = watched(count, loss=0.0, interval=30)
    lan, segment, random = population.lan, population.segment, Random(1)
    prober = process.machine
    assert isinstance(prober, Prober)
    live = {device.id for device in prober.devices}
    assert len(live) == count
    before = memory_of(prober)
    answers = Answers()
    segment.observe(answers.observe)
    attacker = lan.host("attacker").connect(segment)
    template = encode(Announcement(_NOBODY, 1, 30, services=(reference_service(),)))
    began, until = lan.now, lan.now + seconds
    # Straight to the watcher: the others needn't hear it.
    target = Endpoint(process.host.links[0].address(), DEFAULT_PORT)
    payload = _with_id(template)
    flood = Flood(attacker, lan, payload, target, sources=_FORGED, until=until, rate=rate)
    started: dict[str, float] = {}

    def start(number: int) -> None:
        peer = population.newcomer(f"newcomer-{number}")
        started[peer.responder.id.hex()] = lan.now

    for number in range(newcomers):
        lan.at(began + random.uniform(0, seconds - _PATIENCE), partial(start, number))
    process.events.clear()
    most = before
    with undisturbed():
        while lan.now < until:
            lan.run(min(until, lan.now + seconds / 3))
            most = max(most, memory_of(prober))
    added = {event.device.id: time for time, event in process.events if isinstance(event, Added)}
    lost = sum(
        isinstance(event, Removed) and event.device.id in live for _, event in process.events
    )
    waits = [added[id] - then for id, then in started.items() if id in added]
    false = len(added.keys() - started.keys())
    queries = population.sent[QUERY]
    return Row(
        f"{flood.sent:,} forged ids in {seconds} s, {count:,} live, {newcomers} newcomers",
        "0 lost, all newcomers, no forged one, <= 3 x",
        f"{lost} lost, {len(waits)} admitted after {median(waits):.1f} ({max(waits):.1f}) s, "
        f"{false} forged, {answers.ratio:.2f} x, {queries} queries, "
        f"{before / 1_000:.0f} -> {most / 1_000:.0f} kB",
        not lost and len(waits) == newcomers and not false and answers.ratio <= 3,
    )
