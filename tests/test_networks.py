from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import IPAddress
from bcast.errors import ArgumentError
from bcast.networks import Network, contains, parse_networks
from tests.strategies import ip_addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.168.1.0/24", IPv4Network("192.168.1.0/24")),
        ("192.168.1.77/24", IPv4Network("192.168.1.0/24")),  # as an interface's address is shown
        ("10.0.0.7", IPv4Network("10.0.0.7/32")),
        ("0.0.0.0/0", IPv4Network("0.0.0.0/0")),
        ("fe80::/10", IPv6Network("fe80::/10")),
        ("2001:db8::1", IPv6Network("2001:db8::1/128")),
        ("::/0", IPv6Network("::/0")),
    ],
)
def test_networks_and_hosts(text: str, expected: Network) -> None:
    assert parse_networks(text) == (expected,)
    assert parse_networks([text]) == (expected,)


def test_several_in_their_order() -> None:
    several = parse_networks(iter(["10.0.0.0/8", "fe80::/10"]))
    assert several == (IPv4Network("10.0.0.0/8"), IPv6Network("fe80::/10"))


def test_none_has_no_address() -> None:
    assert parse_networks([]) == ()
    assert not contains((), IPv4Address("10.0.0.1"))


@pytest.mark.parametrize("text", ["", "lan", "10.0.0", "10.0.0.0/33", "10.0.0.0/8/8", "eth0"])
def test_what_is_no_network_is_quoted_and_the_form_is_shown(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_networks(["10.0.0.0/8", text])
    assert f"'{text}'" in caught.value.message
    assert "192.168.1.0/24" in caught.value.advice


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.168.1.0/24", "192.168.1.255", "192.168.2.0"),
        ("10.0.0.7", "10.0.0.7", "10.0.0.6"),
        ("fe80::/10", "fe80::1%eth0", "fec0::1"),
        ("fe80::1", "fe80::1%eth0", "fe80::2%eth0"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("0.0.0.0/0", "10.0.0.1", "2001:db8::1"),
        ("0.0.0.0/0", "255.255.255.255", "::"),
    ],
)
def test_what_is_in_a_network(network: str, inside: str, outside: str) -> None:
    assert contains(parse_networks(network), ip_address(inside))
    assert not contains(parse_networks(network), ip_address(outside))


def test_one_of_several_is_enough() -> None:
    several = parse_networks(["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"])
    assert contains(several, IPv4Address("192.168.9.9"))
    assert contains(several, IPv6Address("fd00::1"))
    assert not contains(several, IPv4Address("172.16.0.1"))


@given(ip_addresses(), ip_addresses(), st.integers(0, 128))
def test_an_address_is_in_a_network_if_it_begins_like_it(
    address: IPAddress, other: IPAddress, length: int
) -> None:
    length = min(length, address.max_prefixlen)
    plain = str(address).partition("%")[0]
    networks = parse_networks(f"{plain}/{length}")
    rest = address.max_prefixlen - length
    same = address.version == other.version and int(address) >> rest == int(other) >> rest
    assert contains(networks, other) is same
    assert contains(networks, address)


@given(st.text(max_size=20))
def test_any_text_is_a_network_or_a_bad_argument(text: str) -> None:
    try:
        [network] = parse_networks(text)
    except ArgumentError:
        return
    assert contains([network], network.network_address)
