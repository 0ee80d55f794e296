"""Windows: one socket per interface, bound to its address and limited to it by interface lists.

Numbers are those of ws2ipdef.h, ws2def.h and winsock2.h; Python lacks most of the names. There
is no binding to a device. Where Windows can't do what is wanted:

* Sending goes by IP_UNICAST_IF and IP_MULTICAST_IF, whose index is in network byte order for
  IPv4 and in host byte order for IPv6. 255.255.255.255 leaves by the interface whose address the
  socket is bound to.
* Reception is limited by IP_IFLIST (Windows 10 1803). Where that doesn't exist the address that
  the socket is bound to decides: unicast to that address only, broadcasts and groups as the
  system hands them to it. `ISOLATES` is True for both.
* Receivers are bound to one address of the interface (the link-local one for IPv6), because with
  several sockets on the wildcard address it is undefined which one gets a unicast datagram. So
  unicast to another address of the same interface isn't received. Unlike elsewhere, broadcasts
  and groups do reach a socket that is bound to an address.
* Without sharing SO_EXCLUSIVEADDRUSE is set, because any program could take a port over with
  SO_REUSEADDR otherwise. A shared port that somebody holds exclusively is WSAEACCES.
* Whether a datagram to a group reaches members on this host is decided by the receiver's
  IP_MULTICAST_LOOP, which is always set; the sender's ``loop`` has no effect on them.
* Python has no recvmsg here: no kernel time, no TTL, no destination, and the arrival interface is
  that of the socket. There is no drop count either.
* The index isn't compared with the interface's name: if_indextoname speaks of another kind of
  name ("ethernet_32769").
"""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

from bcast.datagram import Address, Family, Group, Interface, IPAddress
from bcast.sockets.plan import ANY, Ancillary, Arrival, Bind, SetOption, Step

__all__ = [
    "BINDS_TO_GROUPS",
    "GROUPS_PER_SOCKET",
    "ISOLATES",
    "all_hosts",
    "buffer_steps",
    "read_arrival",
    "receiver_steps",
    "send_ancillary",
    "sender_steps",
]

#: No limit for a socket is documented; this one is as good as none.
GROUPS_PER_SOCKET = 4095
BINDS_TO_GROUPS = False
ISOLATES = True

AF_INET = 2
AF_INET6 = 23

SOL_SOCKET = 0xFFFF
SO_REUSEADDR = 0x4
SO_EXCLUSIVEADDRUSE = ~SO_REUSEADDR
SO_BROADCAST = 0x20
SO_RCVBUF = 0x1002

IPPROTO_IP = 0
IP_TTL = 4
IP_MULTICAST_IF = 9
IP_MULTICAST_TTL = 10
IP_MULTICAST_LOOP = 11
IP_ADD_MEMBERSHIP = 12
IP_DONTFRAGMENT = 14
IP_IFLIST = 28
IP_ADD_IFLIST = 29
IP_UNICAST_IF = 31

IPPROTO_IPV6 = 41
IPV6_UNICAST_HOPS = 4
IPV6_MULTICAST_IF = 9
IPV6_MULTICAST_HOPS = 10
IPV6_MULTICAST_LOOP = 11
IPV6_ADD_MEMBERSHIP = 12
IPV6_DONTFRAG = 14
IPV6_V6ONLY = 27
IPV6_IFLIST = 28
IPV6_ADD_IFLIST = 29
IPV6_UNICAST_IF = 31

MCAST_JOIN_SOURCE_GROUP = 45

# A Windows older than the option (WSAENOPROTOOPT).
_OLD = (errno.ENOPROTOOPT,)


def _shared(share: bool) -> SetOption:
    if share:
        return SetOption(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
    return SetOption(SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1, "SO_EXCLUSIVEADDRUSE")


def _limited(interface: Interface, family: Family) -> tuple[Step, ...]:
    # The list is empty until the index is added, and only old systems may fail here: a list that
    # is in force and empty would receive nothing.
    index = interface.index
    if family is Family.IPV4:
        return (
            SetOption(IPPROTO_IP, IP_IFLIST, 1, "IP_IFLIST", benign=_OLD),
            SetOption(IPPROTO_IP, IP_ADD_IFLIST, index, "IP_ADD_IFLIST", benign=_OLD),
        )
    return (
        SetOption(IPPROTO_IPV6, IPV6_IFLIST, 1, "IPV6_IFLIST", benign=_OLD),
        SetOption(IPPROTO_IPV6, IPV6_ADD_IFLIST, index, "IPV6_ADD_IFLIST", benign=_OLD),
    )


def sender_steps(
    interface: Interface,
    family: Family,
    *,
    source: IPAddress,
    source_port: int,
    ttl: int | None,
    loop: bool,
    share: bool,
) -> tuple[Step, ...]:
    """See `Platform`. ``ttl`` None: 1 for groups, the system's own for the rest."""
    steps: list[Step] = []
    if family is Family.IPV6:
        steps.append(SetOption(IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"))
    steps += [_shared(share), SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST")]
    steps += _limited(interface, family)
    hops = 1 if ttl is None else ttl
    if family is Family.IPV4:
        # As an address the index is 0.x.x.x, in network byte order like any address.
        index = struct.pack("!I", interface.index)
        steps += [
            SetOption(IPPROTO_IP, IP_DONTFRAGMENT, 1, "IP_DONTFRAGMENT"),
            SetOption(IPPROTO_IP, IP_UNICAST_IF, index, "IP_UNICAST_IF"),
            SetOption(IPPROTO_IP, IP_MULTICAST_IF, index, "IP_MULTICAST_IF"),
            SetOption(IPPROTO_IP, IP_MULTICAST_TTL, hops, "IP_MULTICAST_TTL"),
            SetOption(IPPROTO_IP, IP_MULTICAST_LOOP, int(loop), "IP_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps.append(SetOption(IPPROTO_IP, IP_TTL, ttl, "IP_TTL"))
    else:
        steps += [
            SetOption(IPPROTO_IPV6, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG"),
            SetOption(IPPROTO_IPV6, IPV6_UNICAST_IF, interface.index, "IPV6_UNICAST_IF"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_IF, interface.index, "IPV6_MULTICAST_IF"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "IPV6_MULTICAST_HOPS"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, int(loop), "IPV6_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps.append(SetOption(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl, "IPV6_UNICAST_HOPS"))
    steps.append(_bind_to(source, source_port, interface.index))
    return tuple(steps)


def receiver_steps(
    interface: Interface,
    family: Family,
    *,
    port: int,
    groups: tuple[Group, ...],
    share: bool,
    buffer: int,
) -> tuple[Step, ...]:
    """See `Platform`. Sharing is SO_REUSEADDR: every listener gets its copy of a broadcast."""
    steps: list[Step] = []
    if family is Family.IPV6:
        steps.append(SetOption(IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"))
    steps += [_shared(share), SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST")]
    steps += _limited(interface, family)
    if family is Family.IPV4:
        steps.append(SetOption(IPPROTO_IP, IP_MULTICAST_LOOP, 1, "IP_MULTICAST_LOOP"))
    else:
        steps.append(SetOption(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, "IPV6_MULTICAST_LOOP"))
    steps += buffer_steps(buffer)
    steps.append(_bind_to(_own_address(interface, family), port, interface.index))
    # A socket can join groups only once it is bound.
    steps += [_join(interface, group) for group in groups]
    return tuple(steps)


def buffer_steps(buffer: int) -> tuple[Step, ...]:
    """See `Platform`."""
    return (SetOption(SOL_SOCKET, SO_RCVBUF, buffer, "SO_RCVBUF", benign=(ANY,)),)


def _own_address(interface: Interface, family: Family) -> IPAddress:
    """The address to receive on; the wildcard if there is none that can be used yet."""
    ready = [a.address for a in interface.addresses_of(family) if not a.tentative]
    if family is Family.IPV6:
        ready.sort(key=lambda address: not address.is_link_local)
        return ready[0] if ready else IPv6Address("::")
    return ready[0] if ready else IPv4Address("0.0.0.0")


def _bind_to(address: IPAddress, port: int, index: int) -> Bind:
    if isinstance(address, IPv4Address):
        return Bind((str(address), port))
    # A link-local address is one of ours only together with its interface, by number.
    scope = index if address.is_link_local else 0
    return Bind((str(address).partition("%")[0], port, 0, scope))


def _join(interface: Interface, group: Group) -> SetOption:
    # Joining twice on one socket says WSAEADDRINUSE: it is joined.
    joined = (errno.EADDRINUSE,)
    name = f"membership of {group}"
    level = IPPROTO_IP if group.family is Family.IPV4 else IPPROTO_IPV6
    if group.source is not None:
        # SOCKADDR_STORAGE is aligned to 8 bytes, on 32-bit Windows too.
        request = struct.pack(
            "=I4x128s128s", interface.index, _sockaddr(group.address), _sockaddr(group.source)
        )
        return SetOption(level, MCAST_JOIN_SOURCE_GROUP, request, name, joined)
    if group.family is Family.IPV4:
        request = group.address.packed + struct.pack("!I", interface.index)
        return SetOption(level, IP_ADD_MEMBERSHIP, request, name, joined)
    request = struct.pack("=16sI", group.address.packed, interface.index)
    return SetOption(level, IPV6_ADD_MEMBERSHIP, request, name, joined)


def _sockaddr(address: IPAddress) -> bytes:
    if isinstance(address, IPv6Address):
        return struct.pack("=HHI16sI", AF_INET6, 0, 0, address.packed, 0)
    return struct.pack("=HH4s8x", AF_INET, 0, address.packed)


def send_ancillary(interface: Interface, source: IPAddress, *, group: bool = False) -> Ancillary:
    """Nothing: the sender is bound to ``source``, and Python has no sendmsg here."""
    return []


def read_arrival(family: Family, ancillary: Ancillary) -> Arrival:
    """See `Platform`: there are no control messages here, so nothing is known."""
    return Arrival()


def all_hosts(address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
    """See `Platform`: a socket bound to an address sends 255.255.255.255 out of its interface."""
    return IPv4Address("255.255.255.255"), ()
