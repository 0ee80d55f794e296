"""illumos: bound by index with IP_BOUND_IF, which limits both directions (ip(4P)).

Numbers are those of uts/common/netinet/in.h and sys/socket.h; Python lacks most of the names.
Where illumos can't do what is wanted:

* IP_BOUND_IF isn't considered when ports are compared, so the receivers of several interfaces
  (all bound to the wildcard address) need SO_REUSEADDR. With ``share=False``, which leaves it
  out, a port can be received on one interface only; the second one says that it is taken.
* Senders are bound to their address. So a sender doesn't get what is broadcast to its port.
* IP_MULTICAST_IF knows interfaces by their address only: the source's. IP_BOUND_IF, which goes
  by index, outranks it.
* The TTL of broadcasts is IP_BROADCAST_TTL, which needs the privilege net_rawaccess; without
  it broadcasts keep the system's own.
* There is no drop count for a socket, and the kernel's time is in microseconds.
* A receive buffer beyond the maximum (udp:max_buf, 2 MiB) is refused whole, so smaller ones are
  asked for before it.
"""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

from bcast.datagram import Address, Family, Group, Interface, IPAddress
from bcast.sockets.plan import ANY, Ancillary, Arrival, Bind, SetOption, Step, Verify

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

#: The kernel has no limit for a socket; this one is as good as none.
GROUPS_PER_SOCKET = 4095
BINDS_TO_GROUPS = False
ISOLATES = True

AF_INET = 2
AF_INET6 = 26

SOL_SOCKET = 0xFFFF
SO_REUSEADDR = 0x4
SO_BROADCAST = 0x20
SO_RCVBUF = 0x1002
SO_TIMESTAMP = SCM_TIMESTAMP = 0x1013

IPPROTO_IP = 0
IP_TTL = 4
IP_RECVTTL = 0xB
IP_MULTICAST_IF = 0x10
IP_MULTICAST_TTL = 0x11
IP_MULTICAST_LOOP = 0x12
IP_PKTINFO = 0x1A
IP_DONTFRAG = 0x1B
MCAST_JOIN_GROUP = 0x29
MCAST_JOIN_SOURCE_GROUP = 0x2D
IP_BOUND_IF = 0x41
IP_BROADCAST_TTL = 0x43

IPPROTO_IPV6 = 41
IPV6_UNICAST_HOPS = 0x5
IPV6_MULTICAST_IF = 0x6
IPV6_MULTICAST_HOPS = 0x7
IPV6_MULTICAST_LOOP = 0x8
IPV6_JOIN_GROUP = 0x9
IPV6_PKTINFO = 0xB
IPV6_HOPLIMIT = 0xC
IPV6_RECVPKTINFO = 0x12
IPV6_RECVHOPLIMIT = 0x13
IPV6_DONTFRAG = 0x21
IPV6_V6ONLY = 0x27
IPV6_BOUND_IF = 0x41

# struct timeval: two longs.
_TIMEVAL = struct.Struct("@ll")


def _bound(interface: Interface, family: Family) -> tuple[Step, ...]:
    # An index can be taken over by another interface between listing and binding. Logical
    # interfaces ("net0:1") have the index and the name of the one that they are on.
    verify = Verify(interface.index, interface.name.partition(":")[0])
    if family is Family.IPV4:
        bound = SetOption(IPPROTO_IP, IP_BOUND_IF, interface.index, "IP_BOUND_IF")
    else:
        bound = SetOption(IPPROTO_IPV6, IPV6_BOUND_IF, interface.index, "IPV6_BOUND_IF")
    return verify, bound, verify


def _told(family: Family) -> tuple[Step, ...]:
    """What every datagram is to be accompanied by: time, destination, interface, TTL."""
    stamp = SetOption(SOL_SOCKET, SO_TIMESTAMP, 1, "SO_TIMESTAMP", benign=(ANY,))
    if family is Family.IPV4:
        return (
            stamp,
            # With an int it is IP_RECVPKTINFO, which has the same number.
            SetOption(IPPROTO_IP, IP_PKTINFO, 1, "IP_RECVPKTINFO"),
            SetOption(IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL", benign=(ANY,)),
        )
    return (
        stamp,
        SetOption(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"),
        SetOption(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT", benign=(ANY,)),
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
    if share:
        steps.append(SetOption(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"))
    steps += _bound(interface, family)
    steps.append(SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"))
    hops = 1 if ttl is None else ttl
    if family is Family.IPV4:
        # TTL and loop of groups are one byte here, and nothing else is taken.
        steps += [
            SetOption(IPPROTO_IP, IP_DONTFRAG, 1, "IP_DONTFRAG"),
            SetOption(IPPROTO_IP, IP_MULTICAST_IF, source.packed, "IP_MULTICAST_IF"),
            SetOption(IPPROTO_IP, IP_MULTICAST_TTL, bytes([hops]), "IP_MULTICAST_TTL"),
            SetOption(IPPROTO_IP, IP_MULTICAST_LOOP, bytes([loop]), "IP_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps += [
                SetOption(IPPROTO_IP, IP_TTL, ttl, "IP_TTL"),
                SetOption(
                    IPPROTO_IP,
                    IP_BROADCAST_TTL,
                    bytes([ttl]),
                    "IP_BROADCAST_TTL",
                    benign=(ANY,),
                ),
            ]
    else:
        steps += [
            SetOption(IPPROTO_IPV6, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_IF, interface.index, "IPV6_MULTICAST_IF"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "IPV6_MULTICAST_HOPS"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, int(loop), "IPV6_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps.append(SetOption(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl, "IPV6_UNICAST_HOPS"))
    steps += _told(family)
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
    if share:
        steps.append(SetOption(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"))
    steps += _bound(interface, family)
    steps.append(SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"))
    steps += _told(family)
    steps += buffer_steps(buffer)
    steps.append(Bind(("", port) if family is Family.IPV4 else ("::", port, 0, 0)))
    steps += [_join(interface, group) for group in groups]
    return tuple(steps)


def buffer_steps(buffer: int) -> tuple[Step, ...]:
    """See `Platform`. The largest that the kernel accepts stays."""
    return tuple(
        SetOption(SOL_SOCKET, SO_RCVBUF, size, "SO_RCVBUF", benign=(ANY,))
        for size in (buffer >> 4, buffer >> 2, buffer >> 1, buffer)
    )


def _bind_to(address: IPAddress, port: int, index: int) -> Bind:
    if isinstance(address, IPv4Address):
        return Bind((str(address), port))
    # A link-local address is one of ours only together with its interface, by number.
    scope = index if address.is_link_local else 0
    return Bind((str(address).partition("%")[0], port, 0, scope))


def _join(interface: Interface, group: Group) -> SetOption:
    # Joining twice on one socket says EADDRINUSE: it is joined.
    joined = (errno.EADDRINUSE,)
    name = f"membership of {group}"
    level = IPPROTO_IP if group.family is Family.IPV4 else IPPROTO_IPV6
    # sockaddr_storage has 256 bytes; on x86 both requests are packed to 4 (#pragma pack(4)).
    address = _sockaddr(group.address)
    if group.source is not None:
        request = struct.pack("=I256s256s", interface.index, address, _sockaddr(group.source))
        return SetOption(level, MCAST_JOIN_SOURCE_GROUP, request, name, joined)
    if group.family is Family.IPV4:
        request = struct.pack("=I256s", interface.index, address)
        return SetOption(level, MCAST_JOIN_GROUP, request, name, joined)
    request = struct.pack("=16sI", group.address.packed, interface.index)
    return SetOption(level, IPV6_JOIN_GROUP, request, name, joined)


def _sockaddr(address: IPAddress) -> bytes:
    if isinstance(address, IPv6Address):
        return struct.pack("=HHI16sII", AF_INET6, 0, 0, address.packed, 0, 0)
    return struct.pack("=HH4s8x", AF_INET, 0, address.packed)


def send_ancillary(interface: Interface, source: IPAddress, *, group: bool = False) -> Ancillary:
    """Nothing: the sender is bound to ``source``."""
    return []


def read_arrival(family: Family, ancillary: Ancillary) -> Arrival:
    """See `Platform`. ``drops`` is always None: the kernel doesn't count them."""
    index = destination = local = ttl = time_ns = None
    for level, kind, data in ancillary:
        size = len(data)
        if level == SOL_SOCKET:
            if kind == SCM_TIMESTAMP and size == _TIMEVAL.size:
                seconds, microseconds = _TIMEVAL.unpack(data)
                time_ns = seconds * 1_000_000_000 + microseconds * 1_000
        elif level == IPPROTO_IP:
            if kind == IP_PKTINFO and size == 12:
                index, local, destination = struct.unpack("=I4s4s", data)
            elif kind == IP_RECVTTL and size == 1:
                ttl = data[0]
            elif kind == IP_RECVTTL and size == 4:
                (ttl,) = struct.unpack("=i", data)
        elif level == IPPROTO_IPV6:
            if kind == IPV6_PKTINFO and size == 20:
                destination, index = struct.unpack("=16sI", data)
            elif kind == IPV6_HOPLIMIT and size == 4:
                (ttl,) = struct.unpack("=i", data)
    return Arrival(index, destination, local, ttl, time_ns, None)


def all_hosts(address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
    """See `Platform`: a bound socket sends 255.255.255.255 out of its interface."""
    return IPv4Address("255.255.255.255"), ()
