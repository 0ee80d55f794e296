"""FreeBSD, OpenBSD, NetBSD: nothing binds to an interface, so addresses and memberships do.

Numbers are those of each system's sys/netinet/in.h, sys/netinet6/in6.h and sys/sys/socket.h;
Python lacks most of the names. Where these systems can't do what is wanted:

* A sender is bound to its address and leaves by the route to the destination: for the directed
  broadcast address and the hosts of the interface's network that is the interface. For groups
  IP_MULTICAST_IF decides. Of two interfaces on one network only the one with the route sends.
  A sender doesn't get what is broadcast to its port, and a fe80:: destination needs the
  interface's index as its scope.
* 255.255.255.255 would leave by the first interface, so `all_hosts` is the directed broadcast
  address. On FreeBSD IP_ONESBCAST makes the kernel find the interface by that address and write
  255.255.255.255 into the datagram (with TTL 1). While it is set every other destination is
  ENETUNREACH: whoever sets it has to set it back to 0.
* Reception isn't limited to an interface: `ISOLATES` is False, every datagram says by which
  interface it came, and the reader has to pass over those of the others.
* On FreeBSD a membership is for its socket and interface. On OpenBSD and NetBSD it only lets the
  group in: every socket of the port gets what any program has joined, on any interface.
* OpenBSD and NetBSD have no source-specific membership: the whole group is joined, and the
  reader has to pass over the other sources.
* The receivers of several interfaces are bound to one wildcard address. That needs
  SO_REUSEPORT on each of them, and one without it would keep every broadcast from the others.
  ``share=False`` leaves out SO_REUSEADDR only: a program that has the port and doesn't share it
  is noticed, one of the same user that shares it isn't.
* OpenBSD and NetBSD have no IP_DONTFRAG: only a broadcast, which is never fragmented, fails when
  it is too large. The sender's own comparison with the MTU has to stop the rest.
* There is no drop count for a socket. The kernel's time is in nanoseconds on FreeBSD, in
  microseconds on the others.
* A receive buffer beyond the maximum (kern.ipc.maxsockbuf, kern.sbmax, 2 MiB, 256 KiB) is
  refused whole, so smaller ones are asked for before it.
"""

from __future__ import annotations

import errno
import struct
from ipaddress import IPv4Address, IPv6Address

from bcast.datagram import Address, Family, Group, Interface, IPAddress
from bcast.errors import ArgumentError
from bcast.sockets.plan import (
    ANY,
    Ancillary,
    Arrival,
    Bind,
    Platform,
    SetOption,
    Step,
    Verify,
)

__all__ = ["FreeBSD", "NetBSD", "OpenBSD", "System", "system"]

AF_INET = 2
AF_LINK = 18

SOL_SOCKET = 0xFFFF
SO_REUSEADDR = 0x4
SO_BROADCAST = 0x20
SO_REUSEPORT = 0x200
SO_SNDBUF = 0x1001
SO_RCVBUF = 0x1002

IPPROTO_IP = 0
IP_TTL = 4
IP_RECVDSTADDR = 7
IP_MULTICAST_IF = 9
IP_MULTICAST_TTL = 10
IP_MULTICAST_LOOP = 11
IP_ADD_MEMBERSHIP = 12

IPPROTO_IPV6 = 41
IPV6_UNICAST_HOPS = 4
IPV6_MULTICAST_IF = 9
IPV6_MULTICAST_HOPS = 10
IPV6_MULTICAST_LOOP = 11
IPV6_JOIN_GROUP = 12
IPV6_V6ONLY = 27
IPV6_RECVPKTINFO = 36
IPV6_RECVHOPLIMIT = 37
IPV6_PKTINFO = 46
IPV6_HOPLIMIT = 47
IPV6_DONTFRAG = 62

# FreeBSD only.
IP_ONESBCAST = 23
IP_DONTFRAG = 67
MCAST_JOIN_GROUP = 80
MCAST_JOIN_SOURCE_GROUP = 82
SO_TS_CLOCK = 0x1017
SO_TS_REALTIME = 2
SCM_REALTIME = 5

# A kernel older than the option.
_OLD = (errno.ENOPROTOOPT, errno.EINVAL)

# The send buffer limits the length of a datagram too, and is 9,216 bytes unless it is raised.
_LARGEST = 65_535

# Joining twice on one socket says EADDRINUSE: it is joined.
_JOINED = (errno.EADDRINUSE,)

# In a group_req sockaddr_storage begins where its 64-bit member may: after 4 bytes of padding,
# but without it on i386.
_PADDING = f"{struct.calcsize('@Iq') - 12}x"


class System:
    """What the three have in common; a `Platform`. Immutable: all of it belongs to the class."""

    __slots__ = ()

    #: IP_MAX_MEMBERSHIPS.
    GROUPS_PER_SOCKET = 4095
    BINDS_TO_GROUPS = False
    ISOLATES = False

    IP_RECVIF = 20
    IP_RECVTTL: int
    SO_TIMESTAMP: int
    SCM_TIMESTAMP: int
    # struct timeval: time_t and a long.
    TIMEVAL = struct.Struct("@ql0q")

    def sender_steps(
        self,
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
        # An index can be taken over by another interface between listing and using it.
        verify = Verify(interface.index, interface.name)
        steps += [
            verify,
            SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"),
            SetOption(SOL_SOCKET, SO_SNDBUF, _LARGEST, "SO_SNDBUF", benign=(ANY,)),
        ]
        hops = 1 if ttl is None else ttl
        if family is Family.IPV4:
            steps += self.unfragmented()
            # u_char is what all three take for these two, and int isn't.
            steps += [
                self.multicast_interface(interface, source),
                SetOption(IPPROTO_IP, IP_MULTICAST_TTL, bytes([hops]), "IP_MULTICAST_TTL"),
                SetOption(IPPROTO_IP, IP_MULTICAST_LOOP, bytes([loop]), "IP_MULTICAST_LOOP"),
            ]
            if ttl is not None:
                steps.append(SetOption(IPPROTO_IP, IP_TTL, ttl, "IP_TTL"))
        else:
            index = interface.index
            steps += [
                SetOption(IPPROTO_IPV6, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG", benign=_OLD),
                SetOption(IPPROTO_IPV6, IPV6_MULTICAST_IF, index, "IPV6_MULTICAST_IF"),
                SetOption(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, "IPV6_MULTICAST_HOPS"),
                SetOption(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, int(loop), "IPV6_MULTICAST_LOOP"),
            ]
            if ttl is not None:
                steps.append(SetOption(IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl, "IPV6_UNICAST_HOPS"))
        steps += self.told(family)
        steps += [_bind_to(source, source_port, interface.index), verify]
        return tuple(steps)

    def receiver_steps(
        self,
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
        verify = Verify(interface.index, interface.name)
        steps += [
            SetOption(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"),
            verify,
            SetOption(SOL_SOCKET, SO_BROADCAST, 1, "SO_BROADCAST"),
        ]
        steps += self.told(family)
        steps += self.buffer_steps(buffer)
        steps.append(Bind(("", port) if family is Family.IPV4 else ("::", port, 0, 0)))
        steps += [self.join(interface, group) for group in groups]
        steps.append(verify)
        return tuple(steps)

    def buffer_steps(self, buffer: int) -> tuple[Step, ...]:
        """See `Platform`. The largest that the kernel accepts stays."""
        return tuple(
            SetOption(SOL_SOCKET, SO_RCVBUF, size, "SO_RCVBUF", benign=(ANY,))
            for size in (buffer >> 5, buffer >> 3, buffer >> 2, buffer)
        )

    def told(self, family: Family) -> tuple[Step, ...]:
        """What every datagram is to be accompanied by: time, destination, interface, TTL."""
        if family is Family.IPV4:
            return (
                *self.stamped(),
                SetOption(IPPROTO_IP, IP_RECVDSTADDR, 1, "IP_RECVDSTADDR"),
                SetOption(IPPROTO_IP, self.IP_RECVIF, 1, "IP_RECVIF"),
                SetOption(IPPROTO_IP, self.IP_RECVTTL, 1, "IP_RECVTTL", benign=(ANY,)),
            )
        return (
            *self.stamped(),
            SetOption(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"),
            SetOption(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT", benign=(ANY,)),
        )

    def stamped(self) -> tuple[Step, ...]:
        """The kernel's time of reception."""
        return (SetOption(SOL_SOCKET, self.SO_TIMESTAMP, 1, "SO_TIMESTAMP", benign=(ANY,)),)

    def unfragmented(self) -> tuple[Step, ...]:
        """Too large a datagram to a host or group is an error; nothing where that can't be."""
        return ()

    def multicast_interface(self, interface: Interface, source: IPAddress) -> SetOption:
        """By which interface datagrams to IPv4 groups leave: an ip_mreqn, by index."""
        request = struct.pack("=4s4si", b"\0" * 4, source.packed, interface.index)
        return SetOption(IPPROTO_IP, IP_MULTICAST_IF, request, "IP_MULTICAST_IF")

    def join(self, interface: Interface, group: Group) -> SetOption:
        """A membership by index, of the whole group whatever its source."""
        address, index, name = group.address.packed, interface.index, f"membership of {group}"
        if group.family is Family.IPV4:
            request = struct.pack("=4s4si", address, b"\0" * 4, index)
            return SetOption(IPPROTO_IP, IP_ADD_MEMBERSHIP, request, name, _JOINED)
        request = struct.pack("=16sI", address, index)
        return SetOption(IPPROTO_IPV6, IPV6_JOIN_GROUP, request, name, _JOINED)

    def send_ancillary(
        self, interface: Interface, source: IPAddress, *, group: bool = False
    ) -> Ancillary:
        """Nothing: the sender is bound to ``source``."""
        return []

    def read_arrival(self, family: Family, ancillary: Ancillary) -> Arrival:
        """See `Platform`. ``local`` and ``drops`` are always None: the kernel doesn't say them."""
        index = destination = ttl = time_ns = None
        for level, kind, data in ancillary:
            size = len(data)
            if level == SOL_SOCKET:
                time_ns = self.read_time(kind, data) or time_ns
            elif level == IPPROTO_IP:
                if kind == IP_RECVDSTADDR and size == 4:
                    destination = data
                elif kind == self.IP_RECVIF and size >= 4 and data[1] == AF_LINK:
                    # struct sockaddr_dl: length, family, index in host byte order.
                    (index,) = struct.unpack_from("=H", data, 2)
                elif kind == self.IP_RECVTTL and size == 1:
                    ttl = data[0]
            elif level == IPPROTO_IPV6:
                if kind == IPV6_PKTINFO and size == 20:
                    destination, index = struct.unpack("=16sI", data)
                elif kind == IPV6_HOPLIMIT and size == 4:
                    (ttl,) = struct.unpack("=i", data)
        # Index 0 says that the kernel doesn't know.
        return Arrival(index or None, destination, None, ttl, time_ns, None)

    def read_time(self, kind: int, data: bytes) -> int | None:
        """Nanoseconds since 1970 UTC of a control message of SOL_SOCKET, if it says them."""
        if kind == self.SCM_TIMESTAMP and len(data) == self.TIMEVAL.size:
            seconds, microseconds = self.TIMEVAL.unpack(data)
        elif kind == self.SCM_TIMESTAMP and len(data) == 8:
            seconds, microseconds = struct.unpack("=ii", data)  # FreeBSD on i386
        else:
            return None
        return int(seconds * 1_000_000_000 + microseconds * 1_000)

    def all_hosts(self, address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
        """See `Platform`: the directed broadcast address, whose route is the interface's."""
        return address.broadcast, ()


class FreeBSD(System):
    """FreeBSD 9 and later."""

    __slots__ = ()

    AF_INET6 = 28
    IP_RECVTTL = 65
    SO_TIMESTAMP = 0x400
    SCM_TIMESTAMP = 2

    def stamped(self) -> tuple[Step, ...]:
        """In nanoseconds where the kernel can; otherwise they stay microseconds."""
        clock = SetOption(SOL_SOCKET, SO_TS_CLOCK, SO_TS_REALTIME, "SO_TS_CLOCK", benign=(ANY,))
        return (*super().stamped(), clock)

    def unfragmented(self) -> tuple[Step, ...]:
        return (SetOption(IPPROTO_IP, IP_DONTFRAG, 1, "IP_DONTFRAG"),)

    def multicast_interface(self, interface: Interface, source: IPAddress) -> SetOption:
        """An interface that has no multicast says EOPNOTSUPP, and can still broadcast."""
        return super().multicast_interface(interface, source)._replace(benign=(errno.EOPNOTSUPP,))

    def join(self, interface: Interface, group: Group) -> SetOption:
        """By the requests of RFC 3678; IP_ADD_MEMBERSHIP reads an index in new kernels only."""
        name = f"membership of {group}"
        level = IPPROTO_IP if group.family is Family.IPV4 else IPPROTO_IPV6
        address = self.sockaddr(group.address)
        if group.source is not None:
            source = self.sockaddr(group.source)
            request = struct.pack(f"=I{_PADDING}128s128s", interface.index, address, source)
            return SetOption(level, MCAST_JOIN_SOURCE_GROUP, request, name, _JOINED)
        if group.family is Family.IPV4:
            request = struct.pack(f"=I{_PADDING}128s", interface.index, address)
            return SetOption(level, MCAST_JOIN_GROUP, request, name, _JOINED)
        return super().join(interface, group)

    def sockaddr(self, address: IPAddress) -> bytes:
        """The first byte is the length, which the kernel compares."""
        if isinstance(address, IPv6Address):
            return struct.pack("=BBHI16sI", 28, self.AF_INET6, 0, 0, address.packed, 0)
        return struct.pack("=BBH4s8x", 16, AF_INET, 0, address.packed)

    def read_time(self, kind: int, data: bytes) -> int | None:
        # struct timespec is laid out like struct timeval.
        if kind == SCM_REALTIME and len(data) == self.TIMEVAL.size:
            seconds, nanoseconds = self.TIMEVAL.unpack(data)
            return int(seconds * 1_000_000_000 + nanoseconds)
        return super().read_time(kind, data)

    def all_hosts(self, address: Address) -> tuple[IPv4Address | None, tuple[SetOption, ...]]:
        """See `Platform`. Set the option back to 0 before sending anywhere else."""
        if address.broadcast is None:
            return None, ()
        return address.broadcast, (SetOption(IPPROTO_IP, IP_ONESBCAST, 1, "IP_ONESBCAST"),)


class OpenBSD(System):
    """OpenBSD. Before it had ip_mreqn, an interface could be named by its address only."""

    __slots__ = ()

    IP_RECVIF = 30
    IP_RECVTTL = 31
    SO_TIMESTAMP = 0x800
    SCM_TIMESTAMP = 4

    def multicast_interface(self, interface: Interface, source: IPAddress) -> SetOption:
        by_index = super().multicast_interface(interface, source)
        return by_index._replace(instead=by_index._replace(value=source.packed))

    def join(self, interface: Interface, group: Group) -> SetOption:
        by_index = super().join(interface, group)
        addresses = interface.addresses_of(Family.IPV4)
        if group.family is Family.IPV6 or not addresses:
            return by_index
        request = group.address.packed + addresses[0].address.packed
        return by_index._replace(instead=by_index._replace(value=request))


class NetBSD(System):
    """NetBSD. In place of an interface's address it takes 0.x.x.x, its index (RFC 1724, 3.3)."""

    __slots__ = ()

    #: IP_MAX_MEMBERSHIPS.
    GROUPS_PER_SOCKET = 20
    IP_RECVTTL = 23
    SO_TIMESTAMP = 0x2000
    SCM_TIMESTAMP = 8
    # struct timeval: time_t and an int.
    TIMEVAL = struct.Struct("@qi0q")

    def multicast_interface(self, interface: Interface, source: IPAddress) -> SetOption:
        request = struct.pack("!I", interface.index)
        return super().multicast_interface(interface, source)._replace(value=request)

    def join(self, interface: Interface, group: Group) -> SetOption:
        by_index = super().join(interface, group)
        if group.family is Family.IPV6:
            return by_index
        request = group.address.packed + struct.pack("!I", interface.index)
        return by_index._replace(value=request)


def system(platform: str) -> Platform:
    """The `Platform` of a ``sys.platform`` (``"freebsd14"``, ``"openbsd7"``, ``"netbsd10"``).

    Raises `ArgumentError` for any other.
    """
    if platform.startswith("freebsd"):
        return FreeBSD()
    if platform.startswith("openbsd"):
        return OpenBSD()
    if platform.startswith("netbsd"):
        return NetBSD()
    raise ArgumentError(f"{platform} is neither FreeBSD nor OpenBSD nor NetBSD")


def _bind_to(address: IPAddress, port: int, index: int) -> Bind:
    if isinstance(address, IPv4Address):
        return Bind((str(address), port))
    # A link-local address is one of ours only together with its interface, by number.
    scope = index if address.is_link_local else 0
    return Bind((str(address).partition("%")[0], port, 0, scope))
