"""macOS socket plans, against xnu's headers: every option by its number."""

from __future__ import annotations

import errno
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress, Kind
from bcast.sockets import darwin
from bcast.sockets.plan import ANY, Arrival, Bind, SetOption, Step, Verify

EN0 = Interface(
    "en0",
    7,
    Kind.WIFI,
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST,
    1500,
)
LO0 = Interface("lo0", 1, Kind.LOOPBACK, InterfaceFlag.UP | InterfaceFlag.LOOPBACK, 16384)
OLD = (errno.ENOPROTOOPT, errno.EINVAL)
JOINED = (errno.EADDRINUSE,)
INDEX = (7).to_bytes(4, sys.byteorder)
V4, V6 = Family.IPV4, Family.IPV6
OWN = IPv4Address("192.168.1.5")
LINK_LOCAL = IPv6Address("fe80::1%en0")


def sender(
    source: IPAddress,
    interface: Interface = EN0,
    *,
    source_port: int = 0,
    ttl: int | None = None,
    loop: bool = True,
    share: bool = False,
) -> tuple[Step, ...]:
    return darwin.sender_steps(
        interface,
        Family(source.version),
        source=source,
        source_port=source_port,
        ttl=ttl,
        loop=loop,
        share=share,
    )


def receiver(family: Family, *groups: Group, share: bool = True) -> tuple[Step, ...]:
    return darwin.receiver_steps(
        EN0, family, port=28232, groups=groups, share=share, buffer=4_194_304
    )


def test_an_ipv4_sender() -> None:
    assert sender(OWN) == (
        Verify(7, "en0"),
        SetOption(0, 25, 7, "IP_BOUND_IF"),
        Verify(7, "en0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1001, 65535, "SO_SNDBUF", (ANY,)),
        SetOption(0, 28, 1, "IP_DONTFRAG", OLD),
        SetOption(
            0,
            9,
            b"\0\0\0\0" + b"\xc0\xa8\x01\x05" + INDEX,
            "IP_MULTICAST_IF",
            (errno.EOPNOTSUPP,),
        ),
        SetOption(0, 10, 1, "IP_MULTICAST_TTL"),
        SetOption(0, 11, 1, "IP_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x400, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0, 26, 1, "IP_RECVPKTINFO"),
        SetOption(0, 24, 1, "IP_RECVTTL", (ANY,)),
        Bind(("192.168.1.5", 0)),
    )


def test_an_ipv6_sender() -> None:
    assert sender(LINK_LOCAL) == (
        SetOption(41, 27, 1, "IPV6_V6ONLY"),
        Verify(7, "en0"),
        SetOption(41, 125, 7, "IPV6_BOUND_IF"),
        Verify(7, "en0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1001, 65535, "SO_SNDBUF", (ANY,)),
        SetOption(41, 62, 1, "IPV6_DONTFRAG", OLD),
        SetOption(41, 9, 7, "IPV6_MULTICAST_IF"),
        SetOption(41, 10, 1, "IPV6_MULTICAST_HOPS"),
        SetOption(41, 11, 1, "IPV6_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x400, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(41, 61, 1, "IPV6_RECVPKTINFO"),
        SetOption(41, 37, 1, "IPV6_RECVHOPLIMIT", (ANY,)),
        Bind(("fe80::1", 0, 0, 7)),
    )


def test_a_ttl_is_for_every_destination() -> None:
    steps = sender(OWN, ttl=255)
    assert SetOption(0, 10, 255, "IP_MULTICAST_TTL") in steps
    assert SetOption(0, 4, 255, "IP_TTL") in steps
    steps = sender(LINK_LOCAL, ttl=255)
    assert SetOption(41, 10, 255, "IPV6_MULTICAST_HOPS") in steps
    assert SetOption(41, 4, 255, "IPV6_UNICAST_HOPS") in steps


def test_loop_off() -> None:
    assert SetOption(0, 11, 0, "IP_MULTICAST_LOOP") in sender(OWN, loop=False)
    assert SetOption(41, 11, 0, "IPV6_MULTICAST_LOOP") in sender(LINK_LOCAL, loop=False)


def test_a_sender_that_shares_its_port() -> None:
    both = (
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT"),
    )
    shared = sender(OWN, share=True, source_port=5353)
    assert shared == (*both, *sender(OWN, source_port=5353))
    assert shared[-1] == Bind(("192.168.1.5", 5353))


def test_only_a_link_local_source_has_a_scope() -> None:
    assert sender(IPv6Address("2001:db8::5"))[-1] == Bind(("2001:db8::5", 0, 0, 0))
    assert sender(IPv6Address("::1"), LO0)[-1] == Bind(("::1", 0, 0, 0))
    assert sender(IPv6Address("fe80::1%lo0"), LO0)[-1] == Bind(("fe80::1", 0, 0, 1))


def test_a_sender_on_loopback_sends_from_its_own_address() -> None:
    steps = sender(IPv4Address("127.0.0.1"), LO0)
    assert steps[-1] == Bind(("127.0.0.1", 0))
    assert SetOption(0, 25, 1, "IP_BOUND_IF") in steps


def test_an_ipv4_receiver() -> None:
    assert receiver(V4) == (
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT"),
        Verify(7, "en0"),
        SetOption(0, 25, 7, "IP_BOUND_IF"),
        Verify(7, "en0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x400, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0, 26, 1, "IP_RECVPKTINFO"),
        SetOption(0, 24, 1, "IP_RECVTTL", (ANY,)),
        SetOption(0xFFFF, 0x1002, 4_194_304, "SO_RCVBUF", (ANY,)),
        Bind(("", 28232)),
    )


def test_an_ipv6_receiver() -> None:
    assert receiver(V6, Group(IPv6Address("ff02::fb"))) == (
        SetOption(41, 27, 1, "IPV6_V6ONLY"),
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT"),
        Verify(7, "en0"),
        SetOption(41, 125, 7, "IPV6_BOUND_IF"),
        Verify(7, "en0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x400, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(41, 61, 1, "IPV6_RECVPKTINFO"),
        SetOption(41, 37, 1, "IPV6_RECVHOPLIMIT", (ANY,)),
        SetOption(0xFFFF, 0x1002, 4_194_304, "SO_RCVBUF", (ANY,)),
        Bind(("::", 28232, 0, 0)),
        SetOption(
            41,
            12,
            b"\xff\x02" + b"\0" * 13 + b"\xfb" + INDEX,
            "membership of ff02::fb",
            JOINED,
        ),
    )


def test_receivers_of_several_interfaces_share_the_wildcard_even_if_nobody_else_may() -> None:
    assert receiver(V4, share=False) == receiver(V4)[1:]
    assert receiver(V4, share=False)[0] == SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT")


def test_an_ipv4_membership_names_the_interface_by_index() -> None:
    # struct group_req, packed to 4: index, then sockaddr_in in a storage of 128 bytes.
    *_, bound, joined = receiver(V4, Group(IPv4Address("239.1.2.3")))
    assert bound == Bind(("", 28232))
    assert joined == SetOption(
        0,
        80,
        INDEX + b"\x10\x02\0\0" + b"\xef\x01\x02\x03" + b"\0" * 120,
        "membership of 239.1.2.3",
        JOINED,
    )


def test_a_source_specific_membership() -> None:
    group = Group(IPv4Address("232.1.2.3"), IPv4Address("10.0.0.1"))
    *_, joined = receiver(V4, group)
    assert joined == SetOption(
        0,
        82,
        INDEX
        + (b"\x10\x02\0\0" + b"\xe8\x01\x02\x03" + b"\0" * 120)
        + (b"\x10\x02\0\0" + b"\x0a\x00\x00\x01" + b"\0" * 120),
        "membership of 10.0.0.1@232.1.2.3",
        JOINED,
    )
    group = Group(IPv6Address("ff32::1"), IPv6Address("2001:db8::1"))
    *_, joined = receiver(V6, group)
    assert joined == SetOption(
        41,
        82,
        INDEX
        + (b"\x1c\x1e\0\0" + b"\0" * 4 + b"\xff\x32" + b"\0" * 13 + b"\x01" + b"\0" * 104)
        + (b"\x1c\x1e\0\0" + b"\0" * 4 + b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01" + b"\0" * 104),
        "membership of 2001:db8::1@ff32::1",
        JOINED,
    )


def test_all_hosts_is_the_limited_broadcast_address() -> None:
    address = Address(OWN, 24, IPv4Address("192.168.1.255"))
    assert darwin.all_hosts(address) == (IPv4Address("255.255.255.255"), ())


def test_no_control_message_overrides_the_binding() -> None:
    assert darwin.send_ancillary(EN0, OWN) == []
    assert darwin.send_ancillary(EN0, LINK_LOCAL) == []


def test_it_does_not_isolate() -> None:
    assert darwin.ISOLATES is False
    assert darwin.GROUPS_PER_SOCKET == 4095


# tv_sec, tv_usec (32 bits), and padding with whatever was there.
TIMEVAL = (
    (1_700_000_000).to_bytes(8, sys.byteorder)
    + (123_456).to_bytes(4, sys.byteorder)
    + b"\xaa\xbb\xcc\xdd"
)


def test_the_arrival_of_an_ipv4_datagram() -> None:
    ancillary = [
        (0xFFFF, 2, TIMEVAL),
        (0, 24, b"\xff"),
        (0, 26, INDEX + b"\0\0\0\0" + b"\xff\xff\xff\xff"),
    ]
    assert darwin.read_arrival(V4, ancillary) == Arrival(
        ifindex=7,
        destination=b"\xff\xff\xff\xff",
        local=None,
        ttl=255,
        time_ns=1_700_000_000_123_456_000,
        drops=None,
    )


def test_the_arrival_of_an_ipv6_datagram() -> None:
    destination = b"\xff\x02" + b"\0" * 13 + b"\xfb"
    ancillary = [
        (0xFFFF, 2, TIMEVAL),
        (41, 46, destination + INDEX),
        (41, 47, (64).to_bytes(4, sys.byteorder)),
    ]
    assert darwin.read_arrival(V6, ancillary) == Arrival(
        7, destination, None, 64, 1_700_000_000_123_456_000, None
    )


def test_an_unknown_arrival_interface_is_none() -> None:
    said = b"\0\0\0\0" + b"\0\0\0\0" + b"\xc0\xa8\x01\x05"
    assert darwin.read_arrival(V4, [(0, 26, said)]).ifindex is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param((0xFFFF, 2, TIMEVAL[:8]), id="half a time"),
        pytest.param((0xFFFF, 4, b"\x01" * 8), id="SCM_TIMESTAMP_MONOTONIC"),
        pytest.param((0, 24, b""), id="no TTL"),
        pytest.param((0, 24, b"\x40\0\0\0"), id="a TTL as Linux says it"),
        pytest.param((0, 26, INDEX + b"\0" * 7), id="short pktinfo"),
        pytest.param((41, 46, b"\0" * 19), id="short IPv6 pktinfo"),
        pytest.param((41, 47, b"\x40"), id="short hop limit"),
        pytest.param((0, 7, b"\xff\xff\xff\xff"), id="not asked for"),
    ],
)
def test_short_and_unknown_messages_are_passed_over(message: tuple[int, int, bytes]) -> None:
    assert darwin.read_arrival(V4, [message]) == Arrival()
    said = INDEX + b"\0\0\0\0" + b"\xe0\0\0\xfb"
    assert darwin.read_arrival(V4, [message, (0, 26, said)]) == Arrival(7, b"\xe0\0\0\xfb")
