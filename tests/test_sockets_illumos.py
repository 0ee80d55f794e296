"""illumos socket plans, against its headers: every option by its number."""

from __future__ import annotations

import errno
import struct
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress, Kind
from bcast.sockets import illumos
from bcast.sockets.plan import ANY, Arrival, Bind, SetOption, Step, Verify

FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
NET0 = Interface("net0", 3, Kind.ETHERNET, FLAGS, 1500)
LO0 = Interface("lo0", 1, Kind.LOOPBACK, InterfaceFlag.UP | InterfaceFlag.LOOPBACK, 8232)
JOINED = (errno.EADDRINUSE,)
INDEX = (3).to_bytes(4, sys.byteorder)
V4, V6 = Family.IPV4, Family.IPV6
OWN = IPv4Address("192.168.1.5")
LINK_LOCAL = IPv6Address("fe80::1%net0")


def sender(
    source: IPAddress,
    interface: Interface = NET0,
    *,
    ttl: int | None = None,
    loop: bool = True,
    share: bool = False,
) -> tuple[Step, ...]:
    return illumos.sender_steps(
        interface,
        Family(source.version),
        source=source,
        source_port=4000,
        ttl=ttl,
        loop=loop,
        share=share,
    )


def receiver(family: Family, *groups: Group, share: bool = True) -> tuple[Step, ...]:
    return illumos.receiver_steps(
        NET0, family, port=28232, groups=groups, share=share, buffer=4_194_304
    )


def test_an_ipv4_sender() -> None:
    assert sender(OWN) == (
        Verify(3, "net0"),
        SetOption(0, 0x41, 3, "IP_BOUND_IF"),
        Verify(3, "net0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0, 0x1B, 1, "IP_DONTFRAG"),
        SetOption(0, 0x10, b"\xc0\xa8\x01\x05", "IP_MULTICAST_IF"),
        SetOption(0, 0x11, b"\x01", "IP_MULTICAST_TTL"),
        SetOption(0, 0x12, b"\x01", "IP_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x1013, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0, 0x1A, 1, "IP_RECVPKTINFO"),
        SetOption(0, 0xB, 1, "IP_RECVTTL", (ANY,)),
        Bind(("192.168.1.5", 4000)),
    )


def test_an_ipv6_sender() -> None:
    assert sender(LINK_LOCAL) == (
        SetOption(41, 0x27, 1, "IPV6_V6ONLY"),
        Verify(3, "net0"),
        SetOption(41, 0x41, 3, "IPV6_BOUND_IF"),
        Verify(3, "net0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(41, 0x21, 1, "IPV6_DONTFRAG"),
        SetOption(41, 0x6, 3, "IPV6_MULTICAST_IF"),
        SetOption(41, 0x7, 1, "IPV6_MULTICAST_HOPS"),
        SetOption(41, 0x8, 1, "IPV6_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x1013, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(41, 0x12, 1, "IPV6_RECVPKTINFO"),
        SetOption(41, 0x13, 1, "IPV6_RECVHOPLIMIT", (ANY,)),
        Bind(("fe80::1", 4000, 0, 3)),
    )


def test_a_ttl_is_for_every_destination_as_far_as_privileges_go() -> None:
    steps = sender(OWN, ttl=255)
    assert SetOption(0, 0x11, b"\xff", "IP_MULTICAST_TTL") in steps
    assert SetOption(0, 4, 255, "IP_TTL") in steps
    assert SetOption(0, 0x43, b"\xff", "IP_BROADCAST_TTL", (ANY,)) in steps
    steps = sender(LINK_LOCAL, ttl=255)
    assert SetOption(41, 0x7, 255, "IPV6_MULTICAST_HOPS") in steps
    assert SetOption(41, 0x5, 255, "IPV6_UNICAST_HOPS") in steps


def test_loop_off() -> None:
    assert SetOption(0, 0x12, b"\0", "IP_MULTICAST_LOOP") in sender(OWN, loop=False)
    assert SetOption(41, 0x8, 0, "IPV6_MULTICAST_LOOP") in sender(LINK_LOCAL, loop=False)


def test_a_sender_that_shares_its_port() -> None:
    reuse = SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR")
    assert sender(OWN, share=True) == (reuse, *sender(OWN))


def test_only_a_link_local_source_has_a_scope() -> None:
    assert sender(IPv6Address("2001:db8::5"))[-1] == Bind(("2001:db8::5", 4000, 0, 0))
    assert sender(IPv6Address("::1"), LO0)[-1] == Bind(("::1", 4000, 0, 0))


def test_a_sender_on_loopback_sends_from_its_own_address() -> None:
    assert sender(IPv4Address("127.0.0.1"), LO0)[-1] == Bind(("127.0.0.1", 4000))


def test_a_logical_interface_goes_by_the_name_of_its_index() -> None:
    logical = Interface("net0:1", 3, Kind.ETHERNET, FLAGS, 1500)
    assert sender(OWN, logical)[0] == Verify(3, "net0")


def test_an_ipv4_receiver() -> None:
    assert receiver(V4) == (
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        Verify(3, "net0"),
        SetOption(0, 0x41, 3, "IP_BOUND_IF"),
        Verify(3, "net0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1013, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0, 0x1A, 1, "IP_RECVPKTINFO"),
        SetOption(0, 0xB, 1, "IP_RECVTTL", (ANY,)),
        SetOption(0xFFFF, 0x1002, 262_144, "SO_RCVBUF", (ANY,)),
        SetOption(0xFFFF, 0x1002, 1_048_576, "SO_RCVBUF", (ANY,)),
        SetOption(0xFFFF, 0x1002, 2_097_152, "SO_RCVBUF", (ANY,)),
        SetOption(0xFFFF, 0x1002, 4_194_304, "SO_RCVBUF", (ANY,)),
        Bind(("", 28232)),
    )
    assert receiver(V4, share=False) == receiver(V4)[1:]


def test_an_ipv6_receiver() -> None:
    assert receiver(V6, Group(IPv6Address("ff02::fb"))) == (
        SetOption(41, 0x27, 1, "IPV6_V6ONLY"),
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        Verify(3, "net0"),
        SetOption(41, 0x41, 3, "IPV6_BOUND_IF"),
        Verify(3, "net0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1013, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(41, 0x12, 1, "IPV6_RECVPKTINFO"),
        SetOption(41, 0x13, 1, "IPV6_RECVHOPLIMIT", (ANY,)),
        SetOption(0xFFFF, 0x1002, 262_144, "SO_RCVBUF", (ANY,)),
        SetOption(0xFFFF, 0x1002, 1_048_576, "SO_RCVBUF", (ANY,)),
        SetOption(0xFFFF, 0x1002, 2_097_152, "SO_RCVBUF", (ANY,)),
        SetOption(0xFFFF, 0x1002, 4_194_304, "SO_RCVBUF", (ANY,)),
        Bind(("::", 28232, 0, 0)),
        SetOption(
            41,
            0x9,
            b"\xff\x02" + b"\0" * 13 + b"\xfb" + INDEX,
            "membership of ff02::fb",
            JOINED,
        ),
    )


def family(number: int) -> bytes:
    return number.to_bytes(2, sys.byteorder)


def test_an_ipv4_membership_names_the_interface_by_index() -> None:
    *_, joined = receiver(V4, Group(IPv4Address("239.1.2.3")))
    assert joined == SetOption(
        0,
        0x29,
        INDEX + family(2) + b"\0\0" + b"\xef\x01\x02\x03" + b"\0" * 248,
        "membership of 239.1.2.3",
        JOINED,
    )


def test_a_source_specific_membership() -> None:
    *_, joined = receiver(V4, Group(IPv4Address("232.1.2.3"), IPv4Address("10.0.0.1")))
    assert joined == SetOption(
        0,
        0x2D,
        INDEX
        + (family(2) + b"\0\0" + b"\xe8\x01\x02\x03" + b"\0" * 248)
        + (family(2) + b"\0\0" + b"\x0a\x00\x00\x01" + b"\0" * 248),
        "membership of 10.0.0.1@232.1.2.3",
        JOINED,
    )
    *_, joined = receiver(V6, Group(IPv6Address("ff32::1"), IPv6Address("2001:db8::1")))
    assert joined == SetOption(
        41,
        0x2D,
        INDEX
        + (family(26) + b"\0" * 6 + b"\xff\x32" + b"\0" * 13 + b"\x01" + b"\0" * 232)
        + (family(26) + b"\0" * 6 + b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01" + b"\0" * 232),
        "membership of 2001:db8::1@ff32::1",
        JOINED,
    )


def test_all_hosts_is_the_limited_broadcast_address() -> None:
    address = Address(OWN, 24, IPv4Address("192.168.1.255"))
    assert illumos.all_hosts(address) == (IPv4Address("255.255.255.255"), ())


def test_the_binding_fixes_the_source_and_isolates() -> None:
    assert illumos.send_ancillary(NET0, OWN) == []
    assert illumos.ISOLATES is True
    assert illumos.GROUPS_PER_SOCKET > 20


TIMEVAL = struct.pack("@ll", 1_700_000_000, 123_456)


def test_the_arrival_of_an_ipv4_datagram() -> None:
    ancillary = [
        (0, 0x1A, INDEX + b"\xc0\xa8\x01\x05" + b"\xc0\xa8\x01\xff"),
        (0xFFFF, 0x1013, TIMEVAL),
        (0, 0xB, b"\x40"),
    ]
    assert illumos.read_arrival(V4, ancillary) == Arrival(
        ifindex=3,
        destination=b"\xc0\xa8\x01\xff",
        local=b"\xc0\xa8\x01\x05",
        ttl=64,
        time_ns=1_700_000_000_123_456_000,
        drops=None,
    )


def test_the_arrival_of_an_ipv6_datagram() -> None:
    destination = b"\xff\x02" + b"\0" * 13 + b"\xfb"
    ancillary = [
        (41, 0xB, destination + INDEX),
        (41, 0xC, (255).to_bytes(4, sys.byteorder)),
        (0xFFFF, 0x1013, TIMEVAL),
    ]
    assert illumos.read_arrival(V6, ancillary) == Arrival(
        3, destination, None, 255, 1_700_000_000_123_456_000, None
    )


def test_a_ttl_of_four_bytes() -> None:
    assert illumos.read_arrival(V4, [(0, 0xB, (7).to_bytes(4, sys.byteorder))]).ttl == 7


@pytest.mark.parametrize(
    "message",
    [
        pytest.param((0xFFFF, 0x1013, TIMEVAL[:-1]), id="short time"),
        pytest.param((0, 0xB, b"\x40\0"), id="odd TTL"),
        pytest.param((0, 0x1A, INDEX + b"\0" * 4), id="short pktinfo"),
        pytest.param((41, 0xB, b"\0" * 16), id="short IPv6 pktinfo"),
        pytest.param((41, 0xC, b"\x40"), id="short hop limit"),
        pytest.param((0, 0x7, b"\xff\xff\xff\xff"), id="not asked for"),
    ],
)
def test_short_and_unknown_messages_are_passed_over(message: tuple[int, int, bytes]) -> None:
    assert illumos.read_arrival(V4, [message]) == Arrival()
    assert illumos.read_arrival(V4, [message, (0, 0xB, b"\x01")]) == Arrival(ttl=1)
