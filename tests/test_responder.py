"""A responder, and those who talk to it: made-up time, no sockets, no driver."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Datagram, Endpoint
from bcast.discovery.buckets import HOST_BURST, HOST_RATE, SOURCE_BURST, SOURCE_RATE
from bcast.discovery.rejection import Rejection
from bcast.discovery.responder import Responder
from bcast.domain import Domain
from bcast.messages import (
    Announcement,
    Header,
    Message,
    Probe,
    Query,
    Reply,
    Service,
)
from bcast.wire import MAX_DATAGRAM, decode, encode
from bcast.wire.filters import build, entry
from bcast.wire.hashes import id64, realm_hash, slot
from bcast.wire.keys import Keyring
from tests.machines import (
    ETH,
    GROUP,
    GROUP6,
    KEYS,
    LAMP,
    LOOPBACK,
    OTHER,
    OTHER_KEYS,
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

# --- answers


def test_a_probe_is_answered_at_once_to_where_it_came_from() -> None:
    made = responder()
    [sent] = ask(made, 0.0, probe(nonce=99))
    assert (sent.interface, sent.destination) == (2, SOURCE)
    reply = decode(sent.payload)
    assert reply == Reply(Header(made.id, made.epoch, 0), 99, 1, 30, 0, 1, (LAMP,))
    assert made.datagrams_to_send(0.0) == []
    assert made.statistics.replies == made.statistics.probes == 1


def test_a_process_finds_another_one_of_the_same_host() -> None:
    own = Endpoint(IPv4Address("127.0.0.1"), 40_000)
    made = responder(on=attached(LOOPBACK))
    hear(made, 0.0, datagram(probe(), source=own, on=LOOPBACK))
    assert [one.destination for one in made.datagrams_to_send(0.0)] == [own]
    made = responder()
    own = Endpoint(IPv4Address("10.0.2.1"), 40_000)
    hear(made, 0.0, datagram(probe(), source=own))
    assert [one.destination for one in made.datagrams_to_send(0.0)] == [own]


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(1, 65_535), unique=True, max_size=5))
def test_of_the_ranges_of_a_round_exactly_one_is_for_a_peer(nonce: int, cuts: list[int]) -> None:
    made = responder()
    edges = [0, *sorted(cuts), 65_536]
    probes = [probe(nonce=nonce, low=low, high=high) for low, high in pairwise(edges)]
    place = slot(id64(made.id), nonce)
    sent = [ask(responder(), 0.0, one) for one in probes]
    assert [len(one) for one in sent] == [one.low <= place < one.high for one in probes]
    assert len(ask(made, 0.0, *probes)) == 1
    assert made.statistics.rejected == {}


def test_who_is_known_to_the_prober_keeps_silent_until_something_is_new() -> None:
    made = responder()

    def known(nonce: int, epoch: int, version: int) -> Probe:
        filter, hashes = build([entry(id64(made.id), epoch, version)], nonce)
        return probe(nonce=nonce)._replace(filter=filter, filter_hashes=hashes)

    assert ask(made, 0.0, known(1, made.epoch, 1)) == []
    assert len(ask(made, 0.0, known(2, made.epoch ^ 1, 1))) == 1
    assert len(ask(made, 0.0, known(3, made.epoch, 2))) == 1
    made.offer([LAMP], 0.0)
    assert len(ask(made, 0.0, known(4, made.epoch, 1))) == 1
    assert ask(made, 0.0, known(5, made.epoch, 2)) == []


def test_only_who_offers_one_of_the_types_answers() -> None:
    made = responder(LAMP, Service("plug", "_plug"))
    wanted = [("_plug",), ("_lamp", "_cam"), ("_cam",), ()]
    answered = []
    for nonce, types in enumerate(wanted):
        answered.append(len(ask(made, 0.0, probe(nonce=nonce, types=types))))
    assert answered == [1, 1, 0, 1]


@given(st.integers(0, 2**64 - 1), st.integers(1, 65_535), st.integers(0, 999), st.integers(1, 999))
def test_answers_are_spread_over_the_window_by_their_slots(
    nonce: int, window: int, before: int, after: int
) -> None:
    made = responder()
    place = slot(id64(made.id), nonce)
    low, high = max(0, place - before), min(65_536, place + after)
    asked = datagram(probe(nonce=nonce, window=window, low=low, high=high))
    hear(made, 0.0, asked)
    sent = [(0.0, one) for one in made.datagrams_to_send(0.0)]
    [now] = [now for now, one in sent + run(made, 66.0) if one.destination == SOURCE]
    assert now == pytest.approx(window / 1_000 * (place - low) / (high - low))


def test_who_asks_again_is_answered_at_the_earlier_time_with_the_later_nonce() -> None:
    made = responder()
    first, second = (slot(id64(made.id), nonce) / 65_536 for nonce in (1, 2))
    ask(made, 0.0, probe(nonce=1, window=1_000))
    ask(made, first / 2, probe(nonce=2, window=60_000))
    answers = [
        (now, decode(one.payload)) for now, one in run(made, 70.0) if one.destination == SOURCE
    ]
    assert first < first / 2 + second * 60
    assert [(now, one.nonce) for now, one in answers if isinstance(one, Reply)] == [(first, 2)]
    ask(made, 80.0, probe(nonce=3, window=60_000))
    assert [one.nonce for one in replies(ask(made, 80.0, probe(nonce=4)))] == [4]


def test_only_the_newest_nonce_of_a_batch_is_answered() -> None:
    """A host that stood still finds all the rounds of a search that has gone on."""
    made = responder()
    rounds = [probe(nonce=n) for n in range(1, 9)]
    others = [probe(nonce=50, who=2)]
    answered = replies(ask(made, 0.0, *rounds[::-1], *others))
    assert sorted(one.nonce for one in answered) == [8, 50]
    assert made.statistics.rejected == {Rejection.SUPERSEDED: 7}


def test_a_forged_probe_doesnt_take_the_place_of_one_with_a_tag() -> None:
    made = responder(domain=Domain(keyring=KEYS))
    forged = probe(nonce=2)._replace(header=header(sequence=9_999))
    hear(made, 0.0, datagram(probe(nonce=1), keyring=KEYS), datagram(forged, keyring=OTHER_KEYS))
    assert [one.nonce for one in replies(made.datagrams_to_send(0.0))] == [1]


def test_before_everything_was_read_nobody_is_answered() -> None:
    made = responder()
    hear(made, 0.0, datagram(probe(nonce=1)), drained=False)
    assert made.datagrams_to_send(0.0) == []
    assert made.get_timer() == 0.0
    assert [one.nonce for one in replies(ask(made, 0.0, probe(nonce=2)))] == [2]
    hear(made, 1.0, datagram(probe(nonce=3)), drained=False)
    made.handle_timer(1.0)
    assert [one.nonce for one in replies(made.datagrams_to_send(1.0))] == [3]


def test_a_probe_is_answered_once_whatever_way_it_comes() -> None:
    two = interface(3)
    made = responder(on=attached(ETH, two))
    six = Endpoint(ip_address("fe80::7%eth2"), 40_000)
    other = Endpoint(IPv4Address("10.0.3.7"), 40_000)
    hear(made, 0.0, datagram(probe()), datagram(probe(), source=six, destination=GROUP6))
    hear(made, 0.0, datagram(probe(), source=other, on=two))
    hear(made, 1.0, datagram(probe()))
    assert [one.destination for one in made.datagrams_to_send(1.0)] == [SOURCE]
    assert made.statistics.rejected == {Rejection.REPEATED: 3}


def test_over_wireless_a_bunch_is_answered_once() -> None:
    """An access point holds group datagrams back until all its stations are awake."""
    made = responder(on=attached(WLAN))
    wired = responder()
    sent, wired_sent = 0, 0
    for nonce, (now, elapsed) in enumerate([(0.1, 0), (0.101, 20), (0.102, 60), (0.3, 250)]):
        one = probe(nonce=nonce, elapsed=elapsed)
        hear(made, now, datagram(one, on=WLAN))
        hear(wired, now, datagram(one))
        sent += len(replies(made.datagrams_to_send(now)))
        wired_sent += len(replies(wired.datagrams_to_send(now)))
    assert (sent, wired_sent) == (2, 4)
    assert made.statistics.rejected == {Rejection.BUNCHED: 2}


# --- what isn't answered


def rejected(made: Responder, *datagrams: Datagram) -> dict[str, int]:
    hear(made, 0.0, *datagrams)
    assert [one for one in said(made.datagrams_to_send(0.0)) if isinstance(one, Reply)] == []
    return dict(made.statistics.rejected)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (datagram(b"hello"), "too-short"),
        (datagram(b"M-SEARCH * HTTP/1.1".ljust(80)), "magic"),
        (datagram(probe(), ttl=254), "ttl"),
        (datagram(probe(), source=Endpoint(IPv4Address("10.0.3.7"), 1)), "off-link"),
        (datagram(probe(), source=Endpoint(IPv4Address("8.8.8.8"), 1)), "off-link"),
        (datagram(probe(), source=Endpoint(IPv4Address("10.0.2.255"), 1)), "off-link"),
        (datagram(probe(), source=Endpoint(IPv4Address("224.0.0.1"), 1)), "off-link"),
        (datagram(probe(), source=Endpoint(IPv4Address("10.0.2.7"), 0)), "off-link"),
        (datagram(Probe(header(realm="b"), 1)), "realm"),
        (datagram(Query(header(realm="b"), 1)), "realm"),
        (datagram(Query(header(), 1), destination=GROUP), "not-unicast"),
        (datagram(Query(header(), 1), destination=GROUP6), "not-unicast"),
        (datagram(Query(header(), 1), ttl=1), "ttl"),
        (datagram(Reply(header(), 1, 1, 30)), "unasked"),
        (datagram(probe(), on=OTHER), "interface"),
    ],
)
def test_what_is_refused_is_counted_by_the_reason(one: Datagram, reason: str) -> None:
    assert rejected(responder(), one) == {reason: 1}


@pytest.mark.parametrize("one", [probe(), Query(header(), 1), Announcement(header(), 1, 30)])
@pytest.mark.parametrize("keyring", [None, OTHER_KEYS])
def test_with_keys_strangers_are_refused(one: Message, keyring: Keyring | None) -> None:
    made = responder(domain=Domain(keyring=KEYS))
    assert rejected(made, datagram(one, keyring=keyring)) == {"key": 1}
    forged = bytearray(encode(one, KEYS))
    forged[12] ^= 1
    assert rejected(made, datagram(bytes(forged))) == {"key": 2}


def test_with_keys_friends_are_answered_whichever_of_them_they_use() -> None:
    made = responder(domain=Domain(keyring=KEYS))
    for current in (1, 2):
        keyring = Keyring(KEYS.keys, current)
        hear(made, 0.0, datagram(probe(nonce=current), keyring=keyring))
        [reply] = replies(made.datagrams_to_send(0.0))
        assert reply.header.key_id == 1


def test_a_realm_answers_its_own() -> None:
    made = responder(domain=Domain(realm="ci-1"))
    one = Probe(header(realm="ci-1"), 1)
    assert [reply.header.realm for reply in replies(ask(made, 0.0, one))] == [realm_hash("ci-1")]


def test_where_the_system_doesnt_say_a_ttl_the_source_must_do() -> None:
    made = responder()
    hear(made, 0.0, datagram(probe(), ttl=None))
    assert len(made.datagrams_to_send(0.0)) == 1


def test_one_source_can_make_up_as_many_searches_as_it_likes() -> None:
    made = responder()
    for n in range(1_000):
        hear(made, 0.0, datagram(probe(nonce=n, who=n)))
    assert len(made.datagrams_to_send(0.0)) == SOURCE_BURST
    assert made.statistics.rejected == {Rejection.RATE: 1_000 - SOURCE_BURST}


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.001, 0.1, 2.0]), st.integers(1, 90)),
        max_size=25,
    ),
    st.integers(1, 20),
)
def test_no_flood_gets_more_answers_than_the_buckets_hold(
    bursts: list[tuple[float, int]], hosts: int
) -> None:
    made = responder()
    payload = encode(Query(header(), 1))
    here = Endpoint(IPv4Address("10.0.2.1"), 50_000)
    now = 0.0
    times: dict[Endpoint, list[float]] = {}
    for wait, count in bursts:
        now += wait
        sources = [Endpoint(IPv4Address(f"10.0.2.{n}"), 4_000) for n in range(2, 2 + hosts)]
        for _ in range(count):
            for source in sources:
                hear(made, now, datagram(payload, source, here))
        for sent in made.datagrams_to_send(now):
            times.setdefault(sent.destination, []).append(now)
    limits = [(one, SOURCE_BURST, SOURCE_RATE) for one in times.values()]
    limits.append((sorted(chain(*times.values())), HOST_BURST, HOST_RATE))
    for sent_at, burst, rate in limits:
        starts = sorted(set(sent_at))
        for start in starts:
            for end in starts:
                within = sum(start <= time <= end for time in sent_at)
                assert within <= burst + rate * max(0, end - start) + 1e-6


def test_answers_that_were_made_to_wait_together_are_not_sent_together() -> None:
    """Whoever chooses the windows must not gather a minute's answers in one moment."""
    made = responder()
    # Probes whose answers would all go out at 60 s, from many sources, at the highest rate.
    now, who = 0.0, 0
    while now < 5:
        now += 0.002
        who += 1
        nonce = who << 20
        share = slot(id64(made.id), nonce) / 65_536
        window = min(65_535, round((10.0 - now) / max(share, 0.01) * 1_000))
        source = Endpoint(IPv4Address(0x0A00_0202 + who % 200), 4_000)
        hear(made, now, datagram(probe(nonce=nonce, who=who, window=window), source=source))
    times = [time for time, one in run(made, 70.0) if isinstance(decode(one.payload), Reply)]
    most = max(sum(1 for t in times if start <= t < start + 0.1) for start in times)
    assert most <= HOST_BURST + HOST_RATE * 0.1
    assert made.statistics.rejected[Rejection.RATE] > 0


# --- sizes


@given(
    services,
    st.sampled_from([None, KEYS]),
    st.booleans(),
    st.integers(0, 400),
    st.integers(0, 15),
    st.sampled_from([0, 1, 2]),
)
def test_no_answer_is_more_than_three_times_as_large_as_what_it_answers(
    offered: list[Service],
    keyring: Keyring | None,
    probes: bool,
    padding: int,
    part: int,
    known: int,
) -> None:
    made = responder(*offered, domain=Domain(keyring=keyring))
    one = probe() if probes else Query(header(), 1, known, part, 0, padding)
    asked = datagram(one, destination=Endpoint(IPv4Address("10.0.2.1"), 28232), keyring=keyring)
    hear(made, 0.0, asked)
    [sent] = made.datagrams_to_send(0.0)
    assert len(sent.payload) <= min(3 * len(asked.payload), MAX_DATAGRAM)


def test_what_would_be_too_large_an_answer_is_asked_for() -> None:
    made = responder(*large(3))
    [reply] = replies(ask(made, 0.0, probe()))
    assert (reply.services, reply.header.more, reply.part, reply.parts) == ((), True, 0, 2)
    [reply] = replies(ask(made, 0.0, Query(header(), 7)))
    assert (reply.nonce, reply.services, reply.header.more) == (7, (), True)
    found: list[Service] = []
    for part in range(2):
        [reply] = replies(ask(made, 0.0, Query(header(), 8, part=part, padding=400 - 48)))
        assert (reply.part, reply.parts, reply.version) == (part, 2, 1)
        found += reply.services
    assert found == large(3)
    [reply] = replies(ask(made, 0.0, Query(header(), 9, part=2, padding=400 - 48)))
    assert (reply.services, reply.header.more) == ((), True), "there are fewer parts by now"
    assert made.statistics.short == 3


def test_who_knows_the_state_is_only_told_that_it_is_still_so() -> None:
    made = responder()
    [reply] = replies(ask(made, 0.0, Query(header(), 7, known=1)))
    assert (reply.version, reply.services, reply.header.more) == (1, (), False)
    made.offer([LAMP, LAMP], 0.0)
    for known in (1, 3):
        [reply] = replies(ask(made, 0.0, Query(header(), 7, known=known, padding=100)))
        assert (reply.version, reply.services, reply.header.more) == (2, (LAMP, LAMP), False)


def test_a_query_is_answered_again_because_the_answer_may_have_been_lost() -> None:
    made = responder()
    for now in (0.0, 0.1):
        assert len(replies(ask(made, now, Query(header(), 7)))) == 1
    assert made.statistics.queries == 2
