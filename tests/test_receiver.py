"""The receiver: over the loopback interface, and in labs through what happens to interfaces."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from bcast.channels import InterfaceFailed
from bcast.datagram import Address, Datagram, Family, Group, Interface
from bcast.errors import ArgumentError, BcastError, InterfaceError, PortTakenError, SocketError
from bcast.interfaces import InterfaceChanged
from bcast.lab import Lab, LabError
from bcast.receiver import Receiver
from bcast.sender import Sender
from bcast.sockets import open_receivers
from tests.command import PATIENCE, eventually, free_port
from tests.loopback import Watcher, loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def send(port: int) -> Iterator[Callable[..., None]]:
    """Sends payloads to everybody on lo."""
    with Sender("lo") as sender:

        def everybody(*payloads: bytes, to: str = "all-hosts") -> None:
            results = sender.send_many(payloads, to=to, port=port)
            assert sum(sent.count for sent in results.sent) == len(payloads)

        for _ in range(2):  # the first opens its socket, the second subscribes to changes
            everybody(b"to whom it may concern")
        yield everybody


Send = Callable[..., None]


def payloads(datagrams: list[Datagram]) -> list[bytes]:
    return [datagram.payload for datagram in datagrams]


# -- opening and closing --------------------------------------------------------------------------


def test_a_context_manager_closes_everything(port: int, send: Send) -> None:
    with nothing_leaks(), Receiver("lo", port=port, timeout=5.0) as receiver:
        send(b"hi")
        assert next(iter(receiver)).payload == b"hi"
    with nothing_leaks(), pytest.raises(ZeroDivisionError), Receiver("lo", port=port):
        raise ZeroDivisionError


def test_closing_twice_and_using_it_afterwards(port: int, send: Send) -> None:
    receiver = Receiver("lo", port=port)
    send(b"hi")
    assert receiver.receive(5.0) is not None
    before = receiver.statistics
    receiver.close()
    receiver.close()
    receiver.stop()
    assert receiver.receive(5.0) is None
    assert receiver.read(5.0) == []
    assert list(receiver) == []
    assert receiver.changes() == []
    after = receiver.statistics
    assert (after.datagrams, after.bytes, after.kernel_drops) == (1, 2, before.kernel_drops)


def test_one_that_is_forgotten_is_warned_of(port: int) -> None:
    def forget() -> None:
        Receiver("lo", port=port)
        gc.collect()

    with pytest.warns(ResourceWarning):
        forget()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"port": 0}, ArgumentError),
        ({"port": 65_536}, ArgumentError),
        ({"groups": ["nonsense"]}, ArgumentError),
        ({"groups": ["239.1.2.3"], "family": 6}, ArgumentError),
        ({"groups": [f"239.1.2.{n}" for n in range(25)], "share": False}, ArgumentError),
        ({"family": 5}, ArgumentError),
        ({"sources": ["nowhere"]}, ArgumentError),
        ({"interfaces": "a b"}, ArgumentError),
        ({"interfaces": "lo", "exclude": "a b"}, ArgumentError),
        ({"interfaces": "nosuch0"}, InterfaceError),
        ({"interfaces": "lo", "exclude": "lo"}, InterfaceError),
    ],
    ids=str,
)
def test_arguments_that_can_not_be(options: dict[str, object], kind: type[BcastError]) -> None:
    with nothing_leaks(), pytest.raises(kind):
        Receiver(**{"interfaces": "lo", "port": 2222, **options})  # type: ignore[arg-type, unused-ignore]


def fail(*_: object, **__: object) -> None:
    raise OSError(errno.EMFILE, "enough")


@pytest.mark.parametrize(
    "stage",
    [
        "bcast.receiver.open_reader",
        "bcast.receiver.InterfaceWatcher",
        "bcast.receiver.select",
        "bcast.channels.open_receivers",
        "bcast.channels.drop_counter",
        "bcast.receiver.Receiver._register",
    ],
)
def test_a_failure_while_opening_leaves_nothing_open(
    stage: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, fail)
    with nothing_leaks(), pytest.raises(OSError, match="enough"):
        Receiver("lo", port=port)


@pytest.mark.parametrize(
    "what", ["bcast.receiver.selectors.DefaultSelector", "bcast.receiver.socket.socketpair"]
)
def test_too_many_open_files_are_a_sentence(
    what: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what, fail)
    with nothing_leaks(), pytest.raises(SocketError, match="raise that with ulimit -n") as raised:
        Receiver("lo", port=port)
    assert raised.value.error == "EMFILE"


def test_a_listing_that_fails_leaves_nothing_open(port: int) -> None:
    def unlisted() -> tuple[Interface, ...]:
        raise SocketError("no listing today")

    with nothing_leaks(), pytest.raises(SocketError, match="no listing today"):
        Receiver("lo", port=port, list_interfaces=unlisted)


def test_a_port_that_is_taken(port: int) -> None:
    with (
        Receiver("lo", port=port, share=False),
        nothing_leaks(),
        pytest.raises(PortTakenError, match=f"UDP port {port} is taken") as raised,
    ):
        Receiver("lo", port=port)
    assert f"ss -lunp 'sport = :{port}'" in str(raised.value)


def test_no_address_of_the_family(port: int) -> None:
    bare = replace(loopback(), addresses=(Address(IPv4Address("127.0.0.1"), 8),))
    with nothing_leaks(), pytest.raises(InterfaceError, match="no IPv6 address"):
        Receiver("lo", port=port, family=6, list_interfaces=lambda: (bare,))


def test_expressions_may_come_from_anywhere(port: int, send: Send) -> None:
    # A generator can be asked once only; the second time it would mean all usable interfaces.
    only_lo = lambda: (loopback(),)  # noqa: E731
    names = (name for name in ["lo"])
    with Receiver(names, port=port, groups=iter(["239.1.2.3"]), list_interfaces=only_lo) as one:
        send(b"hi")
        send(b"group", to="239.1.2.3")
        one.timeout = 0.0
        assert payloads(list(one)) == [b"hi", b"group"]


# -- receiving ------------------------------------------------------------------------------------


def test_a_datagram_says_everything(port: int, send: Send) -> None:
    group = Group(IPv4Address("239.1.2.3"))
    with Receiver("lo", port=port, groups=[group, "239.1.2.4"]) as receiver:
        send(b"hi", to="239.1.2.3")
        datagram = receiver.receive(5.0)
        assert datagram is not None
        assert datagram.payload == b"hi"
        assert str(datagram.source.address) == "127.0.0.1"
        assert (str(datagram.destination.address), datagram.destination.port) == (
            "239.1.2.3",
            port,
        )
        assert datagram.interface.name == "lo"
        assert datagram.ttl == 1
        assert abs(datagram.time - time.time()) < 60
        (chosen,) = receiver.selection.chosen
        assert chosen.name == "lo"
        (state,) = receiver.states
        assert (state.interface.name, state.state, state.reason) == ("lo", "ready", "")


def test_iteration_ends_after_its_time(port: int, send: Send) -> None:
    with Receiver("lo", port=port, timeout=0.2) as receiver:
        start = time.monotonic()
        send(b"one", b"two")
        assert payloads(list(receiver)) == [b"one", b"two"]
        assert 0.2 <= time.monotonic() - start < 5
        # Each iteration has its own time; what is there already is had in none at all.
        send(b"three")
        receiver.timeout = 0.0
        assert payloads(list(receiver)) == [b"three"]
        assert list(receiver) == []


def test_receiving_one_by_one(port: int, send: Send) -> None:
    with Receiver("lo", port=port) as receiver:
        assert receiver.receive(0.0) is None
        start = time.monotonic()
        assert receiver.receive(0.1) is None
        assert 0.1 <= time.monotonic() - start < 5
        send(b"one", b"two", b"three")
        found = [receiver.receive(5.0) for _ in range(3)]
        assert payloads([d for d in found if d]) == [b"one", b"two", b"three"]
        assert receiver.receive(0.0) is None


def test_one_by_one_and_all_together(port: int, send: Send) -> None:
    with Receiver("lo", port=port, timeout=0.2) as receiver:
        send(b"one", b"two", b"three")
        first = receiver.receive(5.0)
        assert first is not None
        assert first.payload == b"one"
        send(b"four")
        assert payloads(list(receiver)) == [b"two", b"three", b"four"]


def test_batches(port: int, send: Send) -> None:
    with Receiver("lo", port=port) as receiver:
        sent = [b"%d" % n for n in range(300)]
        send(*sent)
        found: list[bytes] = []
        while len(found) < 300:
            batches = receiver.read(5.0)
            assert all(batch.interface.name == "lo" and batch.port == port for batch in batches)
            found += [payload for batch in batches for payload in batch.payloads]
        assert found == sent
        start = time.monotonic()
        assert receiver.read(0.1) == []
        assert 0.1 <= time.monotonic() - start < 5


def test_a_flood_is_handed_over_in_pieces(port: int, send: Send) -> None:
    with Receiver("lo", port=port, buffer=1 << 24) as receiver:
        for _ in range(80):
            send(*[b""] * 64)
        first = sum(len(batch) for batch in receiver.read(5.0))
        assert 64 <= first < 80 * 64
        receiver.timeout = 0.2
        statistics = receiver.statistics
        rest = len(list(receiver))
        assert first + rest + (receiver.statistics.kernel_drops or 0) == 80 * 64
        assert statistics.datagrams == first


def test_what_was_not_asked_for(port: int) -> None:
    with Receiver("lo", port=port, sources=["127.0.0.64/26", "::1"], timeout=0.0) as receiver:
        for source, expected in (("127.0.0.65", True), ("127.0.0.9", False)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
                plain.bind((source, 0))
                plain.sendto(b"yes" if expected else b"no", ("127.0.0.1", port))
        assert payloads(list(receiver)) == [b"yes"]
        statistics = receiver.statistics
        assert (statistics.datagrams, statistics.filtered) == (1, 1)


def test_one_family(port: int) -> None:
    with (
        Receiver("lo", port=port, family=Family.IPV4, timeout=0.1) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as plain,
    ):
        try:
            plain.sendto(b"six", ("::1", port))
        except OSError:
            pytest.skip("needs IPv6 on lo")
        assert list(four) == []
        with Receiver("lo", port=port, family=6, timeout=5.0) as six:
            plain.sendto(b"six", ("::1", port))
            assert next(iter(six)).payload == b"six"


def test_two_receivers_share_a_port(port: int, send: Send) -> None:
    with (
        Receiver("lo", port=port, timeout=5.0) as one,
        Receiver("lo", port=port, timeout=5.0) as other,
    ):
        send(b"hi")
        assert next(iter(one)).payload == next(iter(other)).payload == b"hi"


def test_a_socket_that_fails_does_not_stop_the_others(
    port: int, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver("lo", port=port, timeout=5.0) as receiver:
        read, failures = receiver._queues._read, []

        def flaky(opened: socket.socket, interface: Interface, number: int) -> object:
            if opened.family == socket.AF_INET6:
                failures.append(opened)
                opened.recv(100)
                raise OSError(errno.ENETDOWN, "gone")
            return read(opened, interface, number)

        monkeypatch.setattr(receiver._queues, "_read", flaky)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as plain:
            try:
                plain.sendto(b"six", ("::1", port))
            except OSError:
                pytest.skip("needs IPv6 on lo")
        send(b"four")
        assert next(iter(receiver)).payload == b"four"
        eventually(lambda: receiver.read(0.0) == [] and failures)


# -- what is left at the end ----------------------------------------------------------------------


def test_waking_makes_it_return_and_not_end(port: int, send: Send) -> None:
    with Receiver("lo", port=port) as receiver:
        timer = soon(receiver.wake)
        assert receiver.read(PATIENCE) == []
        timer.join()
        send(b"hi")
        assert [batch.payloads for batch in receiver.read(PATIENCE)] == [[b"hi"]]


def test_the_rest_is_all_that_had_arrived(port: int, send: Send) -> None:
    with Receiver("lo", port=port, buffer=1 << 24) as receiver:
        sent = [b"%d" % n for n in range(3000)]
        send(*sent)
        assert [p for piece in receiver.rest() for b in piece for p in b.payloads] == sent
        assert list(receiver.rest()) == []
        assert receiver.statistics.datagrams == 3000
        send(b"more")
        receiver.stop()
        assert list(receiver.rest()) == []


# -- ending it from elsewhere ---------------------------------------------------------------------


def soon(what: Callable[[], object], seconds: float = 0.2) -> threading.Timer:
    timer = threading.Timer(seconds, what)
    timer.start()
    return timer


@pytest.mark.parametrize("way", ["iterate", "receive", "read"])
@pytest.mark.parametrize("end", ["close", "stop"])
def test_another_thread_ends_it_at_once(port: int, way: str, end: str) -> None:
    with nothing_leaks():
        receiver = Receiver("lo", port=port)
        timer = soon(getattr(receiver, end))
        start = time.monotonic()
        if way == "iterate":
            assert list(receiver) == []
        elif way == "receive":
            assert receiver.receive() is None
        else:
            assert receiver.read() == []
        assert 0.1 < time.monotonic() - start < 5
        timer.join()


def test_nothing_more_is_handed_out_once_it_is_closed(port: int, send: Send) -> None:
    with Receiver("lo", port=port) as receiver:
        send(*[b"%d" % n for n in range(10)])
        found = []
        for datagram in receiver:
            found.append(datagram.payload)
            thread = threading.Thread(target=receiver.close)
            thread.start()
            thread.join(timeout=5)
            assert not thread.is_alive()
        assert found == [b"0"]


def test_it_may_be_closed_by_who_reads_it(port: int, send: Send) -> None:
    with nothing_leaks():
        receiver = Receiver("lo", port=port)
        found = []
        send(b"one", b"two")
        for datagram in receiver:
            found.append(datagram.payload)
            receiver.close()
        assert found == [b"one"]


def test_a_signal_handler_may_stop_it(port: int) -> None:
    with nothing_leaks(), Receiver("lo", port=port) as receiver:
        before = signal.signal(signal.SIGUSR1, lambda *_: receiver.stop())
        try:
            timer = soon(lambda: os.kill(os.getpid(), signal.SIGUSR1))
            assert list(receiver) == []
            timer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert receiver.statistics.datagrams == 0


def test_closing_in_the_middle_of_a_flood(port: int, send: Send) -> None:
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            send(*[b"x"] * 64)

    sending = threading.Thread(target=flood)
    sending.start()
    try:
        receiver = Receiver("lo", port=port)
        timer = soon(receiver.close)
        count = sum(1 for _ in receiver)
        timer.join(timeout=5)
        assert not timer.is_alive()
        assert count > 0
    finally:
        stop.set()
        sending.join()


# -- counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", Family)
def test_under_a_flood_what_was_received_and_dropped_is_what_was_sent(
    port: int, family: Family
) -> None:
    source, sent = ("127.0.0.1", "::1")[family == 6], 5_000
    with Receiver("lo", port=port, buffer=8192, family=family) as receiver:
        flooding = socket.AF_INET6 if family == 6 else socket.AF_INET
        with socket.socket(flooding, socket.SOCK_DGRAM) as plain:
            try:
                plain.connect((source, port))
            except OSError:
                pytest.skip("needs IPv6 on lo")
            received = 0
            for n in range(sent):
                plain.send(b"x" * (n % 500))
                if n % 700 == 0:
                    received += sum(len(batch) for batch in receiver.read(5.0))
        while batches := receiver.read(0.1):
            received += sum(len(batch) for batch in batches)
        statistics = receiver.statistics
        dropped = statistics.kernel_drops
        assert dropped is not None
        assert dropped > 1000
        assert received == statistics.datagrams
        assert received + dropped == sent
    # The count outlives the sockets.
    after = receiver.statistics
    assert (after.kernel_drops, after.datagrams) == (dropped, received)
    assert after.interfaces["lo"].kernel_drops == dropped


@pytest.mark.parametrize("to", ["all-hosts", "239.1.2.1", "239.1.2.25", "127.0.0.1"])
def test_what_was_dropped_is_counted_once_however_many_groups(port: int, to: str) -> None:
    # More groups than a socket takes: all but one of the sockets are there for their group only.
    groups = ["127.0.0.1@239.1.2.1", *(f"239.1.2.{n}" for n in range(2, 26))]
    with Receiver("lo", port=port, groups=groups, buffer=8192, family=4) as receiver:
        with Sender("lo") as sender:
            for _ in range(20):
                sender.send_many([b"x" * 100] * 50, to=to, port=port)
        received = 0
        while batches := receiver.read(0.0):
            received += sum(len(batch) for batch in batches)
        assert received > 0
        assert (receiver.statistics.kernel_drops or 0) > 0
        assert received + (receiver.statistics.kernel_drops or 0) == 1000


def test_statistics(port: int, send: Send) -> None:
    with Receiver("lo", port=port, buffer=50_000, timeout=0.2) as receiver:
        start = receiver.statistics
        assert (start.datagrams, start.bytes, start.kernel_drops, start.filtered) == (0, 0, 0, 0)
        send(b"12345", b"", b"67")
        list(receiver)
        statistics = receiver.statistics
        assert (statistics.datagrams, statistics.bytes) == (3, 7)
        (lo,) = statistics.interfaces.values()
        assert (lo.datagrams, lo.bytes, lo.kernel_drops, lo.buffer) == (3, 7, 0, 50_000)
    (lo,) = receiver.statistics.interfaces.values()
    assert (lo.datagrams, lo.bytes, lo.kernel_drops, lo.buffer) == (3, 7, 0, 50_000)


# -- interfaces that change, by a watcher that says what the test wants ---------------------------


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Watcher]:
    monkeypatch.setattr("bcast.receiver.InterfaceWatcher", Watcher)
    Watcher.made.clear()
    return lambda: Watcher.made[-1]


def test_changes_are_told_and_followed(
    port: int, send: Send, watcher: Callable[[], Watcher]
) -> None:
    with Receiver("lo", port=port) as receiver:
        lo = loopback()
        watcher().tell(replace(lo, mtu=1234))
        assert receiver.read(5.0) == []
        (change,) = receiver.changes()
        assert isinstance(change, InterfaceChanged)
        assert change.sentence == "lo has an MTU of 1234 bytes now"
        assert receiver.changes() == []
        assert [s.interface.mtu for s in receiver.states] == [1234]

        watcher().tell()
        receiver.read(5.0)
        assert [change.sentence for change in receiver.changes()] == ["lo was deleted"]
        assert [(s.state, s.reason) for s in receiver.states] == [("waiting", "gone")]
        send(b"unheard")
        assert receiver.read(0.1) == []

        watcher().tell(lo)
        receiver.read(5.0)
        assert [change.sentence for change in receiver.changes()] == ["lo appeared"]
        assert [s.state for s in receiver.states] == ["ready"]
        send(b"heard")
        datagram = receiver.receive(5.0)
        assert datagram is not None
        assert datagram.payload == b"heard"


def test_iteration_goes_on_through_changes(
    port: int, send: Send, watcher: Callable[[], Watcher]
) -> None:
    with Receiver("lo", port=port, timeout=5.0) as receiver:
        found = iter(receiver)
        for mtu in (1000, 2000):
            watcher().tell(replace(loopback(), mtu=mtu))
            send(b"%d" % mtu)
            assert next(found).payload == b"%d" % mtu
        assert len(receiver.changes()) <= 2


def test_changes_that_nobody_asks_for_do_not_pile_up(
    port: int, watcher: Callable[[], Watcher]
) -> None:
    # A container host can see thousands a day; who only iterates never takes them.
    with Receiver("lo", port=port) as receiver:
        for mtu in range(1000, 2500):
            watcher().tell(replace(loopback(), mtu=mtu))
            receiver.read(0.0)
        told = receiver.changes()
        assert len(told) <= 1024
        assert told[-1].sentence == "lo has an MTU of 2499 bytes now"


def test_counts_survive_another_name(
    port: int, send: Send, watcher: Callable[[], Watcher]
) -> None:
    with Receiver("lo", port=port, buffer=4096) as receiver:
        send(*[b"x" * 500] * 40)
        received = sum(len(batch) for batch in receiver.read(5.0))
        watcher().tell(replace(loopback(), name="lan0"))
        send(*[b"x" * 500] * 60)
        while batches := receiver.read(0.2) or (receiver.changes() and receiver.read(0.2)):
            received += sum(len(batch) for batch in batches)
        assert receiver.statistics.datagrams == received
        assert received + (receiver.statistics.kernel_drops or 0) == 100
        watcher().tell()
        receiver.read(5.0)
        assert received + (receiver.statistics.kernel_drops or 0) == 100


def test_a_failure_is_tried_again(
    port: int, watcher: Callable[[], Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {Family.IPV4}
    kind: type[SocketError] = SocketError

    def refuse(interface: Interface, family: Family, **options: object) -> list[socket.socket]:
        if family in taken:
            raise kind("it is taken", interface=interface.name)
        return open_receivers(interface, family, **options)  # type: ignore[arg-type, unused-ignore]

    monkeypatch.setattr("bcast.channels.open_receivers", refuse)
    now = 0.0
    with Receiver("lo", port=port, clock=lambda: now) as receiver:
        if not loopback().addresses_of(Family.IPV6):
            pytest.skip("needs IPv6 on lo")
        (failure,) = receiver.changes()
        assert isinstance(failure, InterfaceFailed)
        assert failure.sentence == "it is taken"
        assert [s.reason for s in receiver.states] == ["it is taken"]
        # Every second, until it works.
        now = 1.1
        receiver.read(0.0)
        taken.clear()
        now = 2.0
        receiver.read(0.0)
        assert [s.reason for s in receiver.states] == ["it is taken"]
        now = 2.2
        receiver.read(0.0)
        assert [(s.state, s.reason) for s in receiver.states] == [("ready", "")]
        assert [notice.sentence for notice in receiver.changes()] == [
            f"lo receives on port {port} now"
        ]
    # A port that is taken everywhere is no failure to go on with, in one family or in both.
    kind = PortTakenError
    for families in ({Family.IPV4}, set(Family)):
        taken |= families
        with nothing_leaks():
            with pytest.raises(PortTakenError):
                Receiver("lo", port=port)
            watcher().close()


def test_interfaces_without_number_do_not_fill_the_memory(
    port: int, watcher: Callable[[], Watcher]
) -> None:
    # Pods come and go: each has had an interface of another name.
    lo = loopback()
    with Receiver("all", port=port, family=4) as receiver:
        for n in range(500):
            watcher().tell(replace(lo, name=f"veth{n}"), deleted=frozenset([lo.index]))
            receiver.read(0.0)
            receiver.changes()
        assert len(receiver.statistics.interfaces) < 200
        assert len(receiver.states) < 10


# -- in a lab -------------------------------------------------------------------------------------

_INTERFACES = """
import json, os, subprocess, time
import bcast
result = []
def states():
    return [[s.interface.name, s.state, s.reason] for s in receiver.states]
def until(sentence):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        receiver.read(0.1)
        if any(sentence in change.sentence for change in receiver.changes()):
            print("seen", flush=True)
            return result.append(states())
    raise SystemExit(f"no {sentence} in 10 s")
before = len(os.listdir("/proc/self/fd"))
with bcast.Receiver(["eth0", "eth1"], port=2222, groups=["239.1.2.3", "ff15::1"]) as receiver:
    result.append(states())
    print("open", flush=True)
    until("eth1 went down")
    until("eth1 came up")
    until("eth1 was deleted")
    until("eth0 is now called lan0")
result.append(len(os.listdir("/proc/self/fd")) - before)
print(json.dumps(result))
"""


@pytest.mark.kernel("a host whose interfaces can be changed")
def test_what_happens_to_interfaces(lab: Lab) -> None:
    host = lab.host("a")
    host.connect(lab.segment("blue"))
    host.connect(lab.segment("green"))
    running = host.start_python(_INTERFACES, env={"PYTHONWARNINGS": "default::ResourceWarning"})
    running.wait_for("open")
    for command in (
        "ip link set eth1 down",
        "ip link set eth1 up",
        "ip link del eth1",
        "ip link set eth0 name lan0",
    ):
        try:
            host.setup(command)
        except LabError:
            # Before Linux 6.2 an interface that is up can't be renamed.
            if "name" not in command:
                raise
            host.setup("ip link set eth0 down", command, "ip link set lan0 up")
        running.wait_for("seen", timeout=PATIENCE)
    assert running.wait(timeout=20.0) == 0, running.errors()
    assert running.errors() == ""
    start, down, up, deleted, renamed, left = json.loads(running.output().splitlines()[-1])
    ready = [["eth0", "ready", ""], ["eth1", "ready", ""]]
    assert start == up == ready
    assert down == [["eth0", "ready", ""], ["eth1", "waiting", "down"]]
    assert deleted == [["eth0", "ready", ""], ["eth1", "waiting", "gone"]]
    assert renamed == [["lan0", "ready", ""], ["eth1", "waiting", "gone"]]
    assert left == 0
