"""Networks that datagrams may come from."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from bcast.datagram import IPAddress
from bcast.errors import ArgumentError

__all__ = ["Network", "contains", "parse_networks"]

Network = IPv4Network | IPv6Network


def parse_networks(sources: str | Iterable[str]) -> tuple[Network, ...]:
    """Parses networks (``192.168.1.0/24``, host bits allowed) and hosts.

    Raises `ArgumentError`.
    """
    found = []
    for text in (sources,) if isinstance(sources, str) else sources:
        try:
            if "%" in text:
                raise ValueError("a network has no scope")
            found.append(ip_network(text, strict=False))
        except ValueError:
            raise ArgumentError(
                f"{text!r} is not a network", "write one as 192.168.1.0/24, or a host's address"
            ) from None
    return tuple(found)


def contains(networks: Iterable[Network], address: IPAddress) -> bool:
    """Whether one of the networks has the address in it; the address's scope doesn't matter."""
    plain = ip_address(address.packed)
    return any(plain in network for network in networks if network.version == plain.version)
