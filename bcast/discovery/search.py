"""When to ask whom: the search on one interface.

It decides rounds, ranges and windows from what came in, and knows neither peers nor bytes: the
prober encodes the questions and says what came. docs/protocol.md, "Search", has the reasons and
the measurements. Times are seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from math import sqrt
from typing import NamedTuple

__all__ = ["Opening", "Question", "Search"]

# A round ends when nothing has come for so long: at least, before anything was ever heard, and
# at most in the first second of a search, in its first five, and after that.
_GAP = 0.004
_FIRST_GAP = 0.010
_LONGEST_GAP = 0.250
_LONGEST_PAUSE = 1.0

# The search is eager for so long; afterwards a round a minute, then ever fewer, will do.
_EAGER = 5.0
_SLOW = 60.0
_SLOWEST = 600.0

# The gap follows the longest silence that a reply ended, with a reserve, and forgets it slowly.
_RESERVE = 1.3
_FORGET = 0.9

# The share of the receive buffer that answers may take at once.
_BURST = 0.4

# Replies a second that are read here until it has been measured, the share of what was measured
# that is asked for, and the most that is.
_RATE = 20_000.0
_SHARE = 0.7
_FASTEST = 50_000.0
_SLOWEST_RATE = 100.0

# The longest window of a repeated round: more would be later than asking again. The first, which
# is for all, has up to what its field of milliseconds can say.
_WINDOW = 1.0
_FIRST_WINDOW = 60.0

# The sample that tells how many there are: this part of the slots, for so long.
_SLOTS = 65_536
_SAMPLE = _SLOTS // 16
_SAMPLED = 0.002

# A buffer of fewer replies than this can't take the answers of a large network at once.
_SMALL = 512

#: So many rounds without anything new, and whoever was there has been found.
QUIET = 3


class Opening(enum.StrEnum):
    """How a search begins: by asking all at once, a sixteenth first, or over a window.

    `AUTO` takes `CACHED` where more than the receive buffer holds is expected, `SAMPLE` where
    the buffer is small, otherwise `ALL`.
    """

    AUTO = "auto"
    ALL = "all"
    SAMPLE = "sample"
    CACHED = "cached"


class Question(NamedTuple):
    """A probe to send: the slots from ``low`` to ``high``, answers spread over ``window``."""

    nonce: int
    round: int
    elapsed: float
    window: float
    low: int = 0
    high: int = _SLOTS


class Search:
    """The search on one interface that holds ``capacity`` replies in its receive buffer.

    ``expected`` peers are known to be about, from an earlier search (0: unknown).
    ``new_nonce`` makes a random u64. ``cut`` gives, for a nonce, the bounds of the ranges of slots
    that each have few enough known peers for one filter: ``(0, 65536)`` for one range.
    ``patient``: goes on after the eager time, with ever fewer rounds.
    """

    def __init__(
        self,
        *,
        capacity: int,
        opening: Opening,
        expected: int = 0,
        new_nonce: Callable[[], int],
        cut: Callable[[int], Sequence[int]],
        patient: bool = False,
    ) -> None:
        self._new_nonce = new_nonce
        self._cut = cut
        self._patient = patient
        self._expected = expected
        self._burst = _BURST * capacity
        self.rate = _RATE
        if opening is Opening.AUTO:
            if expected > capacity:
                opening = Opening.CACHED
            else:
                opening = Opening.SAMPLE if capacity < _SMALL else Opening.ALL
        self._opening = opening
        #: Rounds that ended without anything new, since there was something.
        self.quiet = 0
        #: Rounds that ended, and whether anybody ever answered.
        self.rounds = 0
        self.heard = False
        self._gap = _GAP
        self._silence = 0.0
        self._pause = 0.0
        self._origin = 0.0
        self._began = 0.0
        self._asked: list[tuple[float, Question]] = []
        self._due: float | None = None
        self._sampling = False
        self._nonce = 0
        self._last_probe = 0.0
        self._last_reply = 0.0
        self._window_end = 0.0
        self._replies = 0
        self._new = 0
        self._dropped = 0

    @property
    def started(self) -> bool:
        return self._due is not None

    def start(self, now: float) -> None:
        """Begins, or begins again: with what is known, but as eagerly as at first."""
        if self._due is None:
            self._origin = now
        self._began = now
        self.quiet = 0
        self._pause = 0.0
        self._open_round()
        if self._opening is Opening.SAMPLE and self.rounds == 0:
            self._sampling = True
            self._ask(now, 0.0, 0, _SAMPLE)
            return
        window = 0.0
        if self._opening is Opening.CACHED and self.rounds == 0:
            window = min(self._expected / self.rate, _FIRST_WINDOW)
        self._ask_ranges(now, window)

    # -- what comes in ------------------------------------------------------------------------

    def note_reply(self, now: float, *, new: bool) -> None:
        """A reply to one of the last probes came at ``now``; ``new`` if it found a peer."""
        # In a window, silence says that few are left, not that answers take long.
        silence = now - max(self._last_reply, self._last_probe, self._window_end)
        self._silence = max(self._silence, silence)
        self._last_reply = now
        self._replies += 1
        self._new += new
        self.heard = True

    def note_drops(self, drops: int) -> None:
        """The receive buffer was full, and ``drops`` datagrams were lost here."""
        self._dropped += drops

    def note_rate(self, rate: float) -> None:
        """So many datagrams a second can be read and handled."""
        if rate > 0:
            self.rate = min(max(_SHARE * rate, _SLOWEST_RATE), _FASTEST)

    # -- what is to be done -------------------------------------------------------------------

    def due(self) -> float | None:
        """When `handle` is to be called next; None before `start`, and when all is over."""
        if self._asked:
            return self._asked[0][0]
        if self._due is None or self._sampling:
            return self._due
        if self._replies:
            return max(self._window_end, self._last_reply + self._gap)
        return self._due

    def handle(self, now: float) -> list[Question]:
        """The probes to send at ``now``."""
        due = self.due()
        if due is None or now < due:
            return []
        if not self._asked:
            if self._sampling:
                self._end_sample(now)
            else:
                self._end_round(now)
        ready = []
        while self._asked and self._asked[0][0] <= now:
            ready.append(self._asked.pop(0)[1])
        if ready:
            self._last_probe = now
            self._window_end = now + ready[-1].window
            wait = _SAMPLED if self._sampling else self._wait(now)
            self._due = self._window_end + wait
        return ready

    def _wait(self, now: float) -> float:
        """How long silence after a probe is waited out."""
        gap = (self._gap if self.heard else _FIRST_GAP) * 2.0 ** min(self.quiet, 20)
        since = now - self._began
        if since < 1.0:
            return min(gap, _LONGEST_GAP)
        if since < _EAGER or not self._patient:
            return min(gap, _LONGEST_PAUSE)
        if self.quiet < QUIET:
            return min(gap, _LONGEST_PAUSE)
        self._pause = min(max(_SLOW, 2 * self._pause), _SLOWEST)
        return self._pause

    def _end_sample(self, now: float) -> None:
        self._sampling = False
        count = self._replies + self._dropped
        others = (count + 1.5 * sqrt(count)) * (_SLOTS // _SAMPLE - 1)
        window = min(others / self.rate, _FIRST_WINDOW) if others > self._burst else 0.0
        self._ask(now, window, _SAMPLE, _SLOTS)

    def _end_round(self, now: float) -> None:
        self.rounds += 1
        if self._new:
            self.quiet = 0
            if now - self._began > _EAGER:
                # Somebody new after all that time: there may be more.
                self._began = now
                self._pause = 0.0
        else:
            self.quiet += 1
        self._gap = min(max(_RESERVE * self._silence, _GAP), _LONGEST_GAP)
        self._silence *= _FORGET
        missing = max(self._dropped, self._new / 4)
        window = min(_WINDOW, missing / self.rate) if missing > self._burst else 0.0
        self._open_round()
        self._ask_ranges(now, window)

    def _open_round(self) -> None:
        self._nonce = self._new_nonce()
        self._replies = self._new = self._dropped = 0

    def _ask_ranges(self, now: float, window: float) -> None:
        bounds = self._cut(self._nonce)
        share = window / (len(bounds) - 1)
        for number in range(len(bounds) - 1):
            self._ask(now + number * share, share, bounds[number], bounds[number + 1])

    def _ask(self, due: float, window: float, low: int, high: int) -> None:
        elapsed = due - self._origin
        self._asked.append((due, Question(self._nonce, self.rounds, elapsed, window, low, high)))
        if self._due is None:
            self._due = due
