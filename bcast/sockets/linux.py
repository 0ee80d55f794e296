"""Linux: bound by index (SO_BINDTOIFINDEX, by name before 5.0), which limits both directions.

Numbers are those of the generic ABI (x86, arm, risc-v, ...: include/uapi/asm-generic/socket.h,
linux/in.h, linux/in6.h); Python lacks most of the names. A device binding may be set once
without CAP_NET_RAW and never changed, so it is set exactly once, before bind().
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address

from bcast.datagram import Address, Family, Group, Interface, InterfaceFlag, IPAddress
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

#: net.ipv4.igmp_max_memberships is 20 unless an administrator changed it.
GROUPS_PER_SOCKET = 20
#: __udp_is_mcast_sock (net/ipv4/udp.c) compares the address that a socket is bound to. A filter
#: (SO_ATTACH_FILTER) would not do: what it keeps out counts as dropped.
BINDS_TO_GROUPS = True
ISOLATES = True

SOL_SOCKET = 1
SO_REUSEADDR = 2
SO_BROADCAST = 6
SO_RCVBUF = 8
SO_SNDBUF = 7
SO_BINDTODEVICE = 25
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
SO_MEMINFO = 55
SO_BINDTOIFINDEX = 62
SO_TIMESTAMPNS_NEW = 64

IPPROTO_IP = 0
IP_TTL = 2
IP_PKTINFO = 8
IP_MTU_DISCOVER = 10
IP_RECVTTL = 12
IP_MULTICAST_IF = 32
IP_MULTICAST_TTL = 33
IP_MULTICAST_LOOP = 34
IP_ADD_MEMBERSHIP = 35
MCAST_JOIN_SOURCE_GROUP = 46
IP_MULTICAST_ALL = 49
IP_PMTUDISC_DO = 2

IPPROTO_IPV6 = 41
IPV6_UNICAST_HOPS = 16
IPV6_MULTICAST_IF = 17
IPV6_MULTICAST_HOPS = 18
IPV6_MULTICAST_LOOP = 19
IPV6_JOIN_GROUP = 20
IPV6_MTU_DISCOVER = 23
IPV6_V6ONLY = 26
IPV6_MULTICAST_ALL = 29
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50
IPV6_RECVHOPLIMIT = 51
IPV6_HOPLIMIT = 52

# A kernel older than the option; what it would have done is then done less well, not wrongly.
_OLD = (errno.ENOPROTOOPT,)

# Whether long has 32 bits: then the plain timestamp option has 32-bit seconds.
_NARROW = struct.calcsize("l") == 4


def _bound(interface: Interface) -> tuple[Step, ...]:
    # SO_BINDTOIFINDEX accepts an index that doesn't exist, and an index can be taken over by
    # another interface between listing and binding: hence the look before and after.
    verify = Verify(interface.index, interface.name)
    by_name = SetOption(
        SOL_SOCKET, SO_BINDTODEVICE, os.fsencode(interface.name) + b"\0", "SO_BINDTODEVICE"
    )
    by_index = SetOption(
        SOL_SOCKET, SO_BINDTOIFINDEX, interface.index, "SO_BINDTOIFINDEX", instead=by_name
    )
    return verify, by_index, verify


def _told(family: Family) -> tuple[Step, ...]:
    """What every datagram is to be accompanied by: time, destination, interface, TTL."""
    narrow = SetOption(SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS", benign=(ANY,))
    stamp = (
        SetOption(SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1, "SO_TIMESTAMPNS_NEW", instead=narrow)
        if _NARROW
        else narrow
    )
    if family is Family.IPV4:
        return (
            stamp,
            SetOption(IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO"),
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
    steps += _bound(interface)
    steps.append(SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"))
    if family is Family.IPV4:
        request = struct.pack("=4s4si", b"\0" * 4, source.packed, interface.index)
        steps += [
            SetOption(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, "IP_MTU_DISCOVER"),
            SetOption(IPPROTO_IP, IP_MULTICAST_IF, request, "IP_MULTICAST_IF"),
            SetOption(IPPROTO_IP, IP_MULTICAST_TTL, 1 if ttl is None else ttl, "IP_MULTICAST_TTL"),
            SetOption(IPPROTO_IP, IP_MULTICAST_LOOP, int(loop), "IP_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps.append(SetOption(IPPROTO_IP, IP_TTL, ttl, "IP_TTL"))
    else:
        hops = 1 if ttl is None else ttl
        steps += [
            SetOption(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO, "IPV6_MTU_DISCOVER"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_IF, interface.index, "IPV6_MULTICAST_IF"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "IPV6_MULTICAST_HOPS"),
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, int(loop), "IPV6_MULTICAST_LOOP"),
        ]
        if ttl is not None:
            steps.append(SetOption(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl, "IPV6_UNICAST_HOPS"))
    steps += _told(family)
    # On loopback a socket that isn't bound to an address sends from 0.0.0.0. Elsewhere the
    # wildcard lets replies in that were broadcast to our port; send_ancillary fixes the source.
    here = str(source) if InterfaceFlag.LOOPBACK in interface.flags else ""
    steps.append(_bind(family, here, source_port))
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
    steps += _bound(interface)
    steps.append(SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"))
    # Otherwise every group that any other socket of this host joined would arrive here too.
    if family is Family.IPV4:
        steps.append(SetOption(IPPROTO_IP, IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL", benign=_OLD))
    else:
        steps.append(
            SetOption(IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0, "IPV6_MULTICAST_ALL", benign=_OLD)
        )
    steps += _told(family)
    steps += [*buffer_steps(buffer), _bind(family, "", port)]
    steps += [_join(interface, group) for group in groups]
    return tuple(steps)


def buffer_steps(buffer: int) -> tuple[Step, ...]:
    """SO_RCVBUF stops silently at net.core.rmem_max; the forced form needs CAP_NET_ADMIN."""
    return (
        SetOption(SOL_SOCKET, SO_RCVBUF, buffer, "SO_RCVBUF", benign=(ANY,)),
        SetOption(SOL_SOCKET, SO_RCVBUFFORCE, buffer, "SO_RCVBUFFORCE", benign=(ANY,)),
    )


def _bind(family: Family, address: str, port: int) -> Bind:
    if family is Family.IPV4:
        return Bind((address, port))
    # Scope 0: the device binding decides, and a scope in the address could override it.
    return Bind((address.partition("%")[0] or "::", port, 0, 0))


def _join(interface: Interface, group: Group) -> SetOption:
    # Joining twice on one socket says EADDRINUSE: it is joined.
    joined = (errno.EADDRINUSE,)
    index = interface.index
    if group.source is not None:
        request = struct.pack(
            "@I4x128s128s" if sys.maxsize > 2**32 else "@I128s128s",
            index,
            _sockaddr(group.address),
            _sockaddr(group.source),
        )
        level = IPPROTO_IP if group.family is Family.IPV4 else IPPROTO_IPV6
        return SetOption(level, MCAST_JOIN_SOURCE_GROUP, request, f"membership of {group}", joined)
    if group.family is Family.IPV4:
        request = struct.pack("=4s4si", group.address.packed, b"\0" * 4, index)
        return SetOption(IPPROTO_IP, IP_ADD_MEMBERSHIP, request, f"membership of {group}", joined)
    request = struct.pack("=16sI", group.address.packed, index)
    return SetOption(IPPROTO_IPV6, IPV6_JOIN_GROUP, request, f"membership of {group}", joined)


def _sockaddr(address: IPAddress) -> bytes:
    if isinstance(address, IPv6Address):
        return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)
    return struct.pack("=HH4s8x", socket.AF_INET, 0, address.packed)


def send_ancillary(interface: Interface, source: IPAddress, *, group: bool = False) -> Ancillary:
    """IP_PKTINFO, IPV6_PKTINFO: fails when the address is gone instead of taking another's."""
    if isinstance(source, IPv4Address):
        if group:
            return []  # IP_MULTICAST_IF has the source, and is as strict
        told = struct.pack("=i4s4s", interface.index, source.packed, b"\0" * 4)
        return [(IPPROTO_IP, IP_PKTINFO, told)]
    return [(IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("=16sI", source.packed, interface.index))]


def read_arrival(family: Family, ancillary: Ancillary) -> Arrival:
    """See `Platform`."""
    index = destination = local = ttl = time_ns = drops = None
    for level, kind, data in ancillary:
        size = len(data)
        if level == SOL_SOCKET:
            if kind in (SO_TIMESTAMPNS, SO_TIMESTAMPNS_NEW) and size == 16:
                seconds, nanoseconds = struct.unpack("=qq", data)
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif kind == SO_TIMESTAMPNS and size == 8:
                seconds, nanoseconds = struct.unpack("=ii", data)
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif kind == SO_RXQ_OVFL and size == 4:
                (drops,) = struct.unpack("=I", data)
        elif level == IPPROTO_IP:
            if kind == IP_PKTINFO and size == 12:
                index, local, destination = struct.unpack("=i4s4s", data)
            elif kind == IP_TTL and size == 4:
                (ttl,) = struct.unpack("=i", data)
        elif level == IPPROTO_IPV6:
            if kind == IPV6_PKTINFO and size == 20:
                destination, index = struct.unpack("=16si", data)
            elif kind == IPV6_HOPLIMIT and size == 4:
                (ttl,) = struct.unpack("=i", data)
    return Arrival(index, destination, local, ttl, time_ns, drops)


def all_hosts(address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
    """See `Platform`: a bound socket sends 255.255.255.255 out of its interface."""
    return IPv4Address("255.255.255.255"), ()
