"""Ctrl-C and SIGTERM as a request to end in good order, for commands that run until then."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Interrupted", "Stopped", "interruptible"]


class Interrupted(BaseException):
    """A signal came while the output was stuck, or a second one. Nothing is to be tried again."""


class Stopped:
    """Whether it is time to end. ``fileno()`` becomes readable then, for a selector."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)
        self._set = False
        self._breaks = False
        self._then: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Called by the signal handlers; only does what is safe at any moment."""
        again, self._set = self._set, True
        try:
            self._writing.send(b"\0")
        except OSError:
            pass  # it is full: whoever waits is awake
        if self._then is not None:
            self._then()
        if self._breaks or again:
            raise Interrupted

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """A block that may wait for a reader for ever: in it a signal raises `Interrupted`."""
        self._breaks = True
        try:
            yield
        finally:
            self._breaks = False

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
