"""What a receiver counts, interface by interface.

Layer 5. Counted by name: an interface that comes back under its name goes on with its counts,
whatever became of its sockets.
"""

from __future__ import annotations

from collections.abc import Iterable

from bcast.datagram import Interface
from bcast.sockets.batch import Batch
from bcast.values import Value

__all__ = ["Counts", "InterfaceStatistics", "Statistics"]

# So many interfaces that came and went without a datagram are still in the statistics.
_NAMES = 64


class Counts:
    """Running counts of each interface name, over all sockets that it had."""

    def __init__(self) -> None:
        #: Datagrams from sources that aren't wanted.
        self.filtered = 0
        self._by_name: dict[str, _Count] = {}

    def opened(self, interface: Interface, buffer: int) -> None:
        """Takes in a socket that was granted so many bytes of receive buffer."""
        self._of(interface).buffer = buffer

    def received(self, batch: Batch) -> None:
        """Takes in what was read."""
        count = self._of(batch.interface)
        count.datagrams += len(batch)
        count.bytes += batch.size

    def closed(self, interface: Interface, drops: int | None) -> None:
        """Takes in what the kernel dropped from sockets that are closed."""
        count = self._of(interface)
        if drops is not None:
            count.drops = (count.drops or 0) + drops
        # Containers come and go in thousands: of those that said nothing, nothing is kept.
        if not (count.datagrams or count.drops) and len(self._by_name) > _NAMES:
            del self._by_name[interface.name]

    def statistics(self, now_open: Iterable[tuple[Interface, int | None]]) -> Statistics:
        """All counts, with what the kernel dropped so far from the sockets that are open."""
        live = {}
        for interface, drops in now_open:
            self._of(interface)
            live[interface.name] = drops
        interfaces = {}
        for name, count in list(self._by_name.items()):
            both = [d for d in (count.drops, live.get(name)) if d is not None]
            interfaces[name] = InterfaceStatistics(
                count.interface,
                count.datagrams,
                count.bytes,
                sum(both) if both else None,
                count.buffer,
            )
        counted = [one.kernel_drops for one in interfaces.values() if one.kernel_drops is not None]
        return Statistics(
            sum(one.datagrams for one in interfaces.values()),
            sum(one.bytes for one in interfaces.values()),
            sum(counted) if counted else None,
            self.filtered,
            interfaces,
        )

    def _of(self, interface: Interface) -> _Count:
        count = self._by_name.get(interface.name)
        if count is None:
            count = self._by_name[interface.name] = _Count(interface)
        count.interface = interface
        return count


class InterfaceStatistics(Value):
    """Counts of one interface (by name). ``kernel_drops``: None where the system doesn't count.

    ``buffer`` is the receive buffer that the system granted last, in bytes.
    """

    interface: Interface
    datagrams: int = 0
    bytes: int = 0
    kernel_drops: int | None = None
    buffer: int = 0


class Statistics(Value):
    """Counts since the receiver was opened.

    ``kernel_drops`` are datagrams that arrived here and found the receive buffer full: not lost
    by the network. ``filtered`` came from a source that isn't wanted.
    """

    datagrams: int
    bytes: int
    kernel_drops: int | None
    filtered: int
    interfaces: dict[str, InterfaceStatistics]


class _Count:
    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self.datagrams = 0
        self.bytes = 0
        self.drops: int | None = None
        self.buffer = 0
