"""Turns on the loopback interface: one process at a time plays what has ports of its own."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time

from bcast.lans.hosts import UnsupportedError

__all__ = ["PATIENCE", "Turn"]

#: Seconds that a turn is waited for: other tests are over by then, or hang.
PATIENCE = 60.0

# Who waits is woken when the turn is given back; this is for a holder that doesn't accept
# connections, as a forked child of who had it doesn't.
_AGAIN = 0.05
_WAITING = 1_000


class Turn:
    """What one process at a time has, for any number of its LANs; Linux only, elsewhere free.

    It is the name of an abstract socket (unix(7)): it belongs to the network namespace, as the
    ports do, and to whoever may create sockets, and the kernel gives it back for the dead.
    """

    def __init__(self, name: str) -> None:
        self._name = f"\0{name}"
        self._lock = threading.Lock()
        self._holders = 0
        self._socket: socket.socket | None = None

    def take(self, patience: float = PATIENCE) -> None:
        """Waits for it, ``patience`` seconds at most; `give_back` has to be called as often.

        Raises `UnsupportedError` if another process keeps it.
        """
        with self._lock:
            if not self._holders:
                self._socket = self._bound(time.monotonic() + patience)
            self._holders += 1

    def give_back(self) -> None:
        """Lets another process have it, if nothing in this one needs it any more."""
        with self._lock:
            self._holders -= 1
            if not self._holders and self._socket is not None:
                self._socket.close()
                self._socket = None

    def _bound(self, end: float) -> socket.socket | None:
        if sys.platform != "linux":
            return None
        while True:
            ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                ours.bind(self._name)
                ours.listen(_WAITING)
                return ours
            except OSError as error:
                ours.close()
                if error.errno != errno.EADDRINUSE:
                    return None  # A sandbox without such sockets: then tests share, as elsewhere.
            except BaseException:
                ours.close()
                raise
            left = end - time.monotonic()
            if left <= 0:
                raise UnsupportedError(
                    "another process plays accessories with fixed ports on the loopback interface",
                    "wait until its tests are over, or use the simulated LAN or the lab",
                )
            self._wait(left)

    def _wait(self, left: float) -> None:
        """Returns when the holder closes its socket, or after ``left`` seconds."""
        if sys.platform != "linux":
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
            waiting.settimeout(left)
            try:
                waiting.connect(self._name)
                waiting.recv(1)
            except TimeoutError:
                pass
            except ConnectionResetError:
                pass  # It was closed.
            except OSError:
                time.sleep(min(left, _AGAIN))
