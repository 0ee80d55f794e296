"""What a responder says unasked, and whom it takes for itself; then its whole life."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from bcast.datagram import Datagram, Endpoint, Family
from bcast.discovery.rejection import Rejection
from bcast.discovery.responder import MAX_CONFLICTS, Conflict
from bcast.domain import Domain
from bcast.errors import ArgumentError
from bcast.machine import Attached, Outgoing
from bcast.messages import (
    Announcement,
    Beat,
    Goodbye,
    Header,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import MAX_DATAGRAM, decode, encode
from bcast.wire.hashes import realm_hash
from tests.machines import (
    BOTH,
    ETH,
    GROUP,
    GROUP6,
    KEYS,
    LAMP,
    OTHER,
    SOURCE,
    WLAN,
    ask,
    attached,
    datagram,
    header,
    hear,
    interface,
    large,
    probe,
    replies,
    responder,
    run,
    said,
    services,
)

# --- presence


def kinds(sent: Iterable[tuple[float, Outgoing]]) -> list[tuple[str, int, Endpoint]]:
    return [
        (type(decode(one.payload)).__name__, one.interface, one.destination) for _, one in sent
    ]


def test_a_peer_announces_itself_everywhere_and_beats_on_one_family() -> None:
    made = responder(on=attached(ETH, OTHER), interval=10)
    sent = run(made, 30.0)
    everywhere = [(index, group) for index in (2, 3) for group in (GROUP, GROUP6)]
    announced = [(i, to) for kind, i, to in kinds(sent) if kind == "Announcement"]
    assert sorted(announced, key=str) == sorted(everywhere * 3, key=str)
    beats = [(i, to) for kind, i, to in kinds(sent) if kind == "Beat"]
    assert beats == [(2, GROUP), (3, GROUP)] * (len(beats) // 2)
    first = decode(sent[0][1].payload)
    assert first == Announcement(Header(made.id, made.epoch, 0), 1, 10, 0, 1, (LAMP,))
    beat = said(one for _, one in sent)[-1]
    assert isinstance(beat, Beat)
    assert (beat.version, beat.interval, beat.offered) == (1, 10, 1)
    assert [one.header.sequence for one in said(o for _, o in sent)] == list(range(len(sent)))


def test_between_beats_an_idle_peer_doesnt_wake_up() -> None:
    made = responder(interval=30)
    run(made, 40.0)
    wakings = 0
    while (now := made.get_timer()) is not None and now < 1_000:
        made.handle_timer(now)
        assert len(made.datagrams_to_send(now)) == 1
        wakings += 1
    assert wakings == 32
    before = made.get_timer()
    made.handle_timer(1_000.0)
    assert made.datagrams_to_send(1_000.0) == [], "early does nothing"
    assert made.get_timer() == before


def test_a_new_state_is_announced_and_told() -> None:
    made = responder()
    run(made, 10.0)
    made.offer([Service("lamp-1", "_lamp", 81)], 10.0)
    sent = [decode(one.payload) for _, one in run(made, 14.0)]
    assert [one.version for one in sent if isinstance(one, Announcement)] == [2] * 6
    [reply] = replies(ask(made, 14.0, probe()))
    assert (reply.version, reply.services[0].port) == (2, 81)
    with pytest.raises(ArgumentError):
        made.offer(large(33), 15.0)
    assert made.version == 2


def test_what_is_new_is_announced_there_and_nowhere_else() -> None:
    made = responder(on=attached(ETH, families=(Family.IPV4,)))
    run(made, 20.0)
    four = attached(ETH, families=(Family.IPV4,))
    steps = [
        (attached(ETH), [(2, GROUP6)]),
        ([*attached(ETH), *attached(interface(3))], [(3, GROUP), (3, GROUP6)]),
        (four, []),
        (attached(ETH), [(2, GROUP6)]),
        (attached(ETH), []),
        ([], []),
        (four, [(2, GROUP)]),
    ]
    now = 20.0
    for interfaces, places in steps:
        made.interfaces_changed(interfaces, now)
        assert (made.get_timer() is None) == (not interfaces)
        sent = kinds(run(made, now + 4))
        now += 4
        assert [(i, to) for kind, i, to in sent if kind == "Announcement"] == places * 3
    assert "Beat" in [kind for kind, _, _ in kinds(run(made, now + 60))]


def test_what_is_owed_on_an_interface_that_went_is_not_sent() -> None:
    made = responder(on=attached(ETH, interface(3)))
    hear(made, 0.0, datagram(probe(window=60_000)))
    hear(made, 0.0, datagram(probe(nonce=2, who=2)))
    made.interfaces_changed(attached(OTHER), 0.0)
    assert made.datagrams_to_send(0.0) == []
    assert {one.interface for _, one in run(made, 70.0)} == {3}
    assert made.statistics.replies == 1


def test_a_peer_that_leaves_says_goodbye_and_nothing_else() -> None:
    made = responder(on=attached(ETH, interface(3)))
    run(made, 10.0)
    hear(made, 10.0, datagram(probe(window=60_000)))
    made.leave(10.0)
    assert not made.finished
    hear(made, 10.0, datagram(probe(nonce=2)))
    sent = [(10.0, one) for one in made.datagrams_to_send(10.0)]
    assert not made.finished
    made.leave(10.05)
    sent += run(made, 1e6)
    assert [round(time, 3) for time, _ in sent] == [10.0] * 4 + [10.1] * 4 + [10.3] * 4
    everywhere = {("Goodbye", i, group) for i in (2, 3) for group in (GROUP, GROUP6)}
    assert set(kinds(sent)) == everywhere
    [last] = {one.header.sequence for one in said([sent[-1][1]])}
    assert last == sum(
        (made.statistics.announcements, made.statistics.beats, made.statistics.goodbyes, -1)
    )
    assert made.finished
    assert made.get_timer() is None
    made.interfaces_changed(attached(interface(4)), 11.0)
    assert made.get_timer() is None
    with pytest.raises(ArgumentError, match="has said goodbye"):
        made.offer([], 11.0)


def test_a_peer_without_an_interface_has_left_at_once() -> None:
    made = responder(on=())
    assert made.get_timer() is None
    made.leave(0.0)
    assert made.finished


def test_a_peer_has_left_when_its_last_goodbye_was_fetched() -> None:
    made = responder()
    made.leave(0.0)
    made.handle_timer(5.0)
    assert made.get_timer() is None
    assert not made.finished
    assert made.datagrams_to_send(5.0)
    assert made.finished


def test_a_peer_whose_interfaces_go_while_it_leaves_has_left() -> None:
    made = responder()
    made.leave(0.0)
    made.interfaces_changed([], 0.05)
    assert made.finished


def announcements(count: int, seed: int = 9) -> list[Datagram]:
    random = Random(seed)
    return [datagram(Beat(Header(random.randbytes(16), 1, 1), 1, 30, 1)) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "least", "most"), [(300, 30, 30), (3_000, 91, 100), (20_000, 606, 760)]
)
def test_beats_are_never_more_than_33_a_second_on_a_segment(
    count: int, least: int, most: int
) -> None:
    made = responder(on=attached(ETH, interface(3)))
    hear(made, 1.0, *announcements(count))
    run(made, 40.0)
    assert least <= made.interval <= most
    [reply] = replies(ask(made, 40.0, probe()))
    assert reply.interval == made.interval


def test_those_that_left_are_no_longer_counted() -> None:
    made = responder()
    hear(made, 1.0, *announcements(3_000))
    run(made, 2_000.0)
    assert made.interval == 30


def test_strangers_dont_slow_the_beats_of_those_who_have_a_key() -> None:
    made = responder(domain=Domain(keyring=KEYS))
    hear(made, 1.0, *announcements(3_000))
    run(made, 40.0)
    assert made.interval == 30


# --- ids


def test_own_datagrams_that_loop_back_are_known_on_any_interface() -> None:
    other = interface(3)
    made = responder(on=attached(ETH, other), interval=5)
    for now, one in run(made, 30.0):
        for on in (ETH, other):
            source = Endpoint(on.addresses[0].address, 50_000)
            hear(made, now, datagram(one.payload, source=source, on=on))
    assert made.datagrams_to_send(30.0) == []
    assert set(made.statistics.rejected) == {Rejection.OWN}
    assert made.next_event() is None


def test_two_peers_hear_each_other_and_say_nothing() -> None:
    one, two = responder(seed=1), responder(seed=2)
    for now, sent in run(one, 100.0):
        hear(two, now, datagram(sent.payload))
    assert two.datagrams_to_send(100.0) == []
    assert two.statistics.rejected == {}


def test_two_peers_with_one_id_are_a_conflict_told_once_a_minute() -> None:
    one, two = (responder(seed=seed, id=b"i" * 16, interval=5) for seed in (1, 2))
    events = []
    for now, sent in run(two, 150.0):
        hear(one, now, datagram(sent.payload))
        while event := one.next_event():
            events.append((now, event))
    assert {event for _, event in events} == {Conflict("eth2", SOURCE)}
    assert len(events) == 3
    assert one.statistics.rejected[Rejection.FOREIGN_ID] > 30


@pytest.mark.parametrize(
    "one",
    [
        Goodbye(Header(b"i" * 16, 1, 1), 1, 30, 1),  # of the run before this one
        Beat(Header(b"i" * 16, 1, 1, realm_hash("b")), 1, 30, 1),
        Probe(Header(b"i" * 16, 1, 1), 1),
    ],
)
def test_what_is_no_conflict(one: Message) -> None:
    made = responder(id=b"i" * 16, interval=5)
    hear(made, 0.0, datagram(one))
    assert made.next_event() is None


def test_forged_conflicts_are_told_of_up_to_a_number() -> None:
    made = responder(id=b"i" * 16)
    beat = Beat(Header(b"i" * 16, 1, 1), 1, 30, 1)
    told = 0
    for n in range(200):
        hear(made, 0.0, datagram(beat, source=Endpoint(IPv4Address(0x0A00_0201 + n), 1)))
        told += made.next_event() is not None
    assert told == MAX_CONFLICTS


# --- any state, any input


numbers = st.integers(0, 5)
headers = st.one_of(st.integers(1, 50).map(header), numbers.map(lambda n: Header(b"i" * 16, n, n)))
probes = st.builds(
    probe,
    numbers,
    numbers,
    elapsed=st.integers(0, 65_535),
    window=st.sampled_from([0, 0, 5, 1_000, 65_535]),
    low=st.sampled_from([0, 30_000]),
    high=st.sampled_from([32_000, 65_536]),
    types=st.sampled_from([(), ("_lamp",), ("_cam",)]),
)
messages: st.SearchStrategy[Message] = st.one_of(
    probes,
    probes,
    st.tuples(headers, numbers, st.integers(0, 3), st.integers(0, 15)).map(lambda t: Query(*t)),
    headers.map(lambda header: Beat(header, 1, 30, 1)),
    headers.map(lambda header: Announcement(header, 1, 30)),
    headers.map(lambda header: Goodbye(header, 1, 30, 1)),
    headers.map(lambda header: Reply(header, 1, 1, 30)),
)
payloads = st.one_of(messages.map(encode), messages.map(encode), st.binary(max_size=99))
sources = st.sampled_from(
    [
        SOURCE,
        Endpoint(IPv4Address("10.0.3.9"), 1),
        Endpoint(IPv4Address("0.0.0.0"), 1),
        Endpoint(ip_address("fe80::9%eth2"), 1),
    ]
)
arrivals = st.lists(
    st.builds(
        datagram,
        payloads,
        sources,
        st.sampled_from([GROUP, Endpoint(IPv4Address("10.0.2.1"), 1)]),
        ttl=st.sampled_from([255, 255, None, 1]),
    ),
    min_size=1,
    max_size=4,
)
places = st.sampled_from(
    [[], attached(ETH), attached(WLAN), attached(ETH, families=BOTH[1:]), attached(ETH, OTHER)]
)
waits = st.sampled_from([0.0, 0.001, 0.2, 40.0])


class Life(RuleBasedStateMachine):
    """It never raises, repeats a number, wakes in vain, or answers more than it may."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.sequences: list[int] = []
        self.has_left = False

    @initialize(seed=st.integers(0, 9), interval=st.sampled_from([None, 7.0]), offered=services)
    def start(self, seed: int, interval: float | None, offered: list[Service]) -> None:
        self.made = responder(*offered, seed=seed, interval=interval, id=b"i" * 16)

    def fetch(self) -> None:
        sent = self.made.datagrams_to_send(self.now)
        assert not self.made.datagrams_to_send(self.now)
        for one in sent:
            assert len(one.payload) <= MAX_DATAGRAM
            self.sequences.append(decode(one.payload).header.sequence)
        assert self.sequences == list(range(len(self.sequences)))

    @rule(heard=arrivals, drained=st.booleans())
    def hear(self, heard: list[Datagram], drained: bool) -> None:
        before = self.made.statistics.replies
        hear(self.made, self.now, *heard, drained=drained)
        if self.has_left:
            assert self.made.statistics.replies == before
        self.fetch()

    @rule(seconds=waits)
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.made.handle_timer(self.now)
        self.fetch()

    @rule(interfaces=places)
    def change(self, interfaces: list[Attached]) -> None:
        # What wasn't fetched may be lost with its interface, and its number with it.
        self.fetch()
        self.made.interfaces_changed(interfaces, self.now)

    @precondition(lambda self: not self.has_left)
    @rule(offered=services)
    def offer(self, offered: list[Service]) -> None:
        self.made.offer(offered, self.now)

    @rule()
    def leave(self) -> None:
        self.has_left = True
        self.made.leave(self.now)
        self.fetch()

    @invariant()
    def next_waking_is_ahead(self) -> None:
        self.made.handle_timer(self.now)
        after = self.made.get_timer()
        assert after is None or after > self.now
        self.fetch()
        if self.has_left:
            assert self.made.finished == (after is None)

    def teardown(self) -> None:
        while self.made.next_event() is not None:
            pass
        said = self.made.statistics
        total = said.replies + said.announcements + said.beats + said.goodbyes
        assert total == len(self.sequences)


TestLife = Life.TestCase
