"""Socket plans of FreeBSD, OpenBSD and NetBSD, against their headers: options by number."""

from __future__ import annotations

import errno
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress, Kind
from bcast.errors import ArgumentError
from bcast.sockets.bsd import FreeBSD, NetBSD, OpenBSD, system
from bcast.sockets.plan import ANY, Arrival, Bind, Platform, SetOption, Step, Verify

FREEBSD, OPENBSD, NETBSD = system("freebsd14"), system("openbsd7"), system("netbsd10")
SYSTEMS = pytest.mark.parametrize(
    "used", [FREEBSD, OPENBSD, NETBSD], ids=["freebsd", "openbsd", "netbsd"]
)

FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
OWN = IPv4Address("192.168.1.5")
OWN_BYTES = b"\xc0\xa8\x01\x05"
LINK_LOCAL = IPv6Address("fe80::1%em0")
ADDRESS = Address(OWN, 24, IPv4Address("192.168.1.255"))
EM0 = Interface("em0", 2, Kind.ETHERNET, FLAGS, 1500, addresses=(ADDRESS,))
BARE = Interface("em0", 2, Kind.ETHERNET, FLAGS, 1500)
LO0 = Interface("lo0", 1, Kind.LOOPBACK, InterfaceFlag.UP | InterfaceFlag.LOOPBACK, 16384)
OLD = (errno.ENOPROTOOPT, errno.EINVAL)
JOINED = (errno.EADDRINUSE,)
INDEX = (2).to_bytes(4, sys.byteorder)
V4, V6 = Family.IPV4, Family.IPV6

ALL_NODES = b"\xff\x02" + b"\0" * 13 + b"\x01"


def sender(
    used: Platform,
    source: IPAddress,
    interface: Interface = EM0,
    *,
    ttl: int | None = None,
    loop: bool = True,
    share: bool = False,
) -> tuple[Step, ...]:
    return used.sender_steps(
        interface,
        Family(source.version),
        source=source,
        source_port=0,
        ttl=ttl,
        loop=loop,
        share=share,
    )


def receiver(
    used: Platform,
    family: Family,
    *groups: Group,
    share: bool = True,
    interface: Interface = EM0,
) -> tuple[Step, ...]:
    return used.receiver_steps(
        interface, family, port=28232, groups=groups, share=share, buffer=4_194_304
    )


def membership(
    used: Platform, group: str, source: str | None = None, interface: Interface = EM0
) -> Step:
    to = IPv6Address(group) if ":" in group else IPv4Address(group)
    by = None if source is None else IPv6Address(source) if ":" in source else IPv4Address(source)
    joined = receiver(used, Family(to.version), Group(to, by), interface=interface)[-2]
    assert isinstance(joined, SetOption)
    assert joined.name == f"membership of {Group(to, by)}"
    return joined


def test_which_system() -> None:
    assert isinstance(FREEBSD, FreeBSD)
    assert isinstance(OPENBSD, OpenBSD)
    assert isinstance(NETBSD, NetBSD)
    with pytest.raises(ArgumentError, match="dragonfly6"):
        system("dragonfly6")


@SYSTEMS
def test_a_system_is_immutable(used: Platform) -> None:
    with pytest.raises(AttributeError):
        used.ISOLATES = True


def test_an_ipv4_sender_on_freebsd() -> None:
    assert sender(FREEBSD, OWN) == (
        Verify(2, "em0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1001, 65535, "SO_SNDBUF", (ANY,)),
        SetOption(0, 67, 1, "IP_DONTFRAG"),
        SetOption(0, 9, b"\0\0\0\0" + OWN_BYTES + INDEX, "IP_MULTICAST_IF", (errno.EOPNOTSUPP,)),
        SetOption(0, 10, b"\x01", "IP_MULTICAST_TTL"),
        SetOption(0, 11, b"\x01", "IP_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x400, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0xFFFF, 0x1017, 2, "SO_TS_CLOCK", (ANY,)),
        SetOption(0, 7, 1, "IP_RECVDSTADDR"),
        SetOption(0, 20, 1, "IP_RECVIF"),
        SetOption(0, 65, 1, "IP_RECVTTL", (ANY,)),
        Bind(("192.168.1.5", 0)),
        Verify(2, "em0"),
    )


def test_an_ipv4_sender_on_openbsd() -> None:
    assert sender(OPENBSD, OWN) == (
        Verify(2, "em0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1001, 65535, "SO_SNDBUF", (ANY,)),
        SetOption(
            0,
            9,
            b"\0\0\0\0" + OWN_BYTES + INDEX,
            "IP_MULTICAST_IF",
            instead=SetOption(0, 9, OWN_BYTES, "IP_MULTICAST_IF"),
        ),
        SetOption(0, 10, b"\x01", "IP_MULTICAST_TTL"),
        SetOption(0, 11, b"\x01", "IP_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x800, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0, 7, 1, "IP_RECVDSTADDR"),
        SetOption(0, 30, 1, "IP_RECVIF"),
        SetOption(0, 31, 1, "IP_RECVTTL", (ANY,)),
        Bind(("192.168.1.5", 0)),
        Verify(2, "em0"),
    )


def test_an_ipv4_sender_on_netbsd() -> None:
    assert sender(NETBSD, OWN) == (
        Verify(2, "em0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1001, 65535, "SO_SNDBUF", (ANY,)),
        SetOption(0, 9, b"\0\0\0\x02", "IP_MULTICAST_IF"),
        SetOption(0, 10, b"\x01", "IP_MULTICAST_TTL"),
        SetOption(0, 11, b"\x01", "IP_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x2000, 1, "SO_TIMESTAMP", (ANY,)),
        SetOption(0, 7, 1, "IP_RECVDSTADDR"),
        SetOption(0, 20, 1, "IP_RECVIF"),
        SetOption(0, 23, 1, "IP_RECVTTL", (ANY,)),
        Bind(("192.168.1.5", 0)),
        Verify(2, "em0"),
    )


def stamped(used: Platform) -> tuple[SetOption, ...]:
    if used is FREEBSD:
        return (
            SetOption(0xFFFF, 0x400, 1, "SO_TIMESTAMP", (ANY,)),
            SetOption(0xFFFF, 0x1017, 2, "SO_TS_CLOCK", (ANY,)),
        )
    number = 0x800 if used is OPENBSD else 0x2000
    return (SetOption(0xFFFF, number, 1, "SO_TIMESTAMP", (ANY,)),)


@SYSTEMS
def test_an_ipv6_sender(used: Platform) -> None:
    assert sender(used, LINK_LOCAL) == (
        SetOption(41, 27, 1, "IPV6_V6ONLY"),
        Verify(2, "em0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0xFFFF, 0x1001, 65535, "SO_SNDBUF", (ANY,)),
        SetOption(41, 62, 1, "IPV6_DONTFRAG", OLD),
        SetOption(41, 9, 2, "IPV6_MULTICAST_IF"),
        SetOption(41, 10, 1, "IPV6_MULTICAST_HOPS"),
        SetOption(41, 11, 1, "IPV6_MULTICAST_LOOP"),
        *stamped(used),
        SetOption(41, 36, 1, "IPV6_RECVPKTINFO"),
        SetOption(41, 37, 1, "IPV6_RECVHOPLIMIT", (ANY,)),
        Bind(("fe80::1", 0, 0, 2)),
        Verify(2, "em0"),
    )


@SYSTEMS
def test_a_ttl_is_for_every_destination(used: Platform) -> None:
    steps = sender(used, OWN, ttl=255)
    assert SetOption(0, 10, b"\xff", "IP_MULTICAST_TTL") in steps
    assert SetOption(0, 4, 255, "IP_TTL") in steps
    steps = sender(used, LINK_LOCAL, ttl=255)
    assert SetOption(41, 10, 255, "IPV6_MULTICAST_HOPS") in steps
    assert SetOption(41, 4, 255, "IPV6_UNICAST_HOPS") in steps


@SYSTEMS
def test_loop_off(used: Platform) -> None:
    assert SetOption(0, 11, b"\0", "IP_MULTICAST_LOOP") in sender(used, OWN, loop=False)
    assert SetOption(41, 11, 0, "IPV6_MULTICAST_LOOP") in sender(used, LINK_LOCAL, loop=False)


@SYSTEMS
def test_a_sender_that_shares_its_port(used: Platform) -> None:
    both = (
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT"),
    )
    assert sender(used, OWN, share=True) == (*both, *sender(used, OWN))


@SYSTEMS
def test_only_a_link_local_source_has_a_scope(used: Platform) -> None:
    assert Bind(("2001:db8::5", 0, 0, 0)) in sender(used, IPv6Address("2001:db8::5"))
    assert Bind(("::1", 0, 0, 0)) in sender(used, IPv6Address("::1"), LO0)


@SYSTEMS
def test_a_sender_on_loopback_sends_from_its_own_address(used: Platform) -> None:
    assert Bind(("127.0.0.1", 0)) in sender(used, IPv4Address("127.0.0.1"), LO0)


@SYSTEMS
def test_a_receiver(used: Platform) -> None:
    index, ttl = {FREEBSD: (20, 65), OPENBSD: (30, 31), NETBSD: (20, 23)}[used]
    buffers = tuple(
        SetOption(0xFFFF, 0x1002, size, "SO_RCVBUF", (ANY,))
        for size in (131_072, 524_288, 1_048_576, 4_194_304)
    )
    shared = (
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT"),
        Verify(2, "em0"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
    )
    assert receiver(used, V4) == (
        *shared,
        *stamped(used),
        SetOption(0, 7, 1, "IP_RECVDSTADDR"),
        SetOption(0, index, 1, "IP_RECVIF"),
        SetOption(0, ttl, 1, "IP_RECVTTL", (ANY,)),
        *buffers,
        Bind(("", 28232)),
        Verify(2, "em0"),
    )
    assert receiver(used, V6, Group(IPv6Address("ff02::1"))) == (
        SetOption(41, 27, 1, "IPV6_V6ONLY"),
        *shared,
        *stamped(used),
        SetOption(41, 36, 1, "IPV6_RECVPKTINFO"),
        SetOption(41, 37, 1, "IPV6_RECVHOPLIMIT", (ANY,)),
        *buffers,
        Bind(("::", 28232, 0, 0)),
        SetOption(41, 12, ALL_NODES + INDEX, "membership of ff02::1", JOINED),
        Verify(2, "em0"),
    )


@SYSTEMS
def test_receivers_of_several_interfaces_share_the_wildcard_even_if_nobody_else_may(
    used: Platform,
) -> None:
    assert receiver(used, V4, share=False) == receiver(used, V4)[1:]
    assert receiver(used, V4, share=False)[0] == SetOption(0xFFFF, 0x200, 1, "SO_REUSEPORT")


def test_an_ipv4_membership_on_freebsd() -> None:
    # struct group_req: index, padding, then sockaddr_in in a storage of 128 bytes.
    joined = membership(FREEBSD, "239.1.2.3")
    assert joined == SetOption(
        0,
        80,
        INDEX + b"\0" * 4 + b"\x10\x02\0\0" + b"\xef\x01\x02\x03" + b"\0" * 120,
        "membership of 239.1.2.3",
        JOINED,
    )


def test_a_source_specific_membership_on_freebsd() -> None:
    assert membership(FREEBSD, "232.1.2.3", "10.0.0.1") == SetOption(
        0,
        82,
        (INDEX + b"\0" * 4)
        + (b"\x10\x02\0\0" + b"\xe8\x01\x02\x03" + b"\0" * 120)
        + (b"\x10\x02\0\0" + b"\x0a\x00\x00\x01" + b"\0" * 120),
        "membership of 10.0.0.1@232.1.2.3",
        JOINED,
    )
    assert membership(FREEBSD, "ff32::1", "2001:db8::1") == SetOption(
        41,
        82,
        (INDEX + b"\0" * 4)
        + (b"\x1c\x1c\0\0" + b"\0" * 4 + b"\xff\x32" + b"\0" * 13 + b"\x01" + b"\0" * 104)
        + (b"\x1c\x1c\0\0" + b"\0" * 4 + b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01" + b"\0" * 104),
        "membership of 2001:db8::1@ff32::1",
        JOINED,
    )


def test_an_ipv4_membership_on_openbsd() -> None:
    name = "membership of 239.1.2.3"
    group = b"\xef\x01\x02\x03"
    by_index = SetOption(0, 12, group + b"\0\0\0\0" + INDEX, name, JOINED)
    by_address = SetOption(0, 12, group + OWN_BYTES, name, JOINED)
    assert membership(OPENBSD, "239.1.2.3") == by_index._replace(instead=by_address)
    # Without an address there is no other way to name the interface.
    assert membership(OPENBSD, "239.1.2.3", interface=BARE) == by_index


def test_an_ipv4_membership_on_netbsd() -> None:
    assert membership(NETBSD, "239.1.2.3") == SetOption(
        0, 12, b"\xef\x01\x02\x03" + b"\0\0\0\x02", "membership of 239.1.2.3", JOINED
    )


@pytest.mark.parametrize("used", [OPENBSD, NETBSD], ids=["openbsd", "netbsd"])
def test_without_source_specific_membership_the_whole_group_is_joined(used: Platform) -> None:
    for group, source in (("232.1.2.3", "10.0.0.1"), ("ff32::1", "2001:db8::1")):
        whole, one = membership(used, group), membership(used, group, source)
        assert isinstance(whole, SetOption)
        assert isinstance(one, SetOption)
        assert (one.level, one.number, one.value) == (whole.level, whole.number, whole.value)


def test_how_many_groups_a_socket_joins() -> None:
    assert NETBSD.GROUPS_PER_SOCKET == 20
    assert FREEBSD.GROUPS_PER_SOCKET == OPENBSD.GROUPS_PER_SOCKET == 4095


def test_all_hosts_is_the_directed_broadcast_address() -> None:
    directed = IPv4Address("192.168.1.255")
    ones = SetOption(0, 23, 1, "IP_ONESBCAST")
    assert FREEBSD.all_hosts(ADDRESS) == (directed, (ones,))
    assert OPENBSD.all_hosts(ADDRESS) == (directed, ())
    assert NETBSD.all_hosts(ADDRESS) == (directed, ())


@SYSTEMS
def test_all_hosts_without_a_broadcast_address(used: Platform) -> None:
    assert used.all_hosts(Address(OWN, 32)) == (None, ())


@SYSTEMS
def test_the_binding_fixes_the_source_and_isolates_nothing(used: Platform) -> None:
    assert used.send_ancillary(EM0, OWN) == []
    assert used.ISOLATES is False


# struct sockaddr_dl as a kernel gives it: length, AF_LINK, index, type, three lengths, data.
DATA_LINK = b"\x36\x12" + (2).to_bytes(2, sys.byteorder) + b"\x06\x03\x06\x00" + b"em0" + b"\1" * 6
SECONDS = (1_700_000_000).to_bytes(8, sys.byteorder)


@SYSTEMS
def test_the_arrival_of_an_ipv4_datagram(used: Platform) -> None:
    index, ttl, stamp = {FREEBSD: (20, 65, 2), OPENBSD: (30, 31, 4), NETBSD: (20, 23, 8)}[used]
    ancillary = [
        (0xFFFF, stamp, SECONDS + (123_456).to_bytes(8, sys.byteorder)),
        (0, 7, b"\xc0\xa8\x01\xff"),
        (0, ttl, b"\xff"),
        (0, index, DATA_LINK),
    ]
    assert used.read_arrival(V4, ancillary) == Arrival(
        ifindex=2,
        destination=b"\xc0\xa8\x01\xff",
        local=None,
        ttl=255,
        time_ns=1_700_000_000_123_456_000,
        drops=None,
    )


@SYSTEMS
def test_the_arrival_of_an_ipv6_datagram(used: Platform) -> None:
    ancillary = [
        (41, 46, ALL_NODES + INDEX),
        (41, 47, (64).to_bytes(4, sys.byteorder)),
    ]
    assert used.read_arrival(V6, ancillary) == Arrival(2, ALL_NODES, None, 64)


def test_freebsd_tells_nanoseconds() -> None:
    stamp = (0xFFFF, 5, SECONDS + (123_456_789).to_bytes(8, sys.byteorder))
    assert FREEBSD.read_arrival(V4, [stamp]).time_ns == 1_700_000_000_123_456_789
    assert OPENBSD.read_arrival(V4, [stamp]).time_ns is None


def test_the_padding_of_netbsd_s_time_is_not_read() -> None:
    stamp = SECONDS + (123_456).to_bytes(4, sys.byteorder) + b"\xaa\xbb\xcc\xdd"
    assert NETBSD.read_arrival(V4, [(0xFFFF, 8, stamp)]).time_ns == 1_700_000_000_123_456_000


def test_a_time_of_32_bits() -> None:
    stamp = b"".join(n.to_bytes(4, sys.byteorder) for n in (1_700_000_000, 123_456))
    assert FREEBSD.read_arrival(V4, [(0xFFFF, 2, stamp)]).time_ns == 1_700_000_000_123_456_000


@SYSTEMS
def test_short_and_unknown_messages_are_passed_over(used: Platform) -> None:
    index, ttl, stamp = {FREEBSD: (20, 65, 2), OPENBSD: (30, 31, 4), NETBSD: (20, 23, 8)}[used]
    said = (0, 7, b"\xff\xff\xff\xff")
    for message in (
        (0xFFFF, stamp, SECONDS[:7]),
        (0xFFFF, 99, SECONDS * 2),
        (0, 7, b"\xff\xff\xff"),
        (0, index, DATA_LINK[:3]),
        (0, index, b"\x36\x02" + DATA_LINK[2:]),
        (0, index, b"\x08\x12\0\0\0\0\0\0"),
        (0, ttl, b""),
        (0, ttl, b"\x40\0\0\0"),
        (41, 46, b"\0" * 19),
        (41, 47, b"\x40"),
        (6, 7, b"\0\0\0\0"),
    ):
        assert used.read_arrival(V4, [message]) == Arrival(), message
        assert used.read_arrival(V4, [message, said]) == Arrival(destination=said[2]), message
