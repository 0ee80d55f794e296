"""Writes datagrams as pcapng (draft-ietf-opsawg-pcapng), readable by Wireshark and tcpdump.

The section is big-endian, so that one struct packs a whole block with the IP headers inside.
Blocks gather in memory and leave with one write a flush: every block in the file is complete,
whatever happens to the program between two flushes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from types import TracebackType
from zlib import adler32

from bcast.capture.blocks import Block, interface_block, section_block, statistics_block
from bcast.capture.frames import SHORT, header, payload_sum
from bcast.capture.output import Output, RawFile
from bcast.datagram import Datagram, Interface
from bcast.errors import ArgumentError, CaptureError

__all__ = ["BUFFER_LIMIT", "CaptureWriter", "Row"]

#: (time in ns since 1970 UTC, source as a raw sockaddr, packed destination address, TTL or
#: negative, payload). The sockaddr is an AF_INET one of 16 or an AF_INET6 one of 28 bytes.
Row = tuple[int, bytes, bytes, int, bytes]

#: A flood between two flushes may fill this many bytes; then they are written.
BUFFER_LIMIT = 256 * 1024

# The largest block: 65,575 bytes of datagram with headers, 32 around it, padding.
_LARGEST_BLOCK = 66 * 1024

# Forged sources could make up any number of headers, and any number of lengths.
_MAX_HEADERS = 4096

# How to pack a block, its type, length and interface, its lengths and headers up to the
# checksum, what the checksum adds to the sum of the payload, its length.
_Headers = tuple[Callable[..., None], bytes, bytes, int, int]

# The same without what differs between sources and destinations.
_Frame = tuple[Callable[..., None], bytes, bytes, int]

_HeaderCache = dict[tuple[bytes, bytes, int, int], _Headers]


class _Described:
    """An interface that has a description block, and what is counted of it."""

    __slots__ = ("delivered", "drops", "last_ns", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.delivered = 0
        self.drops = 0
        self.last_ns: int | None = None


class CaptureWriter:
    """Writes datagrams to a pcapng file.

    ``file`` is a path, ``"-"`` for standard output, or an open unbuffered binary file, which
    `close` leaves open. ``hardware``, ``system`` and ``application`` are put into the file as
    what captured it, ``started_ns`` (nanoseconds since 1970 UTC) as when that began.

    What was added is in the file after `flush`, which happens by itself only when
    `BUFFER_LIMIT` bytes are pending: call it every second or so.

    All methods raise `CaptureError` if the file can't be opened or written. It then ends with
    the last datagram that fit, and takes no more. A pipe that nobody reads any more is
    `BrokenPipeError`.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | RawFile,
        *,
        hardware: str = "",
        system: str = "",
        application: str = "bcast",
        started_ns: int | None = None,
    ) -> None:
        self._started_ns = started_ns
        self._buffer = bytearray(BUFFER_LIMIT + _LARGEST_BLOCK)
        self._used = 0
        self._pending = 0
        self._described: dict[tuple[int, str, str | None], _Described] = {}
        # By interface and destination port, then by what else makes the headers of a datagram.
        self._headers: dict[tuple[int, int], _HeaderCache] = {}
        self._cached = 0
        self._frames: dict[tuple[int, int, int], _Frame] = {}
        self._closed = False
        self._output = Output(file)
        try:
            self._append(section_block(hardware, system, application))
            self.flush()
        except BaseException:
            self._output.close()
            raise

    @property
    def name(self) -> str:
        """What the file is called in errors."""
        return self._output.name

    @property
    def pending(self) -> int:
        """How many bytes the next flush will write."""
        return self._used

    @property
    def written(self) -> int:
        """How many datagrams are in the file."""
        return self._output.written

    def write(self, datagram: Datagram) -> None:
        """Adds one datagram. Raises `ArgumentError` if no IP datagram can have its values."""
        source, destination = datagram.source, datagram.destination
        # The family is told by the length: its place and size differ between systems.
        layout = ">2xH4s8x" if source.address.version == 4 else ">2xH4x16s4x"
        try:
            key = struct.pack(layout, source.port, source.address.packed)
        except struct.error as error:
            raise ArgumentError(f"{source.port} is not a UDP port") from error
        ttl = -1 if datagram.ttl is None else datagram.ttl
        row = (datagram.time_ns, key, destination.address.packed, ttl, datagram.payload)
        self.write_batch(datagram.interface, destination.port, (row,))

    def write_batch(self, interface: Interface, port: int, rows: Iterable[Row]) -> None:
        """Adds datagrams that arrived on one interface for one destination port, fast.

        Raises `ArgumentError` at the first row whose values no IP datagram can have; those before
        it are kept.
        """
        described = self._describe(interface)
        cache = self._headers.setdefault((described.number, port), {})
        if self._used > BUFFER_LIMIT:
            self.flush()  # which an interrupt prevented before
        buffer = self._buffer
        used = self._used
        count = 0
        time_ns = described.last_ns
        even = slice(None, None, 2)
        try:
            for time_ns, source, destination, ttl, payload in rows:
                length = len(payload)
                try:
                    pack, start, headers, total, size = cache[source, destination, ttl, length]
                except KeyError:
                    made = self._make(
                        cache, described.number, source, destination, port, ttl, length
                    )
                    pack, start, headers, total, size = made
                # payload_sum without the call: this is half of what a datagram costs.
                if length <= SHORT:
                    total += 255 * (adler32(payload[even]) & 0xFFFF) + (adler32(payload) & 0xFFFF)
                else:
                    total += payload_sum(payload)
                pack(buffer, used, start, time_ns, headers, 65535 - total % 65535, payload, size)
                used += size
                count += 1
                if used > BUFFER_LIMIT:
                    self._used = used
                    self._pending += count
                    described.delivered += count
                    count = 0
                    try:
                        self.flush()
                    finally:
                        used = self._used
            described.last_ns = time_ns
        except struct.error as error:
            raise ArgumentError(f"no IP datagram can have these values: {error}") from error
        finally:
            self._used = used
            self._pending += count
            described.delivered += count

    def drops(self, interface: Interface, count: int) -> None:
        """Sets how many datagrams the kernel dropped on an interface since the start.

        ``count`` is cumulative, over all sockets of the interface. An interface on which nothing
        arrives is in the file, too, once this was called for it.
        """
        self._describe(interface).drops = count

    def flush(self) -> None:
        """Writes what is pending.

        After an interrupt (`KeyboardInterrupt`) everything that was pending is either in the file
        or still pending.
        """
        self._check()
        if not self._used:
            return
        before = self._output.taken
        try:
            with memoryview(self._buffer) as whole, whole[: self._used] as blocks:
                self._output.write(blocks, self._pending)
        finally:
            # Nothing is called here: between calls is where an interrupt can come.
            if self._output.taken != before:
                self._used = self._pending = 0

    def close(self, now_ns: int | None = None) -> None:
        """Writes the counts of every interface and closes the file; twice does nothing.

        ``now_ns`` is when the capture ended, in nanoseconds since 1970 UTC; without it that is
        when the last datagram arrived. After a failure it only closes.
        """
        if self._closed:
            return
        try:
            if not self._output.failed:
                for one in self._described.values():
                    end = one.last_ns if now_ns is None else now_ns
                    self._append(
                        statistics_block(
                            one.number, one.delivered, one.drops, self._started_ns, end
                        )
                    )
                self.flush()
        finally:
            self._closed = True
            self._output.close()

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        self._output.check()
        if self._closed:
            raise CaptureError(f"{self.name} is closed")

    def _append(self, block: bytes) -> None:
        if self._used + len(block) > BUFFER_LIMIT:
            self.flush()
        self._buffer[self._used : self._used + len(block)] = block
        self._used += len(block)

    def _describe(self, interface: Interface) -> _Described:
        """The interface's description, made if it has none: new, renamed or made anew."""
        self._check()
        key = interface.index, interface.name, interface.hardware_address
        described = self._described.get(key)
        if described is None:
            described = _Described(len(self._described))
            # Both or neither: an interrupt can come only between calls.
            self._append(interface_block(interface))
            self._described[key] = described
        return described

    def _make(
        self,
        cache: _HeaderCache,
        number: int,
        source: bytes,
        destination: bytes,
        port: int,
        ttl: int,
        length: int,
    ) -> _Headers:
        """What all datagrams of these values have in common."""
        if len(source) == 16 and len(destination) == 4:
            address = source[4:8]
        elif len(source) == 28 and len(destination) == 16:
            address = source[8:24]
        else:
            raise ArgumentError("source and destination are not of one address family")
        source_port = source[2] << 8 | source[3]
        headers, total = header(address, source_port, destination, port, max(ttl, 0), length)
        if length <= SHORT:
            # write_batch adds two Adler sums, one of them 255 times, which start at 1.
            total -= 256
        key = number, len(headers), length
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _MAX_HEADERS:
                self._frames.clear()
            frame = self._frames[key] = _frame(*key)
        pack, start, lengths, size = frame
        made = pack, start, lengths + headers, total, size
        if self._cached >= _MAX_HEADERS:
            for other in self._headers.values():
                other.clear()
            self._headers = {(number, port): cache}
            self._cached = 0
        cache[source, destination, ttl, length] = made
        self._cached += 1
        return made


def _frame(number: int, headers: int, length: int) -> _Frame:
    """The block of a frame of so many bytes of headers (less the checksum) and payload."""
    captured = headers + 2 + length
    size = 32 + captured + -captured % 4
    pack = struct.Struct(f">12sQ{8 + headers}sH{length}s{-captured % 4}xI").pack_into
    start = struct.pack(">III", Block.ENHANCED_FRAME, size, number)
    return pack, start, struct.pack(">II", captured, captured), size
