"""Moving datagrams through open sockets: in batches where the system can, one by one elsewhere."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple

from bcast.datagram import Family, Interface, IPAddress
from bcast.sockets import linux, platform
from bcast.sockets.batch import Batch, Row, source_key
from bcast.sockets.plan import Ancillary, Arrival, Platform

if TYPE_CHECKING:
    from bcast.sockets.mmsg import Heading

__all__ = [
    "PlainReader",
    "Reader",
    "SendBatch",
    "Way",
    "drop_counter",
    "open_batch_sender",
    "open_reader",
    "queue_cost",
    "queue_room",
    "send_plainly",
    "way_beside",
    "way_to",
]

#: What reads: (socket, its interface, its port) -> the next datagrams, [] if there are none.
Reader = Callable[[socket.socket, Interface, int], list[Batch]]

#: What sends: (socket, payloads, which of them is the first to send, where to) -> how many were
#: sent, at least one; raises OSError if not even the first could be.
SendBatch = Callable[[socket.socket, Sequence[bytes], int, "Way"], int]


class Way(NamedTuple):
    """Where datagrams go: the destination as Python wants it, with control messages, and laid out.

    ``laid`` is None where the system sends one datagram a call.
    """

    address: tuple[str, int] | tuple[str, int, int, int]
    ancillary: Ancillary
    laid: Heading | None


def way_to(address: IPAddress, port: int, scope: int, ancillary: Ancillary) -> Way:
    """The way to a destination; ``scope`` is the interface's index, or 0. Make it once."""
    to: tuple[str, int] | tuple[str, int, int, int] = (str(address), port)
    if address.version == 6:
        to = (str(address).partition("%")[0], port, 0, scope)
    laid = None
    if sys.platform == "linux":
        from bcast.sockets import mmsg

        if mmsg.available():
            laid = mmsg.Heading(source_key(to), mmsg.lay_out(ancillary))
    return Way(to, ancillary, laid)


def way_beside(way: Way, address: IPAddress, port: int) -> Way:
    """The same way to another IPv4 address."""
    to = str(address), port
    laid = way.laid
    if laid is not None:
        laid = type(laid)(source_key(to), laid.control)
    return Way(to, way.ancillary, laid)


def open_reader(interfaces: Mapping[int, Interface]) -> Reader:
    """The fastest way to read that this system has (shared by all sockets of one thread).

    ``interfaces`` are those received on, by index, and may change while reading.
    """
    if sys.platform == "linux":
        from bcast.sockets import mmsg

        if mmsg.available():
            return mmsg.MmsgReader().read
    return PlainReader(platform, interfaces).read


# Datagrams a batch, so that one busy socket doesn't keep the others waiting.
_MOST = 64


class PlainReader:
    """Reads with recvmsg, or recvfrom where Python has no recvmsg (Windows).

    Where the system delivers to a bound socket what arrived on another interface, a broadcast
    or multicast datagram is dropped, because the other interface's socket gets its own copy; a
    unicast one comes only once and is handed over under the interface that it arrived on.
    """

    def __init__(
        self,
        used: Platform,
        interfaces: Mapping[int, Interface],
        now_ns: Callable[[], int] = time_ns,
    ) -> None:
        self._platform = used
        self._interfaces = interfaces
        self._now_ns = now_ns

    def read(self, opened: socket.socket, interface: Interface, port: int) -> list[Batch]:
        """See `Reader`. Times are those of reading where the kernel doesn't stamp."""
        found: dict[int, tuple[Interface, list[Row]]] = {}
        for _ in range(_MOST):
            try:
                arrival, row = self._row(opened)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionResetError:
                # Windows reports an unreachable port of an earlier send here: nothing of ours.
                continue
            at = interface
            if not self._platform.ISOLATES and arrival.ifindex not in (None, interface.index):
                other = self._interfaces.get(arrival.ifindex or 0)
                if other is None or all(a.address.packed != row[2] for a in other.addresses):
                    continue
                at = other
            found.setdefault(at.index, (at, []))[1].append(row)
        return [Batch.of_rows(at, port, rows) for at, rows in found.values()]

    def _row(self, opened: socket.socket) -> tuple[Arrival, Row]:
        four = opened.family == socket.AF_INET
        ancillary: Ancillary = []
        if sys.platform == "win32":
            payload, source = opened.recvfrom(65_536)
        else:
            payload, ancillary, _, source = opened.recvmsg(65_536, 192)
        arrival = self._platform.read_arrival(Family.IPV4 if four else Family.IPV6, ancillary)
        return arrival, (
            self._now_ns() if arrival.time_ns is None else arrival.time_ns,
            source_key(source),
            arrival.destination or bytes(4 if four else 16),
            -1 if arrival.ttl is None else arrival.ttl,
            payload,
        )


def open_batch_sender() -> SendBatch:
    """The fastest way to send that this system has."""
    if sys.platform == "linux":
        from bcast.sockets import mmsg

        if mmsg.available():
            sender = mmsg.MmsgSender()

            def send(
                opened: socket.socket, payloads: Sequence[bytes], start: int, way: Way
            ) -> int:
                assert way.laid is not None
                return sender.send(opened, payloads, start, way.laid)

            return send
    return send_plainly


def send_plainly(opened: socket.socket, payloads: Sequence[bytes], start: int, way: Way) -> int:
    """See `SendBatch`: sendmsg, or sendto without control messages."""
    for sent in range(len(payloads) - start):
        try:
            if sys.platform == "win32" or not way.ancillary:
                opened.sendto(payloads[start + sent], way.address)
            else:
                opened.sendmsg([payloads[start + sent]], way.ancillary, 0, way.address)
        except OSError:
            if sent:
                return sent
            raise
    return len(payloads) - start


# What a short datagram takes of a receive buffer on Linux, assumed where it can't be measured.
_COST = 832


@cache
def queue_cost(length: int) -> int:
    """Bytes of a receive buffer that a datagram of ``length`` bytes takes.

    More than its own: what the kernel keeps it in counts. Linux tells what one takes that is sent
    over loopback; elsewhere 832 bytes and the payload beyond 150 are assumed.
    """
    assumed = max(_COST, _COST + length - 150)
    if sys.platform != "linux":
        return assumed
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.bind(("127.0.0.1", 0))
            probe.sendto(bytes(length), probe.getsockname())
            told = probe.getsockopt(linux.SOL_SOCKET, linux.SO_MEMINFO, 36)
    except OSError:
        return assumed  # no loopback here, or an old kernel
    # SK_MEMINFO_RMEM_ALLOC is the first u32 (linux/sock_diag.h).
    return int.from_bytes(told[:4], sys.byteorder) or assumed


def queue_room(opened: socket.socket, length: int) -> int:
    """How many datagrams of ``length`` bytes the receive buffer of a socket holds."""
    # On Linux this is twice what was granted, and what the whole cost is charged to.
    size = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    return size // queue_cost(length)


def drop_counter(opened: socket.socket) -> Callable[[], int] | None:
    """A function that tells how many datagrams the kernel dropped from the socket's queue.

    None where the system doesn't count (only Linux does). SO_MEMINFO is exact at once, unlike
    SO_RXQ_OVFL, which comes with the next datagram that gets through.
    """
    if sys.platform != "linux":
        return None

    def drops() -> int:
        told = opened.getsockopt(linux.SOL_SOCKET, linux.SO_MEMINFO, 36)
        # SK_MEMINFO_DROPS is the ninth u32 (linux/sock_diag.h).
        return int.from_bytes(told[32:36], sys.byteorder)

    try:
        drops()
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise
    return drops
