"""The loopback interface for tests of drivers, watchers that say what a test wants, and leaks."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from typing import ClassVar

from bcast.datagram import Address, Interface
from bcast.interfaces import differences, list_interfaces

__all__ = ["Watcher", "descriptors", "loopback", "nothing_leaks"]


def loopback(*own: str) -> Interface:
    """As it is, or with other addresses of 127.0.0.0/8."""
    lo = next(i for i in list_interfaces() if i.name == "lo")
    if not own:
        return lo
    last = IPv4Address("127.255.255.255")
    return replace(lo, addresses=tuple(Address(IPv4Address(one), 8, last) for one in own))


@contextmanager
def nothing_leaks() -> Iterator[None]:
    """The same file descriptors are open afterwards as before, and no socket is left behind."""
    gc.collect()
    before = descriptors()
    yield
    assert descriptors() == before
    gc.collect()  # a ResourceWarning fails the test


def descriptors() -> dict[str, str]:
    """This process's open file descriptors, and what they are."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue  # that of the listing
    return found


class Watcher:
    """Stands for an `InterfaceWatcher`: `tell` makes a listing that the receiver sees next."""

    made: ClassVar[list[Watcher]] = []

    def __init__(self, *, now: float, list_interfaces: object = None) -> None:
        self.interfaces: tuple[Interface, ...] = (loopback(),)
        self.overran = False
        self.unaddressed: frozenset[int] = frozenset()
        self._next: tuple[Interface, ...] | None = None
        self._deleted: frozenset[int] = frozenset()
        self._reading, self._writing = socket.socketpair()
        self._due: float | None = None
        self.made.append(self)

    def tell(self, *listed: Interface, deleted: frozenset[int] = frozenset()) -> None:
        self._next, self._deleted = listed, deleted
        self._writing.send(b"\0")

    def fileno(self) -> int:
        return self._reading.fileno()

    def wake(self, now: float) -> None:
        self._reading.recv(1)
        self._due = now

    def due(self) -> float | None:
        return self._due

    def changes(self, now: float) -> tuple[object, ...]:
        if self._next is None or self._due is None:
            return ()
        found = differences(self.interfaces, self._next, self._deleted)
        self.interfaces, self._next, self._due = self._next, None, None
        return found

    def close(self) -> None:
        self._reading.close()
        self._writing.close()
