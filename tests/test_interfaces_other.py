from __future__ import annotations

import dataclasses
import errno
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.errors import SocketError
from bcast.interfaces.addresses import Assigned
from bcast.interfaces.netlink import Notice
from bcast.interfaces.other import (
    Adapter,
    adapter_of,
    assemble,
    functional_type,
    list_interfaces,
    open_notifications,
    read_notifications,
)

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
ABLE = InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST


class Stats(NamedTuple):
    isup: bool
    mtu: int
    flags: str = ""


class OldStats(NamedTuple):
    isup: bool
    mtu: int


class Found(NamedTuple):
    family: int
    address: str
    broadcast: str | None = None


LINK = 18


def assigned(
    adapter: str, text: str, *, index: int = 0, label: str = "", description: str = ""
) -> Assigned:
    address, _, prefix_length = text.partition("/")
    return Assigned(
        adapter,
        label or adapter,
        description or adapter,
        index,
        ip_address(address),
        int(prefix_length),
    )


def nothing(name: str) -> int:
    return 0


def one(
    name: str,
    flags: str,
    *addresses: Assigned,
    system: str = "darwin",
    mac: str | None = "02:fc:00:00:00:01",
    functional: int = 0,
    broadcasts: dict[str, str] | None = None,
) -> Interface:
    adapter = Adapter(
        name,
        True,
        frozenset(flags.split(",")) if flags else None,
        1500,
        mac,
        broadcasts or {},
    )
    (interface,) = assemble(
        [adapter],
        addresses,
        system=system,
        index_of=lambda name: 7,
        functional_type=lambda name: functional,
    )
    return interface


ORDINARY = "up,broadcast,running,multicast,simplex"


def test_records_of_macos() -> None:
    adapter = adapter_of(
        "en0",
        Stats(True, 1500, "up,broadcast,running,simplex,multicast"),
        [
            Found(socket.AF_INET, "192.168.1.7", "192.168.1.255"),
            Found(socket.AF_INET6, "fe80::1%en0"),
            Found(LINK, "A4:83:E7:00:00:01"),
        ],
        LINK,
    )
    (interface,) = assemble(
        [adapter],
        [assigned("en0", "192.168.1.7/24", index=6), assigned("en0", "fe80::1/64", index=6)],
        system="darwin",
        index_of=nothing,
        functional_type={"en0": 3}.__getitem__,
    )
    assert interface == Interface(
        "en0",
        6,
        Kind.WIFI,
        UP | ABLE,
        1500,
        "a4:83:e7:00:00:01",
        (
            Address(IPv4Address("192.168.1.7"), 24, IPv4Address("192.168.1.255")),
            Address(IPv6Address("fe80::1%en0"), 64),
        ),
    )


def test_records_of_windows() -> None:
    ethernet = adapter_of(
        "Ethernet 2",
        Stats(True, 1500),
        [Found(-1, "00-15-5D-00-00-01"), Found(socket.AF_INET, "10.0.0.5")],
        -1,
    )
    loopback = adapter_of("Loopback Pseudo-Interface 1", Stats(True, 2**32 - 1), [], -1)
    idle = adapter_of("Wi-Fi", Stats(False, 1500), [Found(-1, "00-15-5D-00-00-02")], -1)
    without = adapter_of("Ethernet 3", OldStats(False, 1500), [], -1)
    found = assemble(
        [ethernet, loopback, idle, without],
        [
            assigned("{846E}", "10.0.0.5/8", index=12, label="Ethernet 2", description="Realtek"),
            assigned("{0}", "127.0.0.1/8", index=1, label="Loopback Pseudo-Interface 1"),
            assigned(
                "{1}", "169.254.1.1/16", index=9, label="Wi-Fi", description="Intel(R) AX200"
            ),
        ],
        system="win32",
        index_of=nothing,
    )
    assert [(i.index, i.name, i.kind, i.flags, i.reason) for i in found] == [
        (
            1,
            "Loopback Pseudo-Interface 1",
            Kind.LOOPBACK,
            UP | InterfaceFlag.LOOPBACK,
            "loopback",
        ),
        (9, "Wi-Fi", Kind.WIFI, ABLE, "down"),
        (12, "Ethernet 2", Kind.ETHERNET, UP | ABLE, ""),
    ]
    assert found[0].mtu == 65_535
    assert found[2].hardware_address == "00:15:5d:00:00:01"
    assert found[2].addresses == (
        Address(IPv4Address("10.0.0.5"), 8, IPv4Address("10.255.255.255")),
    )


@pytest.mark.parametrize(
    ("name", "flags", "functional", "expected"),
    [
        ("lo0", "up,loopback,running,multicast", 1, Kind.LOOPBACK),
        ("en0", ORDINARY, 2, Kind.ETHERNET),
        ("en1", ORDINARY, 3, Kind.WIFI),
        ("awdl0", ORDINARY, 4, Kind.OTHER),
        ("anpi0", ORDINARY, 6, Kind.OTHER),
        ("pdp_ip0", "up,pointopoint,running,multicast", 5, Kind.CELLULAR),
        ("en7", ORDINARY, 0, Kind.OTHER),
        ("bridge100", ORDINARY, 2, Kind.BRIDGE),
        ("vlan0", ORDINARY, 2, Kind.VLAN),
        ("bond0", ORDINARY, 2, Kind.BOND),
        ("utun3", "up,pointopoint,running,multicast", 0, Kind.TUNNEL),
        ("feth0", ORDINARY, 2, Kind.VETH),
    ],
)
def test_kind_on_macos(name: str, flags: str, functional: int, expected: Kind) -> None:
    assert one(name, flags, functional=functional).kind is expected


@pytest.mark.parametrize(
    ("name", "flags", "system", "expected"),
    [
        ("em0", ORDINARY, "freebsd14", Kind.ETHERNET),
        ("wlan0", ORDINARY, "freebsd14", Kind.WIFI),
        ("lagg0", ORDINARY, "freebsd14", Kind.BOND),
        ("epair0a", ORDINARY, "freebsd14", Kind.VETH),
        ("em0.100", ORDINARY, "freebsd14", Kind.VLAN),
        ("wg0", "up,running,multicast", "freebsd14", Kind.TUNNEL),
        ("ng0", "up,pointopoint,running", "freebsd14", Kind.TUNNEL),
        ("aggr0", ORDINARY, "openbsd7", Kind.BOND),
        ("net0", "", "sunos5", Kind.ETHERNET),
    ],
)
def test_kind_elsewhere_on_unix(name: str, flags: str, system: str, expected: Kind) -> None:
    assert one(name, flags, system=system).kind is expected


@pytest.mark.parametrize(
    ("label", "description", "expected"),
    [
        ("Ethernet", "Intel(R) Ethernet Connection", Kind.ETHERNET),
        ("vEthernet (WSL)", "Hyper-V Virtual Ethernet Adapter", Kind.ETHERNET),
        ("WLAN", "Intel(R) Wi-Fi 6 AX201 160MHz", Kind.WIFI),
        ("Drahtlos", "Qualcomm 802.11ac Adapter", Kind.WIFI),
        ("Bluetooth Network Connection", "Bluetooth Device", Kind.OTHER),
        ("office", "WireGuard Tunnel", Kind.TUNNEL),
        ("OpenVPN", "TAP-Windows Adapter V9", Kind.TUNNEL),
        ("Cellular", "Generic Mobile Broadband Adapter", Kind.CELLULAR),
        ("Loopback", "Microsoft KM-TEST Loopback Adapter", Kind.DUMMY),
    ],
)
def test_kind_on_windows(label: str, description: str, expected: Kind) -> None:
    own = assigned("{1}", "10.0.0.1/8", index=5, label=label, description=description)
    assert one(label, "", own, system="win32").kind is expected


def test_kind_of_an_interface_that_nobody_knows() -> None:
    own = assigned("{1}", "10.0.0.1/8", index=5, label="x")
    assert one("x", "", own, system="win32", mac=None).kind is Kind.OTHER
    assert one("pflog0", "up,running", system="openbsd7", mac=None).kind is Kind.OTHER


@pytest.mark.parametrize(
    ("flags", "text", "broadcasts", "expected"),
    [
        (ORDINARY, "10.9.1.1/24", {"10.9.1.1": "10.9.1.127"}, "10.9.1.127"),
        (ORDINARY, "10.9.1.1/24", {}, "10.9.1.255"),
        (ORDINARY, "10.9.1.1/24", {"10.9.1.1": "0.0.0.0"}, "10.9.1.255"),
        (ORDINARY, "10.9.1.1/31", {"10.9.1.1": "10.9.1.1"}, None),
        ("up,running,loopback,multicast", "127.0.0.1/8", {}, None),
        ("up,running,pointopoint", "10.9.1.1/24", {}, None),
        (ORDINARY + ",pointopoint", "10.9.1.1/24", {}, None),
        (ORDINARY, "fd00::1/64", {}, None),
    ],
)
def test_broadcast_address(
    flags: str, text: str, broadcasts: dict[str, str], expected: str | None
) -> None:
    (found,) = one("en0", flags, assigned("en0", text), broadcasts=broadcasts).addresses
    assert found.broadcast == (IPv4Address(expected) if expected else None)


def test_further_address_of_illumos_belongs_to_its_interface() -> None:
    interface = one("net0", "", assigned("net0:1", "10.9.1.2/24"), system="sunos5")
    assert [str(a) for a in interface.addresses] == ["10.9.1.2/24"]


def test_interface_without_an_index_is_left_out() -> None:
    adapter = Adapter("en0", True, None, 1500, None, {})
    assert assemble([adapter], [], system="darwin", index_of=nothing) == ()


def test_hardware_address_of_zeros_is_none() -> None:
    adapter = adapter_of("lo0", Stats(True, 16384), [Found(LINK, "00:00:00:00:00:00")], LINK)
    assert adapter.hardware_address is None


@pytest.mark.skipif(sys.platform != "linux", reason="compares with what only Linux has")
def test_agrees_with_netlink_about_this_machine() -> None:
    pytest.importorskip("psutil")
    from bcast.interfaces.linux import list_interfaces as by_netlink

    def comparable(interfaces: tuple[Interface, ...]) -> list[Interface]:
        # Kinds, masters, plumbing, and loopback's broadcast route are only known to netlink.
        return [
            dataclasses.replace(
                i,
                kind=Kind.OTHER,
                enslaved_to=None,
                plumbing=False,
                hardware_address=None,
                addresses=tuple(
                    dataclasses.replace(a, broadcast=None, tentative=False)
                    if InterfaceFlag.BROADCAST not in i.flags
                    else dataclasses.replace(a, tentative=False)
                    for a in i.addresses
                ),
            )
            for i in interfaces
        ]

    assert comparable(list_interfaces()) == comparable(by_netlink())


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (OSError(errno.EMFILE, "Too many open files"), ""),
        (ImportError("no"), "pip install psutil"),
    ],
)
def test_failure_of_psutil_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, advice: str
) -> None:
    psutil = pytest.importorskip("psutil")

    def fail() -> None:
        raise failure

    monkeypatch.setattr(psutil, "net_if_stats", fail)
    with pytest.raises(SocketError, match="can't list the interfaces") as raised:
        list_interfaces()
    assert advice in raised.value.advice


@pytest.mark.skipif(sys.platform == "darwin", reason="there it is answered")
def test_system_without_functional_types_says_unknown() -> None:
    assert functional_type("lo") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no ioctl")
def test_functional_type_is_read_behind_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
        assert (request, argument) == (0xC02069AD, b"en0" + bytes(29))
        return argument[:16] + struct.pack("=I", 3) + bytes(12)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert functional_type("en0") == 3


def routing(*kinds: int) -> bytes:
    return b"".join(struct.pack("=HBB12x", 16, 5, kind) for kind in kinds)


@pytest.mark.parametrize(
    ("system", "kinds", "changed"),
    [
        ("darwin", (0xC,), True),
        ("darwin", (0xD,), True),
        ("darwin", (0xE,), True),
        ("darwin", (1, 2, 3, 7, 0xB), False),
        ("darwin", (0xF, 0x10), False),
        ("freebsd14", (0xF, 0x11), True),
        ("openbsd7", (0xF,), True),
        ("darwin", (1, 7, 0xE), True),
    ],
)
def test_routing_messages(system: str, kinds: tuple[int, ...], changed: bool) -> None:
    assert read_notifications(routing(*kinds), system) == Notice(changed)


@given(st.binary(max_size=64))
def test_any_routing_message_is_understood(data: bytes) -> None:
    assert read_notifications(data, "darwin").deleted == frozenset()


def test_routing_message_that_can_not_be_read_is_a_reason_to_look() -> None:
    assert read_notifications(b"\0\0\0\1", "darwin") == Notice(True)
    assert read_notifications(routing(1) + b"\1", "darwin") == Notice(True)


@pytest.mark.parametrize("system", ["win32", "sunos5"])
def test_systems_without_a_routing_socket_poll(system: str) -> None:
    assert open_notifications(system) is None


def test_routing_socket_that_is_refused_means_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> socket.socket:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket, "socket", refuse)
    assert open_notifications("darwin") is None
