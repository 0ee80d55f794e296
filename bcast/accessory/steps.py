"""What a binary template does, step by step: reading bytes at a place, writing them there.

Whatever has a fixed size is one step (`bcast.accessory.blocks`); the others are here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bcast.accessory.fields import Field, read_ber, read_leb128
from bcast.accessory.frames import Input, Output, Patch
from bcast.accessory.holes import Call, Hole
from bcast.accessory.parts import Parts, chosen, names_of
from bcast.accessory.template import MAX_ITEMS, Misfit, Reading, Template, Value, Writing

__all__ = [
    "Each",
    "Inside",
    "Optional",
    "Step",
    "Variable",
]


class Step(Protocol):
    """One step. ``holes`` and ``constants`` as of templates."""

    @property
    def holes(self) -> tuple[Hole, ...]: ...

    @property
    def constants(self) -> int: ...

    def read(self, frame: Input) -> None: ...

    def write(self, frame: Output) -> None: ...


def _read_part(template: Template, payload: bytes, at: int, end: int, reading: Reading) -> int:
    read_at: Callable[[bytes, int, int, Reading], int] | None
    read_at = getattr(template, "read_at", None)
    if read_at is not None:
        behind: int = read_at(payload, at, end, reading)
        return behind
    template.read(payload[at:end], reading)
    return end


class Variable:
    """A value whose length differs. ``tail``: how many bytes follow it in its scope, None if it
    has to know its own end; ``sized``: a length has told how long it is.
    """

    constants = 0

    def __init__(self, hole: Hole, field: Field, *, sized: bool, tail: int | None) -> None:
        self.hole = hole
        self.holes = (hole,)
        self._field = field
        self._sized = sized
        self._tail = tail

    def read(self, frame: Input) -> None:
        hole, begin = self.hole, frame.at
        payload, end = frame.payload, frame.end
        value: Value
        if self._field.kind == "variable":
            value, frame.at = _NUMBERS[hole.type](payload, begin, end)
            if isinstance(hole.source, Call):
                frame.measure(hole, value, begin, frame.at)
        else:
            behind = frame.at = self._end(frame)
            raw = payload[begin:behind]
            if hole.type == "cstr":
                raw = raw[:-1]
            value = self._field.read(raw)
        if hole.name:
            frame.spans[hole.name] = (begin, frame.at)
        frame.reading.accept(hole, value)

    def _end(self, frame: Input) -> int:
        payload, at, end = frame.payload, frame.at, frame.end
        kind = self.hole.type
        if self._sized:
            behind = at + frame.counts.get(self.hole.name, 0)
        elif kind == "cstr":
            behind = payload.find(b"\0", at, end) + 1
            if not behind:
                raise Misfit("%s has no zero byte at its end", self.hole.name or self.hole)
        elif kind == "coap":
            behind = _options_end(payload, at, end)
        else:
            behind = end - (self._tail or 0)
        if not at <= behind <= end:
            raise Misfit("%s has %d bytes too few", self.hole.name or self.hole, behind - end)
        return behind

    def write(self, frame: Output) -> None:
        hole, begin, out = self.hole, len(frame.out), frame.out
        call = hole.source
        given = frame.writing.given.get(hole.name) if hole.mark == "~" else None
        if isinstance(call, Call) and call.function in ("length", "count") and given is None:
            frame.patches.append(Patch(hole, call, self._field, 8 * begin, 0))
            return
        value = frame.writing.value(hole)
        raw = self._field.write(value)
        if hole.type == "cstr":
            raw += b"\0"
        elif hole.type == "coap" and _options_end(raw, 0, len(raw)) != len(raw):
            raise Misfit("%r isn't a row of options", value)
        out += raw
        if hole.name:
            frame.spans[hole.name] = (begin, len(out))


def _options_end(payload: bytes, at: int, end: int) -> int:
    """Where CoAP's options end: at the payload marker or the end (RFC 7252, 3.1)."""
    while at < end and payload[at] != 0xFF:
        delta, length = payload[at] >> 4, payload[at] & 15
        at += 1
        sizes = {13: 1, 14: 2}
        if delta == 15 or length == 15:
            raise Misfit("an option with the reserved 15")
        at += sizes.get(delta, 0)
        if extra := sizes.get(length, 0):
            length = int.from_bytes(payload[at : at + extra], "big") + (13 if extra == 1 else 269)
            at += extra
        at += length
    if at > end:
        raise Misfit("an option is cut off")
    return at


class Optional:
    """A stretch that may be absent: if it doesn't fit, what follows is looked for in its place."""

    constants = 0

    def __init__(self, steps: tuple[Step, ...], tail: int | None) -> None:
        self._steps = steps
        self._tail = tail or 0
        self.holes = tuple(hole for step in steps for hole in step.holes)

    def read(self, frame: Input) -> None:
        if frame.at >= frame.end - self._tail:
            return
        outer, at, counts, spans = frame.reading, frame.at, frame.counts, frame.spans
        outer.spend()
        inner = outer.item()
        frame.reading, frame.counts, frame.spans = inner, dict(counts), dict(spans)
        try:
            for step in self._steps:
                step.read(frame)
            outer.take(inner)
        except Misfit:
            outer.effort = inner.effort
            frame.at, frame.counts, frame.spans = at, counts, spans
        finally:
            frame.reading = outer

    def write(self, frame: Output) -> None:
        if frame.writing.wants(self.holes):
            for step in self._steps:
                step.write(frame)


class Inside:
    """``@part|part``: the first part that fits."""

    constants = 0

    def __init__(self, hole: Hole, parts: Parts, *, sized: bool, tail: int | None) -> None:
        self._hole = hole
        self._parts = parts
        self._sized = sized
        #: A part that knows its end is read as far as it goes, unless it has to fill its place.
        self._ends = all(getattr(t, "ends", False) for t in parts.templates)
        self._tail = tail or 0
        self.holes = parts.holes
        self.constants = parts.constants

    def read(self, frame: Input) -> None:
        begin = frame.at
        end = frame.end - self._tail
        if self._sized:
            end = begin + frame.counts.get(self._hole.name, 0)
        if not begin <= end <= frame.end:
            raise Misfit("%s has %d bytes too few", self._hole, end - frame.end)
        templates = self._parts.templates
        if len(templates) == 1:
            frame.at = self._read_one(templates[0], frame, end, frame.reading)
        else:
            frame.at = self._read_first(templates, frame, end)
        if self._hole.name:
            frame.spans[self._hole.name] = (begin, frame.at)

    def _read_one(self, template: Template, frame: Input, end: int, reading: Reading) -> int:
        behind = _read_part(template, frame.payload, frame.at, end, reading)
        if behind != end and (self._sized or not self._ends):
            raise Misfit("%s: %d bytes more than are described", self._hole, end - behind)
        return behind

    def _read_first(self, templates: tuple[Template, ...], frame: Input, end: int) -> int:
        outer = frame.reading
        for template in templates:
            outer.spend()
            inner = outer.item()
            try:
                behind = self._read_one(template, frame, end, inner)
                outer.take(inner)
            except Misfit as misfit:
                outer.effort = inner.effort
                reason = misfit
            else:
                return behind
        raise reason

    def write(self, frame: Output) -> None:
        begin = len(frame.out)
        _write_part(chosen(self._parts.templates, frame.writing), frame.out, frame.writing)
        if self._hole.name:
            frame.spans[self._hole.name] = (begin, len(frame.out))


def _write_part(template: Template, out: bytearray, writing: Writing) -> None:
    write_to: Callable[[bytearray, Writing], None] | None
    write_to = getattr(template, "write_to", None)
    if write_to is not None:
        write_to(out, writing)
    else:
        out += template.write(writing)


class Each:
    """``each(a, b*)``: items up to the end of the scope, or as many as a count said.

    Those marked with * may come several times: their values are lists.
    """

    constants = 0

    def __init__(
        self,
        hole: Hole,
        parts: tuple[tuple[Template, bool], ...],
        *,
        counted: bool,
        sized: bool,
        tail: int | None,
    ) -> None:
        self._hole = hole
        self._parts = tuple((t, names_of(t.holes) if many else None) for t, many in parts)
        self._counted = counted
        self._sized = sized
        self._tail = tail or 0
        self.holes = tuple(
            hole._replace(many=many or hole.many) for t, many in parts for hole in t.holes
        )

    def read(self, frame: Input) -> None:
        begin, end = frame.at, frame.end - self._tail
        number = frame.counts.get(self._hole.name, 0)
        if self._sized:
            end = begin + number
        if not begin <= end <= frame.end:
            raise Misfit("%s has %d bytes too few", self._hole, end - frame.end)
        left = list(self._parts)
        items = 0
        while items < number if self._counted else frame.at < end:
            if items >= MAX_ITEMS:
                raise Misfit("there are more than %d items", MAX_ITEMS)
            self._read_item(frame, end, left)
            items += 1
        if frame.at != end and self._sized:
            raise Misfit("%d bytes more than its items", end - frame.at)
        if self._hole.name:
            frame.spans[self._hole.name] = (begin, frame.at)

    def _read_item(
        self, frame: Input, end: int, left: list[tuple[Template, tuple[str, ...] | None]]
    ) -> None:
        outer, reason = frame.reading, Misfit("%d bytes that are no item", end - frame.at)
        for position, (template, names) in enumerate(left):
            outer.spend()
            inner = outer.item()
            try:
                behind = _read_part(template, frame.payload, frame.at, end, inner)
                if behind == frame.at:
                    raise Misfit("an item of no bytes")
                if names is None:
                    outer.take(inner)
                    del left[position]
                else:
                    outer.take_item(inner, names)
            except Misfit as misfit:
                outer.effort = inner.effort
                reason = misfit
            else:
                frame.at = behind
                return
        raise reason

    def write(self, frame: Output) -> None:
        begin, items, writing = len(frame.out), 0, frame.writing
        for template, names in self._parts:
            if names is None:
                needed = [h for h in template.holes if h.name and h.source is None]
                if writing.wants(template.holes) or not any(
                    not writing.has(hole) for hole in needed
                ):
                    _write_part(template, frame.out, writing)
                    items += 1
                continue
            lists = [writing.given.get(name) for name in names]
            number = max((len(v) for v in lists if isinstance(v, list)), default=0)
            for position in range(number):
                _write_part(template, frame.out, writing.item(position, names))
            items += number
        if self._hole.name:
            frame.spans[self._hole.name] = (begin, len(frame.out))
            writing.given[f"#{self._hole.name}"] = items


_NUMBERS = {"leb128": read_leb128, "ber": read_ber}
