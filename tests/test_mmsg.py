"""Batches by recvmmsg and sendmmsg: the same as one datagram at a time, only faster."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Address, Family, Interface, InterfaceFlag, Kind
from bcast.sockets import linux, open_receivers, open_sender
from bcast.sockets.batch import Batch, Row, source_key
from bcast.sockets.plan import Ancillary, SetOption, run_steps
from bcast.sockets.transfer import PlainReader

if sys.platform != "linux":
    pytest.skip("recvmmsg and sendmmsg by these layouts are Linux's", allow_module_level=True)

from bcast.sockets import mmsg

if not mmsg.available():
    pytest.skip(
        "this system hasn't recvmmsg and sendmmsg, or not in 64 bits", allow_module_level=True
    )

LO = Interface(
    "lo",
    socket.if_nametoindex("lo"),
    Kind.LOOPBACK,
    InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.LOOPBACK,
    65_536,
    addresses=(Address(IPv4Address("127.0.0.1"), 8), Address(IPv6Address("::1"), 128)),
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


families = pytest.mark.parametrize(
    "family",
    [
        Family.IPV4,
        pytest.param(
            Family.IPV6, marks=pytest.mark.skipif(not has_ipv6(), reason="needs IPv6 on lo")
        ),
    ],
)


@contextmanager
def receivers(family: Family, number: int) -> Iterator[list[socket.socket]]:
    """As many sockets of a receiver on lo, each with a port of its own."""
    with ExitStack() as stack:
        opened = []
        for _ in range(number):
            with socket.socket(
                socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM
            ) as probe:
                probe.bind(("127.0.0.1" if family == 4 else "::1", 0))
                port = probe.getsockname()[1]
            (one,) = open_receivers(LO, family, port=port, share=False)
            opened.append(stack.enter_context(one))
        yield opened


@contextmanager
def sender(family: Family, **options: int) -> Iterator[socket.socket]:
    source = LO.addresses_of(family)[0].address
    with open_sender(LO, family, source=source, **options) as opened:  # type: ignore[arg-type, unused-ignore]
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)
        yield opened


def to(opened: socket.socket) -> tuple[str, int] | tuple[str, int, int, int]:
    port = opened.getsockname()[1]
    return ("127.0.0.1", port) if opened.family == socket.AF_INET else ("::1", port, 0, 0)


def ancillary(family: Family) -> Ancillary:
    return linux.send_ancillary(LO, LO.addresses_of(family)[0].address)


def read_all(reader: mmsg.MmsgReader | PlainReader, opened: socket.socket) -> list[Batch]:
    batches: list[Batch] = []
    while found := reader.read(opened, LO, opened.getsockname()[1]):
        batches += found
    return batches


def without_time(batches: Sequence[Batch]) -> list[tuple[object, ...]]:
    return [row[1:] for batch in batches for row in batch.rows]


SIZES = (0, 1, 200, 2047, 2048, 2049, 9000, 0, 65_488, 65_507, 3, 65_536 - 28 - 1)


def payload(size: int) -> bytes:
    return (b"%d:" % size + os.urandom(16) * (size // 16 + 1))[:size]


@families
def test_a_batch_is_what_one_at_a_time_would_read(family: Family) -> None:
    limit = LO.payload_limit(family)
    payloads = [payload(min(size, limit)) for size in SIZES] + [b"small"] * 70
    with sender(family, ttl=7) as sending, receivers(family, 2) as (ours, plain):
        for each in payloads:
            for opened in (ours, plain):
                sending.sendto(each, to(opened))
        fast = read_all(mmsg.MmsgReader(), ours)
        slow = read_all(PlainReader(linux, {LO.index: LO}), plain)
        assert without_time(fast) == without_time(slow)
        assert [len(batch) for batch in fast] == [64, len(payloads) - 64]
        assert [p for batch in fast for p in batch.payloads] == payloads
        assert all(batch.size == sum(map(len, batch.payloads)) for batch in fast)
        assert {row[3] for batch in fast for row in batch.rows} == {7}
        # Not sorted: what arrives just after the first socket of a machine asked for times may be
        # stamped when it is read.
        times = [row[0] for batch in (*fast, *slow) for row in batch.rows]
        assert max(times) - min(times) < 10_000_000_000


@families
def test_one_reader_reads_many_sockets(family: Family) -> None:
    reader = mmsg.MmsgReader()
    with sender(family) as sending, receivers(family, 3) as opened:
        for number, each in enumerate(opened):
            for _ in range(number + 1):
                sending.sendto(b"x" * (5000 * number), to(each))
        # What was read of one must not change when another is read.
        batches = [batch for each in opened for batch in reader.read(each, LO, 1)]
        assert [batch.payloads for batch in batches] == [
            [b"x" * (5000 * number)] * (number + 1) for number in range(3)
        ]
        assert [len(batch.rows) for batch in batches] == [1, 2, 3]
        assert {row[1] for batch in batches for row in batch.rows} == {
            source_key(sending.getsockname())
        }


@families
def test_nothing_there_is_no_batch(family: Family) -> None:
    with receivers(family, 1) as (opened,):
        assert mmsg.MmsgReader().read(opened, LO, 1) == []
        # Not even on a socket that would wait: it never blocks.
        opened.setblocking(True)
        assert mmsg.MmsgReader().read(opened, LO, 1) == []


def test_an_error_is_an_oserror() -> None:
    with receivers(Family.IPV4, 1) as (opened,):
        pass
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        mmsg.MmsgReader().read(opened, LO, 1)
    assert raised.value.errno == errno.EBADF


OFF = {
    Family.IPV4: (
        SetOption(linux.SOL_SOCKET, linux.SO_TIMESTAMPNS, 0, "SO_TIMESTAMPNS"),
        SetOption(linux.IPPROTO_IP, linux.IP_PKTINFO, 0, "IP_PKTINFO"),
        SetOption(linux.IPPROTO_IP, linux.IP_RECVTTL, 0, "IP_RECVTTL"),
    ),
    Family.IPV6: (
        SetOption(linux.SOL_SOCKET, linux.SO_TIMESTAMPNS, 0, "SO_TIMESTAMPNS"),
        SetOption(linux.IPPROTO_IPV6, linux.IPV6_RECVPKTINFO, 0, "IPV6_RECVPKTINFO"),
        SetOption(linux.IPPROTO_IPV6, linux.IPV6_RECVHOPLIMIT, 0, "IPV6_RECVHOPLIMIT"),
    ),
}


@families
@pytest.mark.parametrize("missing", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_what_the_kernel_does_not_tell(family: Family, missing: tuple[int, ...]) -> None:
    with sender(family, ttl=9) as sending, receivers(family, 1) as (opened,):
        run_steps(opened, [OFF[family][i] for i in missing], "lo")
        for said in (b"one", b"two"):
            sending.sendto(said, to(opened))
        (batch,) = mmsg.MmsgReader().read(opened, LO, 1)
        own = LO.addresses_of(family)[0].address.packed
        for time_ns, key, destination, ttl, _ in batch.rows:
            assert (time_ns == 0) == (0 in missing)
            assert destination == (bytes(len(own)) if 1 in missing else own)
            assert ttl == (-1 if 2 in missing else 9)
            assert key == source_key(sending.getsockname())
        assert [row[4] for row in batch.rows] == batch.payloads == [b"one", b"two"]


@families
def test_more_is_told_than_was_asked_for(family: Family) -> None:
    # SO_RXQ_OVFL puts one more message between the others, once something was dropped.
    with sender(family) as sending, receivers(family, 1) as (opened,):
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.setsockopt(linux.SOL_SOCKET, linux.SO_RXQ_OVFL, 1)
        for _ in range(20):
            sending.sendto(b"x" * 1000, to(opened))
        reader = mmsg.MmsgReader()
        read_all(reader, opened)
        sending.sendto(b"last", to(opened))
        ((row,),) = (batch.rows for batch in reader.read(opened, LO, 1))
        assert row[4] == b"last"
        assert row[2] == LO.addresses_of(family)[0].address.packed
        assert row[3] > 0
        assert row[0] > 0


# -- control messages in any order, missing, cut off ----------------------------------------------

messages = st.lists(
    st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 100), st.binary(max_size=40)),
    max_size=5,
)


@given(messages)
def test_what_is_laid_out_is_taken_apart(told: Ancillary) -> None:
    assert mmsg._split_control(mmsg.lay_out(told)) == told


@given(messages, st.integers(0, 300))
def test_what_is_cut_off_is_left_out(told: Ancillary, cut: int) -> None:
    laid = mmsg.lay_out(told)
    found = mmsg._split_control(laid[:cut])
    assert found == told[: len(found)]
    if cut >= len(laid):
        assert found == told


@given(st.binary(max_size=200))
def test_no_control_buffer_can_hurt(control: bytes) -> None:
    for level, kind, data in mmsg._split_control(control):
        assert isinstance(level, int)
        assert isinstance(kind, int)
        assert data in control


_Told = tuple[int, bytes, int]


@st.composite
def arrivals(draw: st.DrawFn, four: bool) -> tuple[_Told, Ancillary]:
    """Time, destination and TTL, with their messages in any order among others."""
    size = 4 if four else 16
    time_ns = draw(st.integers(0, 2**62))
    destination = draw(st.binary(min_size=size, max_size=size))
    ttl = draw(st.integers(0, 255))
    stamp = struct.pack("=qq", *divmod(time_ns, 1_000_000_000))
    index = struct.pack("=i", 7)
    told = [(1, 35, stamp), (41, 50, destination + index), (41, 52, struct.pack("=i", ttl))]
    if four:
        told[1:] = [(0, 8, index + bytes(4) + destination), (0, 2, struct.pack("=i", ttl))]
    if draw(st.booleans()):
        told.append((1, 40, b"\1\2\3\4"))
    return (time_ns, destination, ttl), draw(st.permutations(told))


@given(st.data(), st.booleans())
def test_control_messages_in_any_order(data: st.DataObject, four: bool) -> None:
    count = data.draw(st.integers(1, 4))
    values = [data.draw(arrivals(four)) for _ in range(count)]
    payloads = [b"%d" % i for i in range(count)]
    keys = [bytes([i]) * (16 if four else 28) for i in range(count)]
    laid = [mmsg.lay_out(told) for _, told in values]
    names = b"".join(key.ljust(28, b"\xff") for key in keys)
    controls = b"".join(one.ljust(mmsg._CONTROL, b"\xaa") for one in laid)
    parts = mmsg._load_slowly(names, controls, list(map(len, laid)), payloads, four)
    batch = Batch(LO, 1, payloads, lambda: parts, 0)
    expected: list[Row] = [
        (time_ns, key, destination, ttl, said)
        for ((time_ns, destination, ttl), _), key, said in zip(values, keys, payloads, strict=True)
    ]
    assert batch.rows == expected


@given(st.lists(st.binary(max_size=128), min_size=1, max_size=4), st.booleans(), st.data())
def test_whatever_is_in_the_control_buffers(
    controls: list[bytes], four: bool, data: st.DataObject
) -> None:
    # A length that says more than there is room for is the kernel's way to say it was cut off.
    lengths = [data.draw(st.integers(0, 300)) for _ in controls]
    laid = b"".join(one.ljust(mmsg._CONTROL, b"\0") for one in controls)
    names = bytes(28 * len(controls))
    payloads = [b""] * len(controls)
    parts = list(mmsg._load_slowly(names, laid, lengths, payloads, four))
    assert len(parts) == len(controls)
    for (_, _, destination, ttl), (name,), _ in parts:
        assert len(destination) == (4 if four else 16)
        assert len(name) == (16 if four else 28)
        assert isinstance(ttl, int)


# -- sending --------------------------------------------------------------------------------------


def send(
    sending: mmsg.MmsgSender,
    opened: socket.socket,
    payloads: Sequence[bytes],
    target: socket.socket,
    control: Ancillary,
    start: int = 0,
) -> int:
    return sending.send(opened, payloads, start, heading(target, control))


def heading(target: socket.socket, control: Ancillary) -> mmsg.Heading:
    return mmsg.Heading(source_key(to(target)), mmsg.lay_out(control))


def payloads_of(opened: socket.socket) -> list[bytes]:
    return [p for b in read_all(mmsg.MmsgReader(), opened) for p in b.payloads]


@families
def test_a_call_sends_as_many_as_fit(family: Family) -> None:
    payloads = [b"%d" % i * (i % 7) for i in range(150)]
    with sender(family) as opened, receivers(family, 2) as (first, second):
        sending = mmsg.MmsgSender()
        sent = 0
        rounds = []
        while sent < len(payloads):
            count = send(sending, opened, payloads, first, ancillary(family), sent)
            rounds.append(count)
            sent += count
        assert rounds == [64, 64, 22]
        assert payloads_of(first) == payloads
        # To somebody else, without control messages, and fewer than before.
        assert send(sending, opened, (b"one", b""), second, []) == 2
        assert send(sending, opened, [b"three"], first, ancillary(family)) == 1
        assert payloads_of(second) == [b"one", b""]
        assert payloads_of(first) == [b"three"]


@families
def test_what_is_sent_is_what_sendmsg_sends(family: Family) -> None:
    limit = LO.payload_limit(family)
    payloads = [payload(min(size, limit)) for size in SIZES]
    with sender(family, ttl=5) as opened, receivers(family, 2) as (ours, plain):
        assert send(mmsg.MmsgSender(), opened, payloads, ours, ancillary(family)) == len(payloads)
        for each in payloads:
            opened.sendmsg([each], ancillary(family), 0, to(plain))
        assert without_time(read_all(mmsg.MmsgReader(), ours)) == without_time(
            read_all(mmsg.MmsgReader(), plain)
        )


def test_what_fails_in_between() -> None:
    with sender(Family.IPV4) as opened, receivers(Family.IPV4, 1) as (target,):
        sending = mmsg.MmsgSender()
        payloads = [b"one", b"two", bytes(65_508), b"four"]
        assert send(sending, opened, payloads, target, ancillary(Family.IPV4)) == 2
        with pytest.raises(OSError, match="Message too long") as raised:
            send(sending, opened, payloads, target, ancillary(Family.IPV4), 2)
        assert raised.value.errno == errno.EMSGSIZE
        assert send(sending, opened, payloads, target, ancillary(Family.IPV4), 3) == 1
        assert payloads_of(target) == [b"one", b"two", b"four"]


def test_a_full_send_buffer_does_not_block() -> None:
    # UDP over lo is delivered at once, so it takes another family to fill a buffer.
    name = b"\0bcast %d" % os.getpid()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as right,
    ):
        right.bind(name)
        nearby = mmsg.Heading(struct.pack("=H", socket.AF_UNIX) + name, b"")
        sending, count = mmsg.MmsgSender(), 0

        def fill() -> None:
            nonlocal count
            for _ in range(10_000):
                count += sending.send(left, [b"x" * 1000] * 64, 0, nearby)

        with pytest.raises(BlockingIOError):
            fill()
        assert count > 0
        right.setblocking(False)
        assert right.recv(2000) == b"x" * 1000


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([0, 1, 3, 200, 2048, 3000, 20_000]), min_size=1, max_size=70),
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_payloads_one_after_the_other(rounds: list[tuple[list[int], int]]) -> None:
    # What one call leaves in the arrays must not show in the next.
    mark = 0
    with sender(Family.IPV4) as opened, receivers(Family.IPV4, 2) as targets:
        sending, reader = mmsg.MmsgSender(), mmsg.MmsgReader()
        headings = [heading(target, ancillary(Family.IPV4)) for target in targets]
        for sizes, which in rounds:
            payloads = []
            for size in sizes:
                mark += 1
                payloads.append((b"%d " % mark * (size // 2 + 1))[:size])
            sent = 0
            while sent < len(payloads):
                sent += sending.send(opened, payloads, sent, headings[which])
                found = read_all(reader, targets[which])
                first = sent - sum(map(len, found))
                assert [p for batch in found for p in batch.payloads] == payloads[first:sent]


def test_the_payloads_must_not_die_before_the_call() -> None:
    # Pointers go to the kernel, so the bytes that they point at have to be held until then.
    with sender(Family.IPV4) as opened, receivers(Family.IPV4, 1) as (target,):
        sending = mmsg.MmsgSender()
        for round_ in range(20):
            made = [bytes([round_ + i]) * 700 for i in range(64)]
            assert send(sending, opened, made, target, ancillary(Family.IPV4)) == 64
            assert payloads_of(target) == [bytes([round_ + i]) * 700 for i in range(64)]
