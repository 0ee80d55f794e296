from __future__ import annotations

import errno
import socket
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.errors import SocketError
from bcast.interfaces.addresses import read_addresses
from bcast.interfaces.linux import assemble, is_wireless, list_interfaces
from bcast.interfaces.netlink import Link, LinkAddress

UP = 0x1 | 0x40
ORDINARY = UP | 0x2 | 0x1000
MAC = b"\x02\xfc\0\0\0\1"


def link(
    name: str = "eth0",
    index: int = 4,
    *,
    kind: str = "",
    type: int = 1,
    flags: int = ORDINARY,
    master: int = 0,
    hardware_address: bytes = MAC,
) -> Link:
    return Link(0, index, name, type, flags, 1500, hardware_address, master, kind)


def told(
    text: str,
    index: int = 4,
    *,
    broadcast: str | None = None,
    peer: str | None = None,
    flags: int = 0x80,
) -> LinkAddress:
    address, _, prefix_length = text.partition("/")
    return LinkAddress(
        index,
        ip_address(address),
        int(prefix_length),
        IPv4Address(broadcast) if broadcast else None,
        ip_address(peer) if peer else None,
        flags,
    )


def one(link: Link, *told: LinkAddress, wireless: bool = False) -> Interface:
    (interface,) = assemble([link], told, lambda _: wireless)
    return interface


def test_everything_that_the_kernel_says_is_in_the_interface() -> None:
    lo = link("lo", 1, type=772, flags=UP | 0x8, hardware_address=bytes(6))
    eth = link("eth0", 4, flags=ORDINARY | 0x80)
    found = assemble(
        [eth, lo],
        [told("10.9.1.1/24", broadcast="10.9.1.255"), told("127.0.0.1/8", 1), told("fe80::1/64")],
        lambda _: False,
    )
    up = InterfaceFlag.UP | InterfaceFlag.RUNNING
    able = InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST | InterfaceFlag.NOARP
    assert found == (
        Interface(
            "lo",
            1,
            Kind.LOOPBACK,
            up | InterfaceFlag.LOOPBACK,
            1500,
            None,
            # The kernel has a broadcast route for it, although loopback isn't IFF_BROADCAST.
            (Address(IPv4Address("127.0.0.1"), 8, IPv4Address("127.255.255.255")),),
        ),
        Interface(
            "eth0",
            4,
            Kind.ETHERNET,
            up | able,
            1500,
            "02:fc:00:00:00:01",
            (
                Address(IPv4Address("10.9.1.1"), 24, IPv4Address("10.9.1.255")),
                Address(IPv6Address("fe80::1%eth0"), 64),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("veth", Kind.VETH),
        ("bridge", Kind.BRIDGE),
        ("bond", Kind.BOND),
        ("team", Kind.BOND),
        ("vlan", Kind.VLAN),
        ("macvlan", Kind.MACVLAN),
        ("ipvlan", Kind.MACVLAN),
        ("macvtap", Kind.MACVLAN),
        ("dummy", Kind.DUMMY),
        ("tun", Kind.TUNNEL),
        ("vxlan", Kind.TUNNEL),
        ("gretap", Kind.TUNNEL),
        ("wireguard", Kind.TUNNEL),
        ("geneve", Kind.TUNNEL),
        ("dsa", Kind.ETHERNET),
        ("rmnet", Kind.CELLULAR),
        ("ifb", Kind.OTHER),
        ("vrf", Kind.OTHER),
    ],
)
def test_kind_by_what_made_the_link(kind: str, expected: Kind) -> None:
    assert one(link(kind=kind)).kind is expected


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        (1, Kind.ETHERNET),
        (772, Kind.LOOPBACK),
        (512, Kind.TUNNEL),
        (768, Kind.TUNNEL),
        (776, Kind.TUNNEL),
        (65534, Kind.TUNNEL),
        (519, Kind.CELLULAR),
        (280, Kind.OTHER),
    ],
)
def test_kind_by_hardware_type(type: int, expected: Kind) -> None:
    assert one(link(type=type)).kind is expected


def test_wireless_interface_is_wifi_whatever_made_it() -> None:
    assert one(link(), wireless=True).kind is Kind.WIFI
    assert one(link(kind="virt_wifi"), wireless=True).kind is Kind.WIFI
    assert one(link(kind="veth"), wireless=True).kind is Kind.VETH


def test_hardware_address_of_a_tunnel_is_an_ip_address_and_not_shown() -> None:
    assert one(link(type=778, hardware_address=b"\x0a\0\0\1")).hardware_address is None
    assert one(link(hardware_address=b"")).hardware_address is None


@pytest.mark.parametrize(
    ("master", "expected"),
    [("bridge", "br0"), ("bond", "br0"), ("team", "br0"), ("openvswitch", "br0"), ("vrf", None)],
)
def test_enslaved_only_to_a_master_that_takes_the_traffic(
    master: str, expected: str | None
) -> None:
    found = assemble(
        [link(master=9, kind="veth"), link("br0", 9, kind=master)], [], lambda _: False
    )
    assert found[0].enslaved_to == expected
    assert found[0].usable is (expected is None)


def test_master_that_is_gone_is_no_master() -> None:
    assert one(link(master=9)).enslaved_to is None


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("docker0", "bridge", True),
        ("docker0", "veth", False),
        ("docker1", "bridge", False),
        ("br-0123456789ab", "bridge", True),
        ("br-0123456789ax", "bridge", False),
        ("br-0123456789a", "bridge", False),
        ("0123456789ab", "bridge", False),
        ("br-lan", "bridge", False),
        ("br0", "bridge", False),
        ("virbr12", "bridge", True),
        ("cni0", "bridge", True),
        ("cali1234", "veth", True),
        ("cali1234", "", True),
    ],
)
def test_plumbing(name: str, kind: str, expected: bool) -> None:
    interface = one(link(name, kind=kind))
    assert interface.plumbing is expected
    assert interface.reason == ("container plumbing" if expected else "")


@pytest.mark.parametrize(
    ("address", "flags", "expected"),
    [
        (told("10.9.1.1/24", broadcast="10.9.1.255"), ORDINARY, "10.9.1.255"),
        (told("10.9.1.1/24", broadcast="10.9.1.127"), ORDINARY, "10.9.1.127"),
        (told("10.9.1.1/24"), ORDINARY, "10.9.1.255"),
        (told("10.9.1.1/24", broadcast="0.0.0.0"), ORDINARY, "10.9.1.255"),
        (told("10.9.1.1/24"), UP, None),
        (told("10.9.1.1/31", broadcast="255.255.255.255"), ORDINARY, None),
        (told("10.9.1.1/32", broadcast="10.9.1.1"), ORDINARY, None),
        (told("10.9.1.1/30"), ORDINARY, "10.9.1.3"),
        (told("10.9.1.1/24", peer="10.9.1.2"), ORDINARY, None),
        (told("10.9.1.1/24"), ORDINARY | 0x10, None),
        (told("fd00::1/64"), ORDINARY, None),
    ],
)
def test_broadcast_address(address: LinkAddress, flags: int, expected: str | None) -> None:
    (found,) = one(link(flags=flags), address).addresses
    assert found.broadcast == (IPv4Address(expected) if expected else None)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(0x80, False), (0x40, True), (0xC0, True), (0x44, False), (0x08, True), (0x4C, True)],
)
def test_tentative_unless_optimistic_and_after_a_failed_check(flags: int, expected: bool) -> None:
    (found,) = one(link(), told("fe80::1/64", flags=flags)).addresses
    assert found.tentative is expected


def listed(*addresses: LinkAddress) -> dict[str, list[str]]:
    found = assemble([link("eth0", 4), link("eth1", 5)], addresses, lambda _: False)
    return {i.name: [str(a) for a in i.addresses] for i in found}


def test_address_of_an_interface_that_is_gone_is_left_out() -> None:
    assert listed(told("10.9.9.9/24", 9)) == {"eth0": [], "eth1": []}


def test_same_address_on_two_interfaces_stays_with_each() -> None:
    found = listed(told("fe80::1/64", 4), told("fe80::1/64", 5))
    assert found == {"eth0": ["fe80::1%eth0/64"], "eth1": ["fe80::1%eth1/64"]}


def sysfs(root: Path, *, index: str = "4", address: str = "02:fc:00:00:00:01") -> str:
    folder = root / "eth0"
    (folder / "phy80211").mkdir(parents=True)
    (folder / "ifindex").write_text(index + "\n")
    (folder / "address").write_text(address + "\n")
    return str(root)


def test_sysfs_knows_wireless(tmp_path: Path) -> None:
    root = sysfs(tmp_path)
    assert is_wireless(link(), root)
    assert not is_wireless(link("eth1"), root)


@pytest.mark.parametrize("other", [{"index": "5"}, {"address": "02:fc:00:00:00:02"}])
def test_sysfs_of_another_namespace_is_not_believed(tmp_path: Path, other: dict[str, str]) -> None:
    assert not is_wireless(link(), sysfs(tmp_path, **other))


def test_sysfs_without_the_proof_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "eth0" / "wireless").mkdir(parents=True)
    assert not is_wireless(link(), str(tmp_path))
    assert not is_wireless(link(), str(tmp_path / "none"))


def test_sandbox_without_netlink_is_a_sentence() -> None:
    def refuse() -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    with pytest.raises(SocketError, match="AF_NETLINK") as raised:
        list_interfaces(open_netlink=refuse)
    assert raised.value.error == "EAFNOSUPPORT"


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_addresses_are_those_that_ifaddr_reads() -> None:
    own = {
        (i.index, a.address.packed, a.prefix_length)
        for i in list_interfaces()
        for a in i.addresses
    }
    read = {(a.ifindex, a.address.packed, a.prefix_length) for a in read_addresses()}
    assert own == read
