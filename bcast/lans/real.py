"""What LANs have in common where time is the real one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from bcast.domain import Domain
from bcast.lans.lan import Lan

__all__ = ["RealLan"]


class RealLan(Lan):
    """A LAN whose machines run by themselves, in threads or processes that add to the journal.

    ``began``: when it was made, on the clock that all processes of this system share.
    """

    def __init__(self, domain: Domain, networks: Sequence[str], seed: int) -> None:
        super().__init__(domain, networks, seed)
        self.began = monotonic()

    @property
    def now(self) -> float:
        return monotonic() - self.began

    def _pass_time(self, ready: Callable[[], bool], limit: float) -> bool:
        changed = self.journal.changed
        with changed:
            while not ready():
                for failure in self._failures():
                    raise failure
                left = limit - self.now
                if left <= 0:
                    return False
                changed.wait(left)
        return True

    def _failures(self) -> list[BaseException]:
        """What machines failed of. Whoever adds to them calls `_wake`."""
        return []

    def _wake(self) -> None:
        with self.journal.changed:
            self.journal.changed.notify_all()
