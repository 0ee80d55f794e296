"""The live table of devices on a terminal; the only place where rich is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time_ns
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bcast.cli.devices import HEADINGS, cells_of, in_order
from bcast.device import Added, Changed, Device, DeviceEvent, Removed, Restarted, Suspect

__all__ = ["LiveTable"]

# Seconds between frames: after something happened, and when only the ages change. A frame that
# takes long to draw is drawn more rarely, so that reading comes first.
_SOON = 0.1
_LATER = 1.0
_SHARE = 20.0

# A device that is gone is shown for so many seconds more, and so many of them at most.
_LINGER = 10.0
_MOST_GONE = 100

# Lines that aren't rows: the heading, what there is more, the status, the cursor's.
_FRAME_LINES = 4

# The first columns get narrower where there isn't room for all, down to so many characters.
_FLEXIBLE = 4
_NARROWEST = 4

_STYLES = {"new": "green", "suspect": "yellow", "gone": "red"}


class LiveTable:
    """Devices with address, latency, age and state, redrawn in place until the block ends.

    Then the terminal is as it was, and the last frame stays if ``stays``. What is written to
    standard error meanwhile appears above the table.
    """

    def __init__(
        self,
        console: Console | None = None,
        *,
        stays: bool = False,
        wall_clock: Callable[[], int] = time_ns,
        stopwatch: Callable[[], float] = monotonic,
    ) -> None:
        self._console = Console(highlight=False) if console is None else console
        self._stays = stays
        self._wall_clock = wall_clock
        self._stopwatch = stopwatch
        self._due = 0.0
        self._rest = 0.0
        #: What was drawn last, without the status.
        self._last = Group()
        #: When devices came, which of them are suspect, and which were here.
        self._since: dict[str, float] = {}
        self._suspects: set[str] = set()
        self._gone: dict[str, tuple[Removed, float]] = {}
        self._live = self._new_live()

    def _new_live(self) -> Live:
        self._size = self._console.size
        return Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            # If that goes to a file, it isn't in the way.
            redirect_stderr=sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()
        if self._stays and error is None:
            self._console.print(self._last)

    def note(self, event: DeviceEvent, now: float) -> None:
        """Something happened to a device."""
        id = event.device.id
        self._due = min(self._due, max(now + _SOON, self._rest))
        if isinstance(event, Added | Restarted):
            self._since[id] = now
        if isinstance(event, Suspect):
            self._suspects.add(id)
        else:
            self._suspects.discard(id)
        if isinstance(event, Removed):
            self._since.pop(id, None)
            self._gone.pop(id, None)
            self._gone[id] = event, now
            if len(self._gone) > _MOST_GONE:
                del self._gone[next(iter(self._gone))]
        elif not isinstance(event, Changed):
            self._gone.pop(id, None)

    def show(
        self, devices: Callable[[], Iterable[Device]], status: Callable[[], str], now: float
    ) -> None:
        """Draws the next frame if it is time."""
        resized = self._console.size != self._size
        if now < self._due and not resized:
            return
        began = self._stopwatch()
        if resized:
            # The terminal has broken the lines anew, and nobody knows where the table begins.
            self._live.stop()
            self._console.clear()
            self._live = self._new_live()
            self._live.start()
        self._live.update(self._draw(in_order(devices()), status(), now), refresh=True)
        self._rest = now + _SHARE * (self._stopwatch() - began)
        self._due = max(now + _LATER, self._rest)

    def _draw(self, devices: list[Device], status: str, now: float) -> Group:
        room = max(1, self._console.size.height - _FRAME_LINES)
        wall = self._wall_clock()
        self._gone = {i: g for i, g in self._gone.items() if now - g[1] < _LINGER}
        rows = [(*_cells(one, wall), *self._state(one.id, now)) for one in devices[:room]]
        for removed, _ in list(self._gone.values())[: room - len(rows)]:
            rows.append((*_cells(removed.device, wall), f"gone ({removed.cause})", "gone"))
        headings = (*HEADINGS, "AGE", "STATE")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        widths = _widths([headings, *(row[:-1] for row in rows)], self._console.size.width)
        for heading, width in zip(headings, widths, strict=True):
            table.add_column(heading, no_wrap=True, overflow="ellipsis", width=width)
        for *cells, look in rows:
            table.add_row(*map(Text, cells), style=_STYLES.get(look, ""))
        self._last = Group(table)
        if len(devices) > room:
            self._last.renderables.append(_remark(f"... and {len(devices) - room} more"))
        return Group(*self._last.renderables, _remark(status))

    def _state(self, id: str, now: float) -> tuple[str, str]:
        """What a device's state is called, and how it looks."""
        if id in self._suspects:
            return "suspect", "suspect"
        return "here", "new" if now - self._since.get(id, -_LINGER) < _LATER else ""


def _cells(device: Device, wall: int) -> tuple[str, ...]:
    """What is always shown of a device, and how long ago it was heard."""
    heard = max((one.last_heard_ns for one in device.sightings), default=0)
    # Wall clocks jump; nobody is heard in the future.
    age = _span(max(0, wall - heard) / 1e9) if heard else "-"
    return (*cells_of(device), age)


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """How wide each column is: as its widest cell, if need be less for the widest columns."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    left = room - 2 * (len(widths) - 1)
    while sum(widths) > left and max(widths[:_FLEXIBLE]) > _NARROWEST:
        widths[widths.index(max(widths[:_FLEXIBLE]))] -= 1
    return widths


def _remark(line: str) -> Text:
    return Text(line, style="dim", no_wrap=True, overflow="ellipsis")


def _span(seconds: float) -> str:
    """A time span, as coarse as it is long."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
