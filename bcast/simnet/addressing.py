"""Interfaces of simulated hosts, and the checks of what names an endpoint on them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import count
from typing import TYPE_CHECKING

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress, Kind
from bcast.errors import ArgumentError

if TYPE_CHECKING:
    from bcast.simnet.segment import Segment

__all__ = ["check_port", "check_ttl", "group_addresses", "new_interface"]

_FLAGS = (
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST
)
_MTU = 1500
#: As Linux has them: up to 15 bytes without blank or slash; nor the sign of a scope here.
_NAME = re.compile(r"[^\s/%]{1,15}", re.ASCII)
#: What all hardware addresses begin with: locally administered, unicast (IEEE 802, 8.4).
_HARDWARE = b"\x02\x00"
#: fe80::/64 (RFC 4291, 2.5.6), and the middle of a modified EUI-64 (appendix A).
_LINK_LOCAL = bytes.fromhex("fe80000000000000")
_EUI_MIDDLE = b"\xff\xfe"


def new_interface(
    segment: Segment,
    address: str | IPAddress | None,
    name: str | None,
    index: int,
    taken: Collection[str],
) -> Interface:
    """An interface on a segment, as `bcast.simnet.host.Host.connect` describes it."""
    prefix = "wlan" if segment.wifi else "eth"
    if name is None:
        name = next(free for number in count() if (free := f"{prefix}{number}") not in taken)
    if not _NAME.fullmatch(name) or name in taken:
        raise ArgumentError(
            f"{name!r} can't name an interface",
            "use up to 15 characters without blanks, / and %, and each name once on a host",
        )
    own = _parse(address) if address is not None else segment.free_address()
    network = segment.network
    if own not in network or own in (network.network_address, network.broadcast_address):
        raise ArgumentError(
            f"{own} is no host address of {network}", f"use one of the network of {segment.name}"
        )
    hardware = _HARDWARE + own.packed
    addresses = []
    if Family.IPV4 in segment.families:
        addresses.append(Address(own, network.prefixlen, network.broadcast_address))
    if Family.IPV6 in segment.families:
        # The modified EUI-64 has the universal/local bit of the hardware address inverted.
        eui = bytes((hardware[0] ^ 2,)) + hardware[1:3] + _EUI_MIDDLE + hardware[3:]
        addresses.append(Address(IPv6Address(f"{IPv6Address(_LINK_LOCAL + eui)}%{name}"), 64))
    kind = Kind.WIFI if segment.wifi else Kind.ETHERNET
    return Interface(name, index, kind, _FLAGS, _MTU, hardware.hex(":"), tuple(addresses))


def _parse(address: str | IPAddress) -> IPv4Address:
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if not isinstance(parsed, IPv4Address):
        raise ArgumentError(f"{address!s} is no IPv4 address", "give one, as 10.1.0.5, or none")
    return parsed


def group_addresses(groups: Iterable[Group | IPAddress | str]) -> tuple[IPAddress, ...]:
    """The addresses of groups, each once. Raises `ArgumentError`."""
    found: dict[IPAddress, None] = {}
    for group in groups:
        if isinstance(group, Group) and group.source is not None:
            raise ArgumentError(
                f"{group} has a source, which no simulated host filters by",
                "join the group without it",
            )
        address = group.address if isinstance(group, Group) else group
        try:
            parsed = ip_address(address)
        except ValueError:
            parsed = None
        if parsed is None or not parsed.is_multicast:
            raise ArgumentError(
                f"{address!s} is no group", "use an address of 224.0.0.0/4 or ff00::/8"
            )
        found[parsed] = None
    return tuple(found)


def check_port(port: int) -> None:
    """Raises `ArgumentError` for what is no port that can be sent from or to."""
    if not 1 <= port <= 65_535:
        raise ArgumentError(f"{port} is no port", "use 1 to 65535")


def check_ttl(ttl: int) -> None:
    """Raises `ArgumentError` for what is no TTL or hop limit."""
    if not 0 <= ttl <= 255:
        raise ArgumentError(f"{ttl} is no TTL", "use 0 to 255")
