from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bcast.interfaces
from bcast.datagram import Interface, InterfaceFlag, Kind
from bcast.errors import ArgumentError, SocketError
from bcast.interfaces.changes import (
    InterfaceAdded,
    InterfaceChange,
    InterfaceChanged,
    InterfaceRemoved,
)
from bcast.interfaces.netlink import RTM_DELLINK, RTM_NEWLINK, Notice, read_notifications
from bcast.interfaces.watch import RECEIVES, Debounce, InterfaceWatcher, watch_changes

UP = InterfaceFlag.UP | InterfaceFlag.RUNNING | InterfaceFlag.BROADCAST
LO = Interface("lo", 1, Kind.LOOPBACK, UP, 65536)
ETH1 = Interface("eth1", 3, Kind.VETH, UP, 1500)
RENAMED = Interface("lan0", 3, Kind.VETH, UP, 1500)


# Debounce


def test_first_wake_up_waits_for_quiet() -> None:
    debounce = Debounce()
    assert debounce.due() is None
    debounce.wake(10.0)
    assert debounce.due() == pytest.approx(10.3)
    debounce.wake(10.2)
    assert debounce.due() == pytest.approx(10.5)
    debounce.done()
    assert debounce.due() is None


def test_constant_flapping_can_not_starve() -> None:
    debounce = Debounce()
    for step in range(100):
        debounce.wake(10.0 + step / 10)
    assert debounce.due() == pytest.approx(11.0)


def test_long_quiet_is_waited_for_in_full() -> None:
    debounce = Debounce(5.0)
    debounce.wake(10.0)
    assert debounce.due() == pytest.approx(15.0)


@given(st.lists(st.floats(0, 10), min_size=1).map(sorted), st.floats(0, 5), st.floats(0, 5))
def test_due_is_never_early_and_never_late(
    wakes: list[float], quiet: float, longest: float
) -> None:
    debounce = Debounce(quiet, longest)
    for now in wakes:
        debounce.wake(now)
    due = debounce.due()
    assert due is not None
    assert due <= wakes[0] + max(quiet, longest)
    assert due == min(wakes[-1] + quiet, wakes[0] + max(quiet, longest))


# The watcher, with a made-up system


class System:
    """A system whose interfaces are what the test says, with a socket that tells of changes."""

    def __init__(self, *interfaces: Interface, tells: bool = True) -> None:
        self.interfaces = interfaces
        self.tells = tells
        self.listings = 0
        self.failure: Exception | None = None
        self.received: list[bytes | OSError] = []
        self.open = False

    def list_interfaces(self) -> tuple[Interface, ...]:
        assert self.open or not self.tells, "listed before it subscribed"
        self.listings += 1
        if self.failure:
            raise self.failure
        return self.interfaces

    def open_socket(self) -> System | None:
        self.open = self.tells
        return self if self.tells else None

    def fileno(self) -> int:
        return 77

    def recv(self, size: int, /) -> bytes:
        if not self.received:
            raise BlockingIOError
        first = self.received.pop(0)
        if isinstance(first, OSError):
            raise first
        return first

    def close(self) -> None:
        self.open = False

    def watcher(self, now: float = 0.0, debounce: float = 0.3) -> InterfaceWatcher:
        return InterfaceWatcher(
            now=now,
            debounce=debounce,
            list_interfaces=self.list_interfaces,
            open_socket=self.open_socket,
            read_notifications=read_notifications,
        )


def link(kind: int, index: int, family: int = 0) -> bytes:
    body = struct.pack("=BxHiII", family, 1, index, 0, 0)
    return struct.pack("=IHHII", 32, kind, 0, 0, 0) + body


def woken(
    system: System, watcher: InterfaceWatcher, now: float, *received: bytes | OSError
) -> None:
    system.received += received
    watcher.wake(now)


def test_starts_with_what_there_is_and_waits_without_end() -> None:
    system = System(LO, ETH1)
    with system.watcher() as watcher:
        assert watcher.interfaces == (LO, ETH1)
        assert watcher.fileno() == 77
        assert watcher.due() is None
        assert watcher.changes(1000.0) == ()
        assert system.listings == 1
    assert not system.open


def test_notification_leads_to_one_listing_after_the_debounce() -> None:
    system = System(LO)
    with system.watcher() as watcher:
        system.interfaces = (LO, ETH1)
        woken(system, watcher, 5.0, link(RTM_NEWLINK, 3), link(RTM_NEWLINK, 3))
        assert watcher.due() == pytest.approx(5.3)
        assert watcher.changes(5.2) == ()
        assert len(watcher.interfaces) == 1
        assert watcher.changes(5.3) == (InterfaceAdded(ETH1),)
        assert len(watcher.interfaces) == 2
        assert watcher.due() is None
        assert system.listings == 2


def test_change_that_leaves_everything_equal_says_nothing() -> None:
    system = System(LO, ETH1)
    with system.watcher() as watcher:
        woken(system, watcher, 5.0, link(RTM_NEWLINK, 3))
        assert watcher.changes(6.0) == ()
        assert system.listings == 2


def test_notification_about_a_bridge_port_does_not_wake() -> None:
    system = System(LO, ETH1)
    with system.watcher() as watcher:
        woken(system, watcher, 5.0, link(RTM_DELLINK, 3, family=7))
        assert watcher.due() is None


def test_deleted_and_created_again_with_the_same_index() -> None:
    system = System(LO, ETH1)
    with system.watcher() as watcher:
        woken(system, watcher, 5.0, link(RTM_DELLINK, 3), link(RTM_NEWLINK, 3))
        assert watcher.changes(6.0) == (
            InterfaceRemoved(ETH1, replaced=True),
            InterfaceAdded(ETH1),
        )
        # and only once
        woken(system, watcher, 7.0, link(RTM_NEWLINK, 3))
        assert watcher.changes(8.0) == ()


def test_deletion_of_what_was_never_listed_is_not_remembered() -> None:
    system = System(LO)
    with system.watcher() as watcher:
        flood = [link(RTM_DELLINK, index) for index in range(2, 50)]
        woken(system, watcher, 5.0, *flood)
        assert watcher._deleted == set()  # memory is all that it would cost
        system.interfaces = (LO, ETH1)
        assert watcher.changes(6.0) == (InterfaceAdded(ETH1),)
        woken(system, watcher, 7.0, link(RTM_NEWLINK, 3))
        assert watcher.changes(8.0) == ()


def test_overrun_is_a_reason_to_look_and_is_readable_until_the_next_listing() -> None:
    system = System(LO)
    with system.watcher() as watcher:
        assert not watcher.overran
        system.interfaces = (LO, ETH1)
        woken(system, watcher, 5.0, OSError(errno.ENOBUFS, "No buffer space"))
        assert watcher.overran
        assert watcher.changes(6.0) == (InterfaceAdded(ETH1),)
        assert watcher.overran
        woken(system, watcher, 7.0, link(RTM_NEWLINK, 3))
        assert watcher.changes(8.0) == ()
        assert not watcher.overran


def test_what_follows_an_overrun_is_still_read() -> None:
    system = System(LO, ETH1)
    with system.watcher() as watcher:
        lost = OSError(errno.ENOBUFS, "No buffer space")
        woken(system, watcher, 5.0, lost, link(RTM_DELLINK, 3))
        assert len(watcher.changes(6.0)) == 2


def test_other_failure_of_the_socket_is_a_reason_to_look() -> None:
    system = System(LO)
    with system.watcher() as watcher:
        woken(system, watcher, 5.0, OSError(errno.EIO, "Input/output error"), b"never read")
        assert watcher.overran
        assert watcher.due() is not None
        assert system.received == [b"never read"]


def test_flood_of_notifications_does_not_hold_the_caller() -> None:
    system = System(LO)
    with system.watcher() as watcher:
        woken(system, watcher, 5.0, *[link(RTM_NEWLINK, 3)] * 1000)
        assert len(system.received) == 1000 - RECEIVES
        for _ in range(1000 // RECEIVES):
            watcher.wake(5.0)
        assert system.received == []


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOMEM, "Cannot allocate memory"), SocketError("timed out")]
)
@pytest.mark.parametrize(("debounce", "again"), [(0.3, 0.3), (0.0, 0.3), (2.0, 2.0)])
def test_listing_that_fails_is_tried_again_and_loses_nothing(
    failure: Exception, debounce: float, again: float
) -> None:
    system = System(LO, ETH1)
    with system.watcher(debounce=debounce) as watcher:
        woken(system, watcher, 5.0, link(RTM_DELLINK, 3), OSError(errno.ENOBUFS, ""))
        system.failure = failure
        assert watcher.changes(10.0) == ()
        assert watcher.interfaces == (LO, ETH1)
        assert watcher.due() == pytest.approx(10.0 + again)
        system.failure = None
        assert len(watcher.changes(10.0 + again)) == 2
        assert watcher.overran
        assert watcher.due() is None


def test_system_that_does_not_tell_is_polled() -> None:
    system = System(LO, tells=False)
    with system.watcher(now=100.0) as watcher:
        assert watcher.fileno() == -1
        assert watcher.due() == pytest.approx(102.0)
        system.interfaces = (LO, ETH1)
        assert watcher.changes(101.9) == ()
        assert watcher.changes(102.5) == (InterfaceAdded(ETH1),)
        assert watcher.due() == pytest.approx(104.5)
        watcher.wake(103.0)
        assert watcher.due() == pytest.approx(103.3)
        system.interfaces = (LO, RENAMED)
        (change,) = watcher.changes(103.3)
        assert isinstance(change, InterfaceChanged)
        assert watcher.due() == pytest.approx(105.3)


def test_nothing_stays_open_when_the_first_listing_fails() -> None:
    system = System(LO)
    system.failure = SocketError("forbidden")
    with pytest.raises(SocketError):
        system.watcher()
    assert not system.open


def test_closed_watcher_is_silent() -> None:
    system = System(LO)
    watcher = system.watcher()
    woken(system, watcher, 5.0, link(RTM_NEWLINK, 3))
    watcher.close()
    watcher.close()
    system.interfaces = ()
    watcher.wake(6.0)
    assert (watcher.fileno(), watcher.due(), watcher.changes(9.0)) == (-1, None, ())
    assert watcher.interfaces == (LO,)


@pytest.mark.parametrize(
    ("debounce", "poll"), [(-0.1, 2.0), (0.3, 0.0), (float("nan"), 2.0), (0.3, float("inf"))]
)
def test_impossible_times_are_refused(debounce: float, poll: float) -> None:
    with pytest.raises(ArgumentError, match="can't watch"):
        InterfaceWatcher(debounce=debounce, poll=poll, now=0.0)


def test_real_socket_of_this_system() -> None:
    with InterfaceWatcher(now=0.0) as watcher:
        assert watcher.interfaces == bcast.interfaces.list_interfaces()
        watcher.wake(0.0)
        if sys.platform == "linux" and watcher.fileno() >= 0:
            assert not os.get_blocking(watcher.fileno())


def test_changes_are_yielded_as_they_happen() -> None:
    system = System(LO)
    clock = 0.0
    waits: list[tuple[int, float | None]] = []

    def wait(descriptor: int, seconds: float | None) -> bool:
        nonlocal clock
        waits.append((descriptor, seconds))
        if seconds is None:
            clock += 5.0
            system.interfaces = (LO, ETH1) if len(system.interfaces) == 1 else (LO,)
            system.received.append(link(RTM_NEWLINK, 3))
            return True
        clock += seconds
        return False

    with system.watcher() as watcher:
        changes: Iterator[InterfaceChange] = watch_changes(watcher, clock=lambda: clock, wait=wait)
        assert next(changes) == InterfaceAdded(ETH1)
        assert clock == pytest.approx(5.3)
        assert next(changes) == InterfaceRemoved(ETH1)
    assert waits == [(77, None), (77, pytest.approx(0.3))] * 2


# What the package gives


def test_every_public_name_is_there() -> None:
    for name in bcast.interfaces.__all__:
        assert getattr(bcast.interfaces, name) is not None
    assert sorted(bcast.interfaces.__all__) == bcast.interfaces.__all__ == dir(bcast.interfaces)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = bcast.interfaces.no_such_name


def test_listing_and_selecting_load_no_watcher_and_no_ifaddr() -> None:
    script = (
        "import sys; before = set(sys.modules); import bcast.interfaces;"
        "print(*set(sys.modules) - before)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    loaded = run.stdout.split()
    assert "bcast.interfaces.selection" in loaded
    unwanted = {"bcast.interfaces.watch", "bcast.interfaces.routing", "ifaddr", "psutil", "ctypes"}
    assert not unwanted & set(loaded)


def test_notice_defaults_to_no_deletion() -> None:
    assert Notice(True).deleted == frozenset()
