"""Faults in user space: what stands between a machine and its sockets. A machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from bcast.datagram import Datagram
from bcast.machine import Attached, Machine, Outgoing, Received

__all__ = ["Gate"]

EventT = TypeVar("EventT")


class Gate(Generic[EventT]):
    """Passes on to ``machine`` what ``lets_in`` accepts, of interfaces that aren't down.

    A `bcast.machine.Machine`. ``lets_in`` is asked about each datagram that arrives.
    """

    def __init__(self, machine: Machine[EventT], lets_in: Callable[[Datagram], bool]) -> None:
        self._machine = machine
        self._lets_in = lets_in
        self._attached: tuple[Attached, ...] = ()
        self._down: frozenset[str] = frozenset()

    def set_down(self, interface: str, down: bool, now: float) -> None:
        """Cuts the machine off from the interface of a name, or connects it again."""
        self._down = self._down | {interface} if down else self._down - {interface}
        self._tell(now)

    def _tell(self, now: float) -> None:
        up = [one for one in self._attached if one.interface.name not in self._down]
        self._machine.interfaces_changed(up, now)

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._attached = tuple(interfaces)
        self._tell(now)

    def receive_datagrams(self, received: Received, now: float) -> None:
        if received.interface.name in self._down:
            return
        datagrams = [one for one in received.datagrams if self._lets_in(one)]
        if datagrams or received.drops:
            self._machine.receive_datagrams(received._replace(datagrams=datagrams), now)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        outgoing = self._machine.datagrams_to_send(now)
        if not self._down:
            return outgoing
        up = {a.interface.index for a in self._attached if a.interface.name not in self._down}
        return [one for one in outgoing if one.interface in up]

    def get_timer(self) -> float | None:
        return self._machine.get_timer()

    def handle_timer(self, now: float) -> None:
        self._machine.handle_timer(now)

    def next_event(self) -> EventT | None:
        return self._machine.next_event()
