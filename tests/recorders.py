"""Small machines without a protocol, for what runs machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bcast.datagram import Datagram, Endpoint
from bcast.machine import Attached, Outgoing, Received

__all__ = ["Arrival", "Echo", "Recorder"]


class Arrival(NamedTuple):
    """What a machine was given, and when."""

    now: float
    received: Received


class Recorder:
    """Notes all that it is told, and sends what it is told to send.

    ``timer`` is when it wants to be woken; then ``timers`` has the time, and it is None again.
    Complains if time goes back.
    """

    def __init__(self) -> None:
        self.attached: list[tuple[float, tuple[Attached, ...]]] = []
        self.arrivals: list[Arrival] = []
        self.timers: list[float] = []
        self.timer: float | None = None
        self.outgoing: list[Outgoing] = []
        self.sent: list[float] = []
        self._events: list[str] = []
        self._latest = 0.0

    @property
    def datagrams(self) -> list[Datagram]:
        return [one for arrival in self.arrivals for one in arrival.received.datagrams]

    @property
    def drops(self) -> int:
        return sum(arrival.received.drops for arrival in self.arrivals)

    def send(self, payload: bytes, destination: Endpoint, interface: int = 2) -> None:
        self.outgoing.append(Outgoing(payload, interface, destination))

    def send_at(self, time: float, payload: bytes, destination: Endpoint) -> None:
        self.send(payload, destination)
        self.timer = time

    def _goes_on(self, now: float) -> None:
        assert now >= self._latest, f"time went back from {self._latest} to {now}"
        self._latest = now

    def interfaces_changed(self, interfaces: Sequence[Attached], now: float) -> None:
        self._goes_on(now)
        self.attached.append((now, tuple(interfaces)))

    def receive_datagrams(self, received: Received, now: float) -> None:
        self._goes_on(now)
        self.arrivals.append(Arrival(now, received))
        self._events.append(f"received {len(received.datagrams)}")

    def datagrams_to_send(self, now: float) -> list[Outgoing]:
        self._goes_on(now)
        if self.timer is not None or not self.outgoing:
            return []
        self.sent.append(now)
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def get_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> None:
        self._goes_on(now)
        if self.timer is not None and self.timer <= now:
            self.timers.append(now)
            self.timer = None

    def next_event(self) -> str | None:
        return self._events.pop(0) if self._events else None


class Echo(Recorder):
    """Sends what it receives back to where it came from, with another payload if it has one."""

    def __init__(self, payload: bytes | None = None) -> None:
        super().__init__()
        self.payload = payload

    def receive_datagrams(self, received: Received, now: float) -> None:
        super().receive_datagrams(received, now)
        for datagram in received.datagrams:
            payload = datagram.payload if self.payload is None else self.payload
            self.send(payload, datagram.source, received.interface.index)
