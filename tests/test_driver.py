"""The driver: over the loopback interface, and in labs through what happens to interfaces."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from bcast.datagram import Endpoint, Family
from bcast.destinations import ALL_HOSTS, DEFAULT_GROUPS
from bcast.driver import Driver, families_of
from bcast.errors import ArgumentError, BcastError, InterfaceError, PortTakenError, SocketError
from bcast.machine import Outgoing
from bcast.receiver import Receiver
from bcast.sockets import open_sender
from tests.command import PATIENCE, free_port
from tests.echo import Echo, everybody
from tests.loopback import Watcher, loopback, nothing_leaks

if sys.platform != "linux":
    pytest.skip("the loopback interface is used as Linux has it", allow_module_level=True)

GROUP = DEFAULT_GROUPS[0]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def port() -> int:
    return free_port()


Open = Callable[..., Driver[bytes]]


@pytest.fixture
def run(port: int, clock: Clock) -> Iterator[Open]:
    """Opens drivers on lo, by default as 127.0.0.1, which are closed at the end."""
    with ExitStack() as opened:

        def on_loopback(machine: Echo, *own: str, **options: object) -> Driver[bytes]:
            lo = loopback(*(own or ("127.0.0.1",)))
            settings: dict[str, object] = {
                "port": port,
                "groups": DEFAULT_GROUPS,
                "interfaces": "lo",
                "clock": clock,
                "list_interfaces": lambda: (lo,),
                **options,
            }
            return opened.enter_context(
                Driver(machine, **settings)  # type: ignore[arg-type, unused-ignore]
            )

        yield on_loopback


# -- what goes through it -------------------------------------------------------------------------


def test_what_is_asked_is_answered(port: int, clock: Clock, run: Open) -> None:
    asking, other = Echo(b"asking"), Echo(b"other")
    first, second = run(asking, "127.0.0.1"), run(other, "127.0.0.2")
    asking.say(b"who", everybody(port))
    first.flush(clock())
    second.wait(PATIENCE)
    first.wait(PATIENCE)
    # The own question comes back, as it does to every member, and so does the own answer.
    [question] = [d for received in other.received for d in received.datagrams]
    assert (question.payload, question.ttl) == (b"who", 255)
    assert question.source.address == IPv4Address("127.0.0.1")
    assert question.destination == everybody(port)
    assert first.endpoints == (question.source,)
    assert question.interface.name == "lo"
    [answer] = [
        d for received in asking.received for d in received.datagrams if d.payload == b"other"
    ]
    assert (answer.source.address, answer.ttl) == (IPv4Address("127.0.0.2"), 255)
    # It came to the socket that the question was sent from, and to nobody else.
    assert answer.destination == question.source
    assert answer.source.port not in (port, question.source.port)
    assert other.next_event() is None


def test_several_share_the_port_and_each_gets_its_replies(
    port: int, clock: Clock, run: Open
) -> None:
    machines = [Echo(b"%d" % n) for n in range(4)]
    drivers = [run(machine) for machine in machines]
    with Receiver("lo", port=port, groups=[GROUP]) as stranger:
        for machine, driver in zip(machines, drivers, strict=True):
            machine.say(b"who", everybody(port))
            driver.flush(clock())
        for _ in range(2):
            for driver in drivers:
                driver.turn()
        for machine in machines:
            names = sorted(p for p in machine.payloads if p != b"who")
            assert names == [b"0", b"1", b"2", b"3"]
            assert machine.payloads.count(b"who") == 4
        assert [d.payload for d in stranger.read(0.0)[0].datagrams()] == [b"who"] * 4


def test_broadcasts_go_both_ways(port: int, clock: Clock, run: Open) -> None:
    asking, other = Echo(), Echo(b"other")
    first, second = run(asking), run(other, groups=(), broadcast=True)
    for there in (ALL_HOSTS, IPv4Address("127.255.255.255")):
        asking.say(b"who", Endpoint(there, port))
        first.flush(clock())
        second.turn()
        first.turn()
        assert asking.payloads[-1] == b"other" or b"other" in asking.payloads
    assert other.payloads == [b"who", b"who"]


def test_many_to_one_destination_go_in_order(port: int, clock: Clock, run: Open) -> None:
    sending, receiving = Echo(), Echo()
    first, second = run(sending), run(receiving)
    payloads = [b"%d" % n for n in range(300)]
    for payload in payloads:
        sending.say(payload, everybody(port))
    first.flush(clock())
    second.turn()
    assert receiving.payloads == payloads
    assert (first.traffic.sent, first.traffic.lost) == (300, 0)
    assert second.traffic.received == 300
    assert second.traffic.bytes == sum(map(len, payloads))


def test_one_wake_up_reads_everything_and_has_one_time(port: int, clock: Clock, run: Open) -> None:
    machine, other = Echo(), Echo(b"me too")
    driver, peer = run(machine), run(other)
    machine.say(b"who", everybody(port))
    driver.flush(clock())
    peer.turn()
    other.say(b"news", everybody(port))
    peer.flush(clock())
    # On the shared socket and on its own there is something now; the oldest comes first.
    machine.prank = lambda received: setattr(clock, "now", clock.now + 1.0)
    driver.turn()
    [received] = machine.received
    assert [d.payload for d in received.datagrams] == [b"who", b"me too", b"news"]
    times = [d.time_ns for d in received.datagrams]
    assert times == sorted(times)
    assert (received.drained, received.drops) == (True, 0)
    assert machine.times == [100.0]


@pytest.fixture
def small_gulps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake-up reads less than the receive buffer holds that everybody is granted."""
    monkeypatch.setattr("bcast.driver._DRAIN", 128)


@pytest.mark.usefixtures("small_gulps")
def test_what_is_read_at_once_is_bounded_and_the_rest_follows(
    port: int, clock: Clock, run: Open
) -> None:
    machine, other = Echo(), Echo()
    driver, peer = run(machine), run(other)
    for _ in range(400):
        other.say(b"news", everybody(port))
    peer.flush(clock())
    while not machine.received or not machine.received[-1].drained:
        driver.turn()
    sizes = [len(received.datagrams) for received in machine.received]
    assert sizes == [128, 128, 128, 16]
    drained = [received.drained for received in machine.received]
    assert drained == [False, False, False, True]


@pytest.mark.usefixtures("small_gulps")
def test_the_timer_waits_for_what_was_queued_before(port: int, clock: Clock, run: Open) -> None:
    machine, other = Echo(), Echo()
    driver, peer = run(machine), run(other)
    for _ in range(200):
        other.say(b"news", everybody(port))
    peer.flush(clock())
    machine.timer = clock.now = 101.0
    driver.turn()
    assert not machine.received[-1].drained
    assert machine.called == []
    assert driver.due() == 101.0
    driver.turn()
    assert machine.received[-1].drained
    assert machine.called == [101.0]


@pytest.mark.usefixtures("small_gulps")
def test_a_flood_does_not_keep_the_timer_for_ever(port: int, clock: Clock, run: Open) -> None:
    machine, other = Echo(), Echo()
    driver, peer = run(machine, buffer=200_000), run(other)
    room = sum(2 * 200_000 // 832 for _ in ("shared", "own"))

    def refill(received: object) -> None:
        for _ in range(500):
            other.say(b"junk", everybody(port))
        peer.flush(clock())

    machine.prank = refill
    refill(None)
    machine.timer = clock.now = 101.0
    for _ in range(20):
        driver.turn()
        if machine.called:
            break
        assert not machine.received[-1].drained
    assert machine.called == [101.0]
    assert room <= len(machine.payloads) < room + 256, "all that was queued is read before"


def test_drops_are_told_once(port: int, clock: Clock, run: Open) -> None:
    machine, other = Echo(), Echo()
    driver, peer = run(machine, buffer=20_000), run(other)
    assert driver.attached[0].capacity == 40_000 // 832
    for _ in range(200):
        other.say(b"x" * 150, everybody(port))
    peer.flush(clock())
    driver.turn()
    [received] = machine.received
    assert received.drops == 200 - len(received.datagrams) > 0
    assert driver.traffic.kernel_drops == received.drops
    other.say(b"again", everybody(port))
    peer.flush(clock())
    driver.turn()
    assert machine.received[-1].drops == 0


def test_the_rate_is_what_was_measured_over_several(port: int, clock: Clock, run: Open) -> None:
    machine, other = Echo(), Echo()
    driver, peer = run(machine), run(other)

    def send(count: int) -> float:
        for _ in range(count):
            other.say(b"news", everybody(port))
        peer.flush(clock())
        driver.turn()
        return machine.received[-1].rate

    machine.prank = lambda received: setattr(clock, "now", clock.now + 0.01)
    assert send(7) == 0.0
    assert send(10) == 0.0, "what was measured is told with the next ones"
    assert send(1) == pytest.approx(1000.0)
    assert send(1) == pytest.approx(1000.0), "one alone says nothing about it"
    send(20)
    assert send(1) == pytest.approx(2000.0)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_a_full_buffer_loses_a_datagram_and_that_is_all(
    number: int, port: int, clock: Clock, run: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(number, "full")

    machine = Echo()
    driver = run(machine)
    with monkeypatch.context() as patched:
        patched.setattr("bcast.attachments.send_plainly", full)
        machine.say(b"who", everybody(port))
        driver.flush(clock())
    assert (driver.traffic.sent, driver.traffic.lost) == (0, 1)
    assert [state.state for state in driver.states] == ["ready"]
    machine.say(b"who", everybody(port))
    driver.flush(clock())
    assert (driver.traffic.sent, driver.traffic.lost) == (1, 1)


def test_what_can_not_be_sent_is_told_until_it_can(
    port: int, clock: Clock, run: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    machine = Echo()
    driver = run(machine)
    with monkeypatch.context() as patched:
        patched.setattr("bcast.attachments.send_plainly", refused)
        machine.say(b"who", everybody(port))
        driver.flush(clock())
    [state] = driver.states
    assert state.state == "failed"
    assert state.reason.startswith(f"lo: can't send to {GROUP}: EPERM")
    assert "firewall" in state.reason
    assert machine.names == ["lo"], "it may be over the next time"
    machine.say(b"who", everybody(port))
    driver.flush(clock())
    assert [(s.state, s.reason) for s in driver.states] == [("ready", "")]


@pytest.mark.parametrize(
    "there",
    [
        Endpoint(IPv6Address("ff12::1"), 9),
        Endpoint(IPv6Address("fe80::1%lo"), 9),
        Endpoint(IPv6Address("fe80::1%nosuch0"), 9),
    ],
    ids=str,
)
def test_nowhere_to_go_is_a_loss(there: Endpoint, clock: Clock, run: Open) -> None:
    machine = Echo()
    driver = run(machine)
    machine.say(b"who", there)
    machine.outgoing.append(Outgoing(b"who", 999, everybody(9)))
    driver.flush(clock())
    assert (driver.traffic.sent, driver.traffic.lost) == (0, 2)


def test_a_datagram_that_does_not_fit_is_a_loss(port: int, clock: Clock, run: Open) -> None:
    machine = Echo()
    driver = run(machine)
    machine.say(bytes(65_508), everybody(port))
    driver.flush(clock())
    assert driver.traffic.lost == 1
    assert "EMSGSIZE" in driver.states[0].reason


# -- when it wakes up -----------------------------------------------------------------------------


def test_it_sleeps_until_something_is_due(port: int, clock: Clock, run: Open) -> None:
    machine = Echo()
    driver = run(machine)
    assert driver.due() is None
    assert driver.left() == 86_400.0
    machine.timer = 130.0
    assert (driver.due(), driver.left()) == (130.0, 30.0)
    driver.turn()
    assert machine.called == []
    clock.now = 131.0
    assert driver.left() == 0.0
    machine.again = 30.0
    driver.wait()
    assert machine.called == [131.0]
    assert driver.due() == 161.0
    assert driver.traffic.wakeups == 2


def test_a_descriptor_tells_of_everything(port: int, clock: Clock, run: Open) -> None:
    machine, other = Echo(), Echo()
    driver, peer = run(machine), run(other)
    assert not is_readable(driver)
    other.say(b"news", everybody(port))
    peer.flush(clock())
    assert is_readable(driver)
    driver.turn()
    assert not is_readable(driver)
    ours, theirs = socket.socketpair()
    woken = []
    with ours, theirs:
        driver.watch(ours, lambda now: woken.append((now, ours.recv(9))))
        theirs.send(b"x")
        assert is_readable(driver)
        driver.turn()
        assert woken == [(100.0, b"x")]
        assert not is_readable(driver)


def is_readable(driver: Driver[bytes]) -> bool:
    import select

    return bool(select.select([driver.fileno()], [], [], 0.0)[0])


# -- opening and closing --------------------------------------------------------------------------


def test_it_closes_everything(port: int, clock: Clock) -> None:
    with nothing_leaks():
        driver = Driver(Echo(), port=port, groups=DEFAULT_GROUPS, interfaces="lo", clock=clock)
        driver.turn()
        driver.close()
        driver.close()
    with (
        nothing_leaks(),
        pytest.raises(ZeroDivisionError),
        Driver(Echo(), port=port, groups=DEFAULT_GROUPS, interfaces="lo"),
    ):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"family": 5}, ArgumentError),
        ({"family": 6, "groups": DEFAULT_GROUPS[:1]}, ArgumentError),
        ({"family": 6, "groups": (), "broadcast": True}, ArgumentError),
        ({"interfaces": "a b"}, ArgumentError),
        ({"interfaces": "nosuch0"}, InterfaceError),
        ({"interfaces": "lo", "exclude": "lo"}, InterfaceError),
    ],
    ids=str,
)
def test_arguments_that_can_not_be(options: dict[str, object], kind: type[BcastError]) -> None:
    settings = {"interfaces": "lo", "port": 2222, "groups": DEFAULT_GROUPS, **options}
    with nothing_leaks(), pytest.raises(kind):
        Driver(Echo(), **settings)  # type: ignore[arg-type, unused-ignore]


def test_the_families_that_peers_can_meet_in() -> None:
    four, six = Family.IPV4, Family.IPV6
    assert families_of(tuple(reversed(DEFAULT_GROUPS)), False, None) == (four, six)
    assert families_of(DEFAULT_GROUPS[1:], False, None) == (six,)
    assert families_of(DEFAULT_GROUPS[1:], True, None) == (four, six)
    assert families_of(DEFAULT_GROUPS, True, 6) == (six,)


@pytest.mark.parametrize(
    "stage",
    [
        "bcast.driver.selectors.DefaultSelector",
        "bcast.driver.InterfaceWatcher",
        "bcast.driver.open_reader",
        "bcast.driver.select",
        "bcast.driver.Driver._register",
        "bcast.stations.Station.tell",
        "bcast.attachments.open_sender",
        "bcast.attachments.drop_counter",
        "bcast.channels.open_receivers",
        "bcast.channels.drop_counter",
    ],
)
def test_a_failure_while_opening_leaves_nothing_open(
    stage: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "enough")

    monkeypatch.setattr(stage, fail)
    with nothing_leaks(), pytest.raises(OSError, match="enough"):
        Driver(Echo(), port=port, groups=DEFAULT_GROUPS, interfaces="lo")


def test_a_port_that_is_taken(port: int, run: Open) -> None:
    with Receiver("lo", port=port, share=False), nothing_leaks(), pytest.raises(PortTakenError):
        run(Echo())


def test_ipv6_groups_that_loopback_does_not_carry(port: int, run: Open) -> None:
    try:
        with open_sender(loopback(), Family.IPV6, source=ip_address("::1")) as probe:
            probe.connect((str(DEFAULT_GROUPS[1]), port, 0, 1))
        pytest.skip("needs an lo without a route for IPv6 groups")
    except (OSError, SocketError):
        pass
    if not loopback().addresses_of(Family.IPV6):
        pytest.skip("needs IPv6 on lo")
    machine = Echo()
    driver = run(machine, list_interfaces=lambda: (loopback(),))
    assert [one.families for one in driver.attached] == [(Family.IPV4,)]
    assert [(s.state, s.reason) for s in driver.states] == [("ready", "")]
    with pytest.raises(SocketError, match="can't be reached over it: use IPv4 there"):
        run(machine, list_interfaces=lambda: (loopback(),), family=6)


# -- interfaces that change, by a watcher that says what the test wants ---------------------------


@pytest.fixture
def watcher(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Watcher]:
    monkeypatch.setattr("bcast.driver.InterfaceWatcher", Watcher)
    Watcher.made.clear()
    return lambda: Watcher.made[-1]


def test_the_machine_is_told_what_changes(
    port: int, clock: Clock, run: Open, watcher: Callable[[], Watcher]
) -> None:
    machine = Echo()
    driver = run(machine)
    lo = loopback()
    assert len(machine.attached) == 1
    driver.turn()
    assert len(machine.attached) == 1, "nothing has changed"

    watcher().tell(replace(lo, mtu=1234))
    driver.turn()
    assert [one.interface.mtu for one in machine.attached[-1]] == [1234]
    assert [change.sentence for change in driver.changes()] == ["lo has an MTU of 1234 bytes now"]
    assert driver.changes() == []

    down = replace(lo, flags=lo.flags & ~type(lo.flags).UP)
    watcher().tell(down)
    driver.turn()
    assert machine.attached[-1] == ()
    assert [(s.state, s.reason) for s in driver.states] == [("waiting", "down")]
    watcher().tell(lo)
    driver.turn()
    assert machine.names == ["lo"]

    watcher().tell()
    driver.turn()
    assert machine.attached[-1] == ()
    assert [(s.state, s.reason) for s in driver.states] == [("waiting", "gone")]
    machine.outgoing.append(Outgoing(b"who", lo.index, everybody(port)))
    driver.flush(clock())
    assert driver.traffic.lost == 1
    watcher().tell(lo)
    driver.turn()
    assert machine.names == ["lo"]
    machine.say(b"who", everybody(port))
    driver.flush(clock())
    driver.turn()
    assert machine.payloads == [b"who"]


def test_what_was_created_again_is_gone_first(run: Open, watcher: Callable[[], Watcher]) -> None:
    machine = Echo()
    driver = run(machine)
    watcher().tell(loopback(), deleted=frozenset([loopback().index]))
    driver.turn()
    assert [[a.interface.name for a in told] for told in machine.attached] == [["lo"], [], ["lo"]]


def test_another_address_is_another_socket(
    port: int, clock: Clock, run: Open, watcher: Callable[[], Watcher]
) -> None:
    machine = Echo()
    driver = run(machine)
    for address in ("127.0.0.1", "127.0.0.5"):
        watcher().tell(loopback(address))
        driver.turn()
        machine.say(b"who", everybody(port))
        driver.flush(clock())
        driver.turn()
        source = machine.received[-1].datagrams[0].source
        assert str(source.address) == address
    # Without one it waits, and says so; nothing is tried again in vain.
    watcher().tell(replace(loopback(), addresses=()))
    driver.turn()
    assert machine.attached[-1] == ()
    assert [(s.state, s.reason) for s in driver.states] == [("waiting", "no address")]
    assert driver.due() is None
    watcher().tell(loopback("127.0.0.1"))
    driver.turn()
    assert machine.names == ["lo"]


def test_what_was_queued_when_its_interface_went_is_not_handed_over(
    port: int, clock: Clock, run: Open, watcher: Callable[[], Watcher]
) -> None:
    machine, other = Echo(), Echo()
    driver = run(machine)
    mine = watcher()
    peer = run(other)
    lo = loopback()
    mine.tell(replace(lo, flags=lo.flags & ~type(lo.flags).UP))
    driver.turn()
    other.say(b"news", everybody(port))
    peer.flush(clock())
    driver.turn()
    assert machine.received == []
    assert driver.traffic.received == 1


def test_a_failure_is_tried_again_every_second(
    port: int,
    clock: Clock,
    run: Open,
    watcher: Callable[[], Watcher],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Echo()
    driver = run(machine)

    def refuse(*_: object, **__: object) -> None:
        raise SocketError("no socket today", interface="lo")

    lo = loopback("127.0.0.1")
    with monkeypatch.context() as patched:
        patched.setattr("bcast.attachments.open_sender", refuse)
        watcher().tell(lo, deleted=frozenset([lo.index]))
        driver.turn()
        assert [(s.state, s.reason) for s in driver.states] == [("failed", "no socket today")]
        assert machine.attached[-1] == ()
        assert driver.due() == 101.0
        clock.now = 101.0
        driver.turn()
        assert driver.due() == 102.0
    clock.now = 102.0
    driver.turn()
    assert machine.names == ["lo"]
    assert driver.due() is None
