"""Reading the receive queues of several sockets, whatever goes on arriving."""

from __future__ import annotations

import errno
import selectors
import socket
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from bcast.counts import Counts
from bcast.datagram import Interface, InterfaceFlag, Kind
from bcast.networks import Network, parse_networks
from bcast.queues import Queues
from bcast.sockets.batch import Batch, Row, source_key

ETH0 = Interface("eth0", 3, Kind.ETHERNET, InterfaceFlag.UP, 1500)
SOURCE = source_key(("192.0.2.7", 1234))
GROUP, BROADCAST = bytes([239, 1, 2, 3]), b"\xff" * 4


def rows(count: int, to: bytes = BROADCAST) -> list[Row]:
    return [(n, SOURCE, to, 1, b"%d" % n) for n in range(count)]


class Waiting:
    """Sockets that are always readable, and what is read from each of them next."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.left: dict[int, Callable[[], list[Row]]] = {}
        self.reads: list[int] = []
        self.counts = Counts()
        self._sockets: list[socket.socket] = []

    def add(self, take: Callable[[], list[Row]], *, extra: bool = False) -> int:
        ours, theirs = socket.socketpair()
        theirs.send(b"\0")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self._sockets += ours, theirs
        self.selector.register(
            ours, selectors.EVENT_READ, (SimpleNamespace(interface=ETH0), extra)
        )
        self.left[ours.fileno()] = take
        return ours.fileno()

    def read(self, opened: socket.socket, interface: Interface, port: int) -> list[Batch]:
        self.reads.append(opened.fileno())
        found = self.left[opened.fileno()]()
        if not found:
            opened.recv(100)
        return [Batch.of_rows(interface, port, found)] if found else []

    def queues(self, networks: tuple[Network, ...] = ()) -> Queues:
        return Queues(self.selector, self.read, port=2222, networks=networks, counts=self.counts)

    def drain(self, queues: Queues) -> list[Batch]:
        return queues.drain([key for key, _ in self.selector.select(0)])

    def close(self) -> None:
        self.selector.close()
        for one in self._sockets:
            one.close()


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    made = Waiting()
    yield made
    made.close()


def once(*pieces: list[Row]) -> Callable[[], list[Row]]:
    """What is read piece by piece, and then nothing."""
    left = iter(pieces)
    return lambda: next(left, [])


def for_ever() -> list[Row]:
    return rows(64)


def test_ready_sockets_are_read_in_turn_until_they_are_empty(waiting: Waiting) -> None:
    one = waiting.add(once(rows(64), rows(64), rows(3)))
    other = waiting.add(once(rows(64), rows(1)))
    found = waiting.drain(waiting.queues())
    assert waiting.reads == [one, other, one, other, one]
    assert sum(map(len, found)) == waiting.counts.statistics(()).datagrams == 64 * 3 + 4


@pytest.mark.parametrize("wanted", ["192.0.2.0/24", "198.51.100.0/24"])
def test_a_flood_is_read_in_pieces_wanted_or_not(waiting: Waiting, wanted: str) -> None:
    waiting.add(for_ever)
    found = waiting.drain(waiting.queues(parse_networks(wanted)))
    kept, left_out = sum(map(len, found)), waiting.counts.filtered
    assert kept + left_out == 64 * len(waiting.reads)
    assert 1 < len(waiting.reads) < 100
    assert (kept == 0) is (wanted[:3] == "198")


def test_a_socket_for_groups_hears_no_broadcast(waiting: Waiting) -> None:
    waiting.add(once(rows(2, GROUP) + rows(3, BROADCAST)), extra=True)
    [batch] = waiting.drain(waiting.queues())
    assert [row[2] for row in batch.rows] == [GROUP, GROUP]


def test_a_socket_that_fails_does_not_stop_the_others(waiting: Waiting) -> None:
    def fail() -> list[Row]:
        raise OSError(errno.ENETDOWN, "down")

    waiting.add(fail)
    waiting.add(once(rows(2)))
    assert sum(map(len, waiting.drain(waiting.queues()))) == 2


def test_the_rest_is_all_there_is(waiting: Waiting) -> None:
    waiting.add(once(rows(64), rows(2)))
    waiting.add(once(rows(1)))
    queues = waiting.queues()
    left, found = queues.bounds(), 0
    while left:
        found += sum(map(len, queues.read_rest(left)))
    assert found == 67


def test_the_rest_has_an_end_in_a_flood(waiting: Waiting) -> None:
    # Each socket may hold this many of the shortest datagrams; what it holds has to be read.
    descriptor = waiting.add(for_ever)
    queues = waiting.queues()
    left, found = queues.bounds(), 0
    assert left.keys() == {descriptor}
    while left:
        found += sum(map(len, queues.read_rest(left)))
        assert found < 10_000
    assert found >= 65_536 // 256


def test_verdicts_about_sources_do_not_fill_the_memory(waiting: Waiting) -> None:
    queues = waiting.queues(parse_networks("192.0.2.0/24"))
    forged = [source_key(("192.0.2.1", port)) for port in range(1, 10_001)]
    pieces = [
        [(0, key, GROUP, 1, b"") for key in forged[n : n + 100]] for n in range(0, 10_000, 100)
    ]
    take = once(*pieces)
    waiting.add(take)
    found = 0
    while batches := waiting.drain(queues):
        found += sum(map(len, batches))
    assert found == 10_000
    assert len(queues._wanted) <= 4096
