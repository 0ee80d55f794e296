"""macOS: IP_BOUND_IF says where a socket sends; what it receives is sorted by arrival interface.

Numbers are those of xnu (bsd/netinet/in.h, bsd/netinet6/in6.h, bsd/sys/socket.h), the same on
both processors; Python lacks most of the names. Where macOS can't do what is wanted:

* IP_BOUND_IF doesn't limit reception (udp_input looks at it only for interfaces of restricted
  reception), so `ISOLATES` is False: every datagram says by which interface it came, and the
  reader has to pass over those of the other interfaces. Memberships are per interface all the
  same: of a group only what arrives on the joined interface is received.
* So the receivers of several interfaces are bound to one wildcard address. That needs
  SO_REUSEPORT on each of them, and one without it would keep every broadcast from the others.
  ``share=False`` leaves out SO_REUSEADDR only: a program that has the port and doesn't share it
  is noticed, one of the same user that shares it isn't.
* Senders are bound to their address, because control messages would override IP_BOUND_IF and
  because without a local address 255.255.255.255 may be rewritten to the broadcast address of
  another interface (in_pcbladdr). So a sender doesn't get what is broadcast to its port, and a
  port below 1024 needs root.
* IP_ADD_MEMBERSHIP reads an ip_mreq and no index, whatever it is given: MCAST_JOIN_GROUP.
* There is no drop count for a socket, and the kernel's time is in microseconds.
* IP_DONTFRAG came with macOS 11. Before that only a broadcast, which is never fragmented, fails
  when it is too large; the sender's own comparison with the MTU has to stop the rest.
* lo0 can't broadcast; groups work on it.
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

#: IP_MAX_MEMBERSHIPS (bsd/netinet/in.h).
GROUPS_PER_SOCKET = 4095
BINDS_TO_GROUPS = False
ISOLATES = False

AF_INET = 2
AF_INET6 = 30

SOL_SOCKET = 0xFFFF
SO_REUSEADDR = 0x4
SO_BROADCAST = 0x20
SO_REUSEPORT = 0x200
SO_TIMESTAMP = 0x400
SO_SNDBUF = 0x1001
SO_RCVBUF = 0x1002
SCM_TIMESTAMP = 2

IPPROTO_IP = 0
IP_TTL = 4
IP_MULTICAST_IF = 9
IP_MULTICAST_TTL = 10
IP_MULTICAST_LOOP = 11
IP_RECVTTL = 24
IP_BOUND_IF = 25
IP_RECVPKTINFO = 26
IP_DONTFRAG = 28

IPPROTO_IPV6 = 41
IPV6_UNICAST_HOPS = 4
IPV6_MULTICAST_IF = 9
IPV6_MULTICAST_HOPS = 10
IPV6_MULTICAST_LOOP = 11
IPV6_JOIN_GROUP = 12
IPV6_V6ONLY = 27
IPV6_RECVHOPLIMIT = 37
IPV6_PKTINFO = 46
IPV6_HOPLIMIT = 47
IPV6_RECVPKTINFO = 61
IPV6_DONTFRAG = 62
IPV6_BOUND_IF = 125

MCAST_JOIN_GROUP = 80
MCAST_JOIN_SOURCE_GROUP = 82

# A kernel older than the option.
_OLD = (errno.ENOPROTOOPT, errno.EINVAL)

# The send buffer limits the length of a datagram too, and is 9,216 bytes unless it is raised.
_LARGEST = 65_535

# struct timeval: a time_t of 64 bits, microseconds of 32, and padding that nobody clears.
_TIMEVAL = struct.Struct("=qi4x")


def _bound(interface: Interface, family: Family) -> tuple[Step, ...]:
    # An index can be taken over by another interface between listing and binding.
    verify = Verify(interface.index, interface.name)
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
            SetOption(IPPROTO_IP, IP_RECVPKTINFO, 1, "IP_RECVPKTINFO"),
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
        steps += [
            SetOption(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"),
            SetOption(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"),
        ]
    steps += _bound(interface, family)
    steps += [
        SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"),
        SetOption(SOL_SOCKET, SO_SNDBUF, _LARGEST, "SO_SNDBUF", benign=(ANY,)),
    ]
    hops = 1 if ttl is None else ttl
    if family is Family.IPV4:
        request = struct.pack("=4s4si", b"\0" * 4, source.packed, interface.index)
        steps += [
            SetOption(IPPROTO_IP, IP_DONTFRAG, 1, "IP_DONTFRAG", benign=_OLD),
            # It outranks IP_BOUND_IF for groups, so it is set as well. An interface that has no
            # multicast says EOPNOTSUPP and can still broadcast.
            SetOption(
                IPPROTO_IP,
                IP_MULTICAST_IF,
                request,
                "IP_MULTICAST_IF",
                benign=(errno.EOPNOTSUPP,),
            ),
            SetOption(IPPROTO_IP, IP_MULTICAST_TTL, hops, "IP_MULTICAST_TTL"),
            SetOption(IPPROTO_IP, IP_MULTICAST_LOOP, int(loop), "IP_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps.append(SetOption(IPPROTO_IP, IP_TTL, ttl, "IP_TTL"))
    else:
        steps += [
            SetOption(IPPROTO_IPV6, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG", benign=_OLD),
            # It outranks a scope in the destination of a group too.
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
    """See `Platform`. SO_REUSEPORT is set in any case, for our own sockets' sake."""
    steps: list[Step] = []
    if family is Family.IPV6:
        steps.append(SetOption(IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"))
    if share:
        steps.append(SetOption(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"))
    steps.append(SetOption(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"))
    steps += _bound(interface, family)
    steps.append(SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"))
    steps += _told(family)
    steps += buffer_steps(buffer)
    steps.append(Bind(("", port) if family is Family.IPV4 else ("::", port, 0, 0)))
    steps += [_join(interface, group) for group in groups]
    return tuple(steps)


def buffer_steps(buffer: int) -> tuple[Step, ...]:
    """What is asked for beyond kern.ipc.maxsockbuf is cut to it."""
    return (SetOption(SOL_SOCKET, SO_RCVBUF, buffer, "SO_RCVBUF", benign=(ANY,)),)


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
    # Both requests are packed to 4 bytes (#pragma pack(4)): no padding after the index.
    address = _sockaddr(group.address)
    if group.source is not None:
        request = struct.pack("=I128s128s", interface.index, address, _sockaddr(group.source))
        return SetOption(level, MCAST_JOIN_SOURCE_GROUP, request, name, joined)
    if group.family is Family.IPV4:
        request = struct.pack("=I128s", interface.index, address)
        return SetOption(level, MCAST_JOIN_GROUP, request, name, joined)
    request = struct.pack("=16sI", group.address.packed, interface.index)
    return SetOption(level, IPV6_JOIN_GROUP, request, name, joined)


def _sockaddr(address: IPAddress) -> bytes:
    # The first byte is the length, which the kernel compares.
    if isinstance(address, IPv6Address):
        return struct.pack("=BBHI16sI", 28, AF_INET6, 0, 0, address.packed, 0)
    return struct.pack("=BBH4s8x", 16, AF_INET, 0, address.packed)


def send_ancillary(interface: Interface, source: IPAddress, *, group: bool = False) -> Ancillary:
    """Nothing: the sender is bound to ``source``, and IP_PKTINFO would override IP_BOUND_IF."""
    return []


def read_arrival(family: Family, ancillary: Ancillary) -> Arrival:
    """See `Platform`. ``local`` and ``drops`` are always None: the kernel doesn't say them."""
    index = destination = ttl = time_ns = None
    for level, kind, data in ancillary:
        size = len(data)
        if level == SOL_SOCKET:
            if kind == SCM_TIMESTAMP and size == _TIMEVAL.size:
                seconds, microseconds = _TIMEVAL.unpack(data)
                time_ns = seconds * 1_000_000_000 + microseconds * 1_000
        elif level == IPPROTO_IP:
            if kind == IP_RECVPKTINFO and size == 12:
                # struct in_pktinfo; ipi_spec_dst in the middle is left zero.
                index, destination = struct.unpack("=I4x4s", data)
            elif kind == IP_RECVTTL and size == 1:
                ttl = data[0]
        elif level == IPPROTO_IPV6:
            if kind == IPV6_PKTINFO and size == 20:
                destination, index = struct.unpack("=16sI", data)
            elif kind == IPV6_HOPLIMIT and size == 4:
                (ttl,) = struct.unpack("=i", data)
    # Index 0 says that the kernel doesn't know.
    return Arrival(index or None, destination, None, ttl, time_ns, None)


def all_hosts(address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
    """See `Platform`: a bound socket sends 255.255.255.255 out of its interface."""
    return IPv4Address("255.255.255.255"), ()
