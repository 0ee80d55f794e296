"""The process that runs a machine on a host of the lab: `main`, with the path of a socket.

It is told what to do over a Unix socket, which network namespaces don't keep apart, and tells
what its machine notes down.
"""

from __future__ import annotations

import pickle
import socket
import sys
from random import SystemRandom
from time import monotonic
from typing import Any, NamedTuple

from bcast.domain import Domain
from bcast.errors import BcastError
from bcast.lans.residents import Occupant, make_resident, open_driver
from bcast.sweep import unix_offset

__all__ = ["Failure", "Line", "Ready", "Task", "main"]

# Both ends are processes of one program: what is read was written by ourselves.
_LENGTH = 4


class Task(NamedTuple):
    """What an agent is to run: an accessory, or what the observer searches by.

    ``began``: when its time began, on the monotonic clock. ``host``: what its host is called.
    """

    began: float
    domain: Domain
    occupant: Occupant
    host: str


class Ready(NamedTuple):
    """The machine runs. It may have noted something down before."""


class Failure(NamedTuple):
    """It doesn't, or not any more: what a person or the system did, or what we did wrong."""

    error: BcastError | None
    trace: str


class Line:
    """Objects back and forth over a connected socket, which it owns."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._read = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, subject: object) -> None:
        """Sends one. Waits while the other end doesn't keep up."""
        text = pickle.dumps(subject)
        self._socket.sendall(len(text).to_bytes(_LENGTH, "big") + text)

    def receive(self) -> list[Any]:
        """Reads once, and returns all that is complete then. Raises EOFError at the end."""
        read = self._socket.recv(1 << 16)
        if not read:
            raise EOFError
        self._read += read
        complete = []
        while len(self._read) >= _LENGTH:
            end = _LENGTH + int.from_bytes(self._read[:_LENGTH], "big")
            if len(self._read) < end:
                break
            text, self._read = self._read[_LENGTH:end], self._read[end:]
            complete.append(pickle.loads(text))
        return complete

    def close(self) -> None:
        """Ends it for both, also for a thread that reads. More than once is fine."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other end is gone
        self._socket.close()


def main(path: str) -> None:
    """Connects to the LAN's socket, and runs what it says until the connection ends."""
    if sys.platform == "win32":
        raise OSError("there is no lab on Windows")
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.connect(path)
    line = Line(connected)
    try:
        _run(line)
    except (EOFError, ConnectionError):
        pass  # the LAN is closed
    except BcastError as error:
        line.send(Failure(error, ""))
    except Exception:
        from traceback import format_exc

        line.send(Failure(None, format_exc()))
    finally:
        line.close()


def _run(line: Line) -> None:
    told: list[Task] = []
    while not told:
        told = line.receive()
    [task] = told  # More is said when the machine is ready.
    began = task.began
    resident = make_resident(
        task.occupant,
        task.domain,
        random=SystemRandom(),
        since=unix_offset(monotonic() - began),
        host=task.host,
        note=line.send,
    )
    machine = resident.machine
    with open_driver(resident, machine, clock=lambda: monotonic() - began) as driver:

        def hear(now: float) -> None:
            for verb, arguments in line.receive():
                getattr(machine, verb)(*arguments, now)

        driver.watch(line.fileno(), hear)
        line.send(Ready())
        while True:
            driver.wait()
