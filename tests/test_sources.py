from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given

from bcast.datagram import Address, Endpoint, Interface, InterfaceFlag, IPAddress, Kind
from bcast.discovery.sources import MAX_VERDICTS, Sources
from tests.strategies import interfaces

ETHERNET = Interface(
    "eth0",
    2,
    Kind.ETHERNET,
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST,
    1500,
    addresses=(
        Address(IPv4Address("192.168.1.5"), 24, IPv4Address("192.168.1.255")),
        Address(IPv4Address("172.16.1.5"), 16, IPv4Address("172.16.9.255")),  # set by hand
        Address(IPv4Address("10.9.9.9"), 32),
        Address(IPv4Address("10.1.1.0"), 31),
        Address(IPv6Address("2001:db8::5"), 64),
        Address(IPv6Address("fe80::5%eth0"), 64),
    ),
)
LOOPBACK = Interface(
    "lo",
    1,
    Kind.LOOPBACK,
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.LOOPBACK,
    65_536,
    addresses=(Address(IPv4Address("127.0.0.1"), 8), Address(IPv6Address("::1"), 128)),
)


@pytest.mark.parametrize(
    ("source", "interface"),
    [
        ("192.168.1.77", ETHERNET),
        ("192.168.1.5", ETHERNET),  # another process of this host
        ("10.9.9.9", ETHERNET),
        ("10.1.1.0", ETHERNET),  # both addresses of a /31 are hosts (RFC 3021)
        ("10.1.1.1", ETHERNET),
        ("169.254.3.4", ETHERNET),
        ("2001:db8::99", ETHERNET),
        ("fe80::99%eth0", ETHERNET),
        ("fe80::99%2", LOOPBACK),
        ("127.0.0.1", LOOPBACK),
        ("127.1.2.3", LOOPBACK),
        ("::1", LOOPBACK),
    ],
)
def test_hosts_on_the_link(source: str, interface: Interface) -> None:
    sources = Sources(interface)
    for _ in range(2):  # the second time from memory
        assert sources.is_on_link(Endpoint(ip_address(source), 4000))
    assert not sources.is_on_link(Endpoint(ip_address(source), 0)), "nobody can be answered there"


@pytest.mark.parametrize(
    "source",
    [
        "192.168.2.77",
        "10.9.9.8",
        "8.8.8.8",
        "127.0.0.1",
        "2001:db8:1::1",
        "::1",
        # Not the address of one host:
        "0.0.0.0",
        "::",
        "192.168.1.255",
        "192.168.1.0",
        "172.16.9.255",
        "172.16.255.255",
        "169.254.255.255",
        "255.255.255.255",
        "224.0.0.1",
        "239.255.110.72",
        "ff12::fd99:4222%eth0",
    ],
)
def test_everybody_else(source: str) -> None:
    sources = Sources(ETHERNET)
    for _ in range(2):
        assert not sources.is_on_link(Endpoint(ip_address(source), 4000))


@pytest.mark.parametrize(
    ("destination", "interface", "for_many"),
    [
        ("239.255.110.72", ETHERNET, True),
        ("ff12::fd99:4222%eth0", ETHERNET, True),
        ("255.255.255.255", ETHERNET, True),
        ("192.168.1.255", ETHERNET, True),
        ("127.255.255.255", LOOPBACK, True),
        ("192.168.1.5", ETHERNET, False),
        ("fe80::5%eth0", ETHERNET, False),
        ("127.0.0.1", LOOPBACK, False),
    ],
)
def test_what_was_sent_to_many(destination: str, interface: Interface, for_many: bool) -> None:
    assert Sources(interface).is_for_many(Endpoint(ip_address(destination), 28232)) == for_many


@given(interfaces())
def test_all_addresses_of_an_interface_are_on_its_link(interface: Interface) -> None:
    sources = Sources(interface)
    others: set[IPAddress | None] = {a.broadcast for a in interface.addresses}
    for one in interface.addresses:
        if one.address.version == 4 and one.prefix_length <= 30:
            others |= {one.network[0], one.network[-1]}
    for one in interface.addresses:
        if one.address not in others:
            assert sources.is_on_link(Endpoint(one.address, 1))


def test_forged_sources_dont_fill_the_memory() -> None:
    sources = Sources(ETHERNET)
    for n in range(3 * MAX_VERDICTS):
        sources.is_on_link(Endpoint(IPv4Address(0x0A00_0000 + n), 1))
        assert len(sources._verdicts) <= MAX_VERDICTS
    assert sources.is_on_link(Endpoint(IPv4Address("192.168.1.77"), 1))
