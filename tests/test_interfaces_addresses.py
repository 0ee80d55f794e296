from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import ifaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.errors import SocketError
from bcast.interfaces.addresses import (
    Assigned,
    directed_broadcast,
    interface_address,
    read_addresses,
)


def adapters(monkeypatch: pytest.MonkeyPatch, *given: ifaddr.Adapter) -> list[Assigned]:
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: given)
    return read_addresses()


def test_addresses_of_all_adapters_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = adapters(
        monkeypatch,
        ifaddr.Adapter(
            "{846E}",
            "Intel(R) Ethernet",
            [
                ifaddr.IP("10.0.0.1", 8, "Ethernet 2"),
                ifaddr.IP(("fd00::1", 0, 0), 64, "Ethernet 2"),
            ],
            index=7,
        ),
        ifaddr.Adapter("eth0:1", "eth0:1", [ifaddr.IP("10.0.0.2", 24, "eth0:1")], index=None),
    )
    assert found == [
        Assigned("{846E}", "Ethernet 2", "Intel(R) Ethernet", 7, IPv4Address("10.0.0.1"), 8),
        Assigned("{846E}", "Ethernet 2", "Intel(R) Ethernet", 7, IPv6Address("fd00::1"), 64),
        Assigned("eth0:1", "eth0:1", "eth0:1", 0, IPv4Address("10.0.0.2"), 24),
    ]


def test_scope_of_a_link_local_address_is_its_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = adapters(
        monkeypatch, ifaddr.Adapter("a", "a", [ifaddr.IP(("fe80::1", 0, 4), 64, "a")], index=9)
    )
    assert (one.ifindex, one.address) == (4, IPv6Address("fe80::1"))


@pytest.mark.parametrize("scope", [4, 0])
def test_index_that_a_kame_stack_leaves_in_the_address_is_taken_out(
    monkeypatch: pytest.MonkeyPatch, scope: int
) -> None:
    own = [ifaddr.IP(("fe80:4::1", 0, scope), 64, "a"), ifaddr.IP(("fe80:5::1", 0, 4), 64, "a")]
    found = adapters(monkeypatch, ifaddr.Adapter("a", "a", own, index=4))
    # The second is an odd address, but somebody's.
    assert [str(each.address) for each in found] == ["fe80::1", "fe80:5::1"]


@pytest.mark.parametrize(
    "failure",
    [OSError(24, "Too many open files"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")],
)
def test_failure_of_the_system_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail() -> None:
        raise failure

    monkeypatch.setattr(ifaddr, "get_adapters", fail)
    with pytest.raises(SocketError, match="can't read the addresses"):
        read_addresses()


def test_only_link_local_addresses_get_a_scope() -> None:
    def scoped(text: str, name: str) -> str:
        return str(interface_address(ip_address(text), 64, name, 3))

    assert scoped("fe80::1", "eth0") == "fe80::1%eth0/64"
    assert scoped("fe80::1", "100%") == "fe80::1%3/64"
    assert scoped("fd00::1", "eth0") == "fd00::1/64"
    assert scoped("::1", "lo") == "::1/64"


@given(st.ip_addresses(v=4), st.integers(0, 30))
def test_directed_broadcast_is_the_last_address_of_the_network(
    address: IPv4Address, prefix_length: int
) -> None:
    network = ip_network((int(address), prefix_length), strict=False)
    assert directed_broadcast(address, prefix_length) == network.broadcast_address


@pytest.mark.parametrize(
    ("address", "prefix_length"), [("10.0.0.1", 31), ("10.0.0.1", 32), ("fd00::1", 8)]
)
def test_no_directed_broadcast(address: str, prefix_length: int) -> None:
    assert directed_broadcast(ip_address(address), prefix_length) is None
