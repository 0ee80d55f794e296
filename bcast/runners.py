"""What keeps a driver going: a thread of its own, or the event loop that is running.

Layer 5. asyncio is imported by who asks for its loop, and by nobody else.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from bcast.driver import Driver

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

__all__ = ["LoopRunner", "Runner", "ThreadRunner", "run_in_loop"]

ResultT = TypeVar("ResultT")

# Waiting for a lock can't be interrupted on Windows, so Ctrl-C is looked for this often (seconds).
_SLICE = 0.25 if sys.platform == "win32" else None


class Runner(Protocol):
    """Keeps a driver going until it is closed, or fails."""

    #: What ended it, if that wasn't `close`.
    error: BaseException | None

    def call(self, function: Callable[[], ResultT]) -> ResultT:
        """Calls something that concerns the machine; what that has to send is sent at once."""

    def look(self, function: Callable[[], ResultT]) -> ResultT:
        """Calls something that only looks at the machine or takes its events."""

    def close(self) -> None:
        """Ends it and closes the driver. More than once is fine."""


class ThreadRunner:
    """Runs a driver in a thread of its own, which doesn't keep the interpreter from ending.

    ``told`` is called in that thread after each wake-up. A thread may wait for them, see `wait`.
    """

    def __init__(self, driver: Driver[Any], told: Callable[[], object] = lambda: None) -> None:
        self.error: BaseException | None = None
        self._driver = driver
        self._told = told
        self._ending = False
        self._turned = threading.Condition(threading.RLock())
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        driver.watch(self._wake.fileno(), self._swallow)
        self._thread = threading.Thread(target=self._run, name="bcast", daemon=True)
        self._thread.start()

    def _swallow(self, now: float) -> None:
        try:
            self._wake.recv(64)
        except BlockingIOError:
            pass

    def _run(self) -> None:
        try:
            while not self._ending:
                with self._turned:
                    left = self._driver.left()
                # Whoever changes what is due meanwhile nudges.
                self._driver.wait_readable(left)
                with self._turned:
                    if not self._ending:
                        self._driver.turn()
                    self._turned.notify_all()
                self._told()
        except BaseException as error:
            self.error = error
            with self._turned:
                self._ending = True
                self._turned.notify_all()
            self._told()

    def call(self, function: Callable[[], ResultT]) -> ResultT:
        with self._turned:
            result = function()
            if not self._ending:
                self._driver.flush(self._driver.now())
            self._nudge()
        return result

    def look(self, function: Callable[[], ResultT]) -> ResultT:
        with self._turned:
            return function()

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Waits until ``ready()``, asked after each wake-up, or the end; returns the former.

        ``timeout`` in seconds.
        """
        now = self._driver.now
        end = None if timeout is None else now() + timeout
        with self._turned:
            while not ready():
                left = None if end is None else end - now()
                if self._ending or (left is not None and left <= 0):
                    return False
                waits = [t for t in (left, _SLICE) if t is not None]
                self._turned.wait(min(waits, default=None))
            return True

    def _nudge(self) -> None:
        """Lets the thread look at its timers again."""
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full: it is being woken already; closed: nobody is there any more

    def close(self) -> None:
        with self._turned:
            self._ending = True
            self._turned.notify_all()
            self._nudge()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._driver.close()
        self._wake.close()
        self._waker.close()


class LoopRunner:
    """Runs a driver in the event loop that is running; ``told`` is called after each wake-up.

    Raises NotImplementedError where that loop can't wait for file descriptors (Windows' proactor
    loop), or the driver has none: see `run_in_loop`.
    """

    def __init__(self, driver: Driver[Any], told: Callable[[], object]) -> None:
        from asyncio import get_running_loop

        self.error: BaseException | None = None
        self._driver = driver
        self._told = told
        self._loop = get_running_loop()
        self._fileno = driver.fileno()
        if self._fileno < 0:
            raise NotImplementedError("this system's selectors have no file descriptor")
        self._loop.add_reader(self._fileno, self._turn)
        self._timer: TimerHandle | None = None
        self._due: float | None = None
        self._closed = False
        self._arm()

    def _turn(self) -> None:
        try:
            self._driver.turn()
            self._arm()
        except Exception as error:
            # Readable as it stays, it would be called, and fail, for ever.
            self.error = error
            self.close()
        self._told()

    def _arm(self) -> None:
        """Sets the one timer to when the driver is due."""
        due = self._driver.due()
        if due == self._due:
            return
        self._disarm()
        if due is not None:
            self._due = due
            self._timer = self._loop.call_at(due, self._fire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._due = None

    def _fire(self) -> None:
        self._timer = self._due = None
        self._turn()

    def call(self, function: Callable[[], ResultT]) -> ResultT:
        result = function()
        if not self._closed:
            self._driver.flush(self._driver.now())
            self._arm()
        return result

    def look(self, function: Callable[[], ResultT]) -> ResultT:
        return function()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._disarm()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fileno)
        self._driver.close()


def run_in_loop(
    driver: Driver[Any], loop: AbstractEventLoop, told: Callable[[], object]
) -> Runner:
    """Runs a driver for ``loop``, which is running: in it, or beside it where it can't.

    ``told`` is called in the loop's thread. Any event loop will do; Windows' proactor loop doesn't
    wait for sockets of others, and gets a thread beside it.
    """
    try:
        return LoopRunner(driver, told)
    except NotImplementedError:
        pass

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(told)
        except RuntimeError:
            pass  # the loop is closed

    return ThreadRunner(driver, tell)
