"""The pcapng format (draft-ietf-opsawg-pcapng): its numbers, and the blocks around the frames.

A block is its type, its length, a body with options at the end, and its length again; all parts
are padded to 32 bits. The blocks made here are big-endian.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address

from bcast.capture.frames import Link
from bcast.datagram import Interface

__all__ = [
    "BYTE_ORDER_MAGIC",
    "Block",
    "InterfaceOption",
    "SectionOption",
    "StatisticsOption",
    "interface_block",
    "section_block",
    "statistics_block",
]

# Nobody looks at more addresses of an interface in a capture; it bounds the description block.
_MAX_ADDRESSES = 256

# An option's length has 16 bits; no name that anybody gave is longer than this.
_MAX_TEXT = 1024

# Nanoseconds: 10 to the minus 9 seconds.
_RESOLUTION = 9

#: The first field of a section header's body, in the byte order of the section.
BYTE_ORDER_MAGIC = 0x1A2B3C4D


class Block(enum.IntEnum):
    """Block types (section 4)."""

    #: Starts a section; the same in both byte orders, since it says which one follows.
    SECTION = 0x0A0D0D0A
    #: An interface; the blocks after it refer to it by its position in the section.
    INTERFACE = 1
    #: A frame as libpcap's old draft had it, with a 16-bit interface number.
    OBSOLETE_FRAME = 2
    #: A frame of interface 0 without a time.
    SIMPLE_FRAME = 3
    #: What an interface's capture counted.
    STATISTICS = 5
    #: A frame with its interface, time and lengths.
    ENHANCED_FRAME = 6


class SectionOption(enum.IntEnum):
    """Options of a section header (section 4.1)."""

    #: The machine that captured.
    HARDWARE = 2
    #: Its operating system.
    SYSTEM = 3
    #: The program that wrote the file.
    APPLICATION = 4


class InterfaceOption(enum.IntEnum):
    """Options of an interface description (section 4.2)."""

    #: The system's name of the interface.
    NAME = 2
    #: An IPv4 address and its network mask.
    IPV4_ADDRESS = 4
    #: An IPv6 address and its prefix length.
    IPV6_ADDRESS = 5
    #: The hardware address, 6 bytes.
    HARDWARE_ADDRESS = 6
    #: The unit of times: 10 to the minus N seconds, or 2 to the minus N with the high bit set.
    RESOLUTION = 9
    #: Seconds to add to every time, signed.
    OFFSET = 14


class StatisticsOption(enum.IntEnum):
    """Options of interface statistics (section 4.6)."""

    #: When the capture started.
    START = 2
    #: When it ended.
    END = 3
    #: How many frames arrived.
    RECEIVED = 4
    #: How many the interface or its driver dropped.
    INTERFACE_DROPPED = 5
    #: How many the system dropped because its buffer was full.
    SYSTEM_DROPPED = 7
    #: How many reached the program.
    DELIVERED = 8


def section_block(hardware: str, system: str, application: str) -> bytes:
    """Starts a section of unknown length; empty texts are left out."""
    options = (
        (SectionOption.HARDWARE, _text(hardware)),
        (SectionOption.SYSTEM, _text(system)),
        (SectionOption.APPLICATION, _text(application)),
    )
    return _block(Block.SECTION, struct.pack(">IHHq", BYTE_ORDER_MAGIC, 1, 0, -1), options)


def interface_block(interface: Interface) -> bytes:
    """Describes an interface whose frames are bare IP, with times in nanoseconds."""
    options = [(InterfaceOption.NAME, _text(interface.name))]
    for assigned in interface.addresses[:_MAX_ADDRESSES]:
        address = assigned.address
        if isinstance(address, IPv4Address):
            value = address.packed + assigned.network.netmask.packed
            options.append((InterfaceOption.IPV4_ADDRESS, value))
        else:
            value = address.packed + bytes((assigned.prefix_length,))
            options.append((InterfaceOption.IPV6_ADDRESS, value))
    options.append((InterfaceOption.HARDWARE_ADDRESS, _ethernet(interface.hardware_address)))
    options.append((InterfaceOption.RESOLUTION, bytes((_RESOLUTION,))))
    # A snap length of 0 is none.
    return _block(Block.INTERFACE, struct.pack(">HHI", Link.RAW, 0, 0), options)


def statistics_block(
    number: int, delivered: int, drops: int, start_ns: int | None, end_ns: int | None
) -> bytes:
    """What was counted of interface ``number`` between two times, where they are known."""
    options = (
        (StatisticsOption.START, b"" if start_ns is None else struct.pack(">Q", start_ns)),
        (StatisticsOption.END, b"" if end_ns is None else struct.pack(">Q", end_ns)),
        (StatisticsOption.RECEIVED, struct.pack(">Q", delivered + drops)),
        (StatisticsOption.SYSTEM_DROPPED, struct.pack(">Q", drops)),
        (StatisticsOption.DELIVERED, struct.pack(">Q", delivered)),
    )
    body = struct.pack(">IQ", number, end_ns or start_ns or 0)
    return _block(Block.STATISTICS, body, options)


def _block(kind: Block, body: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    packed = [body]
    for option, value in options:
        if value:
            packed.append(struct.pack(">HH", option, len(value)) + value + bytes(-len(value) % 4))
    if len(packed) > 1:
        packed.append(bytes(4))
    whole = b"".join(packed)
    size = struct.pack(">I", 12 + len(whole))
    return struct.pack(">I", kind) + size + whole + size


def _text(text: str) -> bytes:
    return text[:_MAX_TEXT].encode("utf-8", "replace")


def _ethernet(text: str | None) -> bytes:
    """The 6 bytes of an Ethernet address; nothing for the other kinds, which have no option."""
    try:
        packed = bytes.fromhex((text or "").replace(":", ""))
    except ValueError:
        return b""
    return packed if len(packed) == 6 else b""
