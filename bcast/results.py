"""What became of sending, interface by interface.

Layer 5, below the sender that makes them.
"""

from __future__ import annotations

from collections.abc import Sequence

from bcast.datagram import Endpoint, Interface
from bcast.errors import InterfaceError, SocketError
from bcast.interfaces import Skipped
from bcast.values import Value

__all__ = ["Failed", "SendResults", "Sent", "merge"]


class Sent(Value):
    """``count`` datagrams of ``length`` bytes each left ``interface`` (the last one's length)."""

    interface: Interface
    source: Endpoint
    destination: Endpoint
    length: int
    count: int = 1


class Failed(Value):
    """``count`` datagrams could not be sent; ``error`` says why and what to do."""

    interface: Interface
    error: SocketError
    count: int = 1


class SendResults(Value):
    """What became of a payload, interface by interface.

    An interface with several destinations (``both``) has a `Sent` or `Failed` for each.
    """

    sent: tuple[Sent, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failed: tuple[Failed, ...] = ()

    def raise_if_none(self) -> None:
        """Raises the first failure, or `InterfaceError`, unless something was sent."""
        if self.sent:
            return
        if self.failed:
            raise self.failed[0].error
        reasons = ", ".join(f"{s.interface.name}: {s.reason}" for s in self.skipped)
        raise InterfaceError(f"nothing was sent ({reasons})", "see bcast interfaces")


def merge(rounds: Sequence[SendResults]) -> SendResults:
    """The results of several rounds as one: counts added up, what is the same said once."""
    sent: dict[tuple[int, Endpoint, Endpoint], Sent] = {}
    skipped: dict[tuple[int, str], Skipped] = {}
    failed: dict[tuple[int, str], Failed] = {}
    for results in rounds:
        for one in results.sent:
            key = (one.interface.index, one.source, one.destination)
            before = sent[key].count if key in sent else 0
            sent[key] = Sent(*_same(one), before + one.count)
        for missed in results.skipped:
            skipped.setdefault((missed.interface.index, missed.reason), missed)
        for failure in results.failed:
            about = (failure.interface.index, str(failure.error))
            count = failed[about].count if about in failed else 0
            failed[about] = Failed(failure.interface, failure.error, count + failure.count)
    return SendResults(tuple(sent.values()), tuple(skipped.values()), tuple(failed.values()))


def _same(one: Sent) -> tuple[Interface, Endpoint, Endpoint, int]:
    return one.interface, one.source, one.destination, one.length
