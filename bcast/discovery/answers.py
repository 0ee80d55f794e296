"""The answers that a responder owes, and what it remembers of those it gave."""

from __future__ import annotations

import heapq
from collections.abc import Collection
from typing import NamedTuple

from bcast.datagram import Endpoint

__all__ = ["MAX_PENDING", "MAX_REMEMBERED", "MAX_WIRELESS", "Answer", "Answers"]

#: Answers that wait for their time: what a host gives in a second, the longest window of an
#: honest probe. Probes with windows of a minute would fill more; see `Answers.add`.
MAX_PENDING = 1_000

#: Probes remembered as answered. Repeats of a probe come within milliseconds (by another family,
#: or another interface), and a flood is let in at a thousand a second.
MAX_REMEMBERED = 4_096

#: Probers on wireless interfaces whose last answered probe is remembered. Each search has another
#: id, and a forged one costs nothing.
MAX_WIRELESS = 1_024

Prober = bytes
"""The ephemeral id of a search."""


class Answer(NamedTuple):
    """A reply that is owed: to whom, and by which interface (its index).

    ``room``: bytes that it may have at most.
    """

    due: float
    nonce: int
    destination: Endpoint
    interface: int
    room: int


class Answers:
    """Answers by prober and interface: at most one waits for each."""

    __slots__ = ("_given", "_pending", "_queue", "_wireless", "next")

    def __init__(self) -> None:
        #: When an answer is due; None: there is none.
        self.next: float | None = None
        self._pending: dict[tuple[Prober, int], Answer] = {}
        # Times and keys of all that is pending, and of some that isn't any more.
        self._queue: list[tuple[float, tuple[Prober, int]]] = []
        self._given: dict[tuple[Prober, int], None] = {}
        self._wireless: dict[tuple[Prober, int], tuple[int, float]] = {}

    def is_repeated(self, prober: Prober, nonce: int) -> bool:
        """Whether this probe was taken already, whatever way it came."""
        return (prober, nonce) in self._given

    def is_bunched(self, prober: Prober, interface: int, elapsed: int, now: float) -> bool:
        """Whether a probe was heard much sooner after the last one taken than it was sent.

        Then an access point held both back and released them together, and the prober may have
        got our answer to the first meanwhile. ``elapsed``: milliseconds, modulo 65,536.
        """
        last = self._wireless.get((prober, interface))
        if last is None:
            return False
        sent = (elapsed - last[0]) % 65_536 / 1_000
        return now - last[1] < sent / 2

    def keep_wireless(self, prober: Prober, interface: int, elapsed: int, now: float) -> None:
        """Remembers the last probe taken of a prober on a wireless interface."""
        self._wireless.pop((prober, interface), None)
        self._wireless[prober, interface] = (elapsed, now)
        if len(self._wireless) > MAX_WIRELESS:
            del self._wireless[next(iter(self._wireless))]

    def add(self, prober: Prober, answer: Answer) -> bool:
        """Owes an answer, at the time of the one that waits for the same prober if it is earlier.

        When too many wait, the one that is due last gives way: who has asked for it can't have
        meant to be answered soon. Returns whether this one found its place.
        """
        key = (prober, answer.interface)
        waiting = self._pending.get(key)
        if waiting is not None and waiting.due <= answer.due:
            self._pending[key] = answer._replace(due=waiting.due)
        else:
            if waiting is None and len(self._pending) >= MAX_PENDING:
                last = max(self._pending, key=lambda key: self._pending[key].due)
                if self._pending[last].due <= answer.due:
                    return False
                del self._pending[last]
            self._pending[key] = answer
            heapq.heappush(self._queue, (answer.due, key))
            if len(self._queue) > 2 * MAX_PENDING:
                self._sort()
        self._given[prober, answer.nonce] = None
        if len(self._given) > MAX_REMEMBERED:
            del self._given[next(iter(self._given))]
        self._look()
        return True

    def take(self, now: float) -> list[Answer]:
        """The answers that are due, in the order of their times; they aren't owed any more."""
        due = []
        while self.next is not None and self.next <= now:
            _, key = heapq.heappop(self._queue)
            due.append(self._pending.pop(key))
            self._look()
        return due

    def drop(self, interface: int, families: Collection[int] = ()) -> None:
        """Forgets what is owed on an interface, except on these families."""
        kept = {
            key: answer
            for key, answer in self._pending.items()
            if answer.interface != interface or answer.destination.address.version in families
        }
        if len(kept) < len(self._pending):
            self._pending = kept
            self._look()

    def clear(self) -> None:
        """Owes nothing any more."""
        self._pending.clear()
        self._queue.clear()
        self.next = None

    def _sort(self) -> None:
        self._queue = [(answer.due, key) for key, answer in self._pending.items()]
        heapq.heapify(self._queue)

    def _look(self) -> None:
        """Lets the first entry of the queue be of an answer that waits."""
        while self._queue:
            due, key = self._queue[0]
            waiting = self._pending.get(key)
            if waiting is not None and waiting.due == due:
                self.next = due
                return
            heapq.heappop(self._queue)
        self.next = None
