"""Windows socket plans, against ws2ipdef.h: every option by its number."""

from __future__ import annotations

import errno
import sys
from ipaddress import IPv4Address, IPv6Address

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress, Kind
from bcast.sockets import windows
from bcast.sockets.plan import ANY, Arrival, Bind, SetOption, Step, Verify

FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
OWN = IPv4Address("192.168.1.5")
LINK_LOCAL = IPv6Address("fe80::1%12")
GLOBAL = IPv6Address("2001:db8::5")
ETHERNET = Interface(
    "Ethernet",
    12,
    Kind.ETHERNET,
    FLAGS,
    1500,
    addresses=(
        Address(OWN, 24, IPv4Address("192.168.1.255")),
        Address(IPv4Address("192.168.1.6"), 24, IPv4Address("192.168.1.255")),
        Address(IPv6Address("2001:db8::4"), 64, tentative=True),
        Address(GLOBAL, 64),
        Address(LINK_LOCAL, 64),
    ),
)
LOOPBACK = Interface(
    "Loopback Pseudo-Interface 1",
    1,
    Kind.LOOPBACK,
    InterfaceFlag.UP | InterfaceFlag.LOOPBACK,
    1500,
    addresses=(Address(IPv4Address("127.0.0.1"), 8), Address(IPv6Address("::1"), 128)),
)
OLD = (errno.ENOPROTOOPT,)
JOINED = (errno.EADDRINUSE,)
NETWORK_ORDER = b"\0\0\0\x0c"
HOST_ORDER = (12).to_bytes(4, sys.byteorder)
V4, V6 = Family.IPV4, Family.IPV6


def sender(
    source: IPAddress,
    interface: Interface = ETHERNET,
    *,
    ttl: int | None = None,
    loop: bool = True,
    share: bool = False,
) -> tuple[Step, ...]:
    return windows.sender_steps(
        interface,
        Family(source.version),
        source=source,
        source_port=0,
        ttl=ttl,
        loop=loop,
        share=share,
    )


def receiver(
    family: Family, *groups: Group, share: bool = True, interface: Interface = ETHERNET
) -> tuple[Step, ...]:
    return windows.receiver_steps(
        interface, family, port=28232, groups=groups, share=share, buffer=4_194_304
    )


def test_an_ipv4_sender() -> None:
    assert sender(OWN) == (
        SetOption(0xFFFF, -5, 1, "SO_EXCLUSIVEADDRUSE"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0, 28, 1, "IP_IFLIST", OLD),
        SetOption(0, 29, 12, "IP_ADD_IFLIST", OLD),
        SetOption(0, 14, 1, "IP_DONTFRAGMENT"),
        SetOption(0, 31, NETWORK_ORDER, "IP_UNICAST_IF"),
        SetOption(0, 9, NETWORK_ORDER, "IP_MULTICAST_IF"),
        SetOption(0, 10, 1, "IP_MULTICAST_TTL"),
        SetOption(0, 11, 1, "IP_MULTICAST_LOOP"),
        Bind(("192.168.1.5", 0)),
    )


def test_an_ipv6_sender() -> None:
    assert sender(LINK_LOCAL) == (
        SetOption(41, 27, 1, "IPV6_V6ONLY"),
        SetOption(0xFFFF, -5, 1, "SO_EXCLUSIVEADDRUSE"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(41, 28, 1, "IPV6_IFLIST", OLD),
        SetOption(41, 29, 12, "IPV6_ADD_IFLIST", OLD),
        SetOption(41, 14, 1, "IPV6_DONTFRAG"),
        # Unlike IPv4's in host byte order.
        SetOption(41, 31, 12, "IPV6_UNICAST_IF"),
        SetOption(41, 9, 12, "IPV6_MULTICAST_IF"),
        SetOption(41, 10, 1, "IPV6_MULTICAST_HOPS"),
        SetOption(41, 11, 1, "IPV6_MULTICAST_LOOP"),
        Bind(("fe80::1", 0, 0, 12)),
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


def test_sharing_replaces_exclusive_use() -> None:
    for steps in (sender(OWN, share=True), receiver(V4, share=True)):
        assert SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR") in steps
        assert SetOption(0xFFFF, -5, 1, "SO_EXCLUSIVEADDRUSE") not in steps
    for steps in (sender(OWN, share=False), receiver(V4, share=False)):
        assert SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR") not in steps
        assert SetOption(0xFFFF, -5, 1, "SO_EXCLUSIVEADDRUSE") in steps


def test_only_a_link_local_source_has_a_scope() -> None:
    assert sender(GLOBAL)[-1] == Bind(("2001:db8::5", 0, 0, 0))
    assert sender(IPv6Address("::1"), LOOPBACK)[-1] == Bind(("::1", 0, 0, 0))


def test_an_ipv4_receiver() -> None:
    assert receiver(V4) == (
        SetOption(0xFFFF, 0x4, 1, "SO_REUSEADDR"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(0, 28, 1, "IP_IFLIST", OLD),
        SetOption(0, 29, 12, "IP_ADD_IFLIST", OLD),
        SetOption(0, 11, 1, "IP_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x1002, 4_194_304, "SO_RCVBUF", (ANY,)),
        Bind(("192.168.1.5", 28232)),
    )


def test_an_ipv6_receiver() -> None:
    assert receiver(V6, Group(IPv6Address("ff02::fb")), share=False) == (
        SetOption(41, 27, 1, "IPV6_V6ONLY"),
        SetOption(0xFFFF, -5, 1, "SO_EXCLUSIVEADDRUSE"),
        SetOption(0xFFFF, 0x20, 1, "SO_BROADCAST"),
        SetOption(41, 28, 1, "IPV6_IFLIST", OLD),
        SetOption(41, 29, 12, "IPV6_ADD_IFLIST", OLD),
        SetOption(41, 11, 1, "IPV6_MULTICAST_LOOP"),
        SetOption(0xFFFF, 0x1002, 4_194_304, "SO_RCVBUF", (ANY,)),
        Bind(("fe80::1", 28232, 0, 12)),
        SetOption(
            41,
            12,
            b"\xff\x02" + b"\0" * 13 + b"\xfb" + HOST_ORDER,
            "membership of ff02::fb",
            JOINED,
        ),
    )


def test_what_a_receiver_is_bound_to() -> None:
    def bound(family: Family, *addresses: Address) -> Step:
        interface = Interface("Wi-Fi", 12, Kind.WIFI, FLAGS, 1500, addresses=addresses)
        return receiver(family, interface=interface)[-1]

    assert bound(V4) == Bind(("0.0.0.0", 28232))
    assert bound(V6) == Bind(("::", 28232, 0, 0))
    assert bound(V6, Address(GLOBAL, 64)) == Bind(("2001:db8::5", 28232, 0, 0))
    assert bound(V6, Address(LINK_LOCAL, 64, tentative=True)) == Bind(("::", 28232, 0, 0))
    assert receiver(V4, interface=LOOPBACK)[-1] == Bind(("127.0.0.1", 28232))
    assert receiver(V6, interface=LOOPBACK)[-1] == Bind(("::1", 28232, 0, 0))


def test_an_ipv4_membership_names_the_interface_as_an_address() -> None:
    *_, joined = receiver(V4, Group(IPv4Address("239.1.2.3")))
    assert joined == SetOption(
        0, 12, b"\xef\x01\x02\x03" + NETWORK_ORDER, "membership of 239.1.2.3", JOINED
    )


def family(number: int) -> bytes:
    return number.to_bytes(2, sys.byteorder)


def test_a_source_specific_membership() -> None:
    *_, joined = receiver(V4, Group(IPv4Address("232.1.2.3"), IPv4Address("10.0.0.1")))
    assert joined == SetOption(
        0,
        45,
        (HOST_ORDER + b"\0" * 4)
        + (family(2) + b"\0\0" + b"\xe8\x01\x02\x03" + b"\0" * 120)
        + (family(2) + b"\0\0" + b"\x0a\x00\x00\x01" + b"\0" * 120),
        "membership of 10.0.0.1@232.1.2.3",
        JOINED,
    )
    *_, joined = receiver(V6, Group(IPv6Address("ff32::1"), IPv6Address("2001:db8::1")))
    assert joined == SetOption(
        41,
        45,
        (HOST_ORDER + b"\0" * 4)
        + (family(23) + b"\0" * 6 + b"\xff\x32" + b"\0" * 13 + b"\x01" + b"\0" * 104)
        + (family(23) + b"\0" * 6 + b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01" + b"\0" * 104),
        "membership of 2001:db8::1@ff32::1",
        JOINED,
    )


def test_names_are_not_compared_because_windows_has_two_kinds() -> None:
    for steps in (sender(OWN), sender(LINK_LOCAL), receiver(V4), receiver(V6)):
        assert not any(isinstance(step, Verify) for step in steps)


def test_all_hosts_is_the_limited_broadcast_address() -> None:
    assert windows.all_hosts(ETHERNET.addresses[0]) == (IPv4Address("255.255.255.255"), ())


def test_there_are_no_control_messages() -> None:
    assert windows.send_ancillary(ETHERNET, OWN) == []
    assert windows.read_arrival(V4, []) == Arrival()
    assert windows.read_arrival(V6, [(41, 19, b"\0" * 20)]) == Arrival()
    assert windows.ISOLATES is True
    assert windows.GROUPS_PER_SOCKET > 20
