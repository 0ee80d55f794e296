"""macOS, the BSDs, illumos, Windows: addresses from ifaddr, the rest from psutil.

Neither says what kind an interface is: macOS is asked (SIOCGIFFUNCTIONALTYPE, net/if.h), elsewhere
the name has to do. A port of a bridge or bond isn't recognised on these systems.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

from bcast.datagram import Address, Interface, InterfaceFlag, Kind
from bcast.errors import SocketError
from bcast.interfaces.addresses import (
    Assigned,
    directed_broadcast,
    interface_address,
    read_addresses,
)
from bcast.interfaces.netlink import Notice

__all__ = [
    "Adapter",
    "AdapterAddress",
    "Stats",
    "adapter_of",
    "assemble",
    "functional_type",
    "list_interfaces",
    "open_notifications",
    "read_adapters",
    "read_notifications",
]


class Stats(Protocol):
    """What bcast reads of an entry of ``psutil.net_if_stats()``."""

    @property
    def isup(self) -> bool: ...
    @property
    def mtu(self) -> int: ...


class AdapterAddress(Protocol):
    """What bcast reads of an entry of ``psutil.net_if_addrs()``."""

    @property
    def family(self) -> int: ...
    @property
    def address(self) -> str: ...
    @property
    def broadcast(self) -> str | None: ...


class Adapter(NamedTuple):
    """What psutil says about one interface.

    ``flags`` is None where it doesn't know them. ``broadcasts`` maps IPv4 addresses to their
    broadcast addresses.
    """

    name: str
    up: bool
    flags: frozenset[str] | None
    mtu: int
    hardware_address: str | None
    broadcasts: Mapping[str, str]


_FLAGS = {
    "up": InterfaceFlag.UP,
    "running": InterfaceFlag.RUNNING,
    "broadcast": InterfaceFlag.BROADCAST,
    "multicast": InterfaceFlag.MULTICAST,
    "loopback": InterfaceFlag.LOOPBACK,
    "pointopoint": InterfaceFlag.POINT_TO_POINT,
    "noarp": InterfaceFlag.NOARP,
}

#: By the name of the driver, which is the interface's name without its number.
_DRIVERS: dict[str, Kind] = {
    stem: kind
    for kind, stems in {
        Kind.BOND: "agr aggr bond lagg trunk",
        Kind.BRIDGE: "bridge veb",
        Kind.CELLULAR: "pdp_ip umb",
        Kind.LOOPBACK: "lo",
        Kind.TUNNEL: "egre eoip gif gre ipsec l2tp mgre nvgre ovpn ppp pppoe sec stf tap tun utun"
        " vxlan wg",
        Kind.VETH: "feth pair",
        Kind.VLAN: "svlan vlan",
        Kind.WIFI: "wlan",
    }.items()
    for stem in stems.split()
}

#: On Windows by a word in what the interface or its hardware is called; the first one holds.
_WORDS = (
    ("loopback pseudo-interface", Kind.LOOPBACK),
    ("km-test", Kind.DUMMY),
    ("bluetooth", Kind.OTHER),
    ("cellular", Kind.CELLULAR),
    ("mobile broadband", Kind.CELLULAR),
    ("wwan", Kind.CELLULAR),
    ("wi-fi", Kind.WIFI),
    ("wireless", Kind.WIFI),
    ("wlan", Kind.WIFI),
    ("802.11", Kind.WIFI),
    ("network bridge", Kind.BRIDGE),
    ("tap-", Kind.TUNNEL),
    ("teredo", Kind.TUNNEL),
    ("tunnel", Kind.TUNNEL),
    ("vpn", Kind.TUNNEL),
    ("wan miniport", Kind.TUNNEL),
)

SIOCGIFFUNCTIONALTYPE = 0xC02069AD
#: IFRTYPE_FUNCTIONAL_* that have a kind; AWDL and the links to co-processors are no LAN.
_FUNCTIONAL = {1: Kind.LOOPBACK, 2: Kind.ETHERNET, 3: Kind.WIFI, 5: Kind.CELLULAR}

#: The highest type of a message of a routing socket that is about a route (net/route.h).
RTM_RESOLVE = 0xB
#: macOS and FreeBSD: a group was joined or left, such as by ourselves.
RTM_NEWMADDR, RTM_DELMADDR = 0xF, 0x10
_ROUTING_SOCKETS = ("darwin", "dragonfly", "freebsd", "netbsd", "openbsd")


def list_interfaces() -> tuple[Interface, ...]:
    """All interfaces of this host that have an index, ordered by it.

    On Windows only those that have an address. Raises `SocketError`.
    """
    return assemble(read_adapters(), read_addresses())


def read_adapters() -> list[Adapter]:
    """What psutil says about all interfaces. Raises `SocketError`."""
    try:
        import psutil

        stats, addresses = psutil.net_if_stats(), psutil.net_if_addrs()
    except (ImportError, OSError) as error:
        advice = "install psutil (pip install psutil)" if isinstance(error, ImportError) else ""
        raise SocketError(
            f"can't list the interfaces: {error}", advice, operation="list interfaces"
        ) from error
    return [
        adapter_of(name, stat, addresses.get(name, ()), psutil.AF_LINK)
        for name, stat in stats.items()
    ]


def adapter_of(
    name: str, stats: Stats, addresses: Iterable[AdapterAddress], link_family: int
) -> Adapter:
    """Turns psutil's records into an `Adapter`."""
    hardware_address = None
    broadcasts = {}
    for each in addresses:
        if each.family == link_family:
            text = each.address.replace("-", ":").lower()
            if text.strip("0:"):
                hardware_address = text
        elif each.family == socket.AF_INET and each.broadcast:
            broadcasts[each.address] = each.broadcast
    # Versions before 5.9.3 don't have the attribute, and it is empty on Windows and illumos.
    flags = getattr(stats, "flags", "")
    return Adapter(
        name,
        stats.isup,
        frozenset(flags.split(",")) if flags else None,
        stats.mtu,
        hardware_address,
        broadcasts,
    )


def functional_type(name: str) -> int:
    """What macOS says an interface is for: IFRTYPE_FUNCTIONAL_*, 0 where it doesn't say."""
    if sys.platform == "win32":
        return 0
    import fcntl

    request = struct.pack("=16s16x", name.encode())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = fcntl.ioctl(any_socket.fileno(), SIOCGIFFUNCTIONALTYPE, request)
    except OSError:
        return 0
    number: int = struct.unpack_from("=I", answer, 16)[0]
    return number


def _index_of(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def assemble(
    adapters: Iterable[Adapter],
    assigned: Iterable[Assigned],
    *,
    system: str = sys.platform,
    index_of: Callable[[str], int] = _index_of,
    functional_type: Callable[[str], int] = functional_type,
) -> tuple[Interface, ...]:
    """Makes the interfaces of what psutil (``adapters``) and ifaddr (``assigned``) say.

    An interface whose index is 0, gone or never told, can't be used and is left out.
    """
    by_name: dict[str, list[Assigned]] = {}
    for each in assigned:
        # psutil calls an interface of Windows what ifaddr has as the name of its addresses. On
        # illumos a further address has a name of its own (net0:1).
        name = each.label if system == "win32" else each.adapter.partition(":")[0]
        by_name.setdefault(name, []).append(each)
    interfaces = []
    for adapter in adapters:
        own = by_name.get(adapter.name, [])
        index = next((a.ifindex for a in own if a.ifindex), 0)
        if not index and system != "win32":  # where a name for people isn't one for the system
            index = index_of(adapter.name)
        if index:
            interfaces.append(_interface(adapter, index, own, system, functional_type))
    return tuple(sorted(interfaces, key=lambda interface: interface.index))


def _interface(
    adapter: Adapter,
    index: int,
    assigned: Sequence[Assigned],
    system: str,
    functional_type: Callable[[str], int],
) -> Interface:
    flags = _flags(adapter)
    kind = _kind(adapter, assigned, flags, system, functional_type)
    if adapter.flags is None:
        flags |= (
            InterfaceFlag.LOOPBACK
            if kind is Kind.LOOPBACK
            else InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
        )
    return Interface(
        name=adapter.name,
        index=index,
        kind=kind,
        flags=flags,
        mtu=_mtu(adapter.mtu),
        hardware_address=adapter.hardware_address,
        addresses=tuple(_address(a, adapter, index, flags) for a in assigned),
    )


def _mtu(told: int) -> int:
    # Windows says -1, as an unsigned number or not, for loopback, which has no limit.
    return told if 0 < told < 0xFFFF_FFFF else 65_535


def _flags(adapter: Adapter) -> InterfaceFlag:
    if adapter.flags is None:
        return InterfaceFlag.UP | InterfaceFlag.RUNNING if adapter.up else InterfaceFlag(0)
    flags = InterfaceFlag(0)
    for name, flag in _FLAGS.items():
        if name in adapter.flags:
            flags |= flag
    return flags


def _address(assigned: Assigned, adapter: Adapter, index: int, flags: InterfaceFlag) -> Address:
    broadcast = directed_broadcast(assigned.address, assigned.prefix_length)
    if InterfaceFlag.BROADCAST not in flags or InterfaceFlag.POINT_TO_POINT in flags:
        broadcast = None
    told = adapter.broadcasts.get(str(assigned.address), "0.0.0.0")
    if broadcast is not None and told != "0.0.0.0":
        broadcast = IPv4Address(told)
    return interface_address(
        assigned.address, assigned.prefix_length, adapter.name, index, broadcast
    )


def _kind(
    adapter: Adapter,
    assigned: Sequence[Assigned],
    flags: InterfaceFlag,
    system: str,
    functional_type: Callable[[str], int],
) -> Kind:
    if InterfaceFlag.LOOPBACK in flags or any(a.address.is_loopback for a in assigned):
        return Kind.LOOPBACK
    if system == "win32":
        called = " ".join((adapter.name, *(a.description for a in assigned[:1]))).lower()
        return next(
            (kind for word, kind in _WORDS if word in called),
            Kind.ETHERNET if adapter.hardware_address else Kind.OTHER,
        )
    stem = adapter.name.rstrip("0123456789")
    if stem in _DRIVERS:
        return _DRIVERS[stem]
    if stem.startswith("epair"):  # epair0a and epair0b
        return Kind.VETH
    if system == "darwin":
        return _FUNCTIONAL.get(functional_type(adapter.name), Kind.OTHER)
    if stem.endswith("."):  # em0.100
        return Kind.VLAN
    if InterfaceFlag.POINT_TO_POINT in flags:
        return Kind.TUNNEL
    # The drivers of the other systems' Wi-Fi hardware are too many to know by name.
    ethernet = adapter.hardware_address and InterfaceFlag.BROADCAST in (
        flags if adapter.flags is not None else InterfaceFlag.BROADCAST
    )
    return Kind.ETHERNET if ethernet else Kind.OTHER


def open_notifications(system: str = sys.platform) -> socket.socket | None:
    """Opens a non-blocking routing socket, which tells of changes; None where there is none."""
    if not system.startswith(_ROUTING_SOCKETS):
        return None
    try:
        opened = socket.socket(getattr(socket, "AF_ROUTE", 17), socket.SOCK_RAW, 0)
    except OSError:
        return None
    opened.setblocking(False)
    return opened


def read_notifications(data: bytes, system: str = sys.platform) -> Notice:
    """What a batch of a routing socket's messages means. Never raises.

    Each begins with its length (u16, native), a version and a type (u8), in route(4)'s order.
    Messages about routes and about groups are passed over; every other one, and every one that
    can't be read, is a reason to look. Deletions aren't told apart.
    """
    groups = system.startswith(("darwin", "freebsd", "dragonfly"))
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            return Notice(True)
        length, _, kind = struct.unpack_from("=HBB", data, at)
        about_groups = groups and kind in (RTM_NEWMADDR, RTM_DELMADDR)
        if length < 4 or not (kind <= RTM_RESOLVE or about_groups):
            return Notice(True)
        at += length
    return Notice(False)
