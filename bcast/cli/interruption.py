"""Ctrl-C and SIGTERM as a request to end in good order, for commands that run until then."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Stopped", "interruptible"]


class Stopped:
    """Whether it is time to end. ``fileno()`` becomes readable then, for a selector."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._set = False
        self._then: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Called by the signal handlers; only does what is safe at any moment."""
        self._set = True
        try:
            self._writing.send(b"\0")
        except OSError:
            pass  # it is full: whoever waits is awake
        if self._then is not None:
            self._then()

    def call(self, then: Callable[[], None]) -> None:
        """Has ``then`` called when it is time; at once if it is already."""
        self._then = then
        if self._set:
            then()

    def fileno(self) -> int:
        return self._reading.fileno()

    def close(self) -> None:
        self._reading.close()
        self._writing.close()


@contextmanager
def interruptible() -> Iterator[Stopped]:
    """Makes SIGINT and SIGTERM set a `Stopped` for the time of the block."""
    stopped = Stopped()
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda _number, _frame: stopped.set())
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        stopped.close()
