"""The seam between protocol and I/O: what machines are given, and what they give back.

A machine decides; it has no clock, no socket and no randomness of its own. What drives it, on
real sockets or on simulated ones, moves bytes and wakes timers, and decides nothing. Layer 1.

``now`` is a time in seconds of some clock that never goes back. Whoever drives a machine

- reads everything there is to read *before* `handle_timer`, so that silence is silence and not
  a backlog, and calls `receive_datagrams` with the time of the wake-up, not that after reading;
- then sends what `datagrams_to_send` returns, and wakes up at `get_timer` at the latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from bcast.datagram import Datagram, Endpoint, Family, Group, Interface

__all__ = ["Attached", "Door", "Doorway", "Machine", "Outgoing", "Received"]

EventT_co = TypeVar("EventT_co", covariant=True)


class Door(NamedTuple):
    """A port by which datagrams come in and go out, on each interface; for who needs several.

    ``port``: a port that others may share (unicast to it reaches one of them), or 0: one that
    nobody else has, whatever its number. ``groups`` are joined there. ``sends``: whether anything
    leaves from it. ``or_any``: where the port can't be had, any other will do.
    """

    port: int = 0
    groups: tuple[Group, ...] = ()
    sends: bool = True
    or_any: bool = False


class Doorway(NamedTuple):
    """A door that is open on an interface: ``port`` is the number that it has there."""

    door: int
    family: Family
    port: int


class Attached(NamedTuple):
    """An interface that there are open sockets on, for the families named.

    ``capacity`` is how many replies of a common size (150 bytes) its receive buffer holds.
    ``doorways``: for a machine that has doors, those that are open.
    """

    interface: Interface
    families: tuple[Family, ...]
    capacity: int
    doorways: tuple[Doorway, ...] = ()


class Received(NamedTuple):
    """What was read from the sockets of one interface in one go, oldest first.

    ``drops`` counts what the system dropped from their receive buffers since the last `Received`
    of the interface (0 where it doesn't count). ``drained``: nothing was left to read; if not,
    more follows at once, and `Machine.handle_timer` is called after it.
    ``rate``: how many datagrams a second are read and handled here, as last measured over eight
    or more in one go; 0 while that isn't known.
    """

    interface: Interface
    datagrams: Sequence[Datagram]
    drops: int = 0
    drained: bool = True
    rate: float = 0.0


class Outgoing(NamedTuple):
    """A datagram to send from the own socket of an interface (given by its index).

    ``door``: for a machine that has doors, the `Door.port` of the one that it leaves by.
    """

    payload: bytes
    interface: int
    destination: Endpoint
    door: int = 0


class Machine(Protocol[EventT_co]):
    """A protocol without I/O, after the verbs of aioquic."""

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        """Takes the interfaces that there are now: the new, the changed, without the gone."""

    def receive_datagrams(self, received: Received, now: float) -> None:
        """Takes what was received on one interface. Never raises, whatever the bytes are."""

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        """What is to be sent now; each datagram is returned once."""
        ...

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None: not before something arrives."""
        ...

    def handle_timer(self, now: float) -> None:
        """Does what is due. Calling it early does nothing, late is made good."""

    def next_event(self) -> EventT_co | None:
        """The next event, oldest first; None when there is none left."""
        ...
