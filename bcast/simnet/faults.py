"""What a segment does to datagrams: loss, bursts of it, delay, duplication, reordering."""

from __future__ import annotations

from math import inf, log, log1p
from random import Random

from bcast.errors import ArgumentError
from bcast.values import Value

__all__ = ["Faults", "GilbertElliott", "Weather", "check_chance", "chosen"]

#: Chances below this one aren't told from 0: their logarithm has no precision left.
_NEVER = 1e-12


class GilbertElliott(Value):
    """Loss in bursts: a link is good and bad by turns, for exponentially distributed times.

    ``duration``: mean seconds of a bad period. ``share``: of all time, what is bad (above 0,
    below 1). ``bad`` and ``good``: chance (0..1) that a datagram is lost in either.
    Raises `ArgumentError` for what is out of range.
    (Gilbert, "Capacity of a burst-noise channel", 1960; Elliott, 1963.)
    """

    duration: float
    share: float
    bad: float = 1.0
    good: float = 0.0

    def __init__(self, duration: float, share: float, bad: float = 1.0, good: float = 0.0) -> None:
        if not 0 < duration < inf:
            raise ArgumentError(f"{duration} s is no duration of a burst", "use more than 0")
        if not 0 < share < 1:
            raise ArgumentError(f"{share} is no share of bad time", "use one between 0 and 1")
        check_chance("loss in a bad period", bad)
        check_chance("loss in a good period", good)
        super().__init__(duration, share, bad, good)


class Faults(Value):
    """What happens to datagrams on a segment, for each receiver independently.

    ``loss``, ``duplicate`` and ``reorder`` are chances (0..1). ``delay``: seconds from sending
    to arrival, uniform between the two; datagrams of one sender keep their order. ``jitter``:
    mean seconds of a further, exponentially distributed delay, after which they needn't. A
    datagram that is reordered is held back for another 1 to 10 ms. Raises `ArgumentError`.
    """

    loss: float = 0.0
    burst: GilbertElliott | None = None
    delay: tuple[float, float] = (0.0001, 0.0003)
    jitter: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0

    def __init__(
        self,
        loss: float = 0.0,
        burst: GilbertElliott | None = None,
        delay: tuple[float, float] = (0.0001, 0.0003),
        jitter: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> None:
        check_chance("loss", loss)
        check_chance("duplicate", duplicate)
        check_chance("reorder", reorder)
        low, high = delay
        if not 0 <= low <= high < inf:
            raise ArgumentError(
                f"{delay} is no delay", "give the shortest and the longest, in seconds"
            )
        if not 0 <= jitter < inf:
            raise ArgumentError(f"{jitter} s is no jitter", "use 0 or more")
        super().__init__(loss, burst, (low, high), jitter, duplicate, reorder)


def check_chance(what: str, chance: float) -> None:
    """Raises `ArgumentError` unless ``chance`` is within 0..1."""
    if not 0 <= chance <= 1:
        raise ArgumentError(f"{chance} is no chance ({what})", "use 0 (never) to 1 (always)")


class Weather:
    """How one link fares under a `GilbertElliott` model, as time goes by."""

    __slots__ = ("_bad", "_random", "_until", "model")

    def __init__(self, model: GilbertElliott, random: Random, now: float) -> None:
        self.model = model
        self._random = random
        self._bad = random.random() < model.share
        # Exponential times have no memory: what is left of a period is distributed as a whole one.
        self._until = now + self._period()

    def _period(self) -> float:
        model = self.model
        mean = model.duration
        if not self._bad:
            mean *= (1 - model.share) / model.share
        return self._random.expovariate(1 / mean)

    def loss(self, now: float) -> float:
        """The chance that a datagram is lost now. Times may not go back."""
        while self._until <= now:
            self._bad = not self._bad
            self._until += self._period()
        return self.model.bad if self._bad else self.model.good


def chosen(random: Random, count: int, chance: float) -> list[int]:
    """Which of ``count`` come up, each independently with the same chance; in order.

    Draws once for each that comes up, not for each: the gaps are geometrically distributed.
    """
    if chance < _NEVER:
        return []
    if chance >= 1:
        return list(range(count))
    scale = 1 / log1p(-chance)
    draw = random.random
    found = []
    position = int(log(1.0 - draw()) * scale)
    while position < count:
        found.append(position)
        position += 1 + int(log(1.0 - draw()) * scale)
    return found
