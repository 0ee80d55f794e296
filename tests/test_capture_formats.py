"""`bcast.capture.formats`: pcap and pcapng of every make, and what is damaged in one."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from bcast.capture.formats import (
    PCAP_MAGICS,
    Captured,
    read_pcap,
    read_pcapng,
)
from bcast.capture.input import Input, TruncatedError
from bcast.datagram import Address, InterfaceFlag, Kind, address_of
from bcast.errors import CaptureError
from tests.test_capture_frames import IPV4

ORDERS = pytest.mark.parametrize("order", ["<", ">"])
Options = list[tuple[int, bytes]]


class Maker:
    """Makes the blocks of a byte order."""

    def __init__(self, order: str) -> None:
        self.order = order

    def block(self, kind: int, body: bytes, options: Options | None = None) -> bytes:
        for code, value in options or []:
            body += struct.pack(self.order + "HH", code, len(value)) + value
            body += bytes(-len(value) % 4)
        if options:
            body += bytes(4)
        size = struct.pack(self.order + "I", 12 + len(body))
        return struct.pack(self.order + "I", kind) + size + body + size

    def section(self, options: Options | None = None, major: int = 1, length: int = -1) -> bytes:
        body = struct.pack(self.order + "IHHq", 0x1A2B3C4D, major, 0, length)
        return self.block(0x0A0D0D0A, body, options)

    def interface(self, options: Options | None = None, link: int = 101, snap: int = 0) -> bytes:
        return self.block(1, struct.pack(self.order + "HHI", link, 0, snap), options)

    def frame(self, data: bytes, ticks: int = 0, number: int = 0, size: int = -1) -> bytes:
        size = len(data) if size < 0 else size
        body = struct.pack(
            self.order + "IIIII", number, ticks >> 32, ticks & (1 << 32) - 1, size, 0
        )
        return self.block(6, body + data + bytes(-len(data) % 4))

    def statistics(self, number: int, options: Options) -> bytes:
        return self.block(5, struct.pack(self.order + "I8x", number), options)

    def number(self, value: int) -> bytes:
        return struct.pack(self.order + "Q", value)


def pcapng(data: bytes, drops: list[int] | None = None) -> Iterator[Captured]:
    file = Input(io.BytesIO(data))
    assert file.read(4) == b"\x0a\x0d\x0d\x0a"
    return read_pcapng(file, (drops if drops is not None else []).append)


def pcap(data: bytes) -> Iterator[Captured]:
    file = Input(io.BytesIO(data))
    return read_pcap(file, *PCAP_MAGICS[file.read(4)])


@ORDERS
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap(order: str, magic: int, unit: int) -> None:
    # The check sequence's length is in the upper bits of the link type.
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 0x5000_0000 | 101)
    records = b"".join(
        struct.pack(order + "IIII", 10, number, len(IPV4), len(IPV4)) + IPV4 for number in range(3)
    )
    frames = list(pcap(head + records))
    assert [f.data for f in frames] == [IPV4] * 3
    assert [f.time_ns for f in frames] == [10**10 + number * unit for number in range(3)]
    source = frames[0].source
    assert (source.interface.name, source.interface.index, source.link) == ("capture0", 1, 101)
    assert all(f.source is source for f in frames)


def test_damaged_pcap() -> None:
    with pytest.raises(CaptureError, match="version 3 of the format at byte 4"):
        list(pcap(struct.pack(">IHHiIII", 0xA1B2C3D4, 3, 0, 0, 0, 0, 1)))
    head = struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 1)
    record = struct.pack(">IIII", 0, 0, 4, 4) + b"data"
    lie = struct.pack(">IIII", 0, 0, (16 << 20) + 1, 0) + b"data"
    frames = pcap(head + record + lie)
    next(frames)
    with pytest.raises(CaptureError, match="a frame of 16777217 bytes at byte 44"):
        next(frames)
    for end in range(45, 64):
        frames = pcap((head + record * 2)[:end])
        next(frames)
        with pytest.raises(TruncatedError):
            next(frames)


@ORDERS
def test_every_block_that_holds_a_frame(order: str) -> None:
    make = Maker(order)
    obsolete = struct.pack(order + "HHIIII", 1, 9, 2, 3, len(IPV4), len(IPV4))
    data = (
        make.section([(1, b"a comment")])
        + make.interface(snap=20)
        + make.interface()
        + make.frame(IPV4, 7, 1)
        + make.block(2, obsolete + IPV4 + bytes(-len(IPV4) % 4))
        + make.block(3, struct.pack(order + "I", len(IPV4)) + IPV4[:20])
        + make.block(3, struct.pack(order + "I", 5) + IPV4[:8])
        # Names, a custom block, and one that nobody knows.
        + make.block(4, bytes(4))
        + make.block(0xBAD, b"\0\0\0\x01data")
        + make.block(0x8000_1234, b"")
    )
    frames = list(pcapng(data))
    assert [(f.source.interface.index, f.time_ns, f.data) for f in frames] == [
        (2, 7000, IPV4),
        (2, (2 << 32 | 3) * 1000, IPV4),
        (1, 0, IPV4[:20]),
        (1, 0, IPV4[:5]),
    ]


@ORDERS
@pytest.mark.parametrize(
    ("resolution", "ticks", "time_ns"),
    [
        (None, 1_000_001, 1_000_001_000),
        (6, 1_000_001, 1_000_001_000),
        (9, 1_000_001, 1_000_001),
        (0, 2**32 + 1, (2**32 + 1) * 10**9),
        (3, 1, 1_000_000),
        (12, 123_456_789_012, 123_456_789),
        (127, 2**64 - 1, 0),
        (0x80, 3, 3 * 10**9),
        (0x80 | 10, 1025, 1_000_976_562),
        (0x80 | 32, 3 << 31, 1_500_000_000),
        (0xFF, 2**64 - 1, 0),
    ],
)
def test_units_of_time(order: str, resolution: int | None, ticks: int, time_ns: int) -> None:
    make = Maker(order)
    options = [] if resolution is None else [(9, bytes((resolution,)))]
    for offset in (0, 5, -5):
        more = [(14, struct.pack(order + "q", offset))] if offset else []
        data = make.section() + make.interface([*options, *more]) + make.frame(IPV4, ticks)
        (frame,) = pcapng(data)
        assert frame.time_ns == time_ns + offset * 10**9


@ORDERS
def test_descriptions_of_interfaces(order: str) -> None:
    make = Maker(order)
    options = [
        (1, b"a comment"),
        (2, "wlan\u00fc".encode()),
        (4, bytes((192, 0, 2, 5, 255, 255, 255, 128))),
        (5, ip_address("fe80::1").packed + b"\x40"),
        (6, bytes.fromhex("02005e005301")),
        (12, b"Linux"),
    ]
    (frame,) = pcapng(make.section() + make.interface(options) + make.frame(IPV4))
    interface = frame.source.interface
    assert (interface.name, interface.index, interface.kind) == ("wlan\u00fc", 1, Kind.OTHER)
    assert interface.flags == InterfaceFlag(0)
    assert interface.hardware_address == "02:00:5e:00:53:01"
    assert interface.addresses == (
        Address(ip_address("192.0.2.5"), 25),
        Address(ip_address("fe80::1%wlan\u00fc"), 64),
    )


def test_names_cannot_reach_the_terminal_or_grow() -> None:
    make = Maker("<")
    names = [b"\x1b[31mred\n\0", b"", b"\xff\xfe", b"x" * 5000, b"\0"]
    data = make.section() + b"".join(make.interface([(2, name)]) for name in names)
    data += b"".join(make.frame(IPV4, 0, number) for number in range(len(names)))
    got = [f.source.interface.name for f in pcapng(data)]
    assert got == ["?[31mred?", "capture1", "\ufffd\ufffd", "x" * 255, "capture4"]


def test_many_addresses_are_bounded() -> None:
    make = Maker("<")
    options = [(4, bytes((10, 0, 0, number, 255, 0, 0, 0))) for number in range(256)]
    (frame,) = pcapng(make.section() + make.interface(options) + make.frame(IPV4))
    assert len(frame.source.interface.addresses) == 64


def test_options_of_unexpected_length_are_passed_over() -> None:
    make = Maker("<")
    options = [(4, b"123"), (5, b"123"), (6, b"12345678"), (9, b"12"), (14, b"1234")]
    options.append((5, bytes(16) + b"\x81"))
    (frame,) = pcapng(make.section() + make.interface(options) + make.frame(IPV4, 1))
    interface = frame.source.interface
    assert (interface.addresses, interface.hardware_address) == ((), None)
    assert frame.time_ns == 1000


def test_sections_of_both_byte_orders() -> None:
    little, big = Maker("<"), Maker(">")
    data = b""
    for make in (little, big, little):
        data += make.section(length=1234) + make.interface([(2, b"a")]) + make.interface()
        data += make.frame(IPV4, 1, 0) + make.frame(IPV4, 1, 1)
    frames = list(pcapng(data))
    assert [f.source.interface.index for f in frames] == [1, 2, 3, 4, 5, 6]
    assert [f.source.interface.name for f in frames] == ["a", "capture1"] * 3
    # An interface of the section before is none of this one.
    with pytest.raises(CaptureError, match="interface 0"):
        list(pcapng(data + big.section() + big.frame(IPV4)))


@ORDERS
def test_drops_are_those_of_the_last_statistics(order: str) -> None:
    make = Maker(order)
    drops: list[int] = []
    data = make.section() + make.interface() * 2
    data += make.statistics(0, [(4, make.number(50)), (7, make.number(3))])
    data += make.statistics(1, [(5, make.number(1)), (7, make.number(10))])
    data += make.statistics(0, [(7, make.number(5)), (8, make.number(2))])
    data += make.statistics(0, [(7, b"odd"), (5, make.number(6))])
    assert list(pcapng(data, drops)) == []
    assert sum(drops) == 6 + 11


_MAKE = Maker("<")
_BEGIN = _MAKE.section() + _MAKE.interface()


@pytest.mark.parametrize(
    ("block", "what"),
    [
        (struct.pack("<II", 6, 8), "a block of 8 bytes"),
        (struct.pack("<II", 6, 0), "a block of 0 bytes"),
        (struct.pack("<II", 6, 33) + bytes(40), "a block of 33 bytes"),
        (struct.pack("<II", 6, (16 << 20) + 4), "a block of 16777220 bytes"),
        (
            struct.pack("<II", 99, 16) + bytes(4) + struct.pack("<I", 12),
            "a block with two lengths",
        ),
        (_MAKE.frame(IPV4, 0, 1), "interface 1, which isn't described,"),
        (_MAKE.frame(IPV4, 0, 0xFFFFFFFF), "interface 4294967295, which isn't described,"),
        (_MAKE.frame(b"data", size=5), "5 bytes in a block of 36"),
        (_MAKE.frame(b"data", size=0xFFFFFFFF), "4294967295 bytes in a block of 36"),
        (_MAKE.block(3, struct.pack("<I", 5) + b"data"), "5 bytes in a block of 20"),
        (_MAKE.block(6, bytes(16)), "a block too short for its kind"),
        (_MAKE.block(3, b""), "a block too short for its kind"),
        (_MAKE.block(2, bytes(16)), "a block too short for its kind"),
        (_MAKE.block(5, bytes(8)), "a block too short for its kind"),
        (_MAKE.block(1, bytes(4)), "a block too short for its kind"),
        (_MAKE.block(5, bytes(3) + b"\x01" + bytes(8)), "interface 16777216, which isn't"),
        (_MAKE.block(1, bytes(8) + b"\x02\0\x05\0data"), "5 bytes in a block of 28"),
        (_MAKE.block(1, bytes(8) + b"\x02\0\xff\xffdata"), "65535 bytes in a block of 28"),
        (_MAKE.block(0x0A0D0D0A, bytes(16)), "a section without byte order"),
        (_MAKE.block(0x0A0D0D0A, b"\x4d\x3c\x2b\x1a"), "a block too short for its kind"),
        (struct.pack("<IIII", 0x0A0D0D0A, 12, 0x1A2B3C4D, 12), "a block of 12 bytes"),
        (_MAKE.section(major=2), "version 2 of the format"),
        (_MAKE.interface() * 4096, "more than 4096 interfaces"),
    ],
)
def test_damaged_pcapng(block: bytes, what: str) -> None:
    start = len(_BEGIN) + (len(block) * 4095 // 4096 if "more" in what else 0)
    with pytest.raises(CaptureError) as caught:
        list(pcapng(_BEGIN + block))
    assert str(caught.value).startswith(f"the capture is damaged: {what}")
    assert str(caught.value).endswith(f" at byte {start}")


def test_a_pcapng_file_may_end_anywhere() -> None:
    data = _BEGIN + _MAKE.frame(IPV4) * 2
    ends = {28, len(_BEGIN), len(data) - len(_MAKE.frame(IPV4))}
    for end in range(4, len(data)):
        frames = pcapng(data[:end])
        if end in ends:
            list(frames)
        else:
            with pytest.raises(TruncatedError):
                list(frames)


@pytest.mark.parametrize(
    ("address", "name", "expected"),
    [
        ("192.0.2.1", "eth0", "192.0.2.1"),
        ("2001:db8::1", "eth0", "2001:db8::1"),
        ("fe80::1", "eth0", "fe80::1%eth0"),
        ("febf::1", "eth0", "febf::1%eth0"),
        ("ff02::1", "eth0", "ff02::1%eth0"),
        ("ff11::1", "eth0", "ff11::1%eth0"),
        ("ff05::1", "eth0", "ff05::1"),
        ("fe80::1", "Ethernet 100%", "fe80::1%7"),
        ("fe80::1", "a/b", "fe80::1%7"),
    ],
)
def test_link_local_addresses_have_a_scope(address: str, name: str, expected: str) -> None:
    assert str(address_of(ip_address(address).packed, name, 7)) == expected
