"""Who has been silent for too long, and whether it is they or we.

Silence is only a reason to ask: on a lossy network three beats in a row are lost often enough.
How often to ask follows from the loss that is measured, by beats that should have come. Where
hardly any beats come at all, it is this host that is deaf, and nobody is given up. Times are
seconds. docs/protocol.md, "Presence".
"""

from __future__ import annotations

from heapq import heappop, heappush

__all__ = ["Deadlines", "Hearing", "tries_for"]

# Silent intervals until a peer is asked whether it is still there, with a reserve for jitter.
_INTERVALS = 3 * 1.1

# The loss up to which so many unanswered queries mean that nobody is there: at 1,000 peers
# that is less than one false removal in ten days. Above each bound is room for its estimate.
_TRIES = ((0.06, 4), (0.12, 7), (0.20, 14), (0.32, 21))
_MOST_TRIES = 40

# Of the beats that should have come, this share must, for silence to mean something; with too
# few peers to tell, it does in any case.
_DEAF = 0.3
_FEW = 8.0

# Beats that an estimate of loss remembers, or those of so many seconds: the more there are, the
# less it strays over the bounds above. And what is supposed before any were counted: so many that
# should have come, of which this share was lost.
_MEMORY = 512.0
_MEMORY_TIME = 60.0
_SUPPOSED = 32.0
_SUPPOSED_LOSS = 0.2


def silence(interval: float) -> float:
    """How long a peer that beats every ``interval`` seconds may be silent."""
    return _INTERVALS * interval


def tries_for(loss: float) -> int:
    """How many queries must stay unanswered at a loss of this share, 0..1, of all datagrams."""
    for bound, tries in _TRIES:
        if loss <= bound:
            return tries
    return _MOST_TRIES


class Hearing:
    """How well an interface hears the beats that are sent there.

    ``inward``: they don't leave the host, so that none is lost before it is counted.
    """

    def __init__(self, now: float, *, inward: bool = False) -> None:
        self._supposed = 0.0 if inward else _SUPPOSED
        self._heard = 0.0
        self._missed = 0.0
        self._forgot = now
        # Beats and beginnings of the window before this one and of this one.
        self._windows = [(now, 0), (now, 0)]

    @property
    def loss(self) -> float:
        """The share of beats that didn't arrive."""
        total = self._heard + self._missed
        return self._missed / total if total else 0.0

    @property
    def feared_loss(self) -> float:
        """The same for who mustn't be mistaken: some is supposed until enough beats came."""
        missed = self._missed + self._supposed * _SUPPOSED_LOSS
        total = self._heard + self._missed + self._supposed
        return missed / total if total else 0.0

    def note_beat(self, now: float, *, since: float | None, interval: float) -> None:
        """A beat came; the one before it from the same peer came ``since`` seconds earlier."""
        if since is not None and interval > 0:
            # The first beat of all says nothing: which one it is isn't known.
            self._heard += 1
            # After a long silence it may have been stopped, or we: that isn't loss.
            missed = round(since / interval) - 1
            if 0 < missed <= _INTERVALS:
                self._missed += missed
        if self._heard + self._missed > _MEMORY and now - self._forgot >= _MEMORY_TIME:
            self._forgot = now
            self._heard /= 2
            self._missed /= 2
        self._turn(now, interval)
        begun, count = self._windows[1]
        self._windows[1] = begun, count + 1

    def is_deaf(self, now: float, *, expected: float, interval: float) -> bool:
        """Whether so few beats come that silence says nothing about those who are silent.

        ``expected`` beats a second should come, the slowest of them every ``interval`` seconds.
        """
        if expected * interval < _FEW:
            return False
        self._turn(now, interval)
        begun = self._windows[0][0]
        heard = self._windows[0][1] + self._windows[1][1]
        return heard < _DEAF * expected * (now - begun)

    def _turn(self, now: float, interval: float) -> None:
        """Lets the windows be of this interval and of the one before it."""
        age = now - self._windows[1][0]
        if age >= 2 * interval:
            self._windows = [(now - interval, 0), (now, 0)]
        elif age >= interval:
            self._windows = [self._windows[1], (now, 0)]


class Deadlines:
    """When to look at whom again; a later deadline costs nothing until the earlier has passed."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, bytes]] = []
        self._known: set[bytes] = set()

    def watch(self, id: bytes, deadline: float) -> None:
        """Has a peer looked at at ``deadline``, or earlier if it is watched already."""
        if id not in self._known:
            self._known.add(id)
            heappush(self._heap, (deadline, id))

    def due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def passed(self, now: float) -> list[bytes]:
        """Whose deadline has passed; they are no longer watched."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            _, id = heappop(self._heap)
            self._known.discard(id)
            found.append(id)
        return found
