"""Samples, their medians and ratios, and the tables that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Goal", "Series", "at_least", "at_most", "print_table"]


@dataclass(slots=True)
class Series:
    """The samples of one contestant, one a round."""

    samples: list[float] = field(default_factory=list)

    def add(self, sample: float) -> None:
        self.samples.append(sample)

    @property
    def median(self) -> float:
        return median(self.samples)

    def over(self, reference: Series) -> float:
        """How many times the reference's this is: the median of the rounds' ratios.

        A machine that is slow for a while is so for both samples of a round.
        """
        return median(
            ours / theirs for ours, theirs in zip(self.samples, reference.samples, strict=True)
        )

    def cells(self, scale: float = 1.0, digits: int = 2) -> tuple[str, str]:
        """The median, and the smallest and largest sample, divided by ``scale``."""
        low, high = min(self.samples) / scale, max(self.samples) / scale
        return f"{self.median / scale:.{digits}f}", f"{low:.{digits}f}-{high:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio should be: at most ``bound``, or at least."""

    bound: float
    is_least: bool = False

    def verdict(self, ratio: float) -> str:
        met = ratio >= self.bound if self.is_least else ratio <= self.bound
        return f"{'>=' if self.is_least else '<='} {self.bound:g} {'met' if met else 'MISSED'}"


def at_most(bound: float) -> Goal:
    return Goal(bound)


def at_least(bound: float) -> Goal:
    return Goal(bound, is_least=True)


def print_table(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    failures: Mapping[str, str] | None = None,
) -> None:
    """Prints a table: the first column to the left, the others to the right.

    Below it, why there are no rows of some contestants.
    """
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    print(f"\n{title}\n")
    for row in (header, ["-" * width for width in widths], *rows):
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  " + "  ".join((first, *rest)).rstrip())
    for name, why in (failures or {}).items():
        print(f"  {name} failed: {why}")
    print(flush=True)
