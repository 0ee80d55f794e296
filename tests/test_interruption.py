"""Ctrl-C and SIGTERM as a request to end in good order."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys

import pytest

from bcast.cli.interruption import Interrupted, interruptible
from bcast.errors import SocketError

if sys.platform == "win32":
    pytest.skip("a process can't send itself these signals", allow_module_level=True)


def test_a_signal_is_noted_and_what_was_set_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    called = []
    with interruptible() as stopped:
        stopped.call(lambda: called.append(1))
        assert not stopped.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.is_set()
        assert called == [1]
    assert signal.getsignal(signal.SIGTERM) is before


def test_which_signal_came_is_noted_and_told_once_to_whoever_waits() -> None:
    with interruptible() as stopped:
        assert stopped.number is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.number == signal.SIGTERM
        assert select.select([stopped], [], [], 0)[0]
        stopped.quieten()
        assert not select.select([stopped], [], [], 0)[0]
        assert stopped.is_set()


def test_a_slow_reader_is_waited_for_as_long_as_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, ...]] = []
    monkeypatch.setattr("bcast.cli.interruption.abandon", lambda stream: None)
    monkeypatch.setattr(signal, "setitimer", lambda _, *seconds: timers.append(seconds))
    with interruptible() as stopped:
        with stopped.breaking():
            stopped.goes_on()
            assert timers == []
            stopped.set(signal.SIGINT)
            stopped.goes_on()
            assert timers == [(1.0, 1.0)] * 2
            with pytest.raises(Interrupted):
                os.kill(os.getpid(), signal.SIGALRM)
        os.kill(os.getpid(), signal.SIGALRM)
        with stopped.breaking():
            assert timers == [(1.0, 1.0)] * 3


def test_too_many_open_files_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("bcast.cli.interruption.socket.socketpair", full)
    with pytest.raises(SocketError, match="limit"), interruptible():
        pass
    assert signal.getsignal(signal.SIGINT) is before
