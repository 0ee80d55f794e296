"""``@part``: another template of the file inside a hole, or the first of several that fits."""

from __future__ import annotations

from bcast.accessory.holes import Hole
from bcast.accessory.template import Making, Misfit, Reading, Template, Writing

__all__ = ["Parts", "chosen", "names_of"]


def names_of(holes: tuple[Hole, ...]) -> tuple[str, ...]:
    """The names of the holes that have one, each once."""
    return tuple(dict.fromkeys(h.name for h in holes if h.name and h.name != "*"))


def chosen(templates: tuple[Template, ...], writing: Writing) -> Template:
    """The alternative that is written: that for which most values were given."""

    def given(template: Template) -> tuple[int, int]:
        there = sum(writing.given.get(n) is not None for n in names_of(template.holes))
        return there, -sum(not writing.has(hole) for hole in template.holes if hole.name)

    return max(templates, key=given)


class Parts:
    """The parts that a hole names. Raises `bcast.accessory.mistakes.Wrong` for unknown ones."""

    def __init__(self, hole: Hole, making: Making) -> None:
        self.templates = tuple(making.part(name) for name in hole.arguments)
        self.holes = tuple(inner for t in self.templates for inner in t.holes)
        self.constants = min((t.constants for t in self.templates), default=0)

    def read(self, payload: bytes, reading: Reading) -> None:
        """Reads the whole payload as the first part that fits."""
        if len(self.templates) == 1:
            self.templates[0].read(payload, reading)
            return
        for template in self.templates:
            reading.spend()
            attempt = reading.item()
            try:
                template.read(payload, attempt)
                reading.take(attempt)
            except Misfit as misfit:
                reading.effort = attempt.effort
                reason = misfit
            else:
                return
        raise reason

    def write(self, writing: Writing) -> bytes:
        return chosen(self.templates, writing).write(writing)
