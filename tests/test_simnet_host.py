"""Hosts: addresses, links that go down, raw datagrams, being switched off."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from bcast.datagram import Datagram, Endpoint, Family, Group, Kind
from bcast.errors import ArgumentError
from bcast.simnet import Host, Lan, Segment, WifiMode
from tests.recorders import Recorder

PORT = 28232
GROUP = IPv4Address("239.255.110.72")
TO_GROUP = Endpoint(GROUP, PORT)


def test_an_interface_is_as_a_system_would_list_it() -> None:
    lan = Lan()
    wired = lan.segment("wired", network="192.168.7.0/24", families=list(Family))
    air = lan.segment("air", wifi=WifiMode())
    host = lan.host("host")
    first = host.connect(wired, "192.168.7.9").interface
    second = host.connect(air).interface
    assert (first.name, first.index, first.kind) == ("eth0", 2, Kind.ETHERNET)
    assert (second.name, second.index, second.kind) == ("wlan0", 3, Kind.WIFI)
    assert first.usable
    assert second.usable
    assert first.hardware_address == "02:00:c0:a8:07:09"
    assert [str(address) for address in first.addresses] == [
        "192.168.7.9/24",
        "fe80::c0ff:fea8:709%eth0/64",
    ]
    assert first.addresses[0].broadcast == IPv4Address("192.168.7.255")
    assert [str(address) for address in second.addresses] == ["10.1.0.1/16"]


def test_free_addresses_are_given_out_in_order_around_the_taken_ones() -> None:
    lan = Lan()
    segment = lan.segment(network="10.9.0.0/29")
    host = lan.host("host")
    host.connect(segment, ip_address("10.9.0.2"))
    given = [str(host.connect(segment).address()) for _ in range(5)]
    assert given == ["10.9.0.1", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"]
    with pytest.raises(ArgumentError, match=r"all addresses of 10.9.0.0/29 are taken on lan"):
        host.connect(segment)


def test_a_link_that_goes_down_takes_its_sockets_along_and_comes_back() -> None:
    lan = Lan()
    segment = lan.segment()
    host = lan.host("host")
    link = host.connect(segment)
    other = host.connect(lan.segment("other"))
    machine = Recorder()
    process = host.run(machine, port=PORT, groups=[GROUP])
    sender = lan.host("sender").connect(segment)
    heard: list[Datagram] = []
    sender.listen(PORT, heard.append, [GROUP])
    for number in range(6):
        lan.at(number, partial(sender.send, bytes([number]), TO_GROUP))
    lan.at(1.5, link.down)
    lan.at(1.5, link.down)
    lan.at(3.5, link.up)
    lan.at(3.5, link.up)
    for time in (0.5, 2.5, 4.5):
        lan.at(time, lambda: process.call(lambda now: machine.send(b"me", TO_GROUP)))
    lan.run(10)
    assert [d.payload[0] for d in machine.datagrams if d.payload != b"me"] == [0, 1, 4, 5]
    assert [(time, len(attached)) for time, attached in machine.attached] == [
        (0.0, 2),
        (1.5, 1),
        (3.5, 2),
    ]
    assert machine.attached[1][1][0].interface == other.interface
    [before, after] = [datagram.source for datagram in heard if datagram.payload == b"me"]
    assert before.address == after.address
    assert before.port != after.port


def test_a_link_that_comes_later_is_used_by_what_runs() -> None:
    lan = Lan()
    segment = lan.segment()
    host = lan.host("host")
    machine = Recorder()
    host.run(machine, port=PORT, groups=[GROUP])
    lan.at(1, lambda: host.connect(segment))
    lan.at(2, lambda: lan.host("sender").connect(segment).send(b"x", TO_GROUP))
    lan.run(3)
    assert [(time, len(attached)) for time, attached in machine.attached] == [(0, 0), (1, 1)]
    assert len(machine.datagrams) == 1


def test_any_bytes_go_out_from_any_endpoint_and_are_heard() -> None:
    lan = Lan()
    segment = lan.segment(families=list(Family))
    sender = lan.host("attacker").connect(segment)
    host = lan.host("witness")
    link = host.connect(segment)
    heard: list[Datagram] = []
    listener = link.listen(9, heard.append, ["239.1.1.1", Group(IPv6Address("ff02::1"))])
    forged = Endpoint(IPv4Address("203.0.113.5"), 53)
    for address in ("239.1.1.1", "10.0.255.255", "255.255.255.255", "10.0.0.2"):
        sender.send(b"\xff\x00", Endpoint(ip_address(address), 9), source=forged, ttl=7)
    sender.send(b"", Endpoint(IPv6Address("ff02::1"), 9))
    lan.run(1)
    assert [(d.payload, d.source, d.ttl) for d in heard if d.ttl == 7] == [
        (b"\xff\x00", forged, 7)
    ] * 4
    [sixth] = [d for d in heard if d.ttl == 255]
    assert sixth.destination.address == IPv6Address("ff02::1%eth0")
    listener.close()
    listener.close()
    sender.send(b"x", Endpoint(link.address(), 9))
    lan.run(2)
    assert len(heard) == 5


def test_a_reply_to_a_forged_source_goes_to_who_has_the_address() -> None:
    lan = Lan()
    segment = lan.segment()
    victim, attacker = (lan.host(name).connect(segment) for name in ("victim", "attacker"))
    hit: list[Datagram] = []
    victim.listen(4_000, hit.append)
    attacker.listen(PORT, lambda datagram: attacker.send(b"reply", datagram.source))
    lan.host("fool").connect(segment).send(
        b"?", Endpoint(attacker.address(), PORT), source=Endpoint(victim.address(), 4_000)
    )
    lan.run(1)
    assert [datagram.payload for datagram in hit] == [b"reply"]


def test_what_does_not_fit_the_mtu_is_not_sent() -> None:
    lan = Lan(trace=10)
    segment = lan.segment()
    link = lan.host("sender").connect(segment)
    link.send(b"x" * 1_473, TO_GROUP)
    assert segment.datagrams == 0
    link.send(b"x" * 1_472, TO_GROUP)
    assert segment.datagrams == 1
    link.down()
    link.send(b"x", TO_GROUP)
    assert segment.datagrams == 1
    assert [str(line.fate) for line in lan.trace] == ["unsent", "sent", "unsent"]


def test_a_host_that_is_switched_off_is_silent_and_may_come_back() -> None:
    lan = Lan()
    segment = lan.segment()
    host = lan.host("host")
    link = host.connect(segment)
    first, second = Recorder(), Recorder()
    host.run(first, port=PORT, groups=[GROUP])
    heard: list[Datagram] = []
    link.listen(PORT, heard.append, [GROUP])
    first.send_at(1.5, b"never", TO_GROUP)
    sender = lan.host("sender").connect(segment)
    for number in range(4):
        lan.at(number, partial(sender.send, bytes([number]), TO_GROUP))
    # What is under way when it goes off isn't heard any more.
    lan.at(1.00001, host.stop)
    lan.at(2.5, lambda: host.run(second, port=PORT, groups=[GROUP]))
    lan.run(10)
    assert [d.payload[0] for d in first.datagrams] == [0]
    assert [d.payload[0] for d in heard] == [0]
    assert [d.payload[0] for d in second.datagrams] == [3]
    assert segment.datagrams == 4
    assert len(host.processes) == 1


def test_a_host_that_goes_off_at_a_datagram_gives_it_to_nobody_else() -> None:
    lan = Lan()
    segment = lan.segment()
    host = lan.host("host")
    host.connect(segment).listen(PORT, lambda _: host.stop(), [GROUP])
    machine = Recorder()
    host.run(machine, port=PORT, groups=[GROUP])
    lan.host("sender").connect(segment).send(b"x", TO_GROUP)
    lan.run(1)
    assert machine.datagrams == []


def test_randomness_is_that_of_the_seed_and_the_name() -> None:
    draws = [
        [Lan(seed).host(name).random.random() for _ in range(2)]
        for seed, name in ((1, "a"), (1, "a"), (1, "b"), (2, "a"))
    ]
    assert draws[0] == draws[1]
    assert len({tuple(one) for one in draws}) == 3
    host = Lan().host("a")
    assert host.random is host.random


def _two(lan: Lan, segment: Segment, host: Host) -> None:
    host.connect(segment, "10.0.0.9")
    host.connect(segment, "10.0.0.9")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda lan, segment, host: host.connect(segment, "10.7.0.1"), "no host address of"),
        (lambda lan, segment, host: host.connect(segment, "10.0.0.0"), "no host address of"),
        (lambda lan, segment, host: host.connect(segment, "10.0.255.255"), "no host address of"),
        (lambda lan, segment, host: host.connect(segment, "fe80::1"), "no IPv4 address"),
        (lambda lan, segment, host: host.connect(segment, "lamp"), "no IPv4 address"),
        (lambda lan, segment, host: host.connect(segment, name="a b"), "can't name an interface"),
        (lambda lan, segment, host: host.connect(segment, name="a%b"), "can't name an interface"),
        (lambda lan, segment, host: host.connect(segment, name="eth0"), "can't name an interface"),
        (lambda lan, segment, host: host.connect(segment, buffer=2_303), "2303 bytes"),
        (lambda lan, segment, host: host.connect(segment, drain=0), "0 datagrams a second"),
        (lambda lan, segment, host: host.connect(segment, loss=2), "2 is no chance"),
        (_two, "10.0.0.9 is taken on lan by host"),
        (lambda lan, segment, host: host.run(Recorder(), port=0), "0 is no port"),
        (lambda lan, segment, host: host.run(Recorder(), port=1, ttl=256), "256 is no TTL"),
        (
            lambda lan, segment, host: host.run(Recorder(), port=1, groups=["10.0.0.1"]),
            "10.0.0.1 is no group",
        ),
        (
            lambda lan, segment, host: host.run(
                Recorder(), port=1, groups=[Group(GROUP, IPv4Address("10.0.0.1"))]
            ),
            "has a source",
        ),
        (lambda lan, segment, host: host.freeze(-1), "stall of -1 s"),
        (lambda lan, segment, host: host.links[0].address(Family.IPV6), "no IPv6 address"),
        (lambda lan, segment, host: host.links[0].listen(65_536, print), "65536 is no port"),
        (
            lambda lan, segment, host: host.links[0].send(
                b"", TO_GROUP, source=Endpoint(IPv6Address("::1"), 1)
            ),
            "two families",
        ),
        (
            lambda lan, segment, host: host.links[0].send(b"", Endpoint(GROUP, 0)),
            "0 is no port",
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong: Any, message: str) -> None:
    lan = Lan()
    segment = lan.segment()
    host = lan.host("host")
    host.connect(segment)
    with pytest.raises(ArgumentError, match=message):
        wrong(lan, segment, host)
    assert len(host.processes) == 0
