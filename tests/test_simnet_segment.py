"""The way of a datagram: who hears it, when, how often, and what stops it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Datagram, Endpoint, Family, Group
from bcast.errors import ArgumentError
from bcast.simnet import Faults, GilbertElliott, Host, Lan, Link, Segment, Transmission
from tests.recorders import Echo, Recorder

PORT = 28232
GROUP = IPv4Address("239.255.110.72")
GROUP6 = IPv6Address("ff12::fd99:4222")
TO_GROUP = Endpoint(GROUP, PORT)


def populate(lan: Lan, segment: Segment, count: int, prefix: str = "peer") -> list[Recorder]:
    machines = [Recorder() for _ in range(count)]
    for number, machine in enumerate(machines):
        host = lan.host(f"{prefix}{number}")
        host.connect(segment)
        host.run(machine, port=PORT, groups=[GROUP])
    return machines


def send_numbers(lan: Lan, link: Link, to: Endpoint, count: int, gap: float) -> None:
    """Sends the numbers from 0, as two bytes each, one every ``gap`` seconds."""
    for number in range(count):
        lan.at(number * gap, partial(link.send, number.to_bytes(2, "big"), to))


def numbers(datagrams: Iterable[Datagram]) -> list[int]:
    return [int.from_bytes(datagram.payload, "big") for datagram in datagrams]


# --- who hears it


@pytest.mark.parametrize(
    ("destination", "heard"),
    [
        ("239.255.110.72", {"member", "sender"}),
        ("255.255.255.255", {"member", "stranger", "sender"}),
        ("10.0.255.255", {"member", "stranger", "sender"}),
        ("239.1.2.3", set()),
        ("10.0.0.1", {"sender"}),
        ("10.0.0.2", {"member"}),
        ("10.0.0.77", set()),
    ],
)
def test_a_datagram_reaches_whom_it_is_for(destination: str, heard: set[str]) -> None:
    """Own datagrams to groups and by broadcast loop back to the sender."""
    lan = Lan()
    segment = lan.segment()
    machines = {}
    processes = {}
    for name, groups in (("sender", [GROUP]), ("member", [GROUP]), ("stranger", [])):
        host = lan.host(name)
        host.connect(segment)
        machines[name] = Recorder()
        processes[name] = host.run(machines[name], port=PORT, groups=groups)
    to = Endpoint(ip_address(destination), PORT)
    processes["sender"].call(lambda now: machines["sender"].send(b"hello", to))
    lan.run(1)
    assert {name for name, machine in machines.items() if machine.datagrams} == heard
    for name in heard:
        [datagram] = machines[name].datagrams
        assert datagram.payload == b"hello"
        assert datagram.source.address == IPv4Address("10.0.0.1")
        assert datagram.source.port >= 32_768
        assert datagram.destination == Endpoint(ip_address(destination), PORT)
        assert datagram.ttl == 255
        assert datagram.interface.name == "eth0"


def test_other_ports_and_other_segments_hear_nothing() -> None:
    lan = Lan()
    segment, other = lan.segment("one"), lan.segment("two")
    [near] = populate(lan, segment, 1, "near")
    [far] = populate(lan, other, 1, "far")
    sender = lan.host("sender").connect(segment)
    sender.send(b"x", Endpoint(GROUP, PORT + 1))
    sender.send(b"y", TO_GROUP)
    lan.run(1)
    assert [datagram.payload for datagram in near.datagrams] == [b"y"]
    assert far.datagrams == []


def test_processes_of_a_host_share_a_port() -> None:
    """Each gets a copy of what goes to all; unicast reaches the last one that is there."""
    lan = Lan()
    segment = lan.segment()
    host = lan.host("host")
    link = host.connect(segment)
    machines = [Recorder(), Recorder()]
    processes = [host.run(machine, port=PORT, groups=[GROUP]) for machine in machines]
    sender = lan.host("sender").connect(segment)
    sender.send(b"group", TO_GROUP)
    sender.send(b"unicast", Endpoint(link.address(), PORT))
    lan.run(1)
    heard = [[d.payload for d in machine.datagrams] for machine in machines]
    assert sorted(heard[0]) == [b"group"]
    assert sorted(heard[1]) == [b"group", b"unicast"]
    processes[1].stop()
    sender.send(b"again", Endpoint(link.address(), PORT))
    lan.run(2)
    assert machines[0].datagrams[-1].payload == b"again"


def test_a_reply_reaches_the_process_that_asked() -> None:
    """Each sends from a port of its own, on each interface."""
    lan = Lan()
    first, second = lan.segment("one"), lan.segment("two")
    host, answering = lan.host("asking"), lan.host("answering")
    for segment in (first, second):
        host.connect(segment)
        answering.connect(segment)
    echo = Echo(b"answer")
    answering.run(echo, port=PORT, groups=[GROUP])
    machines = [Recorder(), Recorder()]
    for number, machine in enumerate(machines):
        machine.send(b"?", TO_GROUP, 2 + number)
        host.run(machine, port=PORT)
    lan.run(1)
    assert len({datagram.source.port for datagram in echo.datagrams}) == 2
    for number, machine in enumerate(machines):
        [datagram] = machine.datagrams
        assert datagram.payload == b"answer"
        assert datagram.interface.index == 2 + number
        assert datagram.source.address == IPv4Address(f"10.{number}.0.2")


def test_the_ttl_and_the_host_clock_are_carried() -> None:
    lan = Lan()
    segment = lan.segment(delay=(0.001, 0.001))
    [machine] = populate(lan, segment, 1)
    host = lan.host("sender")
    link = host.connect(segment)
    asking = Recorder()
    asking.send(b"x", TO_GROUP)
    host.run(asking, port=PORT, ttl=1)
    lan.at(1, lambda: lan.hosts[0].jump_clock(-3_600))
    lan.at(1, lambda: link.send(b"y", TO_GROUP, ttl=64))
    lan.run(2)
    first, second = machine.datagrams
    assert (first.ttl, second.ttl) == (1, 64)
    assert second.time - first.time == pytest.approx(1 - 3_600, abs=1e-6)
    assert [arrival.now for arrival in machine.arrivals] == pytest.approx([0.001, 1.001])


def test_ipv6_endpoints_carry_the_scope_of_where_they_arrive() -> None:
    lan = Lan()
    segment = lan.segment(families=[Family.IPV4, Family.IPV6])
    receiver, sender = lan.host("receiver"), lan.host("sender")
    link = receiver.connect(segment, name="wan7")
    sender.connect(segment, name="eth3")
    machine = Echo()
    receiver.run(machine, port=PORT, groups=[Group(GROUP6), GROUP])
    asking = Recorder()
    asking.send(b"x", Endpoint(GROUP6, PORT))
    sender.run(asking, port=PORT)
    assert asking.attached[0][1][0].families == (Family.IPV4, Family.IPV6)
    lan.run(1)
    [datagram] = machine.datagrams
    assert datagram.source.address == IPv6Address("fe80::aff:fe00:2%wan7")
    assert datagram.destination == Endpoint(IPv6Address("ff12::fd99:4222%wan7"), PORT)
    [answer] = asking.datagrams
    own = link.address(Family.IPV6)
    assert isinstance(own, IPv6Address)
    assert str(answer.source.address) == str(own).replace("wan7", "eth3")


def test_all_receivers_get_the_same_payload_object() -> None:
    lan = Lan()
    segment = lan.segment()
    machines = populate(lan, segment, 5)
    payload = b"x" * 100
    lan.host("sender").connect(segment).send(payload, TO_GROUP)
    lan.run(1)
    assert all(machine.datagrams[0].payload is payload for machine in machines)


def test_who_does_not_listen_still_gets_unicast() -> None:
    lan = Lan()
    segment = lan.segment()
    host = lan.host("quiet")
    link = host.connect(segment)
    machine = Recorder()
    host.run(machine, port=PORT, groups=[GROUP], listens=False)
    sender = lan.host("sender").connect(segment)
    for address in (GROUP, IPv4Address("255.255.255.255"), link.address()):
        sender.send(b"x", Endpoint(address, PORT))
    lan.run(1)
    assert [d.destination.address for d in machine.datagrams] == [link.address()]


# --- when, and how often


def test_delays_are_spread_over_their_range_and_differ() -> None:
    lan = Lan(3)
    segment = lan.segment(delay=(0.010, 0.020))
    machines = populate(lan, segment, 1_000)
    lan.host("sender").connect(segment).send(b"x", TO_GROUP)
    lan.run(1)
    delays = [machine.arrivals[0].now for machine in machines]
    assert min(delays) >= 0.010
    assert max(delays) <= 0.020
    assert min(delays) < 0.0103
    assert max(delays) > 0.0197
    assert sum(delays) / 1_000 == pytest.approx(0.015, abs=0.0005)
    assert sum(a < b for a, b in pairwise(delays)) == pytest.approx(500, abs=60)


@given(
    st.integers(0, 1_000),
    st.lists(st.sampled_from([0.0, 0.00001, 0.0001, 0.001]), max_size=12),
    st.booleans(),
)
def test_what_one_sends_arrives_in_order(seed: int, gaps: list[float], to_group: bool) -> None:
    lan = Lan(seed)
    segment = lan.segment(loss=0.2)
    machines = populate(lan, segment, 3)
    sender = lan.host("sender").connect(segment)
    other = lan.host("other").connect(segment)
    time = 0.0
    for number, gap in enumerate(gaps):
        time += gap
        destination = TO_GROUP if to_group else Endpoint(lan.hosts[0].links[0].address(), PORT)

        def send(number: int = number, destination: Endpoint = destination) -> None:
            sender.send(bytes([number]), destination)
            other.send(bytes([100 + number]), destination)

        lan.at(time, send)
    lan.run(1)
    for machine in machines:
        own = [d.payload[0] for d in machine.datagrams]
        for low in (0, 100):
            part = [number for number in own if low <= number < low + 100]
            assert part == sorted(set(part))


@pytest.mark.parametrize("fault", ["jitter", "reorder"])
def test_jitter_and_reordering_let_datagrams_overtake(fault: str) -> None:
    lan = Lan(4)
    segment = lan.segment()
    segment.faults = Faults(jitter=0.005) if fault == "jitter" else Faults(reorder=0.3)
    machines = populate(lan, segment, 20)
    sender = lan.host("sender").connect(segment)
    link = lan.hosts[0].links[0]
    single: list[Datagram] = []
    link.listen(PORT + 1, single.append)
    send_numbers(lan, sender, TO_GROUP, 50, 0.001)
    send_numbers(lan, sender, Endpoint(link.address(), PORT + 1), 50, 0.001)
    lan.run(2)
    for heard in (*(machine.datagrams for machine in machines), single):
        assert numbers(heard) != sorted(numbers(heard))
        assert sorted(numbers(heard)) == list(range(50))


@pytest.mark.parametrize("to_group", [True, False])
def test_loss_and_duplication_are_as_frequent_as_asked_for(to_group: bool) -> None:
    lan = Lan(5)
    segment = lan.segment(loss=0.25, duplicate=0.2)
    count = 4_000
    counts: Counter[bytes] = Counter()
    link = lan.host("receiver").connect(segment)
    link.listen(PORT, lambda datagram: counts.update([datagram.payload]), [GROUP])
    sender = lan.host("sender").connect(segment)
    for number in range(count):
        destination = GROUP if to_group else link.address()
        sender.send(number.to_bytes(2, "big"), Endpoint(destination, PORT))
    lan.run(1)
    assert len(counts) / count == pytest.approx(0.75, abs=0.03)
    assert sum(n == 2 for n in counts.values()) / len(counts) == pytest.approx(0.2, abs=0.03)
    assert max(counts.values()) == 2


def test_receivers_lose_independently_and_a_bad_link_more() -> None:
    lan = Lan(6)
    segment = lan.segment(loss=0.1)
    machines = populate(lan, segment, 2)
    host = lan.host("far")
    host.connect(segment, loss=0.5)
    far = Recorder()
    host.run(far, port=PORT, groups=[GROUP])
    sender = lan.host("sender").connect(segment)
    send_numbers(lan, sender, TO_GROUP, 2_000, 0.01)
    lan.run(30)
    heard = [set(numbers(machine.datagrams)) for machine in (*machines, far)]
    assert [len(h) / 2_000 for h in heard] == pytest.approx([0.9, 0.9, 0.45], abs=0.03)
    assert len(heard[0] & heard[1]) / 2_000 == pytest.approx(0.81, abs=0.03)


def test_bursts_silence_a_link_for_a_while_not_the_others() -> None:
    lan = Lan(7)
    segment = lan.segment(burst=GilbertElliott(0.05, 0.1))
    machines = populate(lan, segment, 2)
    sender = lan.host("sender").connect(segment)
    count = 20_000
    send_numbers(lan, sender, TO_GROUP, count, 0.005)
    lan.run(count / 200 + 1)
    heard = [set(numbers(machine.datagrams)) for machine in machines]
    for one in heard:
        lost = [number not in one for number in range(count)]
        assert sum(lost) / count == pytest.approx(0.1, abs=0.03)
        begun = sum(b and not a for a, b in pairwise(lost))
        assert sum(lost) / begun == pytest.approx(10, rel=0.25)
    either = sum(n not in heard[0] and n not in heard[1] for n in range(count))
    assert either / count < 0.03


def test_faults_can_be_changed_as_time_goes_by() -> None:
    lan = Lan()
    segment = lan.segment()
    [machine] = populate(lan, segment, 1)
    sender = lan.host("sender").connect(segment)
    send_numbers(lan, sender, TO_GROUP, 10, 0.1)
    lan.at(0.25, lambda: setattr(segment, "faults", Faults(loss=1)))
    lan.at(0.55, lambda: setattr(segment, "faults", Faults()))
    lan.run(1)
    assert numbers(machine.datagrams) == [0, 1, 2, 6, 7, 8, 9]


def test_another_burst_model_replaces_the_first() -> None:
    lan = Lan()
    segment = lan.segment(burst=GilbertElliott(1e9, 0.999))
    [machine] = populate(lan, segment, 1)
    send_numbers(lan, lan.host("sender").connect(segment), TO_GROUP, 4, 1.0)
    lan.at(1.5, lambda: setattr(segment, "faults", Faults(burst=GilbertElliott(1e9, 0.001))))
    lan.run(5)
    assert numbers(machine.datagrams) == [2, 3]


def test_a_host_reaches_itself_without_the_wire() -> None:
    lan = Lan()
    segment = lan.segment(loss=1)
    host = lan.host("host")
    links = [host.connect(segment, loss=1) for _ in range(2)]
    machine = Recorder()
    host.run(machine, port=PORT, groups=[GROUP])
    for link in links:
        links[0].send(b"me", Endpoint(link.address(), PORT))
    links[0].send(b"all", TO_GROUP)
    lan.run(1)
    heard = sorted((d.payload, d.interface.name) for d in machine.datagrams)
    assert heard == [(b"all", "eth0"), (b"me", "eth0"), (b"me", "eth1")]


def test_a_dead_segment_loses_all_that_is_sent_and_draws_nothing() -> None:
    lan = Lan(trace=10)
    segment = lan.segment(loss=1)
    machines = populate(lan, segment, 3)
    lan.hosts[0].links[0].send(b"x", TO_GROUP)
    lan.run(1)
    assert [len(machine.datagrams) for machine in machines] == [1, 0, 0]
    fates = [(line.host, str(line.fate)) for line in lan.trace]
    assert fates == [
        ("peer0", "sent"),
        ("peer1", "lost"),
        ("peer2", "lost"),
        ("peer0", "received"),
    ]


# --- partitions


def test_a_partition_cuts_sides_from_one_another_until_it_heals() -> None:
    lan = Lan()
    segment = lan.segment()
    machines = populate(lan, segment, 3)
    west, east, both = lan.hosts

    def greet(text: bytes) -> None:
        for host in lan.hosts:
            host.links[0].send(text, TO_GROUP)
            for other in lan.hosts:
                if other is not host:
                    host.links[0].send(text, Endpoint(other.links[0].address(), PORT))

    segment.partition([west], [east])
    greet(b"cut")
    lan.run(1)
    senders = [Counter(str(d.source.address) for d in m.datagrams) for m in machines]
    assert senders[0] == {"10.0.0.1": 1, "10.0.0.3": 2}
    assert senders[1] == {"10.0.0.2": 1, "10.0.0.3": 2}
    assert senders[2] == {"10.0.0.1": 2, "10.0.0.2": 2, "10.0.0.3": 1}
    segment.heal()
    greet(b"whole")
    lan.run(2)
    assert [sum(d.payload == b"whole" for d in m.datagrams) for m in machines] == [5, 5, 5]
    with pytest.raises(ArgumentError, match="peer0 can't be on two sides"):
        segment.partition([west, both], [west])


# --- what is said about it


def test_what_is_sent_is_counted_once_and_can_be_observed() -> None:
    lan = Lan()
    segment = lan.segment(loss=0.5)
    populate(lan, segment, 10)
    seen: list[Transmission] = []
    segment.observe(seen.append)
    link = lan.host("sender").connect(segment)
    forged = Endpoint(IPv4Address("192.0.2.1"), 7)
    lan.at(0.5, lambda: link.send(b"12345", TO_GROUP, source=forged, ttl=3))
    link.send(b"123", Endpoint(IPv4Address("10.0.9.9"), PORT))
    lan.run(1)
    assert (segment.datagrams, segment.bytes) == (2, 8)
    assert seen[1] == Transmission(0.5, link, forged, TO_GROUP, b"12345", 3)


@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_nothing_is_received_that_was_not_sent(seed: int, loss: float, other: float) -> None:
    lan = Lan(seed)
    segment = lan.segment(loss=loss, duplicate=other, reorder=other, jitter=other / 100)
    machines = populate(lan, segment, 4)
    hosts: tuple[Host, ...] = lan.hosts
    for number in range(20):
        destination = TO_GROUP if number % 2 else Endpoint(hosts[1].links[0].address(), PORT)
        lan.at(number / 50, partial(hosts[0].links[0].send, bytes([number]), destination))
    lan.run(10)
    for position, machine in enumerate(machines):
        counts = Counter(d.payload[0] for d in machine.datagrams)
        for number, count in counts.items():
            assert count <= (1 if position == 0 else 2)
            assert number % 2 or position == 1
    # The system's own copy goes by no wire.
    assert [d.payload[0] for d in machines[0].datagrams] == list(range(1, 20, 2))
