"""A machine without a protocol, for what runs machines: it keeps what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from bcast.datagram import Endpoint
from bcast.destinations import DEFAULT_GROUPS
from bcast.machine import Attached, Outgoing, Received

__all__ = ["Echo", "everybody"]


class Echo:
    """Answers ``b"who"`` with its name, from the interface that it came in by.

    Each other payload is an event. ``timer`` is when it wants to be called, and ``again`` what
    the timer is moved by then.
    """

    def __init__(self, name: bytes = b"me") -> None:
        self.name = name
        self.attached: list[tuple[Attached, ...]] = []
        self.received: list[Received] = []
        self.times: list[float] = []
        self.called: list[float] = []
        self.outgoing: list[Outgoing] = []
        self.events: deque[bytes] = deque()
        self.timer: float | None = None
        self.again: float | None = None
        #: Called with each `Received`, to do what a protocol wouldn't.
        self.prank: Callable[[Received], object] = lambda received: None

    def say(self, payload: bytes, there: Endpoint) -> None:
        """Has a payload sent out of every interface."""
        self.outgoing += [Outgoing(payload, a.interface.index, there) for a in self.attached[-1]]

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self.attached.append(tuple(interfaces))

    def receive_datagrams(self, received: Received, now: float) -> None:
        self.received.append(received)
        self.times.append(now)
        for datagram in received.datagrams:
            if datagram.payload == b"who":
                index = received.interface.index
                self.outgoing.append(Outgoing(self.name, index, datagram.source))
            else:
                self.events.append(datagram.payload)
        self.prank(received)

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        taken, self.outgoing = self.outgoing, []
        return taken

    def get_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> None:
        if self.timer is not None and now >= self.timer:
            self.called.append(now)
            self.timer = None if self.again is None else now + self.again

    def next_event(self) -> bytes | None:
        return self.events.popleft() if self.events else None

    @property
    def payloads(self) -> list[bytes]:
        return [d.payload for received in self.received for d in received.datagrams]

    @property
    def names(self) -> list[str]:
        """The interfaces that it was told of last."""
        return [one.interface.name for one in self.attached[-1]]


def everybody(port: int) -> Endpoint:
    """Where all machines of the default IPv4 group are reached."""
    return Endpoint(DEFAULT_GROUPS[0].address, port)
