"""Reading the receive queues of several sockets: in turn, within bounds, filtered and counted.

Layer 5. No clock, and nothing waits here: `bcast.receiver` does, and says which are ready.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from bcast.counts import Counts
from bcast.networks import Network, contains
from bcast.sockets.batch import Batch, Row, source_of
from bcast.sockets.transfer import Reader

__all__ = ["Queues"]

# A wake-up reads a socket this often at most before it hands over what it has, so that memory
# and time stay bounded under a flood that never lets the queue run empty.
_DRAIN = 16

# What any reader takes from a socket at once, in datagrams, unless there are fewer.
_AT_ONCE = 64

# Bytes of a receive buffer that the shortest datagram takes, at the least: the systems count
# their bookkeeping (struct sk_buff, an mbuf).
_LEAST = 256

# Sources whose verdict is remembered; forged ones would otherwise fill the memory.
_SOURCES = 4096


class Queues:
    """The sockets of a receiver, as far as they are read.

    They are what ``selector`` waits for with data: a channel, and whether the socket is there for
    its groups only. Datagrams from outside of ``networks``, if there are any, are counted and
    left out.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        read: Reader,
        *,
        port: int,
        networks: Sequence[Network],
        counts: Counts,
    ) -> None:
        self._selector = selector
        self._read = read
        self._port = port
        self._networks = networks
        self._counts = counts
        self._wanted: dict[bytes, bool] = {}

    def drain(self, ready: list[selectors.SelectorKey]) -> list[Batch]:
        """Reads the ready sockets in turn until all are empty, or often enough."""
        batches: list[Batch] = []
        reads = 0
        while ready and reads < _DRAIN:
            still = []
            for key in ready:
                count, kept = self._take(key)
                batches += kept
                if count >= _AT_ONCE:
                    still.append(key)
            reads += len(ready)
            ready = still
        return batches

    def bounds(self) -> dict[int, int]:
        """How many reads take out of each socket, by descriptor, all that it can hold now."""
        held = _LEAST * _AT_ONCE
        return {
            key.fd: 1 + key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // held
            for key in self._selector.get_map().values()
            if key.data is not None and isinstance(key.fileobj, socket.socket)
        }

    def read_rest(self, left: dict[int, int]) -> list[Batch]:
        """Reads once each socket of `bounds`, and takes it off ``left`` when that is over."""
        batches: list[Batch] = []
        ready = {key.fd: key for key, _ in self._selector.select(0) if key.fd in left}
        for descriptor in list(left):
            if descriptor in ready and left[descriptor]:
                left[descriptor] -= 1
                batches += self._take(ready[descriptor])[1]
            else:
                del left[descriptor]
        return batches

    def _take(self, key: selectors.SelectorKey) -> tuple[int, list[Batch]]:
        """The next datagrams of a socket: how many there were, and those that are wanted."""
        channel, extra = key.data
        opened = key.fileobj
        assert isinstance(opened, socket.socket)
        try:
            read = self._read(opened, channel.interface, self._port)
        except OSError:
            # Whatever is wrong with the socket, the watcher sees why; meanwhile the others go on.
            return 0, []
        wanted = []
        for batch in read:
            kept = self._filter(batch, extra)
            if kept.payloads:
                self._counts.received(kept)
                wanted.append(kept)
        return sum(map(len, read)), wanted

    def _filter(self, batch: Batch, extra: bool) -> Batch:
        if extra:
            batch = batch.keep(_is_multicast)
        if self._networks:
            before = len(batch)
            batch = batch.keep(self._is_wanted)
            self._counts.filtered += before - len(batch)
        return batch

    def _is_wanted(self, row: Row) -> bool:
        key = row[1]
        known = self._wanted.get(key)
        if known is None:
            known = contains(self._networks, ip_address(source_of(key)[0]))
            if len(self._wanted) >= _SOURCES:
                self._wanted.clear()
            self._wanted[key] = known
        return known


def _is_multicast(row: Row) -> bool:
    first = row[2][0]
    return first == 0xFF if len(row[2]) == 16 else first & 0xF0 == 0xE0
