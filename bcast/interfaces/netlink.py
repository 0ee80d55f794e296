"""What Linux's rtnetlink says about links and addresses: its encoding, and how to ask.

rtnetlink(7), linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h. All numbers
are in host order. A message is a header, a fixed part and attributes, each aligned to 4 bytes::

    nlmsghdr   length u32 | type u16 | flags u16 | sequence u32 | port u32
    ifinfomsg  family u8 | pad u8 | ARPHRD type u16 | index i32 | flags u32 | change mask u32
    ifaddrmsg  family u8 | prefix length u8 | flags u8 | scope u8 | index u32
    rtattr     length u16 (with this header) | type u16 | value

Only the kernel is heard, and still nothing that it sends can raise anything but `NetlinkError`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from bcast.datagram import IPAddress
from bcast.errors import SocketError, open_files_advice

__all__ = [
    "Link",
    "LinkAddress",
    "Message",
    "NetlinkError",
    "Notice",
    "decode_address",
    "decode_link",
    "dump",
    "open_netlink",
    "read_messages",
    "read_notifications",
    "refused",
]

AF_NETLINK = 16
NETLINK_ROUTE = 0
# Linux's own numbers, whatever system the codec runs on.
AF_INET = 2
AF_INET6 = 10

#: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
NOTIFICATION_GROUPS = 0x1 | 0x10 | 0x100

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSG_OVERRUN = 4
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_DELADDR = 21
RT_SCOPE_LINK = 253
RTM_GETADDR = 22

NLM_F_DUMP_INTR = 0x10
#: NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
DUMP_FLAGS = 0x301

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_MASTER = 10
IFLA_LINKINFO = 18
IFLA_INFO_KIND = 1

IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4
IFA_FLAGS = 8

HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBI")
ATTRIBUTE = struct.Struct("=HH")
U32 = struct.Struct("=I")
S32 = struct.Struct("=i")

_ANSWERS = {RTM_GETLINK: RTM_NEWLINK, RTM_GETADDR: RTM_NEWADDR}

#: NLA_TYPE_MASK: the two highest bits of a type say how its value is encoded.
TYPE_MASK = 0x3FFF

#: Bytes to receive at once: the kernel fills buffers of at most 32 KiB with a dump.
RECEIVE_SIZE = 65_536
#: How often a dump is begun. Interfaces that change faster than they can be listed interrupt
#: every one of them; the last is then taken as it is, for their changes wake the watcher anyway.
ATTEMPTS = 8
#: Messages of one dump, against one that doesn't end: a host with a thousand containers has a
#: tenth of it.
MESSAGES_PER_DUMP = 100_000
#: Seconds until the kernel has answered: it does so before send() returns.
TIMEOUT = 2.0


class NetlinkError(SocketError):
    """The kernel's answer isn't what rtnetlink's documentation says."""


class Message(NamedTuple):
    """One netlink message; ``body`` is what follows the header."""

    type: int
    flags: int
    sequence: int
    body: bytes


class Link(NamedTuple):
    """A link as the kernel describes it: ``type`` is ARPHRD_*, ``flags`` are IFF_*.

    ``kind`` is what made it (``"veth"``, ``"bridge"``), empty for hardware. ``master`` is the
    index of the link that it is a port of, or 0. ``family`` is 0 except in notifications that
    say something about the link in one protocol, such as AF_BRIDGE.
    """

    family: int
    ifindex: int
    name: str
    type: int
    flags: int
    mtu: int
    hardware_address: bytes
    master: int
    kind: str


class LinkAddress(NamedTuple):
    """An address of the link ``ifindex``; ``flags`` are IFA_F_*.

    ``peer`` is the other end of a point-to-point address, None for an ordinary one.
    """

    ifindex: int
    address: IPAddress
    prefix_length: int
    broadcast: IPv4Address | None
    peer: IPAddress | None
    flags: int


class Notice(NamedTuple):
    """What a batch of notifications means: something changed, and what happened to which links.

    ``deleted`` are the indexes of links that were deleted, ``unaddressed`` of those that lost a
    link-local IPv6 address, and with the last one IPv6 and all its memberships.
    """

    changed: bool
    deleted: frozenset[int] = frozenset()
    unaddressed: frozenset[int] = frozenset()


def read_messages(data: bytes) -> Iterator[Message]:
    """Splits what one receive call returned. Raises `NetlinkError`."""
    at = 0
    while at < len(data):
        if len(data) - at < HEADER.size:
            raise NetlinkError(f"netlink message cut short after {len(data) - at} bytes")
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if not HEADER.size <= length <= len(data) - at:
            raise NetlinkError(f"netlink message says it has {length} of {len(data) - at} bytes")
        yield Message(kind, flags, sequence, data[at + HEADER.size : at + length])
        at += _aligned(length)


def _aligned(length: int) -> int:
    return length + 3 & ~3


def _fixed(layout: struct.Struct, body: bytes) -> tuple[int, ...]:
    if len(body) < layout.size:
        raise NetlinkError(f"netlink message has {len(body)} bytes where {layout.size} belong")
    return layout.unpack_from(body)


def _attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) - at >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if not ATTRIBUTE.size <= length <= len(data) - at:
            raise NetlinkError(f"netlink attribute says it has {length} of {len(data) - at} bytes")
        found[kind & TYPE_MASK] = data[at + ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _u32(value: bytes) -> int:
    number: int = U32.unpack(_sized(value, U32.size))[0]
    return number


def _sized(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise NetlinkError(f"netlink attribute has {len(value)} bytes where {size} belong")
    return value


def _text(value: bytes) -> str:
    # A name is bytes to the kernel; this is the form that Python's socket module takes back.
    return os.fsdecode(value.partition(b"\0")[0])


def decode_link(body: bytes) -> Link:
    """Decodes the body of a RTM_NEWLINK or RTM_DELLINK message. Raises `NetlinkError`."""
    family, kind, index, flags, _ = _fixed(LINK, body)
    found = _attributes(body, LINK.size)
    name = _text(found.get(IFLA_IFNAME, b""))
    if not name or index < 1:
        raise NetlinkError(f"netlink describes a link with index {index} and name {name!r}")
    return Link(
        family,
        index,
        name,
        kind,
        flags,
        _u32(found.get(IFLA_MTU, b"")),
        found.get(IFLA_ADDRESS, b""),
        _u32(found[IFLA_MASTER]) if IFLA_MASTER in found else 0,
        _text(_attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"")),
    )


def decode_address(body: bytes) -> LinkAddress | None:
    """Decodes the body of a RTM_NEWADDR message; None for other families than IP.

    Raises `NetlinkError`.
    """
    family, prefix_length, flags, _, index = _fixed(ADDRESS, body)
    found = _attributes(body, ADDRESS.size)
    make: type[IPv4Address] | type[IPv6Address]
    if family == AF_INET:
        make, size = IPv4Address, 4
    elif family == AF_INET6:
        make, size = IPv6Address, 16
    else:
        return None
    if prefix_length > size * 8:
        raise NetlinkError(f"netlink describes an address with a prefix of {prefix_length} bits")
    # IFA_ADDRESS is the other end of a point-to-point address, and the address itself elsewhere.
    other = found.get(IFA_ADDRESS, b"")
    own = found.get(IFA_LOCAL, other)
    address = make(_sized(own, size))
    return LinkAddress(
        index,
        address,
        prefix_length,
        IPv4Address(_sized(found[IFA_BROADCAST], 4))
        if IFA_BROADCAST in found and size == 4
        else None,
        make(_sized(other, size)) if other and other != own else None,
        _u32(found[IFA_FLAGS]) if IFA_FLAGS in found else flags,
    )


def read_notifications(data: bytes) -> Notice:
    """What a batch of notifications means. Never raises: what can't be read is a reason to look.

    A message of another family than 0 is about a link in one protocol: an AF_BRIDGE deletion
    means that the link left its bridge, and the change of its master is told separately.
    """
    changed = False
    deleted = set()
    unaddressed = set()
    try:
        for message in read_messages(data):
            if message.type in (RTM_NEWLINK, RTM_DELLINK):
                family, _, index, *_ = _fixed(LINK, message.body)
                if family == 0:
                    changed = True
                    if message.type == RTM_DELLINK:
                        deleted.add(index)
            elif message.type in (RTM_NEWADDR, RTM_DELADDR):
                changed = True
                if message.type == RTM_DELADDR:
                    family, _, _, scope, index = _fixed(ADDRESS, message.body)
                    if family == socket.AF_INET6 and scope == RT_SCOPE_LINK:
                        unaddressed.add(index)
    except NetlinkError:
        changed = True
    return Notice(changed, frozenset(deleted), frozenset(unaddressed))


def open_netlink(groups: int = 0) -> socket.socket:
    """Opens a netlink socket, subscribed to ``groups``. No privilege is needed. Raises OSError."""
    opened = socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
    try:
        opened.bind((0, groups))
        opened.settimeout(TIMEOUT)
    except BaseException:
        opened.close()
        raise
    return opened


def dump(opened: socket.socket, request: int) -> list[bytes]:
    """Asks for all links (RTM_GETLINK) or addresses (RTM_GETADDR); returns the messages' bodies.

    A dump that a change interrupted, or that overran the receive buffer, is begun again.
    Raises `NetlinkError` for an answer that can't be read, `SocketError` when the kernel refuses.
    """
    bodies: list[bytes] | None = None
    for sequence in range(1, ATTEMPTS + 1):
        try:
            # The body is an ifinfomsg of zeros: all families. Kernels take it for addresses too.
            header = HEADER.pack(HEADER.size + LINK.size, request, DUMP_FLAGS, sequence, 0)
            opened.send(header + bytes(LINK.size))
            bodies, whole = _collect(opened, sequence, _ANSWERS[request])
            if whole:
                return bodies
        except OSError as error:
            # EBUSY: the dump that was given up for an overrun hasn't ended yet.
            if error.errno not in (errno.ENOBUFS, errno.EBUSY):
                raise refused(error) from error
    if bodies is None:
        raise refused(_errno(errno.ENOBUFS))
    return bodies


def _collect(opened: socket.socket, sequence: int, answer: int) -> tuple[list[bytes], bool]:
    bodies: list[bytes] = []
    whole = True
    while True:
        data, (port, _) = opened.recvfrom(RECEIVE_SIZE)
        if port != 0:
            continue  # from a privileged process, not from the kernel
        for message in read_messages(data):
            if message.sequence != sequence:
                continue  # of a dump that was given up
            if message.flags & NLM_F_DUMP_INTR:
                whole = False
            if message.type in (NLMSG_DONE, NLMSG_ERROR):
                # Both begin with 0 or a negative errno; DONE had no body in old kernels.
                code = S32.unpack_from(message.body)[0] if len(message.body) >= 4 else 0
                if code:
                    raise _errno(-code)
                return bodies, whole
            if message.type == NLMSG_OVERRUN:
                raise _errno(errno.ENOBUFS)
            if message.type == answer:
                if len(bodies) == MESSAGES_PER_DUMP:
                    raise NetlinkError(f"netlink lists more than {MESSAGES_PER_DUMP} entries")
                bodies.append(message.body)


def _errno(number: int) -> OSError:
    known = number in errno.errorcode
    return OSError(number, os.strerror(number) if known else f"unknown error {number}")


def refused(error: OSError) -> SocketError:
    """The error of a netlink call as a sentence."""
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    if error.errno == errno.EMFILE:
        advice = open_files_advice()
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
        advice = (
            "a sandbox forbids it: allow the address family AF_NETLINK"
            " (systemd: RestrictAddressFamilies=)"
        )
    else:
        advice = "try again"
    return SocketError(
        f"can't ask the kernel for its interfaces: {name} ({error.strerror or error})",
        advice,
        error=name,
        operation="list interfaces",
    )
