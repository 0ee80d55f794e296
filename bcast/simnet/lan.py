"""A LAN in memory: its segments, its hosts, its time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import IPv4Network
from math import inf

from bcast.datagram import Family
from bcast.errors import ArgumentError
from bcast.simnet.faults import Faults, GilbertElliott
from bcast.simnet.host import Host
from bcast.simnet.segment import Segment
from bcast.simnet.timeline import Timeline
from bcast.simnet.trace import Trace, Traced
from bcast.simnet.wifi import WifiMode

__all__ = ["Lan"]


class Lan:
    """Segments and hosts under made-up time, which begins at 0 and goes on only in `run`.

    ``seed`` decides all that is random: with the same seed the same calls lead to the same
    trace. ``trace``: how many lines of it are kept (0: only its digest); None saves the work.
    """

    def __init__(self, seed: int = 0, *, trace: int | None = None) -> None:
        if trace is not None and trace < 0:
            raise ArgumentError(f"a trace of {trace} lines", "use 0 or more, or None for none")
        self._seed = seed
        self._trace = Trace(trace) if trace is not None else None
        self._timeline = Timeline(seed, self._trace)
        self._segments: dict[str, Segment] = {}
        self._hosts: dict[str, Host] = {}

    @property
    def now(self) -> float:
        """Seconds since the LAN was made."""
        return self._timeline.now

    @property
    def trace(self) -> tuple[Traced, ...]:
        """The last lines of the trace, oldest first. Raises `ArgumentError` without a trace."""
        return tuple(self._traced().lines)

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of all lines so far. Raises `ArgumentError` without a trace."""
        return self._traced().digest

    def _traced(self) -> Trace:
        if self._trace is None:
            raise ArgumentError("this LAN keeps no trace", "make it with Lan(trace=1000)")
        return self._trace

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All hosts, in the order in which they were made."""
        return tuple(self._hosts.values())

    def segment(
        self,
        name: str = "lan",
        *,
        loss: float = 0.0,
        burst: GilbertElliott | None = None,
        delay: tuple[float, float] = (0.0001, 0.0003),
        jitter: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        wifi: WifiMode | None = None,
        network: str | None = None,
        families: Collection[Family] = (Family.IPV4,),
    ) -> Segment:
        """Makes a segment; what the faults mean is said at `Faults`.

        ``wifi``: it is a Wi-Fi cell. ``network``: IPv4, /30 or larger; None: 10.N.0.0/16, N being
        the number of the segment. Raises `ArgumentError`.
        """
        if name in self._segments:
            raise ArgumentError(f"there is a segment {name} already", "use another name")
        if not families:
            raise ArgumentError("a segment without a family carries nothing", "name one or both")
        faults = Faults(loss, burst, delay, jitter, duplicate, reorder)
        text = network or f"10.{len(self._segments)}.0.0/16"
        try:
            parsed = IPv4Network(text)
        except ValueError:
            raise ArgumentError(
                f"{text} is no IPv4 network", "write one as 192.168.1.0/24, without host bits"
            ) from None
        if parsed.prefixlen > 30:
            raise ArgumentError(f"{text} has no room for two hosts", "use a /30 or larger")
        chosen = tuple(family for family in Family if family in families)
        made = Segment(self._timeline, name, parsed, chosen, faults, wifi)
        self._segments[name] = made
        return made

    def host(self, name: str) -> Host:
        """Makes a host, without a link yet. Raises `ArgumentError` if the name is taken."""
        if name in self._hosts:
            raise ArgumentError(f"there is a host {name} already", "use another name")
        made = self._hosts[name] = Host(self._timeline, name, self._seed)
        return made

    def at(self, time: float, function: Callable[[], object]) -> None:
        """Has ``function`` called at ``time``. Raises `ArgumentError` if that is past."""
        if not self.now <= time < inf:
            raise ArgumentError(f"{time} s is past, or never comes", f"it is {self.now} s now")
        self._timeline.push(time, lambda _: function())

    def run(self, until: float) -> None:
        """Lets time go by until ``until`` (seconds since the LAN was made)."""
        if not self.now <= until < inf:
            raise ArgumentError(f"{until} s is past, or never comes", f"it is {self.now} s now")
        step = self._timeline.step
        while step(until):
            pass
        self._timeline.now = until

    def run_until(self, predicate: Callable[[], object], limit: float) -> bool:
        """Lets time go by until ``predicate`` holds, but not past ``limit``; whether it holds.

        It is asked after everything that happens.
        """
        if not self.now <= limit < inf:
            raise ArgumentError(f"{limit} s is past, or never comes", f"it is {self.now} s now")
        step = self._timeline.step
        while not predicate():
            if not step(limit):
                self._timeline.now = limit
                return bool(predicate())
        return True
