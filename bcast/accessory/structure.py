"""What the templates share that are matched by structure: JSON, headers, pairs, XML."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from bcast.accessory.holes import Hole, split
from bcast.accessory.mistakes import Wrong, meant
from bcast.accessory.template import Making, Reading, Writing
from bcast.accessory.text import compile_text

__all__ = [
    "COMPUTED",
    "MAX_KEY",
    "MAX_REST",
    "Absent",
    "Entry",
    "Near",
    "Shown",
    "check_rest",
    "lone_hole",
]

#: What values outside of hex can be computed by.
COMPUTED = ("random", "uuid", "time")

#: Values that a ``{*}`` takes, and characters of their names: a datagram can't fill the memory.
MAX_REST: Final = 64
MAX_KEY: Final = 255


class Absent(Exception):  # noqa: N818
    """An optional place has nothing to be written. Never leaves the package."""


class Entry:
    """A text with holes that stands behind a key, or in an element.

    It may be absent, with its key, if one of its holes may.
    """

    def __init__(self, text: str, making: Making) -> None:
        pattern = compile_text(text, making)
        self.holes = pattern.holes
        self.constants = pattern.constants
        self.read: Callable[[str, Reading], None] = pattern.read
        self._write = pattern.write
        self._optional = [hole for hole in self.holes if hole.optional]
        self.optional = bool(self._optional)

    def write(self, writing: Writing) -> str:
        """Raises `Absent`, `Missing` and `Misfit`."""
        for hole in self._optional:
            if not writing.has(hole):
                raise Absent
        return self._write(writing)


class Near:
    """What a datagram has instead of a key, looked for only if somebody asks for the reason."""

    __slots__ = ("_key", "_known")

    def __init__(self, key: str, known: Iterable[str]) -> None:
        self._key = key
        self._known = known

    def __str__(self) -> str:
        short = [known for known in self._known if len(known) <= MAX_KEY][:MAX_REST]
        if self._key in short:
            return f", but {self._key!r} in another namespace"
        return meant(self._key, short).replace("did you mean", "but").rstrip("?")


class Shown:
    """What stands in a datagram, as short as a reason can have it, if somebody asks for it."""

    __slots__ = ("_found",)

    def __init__(self, found: object) -> None:
        self._found = found

    def __str__(self) -> str:
        if isinstance(self._found, dict | list):
            return "an object" if isinstance(self._found, dict) else "a list"
        text = repr(self._found)
        return text if len(text) <= 60 else f"{text[:60]}..."


def lone_hole(text: str) -> Hole | None:
    """The hole, if a text is nothing else."""
    if not text.startswith("{") or text.find("}") != len(text) - 1:
        return None
    try:
        pieces = split(text)
    except Wrong:
        # Whoever compiles the text says so.
        return None
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], Hole) else None


def check_rest(holes: Iterable[Hole], making: Making) -> None:
    """Notes it as a mistake if more than one place takes what isn't listed."""
    rest = [hole for hole in holes if hole.name == "*"]
    if len(rest) > 1:
        making.wrong(Wrong("only one place can take all that isn't listed", rest[1].start, "{*}"))
