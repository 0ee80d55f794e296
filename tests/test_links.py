from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from bcast.datagram import Address, Endpoint, Family, Group, Interface, InterfaceFlag, Kind
from bcast.destinations import ALL_HOSTS, DEFAULT_GROUPS, DEFAULT_PORT
from bcast.discovery.links import Link, destinations
from bcast.discovery.schedule import Path
from bcast.domain import Domain
from bcast.machine import Attached

FOUR = (Family.IPV4,)
BOTH = (Family.IPV6, Family.IPV4)
MULTICAST = InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.MULTICAST
ETHERNET = MULTICAST | InterfaceFlag.BROADCAST


def attached(
    *addresses: str,
    families: tuple[Family, ...] = BOTH,
    flags: InterfaceFlag = ETHERNET,
    tentative: tuple[str, ...] = (),
) -> Attached:
    made: list[Address] = []
    for text in (*addresses, *tentative):
        address = ip_address(text)
        if isinstance(address, IPv4Address):
            last = IPv4Address(int(address) | 0xFF)
            made.append(Address(address, 24, last))
        else:
            made.append(Address(address, 64, None, text in tentative))
    return Attached(
        Interface("eth0", 2, Kind.ETHERNET, flags, 1500, None, tuple(made)), families, 512
    )


def test_all_groups_are_reached_on_the_port_of_the_domain() -> None:
    found = destinations(attached(), Domain(port=5000))
    assert found == {group.family: (Endpoint(group.address, 5000),) for group in DEFAULT_GROUPS}
    assert set(destinations(attached(families=FOUR), Domain())) == {Family.IPV4}
    only_six = Domain(groups=(Group(IPv6Address("ff12::1")),))
    assert set(destinations(attached(), only_six)) == {Family.IPV6}


@pytest.mark.parametrize(
    ("flags", "reached"),
    [(ETHERNET, True), (MULTICAST | InterfaceFlag.LOOPBACK, True), (MULTICAST, False)],
)
def test_broadcast_where_the_domain_wants_and_the_interface_can(
    flags: InterfaceFlag, reached: bool
) -> None:
    link = attached("10.0.0.1", "10.0.0.2", "fe80::1", flags=flags)
    all_hosts = Endpoint(ALL_HOSTS, DEFAULT_PORT)
    subnet = Endpoint(IPv4Address("10.0.0.255"), DEFAULT_PORT)
    found = destinations(link, Domain(broadcast=True))
    assert found[Family.IPV4][1:] == ((all_hosts, subnet) if reached else ())
    assert len(found[Family.IPV6]) == len(destinations(link, Domain())[Family.IPV4]) == 1
    alone = destinations(link, Domain(groups=(), broadcast=True))
    assert alone == ({Family.IPV4: (all_hosts, subnet)} if reached else {})


def test_paths_are_in_order() -> None:
    link = Link(attached("10.0.0.1"), Domain(), None)
    assert link.paths == (Path(2, Family.IPV4), Path(2, Family.IPV6))


@pytest.mark.parametrize(
    ("before", "after", "fresh"),
    [
        (None, attached("10.0.0.1"), [4, 6]),
        (attached("10.0.0.1"), attached("10.0.0.1"), []),
        (attached("10.0.0.1", families=FOUR), attached("10.0.0.1"), [6]),
        (attached("10.0.0.1"), attached("10.0.0.1", families=FOUR), []),
        (attached("10.0.0.1"), attached("10.0.0.2"), [4]),
        (attached("10.0.0.1", "10.0.0.2"), attached("10.0.0.2"), []),
        (attached("fe80::1"), attached("fe80::2"), [6]),
        (attached(tentative=("fe80::1",)), attached("fe80::1"), [6]),
        (attached("fe80::1"), attached("fe80::1", tentative=("fe80::2",)), []),
        # Addresses for privacy, of which there is another one each day.
        (attached("fe80::1", "2001:db8::1"), attached("fe80::1", "2001:db8::2"), []),
        (attached("2001:db8::1"), attached("2001:db8::2"), [6]),
    ],
)
def test_what_is_new_about_an_interface(
    before: Attached | None, after: Attached, fresh: list[int]
) -> None:
    old = Link(before, Domain(), None) if before is not None else None
    new = Link(after, Domain(), old)
    assert [path.family for path in new.fresh] == fresh


def test_what_was_heard_on_an_interface_stays_when_its_addresses_change() -> None:
    old = Link(attached("10.0.0.1"), Domain(), None)
    old.population.add(1)
    new = Link(attached("10.0.1.1"), Domain(), old)
    assert new.population.estimate() == old.population.estimate() > 0
    assert not new.sources.is_on_link(Endpoint(IPv4Address("10.0.0.9"), 1))
    assert new.sources.is_on_link(Endpoint(IPv4Address("10.0.1.9"), 1))
    assert Link(attached("10.0.1.1"), Domain(), new).sources is new.sources
