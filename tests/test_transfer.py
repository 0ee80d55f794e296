"""Moving datagrams where there is no recvmmsg, or no recvmsg, or a socket hears too much."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from types import ModuleType
from typing import ClassVar, NamedTuple, cast

import pytest

from bcast.datagram import Address, Family, Interface, InterfaceFlag, Kind
from bcast.sockets import linux, open_receivers, open_sender, transfer
from bcast.sockets.batch import Batch, source_key
from bcast.sockets.plan import Ancillary, Arrival, Platform
from bcast.sockets.transfer import (
    PlainReader,
    drop_counter,
    open_batch_sender,
    open_reader,
    queue_cost,
    queue_room,
    send_plainly,
    way_to,
)

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING
ETH0 = Interface("eth0", 3, Kind.ETHERNET, UP, 1500, None, (Address(IPv4Address("10.9.1.1"), 24),))
ETH1 = Interface(
    "eth1",
    4,
    Kind.ETHERNET,
    UP,
    1500,
    None,
    (Address(IPv4Address("10.9.2.1"), 24), Address(IPv6Address("fd00::1"), 64)),
)
PEER = ("10.9.1.9", 4000)


class Fake:
    """A socket with datagrams in it: (payload, source) or an error, then nothing."""

    family = socket.AF_INET

    def __init__(self, *queue: tuple[bytes, tuple[str, int], Arrival] | OSError) -> None:
        self.queue = list(queue)

    def recvmsg(self, size: int, room: int) -> tuple[bytes, Ancillary, int, tuple[str, int]]:
        assert size >= 65_535
        assert room >= 120
        payload, arrival, source = self._next()
        Told.arrivals.append(arrival)
        return payload, [], 0, source

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        assert size >= 65_535
        payload, arrival, source = self._next()
        Told.arrivals.append(arrival)
        return payload, source

    def _next(self) -> tuple[bytes, Arrival, tuple[str, int]]:
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, "nothing there")
        first = self.queue.pop(0)
        if isinstance(first, OSError):
            raise first
        payload, source, arrival = first
        return payload, arrival, source


class Told:
    """A platform that says of each datagram what its `Fake` said."""

    arrivals: ClassVar[list[Arrival]] = []

    def __init__(self, isolates: bool) -> None:
        self.ISOLATES = isolates

    def read_arrival(self, family: Family, ancillary: Ancillary) -> Arrival:
        return self.arrivals.pop(0)


def read(
    *queue: tuple[bytes, tuple[str, int], Arrival] | OSError,
    isolates: bool = True,
    interface: Interface = ETH0,
    others: Sequence[Interface] = (ETH0, ETH1),
    now_ns: int = 77,
) -> list[Batch]:
    used = cast(Platform, Told(isolates))
    known = {one.index: one for one in others}
    reader = PlainReader(used, known, lambda: now_ns)
    return reader.read(cast(socket.socket, Fake(*queue)), interface, 2222)


def arrived(ifindex: int | None, destination: str) -> Arrival:
    return Arrival(ifindex, IPv4Address(destination).packed, None, 64, 5)


def test_a_plain_read() -> None:
    (batch,) = read((b"hi", PEER, arrived(3, "10.9.1.1")), (b"", PEER, Arrival()))
    assert (batch.interface, batch.port, batch.payloads, batch.size) == (
        ETH0,
        2222,
        [b"hi", b""],
        2,
    )
    key = source_key(PEER)
    assert batch.rows == [
        (5, key, bytes([10, 9, 1, 1]), 64, b"hi"),
        # Nothing was said about it: the time is that of reading, the rest unknown.
        (77, key, bytes(4), -1, b""),
    ]


def test_nothing_there() -> None:
    assert read() == []


def test_one_busy_socket_does_not_keep_the_others_waiting() -> None:
    (batch,) = read(*[(b"x", PEER, Arrival())] * 100)
    assert len(batch) == 64


def test_an_unreachable_port_of_an_earlier_send_is_nothing_of_ours() -> None:
    # WSAECONNRESET, which Windows reports on the next receive.
    (batch,) = read(
        ConnectionResetError(10054, "reset"), (b"hi", PEER, Arrival()), ConnectionResetError()
    )
    assert batch.payloads == [b"hi"]


def test_other_errors_are_raised() -> None:
    with pytest.raises(OSError, match="gone"):
        read(OSError(errno.ENETDOWN, "gone"))


def test_a_socket_that_isolates_is_taken_at_its_word() -> None:
    (batch,) = read((b"hi", PEER, arrived(4, "255.255.255.255")))
    assert batch.interface == ETH0


@pytest.mark.parametrize("destination", ["255.255.255.255", "10.9.2.255", "239.1.2.3"])
def test_what_another_interfaces_socket_gets_too_is_dropped(destination: str) -> None:
    assert read((b"hi", PEER, arrived(4, destination)), isolates=False) == []


def test_unicast_is_handed_over_under_the_interface_that_it_arrived_on() -> None:
    batches = read(
        (b"ours", PEER, arrived(3, "10.9.1.1")),
        (b"theirs", PEER, arrived(4, "10.9.2.1")),
        (b"broadcast", PEER, arrived(3, "255.255.255.255")),
        (b"theirs too", PEER, arrived(4, "10.9.2.1")),
        isolates=False,
    )
    assert [(batch.interface, batch.payloads) for batch in batches] == [
        (ETH0, [b"ours", b"broadcast"]),
        (ETH1, [b"theirs", b"theirs too"]),
    ]


def test_unicast_of_an_interface_that_is_not_received_on_is_dropped() -> None:
    assert read((b"hi", PEER, arrived(4, "10.9.2.1")), isolates=False, others=[ETH0]) == []


def test_an_arrival_without_an_interface_is_the_sockets_own() -> None:
    (batch,) = read((b"hi", PEER, Arrival()), isolates=False)
    assert batch.interface == ETH0


def test_where_python_has_no_recvmsg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(Fake, "recvmsg")
    (batch,) = read((b"hi", PEER, Arrival()))
    assert batch.payloads == [b"hi"]


def test_the_fastest_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        assert open_batch_sender() is send_plainly
        return
    from bcast.sockets import mmsg

    assert getattr(open_reader({}), "__self__").__class__ is mmsg.MmsgReader  # noqa: B009
    assert open_batch_sender() is not send_plainly
    monkeypatch.setattr(mmsg, "available", lambda: False)
    assert getattr(open_reader({}), "__self__").__class__ is PlainReader  # noqa: B009
    assert open_batch_sender() is send_plainly


# -- on real sockets ------------------------------------------------------------------------------


def loopback() -> Interface:
    names = {name: index for index, name in socket.if_nameindex()}
    name = "lo" if "lo" in names else "lo0"
    flags = UP | InterfaceFlag.LOOPBACK
    own = (Address(IPv4Address("127.0.0.1"), 8), Address(IPv6Address("::1"), 128))
    return Interface(name, names[name], Kind.LOOPBACK, flags, 16_384, None, own)


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Linux's options")


class Ends(NamedTuple):
    """A sender's and a receiver's socket on the loopback interface."""

    lo: Interface
    sending: socket.socket
    receiving: socket.socket
    port: int
    source: IPv4Address

    def ancillary(self) -> Ancillary:
        return linux.send_ancillary(self.lo, self.source)


@contextmanager
def ends(buffer: int = 1 << 20) -> Iterator[Ends]:
    lo, source = loopback(), IPv4Address("127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open_sender(lo, Family.IPV4, source=source) as sending:
        (receiving,) = open_receivers(lo, Family.IPV4, port=port, share=False, buffer=buffer)
        with receiving:
            yield Ends(lo, sending, receiving, port, source)


ways = pytest.mark.parametrize(
    "way",
    [pytest.param(open_batch_sender, id="batch"), pytest.param(lambda: send_plainly, id="plain")],
)
Way = Callable[[], transfer.SendBatch]


@linux_only
@ways
def test_both_ways_of_sending_do_the_same(way: Way) -> None:
    send = way()
    with ends() as e:
        payloads = [b"%d" % i for i in range(70)]
        target = IPv4Address("127.0.0.1")
        sent = 0
        there = way_to(target, e.port, 0, e.ancillary())
        while sent < len(payloads):
            sent += send(e.sending, payloads, sent, there)
        read = open_reader({})
        found = []
        while batches := read(e.receiving, e.lo, e.port):
            found += [p for batch in batches for p in batch.payloads]
        assert found == payloads
        assert send(e.sending, [b"without"], 0, way_to(target, e.port, 0, [])) == 1
        with pytest.raises(OSError, match="Message too long") as raised:
            send(e.sending, [bytes(65_508), b"x"], 0, there)
        assert raised.value.errno == errno.EMSGSIZE
        assert send(e.sending, [b"x", bytes(65_508)], 0, there) == 1
        gone = linux.send_ancillary(e.lo, IPv4Address("10.255.0.1"))
        with pytest.raises(OSError, match=r"Invalid|unreachable|Cannot") as raised:
            send(e.sending, [b"x"], 0, way_to(target, e.port, 0, gone))
        assert raised.value.errno in (errno.EINVAL, errno.ENETUNREACH, errno.EADDRNOTAVAIL)


@linux_only
@ways
def test_a_scoped_destination(way: Way) -> None:
    lo = loopback()
    try:
        source = IPv6Address("::1")
        sending = open_sender(lo, Family.IPV6, source=source)
        (receiving,) = open_receivers(lo, Family.IPV6, port=free6(), share=False)
    except OSError:
        pytest.skip("needs IPv6 on lo")
    with sending, receiving:
        port = receiving.getsockname()[1]
        told = linux.send_ancillary(lo, source)
        there = way_to(IPv6Address("::1%lo"), port, lo.index, told)
        assert there.address == ("::1", port, 0, lo.index)
        assert way()(sending, [b"hi"], 0, there) == 1
        (batch,) = open_reader({})(receiving, lo, port)
        assert batch.datagrams()[0].source.address == source


def free6() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        port: int = probe.getsockname()[1]
        return port


@linux_only
def test_received_and_dropped_is_sent() -> None:
    with ends(buffer=4096) as e:
        count = drop_counter(e.receiving)
        assert count is not None
        assert count() == 0
        for _ in range(500):
            e.sending.sendto(b"x" * 100, ("127.0.0.1", e.port))
        # At once, not only with the next datagram that gets through.
        dropped = count()
        assert dropped > 0
        read, received = open_reader({}), 0
        while batches := read(e.receiving, e.lo, e.port):
            received += sum(map(len, batches))
        assert received + dropped == 500
        assert count() == dropped


@linux_only
@pytest.mark.parametrize("length", [20, 150, 1200])
def test_as_many_fit_as_there_is_room_for(length: int) -> None:
    with ends(buffer=60_000) as e:
        room = queue_room(e.receiving, length)
        for _ in range(2 * room + 10):
            e.sending.sendto(bytes(length), ("127.0.0.1", e.port))
        read, received = open_reader({}), 0
        while batches := read(e.receiving, e.lo, e.port):
            received += sum(map(len, batches))
        # The one that goes over the limit is still taken.
        assert room <= received <= room + 2


def test_the_room_is_assumed_where_nothing_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    queue_cost.cache_clear()
    try:
        assert queue_cost(150) == 832
        assert queue_cost(1) == 832
        assert queue_cost(1200) == 832 + 1050
    finally:
        queue_cost.cache_clear()


@linux_only
def test_a_kernel_that_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self, number: int) -> None:
            self.number = number

        def getsockopt(self, *_: int) -> bytes:
            raise OSError(self.number, "no such option")

    assert drop_counter(cast(socket.socket, Old(errno.ENOPROTOOPT))) is None
    with pytest.raises(OSError, match="no such option"):
        drop_counter(cast(socket.socket, Old(errno.EBADF)))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert drop_counter(cast(socket.socket, Old(errno.EBADF))) is None


def test_every_public_name_is_there() -> None:
    module: ModuleType = transfer
    assert transfer.__all__ == sorted(transfer.__all__)
    assert all(hasattr(module, name) for name in transfer.__all__)
