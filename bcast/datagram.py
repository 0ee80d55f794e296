"""The values that cross every seam of bcast: interface, address, endpoint, group, datagram.

Layer 1. All values are immutable and compare by what they say.
"""

from __future__ import annotations

import enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bcast.values import Value

__all__ = [
    "Address",
    "Datagram",
    "Endpoint",
    "Family",
    "Group",
    "IPAddress",
    "Interface",
    "InterfaceFlag",
    "Kind",
    "address_of",
]

IPAddress = IPv4Address | IPv6Address


def address_of(packed: bytes, name: str, index: int) -> IPAddress:
    """The address of 4 or 16 bytes that was seen on the interface of that name and index.

    An address that means something on its link only gets the interface as its scope (fe80::/10
    and the groups of interface-local and link-local scope: RFC 4007, section 6).
    """
    if len(packed) == 4:
        return IPv4Address(packed)
    first = packed[0] << 8 | packed[1]
    if first & 0xFFC0 == 0xFE80 or first & 0xFF0F in (0xFF01, 0xFF02):
        # A name may hold the signs that separate scope and prefix; the index says the same.
        scope = index if "%" in name or "/" in name else name
        return IPv6Address(f"{IPv6Address(packed)}%{scope}")
    return IPv6Address(packed)


class Family(enum.IntEnum):
    """An address family, by the version of its protocol."""

    IPV4 = 4
    IPV6 = 6


class Kind(enum.StrEnum):
    """What an interface is. `OTHER` is an interface whose system didn't say."""

    ETHERNET = "ethernet"
    WIFI = "wifi"
    LOOPBACK = "loopback"
    BRIDGE = "bridge"
    BOND = "bond"
    VLAN = "vlan"
    VETH = "veth"
    MACVLAN = "macvlan"
    TUNNEL = "tunnel"
    CELLULAR = "cellular"
    DUMMY = "dummy"
    OTHER = "other"


class InterfaceFlag(enum.Flag):
    """State and abilities of an interface: the IFF_* flags that matter for UDP."""

    UP = enum.auto()
    RUNNING = enum.auto()
    BROADCAST = enum.auto()
    MULTICAST = enum.auto()
    LOOPBACK = enum.auto()
    POINT_TO_POINT = enum.auto()
    NOARP = enum.auto()


class Address(Value):
    """One address of an interface.

    ``broadcast`` is the directed broadcast address, None where there is none: IPv6, /31, /32
    and point-to-point links (RFC 919, RFC 3021). ``tentative`` marks an IPv6 address that
    can't be used yet because duplicate address detection is still running (RFC 4862, 5.4).
    A link-local IPv6 address carries its scope.
    """

    address: IPAddress
    prefix_length: int
    broadcast: IPv4Address | None = None
    tentative: bool = False

    @property
    def family(self) -> Family:
        return Family(self.address.version)

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The network that the address is in (without scope)."""
        if isinstance(self.address, IPv4Address):
            return IPv4Network((int(self.address), self.prefix_length), strict=False)
        return IPv6Network((int(self.address), self.prefix_length), strict=False)

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix_length}"


class Interface(Value):
    """A network interface as it was when it was listed. Its identity is its ``index``.

    ``mtu`` is in bytes. ``hardware_address`` is colon-separated lower-case hex, None where
    there is none. ``enslaved_to`` names the bridge or bond that this interface is a port of.
    ``plumbing`` says that the interface belongs to a container or virtual machine host
    (docker0, virbr0, cali...), whose other side is reached through another interface.
    """

    name: str
    index: int
    kind: Kind
    flags: InterfaceFlag
    mtu: int
    hardware_address: str | None = None
    addresses: tuple[Address, ...] = ()
    enslaved_to: str | None = None
    plumbing: bool = False

    @property
    def blocked(self) -> str:
        """Why no datagram can go through this interface now; empty if one can."""
        if InterfaceFlag.UP not in self.flags:
            return "down"
        if InterfaceFlag.RUNNING not in self.flags:
            return "no carrier"
        able = InterfaceFlag.BROADCAST | InterfaceFlag.MULTICAST | InterfaceFlag.LOOPBACK
        if not self.flags & able:
            return "neither broadcast nor multicast"
        return ""

    @property
    def reason(self) -> str:
        """Why this interface is not used unless it is asked for; empty if it is usable."""
        if self.blocked:
            return self.blocked
        if InterfaceFlag.LOOPBACK in self.flags:
            return "loopback"
        if self.enslaved_to:
            return f"enslaved to {self.enslaved_to}"
        if self.plumbing:
            return "container plumbing"
        return ""

    @property
    def usable(self) -> bool:
        """Whether this interface is among those that are used by default."""
        return not self.reason

    def addresses_of(self, family: Family) -> tuple[Address, ...]:
        """The addresses of one family, in the system's order."""
        return tuple(a for a in self.addresses if a.address.version == family)

    def payload_limit(self, family: Family) -> int:
        """The largest UDP payload in bytes that leaves this interface unfragmented.

        MTU less the IP header (20 or 40 bytes) and the UDP header (8), and never more than
        the length fields can say (RFC 791, RFC 8200, RFC 768).
        """
        if family == Family.IPV4:
            return max(0, min(self.mtu - 28, 65_507))
        return max(0, min(self.mtu - 48, 65_527))


class Endpoint(Value):
    """An IP address and a UDP port. The address of a link-local endpoint carries its scope."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        if isinstance(self.address, IPv6Address):
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"


class Group(Value):
    """A multicast group to join; with ``source`` only what that host sends to it (RFC 4607)."""

    address: IPAddress
    source: IPAddress | None = None

    @property
    def family(self) -> Family:
        return Family(self.address.version)

    def __str__(self) -> str:
        return f"{self.source}@{self.address}" if self.source else str(self.address)


class Datagram:
    """One UDP payload with where it came from, where it went and by which interface.

    ``time_ns`` is the kernel's receive time in nanoseconds since 1970 UTC (the time of reading
    where the system doesn't stamp). ``ttl`` is the TTL or hop limit it arrived with, None where
    the system doesn't say. ``destination`` is the address in its IP header.

    Immutable. The attributes of a received datagram are decoded when they are read.
    """

    __slots__ = ("_destination", "_interface", "_payload", "_source", "_time_ns", "_ttl")

    def __init__(
        self,
        payload: bytes,
        source: Endpoint,
        destination: Endpoint,
        interface: Interface,
        time_ns: int = 0,
        ttl: int | None = None,
    ) -> None:
        self._payload = payload
        self._source = source
        self._destination = destination
        self._interface = interface
        self._time_ns = time_ns
        self._ttl = ttl

    @property
    def payload(self) -> bytes:
        return self._payload

    @property
    def source(self) -> Endpoint:
        return self._source

    @property
    def destination(self) -> Endpoint:
        return self._destination

    @property
    def interface(self) -> Interface:
        return self._interface

    @property
    def time_ns(self) -> int:
        return self._time_ns

    @property
    def ttl(self) -> int | None:
        return self._ttl

    @property
    def time(self) -> float:
        """``time_ns`` in seconds."""
        return self.time_ns / 1e9

    def _values(self) -> tuple[bytes, Endpoint, Endpoint, Interface, int, int | None]:
        return (
            self.payload,
            self.source,
            self.destination,
            self.interface,
            self.time_ns,
            self.ttl,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Datagram):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[type[Datagram], tuple[object, ...]]:
        return Datagram, self._values()

    def __repr__(self) -> str:
        return (
            f"Datagram({self.payload!r}, {self.source} -> {self.destination}, "
            f"{self.interface.name}, time_ns={self.time_ns}, ttl={self.ttl})"
        )
