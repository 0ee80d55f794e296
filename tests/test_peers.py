from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Endpoint, Family, Interface, InterfaceFlag, Kind
from bcast.device import Added, Cause, Changed, Removed, Restarted
from bcast.discovery.peers import Candidate, Candidates, Path, Peer, PeerTable
from bcast.messages import Service

ETH0 = Interface("eth0", 2, Kind.ETHERNET, InterfaceFlag.UP, 1500)
WLAN0 = Interface("wlan0", 3, Kind.WIFI, InterfaceFlag.UP, 1500)

ID = bytes(range(16))

U32 = 0xFFFF_FFFF


def path(sequence: int = 0) -> Path:
    return Path(ETH0, Endpoint(IPv4Address("10.0.0.2"), 4000), sequence)


# -- the window of sequence numbers ---------------------------------------------------------------


def test_a_datagram_is_taken_once() -> None:
    one = path(5)
    assert not one.accepts(5)
    assert one.accepts(6)
    assert not one.accepts(6)
    # Overtaken on the way, but not older than the window.
    assert one.accepts(9)
    assert one.accepts(7)
    assert not one.accepts(7)
    assert one.accepts(9 - 63)
    assert not one.accepts(9 - 64)


def test_sequence_numbers_wrap_around() -> None:
    one = path(U32)
    assert one.accepts(0)
    assert not one.accepts(U32)
    assert one.accepts(U32 - 1)
    assert one.accepts(100)
    assert not one.accepts(0)


def test_an_answer_to_a_question_of_ours_begins_a_window_anew() -> None:
    one = path(5)
    assert one.accepts(U32 // 2)
    assert not one.accepts(6)
    one.restart_window(6)
    assert one.accepts(7)


@given(st.integers(0, U32), st.lists(st.integers(-70, 70), max_size=60))
def test_no_number_is_ever_taken_twice(start: int, steps: Sequence[int]) -> None:
    one = path(start)
    taken = {start}
    newest = start
    for step in steps:
        number = (newest + step) & U32
        fresh = step > 0 or (-64 < step <= 0 and number not in taken)
        assert one.accepts(number) is fresh
        if fresh:
            taken.add(number)
            if step > 0:
                newest = number


# -- what a peer offers ---------------------------------------------------------------------------


LAMP = Service("lamp-1", "_lamp", 80, {"fw": "1.4"})
PLUG = Service("plug-1", "_plug", 81)


def peer() -> Peer:
    one = Peer(ID, 1)
    one.paths[2, Family.IPV4] = path()
    one.heard[2] = 0.0
    return one


def test_each_service_is_a_device() -> None:
    one = peer()
    first, second = one.offer([LAMP, PLUG])
    assert isinstance(first, Added)
    assert isinstance(second, Added)
    assert (first.device.id, second.device.id) == (ID.hex(), ID.hex() + "/1")
    assert (first.device.name, first.device.type, first.device.port) == ("lamp-1", "_lamp", 80)
    assert first.device.attributes == {"fw": "1.4"}
    [sighting] = second.device.sightings
    assert (sighting.interface, sighting.index, sighting.port) == ("eth0", 2, 4000)


def test_what_changed_is_named() -> None:
    one = peer()
    one.offer([LAMP])
    assert one.offer([LAMP]) == []
    [event] = one.offer([Service("lamp-1", "_lamp", 82, {"fw": "1.5"})])
    assert isinstance(event, Changed)
    assert event.changed == ("port", "attributes")
    [event] = one.offer([Service("lamp-2", "_lamp", 82, {"fw": "1.5"})])
    assert isinstance(event, Changed)
    assert event.changed == ("name",)
    assert event.device.id == ID.hex()


def test_a_device_keeps_its_id_when_another_of_the_peer_goes() -> None:
    one = peer()
    one.offer([LAMP, PLUG])
    [event] = one.offer([PLUG])
    assert isinstance(event, Removed)
    assert (event.device.name, event.cause) == ("lamp-1", Cause.GOODBYE)
    assert [device.id for device in one.devices] == [ID.hex() + "/1"]
    [event] = one.offer([PLUG, LAMP])
    assert isinstance(event, Added)
    assert {device.id: device.name for device in one.devices} == {
        ID.hex(): "lamp-1",
        ID.hex() + "/1": "plug-1",
    }


def test_two_of_one_type_are_told_apart_by_their_names() -> None:
    one = peer()
    one.offer([LAMP, Service("lamp-2", "_lamp", 80)])
    [event] = one.offer([Service("lamp-2", "_lamp", 80), Service("lamp-3", "_lamp", 80)])
    assert isinstance(event, Changed)
    assert (event.device.id, event.device.name) == (ID.hex(), "lamp-3")
    assert event.changed == ("name", "attributes")


def test_a_restart_is_one_event_and_what_changed_another() -> None:
    one = peer()
    one.offer([LAMP])
    one.begin_epoch(2)
    assert one.past_epochs == (1,)
    assert not one.paths
    one.paths[2, Family.IPV4] = path()
    [restarted, changed] = one.offer([Service("lamp-1", "_lamp", 80, {"fw": "2.0"})])
    assert isinstance(restarted, Restarted)
    assert isinstance(changed, Changed)
    assert changed.changed == ("attributes",)
    assert one.offer([Service("lamp-1", "_lamp", 80, {"fw": "2.0"})]) == []


services = st.lists(
    st.builds(
        Service, st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]), st.integers(0, 2)
    ),
    max_size=5,
)


@given(st.lists(services, max_size=5))
def test_added_and_removed_always_make_up_what_is_there(offers: list[list[Service]]) -> None:
    one = peer()
    shown: dict[str, object] = {}
    for offer in offers:
        for event in one.offer(offer):
            if isinstance(event, Removed):
                del shown[event.device.id]
            elif isinstance(event, Added):
                assert event.device.id not in shown
                shown[event.device.id] = event.device
            else:
                assert event.device.id in shown
                shown[event.device.id] = event.device
        assert shown == {device.id: device for device in one.devices}
        assert len(shown) == len(offer)


def test_sightings_are_in_the_order_of_interfaces_and_families() -> None:
    one = peer()
    one.paths[3, Family.IPV4] = Path(WLAN0, Endpoint(IPv4Address("10.1.0.2"), 1), 0)
    six = Endpoint(IPv6Address("fe80::1%eth0"), 1)
    one.paths[2, Family.IPV6] = Path(ETH0, six, 0)
    one.heard[3] = 0.0
    assert [(s.interface, s.address.version) for s in one.sightings] == [
        ("eth0", 4),
        ("eth0", 6),
        ("wlan0", 4),
    ]
    first = one.path(2)
    assert first is not None
    assert first.endpoint.address.version == 4
    assert one.drop_paths(2)
    assert not one.drop_paths(2)
    assert [s.interface for s in one.sightings] == ["wlan0"]


# -- the table ------------------------------------------------------------------------------------


def test_a_full_table_refuses_newcomers_and_counts_them() -> None:
    table = PeerTable(2)
    one = table.add(b"1" * 16, 0)
    assert one is not None
    assert table.add(b"2" * 16, 0) is not None
    assert table.add(b"3" * 16, 0) is None
    assert (len(table), table.refused) == (2, 1)
    table.remove(one)
    assert table.add(b"3" * 16, 0) is not None


def test_what_a_peer_said_before_it_went_does_not_bring_it_back() -> None:
    table = PeerTable(2)
    one = table.add(ID, 7)
    assert one is not None
    one.note_answer(1, 10)
    one.note_answer(1, 8)
    table.remove(one)
    assert table.is_stale(ID, 7, 10)
    assert table.is_stale(ID, 7, 9)
    assert not table.is_stale(ID, 7, 11)
    assert not table.is_stale(ID, 8, 9)


def test_the_memory_of_the_gone_is_bounded() -> None:
    table = PeerTable(2)
    for number in range(5_000):
        one = table.add(number.to_bytes(16, "big"), 0)
        assert one is not None
        table.remove(one)
    assert not table.is_stale((0).to_bytes(16, "big"), 0, 0)
    assert table.is_stale((4_999).to_bytes(16, "big"), 0, 0)


# -- candidates -----------------------------------------------------------------------------------


def candidate(number: int, host: int = 1) -> Candidate:
    source = Endpoint(IPv4Address(0x0A00_0000 + host), 4000)
    return Candidate(number.to_bytes(16, "big"), 0, 2, source)


def test_each_source_has_its_turn() -> None:
    candidates = Candidates(100, Random(1))
    for number in range(50):
        candidates.add(candidate(number, host=1))
    candidates.add(candidate(99, host=2))
    taken = [candidates.take(()) for _ in range(4)]
    hosts = [int(one.source.address) & 0xFF for one in taken if one is not None]
    assert hosts == [1, 2, 1, 2]


def test_a_source_that_is_being_asked_is_passed_over() -> None:
    candidates = Candidates(100, Random(1))
    candidates.add(candidate(1, host=1))
    assert not candidates.has_one({IPv4Address("10.0.0.1")})
    assert candidates.take({IPv4Address("10.0.0.1")}) is None
    candidates.add(candidate(2, host=2))
    assert candidates.has_one({IPv4Address("10.0.0.1")})
    assert candidates.take({IPv4Address("10.0.0.1")}) == candidate(2, host=2)


def test_a_flood_from_one_source_takes_64_places() -> None:
    candidates = Candidates(1_000, Random(1))
    for number in range(5_000):
        candidates.add(candidate(number))
    assert len(candidates) == 64


def test_a_flood_from_many_sources_does_not_push_out_those_of_other_hosts() -> None:
    candidates = Candidates(1_000, Random(1))
    honest = [candidate(number, host=number) for number in range(100_000, 100_010)]
    for one in honest:
        candidates.add(one)
    for number in range(20_000):
        candidates.add(candidate(number, host=number % 200))
    assert len(candidates) == 1_000
    left = 0
    for _ in range(2_000):
        taken = candidates.take(())
        if taken is None:
            break
        left += taken in honest
        candidates.discard(taken)
    assert left >= 9


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(1, 5))), st.integers(1, 20)
)
def test_candidates_are_bounded_and_forgotten(
    steps: list[tuple[bool, int, int]], limit: int
) -> None:
    candidates = Candidates(limit, Random(1))
    for adds, number, host in steps:
        if adds:
            candidates.add(candidate(number, host))
            assert len(candidates) <= limit
        else:
            candidates.discard(candidate(number, host))
    for _ in range(len(candidates)):
        one = candidates.take(())
        assert one is not None
        candidates.discard(one)
    assert len(candidates) == 0
    assert candidates.take(()) is None


@pytest.mark.parametrize("interface", [2, 3])
def test_an_interface_that_is_gone_takes_its_candidates_along(interface: int) -> None:
    candidates = Candidates(10, Random(1))
    candidates.add(candidate(1))
    candidates.drop_interface(interface)
    assert len(candidates) == (interface == 3)
