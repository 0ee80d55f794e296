"""Moving datagrams through open sockets: in batches where the system can, one by one elsewhere."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from time import time_ns

from bcast.datagram import Family, Interface, IPAddress
from bcast.sockets import linux, platform
from bcast.sockets.batch import Batch, Row, source_key
from bcast.sockets.plan import Ancillary, Arrival, Platform

__all__ = [
    "PlainReader",
    "Reader",
    "SendBatch",
    "drop_counter",
    "open_batch_sender",
    "open_reader",
    "send_plainly",
]

#: What reads: (socket, its interface, its port) -> the next datagrams, [] if there are none.
Reader = Callable[[socket.socket, Interface, int], list[Batch]]

#: What sends: (socket, payloads, destination address, port, scope id, control messages) -> how
#: many were sent, at least one; raises OSError if not even the first could be.
SendBatch = Callable[[socket.socket, Sequence[bytes], IPAddress, int, int, Ancillary], int]


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
                opened: socket.socket,
                payloads: Sequence[bytes],
                address: IPAddress,
                port: int,
                scope: int,
                ancillary: Ancillary,
            ) -> int:
                name = source_key(_sockaddr(address, port, scope))
                return sender.send(opened, payloads, name, mmsg.lay_out(ancillary))

            return send
    return send_plainly


def send_plainly(
    opened: socket.socket,
    payloads: Sequence[bytes],
    address: IPAddress,
    port: int,
    scope: int,
    ancillary: Ancillary,
) -> int:
    """See `SendBatch`: sendmsg, or sendto without control messages."""
    to = _sockaddr(address, port, scope)
    sent = 0
    for payload in payloads:
        try:
            if sys.platform == "win32" or not ancillary:
                opened.sendto(payload, to)
            else:
                opened.sendmsg([payload], ancillary, 0, to)
        except OSError:
            if sent:
                break
            raise
        sent += 1
    return sent


def _sockaddr(
    address: IPAddress, port: int, scope: int
) -> tuple[str, int] | tuple[str, int, int, int]:
    if address.version == 4:
        return (str(address), port)
    return (str(address).partition("%")[0], port, 0, scope)


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
