"""`bcast.capture.pcapng`: the writer, its blocks byte by byte and its counts."""

from __future__ import annotations

import io
import socket
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.capture import CaptureReader, CaptureWriter, Row, pcapng
from bcast.capture.blocks import interface_block, section_block, statistics_block
from bcast.capture.frames import header
from bcast.capture.pcapng import BUFFER_LIMIT
from bcast.datagram import Address, Datagram, Endpoint, Interface, InterfaceFlag, Kind
from bcast.errors import ArgumentError, CaptureError

ROOT = Path(__file__).parent.parent

ETH0 = Interface("eth0", 2, Kind.ETHERNET, InterfaceFlag.UP, 1500, "02:00:5e:00:53:01")
WLAN0 = Interface("wlan0", 3, Kind.WIFI, InterfaceFlag.UP, 1500, "02:00:5e:00:53:02")
TIME = 1_700_000_000_123_456_789


def datagram(
    payload: bytes = b"hello",
    interface: Interface = ETH0,
    source: str = "192.0.2.1",
    destination: str = "255.255.255.255",
    time_ns: int = TIME,
    ttl: int | None = 64,
) -> Datagram:
    return Datagram(
        payload,
        Endpoint(ip_address(source), 1000),
        Endpoint(ip_address(destination), 28232),
        interface,
        time_ns,
        ttl,
    )


def key4(address: str, port: int = 1000) -> bytes:
    """What the kernel calls an IPv4 source."""
    packed = ip_address(address).packed
    return struct.pack("=H2s4s8x", socket.AF_INET, port.to_bytes(2, "big"), packed)


def key6(address: str, port: int = 1000, scope: int = 2) -> bytes:
    packed = ip_address(address).packed
    return struct.pack("=H2s4x16sI", socket.AF_INET6, port.to_bytes(2, "big"), packed, scope)


ALL = b"\xff" * 4


def row(payload: bytes = b"hello", source: str = "192.0.2.1", ttl: int = 64) -> Row:
    return TIME, key4(source), ALL, ttl, payload


def written(*datagrams: Datagram) -> bytes:
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        for one in datagrams:
            writer.write(one)
    return file.getvalue()


def read(data: bytes) -> list[Datagram]:
    return list(CaptureReader(io.BytesIO(data)))


def test_a_file_byte_by_byte() -> None:
    file = io.BytesIO()
    writer = CaptureWriter(
        file, hardware="x86_64", system="Linux", application="bcast 1", started_ns=5
    )
    writer.write(datagram())
    writer.drops(ETH0, 3)
    writer.close(TIME + 1)
    expected = section_block("x86_64", "Linux", "bcast 1") + interface_block(ETH0)
    expected += bytes.fromhex(
        "00000006 00000044 00000000 17979cfe 3d85cd15 00000021 00000021"
        " 45000021 00004000 401178cb c0000201 ffffffff 03e86e48 000d87d0"
        " 68656c6c 6f 000000 00000044"
    )
    expected += statistics_block(0, 1, 3, 5, TIME + 1)
    assert file.getvalue().hex(" ", -4) == expected.hex(" ", -4)


def test_an_ipv6_block_byte_by_byte() -> None:
    data = written(datagram(b"hell", source="fe80::1%eth0", destination="ff02::1%eth0"))
    start = len(section_block("", "", "bcast") + interface_block(ETH0))
    assert data[start : start + 84].hex(" ", -4) == (
        "00000006 00000054 00000000 17979cfe 3d85cd15 00000034 00000034"
        " 60000000 000c1140 fe800000 00000000 00000000 00000001"
        " ff020000 00000000 00000000 00000001 03e86e48 000cbb4e 68656c6c 00000054"
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ETH0, WLAN0]),
            st.integers(1, 2),
            st.integers(0, 2**64 - 1),
            st.sampled_from(["192.0.2.1", "192.0.2.2", "fe80::1%eth0", "2001:db8::1"]),
            st.integers(0, 255),
            st.binary(max_size=600),
        ),
        max_size=20,
    )
)
def test_a_batch_is_written_like_its_datagrams(
    rows: list[tuple[Interface, int, int, str, int, bytes]],
) -> None:
    one, other = io.BytesIO(), io.BytesIO()
    with CaptureWriter(one) as single, CaptureWriter(other) as batches:
        for interface, port, time_ns, source, ttl, payload in rows:
            address = ip_address(source)
            to = ip_address("255.255.255.255" if address.version == 4 else "ff05::2")
            single.write(
                Datagram(
                    payload, Endpoint(address, 9), Endpoint(to, port), interface, time_ns, ttl
                )
            )
            key = key4(source, 9) if address.version == 4 else key6(source, 9)
            batches.write_batch(interface, port, [(time_ns, key, to.packed, ttl, payload)])
    assert one.getvalue() == other.getvalue()


def test_more_sources_and_lengths_than_are_remembered() -> None:
    def rows() -> Iterator[Row]:
        for number in range(10_000):
            source = f"10.1.{number // 256}.{number % 256}"
            yield row(bytes(number % 300), source)

    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        writer.write_batch(ETH0, 1, rows())
        writer.write_batch(ETH0, 2, rows())
    got = read(file.getvalue())
    assert [d.destination.port for d in got] == [1] * 10_000 + [2] * 10_000
    assert got[:10_000] == [
        Datagram(r[4], Endpoint(ip_address(r[1][4:8]), 1000), d.destination, d.interface, TIME, 64)
        for r, d in zip(rows(), got, strict=False)
    ]


class Sink:
    """A pipe to nowhere."""

    def write(self, data: memoryview) -> int:
        return len(data)

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int) -> int:
        raise OSError

    def truncate(self, size: int) -> int:
        raise OSError

    def fileno(self) -> int:
        raise OSError


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """How many bytes of memory are in use."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def test_forged_sources_and_ports_do_not_fill_the_memory(traced: Callable[[], int]) -> None:
    writer = CaptureWriter(Sink())
    rows = [row(source=f"10.1.{n // 256}.{n % 256}") for n in range(12_000)]
    before = traced()
    writer.write_batch(ETH0, 1, rows)
    assert traced() - before < 3_000_000
    for port, one in enumerate(rows):
        writer.write_batch(WLAN0, port, [one])
    assert traced() - before < 3_000_000
    writer.close()
    assert writer.written == 24_000


def test_lengths_do_not_fill_the_memory(traced: Callable[[], int]) -> None:
    rows = [row(bytes(length)) for length in range(1000)]
    with CaptureWriter(Sink()) as writer:
        before = traced()
        for index in range(10):
            writer.write_batch(replace(ETH0, index=index), 1, rows)
        assert traced() - before < 6_000_000


def test_headers_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0

    def counting(*arguments: Any) -> tuple[bytes, int]:
        nonlocal made
        made += 1
        return header(*arguments)

    monkeypatch.setattr(pcapng, "header", counting)
    few = [row(source=f"192.0.2.{n}") for n in range(250)]
    with CaptureWriter(Sink()) as writer:
        writer.write_batch(ETH0, 1, few * 4)
        assert made == 250
        # After a flood, too.
        writer.write_batch(
            ETH0, 1, [row(source=f"10.1.{n // 256}.{n % 256}") for n in range(5000)]
        )
        made = 0
        for _ in range(4):
            writer.write_batch(ETH0, 1, few)
        assert made == 250


def test_every_length_of_payload_up_to_the_longest() -> None:
    # One of each length up to 1,000, and around the limits of 16 bits.
    lengths = [*range(1000), 65_506, 65_507]
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        writer.write_batch(ETH0, 1, [row(b"\xff" * length) for length in lengths])
    assert [len(d.payload) for d in read(file.getvalue())] == lengths


def test_nothing_is_written_before_a_flush_or_a_full_buffer() -> None:
    file = io.BytesIO()
    writer = CaptureWriter(file)
    begin = len(file.getvalue())
    writer.write(datagram())
    assert (len(file.getvalue()), writer.written) == (begin, 0)
    pending = writer.pending
    writer.flush()
    assert (len(file.getvalue()), writer.written) == (begin + pending, 1)
    assert writer.pending == 0
    for _ in range(100):
        writer.write_batch(ETH0, 1, [row(bytes(60_000))] * 3)
        assert writer.pending <= BUFFER_LIMIT
    assert writer.written > 290
    writer.close()
    assert len(read(file.getvalue())) == writer.written == 301


def test_an_endless_batch_is_written_while_it_goes() -> None:
    file = io.BytesIO()
    writer = CaptureWriter(file)

    def rows() -> Iterator[Row]:
        while len(file.getvalue()) < 2 * BUFFER_LIMIT:
            yield row(bytes(1000))

    writer.write_batch(ETH0, 1, rows())
    writer.close()
    assert len(read(file.getvalue())) == writer.written > 400


def test_an_interface_is_described_once_until_it_is_another() -> None:
    readdressed = replace(
        ETH0, mtu=9000, flags=InterfaceFlag(0), addresses=(Address(ip_address("10.0.0.1"), 8),)
    )
    renamed = replace(ETH0, name="lan0")
    remade = replace(ETH0, index=7)
    swapped = replace(ETH0, hardware_address="02:00:5e:00:53:99")
    data = written(
        *(datagram(interface=i) for i in (ETH0, WLAN0, readdressed, renamed, remade, swapped))
    )
    got = [(d.interface.index, d.interface.name) for d in read(data)]
    assert got == [(1, "eth0"), (2, "wlan0"), (1, "eth0"), (3, "lan0"), (4, "eth0"), (5, "eth0")]
    assert data.count(interface_block(ETH0)) == 2  # once more for the same name and address
    assert data.count(interface_block(readdressed)) == 0


def test_counts_of_every_interface() -> None:
    file = io.BytesIO()
    writer = CaptureWriter(file, started_ns=1)
    writer.drops(WLAN0, 0)
    writer.write_batch(ETH0, 1, [row(), row(), (TIME + 5, *row()[1:])])
    writer.drops(ETH0, 4)
    writer.drops(ETH0, 6)
    writer.close()
    end = statistics_block(0, 0, 0, 1, None) + statistics_block(1, 3, 6, 1, TIME + 5)
    assert file.getvalue().endswith(end)
    assert writer.written == 3


def test_an_unknown_ttl_stays_unknown() -> None:
    assert [d.ttl for d in read(written(datagram(ttl=None), datagram(ttl=1)))] == [None, 1]
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        writer.write_batch(ETH0, 1, [row(ttl=-1), row(ttl=255)])
    assert [d.ttl for d in read(file.getvalue())] == [None, 255]


@pytest.mark.parametrize(
    "bad",
    [
        (-1, key4("10.0.0.1"), ALL, 1, b""),
        (2**64, key4("10.0.0.1"), ALL, 1, b""),
        (1, key4("10.0.0.1"), ALL, 256, b""),
        (1, key4("10.0.0.1"), bytes(16), 1, b""),
        (1, key6("fe80::1"), ALL, 1, b""),
        (1, b"", ALL, 1, b""),
        (1, key4("10.0.0.1"), ALL, 1, bytes(65_508)),
        (1, key6("fe80::1"), bytes(16), 1, bytes(65_528)),
    ],
)
def test_a_row_that_no_datagram_can_be_is_refused_and_the_rest_kept(bad: Row) -> None:
    file = io.BytesIO()
    with CaptureWriter(file) as writer:
        with pytest.raises(ArgumentError):
            writer.write_batch(ETH0, 1, [row(b"before"), bad, row(b"lost")])
        writer.write(datagram(b"after"))
    got = read(file.getvalue())
    assert [d.payload for d in got] == [b"before", b"after"]
    assert writer.written == 2


@pytest.mark.parametrize("port", [-1, 65_536])
def test_ports_out_of_range_are_refused(port: int) -> None:
    good = datagram()
    with CaptureWriter(io.BytesIO()) as writer:
        bad = Endpoint(good.source.address, port)
        with pytest.raises(ArgumentError, match="not a UDP port"):
            writer.write(Datagram(b"", bad, good.destination, ETH0))
        with pytest.raises(ArgumentError):
            writer.write(Datagram(b"", good.source, bad, ETH0))
        with pytest.raises(ArgumentError, match="one address family"):
            writer.write(datagram(destination="ff02::1"))


def test_after_close_nothing_can_be_written() -> None:
    file = io.BytesIO()
    writer = CaptureWriter(file)
    writer.close()
    size = len(file.getvalue())
    writer.close()
    uses: list[Callable[[], None]] = [
        lambda: writer.write(datagram()),
        lambda: writer.drops(ETH0, 1),
        writer.flush,
    ]
    for use in uses:
        with pytest.raises(CaptureError, match="is closed"):
            use()
    assert len(file.getvalue()) == size


def test_a_path_is_closed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with CaptureWriter(path) as writer:
        writer.write(datagram())
    assert writer.name == str(path)
    assert [d.payload for d in read(path.read_bytes())] == [b"hello"]


def test_what_was_flushed_survives_being_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    script = """
import sys
sys.path.insert(0, sys.argv[2])
from tests.test_capture_pcapng import ETH0, datagram, row
from bcast.capture import CaptureWriter
writer = CaptureWriter(sys.argv[1])
writer.write_batch(ETH0, 1, [row()] * 1000)
writer.flush()
writer.write(datagram(b"not flushed"))
print("flushed", flush=True)
sys.stdin.read()
"""
    arguments = [sys.executable, "-c", script, str(path), str(ROOT)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == [b"flushed"]
        process.kill()
    reader = CaptureReader(path)
    with reader:
        assert [d.payload for d in reader] == [b"hello"] * 1000
    assert not reader.truncated
