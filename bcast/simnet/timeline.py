"""Made-up time: what is to happen, in the order of its time and then of its planning."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from bcast.simnet.trace import Trace

__all__ = ["Timeline"]


class Timeline:
    """The one queue of a simulated LAN, with its time, its randomness and its trace.

    ``now`` is in seconds and never goes back.
    """

    __slots__ = ("_order", "_queue", "now", "random", "trace")

    def __init__(self, seed: int, trace: Trace | None) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self.trace = trace
        self._order = 0
        self._queue: list[tuple[float, int, Callable[[Any], object], Any]] = []

    def push(
        self, time: float, function: Callable[[Any], object], argument: Any = None, order: int = 0
    ) -> int:
        """Has ``function(argument)`` called at ``time``; at once if that is past.

        What is due at one time is done in the order of planning. Returns the place in it, which
        something that goes on can keep, with ``order``.
        """
        if not order:
            self._order = order = self._order + 1
        heappush(self._queue, (time, order, function, argument))
        return order

    def step(self, until: float) -> bool:
        """Does the next thing that is due by ``until``; False if there is none."""
        queue = self._queue
        if not queue or queue[0][0] > until:
            return False
        time, _, function, argument = heappop(queue)
        if time > self.now:
            self.now = time
        function(argument)
        return True
