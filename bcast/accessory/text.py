"""Text with holes: a whole datagram, or a value inside JSON, headers, pairs and XML.

A hole ends where the text behind it begins for the first time, or at the end; nothing is tried
twice, so no datagram takes longer than its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from bcast.accessory.holes import Call, Hole, Piece, Stretch, every_hole, split
from bcast.accessory.leaves import Converter, converter, with_literal
from bcast.accessory.mistakes import Wrong
from bcast.accessory.parts import Parts
from bcast.accessory.template import Making, Misfit, Reading, Writing

__all__ = ["TextPattern", "TextTemplate", "compile_text", "make_text"]


class _Gap(NamedTuple):
    """A hole: what it is converted by, and what it may be followed by ("": by the end)."""

    hole: Hole
    convert: Converter | Parts
    followers: tuple[str, ...]


class _Maybe(NamedTuple):
    """A stretch that may be absent."""

    steps: tuple[_Step, ...]
    holes: tuple[Hole, ...]


_Step: TypeAlias = str | _Gap | _Maybe


class TextPattern:
    """A text with holes, compiled. Made by `compile_text`."""

    def __init__(self, steps: tuple[_Step, ...]) -> None:
        self.steps = steps
        self.holes = tuple(_holes(steps))
        self.constants = sum(8 * len(s.encode()) for s in steps if isinstance(s, str))
        for gap in steps:
            if isinstance(gap, _Gap):
                if gap.hole.mark == "=" and gap.hole.source is not None:
                    self.constants += 8
                if isinstance(gap.convert, Parts):
                    self.constants += gap.convert.constants
        #: The only step, if that is a hole: most values are.
        self._gap = steps[0] if len(steps) == 1 and isinstance(steps[0], _Gap) else None

    def read(self, text: str, reading: Reading) -> None:
        """Takes a text apart. Raises `Misfit`."""
        gap = self._gap
        if gap is not None:
            _read_gap(gap, text, reading)
            return
        end = _read(self.steps, text, 0, reading)
        if end != len(text):
            raise Misfit("%r is too much", text[end:][:40])

    def write(self, writing: Writing) -> str:
        """The text. Raises `Missing` and `Misfit`."""
        return "".join(_write(self.steps, writing))


def _holes(steps: tuple[_Step, ...]) -> Iterator[Hole]:
    for step in steps:
        if isinstance(step, _Gap):
            yield step.hole
            if isinstance(step.convert, Parts):
                yield from step.convert.holes
        elif isinstance(step, _Maybe):
            yield from step.holes


def _read_gap(gap: _Gap, text: str, reading: Reading) -> None:
    if isinstance(gap.convert, Parts):
        gap.convert.read(text.encode("utf-8", "surrogatepass"), reading)
    else:
        reading.accept(gap.hole, gap.convert.read(text))


def _read(steps: tuple[_Step, ...], text: str, at: int, reading: Reading) -> int:
    for step in steps:
        if isinstance(step, str):
            if not text.startswith(step, at):
                raise Misfit("%r instead of %r", text[at : at + len(step)][:40], step)
            at += len(step)
        elif isinstance(step, _Gap):
            end = _end(step, text, at)
            _read_gap(step, text[at:end], reading)
            at = end
        else:
            reading.spend()
            attempt = reading.item()
            try:
                end = _read(step.steps, text, at, attempt)
                reading.take(attempt)
            except Misfit:
                reading.effort = attempt.effort
            else:
                at = end
    return at


def _end(gap: _Gap, text: str, at: int) -> int:
    nearest = -1
    for follower in gap.followers:
        if follower:
            found = text.find(follower, at) if nearest < 0 else text.find(follower, at, nearest)
            if found >= 0:
                nearest = found
    if nearest >= 0:
        return nearest
    if "" in gap.followers:
        return len(text)
    raise Misfit("no %r behind %s", gap.followers[0], gap.hole.name or gap.hole)


def _write(steps: tuple[_Step, ...], writing: Writing) -> Iterator[str]:
    for step in steps:
        if isinstance(step, str):
            yield step
        elif isinstance(step, _Gap):
            if isinstance(step.convert, Parts):
                try:
                    text = step.convert.write(writing).decode()
                except UnicodeDecodeError:
                    raise Misfit("%s isn't text", step.hole) from None
            else:
                text = step.convert.write(writing.value(step.hole))
            for follower in step.followers:
                if follower and (text + follower).find(follower) != len(text):
                    raise Misfit("%s can't hold %r: %r", step.hole, follower, text[:40])
            yield text
        elif step.holes and writing.wants(step.holes):
            yield from _write(step.steps, writing)


def compile_text(text: str, making: Making, *, default: str = "str") -> TextPattern:
    """The pattern of a text; ``default`` is the type of holes that don't say one.

    Mistakes are noted in ``making``.
    """
    pieces = making.split(text)
    return TextPattern(_compile(pieces, ("",), making, default))


def _compile(
    pieces: tuple[Piece, ...], behind: tuple[str, ...], making: Making, default: str
) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    for position, piece in enumerate(pieces):
        try:
            if isinstance(piece, Stretch):
                after = _first(pieces[position + 1 :], behind)
                inner = _compile(piece.pieces, after, making, default)
                if not inner:
                    raise Wrong("there is nothing between [ and ]", piece.start)
                steps.append(_Maybe(inner, tuple(_holes(inner))))
            elif isinstance(piece, Hole):
                followers = _first(pieces[position + 1 :], behind)
                if not followers:
                    raise Wrong(
                        f"{piece}: nothing tells where this ends and the next hole begins: put"
                        " text between them",
                        piece.start,
                    )
                steps.append(_gap(piece, followers, making, default))
            else:
                steps.append(piece)
        except Wrong as wrong:
            making.wrong(wrong)
    return tuple(steps)


def _first(pieces: tuple[Piece, ...], behind: tuple[str, ...]) -> tuple[str, ...]:
    """What may come first: texts, "" for the end; nothing if a hole may."""
    for position, piece in enumerate(pieces):
        if isinstance(piece, Hole):
            return ()
        if isinstance(piece, str):
            return (piece,)
        inside = _first(piece.pieces, ())
        after = _first(pieces[position + 1 :], behind)
        return tuple(dict.fromkeys(inside + after)) if inside and after else ()
    return behind


def _gap(hole: Hole, followers: tuple[str, ...], making: Making, default: str) -> _Gap:
    if hole.type == "@":
        return _Gap(hole, Parts(hole, making), followers)
    if hole.name == "*":
        raise Wrong(f"{hole}: text has no list of names that could leave some out", hole.start)
    if isinstance(hole.source, Call) and hole.source.function not in ("random", "uuid", "time"):
        raise Wrong(f"{hole}: {hole.source.function} is for hex", hole.start)
    convert = converter(hole, default)
    return _Gap(with_literal(hole, convert), convert, followers)


class TextTemplate:
    """A datagram that is a text in UTF-8."""

    def __init__(self, pattern: TextPattern) -> None:
        self._pattern = pattern
        self.holes = pattern.holes
        self.constants = pattern.constants
        first = pattern.steps[0] if pattern.steps else ""
        self.guard = first.encode() if isinstance(first, str) else b""
        # Strangers are told by the longest text that has to be there, before anything is decoded.
        texts = [step.encode() for step in pattern.steps if isinstance(step, str)]
        self.needed = max(texts, key=len, default=b"")

    def read(self, payload: bytes, reading: Reading) -> None:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise Misfit("it isn't text in UTF-8") from None
        self._pattern.read(text, reading)

    def write(self, writing: Writing) -> bytes:
        return self._pattern.write(writing).encode()


def make_text(text: str, making: Making) -> TextTemplate:
    """A template of kind ``text``; mistakes are noted in ``making``."""
    for hole in every_hole(split(text, wrong=lambda _: None)):
        if hole.optional:
            making.wrong(
                Wrong(f"{hole}: in text what may be absent stands in [ ]", hole.start, str(hole))
            )
    return TextTemplate(compile_text(text, making))
