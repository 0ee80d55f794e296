"""What a binary template does, step by step: reading bytes at a place, writing them there.

Whatever has a fixed size is one step (`bcast.accessory.blocks`); the others are here. A *scope* is
a template or part: ``length(all)`` and ``length(after)`` say where it ends, and nothing in it
reads past that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from bcast.accessory.checksums import CHECKSUMS
from bcast.accessory.fields import Field, read_ber, read_leb128
from bcast.accessory.holes import Call, Hole
from bcast.accessory.parts import Parts, chosen, names_of
from bcast.accessory.template import MAX_ITEMS, Misfit, Reading, Template, Value, Writing

__all__ = [
    "Checked",
    "Each",
    "Input",
    "Inside",
    "Optional",
    "Output",
    "Patch",
    "Step",
    "Variable",
    "checksum",
]


class Input:
    """Where the reading of a scope is: ``at``, of the bytes up to ``end``."""

    __slots__ = ("at", "checks", "closed", "counts", "end", "payload", "reading", "spans", "start")

    def __init__(self, payload: bytes, start: int, end: int, reading: Reading) -> None:
        self.payload = payload
        self.start = self.at = start
        self.end = end
        self.reading = reading
        #: Whether a length has said where the scope ends.
        self.closed = False
        #: What holes take by name: bytes that a length announced, then where they were.
        self.counts: dict[str, int] = {}
        self.spans: dict[str, tuple[int, int]] = {}
        self.checks: list[Checked] = []

    def measure(self, hole: Hole, value: int, begin: int, end: int) -> None:
        """Acts upon a length, count or checksum that stands between begin and end."""
        call = hole.source
        if not isinstance(call, Call) or hole.mark != "=":
            return
        span = call.arguments[0] if call.arguments else ""
        if call.function in CHECKSUMS:
            self.checks.append(Checked(call, begin, end, value))
        elif span in ("all", "after"):
            limit = value + (self.start if span == "all" else end)
            if limit > self.end:
                raise Misfit("it says that %d bytes more follow than there are", limit - self.end)
            if limit < self.at:
                raise Misfit("it says that it is %d bytes shorter than it is", self.at - limit)
            self.end = limit
            self.closed = True
        elif span == "before":
            if value != begin - self.start:
                raise Misfit("%d bytes before this, not %d", begin - self.start, value)
        elif span in self.spans:
            first, last = self.spans[span]
            if value != last - first:
                raise Misfit("%s has %d bytes, not %d", span, last - first, value)
        else:
            self.counts[span] = value

    def finish(self) -> None:
        """Checks what could not be checked before all was read."""
        if self.closed and self.at != self.end:
            raise Misfit("%d bytes more than are described", self.end - self.at)
        for call, begin, end, value in self.checks:
            size = end - begin
            first, last = self.extent(call.arguments[0], begin, end)
            whole = self.payload
            seed = _seed(call, size)
            data = whole[first:begin] + seed + whole[end:last] if first <= begin < last else b""
            summed = checksum(call.function, data or whole[first:last])
            if summed != value:
                raise Misfit("%s is %x, not %x", call.function, summed, value)

    def extent(self, span: str, begin: int, end: int) -> tuple[int, int]:
        """From where to where a span reaches."""
        if span == "all":
            return self.start, self.at
        if span == "before":
            return self.start, begin
        if span == "after":
            return end, self.at
        if span in self.spans:
            return self.spans[span]
        raise Misfit("%s isn't there", span)


class Checked(NamedTuple):
    """A checksum that was read, to be looked at when all of its span is."""

    call: Call
    begin: int
    end: int
    value: int


def checksum(function: str, data: bytes) -> int:
    """The checksum of the bytes, by its name."""
    return CHECKSUMS[function][1](data)


def _seed(call: Call, size: int) -> bytes:
    """What stands in place of a checksum while it is computed."""
    return bytes.fromhex(call.arguments[1]) if len(call.arguments) > 1 else bytes(size)


class Patch:
    """A number that is known only when its scope is complete: zeros stand there until then.

    ``bit``: where in the output, in bits; ``bits`` 0: nothing stands there, it is put in.
    """

    __slots__ = ("bit", "bits", "call", "field", "hole")

    def __init__(self, hole: Hole, call: Call, field: Field, bit: int, bits: int) -> None:
        self.hole = hole
        self.call = call
        self.field = field
        self.bit = bit
        self.bits = bits


class Output:
    """The bytes of a scope while it is written, behind those of the scopes around it."""

    __slots__ = ("out", "patches", "spans", "start", "writing")

    def __init__(self, out: bytearray, writing: Writing) -> None:
        self.out = out
        self.start = len(out)
        self.writing = writing
        self.spans: dict[str, tuple[int, int]] = {}
        self.patches: list[Patch] = []

    def finish(self) -> None:
        """Puts in the lengths, then the checksums over them."""
        # The last first: those before it measure what it puts in.
        for patch in sorted((p for p in self.patches if not p.bits), key=lambda p: -p.bit):
            self._insert(patch)
        for patch in self.patches:
            if patch.bits and patch.call.function not in CHECKSUMS:
                self._put(patch, self._measured(patch))
        for patch in self.patches:
            if patch.call.function in CHECKSUMS:
                begin, end = patch.bit // 8, (patch.bit + patch.bits) // 8
                self.out[begin:end] = _seed(patch.call, end - begin)
                first, last = self._extent(patch, begin, end)
                summed = checksum(patch.call.function, bytes(self.out[first:last]))
                self.out[begin:end] = bytes(end - begin)
                self._put(patch, summed)

    def _extent(self, patch: Patch, begin: int, end: int) -> tuple[int, int]:
        span = patch.call.arguments[0]
        if span == "all":
            return self.start, len(self.out)
        if span == "before":
            return self.start, begin
        if span == "after":
            return end, len(self.out)
        return self.spans.get(span, (end, end))

    def _measured(self, patch: Patch) -> int:
        if patch.call.function == "count":
            value = self.writing.given.get(f"#{patch.call.arguments[0]}", 0)
            assert isinstance(value, int)
            return value
        first, last = self._extent(patch, patch.bit // 8, (patch.bit + patch.bits + 7) // 8)
        return last - first

    def _put(self, patch: Patch, value: int) -> None:
        if value >> patch.bits:
            raise Misfit("%s: %d doesn't fit %d bits", patch.hole, value, patch.bits)
        first, last = patch.bit // 8, (patch.bit + patch.bits + 7) // 8
        if patch.field.kind == "little":
            self.out[first:last] = value.to_bytes(last - first, "little")
            return
        whole = int.from_bytes(self.out[first:last], "big")
        whole |= value << (8 * last - patch.bit - patch.bits)
        self.out[first:last] = whole.to_bytes(last - first, "big")

    def _insert(self, patch: Patch) -> None:
        at = patch.bit // 8
        raw = patch.field.write(self._measured(patch))
        self.out[at:at] = raw
        for other in self.patches:
            if other is not patch and other.bit >= patch.bit:
                other.bit += 8 * len(raw)
        for name, (first, last) in self.spans.items():
            grown = len(raw)
            self.spans[name] = (
                first + grown if first >= at else first,
                last + grown if last > at or first >= at else last,
            )


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
