from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import (
    Address,
    Datagram,
    Endpoint,
    Family,
    Interface,
    InterfaceFlag,
    IPAddress,
    Kind,
)
from bcast.device import Added, Cause, Changed, DeviceEvent, Removed, Restarted, Suspect
from bcast.discovery.prober import Prober
from bcast.discovery.search import Opening
from bcast.domain import Domain
from bcast.machine import Attached, Outgoing, Received
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
from bcast.wire import decode, encode
from bcast.wire.filters import contains, entry
from bcast.wire.hashes import id64, type_hash
from bcast.wire.keys import Keyring

FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
BOTH = (Family.IPV4, Family.IPV6)


def interface(index: int = 2, net: int = 0) -> Interface:
    network = IPv4Network((0x0A00_0000 + (net << 8), 24))
    return Interface(
        f"eth{index}",
        index,
        Kind.ETHERNET,
        FLAGS,
        1500,
        None,
        (
            Address(network[1], 24, network.broadcast_address),
            Address(IPv6Address(f"fe80::1%eth{index}"), 64),
        ),
    )


ETH = interface()
ETH3 = interface(3, net=1)
LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
PLUG = Service("plug-1", "_plug", 81)
KEYS = Keyring({1: b"k" * 16}, 1)


class Peer:
    """Says what it is told to, as the wire has it."""

    def __init__(
        self, number: int = 2, *, services: Sequence[Service] = (LAMP,), net: int = 0
    ) -> None:
        self.id = number.to_bytes(16, "big")
        self.epoch = 1
        self.sequence = 0
        self.version = 1
        self.interval = 30
        self.services = tuple(services)
        self.source = Endpoint(IPv4Address(0x0A00_0000 + (net << 8) + number), 4000)
        self.keyring: Keyring | None = None
        self.realm = 0

    def header(self, *, more: bool = False) -> Header:
        self.sequence += 1
        return Header(self.id, self.epoch, self.sequence, self.realm, more=more)

    def reply(self, nonce: int) -> Reply:
        return Reply(self.header(), nonce, self.version, self.interval, services=self.services)

    def alive(self, nonce: int) -> Reply:
        return Reply(self.header(), nonce, self.version, self.interval)

    def announcement(self) -> Announcement:
        return Announcement(self.header(), self.version, self.interval, services=self.services)

    def beat(self) -> Beat:
        return Beat(self.header(), self.version, self.interval, len(self.services))

    def goodbye(self) -> Goodbye:
        return Goodbye(self.header(), self.version, self.interval, len(self.services))


class Bench:
    """A prober under made-up time, and what it has sent and said."""

    def __init__(
        self,
        *,
        interfaces: Iterable[Interface] = (ETH,),
        families: tuple[Family, ...] = (Family.IPV4,),
        types: Iterable[str] = (),
        domain: Domain | None = None,
        watch: bool = True,
        all_paths: bool = False,
        max_peers: int = 100,
    ) -> None:
        self.now = 0.0
        self.prober = Prober(
            random=Random(1),
            domain=domain,
            types=types,
            watch=watch,
            all_paths=all_paths,
            max_peers=max_peers,
        )
        self.keyring = None if domain is None else domain.keyring
        self.sent: list[tuple[float, Outgoing, Message]] = []
        self.events: list[DeviceEvent] = []
        self.families = families
        self.attach(*interfaces)

    def attach(self, *interfaces: Interface) -> None:
        attached = [Attached(one, self.families, 2_000) for one in interfaces]
        self.prober.interfaces_changed(attached, self.now)
        self._collect()

    def _collect(self) -> None:
        for outgoing in self.prober.datagrams_to_send(self.now):
            self.sent.append((self.now, outgoing, decode(outgoing.payload)))
        while (event := self.prober.next_event()) is not None:
            self.events.append(event)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.prober.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.prober.handle_timer(self.now)
            self._collect()
        self.now = end

    def hear(
        self,
        source: Endpoint,
        message: Message | bytes,
        *,
        at: Interface = ETH,
        ttl: int | None = 255,
        drops: int = 0,
        keyring: Keyring | None = None,
    ) -> None:
        payload = message if isinstance(message, bytes) else encode(message, keyring)
        to = Endpoint(at.addresses[0].address, 5000)
        datagram = Datagram(payload, source, to, at, int(self.now * 1e9), ttl)
        self.prober.receive_datagrams(Received(at, (datagram,), drops), self.now)
        self._collect()

    def answer(self, *peers: Peer, at: Interface = ETH) -> None:
        """The peers answer the last probe."""
        for peer in peers:
            self.hear(peer.source, peer.reply(self.probe.nonce), at=at, keyring=peer.keyring)

    @property
    def probes(self) -> list[tuple[float, Outgoing, Probe]]:
        return [(t, out, m) for t, out, m in self.sent if isinstance(m, Probe)]

    @property
    def probe(self) -> Probe:
        return self.probes[-1][2]

    @property
    def queries(self) -> list[tuple[Outgoing, Query]]:
        return [(out, m) for _, out, m in self.sent if isinstance(m, Query)]

    @property
    def rejected(self) -> dict[str, int]:
        return self.prober.statistics.rejected

    def take(self) -> list[DeviceEvent]:
        events, self.events = self.events, []
        return events

    @property
    def names(self) -> list[str]:
        return sorted(device.name for device in self.prober.devices)


def found(peer: Peer | None = None, **arguments: object) -> tuple[Bench, Peer]:
    """A bench whose search has found a peer and is over."""
    bench = Bench(**arguments)  # type: ignore[arg-type]
    peer = Peer() if peer is None else peer
    bench.answer(peer)
    bench.wait(10.0)
    bench.take()
    bench.sent.clear()
    return bench, peer


# -- searching ------------------------------------------------------------------------------------


def test_a_probe_goes_to_the_groups_of_every_family_with_one_nonce() -> None:
    bench = Bench(families=BOTH)
    [(_, four, first), (_, six, second)] = bench.probes
    assert str(four.destination) == "239.255.110.72:28232"
    assert str(six.destination) == "[ff12::fd99:4222]:28232"
    assert first == second
    assert (four.interface, six.interface) == (2, 2)
    assert (first.low, first.high, first.filter, first.types) == (0, 65_536, b"", ())


def test_who_answers_is_added_with_the_way_it_was_heard() -> None:
    bench = Bench()
    bench.now = 0.002
    bench.answer(Peer())
    [event] = bench.take()
    assert isinstance(event, Added)
    device = event.device
    assert device.id == Peer().id.hex()
    assert (device.name, device.type, device.port) == ("lamp-1", "_lamp", 80)
    assert device.attributes == {"fw": "1.4"}
    assert device.probes_answered == 1
    [sighting] = device.sightings
    assert (sighting.interface, sighting.index) == ("eth2", 2)
    assert (str(sighting.address), sighting.port) == ("10.0.0.2", 4000)
    assert sighting.latency == pytest.approx(0.002)
    assert sighting.last_heard_ns == 2_000_000
    assert bench.prober.devices == (device,)


def test_who_has_answered_is_in_the_filter_of_the_next_probe() -> None:
    bench = Bench()
    peer = Peer()
    bench.answer(peer)
    bench.wait(0.005)
    probe = bench.probe
    assert probe.round == 1
    known = entry(id64(peer.id), peer.epoch, peer.version)
    assert contains(probe.filter, probe.filter_hashes, known, probe.nonce)
    other = entry(id64(b"x" * 16), 1, 1)
    assert not contains(probe.filter, probe.filter_hashes, other, probe.nonce)


def test_more_known_than_a_filter_takes_are_asked_for_in_ranges() -> None:
    bench = Bench(max_peers=3_000, interfaces=[interface()])
    for number in range(2, 2_502):
        peer = Peer(number)
        peer.source = Endpoint(IPv4Address(0x0A00_0002 + number % 200), 4000 + number)
        bench.answer(peer)
    bench.sent.clear()
    bench.wait(0.006)
    ranges = [(probe.low, probe.high) for _, _, probe in bench.probes]
    assert len(ranges) == 3
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 65_536
    assert [high for _, high in ranges[:-1]] == [low for low, _ in ranges[1:]]
    assert len({probe.nonce for _, _, probe in bench.probes}) == 1
    assert max(len(out.payload) for _, out, _ in bench.probes) <= 1_200


def test_an_answer_that_comes_late_is_taken() -> None:
    bench = Bench()
    nonce = bench.probe.nonce
    bench.wait(0.5)
    bench.hear(Peer().source, Peer().reply(nonce))
    assert bench.names == ["lamp-1"]


def test_only_the_types_that_are_looked_for_are_shown() -> None:
    bench = Bench(types=["_lamp", "_plug"])
    assert bench.probe.types == (type_hash("_lamp"), type_hash("_plug"))
    bench.answer(Peer(services=[LAMP, Service("cam", "_camera", 1)]))
    assert bench.names == ["lamp-1"]
    bench.answer(Peer(3, services=[Service("cam", "_camera", 1)]))
    assert bench.names == ["lamp-1"]


def test_more_types_than_a_probe_has_room_for_are_picked_out_here() -> None:
    bench = Bench(types=[f"_type{number}" for number in range(20)])
    assert bench.probe.types == ()
    bench.answer(Peer(), Peer(3, services=[Service("x", "_type7", 1)]))
    assert bench.names == ["x"]


def test_nobody_by_multicast_is_asked_by_broadcast_too() -> None:
    bench = Bench()
    bench.wait(0.2)
    to = [str(out.destination.address) for _, out, _ in bench.probes]
    assert to[:3] == ["239.255.110.72"] * 3
    assert to[-3:] == ["239.255.110.72", "255.255.255.255", "10.0.0.255"]


def test_broadcast_from_the_beginning_by_configuration() -> None:
    bench = Bench(domain=Domain(broadcast=True))
    assert len(bench.probes) == 3


def test_quiet_after_three_rounds_without_anybody_new() -> None:
    bench = Bench()
    bench.answer(Peer())
    assert not bench.prober.quiet
    bench.wait(0.05)
    assert bench.prober.quiet


def test_how_many_may_be_missing_follows_from_how_long_the_others_took() -> None:
    bench = Bench()
    assert bench.prober.statistics.estimated_missing is None
    bench.answer(*(Peer(number) for number in range(2, 72)))
    bench.wait(0.005)
    bench.answer(*(Peer(number) for number in range(72, 102)))
    bench.wait(0.005)
    # Three sevenths of those who are heard in a round are heard in the next: so there are 123.
    missing = bench.prober.statistics.estimated_missing
    assert missing is not None
    assert 18.0 < missing < 28.0
    bench.wait(1.0)
    missing = bench.prober.statistics.estimated_missing
    assert missing is not None
    assert missing < 0.01


def test_after_one_round_nothing_is_known_about_the_missing() -> None:
    bench = Bench()
    bench.answer(*(Peer(number) for number in range(2, 12)))
    bench.wait(0.005)
    assert bench.prober.statistics.estimated_missing is None
    bench.answer(*(Peer(number) for number in range(12, 22)))
    bench.wait(0.005)
    assert bench.prober.statistics.estimated_missing is None, "a third may find as many"


def test_the_second_interface_is_asked_when_the_first_was_silent_once() -> None:
    bench = Bench(interfaces=[ETH, ETH3])
    assert [out.interface for _, out, _ in bench.probes] == [2]
    bench.answer(Peer())
    bench.wait(0.005)
    times = [(round(time, 3), out.interface) for time, out, _ in bench.probes]
    assert times == [(0.0, 2), (0.004, 2), (0.004, 3)]
    # Whoever answered on the first needn't on the second.
    probe = bench.probe
    known = entry(id64(Peer().id), 1, 1)
    assert contains(probe.filter, probe.filter_hashes, known, probe.nonce)


def test_all_paths_are_found_if_asked_for() -> None:
    bench = Bench(interfaces=[ETH, ETH3], all_paths=True)
    peer = Peer()
    bench.answer(peer)
    bench.wait(0.005)
    assert bench.probe.filter == b""
    bench.hear(Endpoint(IPv4Address("10.0.1.2"), 4000), peer.reply(bench.probe.nonce), at=ETH3)
    [device] = bench.prober.devices
    assert [s.interface for s in device.sightings] == ["eth2", "eth3"]


# -- what is not believed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "source", "ttl", "nonce"),
    [
        ("unasked", "10.0.0.2", 255, 1),
        ("ttl", "10.0.0.2", 254, 0),
        ("off-link", "192.0.2.1", 255, 0),
        ("off-link", "239.255.110.72", 255, 0),
        ("off-link", "10.0.0.255", 255, 0),
    ],
)
def test_what_cannot_be_an_answer_is_counted_by_reason(
    reason: str, source: str, ttl: int, nonce: int
) -> None:
    bench = Bench()
    reply = Peer().reply(bench.probe.nonce + nonce)
    bench.hear(Endpoint(IPv4Address(source), 4000), reply, ttl=ttl)
    assert bench.prober.devices == ()
    assert bench.rejected == {reason: 1}


def test_where_the_system_does_not_say_the_ttl_it_is_not_asked() -> None:
    bench = Bench()
    bench.hear(Peer().source, Peer().reply(bench.probe.nonce), ttl=None)
    assert bench.names == ["lamp-1"]


def test_another_realm_is_not_seen() -> None:
    bench = Bench(domain=Domain(realm="one"))
    bench.answer(Peer())
    assert bench.prober.devices == ()
    assert bench.rejected == {"realm": 1}


@given(st.binary(max_size=200))
def test_garbage_is_counted(payload: bytes) -> None:
    bench = Bench()
    bench.hear(Peer().source, payload)
    assert sum(bench.rejected.values()) == 1
    assert bench.prober.devices == ()


def test_a_full_table_refuses_newcomers_and_says_so() -> None:
    bench = Bench(max_peers=2)
    bench.answer(Peer(2), Peer(3), Peer(4))
    assert len(bench.prober.devices) == 2
    assert bench.prober.statistics.refused == 1


def test_an_announcement_alone_shows_nobody() -> None:
    bench = Bench()
    bench.wait(10.0)
    bench.hear(Peer().source, Peer().announcement())
    assert bench.prober.devices == ()
    bench.wait(0.001)
    [(out, query)] = bench.queries
    assert out.destination == Peer().source
    # Large enough that the answer may be a full part.
    assert len(out.payload) >= 400
    bench.hear(Peer().source, Peer().reply(query.nonce))
    assert bench.names == ["lamp-1"]


def test_many_forged_announcements_are_asked_about_fifty_times_a_second_at_most() -> None:
    bench = Bench(max_peers=1_000)
    bench.wait(6.0)
    bench.sent.clear()
    for number in range(2_000):
        peer = Peer(number % 250 + 2)
        peer.id = number.to_bytes(16, "big")
        bench.hear(peer.source, peer.announcement())
        bench.wait(0.001)
    # Each question is put four times.
    assert len(bench.queries) <= 2.1 * 50 * 4
    assert bench.prober.devices == ()


def test_while_the_only_source_is_being_asked_no_timer_is_due() -> None:
    bench = Bench()
    bench.wait(10.0)
    for number in (2, 3):
        peer = Peer(number)
        bench.hear(Peer().source, peer.announcement())
    bench.wait(0.03)
    due = bench.prober.get_timer()
    assert due is not None
    assert due > bench.now


def test_many_who_come_at_once_are_searched_for() -> None:
    bench = Bench(max_peers=1_000)
    bench.wait(20.0)
    bench.sent.clear()
    peers = [Peer(number) for number in range(2, 200)]
    for peer in peers:
        bench.hear(peer.source, peer.announcement())
    bench.wait(0.001)
    bench.answer(*peers)
    assert len(bench.prober.devices) == 198


# -- what a peer offers ---------------------------------------------------------------------------


def test_a_short_answer_is_followed_by_a_query() -> None:
    bench = Bench()
    peer = Peer()
    short = Reply(peer.header(more=True), bench.probe.nonce, 1, 30)
    bench.hear(peer.source, short)
    assert bench.prober.devices == ()
    assert not bench.prober.quiet
    bench.wait(0.001)
    [(out, query)] = bench.queries
    assert (out.destination, query.known, query.part) == (peer.source, 0, 0)
    bench.hear(peer.source, peer.reply(query.nonce))
    assert bench.names == ["lamp-1"]


def test_parts_are_fetched_one_after_another() -> None:
    bench = Bench()
    peer = Peer()
    first = Reply(peer.header(more=True), bench.probe.nonce, 1, 30, 0, 3, (LAMP,))
    bench.hear(peer.source, first)
    for part, service in ((1, PLUG), (2, Service("cam", "_camera", 1))):
        assert bench.prober.devices == ()
        bench.wait(0.001)
        query = bench.queries[-1][1]
        assert query.part == part
        more = part == 1
        bench.hear(
            peer.source,
            Reply(peer.header(more=more), query.nonce, 1, 30, part, 3, (service,)),
        )
    assert bench.names == ["cam", "lamp-1", "plug-1"]
    assert all(isinstance(event, Added) for event in bench.take())


def test_parts_of_different_versions_are_not_put_together() -> None:
    bench = Bench()
    peer = Peer()
    bench.hear(peer.source, Reply(peer.header(more=True), bench.probe.nonce, 1, 30, 0, 2, (LAMP,)))
    bench.wait(0.001)
    nonce = bench.queries[-1][1].nonce
    bench.hear(peer.source, Reply(peer.header(), nonce, 2, 30, 1, 2, (PLUG,)))
    assert bench.prober.devices == ()
    bench.wait(0.001)
    assert bench.queries[-1][1].part == 0


def test_who_contradicts_itself_about_its_parts_is_asked_anew() -> None:
    bench = Bench()
    peer = Peer()
    nonce = bench.probe.nonce
    bench.hear(peer.source, Reply(peer.header(more=True), nonce, 1, 30, 0, 2, (LAMP,)))
    # The same version has one part now: what came of two says nothing about that.
    bench.hear(peer.source, Reply(peer.header(more=True), nonce, 1, 30, 0, 1))
    assert bench.prober.devices == ()
    bench.wait(0.001)
    assert bench.queries[-1][1].part == 0


def test_a_new_version_is_fetched_and_what_changed_is_named() -> None:
    bench, peer = found()
    peer.version = 2
    peer.services = (Service("lamp-1", "_lamp", 80, {"fw": "1.5"}),)
    bench.hear(peer.source, peer.beat())
    assert bench.take() == []
    bench.wait(0.001)
    bench.hear(peer.source, peer.reply(bench.queries[-1][1].nonce))
    [event] = bench.take()
    assert isinstance(event, Changed)
    assert event.changed == ("attributes",)
    assert event.device.attributes == {"fw": "1.5"}


def test_what_an_announcement_says_has_changed_is_asked_for() -> None:
    bench, peer = found()
    peer.version = 2
    peer.services = (PLUG,)
    bench.hear(peer.source, peer.announcement())
    assert bench.names == ["lamp-1"]
    bench.wait(0.001)
    bench.hear(peer.source, peer.reply(bench.queries[-1][1].nonce))
    assert bench.names == ["plug-1"]


# -- who is there ---------------------------------------------------------------------------------


def test_a_peer_that_beats_stays() -> None:
    bench, peer = found()
    for _ in range(100):
        bench.wait(30.0)
        bench.hear(peer.source, peer.beat())
    assert bench.take() == []
    assert bench.queries == []


def test_a_silent_peer_is_asked_and_removed() -> None:
    bench, _ = found()
    died = bench.now - 10.0
    bench.wait(85.0)
    assert bench.take() == []
    bench.wait(20.0)
    [suspect, removed] = bench.take()
    assert isinstance(suspect, Suspect)
    assert isinstance(removed, Removed)
    assert removed.cause is Cause.SILENCE
    assert removed.device.name == "lamp-1"
    assert bench.prober.devices == ()
    assert len(bench.queries) == 14, "as long as it isn't known how much is lost"
    assert bench.now - died < 120.0
    assert bench.queries[0][1].known == 1


def test_an_answer_takes_the_suspicion_away() -> None:
    bench, peer = found()
    bench.wait(89.5)
    [suspect] = bench.take()
    assert isinstance(suspect, Suspect)
    bench.hear(peer.source, peer.alive(bench.queries[-1][1].nonce))
    [event] = bench.take()
    assert isinstance(event, Changed)
    assert event.changed == ()
    bench.wait(80.0)
    assert bench.take() == []


def test_a_peer_that_beats_every_second_is_missed_within_seconds() -> None:
    peer = Peer()
    peer.interval = 1
    bench, _ = found(peer)
    bench.wait(5.0)
    assert bench.prober.devices == ()


def test_a_goodbye_is_believed_when_nobody_answers() -> None:
    bench, peer = found()
    bench.hear(peer.source, peer.goodbye())
    assert bench.take() == []
    bench.wait(1.0)
    [event] = bench.take()
    assert isinstance(event, Removed)
    assert event.cause is Cause.GOODBYE


def test_a_forged_goodbye_is_not() -> None:
    bench, peer = found()
    bench.hear(peer.source, peer.goodbye())
    bench.wait(0.05)
    bench.hear(peer.source, peer.alive(bench.queries[-1][1].nonce))
    bench.wait(5.0)
    assert bench.take() == []
    assert bench.names == ["lamp-1"]


def test_what_was_delayed_past_the_goodbye_does_not_revive() -> None:
    bench, peer = found()
    late = peer.announcement()
    nonce = bench.probes[-1][2].nonce if bench.probes else 0
    answer = peer.reply(nonce)
    bench.hear(peer.source, peer.goodbye())
    bench.wait(1.0)
    bench.take()
    bench.sent.clear()
    bench.hear(peer.source, late)
    bench.hear(peer.source, answer)
    bench.wait(5.0)
    assert bench.queries == []
    assert bench.take() == []


def test_a_restart_is_one_event() -> None:
    bench, peer = found()
    peer.epoch = 2
    peer.sequence = 0
    bench.hear(peer.source, peer.announcement())
    bench.wait(0.01)
    bench.hear(peer.source, peer.reply(bench.queries[-1][1].nonce))
    [event] = bench.take()
    assert isinstance(event, Restarted)
    assert event.device.name == "lamp-1"
    peer.epoch = 1
    peer.sequence = 100
    bench.hear(peer.source, peer.beat())
    assert bench.rejected["epoch"] == 1


def test_a_restart_elsewhere_waits_until_the_old_one_is_silent() -> None:
    bench, peer = found()
    old = peer.source
    peer.epoch = 2
    peer.source = Endpoint(IPv4Address("10.0.0.2"), 4001)
    bench.hear(peer.source, peer.announcement())
    for _ in range(100):
        bench.wait(0.05)
        for out, query in bench.queries:
            if out.destination != old:
                bench.hear(out.destination, peer.reply(query.nonce))
        bench.sent.clear()
    restarted = [event for event in bench.take() if isinstance(event, Restarted)]
    assert len(restarted) == 1
    [sighting] = restarted[0].device.sightings
    assert sighting.port == 4001


def test_nobody_takes_the_place_of_a_peer_that_is_there() -> None:
    bench, peer = found()
    thief = Peer()
    thief.epoch = 7
    thief.source = Endpoint(IPv4Address("10.0.0.66"), 4001)
    thief.services = (PLUG,)
    for _ in range(20):
        bench.hear(thief.source, thief.announcement())
        for _ in range(20):
            bench.wait(0.05)
            for out, query in bench.queries:
                owner = peer if out.destination == peer.source else thief
                bench.hear(owner.source, owner.reply(query.nonce))
            bench.sent.clear()
    assert bench.take() == []
    assert bench.names == ["lamp-1"]


def test_a_peer_that_moves_is_followed() -> None:
    bench, peer = found()
    old = peer.source
    peer.source = Endpoint(IPv4Address("10.0.0.99"), 4000)
    bench.hear(peer.source, peer.announcement())
    for _ in range(100):
        bench.wait(0.05)
        for out, query in bench.queries:
            if out.destination != old:
                bench.hear(peer.source, peer.reply(query.nonce))
        bench.sent.clear()
    [event] = bench.take()
    assert isinstance(event, Changed)
    assert event.changed == ("sightings",)
    [sighting] = event.device.sightings
    assert str(sighting.address) == "10.0.0.99"


def test_a_second_family_is_another_sighting() -> None:
    bench, peer = found(families=BOTH)
    six: IPAddress = IPv6Address("fe80::2%eth2")
    bench.hear(Endpoint(six, 4000), peer.beat())
    bench.wait(0.01)
    bench.hear(Endpoint(six, 4000), peer.alive(bench.queries[-1][1].nonce))
    [event] = bench.take()
    assert isinstance(event, Changed)
    assert [s.address.version for s in event.device.sightings] == [4, 6]
    # Beats come by one family only, and both stay.
    for _ in range(20):
        bench.wait(30.0)
        bench.hear(Endpoint(six, 4000), peer.beat())
    assert bench.take() == []


def test_replayed_beats_are_no_sign_of_life() -> None:
    bench, peer = found()
    beat = peer.beat()
    bench.hear(peer.source, beat)
    for _ in range(12):
        bench.wait(10.0)
        bench.hear(peer.source, beat)
    assert bench.rejected["replay"] + bench.rejected["stale"] == 12
    assert bench.prober.devices == ()


def test_where_all_fall_silent_at_once_it_is_we_who_are_deaf() -> None:
    peers = [Peer(number) for number in range(2, 52)]
    bench = Bench()
    bench.answer(*peers)
    for _ in range(10):
        for peer in peers:
            bench.wait(30 / len(peers))
            bench.hear(peer.source, peer.beat())
    bench.take()
    bench.wait(200.0)
    assert not [event for event in bench.take() if isinstance(event, Removed)]
    for _ in range(4):
        for peer in peers:
            bench.wait(30 / len(peers))
            bench.hear(peer.source, peer.beat())
            for out, query in bench.queries:
                [asked] = [one for one in peers if one.source == out.destination]
                bench.hear(asked.source, asked.alive(query.nonce))
            bench.sent.clear()
    assert len(bench.prober.devices) == 50
    # But not for ever.
    bench.wait(1_000.0)
    assert bench.prober.devices == ()


# -- interfaces -----------------------------------------------------------------------------------


def test_a_new_interface_is_searched_and_the_others_are_left_alone() -> None:
    bench, _ = found()
    bench.attach(ETH, ETH3)
    bench.wait(0.02)
    assert {out.interface for _, out, _ in bench.probes} == {3}


def test_with_its_last_interface_a_device_goes() -> None:
    bench, peer = found(interfaces=[ETH, ETH3])
    bench.hear(Endpoint(IPv4Address("10.0.1.2"), 4000), peer.beat(), at=ETH3)
    bench.wait(0.01)
    bench.hear(
        Endpoint(IPv4Address("10.0.1.2"), 4000),
        peer.alive(bench.queries[-1][1].nonce),
        at=ETH3,
    )
    bench.take()
    bench.attach(ETH3)
    [event] = bench.take()
    assert isinstance(event, Changed)
    assert [s.interface for s in event.device.sightings] == ["eth3"]
    bench.attach()
    [gone] = bench.take()
    assert isinstance(gone, Removed)
    assert gone.cause is Cause.PATH
    bench.wait(1_000.0)
    bench.attach(ETH)
    bench.sent.clear()
    bench.wait(0.2)
    assert bench.probes


def test_what_comes_by_an_interface_that_is_gone_is_nothing() -> None:
    bench, peer = found()
    bench.attach()
    bench.hear(peer.source, peer.beat())
    assert bench.prober.devices == ()


# -- keys -----------------------------------------------------------------------------------------


def test_with_a_key_only_who_has_it_is_shown() -> None:
    bench = Bench(domain=Domain(keyring=KEYS))
    assert bench.probe.header.key_id == 1
    bench.answer(Peer())
    wrong = Peer(3)
    wrong.keyring = Keyring({1: b"x" * 16}, 1)
    bench.answer(wrong)
    assert bench.prober.devices == ()
    assert bench.rejected == {"key": 2}
    right = Peer(4)
    right.keyring = KEYS
    bench.answer(right)
    assert bench.names == ["lamp-1"]


def test_while_keys_are_changed_the_old_one_is_good() -> None:
    bench = Bench(domain=Domain(keyring=Keyring({1: b"k" * 16, 2: b"n" * 16}, 2)))
    assert bench.probe.header.key_id == 2
    old = Peer()
    old.keyring = KEYS
    bench.answer(old)
    assert bench.names == ["lamp-1"]


def test_with_a_key_a_goodbye_is_believed_at_once() -> None:
    bench = Bench(domain=Domain(keyring=KEYS))
    peer = Peer()
    peer.keyring = KEYS
    bench.answer(peer)
    bench.hear(peer.source, peer.goodbye(), keyring=KEYS)
    assert bench.prober.devices == ()


def test_with_a_key_what_is_replayed_shows_nobody() -> None:
    bench = Bench(domain=Domain(keyring=KEYS))
    peer = Peer()
    peer.keyring = KEYS
    old_reply = peer.reply(bench.probe.nonce + 1)
    old_announcement = peer.announcement()
    for _ in range(5):
        bench.hear(peer.source, old_reply, keyring=KEYS)
        bench.hear(peer.source, old_announcement, keyring=KEYS)
        bench.wait(5.0)
    assert bench.prober.devices == ()
    # An announcement has to be proven each time, and nobody can.
    assert bench.rejected == {"unasked": 5, "unproven": 5}


# -- properties -----------------------------------------------------------------------------------


moves = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["reply", "alive", "announcement", "beat", "goodbye", "query", "wait"]),
        st.integers(0, 2),
        st.booleans(),
        st.floats(0, 40),
    ),
    max_size=40,
)


@given(moves)
def test_whatever_is_said_the_events_tell_what_is_shown(
    moves: list[tuple[int, str, int, bool, float]],
) -> None:
    bench = Bench(families=BOTH, max_peers=3)
    peers = [Peer(number) for number in range(2, 6)]
    shown: dict[str, object] = {}
    for who, what, version, elsewhere, seconds in moves:
        peer = peers[who]
        peer.version = version + 1
        peer.services = (LAMP, PLUG)[: version + 1]
        source = Endpoint(IPv4Address("10.0.0.77"), 9) if elsewhere else peer.source
        if what == "wait":
            bench.wait(seconds)
        elif what == "query":
            for out, query in bench.queries[-3:]:
                bench.hear(out.destination, peer.reply(query.nonce))
        elif what in ("reply", "alive"):
            bench.hear(source, getattr(peer, what)(bench.probe.nonce))
        else:
            bench.hear(source, getattr(peer, what)())
        for event in bench.take():
            if isinstance(event, Removed):
                del shown[event.device.id]
            else:
                assert (event.device.id in shown) is not isinstance(event, Added)
                shown[event.device.id] = event.device
        ids = {device.id for device in bench.prober.devices}
        assert ids == set(shown)
        assert len({id[:32] for id in ids}) <= 3
        due = bench.prober.get_timer()
        assert due is not None
        assert all(len(out.payload) <= 1_200 for _, out, _ in bench.sent)


def test_openings_are_as_asked_for() -> None:
    prober = Prober(random=Random(1), opening=Opening.SAMPLE)
    prober.interfaces_changed([Attached(ETH, (Family.IPV4,), 2_000)], 0.0)
    [outgoing] = prober.datagrams_to_send(0.0)
    probe = decode(outgoing.payload)
    assert isinstance(probe, Probe)
    assert probe.high == 4_096


def test_a_search_that_is_asked_for_is_as_eager_as_the_first() -> None:
    bench = Bench()
    bench.answer(Peer())
    bench.wait(20.0)
    before = len(bench.probes)
    bench.prober.search(bench.now)
    bench._collect()
    asked = bench.probes[before:]
    assert [time for time, _, _ in asked] == [20.0]
    # Who is known already isn't asked to answer again.
    assert asked[0][2].filter
    bench.wait(0.1)
    assert len(bench.probes) > before + 2
