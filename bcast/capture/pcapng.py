"""Writes datagrams as pcapng (draft-ietf-opsawg-pcapng), readable by Wireshark and tcpdump.

The section is big-endian, so that one struct packs a whole block with the IP headers inside.
Blocks gather in memory and leave with one write a flush: every block in the file is complete,
whatever happens to the program between two flushes.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable
from io import SEEK_CUR, SEEK_END, FileIO
from ipaddress import IPv4Address
from types import TracebackType
from typing import Protocol
from zlib import adler32

from bcast.capture.blocks import (
    BYTE_ORDER_MAGIC,
    Block,
    InterfaceOption,
    SectionOption,
    StatisticsOption,
)
from bcast.capture.frames import SHORT, Link, header, payload_sum
from bcast.datagram import Datagram, Interface
from bcast.errors import ArgumentError, CaptureError

__all__ = ["BUFFER_LIMIT", "STANDARD_STREAM", "CaptureWriter", "RawFile", "Row"]

#: (time in ns since 1970 UTC, source as a raw sockaddr, packed destination address, TTL or
#: negative, payload). The sockaddr is an AF_INET one of 16 or an AF_INET6 one of 28 bytes.
Row = tuple[int, bytes, bytes, int, bytes]

#: The name that stands for standard output, or standard input.
STANDARD_STREAM = "-"

#: A flood between two flushes may fill this many bytes; then they are written.
BUFFER_LIMIT = 256 * 1024

# The largest block: 65,575 bytes of datagram with headers, 32 around it, padding.
_LARGEST_BLOCK = 66 * 1024

# Forged sources could make up any number of headers, and any number of lengths.
_MAX_HEADERS = 4096

# Nobody looks at more addresses of an interface in a capture; it bounds the description block.
_MAX_ADDRESSES = 256

# Nanoseconds: 10 to the minus 9 seconds.
_RESOLUTION = 9

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


class RawFile(Protocol):
    """What a capture is written to: an unbuffered binary file such as `io.FileIO`.

    If it can seek and truncate, a failed write leaves no half a block behind.
    """

    def write(self, data: memoryview, /) -> int | None: ...


# How to pack a block, its type, length and interface, its lengths and headers up to the
# checksum, what the checksum adds to the sum of the payload, its length.
_Headers = tuple[Callable[..., None], bytes, bytes, int, int]


class _Described:
    """An interface that has a description block, and what is counted of it."""

    __slots__ = ("delivered", "drops", "headers", "last_ns", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.delivered = 0
        self.drops = 0
        self.last_ns: int | None = None
        # By destination port, then by what else makes the headers of a datagram.
        self.headers: dict[int, dict[tuple[bytes, bytes, int, int], _Headers]] = {}


class CaptureWriter:
    """Writes datagrams to a pcapng file.

    ``file`` is a path, ``"-"`` for standard output, or an open unbuffered binary file, which
    `close` leaves open. ``hardware``, ``system`` and ``application`` are put into the file as
    what captured it, ``started_ns`` (nanoseconds since 1970 UTC) as when that began.

    What is written is in the file after `flush`, which happens by itself only when
    `BUFFER_LIMIT` bytes are pending: call it every second or so.

    All methods raise `CaptureError` if the file can't be opened or written; it then ends with
    the last datagram that fit, and nothing more can be written to it. A pipe that nobody reads
    any more is `BrokenPipeError`.
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
        self._written = 0
        self._described: dict[tuple[int, str, str | None], _Described] = {}
        self._cached = 0
        self._structs: dict[tuple[int, int], Callable[..., None]] = {}
        self._failure: tuple[str, str] | None = None
        self._closed = False
        self._opened: FileIO | None = None
        if isinstance(file, (str, os.PathLike)):
            self._file: RawFile = self._opened = _open(os.fspath(file))
            self.name = "standard output" if file == STANDARD_STREAM else os.fspath(file)
        else:
            self._file = file
            name = getattr(file, "name", None)
            self.name = name if isinstance(name, str) else "the capture"
        try:
            options = [
                (SectionOption.HARDWARE, hardware.encode("utf-8", "replace")),
                (SectionOption.SYSTEM, system.encode("utf-8", "replace")),
                (SectionOption.APPLICATION, application.encode("utf-8", "replace")),
            ]
            section = struct.pack(">IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
            self._append(_block(Block.SECTION, section, options))
            self.flush()
        except BaseException:
            self._release()
            raise

    @property
    def pending(self) -> int:
        """Bytes that the next flush will write."""
        return self._used

    @property
    def written(self) -> int:
        """How many datagrams are in the file."""
        return self._written

    def write(self, datagram: Datagram) -> None:
        """Adds one datagram. Raises `ArgumentError` if its values fit no IP datagram."""
        source = datagram.source
        packed = source.address.packed
        port = source.port.to_bytes(2, "big") if 0 <= source.port <= 0xFFFF else b""
        # The family is told by the length: its place and size differ between systems.
        if len(packed) == 4:
            key = b"\0\0" + port + packed + bytes(8)
        else:
            key = b"\0\0" + port + bytes(4) + packed + bytes(4)
        ttl = -1 if datagram.ttl is None else datagram.ttl
        destination = datagram.destination
        row = (datagram.time_ns, key, destination.address.packed, ttl, datagram.payload)
        self.write_batch(datagram.interface, destination.port, (row,))

    def write_batch(self, interface: Interface, port: int, rows: Iterable[Row]) -> None:
        """Adds datagrams that arrived on one interface for one destination port, fast.

        Raises `ArgumentError` at the first row that fits no IP datagram; those before it count.
        """
        described = self._describe(interface)
        cache = described.headers.setdefault(port, {})
        buffer = self._buffer
        used = self._used
        count = 0
        time_ns = described.last_ns
        try:
            for time_ns, source, destination, ttl, payload in rows:
                length = len(payload)
                try:
                    pack, start, headers, total, size = cache[source, destination, ttl, length]
                except KeyError:
                    made = self._make(described.number, source, destination, port, ttl, length)
                    cache[source, destination, ttl, length] = made
                    pack, start, headers, total, size = made
                # payload_sum, here without the call: it is half of what a datagram costs.
                if length <= SHORT:
                    total += 255 * (adler32(payload[::2]) & 0xFFFF) + (adler32(payload) & 0xFFFF)
                else:
                    total += payload_sum(payload)
                pack(buffer, used, start, time_ns, headers, 65535 - total % 65535, payload, size)
                used += size
                count += 1
                if used > BUFFER_LIMIT:
                    self._used = used
                    used = 0
                    self.flush()
        except struct.error as error:
            raise ArgumentError(f"no IP datagram has these values: {error}") from error
        finally:
            self._used = used
            described.delivered += count
            described.last_ns = time_ns

    def drops(self, interface: Interface, count: int) -> None:
        """Sets how many datagrams the kernel dropped on an interface since the start.

        ``count`` is cumulative over all sockets of the interface. An interface that nothing
        arrives on is in the file, too, once this was called for it.
        """
        self._describe(interface).drops = count

    def flush(self) -> None:
        """Writes what is pending."""
        self._check()
        used, self._used = self._used, 0
        done = 0
        try:
            with memoryview(self._buffer)[:used] as pending:
                while done < used:
                    count = self._file.write(pending[done:])
                    if count is None:
                        _wait(self._file)
                    else:
                        done += count
        except BrokenPipeError:
            self._failure = (f"nobody reads {self.name} any more", "")
            raise
        except OSError as error:
            kept, count = _complete(self._buffer, done)
            self._written += count
            _cut(self._file, done - kept)
            raise self._failed(error) from error
        except BaseException:
            # An interrupt in the middle of a block: what follows would be garbage.
            self._written += _complete(self._buffer, done)[1]
            self._failure = (f"writing {self.name} was interrupted", "")
            raise
        self._written += _complete(self._buffer, used)[1]

    def close(self, now_ns: int | None = None) -> None:
        """Writes the counts of every interface and closes the file; twice does nothing.

        ``now_ns`` is when the capture ended, in nanoseconds since 1970 UTC; without it, when the
        last datagram arrived. After a failure it only closes.
        """
        if self._closed:
            return
        try:
            if self._failure is None:
                for described in self._described.values():
                    self._append(self._statistics(described, now_ns))
                self.flush()
        finally:
            self._release()

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
        if self._failure is not None:
            raise CaptureError(*self._failure)
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
            self._append(_description(interface))
            described = self._described[key] = _Described(len(self._described))
        return described

    def _make(
        self, number: int, source: bytes, destination: bytes, port: int, ttl: int, length: int
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
        captured = len(headers) + 2 + length
        size = 32 + captured + -captured % 4
        pack = self._structs.get((len(headers), length))
        if pack is None:
            if len(self._structs) >= _MAX_HEADERS:
                self._structs.clear()
            layout = f">12sQ8s{len(headers)}sH{length}s{-captured % 4}xI"
            layout = f">12sQ{8 + len(headers)}sH{length}s{-captured % 4}xI"
            pack = self._structs[len(headers), length] = struct.Struct(layout).pack_into
        self._cached += 1
        if self._cached > _MAX_HEADERS:
            for described in self._described.values():
                for cache in described.headers.values():
                    cache.clear()
            self._cached = 1
        if length <= SHORT:
            # write_batch adds two Adler sums, one of them 255 times, which start at 1.
            total -= 256
        start = struct.pack(">III", Block.ENHANCED_FRAME, size, number)
        return pack, start, struct.pack(">II", captured, captured) + headers, total, size

    def _statistics(self, described: _Described, now_ns: int | None) -> bytes:
        end = described.last_ns if now_ns is None else now_ns
        options = []
        if self._started_ns is not None:
            options.append((StatisticsOption.START, _time(self._started_ns)))
        if end is not None:
            options.append((StatisticsOption.END, _time(end)))
        for option, count in (
            (StatisticsOption.RECEIVED, described.delivered + described.drops),
            (StatisticsOption.SYSTEM_DROPPED, described.drops),
            (StatisticsOption.DELIVERED, described.delivered),
        ):
            options.append((option, count.to_bytes(8, "big")))
        body = struct.pack(">IQ", described.number, end or self._started_ns or 0)
        return _block(Block.STATISTICS, body, options)

    def _failed(self, error: OSError) -> CaptureError:
        """Remembers why nothing can be written any more, as a sentence."""
        holds = f"{self.name} holds the first {self._written} datagrams"
        if error.errno in _FULL:
            self._failure = f"the disk is full: {holds}", "free some space or write elsewhere"
        elif error.errno == errno.EFBIG:
            self._failure = (
                f"no file may grow larger than this: {holds}",
                "raise the limit (ulimit -f) or write elsewhere",
            )
        else:
            reason = os.strerror(error.errno or 0)
            self._failure = f"can't go on writing ({reason}): {holds}", "write elsewhere"
        return CaptureError(*self._failure)

    def _release(self) -> None:
        self._closed = True
        if self._opened is not None:
            try:
                self._opened.close()
            except OSError as error:
                # A network file system may notice only now that it has no room.
                if self._failure is None:
                    raise self._failed(error) from error


def _open(path: str) -> FileIO:
    try:
        if path == STANDARD_STREAM:
            return FileIO(1, "w", closefd=False)
        return FileIO(path, "w")
    except OSError as error:
        folder = os.path.dirname(path) or "."
        advice = "write to another file"
        if error.errno == errno.ENOENT:
            reason, advice = f"there is no directory {folder}", "create it first"
        elif error.errno == errno.EISDIR:
            reason, advice = "it is a directory", "give the name of a file"
        elif error.errno in (errno.EACCES, errno.EPERM):
            reason, advice = "no permission", "write where you may create files"
        elif error.errno == errno.EROFS:
            reason = "the file system is read-only"
        elif error.errno in _FULL:
            reason, advice = "the disk is full", "free some space or write elsewhere"
        else:
            reason = os.strerror(error.errno or 0)
        raise CaptureError(f"can't write {path}: {reason}", advice) from error


def _wait(file: RawFile) -> None:
    """Waits until a non-blocking pipe takes bytes again."""
    import select

    descriptor: int = file.fileno()  # type: ignore[attr-defined]
    select.select([], [descriptor], [])


def _complete(buffer: bytearray, done: int) -> tuple[int, int]:
    """The bytes of the complete blocks among the first ``done``, and the datagrams in them."""
    position = count = 0
    while position + 8 <= done:
        kind, size = struct.unpack_from(">II", buffer, position)
        if position + size > done:
            break
        position += size
        count += kind == Block.ENHANCED_FRAME
    return position, count


def _cut(file: RawFile, excess: int) -> None:
    """Takes the last ``excess`` bytes off the file, if it is one and they are its last."""
    if not excess or not isinstance(file, FileIO):
        return
    try:
        if file.seekable():
            end = file.seek(0, SEEK_CUR)
            # Where others append to the same file, the end isn't ours.
            if file.seek(0, SEEK_END) == end:
                file.truncate(end - excess)
                file.seek(end - excess)
    except OSError:
        # The reader copes with half a block at the end.
        pass


def _time(time_ns: int) -> bytes:
    """A time as the high and the low half of 64 bits."""
    return time_ns.to_bytes(8, "big")


def _options(options: list[tuple[int, bytes]]) -> bytes:
    packed = [
        struct.pack(">HH", option, len(value)) + value + bytes(-len(value) % 4)
        for option, value in options
        if value
    ]
    return b"".join(packed) + bytes(4) if packed else b""


def _block(kind: Block, body: bytes, options: list[tuple[int, bytes]]) -> bytes:
    packed = body + _options(options)
    size = struct.pack(">I", 12 + len(packed))
    return struct.pack(">I", kind) + size + packed + size


def _description(interface: Interface) -> bytes:
    options: list[tuple[int, bytes]] = [
        (InterfaceOption.NAME, interface.name.encode("utf-8", "replace"))
    ]
    for assigned in interface.addresses[:_MAX_ADDRESSES]:
        address = assigned.address
        if isinstance(address, IPv4Address):
            mask = 0xFFFFFFFF << 32 - assigned.prefix_length & 0xFFFFFFFF
            value = address.packed + mask.to_bytes(4, "big")
            options.append((InterfaceOption.IPV4_ADDRESS, value))
        else:
            value = address.packed + bytes((assigned.prefix_length,))
            options.append((InterfaceOption.IPV6_ADDRESS, value))
    hardware_address = _hardware_address(interface.hardware_address)
    if hardware_address:
        options.append((InterfaceOption.HARDWARE_ADDRESS, hardware_address))
    options.append((InterfaceOption.RESOLUTION, bytes((_RESOLUTION,))))
    return _block(Block.INTERFACE, struct.pack(">HHI", Link.RAW, 0, 0), options)


def _hardware_address(text: str | None) -> bytes:
    """The 6 bytes of an Ethernet address; nothing for the other kinds, which have no option."""
    try:
        packed = bytes.fromhex((text or "").replace(":", ""))
    except ValueError:
        return b""
    return packed if len(packed) == 6 else b""
