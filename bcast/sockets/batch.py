"""Datagrams that were received together, decoded when somebody looks.

A reader moves bytes out of the kernel as fast as it can and hands over a `Batch`: the payloads,
and the raw addresses and times as rows. What turns a row into typed values is here too.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address

from bcast.datagram import Datagram, Endpoint, Interface, address_of

__all__ = ["Batch", "Part", "Row", "endpoint_of", "source_key", "source_of"]

#: (time in ns since 1970 UTC, source as a raw sockaddr, packed destination address, TTL or -1,
#: payload). The sockaddr is laid out as Linux does, 16 (IPv4) or 28 (IPv6) bytes: it is a good key
#: for whatever is to be computed once a source.
Row = tuple[int, bytes, bytes, int, bytes]

#: A row that isn't put together: ((seconds, nanoseconds, destination, TTL), (source,), payload).
Part = tuple[tuple[int, int, bytes, int], tuple[bytes], bytes]

_SECOND = 1_000_000_000
_SOURCE4 = struct.Struct("=H2s4s8x")
_SOURCE6 = struct.Struct("=H2s4x16sI")


def source_key(address: tuple[str, int] | tuple[str, int, int, int]) -> bytes:
    """The raw sockaddr of an address that Python's socket module returned."""
    port = struct.pack("!H", address[1])
    if len(address) == 2:
        return _SOURCE4.pack(socket.AF_INET, port, socket.inet_aton(address[0]))
    host, _, _ = address[0].partition("%")
    return _SOURCE6.pack(
        socket.AF_INET6, port, socket.inet_pton(socket.AF_INET6, host), address[3]
    )


def source_of(key: bytes) -> tuple[bytes, int]:
    """The packed address and the port of a raw sockaddr (see `Row`)."""
    return key[4:8] if len(key) == 16 else key[8:24], key[2] << 8 | key[3]


def endpoint_of(key: bytes, interface: Interface) -> Endpoint:
    """The endpoint of a raw sockaddr (see `Row`)."""
    return _endpoint(*source_of(key), interface)


def _endpoint(packed: bytes, port: int, interface: Interface) -> Endpoint:
    if len(packed) == 4:
        return _endpoint4(packed, port)
    return Endpoint(address_of(packed, interface.name, interface.index), port)


@lru_cache(maxsize=4096)
def _endpoint4(packed: bytes, port: int) -> Endpoint:
    # Bounded, because sources can be forged; few of them send most of what there is.
    return Endpoint(IPv4Address(packed), port)


class Batch:
    """Datagrams that arrived on one port of one interface; ``size`` is their payloads' bytes.

    ``payloads`` is there at once; ``rows``, ``parts()`` and the attributes of ``datagrams()`` are
    decoded when they are first read. Keeping one datagram keeps its whole
    batch (on Linux up to 64).
    """

    __slots__ = ("_parts", "_rows", "interface", "payloads", "port", "size")

    def __init__(
        self,
        interface: Interface,
        port: int,
        payloads: list[bytes],
        parts: Callable[[], Iterable[Part]],
        size: int,
    ) -> None:
        self.interface = interface
        self.port = port
        self.payloads = payloads
        self.size = size
        self._parts = parts
        self._rows: list[Row] | None = None

    @classmethod
    def of_rows(cls, interface: Interface, port: int, rows: list[Row]) -> Batch:
        """A batch of rows that are decoded already."""
        payloads = [row[4] for row in rows]
        made = cls(
            interface, port, payloads, lambda: map(_taken_apart, rows), sum(map(len, payloads))
        )
        made._rows = rows
        return made

    @property
    def rows(self) -> list[Row]:
        """All of it, put together; kept."""
        if self._rows is None:
            self._rows = [
                (seconds * _SECOND + rest, source, destination, ttl, payload)
                for (seconds, rest, destination, ttl), (source,), payload in self._parts()
            ]
        return self._rows

    def parts(self) -> Iterable[Part]:
        """The same as `rows`, as it is decoded: for who looks at each once and is in a hurry."""
        return self._parts()

    def datagrams(self) -> list[Datagram]:
        return [_Received(p, self, i) for i, p in enumerate(self.payloads)]

    def __len__(self) -> int:
        return len(self.payloads)

    def keep(self, wanted: Callable[[Row], bool]) -> Batch:
        """The same batch without the rows that aren't wanted."""
        return self.of_rows(self.interface, self.port, [r for r in self.rows if wanted(r)])

    def first(self, count: int) -> Batch:
        """The same batch cut to at most ``count`` datagrams."""
        if count >= len(self.payloads):
            return self
        return self.of_rows(self.interface, self.port, self.rows[:count])


def _taken_apart(row: Row) -> Part:
    time_ns, source, destination, ttl, payload = row
    seconds, rest = divmod(time_ns, _SECOND)
    return (seconds, rest, destination, ttl), (source,), payload


class _Received(Datagram):
    """A datagram that looks its values up in its batch."""

    __slots__ = ("_batch", "_position")

    def __init__(self, payload: bytes, batch: Batch, position: int) -> None:
        self._payload = payload
        self._batch = batch
        self._position = position

    @property
    def source(self) -> Endpoint:
        return endpoint_of(self._batch.rows[self._position][1], self._batch.interface)

    @property
    def destination(self) -> Endpoint:
        batch = self._batch
        return _endpoint(batch.rows[self._position][2], batch.port, batch.interface)

    @property
    def interface(self) -> Interface:
        return self._batch.interface

    @property
    def time_ns(self) -> int:
        return self._batch.rows[self._position][0]

    @property
    def ttl(self) -> int | None:
        ttl = self._batch.rows[self._position][3]
        return None if ttl < 0 else ttl
