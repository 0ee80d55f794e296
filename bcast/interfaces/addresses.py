"""The addresses of all interfaces, as ifaddr reads them from ``getifaddrs`` or its equivalent.

The only module that knows ifaddr: its tuples and names end here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from bcast.datagram import Address, IPAddress
from bcast.errors import SocketError

if TYPE_CHECKING:
    import ifaddr

__all__ = ["Assigned", "directed_broadcast", "interface_address", "read_addresses"]


class Assigned(NamedTuple):
    """An address (without scope) and the adapter that it was reported for.

    ``adapter`` is the interface's name on POSIX, on Linux possibly the label of an alias
    (``eth0:1``); on Windows it is a GUID, ``label`` what people call the interface and
    ``description`` its hardware. ``ifindex`` is 0 where the system didn't say.
    """

    adapter: str
    label: str
    description: str
    ifindex: int
    address: IPAddress
    prefix_length: int


def read_addresses() -> list[Assigned]:
    """All addresses of this host, in the system's order. Raises `SocketError`."""
    import ifaddr

    try:
        return [_assigned(adapter, ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    # Besides getifaddrs failing: an interface's name that isn't UTF-8 (a ValueError), and an
    # address without a netmask, which ifaddr asserts never to meet.
    except (OSError, ValueError, AssertionError) as error:
        raise SocketError(
            f"can't read the addresses of this system's interfaces: {error}",
            operation="list addresses",
        ) from error


def _assigned(adapter: ifaddr.Adapter, ip: ifaddr.IP) -> Assigned:
    index = adapter.index or 0
    address: IPAddress
    if isinstance(ip.ip, tuple):
        text, _, scope = ip.ip
        address = IPv6Address(text.partition("%")[0])
        if address.is_link_local:
            # The scope is the interface, whatever the adapter is called.
            index = scope or index
            # Systems with a KAME network stack keep the index in bytes 2 and 3, which are zero
            # in link-local addresses (RFC 4291, 2.5.6), and may let it out.
            packed = address.packed
            if int.from_bytes(packed[2:4], "big") == index:
                address = IPv6Address(packed[:2] + b"\0\0" + packed[4:])
    else:
        address = IPv4Address(ip.ip)
    return Assigned(
        adapter.name, ip.nice_name, adapter.nice_name, index, address, ip.network_prefix
    )


def interface_address(
    address: IPAddress,
    prefix_length: int,
    name: str,
    index: int,
    broadcast: IPv4Address | None = None,
    tentative: bool = False,
) -> Address:
    """The value for an address of the interface ``name``: link-local IPv6 gets it as its scope."""
    if isinstance(address, IPv6Address) and address.is_link_local:
        # A name may hold the sign that separates the scope; the index says the same.
        address = IPv6Address(f"{address}%{index if '%' in name else name}")
    return Address(address, prefix_length, broadcast, tentative)


def directed_broadcast(address: IPAddress, prefix_length: int) -> IPv4Address | None:
    """The last address of the network, None for IPv6, /31 (RFC 3021) and /32."""
    if isinstance(address, IPv6Address) or prefix_length > 30:
        return None
    return IPv4Address(int(address) | (1 << (32 - prefix_length)) - 1)
