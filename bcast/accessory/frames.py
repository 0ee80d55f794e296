"""Where the reading or writing of a binary scope is: its bounds, lengths, checksums and spans.

A *scope* is a template or part: ``length(all)`` and ``length(after)`` say where it ends, and
nothing in it reads past that.
"""

from __future__ import annotations

from typing import NamedTuple

from bcast.accessory.checksums import CHECKSUMS
from bcast.accessory.fields import Field
from bcast.accessory.holes import Call, Hole
from bcast.accessory.template import Misfit, Reading, Writing

__all__ = ["Checked", "Input", "Output", "Patch", "checksum"]


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
        left = [patch for patch in self.patches if patch.call.function in CHECKSUMS]
        while left:
            # One over another comes after it.
            patch = next((p for p in left if not self._covers_others(p, left)), left[0])
            left.remove(patch)
            begin, end = patch.bit // 8, (patch.bit + patch.bits) // 8
            self.out[begin:end] = _seed(patch.call, end - begin)
            first, last = self._extent(patch, begin, end)
            summed = checksum(patch.call.function, bytes(self.out[first:last]))
            self.out[begin:end] = bytes(end - begin)
            self._put(patch, summed)

    def _covers_others(self, patch: Patch, others: list[Patch]) -> bool:
        first, last = self._extent(patch, patch.bit // 8, (patch.bit + patch.bits) // 8)
        return any(first <= other.bit // 8 < last for other in others if other is not patch)

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
