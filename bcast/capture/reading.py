"""Reads the UDP datagrams of captures, whoever made them. Nothing in a file is trusted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator
from types import TracebackType

from bcast.capture.blocks import Block
from bcast.capture.formats import (
    PCAP_MAGICS,
    Captured,
    Source,
    read_pcap,
    read_pcapng,
)
from bcast.capture.frames import Skip, parse
from bcast.capture.input import Input, ReadableFile, TruncatedError
from bcast.datagram import Datagram, Endpoint, address_of
from bcast.errors import CaptureError

__all__ = ["CaptureReader"]

# Endpoints are made once, but a capture may hold any number of them.
_MAX_ENDPOINTS = 4096

# gzip, Zstandard, LZ4: what capture tools compress with.
_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")


class CaptureReader:
    """Iterates over the datagrams of a pcapng or pcap capture, in its order.

    ``file`` is a path, ``"-"`` for standard input, or an open binary file, which `close` leaves
    open. The interface of a datagram has the name that the capture gives (``capture0`` if it
    gives none); its index counts the capture's interfaces from 1. The scope of a link-local
    address is that interface. A TTL of 0, which no host may send with, is None.

    Raises `CaptureError`, at once or while iterating, if the file can't be read, is no capture or
    is damaged; the sentence says where.
    """

    def __init__(self, file: str | os.PathLike[str] | ReadableFile) -> None:
        #: How many frames were passed over, by reason.
        self.skipped: Counter[Skip] = Counter()
        #: Whether the file ends in the middle of something, as when its writer was stopped.
        self.truncated = False
        #: How many datagrams were lost before the capture, as far as it has told until now.
        self.drops = 0
        self._endpoints: dict[tuple[int, bytes, int], Endpoint] = {}
        self._input = Input(file)
        try:
            self._datagrams = self._decode(self._frames())
        except BaseException:
            self._input.close()
            raise

    @property
    def name(self) -> str:
        """What the file is called in errors."""
        return self._input.name

    def __iter__(self) -> Iterator[Datagram]:
        return self._datagrams

    def close(self) -> None:
        """Closes the file if it was opened here."""
        self._datagrams.close()
        self._input.close()

    def __enter__(self) -> CaptureReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _frames(self) -> Iterator[Captured]:
        magic = self._input.read_up_to(4)
        if magic == Block.SECTION.to_bytes(4, "big"):
            return read_pcapng(self._input, self._count_drops)
        if magic in PCAP_MAGICS:
            return read_pcap(self._input, *PCAP_MAGICS[magic])
        kinds = "bcast reads pcapng and pcap, as bcast, Wireshark and tcpdump write them"
        if not magic:
            raise CaptureError(f"{self.name} is empty", kinds)
        if magic.startswith(_COMPRESSED):
            raise CaptureError(f"{self.name} is compressed", f"decompress it first; {kinds}")
        raise CaptureError(f"{self.name} is no capture", kinds)

    def _count_drops(self, more: int) -> None:
        self.drops += more

    def _decode(self, frames: Iterator[Captured]) -> Generator[Datagram, None, None]:
        try:
            for source, time_ns, data in frames:
                frame = parse(source.link, data)
                if isinstance(frame, Skip):
                    self.skipped[frame] += 1
                elif not 0 <= time_ns < 1 << 64:
                    self.skipped[Skip.BAD_TIME] += 1
                else:
                    yield Datagram(
                        frame.payload,
                        self._endpoint(source, frame.source, frame.source_port),
                        self._endpoint(source, frame.destination, frame.destination_port),
                        source.interface,
                        time_ns,
                        frame.ttl or None,
                    )
        except TruncatedError:
            self.truncated = True

    def _endpoint(self, source: Source, packed: bytes, port: int) -> Endpoint:
        interface = source.interface
        key = interface.index, packed, port
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            if len(self._endpoints) >= _MAX_ENDPOINTS:
                self._endpoints.clear()
            endpoint = Endpoint(address_of(packed, interface.name, interface.index), port)
            self._endpoints[key] = endpoint
        return endpoint
