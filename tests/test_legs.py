"""What sending to a destination means on each interface."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bcast.datagram import Address, Endpoint, Interface, InterfaceFlag, Kind
from bcast.destinations import ALL_HOSTS, Target, parse_destination
from bcast.errors import TooLargeError
from bcast.interfaces import select
from bcast.legs import Plan, leg_beside, leg_to, make_plan
from bcast.sockets import bsd, linux
from bcast.sockets.plan import Platform

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST


def interface(name: str, index: int, *hosts: int) -> Interface:
    own = tuple(
        Address(IPv4Address(f"10.9.{index}.{n}"), 24, IPv4Address(f"10.9.{index}.255"))
        for n in hosts
    )
    return Interface(name, index, Kind.ETHERNET, UP, 1500, None, own)


ETH0, ETH1, BARE = interface("eth0", 1, 1), interface("eth1", 2, 1, 2), interface("eth2", 3)


def plan(to: str, *interfaces: Interface, asked_for: bool = False) -> Plan:
    chosen = select(interfaces, None, None)
    return make_plan(parse_destination(to, None), 2222, chosen, interfaces, asked_for=asked_for)


def test_a_group_is_reached_by_each_interface_that_has_an_address() -> None:
    made = plan("239.1.2.3", ETH0, ETH1, BARE)
    assert [leg.interface.name for leg in made.legs] == ["eth0", "eth1"]
    assert {str(leg.there) for leg in made.legs} == {"239.1.2.3:2222"}
    assert [(s.interface.name, s.reason) for s in made.skipped] == [("eth2", "no IPv4 address")]
    assert len({leg.key for leg in made.legs}) == 2


def test_a_host_is_reached_by_the_interface_that_leads_to_it() -> None:
    assert [leg.interface.name for leg in plan("10.9.2.77", ETH0, ETH1).legs] == ["eth1"]
    asked = plan("10.9.2.77", ETH0, ETH1, asked_for=True)
    assert {leg.interface.name for leg in asked.legs} == {"eth0", "eth1"}


@pytest.mark.parametrize(("mtu", "limit"), [(1500, 1472), (9000, 8972)])
def test_what_is_too_large_is_told_with_the_limit(mtu: int, limit: int) -> None:
    [leg] = plan("239.1.2.3", ETH0.__replace__(mtu=mtu)).legs
    assert leg.limit == limit
    error = leg.too_large(limit + 1)
    assert isinstance(error, TooLargeError)
    assert f"at most {limit} bytes do (MTU {mtu})" in str(error)


FOUR = ETH0.addresses[0]
SIX = Address(IPv6Address("fe80::1%eth0"), 64)


@pytest.mark.parametrize("used", [linux, bsd.system("freebsd14")], ids=["linux", "freebsd"])
@pytest.mark.parametrize(
    ("source", "to", "address"),
    [
        (FOUR, "10.9.1.7", ("10.9.1.7", 9)),
        (FOUR, "239.1.2.3", ("239.1.2.3", 9)),
        (SIX, "fe80::7", ("fe80::7", 9, 0, 1)),
        (SIX, "ff12::7", ("ff12::7", 9, 0, 1)),
        (SIX, "2001:db8::7", ("2001:db8::7", 9, 0, 0)),
    ],
)
def test_what_stays_on_the_link_has_a_scope(
    source: Address,
    to: str,
    address: tuple[object, ...],
    used: Platform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bcast.legs.platform", used)
    leg = leg_to(ETH0, Target(source, ip_address(to)), 9)
    assert leg is not None
    assert leg.way.address == address
    assert leg.there == Endpoint(ip_address(to), 9)
    assert leg.way.ancillary == used.send_ancillary(ETH0, source.address)


@pytest.mark.parametrize("used", [linux, bsd.system("freebsd14")], ids=["linux", "freebsd"])
@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_the_way_to_another_host_is_as_if_it_were_the_first(
    used: Platform, address: IPv4Address, port: int
) -> None:
    assume(not address.is_multicast and not address.is_link_local and address != ALL_HOSTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bcast.legs.platform", used)
        known = leg_to(ETH0, Target(FOUR, IPv4Address("10.9.1.7")), 9)
        assert known is not None
        made = leg_to(ETH0, Target(FOUR, address), port)
        assert leg_beside(known, Endpoint(address, port)) == made


def test_no_broadcast_address_is_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcast.legs.platform", bsd.system("freebsd14"))
    bare = Address(IPv4Address("10.9.1.1"), 32)
    assert leg_to(ETH0, Target(bare, ALL_HOSTS, all_hosts=True), 9) is None
