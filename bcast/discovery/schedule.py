"""When a peer says something unasked: announcements on each path, beats, goodbyes.

What is late is said once: a host that stood still for an hour doesn't make good for each beat
that it missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from random import Random
from typing import NamedTuple

from bcast.datagram import Family
from bcast.errors import ArgumentError

__all__ = [
    "ANNOUNCEMENTS",
    "BEATS_PER_SECOND",
    "GOODBYES",
    "JITTER",
    "LONGEST_INTERVAL",
    "SHORTEST_INTERVAL",
    "Due",
    "Path",
    "Schedule",
]

#: Seconds after an occasion at which it is announced. The first announcement makes the peer known
#: at once, the others make up for losses, of one datagram and of a second's.
ANNOUNCEMENTS = (0.0, 1.0, 3.0)

#: Up to so many seconds later, drawn anew each time: what makes a peer announce itself (power
#: that comes back, a switch that starts) makes others do it at the same time.
JITTER = 0.1

#: Seconds after which goodbyes follow the first.
GOODBYES = (0.0, 0.1, 0.3)

#: All peers of a segment together send about so many beats a second, however many they are.
BEATS_PER_SECOND = 33

#: Seconds between beats: among few peers, and at the most (what a message can say).
SHORTEST_INTERVAL = 30
LONGEST_INTERVAL = 3_600


class Path(NamedTuple):
    """A way out: an interface, by its index, and a family."""

    interface: int
    family: Family


class Due(NamedTuple):
    """What is to be said now: announcements on these paths; a beat, a goodbye everywhere."""

    announcements: tuple[Path, ...] = ()
    beat: bool = False
    goodbye: bool = False


class Schedule:
    """The occasions of one peer.

    ``interval``: seconds between its beats, 1..3600, rounded up to whole ones; None adapts it to
    ``count``, which says how many peers there may be on the largest segment. Raises
    `ArgumentError`.

    An interval is chosen when a beat is sent, or the last announcement before the first one, and
    the next beat follows after exactly that: so that whoever hears a beat knows when to expect
    the next, and how many were lost if it comes later. The first beat of all comes at a random
    time within an interval, so that peers that started together don't beat together.
    """

    def __init__(
        self, *, random: Random, interval: float | None, count: Callable[[], float]
    ) -> None:
        if interval is not None and not 1 <= interval <= LONGEST_INTERVAL:
            raise ArgumentError(
                f"{interval} s is no interval between beats",
                f"use 1 to {LONGEST_INTERVAL} seconds",
            )
        self._random = random
        self._count = count
        self._is_fixed = interval is not None
        #: Seconds between beats, as they are stated now.
        self.interval = SHORTEST_INTERVAL if interval is None else math.ceil(interval)
        #: When something is due; None: never. (Asked for after every datagram that comes.)
        self.next: float | None = None
        self._announcements: dict[Path, list[float]] = {}
        self._beat: float | None = None
        self._goodbyes: list[float] = []

    def announce(self, paths: Collection[Path], now: float) -> None:
        """There is something new to say on these paths."""
        if paths:
            first = now + self._random.random() * JITTER
            for path in paths:
                self._announcements[path] = [first + after for after in ANNOUNCEMENTS]
            self._look()

    def forget(self, gone: Collection[Path]) -> None:
        """These paths are gone."""
        for path in gone:
            self._announcements.pop(path, None)
        self._look()

    def stop(self) -> None:
        """Nothing is due any more: there is nobody to say it to."""
        self._announcements = {}
        self._beat = None
        self._goodbyes = []
        self._look()

    def leave(self, now: float) -> None:
        """From now on there are only goodbyes to say."""
        self.stop()
        self._goodbyes = [now + after for after in GOODBYES]
        self._look()

    def take(self, now: float) -> Due:
        """What is due; it won't be again."""
        announced = tuple(p for p, series in self._announcements.items() if series[0] <= now)
        for path in announced:
            left = [time for time in self._announcements[path] if time > now]
            if left:
                self._announcements[path] = left
            else:
                del self._announcements[path]
        if self._beat is None and any(path not in self._announcements for path in announced):
            self._adapt()
            self._beat = now + self._random.random() * self.interval
        beats = self._beat is not None and self._beat <= now
        if self._beat is not None and beats:
            self._adapt()
            self._beat += self.interval
            if self._beat <= now:
                self._beat = now + self.interval
        goodbye = bool(self._goodbyes) and self._goodbyes[0] <= now
        self._goodbyes = [time for time in self._goodbyes if time > now]
        self._look()
        return Due(announced, beats, goodbye)

    def _look(self) -> None:
        times = [series[0] for series in self._announcements.values()]
        times += self._goodbyes[:1]
        if self._beat is not None:
            times.append(self._beat)
        self.next = min(times, default=None)

    def _adapt(self) -> None:
        if not self._is_fixed:
            wanted = math.ceil(self._count() / BEATS_PER_SECOND)
            self.interval = min(max(SHORTEST_INTERVAL, wanted), LONGEST_INTERVAL)
