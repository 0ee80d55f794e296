"""Ctrl-C and SIGTERM as a request to end in good order, for commands that run until then."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from bcast.errors import SocketError, open_files_advice

__all__ = ["Interrupted", "Stopped", "abandon", "held", "interruptible"]


# Seconds that a reader who has stopped reading is waited for after a signal.
_PATIENCE = 1.0


class Interrupted(SystemExit):
    """The output was stuck after a signal, or a second one came: nothing is to be tried again."""


def abandon(stream: TextIO) -> None:
    """Lets what is still to be written to a stream go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Stopped:
    """Whether it is time to end. ``fileno()`` becomes readable then, for a selector."""

    def __init__(self) -> None:
        try:
            self._reading, self._writing = socket.socketpair()
        except OSError as error:
            raise SocketError(
                f"can't wait for signals: {error.strerror}", open_files_advice()
            ) from error
        self._writing.setblocking(False)
        #: The signal that came first; None before one.
        self.number: int | None = None
        self._set = False
        self._breaks = False
        self._then: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self._set

    def set(self, number: int | None = None) -> None:
        """Called by the signal handlers; only does what is safe at any moment."""
        again, self._set = self._set, True
        if not again:
            self.number = number
        try:
            self._writing.send(b"\0")
        except OSError:
            pass  # it is full: whoever waits is awake
        if self._then is not None:
            self._then()
        if again:
            self._give_up()
        self._be_patient()

    def _be_patient(self) -> None:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)

    def goes_on(self) -> None:
        """Says that the reader still takes something: after a signal its second begins anew."""
        if self._set:
            self._be_patient()

    def break_off(self) -> None:
        """Called some time after `set`: whoever reads the output has had long enough."""
        if self._breaks:
            self._give_up()

    def _give_up(self) -> None:
        # Whoever reads our output has stopped reading, and won't get the rest of it either.
        abandon(sys.stdout)
        raise Interrupted(0)

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """A block that may wait for a reader for ever.

        In it a signal raises `Interrupted`, if the block doesn't end within a second of it, of
        its beginning, and of what `goes_on` says.
        """
        self.goes_on()
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

    def quieten(self) -> None:
        """Lets ``fileno()`` be readable no more, for whoever has seen it and isn't done yet."""
        self._reading.recv(1)

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
            before[number] = signal.signal(number, lambda number, _frame: stopped.set(number))
        if sys.platform != "win32":
            before[signal.SIGALRM] = signal.signal(
                signal.SIGALRM, lambda _number, _frame: stopped.break_off()
            )
        yield stopped
    finally:
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        stopped.close()


@contextmanager
def held() -> Iterator[None]:
    """Keeps SIGINT and SIGTERM until the block is over, so that what it did is noted.

    Then the first of them ends the command, with 128 + its number.
    """
    came: list[int] = []
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda number, _frame: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise SystemExit(128 + came[0])
