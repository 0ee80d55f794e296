"""IP and UDP headers around a payload: rebuilt for writing, taken apart for reading.

A receiver knows everything that a header says except the fields that don't matter once a datagram
has arrived: identification and type of service are written as 0, and IPv4 as "don't fragment",
which is what an unfragmented datagram looks like (RFC 6864, 4.1). A TTL that the system didn't
tell is written as 0, with which no host may send (RFC 1122, 3.2.1.7).

`parse` takes any bytes and never raises: it answers with a `Frame` or with the `Skip` reason.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import NamedTuple
from zlib import adler32

__all__ = ["SHORT", "Frame", "Link", "Skip", "header", "parse", "payload_sum"]

#: The longest payload in bytes of which an Adler-32 sum of bytes can't wrap: 256 x 255 < 65521.
SHORT = 256

UDP = 17

# Version and header length, type of service; total length; identification; fragment; TTL;
# protocol; checksum; both addresses (RFC 791, 3.1). Then the ports and length of RFC 768.
_IPV4_UDP = Struct(">HHHHBBH8sHHH")
# Version, traffic class and flow label; payload length; next header; hop limit; both addresses
# (RFC 8200, 3). Then the ports and length.
_IPV6_UDP = Struct(">IHBB32sHHH")

_UDP = Struct(">HHHH")
_IPV4 = Struct(">BxHxxHBBxx4s4s")
_IPV6 = Struct(">IHBB16s16s")


def payload_sum(payload: bytes) -> int:
    """The sum of the payload's 16-bit words, odd lengths padded with a zero byte (RFC 1071).

    Adler-32 adds up bytes at the speed of C, modulo 65521: exact for `SHORT` bytes at a time.
    The words' sum is 256 times that of the even bytes plus that of the odd ones.
    """
    even, odd = payload[::2], payload[1::2]
    if len(even) <= SHORT:
        return (adler32(even, 0) & 0xFFFF) * 256 + (adler32(odd, 0) & 0xFFFF)
    high = low = 0
    for start in range(0, len(even), SHORT):
        high += adler32(even[start : start + SHORT], 0) & 0xFFFF
        low += adler32(odd[start : start + SHORT], 0) & 0xFFFF
    return high * 256 + low


def header(
    source: bytes, source_port: int, destination: bytes, destination_port: int, ttl: int, size: int
) -> tuple[bytes, int]:
    """The IP and UDP headers of a datagram up to the UDP checksum, and the sum for that one.

    Addresses are packed, 4 or 16 bytes both; ``size`` is that of the payload in bytes. The UDP
    checksum, which follows, is ``65535 - (sum + payload_sum(payload)) % 65535``: the ones'
    complement, with 0 sent as 0xffff (RFC 768, RFC 8200 8.1).

    Raises `struct.error` for a port, TTL or size out of its field's range.
    """
    addresses = source + destination
    length = 8 + size
    total = int.from_bytes(addresses, "big")
    udp = total + UDP + length + source_port + destination_port + length
    if len(addresses) == 8:
        # The complement of a sum that is 0 modulo 65535 is 0 here: no such rule as UDP's.
        checksum = -(0x4500 + 20 + length + 0x4000 + (ttl << 8) + UDP + total) % 65535
        packed = _IPV4_UDP.pack(
            0x4500,
            20 + length,
            0,
            0x4000,
            ttl,
            UDP,
            checksum,
            addresses,
            source_port,
            destination_port,
            length,
        )
    else:
        packed = _IPV6_UDP.pack(
            6 << 28, length, UDP, ttl, addresses, source_port, destination_port, length
        )
    return packed, udp % 65535


class Link(enum.IntEnum):
    """Link types that IP datagrams are read from (tcpdump.org/linktypes)."""

    #: Address family in the byte order of the machine that captured, then IP.
    NULL = 0
    ETHERNET = 1
    #: What some systems' libpcap wrote for RAW.
    RAW_BSD = 12
    RAW_OPENBSD = 14
    #: IP, its version told by its first four bits.
    RAW = 101
    #: Address family in network byte order, then IP.
    LOOP = 108
    #: Linux "cooked": 16 bytes with the protocol at the end.
    LINUX_COOKED = 113
    IPV4 = 228
    IPV6 = 229
    #: Linux "cooked", version 2: 20 bytes with the protocol at the start.
    LINUX_COOKED_2 = 276


_LINKS_RAW = frozenset((Link.RAW, Link.RAW_BSD, Link.RAW_OPENBSD, Link.IPV4, Link.IPV6))


class Skip(enum.StrEnum):
    """Why a frame is no datagram."""

    UNKNOWN_LINK = "unknown link type"
    NOT_IP = "not IP"
    NOT_UDP = "not UDP"
    #: Fragments are not put together again.
    FRAGMENT = "fragment"
    #: The capture holds fewer bytes than the headers say.
    CUT_SHORT = "cut short"
    #: Lengths that contradict each other.
    BAD_LENGTH = "wrong length"
    TOO_MANY_HEADERS = "too many extension headers"
    #: Before 1970 or after 2554: no 64-bit number of nanoseconds.
    BAD_TIME = "impossible time"


class Frame(NamedTuple):
    """What the headers of a UDP datagram say. Addresses are packed; ``ttl`` is 0..255."""

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    ttl: int
    payload: bytes


_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPE_IPV6 = 0x86DD
_ETHERTYPES_VLAN = frozenset((0x8100, 0x88A8, 0x9100))
# Provider bridges stack two tags; a frame of nothing but tags is not worth walking.
_MAX_TAGS = 4

_FAMILIES_IPV4 = frozenset((2,))
# Linux 10, Windows 23, NetBSD and OpenBSD 24, FreeBSD 28, Darwin 30.
_FAMILIES_IPV6 = frozenset((10, 23, 24, 28, 30))

_NEXT_HOP_BY_HOP = 0
_NEXT_ROUTING = 43
_NEXT_FRAGMENT = 44
_NEXT_DESTINATION = 60
# RFC 8200, 4.1 knows an order of four before the payload, one of them twice.
_MAX_EXTENSIONS = 8


def parse(link: int, data: bytes) -> Frame | Skip:
    """Finds the UDP datagram in a captured frame of a link type, or says why there is none.

    Checksums are not verified: hardware fills them in after the capture saw the frame.
    """
    if link in _LINKS_RAW:
        return _by_version(data, 0)
    if link == Link.ETHERNET:
        return _by_ethertype(data, 12)
    if link == Link.LINUX_COOKED:
        return _by_ethertype(data, 14)
    if link == Link.LINUX_COOKED_2:
        ethertype = int.from_bytes(data[:2], "big")
        return _network(ethertype, data, 20) if len(data) >= 20 else Skip.CUT_SHORT
    if link in (Link.NULL, Link.LOOP):
        if len(data) < 4:
            return Skip.CUT_SHORT
        family = int.from_bytes(data[:4], "big")
        if link == Link.NULL and family > 0xFFFF:
            family = int.from_bytes(data[:4], "little")
        if family in _FAMILIES_IPV4:
            return _ipv4(data, 4)
        return _ipv6(data, 4) if family in _FAMILIES_IPV6 else Skip.NOT_IP
    return Skip.UNKNOWN_LINK


def _by_version(data: bytes, start: int) -> Frame | Skip:
    if len(data) <= start:
        return Skip.CUT_SHORT
    return _ipv6(data, start) if data[start] >> 4 == 6 else _ipv4(data, start)


def _by_ethertype(data: bytes, start: int) -> Frame | Skip:
    for position in range(start, start + 4 * _MAX_TAGS + 1, 4):
        if len(data) < position + 2:
            return Skip.CUT_SHORT
        ethertype = int.from_bytes(data[position : position + 2], "big")
        if ethertype not in _ETHERTYPES_VLAN:
            return _network(ethertype, data, position + 2)
    return Skip.TOO_MANY_HEADERS


def _network(ethertype: int, data: bytes, start: int) -> Frame | Skip:
    if ethertype == _ETHERTYPE_IPV4:
        return _ipv4(data, start)
    return _ipv6(data, start) if ethertype == _ETHERTYPE_IPV6 else Skip.NOT_IP


def _ipv4(data: bytes, start: int) -> Frame | Skip:
    if len(data) < start + 20:
        return Skip.CUT_SHORT
    first, total, fragment, ttl, protocol, source, destination = _IPV4.unpack_from(data, start)
    if first >> 4 != 4:
        return Skip.NOT_IP
    size = (first & 15) * 4
    if size < 20 or total < size:
        return Skip.BAD_LENGTH
    if protocol != UDP:
        return Skip.NOT_UDP
    # More fragments follow, or this is not the first one.
    if fragment & 0x3FFF:
        return Skip.FRAGMENT
    return _udp(data, start + size, start + total, source, destination, ttl)


def _ipv6(data: bytes, start: int) -> Frame | Skip:
    if len(data) < start + 40:
        return Skip.CUT_SHORT
    first, size, following, ttl, source, destination = _IPV6.unpack_from(data, start)
    if first >> 28 != 6:
        return Skip.NOT_IP
    position = start + 40
    end = position + size
    for _ in range(_MAX_EXTENSIONS + 1):
        if following == UDP:
            return _udp(data, position, end, source, destination, ttl)
        if following == _NEXT_FRAGMENT:
            if len(data) < position + 8:
                return Skip.CUT_SHORT
            # Offset 0 and no more to follow: a whole datagram all the same (RFC 6946).
            if int.from_bytes(data[position + 2 : position + 4], "big") & 0xFFF9:
                return Skip.FRAGMENT
            length = 8
        elif following in (_NEXT_HOP_BY_HOP, _NEXT_ROUTING, _NEXT_DESTINATION):
            if len(data) < position + 2:
                return Skip.CUT_SHORT
            length = (data[position + 1] + 1) * 8
        else:
            return Skip.NOT_UDP
        if position + length > end:
            return Skip.BAD_LENGTH
        if position + length > len(data):
            return Skip.CUT_SHORT
        following = data[position]
        position += length
    return Skip.TOO_MANY_HEADERS


def _udp(
    data: bytes, start: int, end: int, source: bytes, destination: bytes, ttl: int
) -> Frame | Skip:
    if end < start + 8:
        return Skip.BAD_LENGTH
    if len(data) < start + 8:
        return Skip.CUT_SHORT
    source_port, destination_port, length, _ = _UDP.unpack_from(data, start)
    # What follows a shorter datagram within its IP datagram is not payload (RFC 9868).
    if length < 8 or start + length > end:
        return Skip.BAD_LENGTH
    if start + length > len(data):
        return Skip.CUT_SHORT
    payload = data[start + 8 : start + length]
    return Frame(source, source_port, destination, destination_port, ttl, payload)
