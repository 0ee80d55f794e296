"""How many answers are given: a bucket of tokens for each source, and one for the host."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

__all__ = [
    "HOST_BURST",
    "HOST_RATE",
    "MAX_SOURCES",
    "SOURCE_BURST",
    "SOURCE_RATE",
    "Bucket",
    "Buckets",
]

#: Answers to one source address, at once and per second: many searches on one host, no flood.
SOURCE_BURST = 64
SOURCE_RATE = 16.0

#: Answers of this peer altogether: what a flood from forged sources can make it send.
HOST_BURST = 500
HOST_RATE = 1_000.0

#: Source addresses remembered, so that forged ones don't fill the memory. Each entry took a token
#: of the host's, so whoever pushes one out has spent as many of those as there are entries.
MAX_SOURCES = 1_024


class Bucket:
    """``burst`` tokens at first and at most, and ``rate`` more a second."""

    __slots__ = ("_burst", "_rate", "_then", "_tokens")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._tokens = float(burst)
        self._then = -inf

    def has_token(self, now: float) -> bool:
        """Whether there is a whole token now."""
        if now > self._then:
            self._tokens = min(self._burst, self._tokens + (now - self._then) * self._rate)
            self._then = now
        return self._tokens >= 1

    def take(self, now: float) -> bool:
        """Takes a token if there is one; returns whether there was."""
        if not self.has_token(now):
            return False
        self._tokens -= 1
        return True


class Buckets:
    """A bucket for each of the last `MAX_SOURCES` sources, and one for all together."""

    __slots__ = ("_all", "_sources")

    def __init__(self) -> None:
        self._all = Bucket(HOST_BURST, HOST_RATE)
        self._sources: dict[Hashable, Bucket] = {}

    def take(self, source: Hashable, now: float) -> bool:
        """Takes a token of the source's and one of all, or neither; returns whether it did."""
        if not self._all.has_token(now):
            return False
        bucket = self._sources.pop(source, None)
        if bucket is None:
            bucket = Bucket(SOURCE_BURST, SOURCE_RATE)
            if len(self._sources) >= MAX_SOURCES:
                del self._sources[next(iter(self._sources))]
        self._sources[source] = bucket  # as the newest
        return bucket.take(now) and self._all.take(now)

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources)
