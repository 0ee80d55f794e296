"""One row of the table of targets, and how its figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from statistics import median
from typing import NamedTuple

__all__ = ["Row", "milliseconds", "spread"]


class Row(NamedTuple):
    """``met``: whether the goal is; None: there is none, it is only said.

    ``others``: what other protocols take. ``target``: if it isn't that of the check.
    """

    what: str
    goal: str
    measured: str
    met: bool | None = None
    others: str = ""
    target: str = ""


def milliseconds(times: Iterable[float]) -> str:
    """The median and the worst of times in seconds: "12.3 (45.6) ms"."""
    return spread([time * 1_000 for time in times]) + " ms"


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median and the worst, if there are several."""
    middle, worst = median(values), max(values)
    form = f".{digits or (1 if middle < 20 else 0)}f"
    if len(values) == 1:
        return "never" if middle == inf else format(middle, form)
    return f"{format(middle, form)} ({format(worst, form)})"
