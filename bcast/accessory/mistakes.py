"""What is wrong with a description: all of it at once, each with the place and the fix."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from bcast.errors import ArgumentError

__all__ = ["DescriptionError", "Mistake", "Wrong", "meant"]


class Mistake(NamedTuple):
    """One mistake in a description. ``line`` counts from 1, 0 where it isn't known."""

    file: str
    line: int
    table: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (place, self.table, self.message)))


class DescriptionError(ArgumentError):
    """A description can't be used. ``mistakes`` are all that were found, in file order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class Wrong(Exception):  # noqa: N818
    """A text of a description isn't what it should be: internal, the loader collects these.

    ``offset`` is where in the text; ``near`` is what stands there, to find the line again.
    """

    def __init__(self, message: str, offset: int = 0, near: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.near = near


def meant(word: str, known: Iterable[str]) -> str:
    """``", did you mean 'X'?"`` for the known word that is nearest, "" if none is near."""
    near = get_close_matches(word, list(known), n=1)
    return f", did you mean '{near[0]}'?" if near else ""
