"""What sending to a destination means on each interface."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.destinations import parse_destination
from bcast.errors import TooLargeError
from bcast.interfaces import select
from bcast.legs import Plan, make_plan

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
