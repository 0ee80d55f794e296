"""The two formats of captures, as streams of frames.

`read_pcapng` follows draft-ietf-opsawg-pcapng, in both byte orders and with any number of
sections, `read_pcap` draft-ietf-opsawg-pcap, in both byte orders, with micro- or nanoseconds.
Memory doesn't grow with the file. Both raise `CaptureError` for what is damaged and
`TruncatedError` where the file ends in the middle of something.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bcast.capture.blocks import BYTE_ORDER_MAGIC, Block, InterfaceOption, StatisticsOption
from bcast.capture.input import Input
from bcast.datagram import Address, Interface, InterfaceFlag, Kind, address_of

__all__ = ["PCAP_MAGICS", "Captured", "Source", "read_pcap", "read_pcapng"]

# A length that lies must not make us ask for all the memory: no capture tool writes such blocks.
_MAX_BLOCK = 16 * 1024 * 1024

# Descriptions, their names and addresses are all that is kept of a section.
_MAX_INTERFACES = 4096
_MAX_ADDRESSES = 64
_MAX_NAME = 255

# The largest IP datagram. A capture doesn't tell the MTU.
_MTU = 65_535

_SECOND = 1_000_000_000

#: The first four bytes of a pcap file: byte order, and nanoseconds in its unit of time.
PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}


class Source:
    """An interface of a capture: how its frames and times are to be read, and what it lost."""

    __slots__ = ("drops", "interface", "link", "offset_ns", "per_second", "snap_length")

    def __init__(self, interface: Interface, link: int, snap_length: int) -> None:
        self.interface = interface
        self.link = link
        #: 0 means no limit.
        self.snap_length = snap_length
        #: Ticks of its clock.
        self.per_second = 1_000_000
        self.offset_ns = 0
        self.drops = 0

    def time_ns(self, ticks: int) -> int:
        return ticks * _SECOND // self.per_second + self.offset_ns


class Captured(NamedTuple):
    """A frame as it was on its link, with its time in nanoseconds since 1970 UTC."""

    source: Source
    time_ns: int
    data: bytes


def read_pcap(file: Input, order: str, unit: int) -> Iterator[Captured]:
    """The frames of a pcap file, after its first four bytes (see `PCAP_MAGICS`)."""
    major, _, _, _, snap_length, link = struct.unpack(order + "HHiIII", file.read(20))
    if major != 2:
        raise file.damaged(f"version {major} of the format", 4)
    # The upper bits tell how long the frame check sequences are.
    source = Source(_interface("capture0", 1), link & 0xFFFF, snap_length)
    record = struct.Struct(order + "IIII")
    while head := file.read_head(16):
        seconds, fraction, size, _ = record.unpack(head)
        if size > _MAX_BLOCK:
            raise file.damaged(f"a frame of {size} bytes", file.offset - 16)
        yield Captured(source, seconds * _SECOND + fraction * unit, file.read(size))


def read_pcapng(file: Input, count_drops: Callable[[int], None]) -> Iterator[Captured]:
    """The frames of a pcapng file, after its first four bytes.

    ``count_drops`` is called with how many more datagrams the file says were lost.
    """
    section = _Section(">", 0)
    head = Block.SECTION.to_bytes(4, "big") + file.read(4)
    while head:
        start = file.offset - 8
        begin = b""
        if head[:4] == Block.SECTION.to_bytes(4, "big"):
            begin = file.read(4)
            section = _Section(
                _byte_order(file, begin, start), section.first + len(section.sources)
            )
        kind, size = struct.unpack(section.order + "II", head)
        if size % 4 or not 12 + len(begin) <= size <= _MAX_BLOCK:
            raise file.damaged(f"a block of {size} bytes", start)
        rest = file.read(size - 8 - len(begin))
        if rest[-4:] != head[4:]:
            raise file.damaged("a block with two lengths", start)
        try:
            captured = section.take(kind, begin + rest[:-4], count_drops)
        except _DamageError as error:
            raise file.damaged(str(error), start) from None
        except struct.error:
            raise file.damaged("a block too short for its kind", start) from None
        if captured is not None:
            yield captured
        head = file.read_head(8)


def _byte_order(file: Input, magic: bytes, start: int) -> str:
    for order in "><":
        if struct.unpack(order + "I", magic)[0] == BYTE_ORDER_MAGIC:
            return order
    raise file.damaged("a section without byte order", start)


class _DamageError(Exception):
    """What is wrong with a block."""


class _Section:
    """A section of a pcapng file: byte order, and the interfaces described so far.

    ``first`` is how many interfaces the sections before it had.
    """

    def __init__(self, order: str, first: int) -> None:
        self.order = order
        self.first = first
        self.sources: list[Source] = []
        self._enhanced = struct.Struct(order + "IIII4x")
        self._obsolete = struct.Struct(order + "H2xIII4x")

    def take(self, kind: int, body: bytes, count_drops: Callable[[int], None]) -> Captured | None:
        """Takes in a block; returns the frame in it, if it has one.

        Raises `_DamageError` or `struct.error`.
        """
        if kind == Block.ENHANCED_FRAME:
            return self._frame(body, *self._enhanced.unpack_from(body))
        if kind == Block.OBSOLETE_FRAME:
            return self._frame(body, *self._obsolete.unpack_from(body))
        if kind == Block.SIMPLE_FRAME:
            source = self._source(0)
            (size,) = struct.unpack_from(self.order + "I", body)
            return Captured(source, 0, _data(body, 4, min(size, source.snap_length or size)))
        if kind == Block.INTERFACE:
            self._describe(body)
        elif kind == Block.STATISTICS:
            (number,) = struct.unpack_from(self.order + "I8x", body)
            source = self._source(number)
            drops = self._drops(body)
            count_drops(drops - source.drops)
            source.drops = drops
        elif kind == Block.SECTION:
            (major,) = struct.unpack_from(self.order + "4xH10x", body)
            if major != 1:
                raise _DamageError(f"version {major} of the format")
        return None

    def _frame(self, body: bytes, number: int, high: int, low: int, size: int) -> Captured:
        source = self._source(number)
        # Both kinds of block have 20 bytes before the frame.
        return Captured(source, source.time_ns(high << 32 | low), _data(body, 20, size))

    def _source(self, number: int) -> Source:
        if number >= len(self.sources):
            raise _DamageError(f"interface {number}, which isn't described,")
        return self.sources[number]

    def _options(self, body: bytes, start: int) -> Iterator[tuple[int, bytes]]:
        while start < len(body):
            code, size = struct.unpack_from(self.order + "HH", body, start)
            if code == 0:
                return
            yield code, _data(body, start + 4, size)
            start += 4 + size + -size % 4

    def _describe(self, body: bytes) -> None:
        if len(self.sources) >= _MAX_INTERFACES:
            raise _DamageError(f"more than {_MAX_INTERFACES} interfaces")
        link, snap_length = struct.unpack_from(self.order + "H2xI", body)
        number = len(self.sources)
        index = self.first + number + 1
        name, hardware_address, resolution, offset = "", None, 6, 0
        addresses: list[tuple[bytes, int]] = []
        for code, value in self._options(body, 8):
            size = len(value)
            if code == InterfaceOption.NAME:
                name = _printable(value)
            elif code == InterfaceOption.IPV4_ADDRESS and size == 8:
                mask = int.from_bytes(value[4:], "big")
                addresses.append((value[:4], mask.bit_count()))
            elif code == InterfaceOption.IPV6_ADDRESS and size == 17 and value[16] <= 128:
                addresses.append((value[:16], value[16]))
            elif code == InterfaceOption.HARDWARE_ADDRESS and size == 6:
                hardware_address = value.hex(":")
            elif code == InterfaceOption.RESOLUTION and size == 1:
                resolution = value[0]
            elif code == InterfaceOption.OFFSET and size == 8:
                (offset,) = struct.unpack(self.order + "q", value)
        name = name or f"capture{number}"
        assigned = tuple(
            Address(address_of(packed, name, index), length)
            for packed, length in addresses[:_MAX_ADDRESSES]
        )
        source = Source(_interface(name, index, hardware_address, assigned), link, snap_length)
        exponent = resolution & 0x7F
        source.per_second = 1 << exponent if resolution & 0x80 else 10**exponent
        source.offset_ns = offset * _SECOND
        self.sources.append(source)

    def _drops(self, body: bytes) -> int:
        drops = 0
        for code, value in self._options(body, 12):
            dropped = (StatisticsOption.INTERFACE_DROPPED, StatisticsOption.SYSTEM_DROPPED)
            if code in dropped and len(value) == 8:
                drops += struct.unpack(self.order + "Q", value)[0]
        return drops


def _data(body: bytes, start: int, size: int) -> bytes:
    if start + size > len(body):
        raise _DamageError(f"{size} bytes in a block of {len(body) + 12}")
    return body[start : start + size]


def _printable(value: bytes) -> str:
    """A name that can be shown on a terminal."""
    text = value[:_MAX_NAME].rstrip(b"\0").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text)


def _interface(
    name: str,
    index: int,
    hardware_address: str | None = None,
    addresses: tuple[Address, ...] = (),
) -> Interface:
    return Interface(name, index, Kind.OTHER, InterfaceFlag(0), _MTU, hardware_address, addresses)
