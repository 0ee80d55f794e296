"""Where to send: what a person may name, and the addresses it means on one interface.

Layer 2: pure; imports only the values.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress
from bcast.errors import ArgumentError

__all__ = [
    "ALL_HOSTS",
    "ALL_NODES",
    "DEFAULT_GROUPS",
    "DEFAULT_PORT",
    "MDNS",
    "NATIVE",
    "Destination",
    "Target",
    "check_family",
    "check_port",
    "check_ttl",
    "parse_destination",
    "parse_group",
    "targets",
]

#: The port and groups of bcast's own protocol. Not registered with IANA; all are configurable.
DEFAULT_PORT = 28232
DEFAULT_GROUPS = (
    Group(IPv4Address("239.255.110.72")),
    Group(IPv6Address("ff12::fd99:4222")),
)

#: What that protocol is called among the others.
NATIVE = "bcast"

#: The protocol by which services are found (DNS-SD), which zeroconf speaks for us.
MDNS = "mdns"

#: The limited broadcast address (RFC 919, section 7).
ALL_HOSTS = IPv4Address("255.255.255.255")

#: The link-local all-nodes group, which every IPv6 host is in (RFC 4291, section 2.7.1).
ALL_NODES = Group(IPv6Address("ff02::1"))

_KEYWORDS = ("all-hosts", "subnet", "both")


class Destination(NamedTuple):
    """A parsed ``--to``: one of the broadcast keywords, a group, or a host.

    ``scope`` is the interface (name or index) that a link-local address was written with.
    """

    keyword: str
    address: IPAddress | None = None
    scope: str = ""

    @property
    def family(self) -> Family:
        return Family.IPV4 if self.address is None else Family(self.address.version)

    @property
    def is_group(self) -> bool:
        return self.address is not None and self.address.is_multicast

    def __str__(self) -> str:
        return self.keyword


class Target(NamedTuple):
    """One datagram's way: from ``source`` to ``destination``.

    ``all_hosts`` marks the limited broadcast, which a platform may have to address differently.
    """

    source: Address
    destination: IPAddress
    all_hosts: bool = False


def check_port(port: int, what: str = "port", *, least: int = 1) -> int:
    """Returns ``port`` if it is in ``least``..65535; raises `ArgumentError` otherwise."""
    if not least <= port <= 65_535:
        raise ArgumentError(f"{what} {port} doesn't exist", f"use a number from {least} to 65535")
    return port


def check_family(family: int | None) -> Family | None:
    """Returns ``family`` as a `Family`, None as None; raises `ArgumentError` for anything else."""
    if family is None:
        return None
    try:
        return Family(family)
    except ValueError:
        raise ArgumentError(f"there is no IPv{family}", "use 4, 6 or None for both") from None


def check_ttl(ttl: int | None) -> int | None:
    """Returns ``ttl`` if it is None or in 1..255; raises `ArgumentError` otherwise."""
    if ttl is not None and not 1 <= ttl <= 255:
        raise ArgumentError(f"TTL {ttl} is out of range", "use a number from 1 to 255")
    return ttl


def parse_group(text: str) -> Group:
    """Parses ``GROUP`` or ``SOURCE@GROUP`` (source-specific, RFC 4607).

    Raises `ArgumentError` if it isn't a multicast address, or the source isn't a host of the
    same family.
    """
    before, at, after = text.rpartition("@")
    if "%" in text:
        raise ArgumentError(
            f"{text!r} names an interface", "leave out the % part and choose it with --interface"
        )
    try:
        group = ip_address(after)
        source = ip_address(before) if at else None
    except ValueError:
        raise ArgumentError(
            f"{text!r} is not a group", "write one as 239.1.2.3, ff12::1234 or SOURCE@GROUP"
        ) from None
    if not group.is_multicast:
        raise ArgumentError(
            f"{group} is not a multicast address",
            "groups are 224.0.0.0 to 239.255.255.255 and ff00::/8; broadcast needs no group",
        )
    if source is not None and (source.version != group.version or not _is_host(source)):
        raise ArgumentError(
            f"{source} can't be the source of {group}",
            f"name the IPv{group.version} address of a host",
        )
    return Group(group, source)


def parse_destination(text: str, family: Family | None = None) -> Destination:
    """Parses ``all-hosts``, ``subnet``, ``both``, a group or the address of a host.

    ``family`` is what ``-4`` or ``-6`` asked for. Raises `ArgumentError` if the text is none of
    these, or is of the other family.
    """
    if text in _KEYWORDS:
        if family is Family.IPV6:
            raise ArgumentError(
                f"IPv6 has no broadcast, so '{text}' doesn't go with -6",
                "use --to ff02::1, the group of all nodes",
            )
        return Destination(text)
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    plain, percent, scope = inside.partition("%")
    try:
        address = ip_address(plain)
        if percent and (not scope or "%" in scope or not _is_local(address)):
            raise ValueError("only what stays on a link has a scope")
    except ValueError:
        raise ArgumentError(
            f"{text!r} is not a destination",
            "use all-hosts, subnet, both, a group (239.1.2.3, ff02::1) or a host's IP address",
        ) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise ArgumentError(f"{address} stands for an IPv4 address", f"use {address.ipv4_mapped}")
    if address.is_unspecified:
        raise ArgumentError(f"{address} is not an address to send to", "use all-hosts or a host")
    if address == ALL_HOSTS:
        return parse_destination("all-hosts", family)
    if family is not None and address.version != family:
        kind = "group" if address.is_multicast else "address"
        raise ArgumentError(
            f"{address} is an IPv{address.version} {kind}, which doesn't go with -{family}",
            f"leave out -{family}, or use an IPv{family} {kind}",
        )
    return Destination(text, address, scope)


def targets(interface: Interface, to: Destination) -> tuple[Target, ...] | str:
    """What ``to`` means on one interface, or the reason why it means nothing there."""
    own = [a for a in interface.addresses_of(to.family) if not a.tentative]
    if not own:
        tentative = interface.addresses_of(to.family)
        return f"no IPv{to.family} address" + (" yet (still being checked)" if tentative else "")
    if to.scope and to.scope not in (interface.name, str(interface.index)):
        return f"{to.keyword} is on {to.scope}"
    if to.address is None:
        return _broadcasts(interface, own, to.keyword)
    if to.is_group:
        able = InterfaceFlag.MULTICAST | InterfaceFlag.LOOPBACK
        if not interface.flags & able:
            return "not multicast-capable"
    return (Target(_source(own, to.address), to.address),)


def _broadcasts(
    interface: Interface, own: list[Address], keyword: str
) -> tuple[Target, ...] | str:
    loopback = InterfaceFlag.LOOPBACK in interface.flags
    if InterfaceFlag.BROADCAST not in interface.flags and not loopback:
        point = InterfaceFlag.POINT_TO_POINT in interface.flags
        why = " (point-to-point)" if point else ""
        return f"it can't broadcast{why}: send to a group or a host"
    found = []
    if keyword in ("all-hosts", "both"):
        primary = _preferred(own)
        if loopback:
            primary = Address(
                primary.address, primary.prefix_length, _directed(interface, primary)
            )
        found.append(Target(primary, ALL_HOSTS, all_hosts=True))
    if keyword in ("subnet", "both"):
        seen = set()
        for address in own:
            directed = _directed(interface, address)
            if directed is not None and directed not in seen:
                seen.add(directed)
                found.append(Target(address, directed))
    if not found:
        return "it has no broadcast address (its prefix is /31 or /32)"
    return tuple(found)


def _directed(interface: Interface, address: Address) -> IPv4Address | None:
    # Loopback doesn't call itself broadcast-capable but delivers 127.255.255.255.
    if address.broadcast is None and InterfaceFlag.LOOPBACK in interface.flags:
        last = address.network.broadcast_address
        return last if isinstance(last, IPv4Address) and address.prefix_length <= 30 else None
    return address.broadcast


def _preferred(own: list[Address]) -> Address:
    return next((a for a in own if not a.address.is_link_local), own[0])


def _source(own: list[Address], destination: IPAddress) -> Address:
    """The address to send from: one in the destination's network, else one of its scope."""
    if len(own) == 1:
        return own[0]
    plain = ip_address(destination.packed)
    near = [address for address in own if plain in address.network]
    if near:
        return max(near, key=lambda address: address.prefix_length)
    if _is_local(destination):
        return next((a for a in own if a.address.is_link_local), own[0])
    return _preferred(own)


def _is_host(address: IPAddress) -> bool:
    return not (address.is_multicast or address.is_unspecified or address == ALL_HOSTS)


def _is_local(destination: IPAddress) -> bool:
    """Whether an IPv6 destination stays on the link (RFC 4291, 2.5.6; RFC 4007, 5)."""
    if not isinstance(destination, IPv6Address):
        return False
    if destination.is_multicast:
        return destination.packed[1] & 0x0F <= 2
    return destination.is_link_local
