from __future__ import annotations

import copy
import dataclasses
import pickle
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import (
    Address,
    Datagram,
    Endpoint,
    Family,
    Group,
    Interface,
    InterfaceFlag,
    Kind,
)
from tests.strategies import addresses, datagrams, endpoints, groups, interfaces, scopes_travel

UP = InterfaceFlag.UP
RUNNING = InterfaceFlag.RUNNING
BROADCAST = InterfaceFlag.BROADCAST
MULTICAST = InterfaceFlag.MULTICAST
LOOPBACK = InterfaceFlag.LOOPBACK
POINT_TO_POINT = InterfaceFlag.POINT_TO_POINT
ETHERNET = UP | RUNNING | BROADCAST | MULTICAST

ETH0 = Interface("eth0", 2, Kind.ETHERNET, ETHERNET, 1500)
HERE = Endpoint(IPv4Address("10.0.0.1"), 4000)
THERE = Endpoint(IPv4Address("255.255.255.255"), 28232)

values: st.SearchStrategy[Any] = st.one_of(
    addresses(), endpoints(), groups(), interfaces(), datagrams()
)


@given(values)
def test_every_value_is_immutable(value: Any) -> None:
    if isinstance(value, Datagram):
        public = [name for name in dir(value) if not name.startswith("_")]
    else:
        public = [field.name for field in dataclasses.fields(value)]
    assert public
    for name in public:
        before = getattr(value, name)
        with pytest.raises(AttributeError):
            setattr(value, name, before)
        with pytest.raises(AttributeError):
            delattr(value, name)
    with pytest.raises((AttributeError, TypeError)):
        value.other = 1  # a misspelled attribute is an error


@scopes_travel
@given(values)
def test_every_value_survives_pickling_and_copying(value: Any) -> None:
    """Events go to other processes, and into sets."""
    for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert again == value
        assert hash(again) == hash(value)
        assert repr(again) == repr(value)
        assert type(again) is type(value)


@given(addresses(), interfaces(), endpoints(), groups())
def test_values_are_dataclasses_to_whoever_asks(
    address: Address, interface: Interface, endpoint: Endpoint, group: Group
) -> None:
    for value in (address, interface, endpoint, group):
        named = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        assert type(value)(**named) == value
        assert type(value)(*named.values()) == value
        assert hash(type(value)(**dict(reversed(named.items())))) == hash(value)
        assert dataclasses.replace(value) == value
        assert list(dataclasses.asdict(value)) == list(named)
        assert type(value).__match_args__ == tuple(named)
        assert value != tuple(named.values())


def test_a_change_of_one_field_is_another_value() -> None:
    other = dataclasses.replace(ETH0, mtu=9000)
    assert other != ETH0
    assert (other.name, other.mtu, ETH0.mtu) == ("eth0", 9000, 1500)
    match HERE:
        case Endpoint(IPv4Address(), port):
            assert port == 4000
        case _:
            pytest.fail("an endpoint doesn't match its own form")


@pytest.mark.parametrize(
    ("arguments", "named", "complaint"),
    [
        ((), {}, "address"),
        ((HERE.address,), {}, "port"),
        ((HERE.address, 1, 2), {}, "2|positional"),
        ((HERE.address, 1), {"prot": 2}, "prot"),
        ((HERE.address, 1), {"port": 2}, "port"),
    ],
)
def test_a_value_takes_its_fields_and_nothing_else(
    arguments: tuple[Any, ...], named: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        Endpoint(*arguments, **named)


@given(datagrams(), datagrams())
def test_datagrams_compare_by_what_they_say(one: Datagram, other: Datagram) -> None:
    told = [
        (d.payload, d.source, d.destination, d.interface, d.time_ns, d.ttl) for d in (one, other)
    ]
    assert (one == other) is (told[0] == told[1])
    assert one == Datagram(*told[0])
    assert len({one, Datagram(*told[0])}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"payload": b"bye"},
        {"source": THERE},
        {"destination": HERE},
        {"interface": dataclasses.replace(ETH0, index=3)},
        {"time_ns": 8},
        {"ttl": 65},
        {"ttl": None},
    ],
)
def test_each_part_of_a_datagram_counts(change: dict[str, Any]) -> None:
    parts: dict[str, Any] = {
        "payload": b"hi",
        "source": HERE,
        "destination": THERE,
        "interface": ETH0,
        "time_ns": 7,
        "ttl": 64,
    }
    assert Datagram(**parts) != Datagram(**parts | change)


def test_a_datagram_is_not_equal_to_something_else() -> None:
    datagram = Datagram(b"hi", HERE, THERE, ETH0)
    assert datagram != (b"hi", HERE, THERE, ETH0, 0, None)
    assert datagram != b"hi"


def test_a_datagram_shows_where_it_came_from_and_by_which_interface() -> None:
    shown = repr(Datagram(b"\x1b[2J", HERE, THERE, ETH0, 1_500_000_000, 64))
    for part in ("10.0.0.1:4000", "255.255.255.255:28232", "eth0", "1500000000", "64"):
        assert part in shown
    assert "\x1b" not in shown


def test_the_time_in_seconds() -> None:
    assert Datagram(b"", HERE, THERE, ETH0, 1_500_000_000).time == 1.5
    assert Datagram(b"", HERE, THERE, ETH0).ttl is None


@pytest.mark.parametrize(
    ("text", "length", "network"),
    [
        ("192.168.1.5", 24, IPv4Network("192.168.1.0/24")),
        ("10.1.2.3", 32, IPv4Network("10.1.2.3/32")),
        ("10.1.2.3", 31, IPv4Network("10.1.2.2/31")),
        ("10.1.2.3", 0, IPv4Network("0.0.0.0/0")),
        ("fe80::1%eth0", 64, IPv6Network("fe80::/64")),
        ("2001:db8::1", 128, IPv6Network("2001:db8::1/128")),
    ],
)
def test_the_network_of_an_address(
    text: str, length: int, network: IPv4Network | IPv6Network
) -> None:
    address = Address(ip_address(text), length)
    assert address.network == network
    assert str(address) == f"{text}/{length}"
    assert address.family == (6 if ":" in text else 4)


@given(addresses())
def test_an_address_is_in_its_own_network_and_so_is_its_broadcast_address(
    address: Address,
) -> None:
    plain = ip_address(address.address.packed)
    assert plain in address.network
    assert address.network.prefixlen == address.prefix_length
    if address.broadcast is not None:
        assert address.broadcast == address.network.broadcast_address


@pytest.mark.parametrize(
    ("flags", "blocked", "reason"),
    [
        (ETHERNET, "", ""),
        (UP | RUNNING | MULTICAST, "", ""),
        (UP | RUNNING | BROADCAST, "", ""),
        (UP | RUNNING | MULTICAST | POINT_TO_POINT, "", ""),
        (BROADCAST | MULTICAST, "down", "down"),
        (RUNNING | BROADCAST | MULTICAST, "down", "down"),
        (InterfaceFlag(0), "down", "down"),
        (UP | BROADCAST | MULTICAST, "no carrier", "no carrier"),
        (
            UP | RUNNING | POINT_TO_POINT,
            "neither broadcast nor multicast",
            "neither broadcast nor multicast",
        ),
        (UP | RUNNING | LOOPBACK, "", "loopback"),
        (LOOPBACK, "down", "down"),
    ],
)
def test_what_keeps_an_interface_from_being_used(
    flags: InterfaceFlag, blocked: str, reason: str
) -> None:
    interface = Interface("eth0", 2, Kind.OTHER, flags, 1500)
    assert interface.blocked == blocked
    assert interface.reason == reason
    assert interface.usable is (reason == "")


def test_ports_of_bridges_and_plumbing_are_not_used_unless_asked_for() -> None:
    port = dataclasses.replace(ETH0, enslaved_to="br0")
    assert (port.blocked, port.reason, port.usable) == ("", "enslaved to br0", False)
    docker = dataclasses.replace(ETH0, plumbing=True)
    assert (docker.blocked, docker.reason, docker.usable) == ("", "container plumbing", False)
    # That it is down is the reason that a person can do something about.
    assert dataclasses.replace(port, flags=BROADCAST).reason == "down"


@given(interfaces())
def test_a_usable_interface_is_never_blocked(interface: Interface) -> None:
    assert interface.usable is not bool(interface.reason)
    if interface.blocked:
        assert interface.reason == interface.blocked
    if interface.usable:
        assert not interface.enslaved_to
        assert InterfaceFlag.LOOPBACK not in interface.flags


@given(interfaces())
def test_addresses_by_family_are_all_addresses_in_their_order(interface: Interface) -> None:
    four = interface.addresses_of(Family.IPV4)
    six = interface.addresses_of(Family.IPV6)
    assert sorted(map(str, four + six)) == sorted(map(str, interface.addresses))
    assert [a for a in interface.addresses if a in four] == list(four)
    assert all(isinstance(a.address, IPv4Address) for a in four)
    assert all(isinstance(a.address, IPv6Address) for a in six)


@pytest.mark.parametrize(
    ("mtu", "four", "six"),
    [
        (1500, 1472, 1452),
        (9000, 8972, 8952),
        (1280, 1252, 1232),
        (65_535, 65_507, 65_487),
        (65_536, 65_507, 65_488),
        (65_575, 65_507, 65_527),
        (2**32 - 1, 65_507, 65_527),  # Windows says so of its loopback
    ],
)
def test_the_largest_payload_that_is_not_fragmented(mtu: int, four: int, six: int) -> None:
    interface = dataclasses.replace(ETH0, mtu=mtu)
    assert interface.payload_limit(Family.IPV4) == four
    assert interface.payload_limit(Family.IPV6) == six


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.1", "10.0.0.1:80"),
        ("2001:db8::1", "[2001:db8::1]:80"),
        ("fe80::1%eth0", "[fe80::1%eth0]:80"),
    ],
)
def test_endpoints_as_text(text: str, shown: str) -> None:
    assert str(Endpoint(ip_address(text), 80)) == shown


def test_groups_as_text() -> None:
    assert str(Group(IPv4Address("239.1.2.3"))) == "239.1.2.3"
    specific = Group(IPv4Address("232.1.1.1"), IPv4Address("10.0.0.9"))
    assert str(specific) == "10.0.0.9@232.1.1.1"
    assert specific != Group(IPv4Address("232.1.1.1"))
    assert specific.family is Family.IPV4
    assert Group(IPv6Address("ff02::1")).family is Family.IPV6


@given(endpoints(), endpoints())
def test_the_scope_distinguishes_endpoints(one: Endpoint, other: Endpoint) -> None:
    assert (one == other) is (str(one) == str(other))


def test_the_same_address_on_two_interfaces_is_two_endpoints() -> None:
    one, other = (Endpoint(IPv6Address(f"fe80::1%{name}"), 80) for name in ("eth0", "eth1"))
    assert len({one, other}) == 2


def test_families_and_kinds_read_as_people_write_them() -> None:
    assert [f"IPv{family}" for family in Family] == ["IPv4", "IPv6"]
    assert Family(4) is Family.IPV4
    assert f"{Kind.WIFI}" == "wifi"
    assert Kind("ethernet") is Kind.ETHERNET
