"""`bcast.capture.reading`: what was written is read, and nothing that is read can hurt."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.capture import CaptureReader, CaptureWriter
from bcast.capture.frames import Skip
from bcast.datagram import Datagram, Endpoint, Interface, InterfaceFlag, Kind, address_of
from bcast.errors import CaptureError
from bcast.sockets.batch import Batch
from tests.strategies import batches, hostile_names, interface_names
from tests.test_capture_formats import Maker
from tests.test_capture_frames import IPV4, MACS

ROOT = Path(__file__).parent.parent

INTERFACES = [
    Interface(name, index, Kind.OTHER, InterfaceFlag(0), 65_535, hardware_address)
    for index, (name, hardware_address) in enumerate(
        [("eth0", "02:00:5e:00:53:01"), ("wlan0", None), ("Ethernet 2", None)], 1
    )
]


@st.composite
def datagrams(draw: st.DrawFn) -> Datagram:
    """Any datagram, with the scopes that its interface gives to its addresses."""
    interface = draw(st.sampled_from(INTERFACES))
    size = draw(st.sampled_from([4, 16]))
    special = [ip_address(a) for a in ("255.255.255.255", "239.1.2.3", "fe80::1", "ff02::fb")]
    packed = st.one_of(
        st.binary(min_size=size, max_size=size),
        st.sampled_from([a.packed for a in special if len(a.packed) == size]),
    )
    endpoints = [
        Endpoint(
            address_of(draw(packed), interface.name, interface.index),
            draw(st.integers(0, 65_535)),
        )
        for _ in range(2)
    ]
    payload = draw(
        st.one_of(
            st.binary(max_size=300),
            st.integers(0, 65_507).map(lambda length: (bytes(range(256)) * 256)[:length]),
        )
    )
    ttl = draw(st.one_of(st.none(), st.integers(1, 255)))
    return Datagram(
        payload, endpoints[0], endpoints[1], interface, draw(st.integers(0, 2**64 - 1)), ttl
    )


def written(values: list[Datagram]) -> bytes:
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        for interface in INTERFACES:
            writer.drops(interface, interface.index)
        for one in values:
            writer.write(one)
    return file.getvalue()


@given(st.lists(datagrams(), max_size=10))
def test_what_was_written_is_read(values: list[Datagram]) -> None:
    reader = CaptureReader(io.BytesIO(written(values)))
    assert list(reader) == values
    assert (reader.drops, reader.skipped, reader.truncated) == (1 + 2 + 3, Counter(), False)


@given(st.lists(batches(st.one_of(interface_names, hostile_names)), max_size=4))
def test_what_was_received_is_read(received: list[Batch]) -> None:
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        for batch in received:
            writer.write_batch(batch.interface, batch.port, batch.rows)
    file.seek(0)
    got = list(CaptureReader(file))
    expected = [one for batch in received for one in batch.datagrams()]
    assert len(got) == len(expected)
    described: dict[tuple[int, str, str | None], Interface] = {}
    for one, same in zip(got, expected, strict=True):
        assert (one.payload, one.time_ns) == (same.payload, same.time_ns)
        # 0 is how an unknown TTL is written.
        assert one.ttl == (same.ttl or None)
        for end, other in ((one.source, same.source), (one.destination, same.destination)):
            assert (end.address.packed, end.port) == (other.address.packed, other.port)
        ours, theirs = one.interface, same.interface
        assert ours.hardware_address == theirs.hardware_address
        assert ours.name.isprintable()
        if theirs.name.isascii() and theirs.name.isprintable():
            assert ours.name == theirs.name
            assert (one.source, one.destination) == (same.source, same.destination)
            # It is described as it was when it was seen first.
            key = theirs.index, theirs.name, theirs.hardware_address
            first = described.setdefault(key, theirs)
            assert [(a.address, a.prefix_length) for a in ours.addresses] == [
                (a.address, a.prefix_length) for a in first.addresses
            ]


def ethernet(*frames: bytes, order: str = "<") -> bytes:
    """A pcap file as tcpdump writes it."""
    data = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
    for number, frame in enumerate(frames):
        data += struct.pack(order + "IIII", 1_700_000_000, number, len(frame), len(frame)) + frame
    return data


def test_a_capture_of_another_tool() -> None:
    arp = MACS + b"\x08\x06" + bytes(46)
    tcp = MACS + b"\x08\x00" + IPV4[:9] + b"\x06" + IPV4[10:]
    fragment = MACS + b"\x08\x00" + IPV4[:6] + b"\x20\x00" + IPV4[8:]
    udp = (MACS + b"\x08\x00" + IPV4).ljust(60, b"\0")
    reader = CaptureReader(io.BytesIO(ethernet(arp, udp, tcp, arp, fragment, udp[:30], udp)))
    got = list(reader)
    assert [(str(d.source), str(d.destination), d.payload, d.ttl) for d in got] == [
        ("192.0.2.1:1000", "255.255.255.255:28232", b"hello", 64)
    ] * 2
    assert [d.time_ns for d in got] == [1_700_000_000_000_001_000, 1_700_000_000_000_006_000]
    assert {(d.interface.name, d.interface.index) for d in got} == {("capture0", 1)}
    assert reader.skipped == {
        Skip.NOT_IP: 2,
        Skip.NOT_UDP: 1,
        Skip.FRAGMENT: 1,
        Skip.CUT_SHORT: 1,
    }
    assert not reader.truncated


def test_link_types_and_times_that_cannot_be() -> None:
    make = Maker("<")
    data = make.section() + make.interface(link=147) + make.interface([(9, b"\0")])
    data += make.interface([(14, struct.pack("<q", -1))])
    data += make.frame(IPV4) + make.frame(IPV4, 1 << 36, 1) + make.frame(IPV4, 0, 2)
    reader = CaptureReader(io.BytesIO(data + make.frame(IPV4, 1, 1)))
    assert [d.time_ns for d in reader] == [10**9]
    assert reader.skipped == {Skip.UNKNOWN_LINK: 1, Skip.BAD_TIME: 2}


def test_a_capture_that_ends_in_the_middle() -> None:
    data = ethernet(MACS + b"\x08\x00" + IPV4, MACS + b"\x08\x00" + IPV4)
    record = (len(data) - 24) // 2
    for end in range(4, len(data)):
        reader = CaptureReader(io.BytesIO(data[:end]))
        assert len(list(reader)) == max(0, (end - 24) // record)
        assert reader.truncated == (end not in (24, 24 + record))
        assert list(reader) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the capture is empty: bcast reads pcapng and pcap"),
        (b"\x0a", "the capture is no capture: bcast reads pcapng and pcap"),
        (b"hello, world", "the capture is no capture: bcast reads pcapng and pcap"),
        (b"\x1f\x8b\x08\x00", "the capture is compressed: decompress it first"),
    ],
)
def test_what_is_no_capture(data: bytes, sentence: str) -> None:
    with pytest.raises(CaptureError) as caught:
        CaptureReader(io.BytesIO(data))
    assert str(caught.value).startswith(sentence)


def test_damage_comes_after_what_is_before_it() -> None:
    end = Endpoint(ip_address("10.0.0.1"), 1)
    data = written([Datagram(b"hello", end, end, INTERFACES[0])])
    reader = CaptureReader(io.BytesIO(data + bytes(12)))
    assert next(iter(reader)).payload == b"hello"
    with pytest.raises(CaptureError, match=f"a block of 0 bytes at byte {len(data)}"):
        next(iter(reader))
    assert reader.drops == 6


def test_errors_name_the_file_and_close_it(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(b"nonsense")
    with pytest.raises(CaptureError, match=r"a\.pcapng is no capture"):
        CaptureReader(path)
    path.write_bytes(written([]) + bytes(12))
    with CaptureReader(path) as reader, pytest.raises(CaptureError, match=r"a\.pcapng is damaged"):
        list(reader)
    assert reader.name == str(path)


def test_a_reader_can_be_left_early(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(ethernet(*[MACS + b"\x08\x00" + IPV4] * 3))
    with CaptureReader(path) as reader:
        for _ in reader:
            break
        assert len(list(reader)) == 2


def test_datagrams_come_out_of_a_pipe_as_they_go_in() -> None:
    reading, writing = os.pipe()
    end = Endpoint(ip_address("10.0.0.1"), 1)
    values = [Datagram(bytes((n,)), end, end, INTERFACES[0], n, 1) for n in range(3)]
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        writer = CaptureWriter(sink)
        for value in values:
            writer.write(value)
            writer.flush()
            if value is values[0]:
                reader = CaptureReader(source)
            assert next(iter(reader)) == value
        # The counts fit into the pipe; the end comes when it is closed.
        writer.close()
        sink.close()
        assert list(reader) == []


def test_standard_input() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from bcast.capture import CaptureReader
with CaptureReader("-") as reader:
    print(reader.name, [d.payload for d in reader], reader.truncated)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)],
        input=ethernet(MACS + b"\x08\x00" + IPV4),
        capture_output=True,
        check=True,
    )
    assert done.stdout.split(maxsplit=2)[2] == b"[b'hello'] False\n"


def test_more_endpoints_than_are_remembered() -> None:
    sources = [IPv4Address(0x0A000000 + number) for number in range(5000)]
    values = [
        Datagram(b"", Endpoint(s, 1), Endpoint(sources[0], 2), INTERFACES[0], 1, 1)
        for s in sources
    ]
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        for value in values:
            writer.write(value)
    file.seek(0)
    reader = CaptureReader(file)
    got = list(reader)
    assert [d.source.address for d in got] == sources
    # The same endpoint isn't made again for every datagram.
    assert got[0].destination is got[1].destination
    assert len({id(d.destination) for d in got}) <= 3


def test_reading_takes_no_more_memory_the_longer_it_takes() -> None:
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        writer.write_batch(
            INTERFACES[0],
            1,
            (
                (n, bytes(4) + n.to_bytes(4, "big") + bytes(8), bytes(4), 1, b"")
                for n in range(12_000)
            ),
        )
    file.seek(0)
    reader = CaptureReader(file)
    tracemalloc.start()
    try:
        assert sum(1 for _ in reader) == 12_000
        assert tracemalloc.get_traced_memory()[1] < 3_500_000
    finally:
        tracemalloc.stop()


_SEEDS = [
    written([]),
    written(
        [
            Datagram(b"x" * n, Endpoint(a, 1), Endpoint(a, 2), i, n, n)
            for n, i in enumerate(INTERFACES, 1)
            for a in (IPv4Address("10.0.0.1"), IPv6Address("fe80::1"))
        ]
    ),
    ethernet(*[MACS + b"\x08\x00" + IPV4] * 4),
    ethernet(*[MACS + b"\x81\x00\0\0\x08\x00" + IPV4] * 4, order=">"),
    Maker("<").section()
    + Maker("<").interface([(2, b"eth0"), (5, bytes(17)), (9, b"\x06"), (14, bytes(8))], link=1)
    + Maker("<").block(2, bytes(12) + b"\x08\0\0\0\x08\0\0\0" + bytes(8))
    + Maker("<").block(3, b"\x08\0\0\0" + bytes(8))
    + Maker("<").statistics(0, [(7, bytes(8))])
    + Maker(">").section()
    + Maker(">").interface()
    + Maker(">").frame(IPV4, 5),
]


@given(st.sampled_from(_SEEDS), st.data())
def test_damaged_files_end_with_an_error_or_a_result(seed: bytes, data: st.DataObject) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed)))
        size = data.draw(st.sampled_from([0, 1, 2, 4, 8]))
        changed[at : at + size] = data.draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 4, bytes(4)]))
        )
    count = 0
    try:
        for one in CaptureReader(io.BytesIO(changed)):
            count += 1
            assert len(one.payload) <= len(changed)
            str(one.source)
    except CaptureError as error:
        assert str(error).startswith("the capture ")  # noqa: PT017
    assert count <= len(changed) // 16


@given(st.sampled_from(["<", ">"]), st.binary(max_size=200))
def test_any_bytes_after_a_section_header(order: str, data: bytes) -> None:
    begin = Maker(order).section() + Maker(order).interface()
    try:
        list(CaptureReader(io.BytesIO(begin + data)))
    except CaptureError as error:
        assert "is damaged" in str(error)  # noqa: PT017
