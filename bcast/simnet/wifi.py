"""A Wi-Fi cell: stations and an access point that share the air.

The model, in full, is in ``docs/simnet.md``. Airtimes are those of 802.11a/g (IEEE 802.11-2020,
clause 17): interframe spaces, mean backoff, preamble, and the bits at the rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import floor, inf
from random import Random
from typing import Any

from bcast.errors import ArgumentError
from bcast.simnet.timeline import Timeline
from bcast.values import Value

__all__ = ["Air", "WifiMode"]

#: Seconds: DIFS (34 us), mean backoff (7.5 slots of 9 us), preamble and PLCP header (20 us).
_ACCESS = 34e-6 + 67.5e-6 + 20e-6
#: Seconds: SIFS (16 us) and an acknowledgement at 24 Mbit/s (28 us).
_ACKNOWLEDGED = 16e-6 + 28e-6
#: Bytes before and after an IP datagram: MAC header, LLC/SNAP, FCS; and the bits of PLCP around.
_FRAMING = 24 + 8 + 4
_EXTRA_BITS = 22


class WifiMode(Value):
    """How a segment is a Wi-Fi cell.

    ``group_rate`` and ``rate``: bits a second of group frames (from the access point, to all,
    never repeated) and of unicast ones. ``dtim``: seconds between the beacons after which group
    frames go out, at multiples of it; 0: at once, as nobody sleeps. ``attempts``: how often a
    unicast frame is tried until it counts as lost. Raises `ArgumentError`.
    """

    group_rate: float = 6e6
    rate: float = 65e6
    dtim: float = 0.1
    attempts: int = 8

    def __init__(
        self,
        group_rate: float = 6e6,
        rate: float = 65e6,
        dtim: float = 0.1,
        attempts: int = 8,
    ) -> None:
        for value in (group_rate, rate):
            if not 0 < value < inf:
                raise ArgumentError(f"{value} bit/s is no rate", "use more than 0")
        if not 0 <= dtim < inf:
            raise ArgumentError(f"{dtim} s is no DTIM interval", "use 0 (none) or more")
        if attempts < 1:
            raise ArgumentError(f"{attempts} attempts send nothing", "use 1 or more")
        super().__init__(group_rate, rate, dtim, attempts)

    def group_airtime(self, size: int) -> float:
        """Seconds that a group frame with an IP datagram of ``size`` bytes takes."""
        return _ACCESS + (8 * (size + _FRAMING) + _EXTRA_BITS) / self.group_rate

    def airtime(self, size: int) -> float:
        """Seconds that one attempt at a unicast frame takes, with its acknowledgement."""
        return _ACCESS + (8 * (size + _FRAMING) + _EXTRA_BITS) / self.rate + _ACKNOWLEDGED

    def tries(self, loss: float, random: Random) -> tuple[int, bool]:
        """How many attempts a unicast frame took, and whether one of them got through."""
        tried = 1
        while loss and random.random() < loss:
            if tried == self.attempts:
                return tried, False
            tried += 1
        return tried, True


class Air:
    """The shared medium: one transmission at a time, in the order in which they were asked for.

    Group frames that the access point held back for a DTIM beacon go first after it.
    """

    def __init__(self, mode: WifiMode, timeline: Timeline) -> None:
        self.mode = mode
        self._timeline = timeline
        self._busy = False
        self._waiting: deque[tuple[float, Callable[[Any], None], Any]] = deque()
        self._urgent: deque[tuple[float, Callable[[Any], None], Any]] = deque()
        self._held: list[tuple[float, Callable[[Any], None], Any]] = []

    def transmit(self, airtime: float, done: Callable[[Any], None], argument: Any) -> None:
        """Calls ``done(argument)`` when the air was free and then taken for ``airtime``."""
        self._waiting.append((airtime, done, argument))
        self._start()

    def transmit_to_all(self, size: int, done: Callable[[Any], None], argument: Any) -> None:
        """The same for a group frame of the access point, after the next DTIM beacon."""
        frame = (self.mode.group_airtime(size), done, argument)
        dtim = self.mode.dtim
        if not dtim:
            self._waiting.append(frame)
            self._start()
            return
        if not self._held:
            now = self._timeline.now
            self._timeline.push(max(now, (floor(now / dtim) + 1) * dtim), self._beacon)
        self._held.append(frame)

    def _beacon(self, _: None) -> None:
        self._urgent.extend(self._held)
        self._held.clear()
        self._start()

    def _start(self) -> None:
        if self._busy or not (self._urgent or self._waiting):
            return
        self._busy = True
        frame = (self._urgent or self._waiting).popleft()
        self._timeline.push(self._timeline.now + frame[0], self._finish, frame)

    def _finish(self, frame: tuple[float, Callable[[Any], None], Any]) -> None:
        self._busy = False
        frame[1](frame[2])
        self._start()
