"""What stands at fixed places in a binary datagram: one unpacking, then constants and values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from typing import Any, NamedTuple

from bcast.accessory.fields import Field, number
from bcast.accessory.frames import Input, Output, Patch
from bcast.accessory.holes import Call, Hole, Literal
from bcast.accessory.template import Misfit, Value, same

__all__ = ["Block", "Item"]

_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}


class Item(NamedTuple):
    """A constant (``value`` under ``mask``), or a hole with its field; ``bits`` long."""

    bits: int
    value: int = 0
    mask: int = 0
    hole: Hole | None = None
    field: Field | None = None


class _Got(NamedTuple):
    """A value among those that were unpacked: the how-manieth, and how it is converted."""

    place: int
    hole: Hole
    read: Callable[[Any], Value] | None
    begin: int
    end: int


class Block:
    """Some whole bytes whose fields don't move."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = tuple(items)
        self.size: int = sum(item.bits for item in items) // 8
        self.holes = tuple(i.hole for i in items if i.hole and (i.hole.name or i.hole.mark))
        #: Bits that each datagram has the same.
        self.constants = sum(
            i.bits if _is_literal(i.hole) else i.mask.bit_count() if i.hole is None else 0
            for i in items
        )
        codes, constants, masked, got = _compile(items)
        self.guard = _guard(constants, masked)
        self._unpack = Struct(">" + codes).unpack_from
        self._constants = constants
        self._masked = masked
        self._plain = tuple(
            (g.place, g.hole.name, g.read)
            for g in got
            if g.hole.name and g.hole.mark != "=" and not isinstance(g.hole.source, Call)
        )
        self._checked = tuple(
            g for g in got if g.hole.mark == "=" and not isinstance(g.hole.source, Call)
        )
        self._computed = tuple(g for g in got if isinstance(g.hole.source, Call))
        #: Whether its values need nothing that stands elsewhere: then a part's are the message's.
        self.simple = not self._computed

    def read(self, frame: Input) -> None:
        begin = frame.at
        end = begin + self.size
        if end > frame.end:
            raise Misfit("it is %d bytes too short", end - frame.end)
        got = self._unpack(frame.payload, begin)
        for index, constant, at in self._constants:
            if got[index] != constant:
                raise Misfit("%s at byte %d, not %s", got[index].hex(), begin + at, constant.hex())
        for index, mask, bits, at, _ in self._masked:
            raw = got[index]
            if type(raw) is bytes:
                raw = int.from_bytes(raw, "big")
            if raw & mask != bits:
                raise Misfit("%x at byte %d, not %x", raw & mask, begin + at, bits)
        frame.at = end
        reading = frame.reading
        values = reading.values
        value: Value
        for index, name, read in self._plain:
            value = got[index] if read is None else read(got[index])
            if name in values and not same(values[name], value):
                raise Misfit("%s is %r here and %r there", name, value, values[name])
            values[name] = value
        for index, hole, read, _, _ in self._checked:
            reading.accept(hole, got[index] if read is None else read(got[index]))
        for index, hole, read, first, last in self._computed:
            told: Any = got[index] if read is None else read(got[index])
            if hole.name:
                reading.accept(hole, told)
            frame.measure(hole, told, begin + first, begin + last)
        if end > frame.end:
            raise Misfit("it says that it is %d bytes shorter than it is", end - frame.end)

    def write(self, frame: Output) -> None:
        whole, done = 0, 0
        begin = 8 * len(frame.out)
        writing = frame.writing
        for bits, constant, _, hole, field in self.items:
            value = constant
            if hole is not None and field is not None and field.kind != "pad":
                call = hole.source
                given = writing.given.get(hole.name) if hole.mark == "~" and hole.name else None
                if isinstance(call, Call) and call.function not in _TOLD and given is None:
                    frame.patches.append(Patch(hole, call, field, begin + done, bits))
                elif field.kind == "number":
                    value = _number(writing.value(hole), bits, hole)
                else:
                    try:
                        value = int.from_bytes(field.write(writing.value(hole)), "big")
                    except Misfit as misfit:
                        raise Misfit("%s: %s", hole, misfit) from None
            whole = whole << bits | value
            done += bits
        frame.out += whole.to_bytes(self.size, "big")


#: Functions whose results the writing knows; the others are of the scope.
_TOLD = ("random", "uuid", "time")


def _number(value: Value, bits: int, hole: Hole) -> int:
    try:
        return number(value, bits)
    except Misfit as misfit:
        raise Misfit("%s: %s", hole, misfit) from None


def _is_literal(hole: Hole | None) -> bool:
    return hole is not None and hole.mark == "=" and isinstance(hole.source, Literal)


def _guard(
    constants: tuple[tuple[int, bytes, int], ...],
    masked: tuple[tuple[int, int, int, int, int], ...],
) -> tuple[bytes | tuple[bytes, ...], int]:
    """What strangers most probably don't have, and at which byte: the constant at the beginning,
    or what the first byte may be, or the longest constant.
    """
    for _, constant, at in constants:
        if not at:
            return constant, 0
    for _, mask, value, at, size in masked:
        shift = 8 * (size - 1)
        if not at and (mask >> shift).bit_count() >= 4:
            return tuple(
                bytes((first,)) for first in range(256) if first & mask >> shift == value >> shift
            ), 0
    if constants:
        _, constant, at = max(constants, key=lambda c: len(c[1]))
        return constant, at
    return b"", 0


_Compiled = tuple[
    str,
    tuple[tuple[int, bytes, int], ...],
    tuple[tuple[int, int, int, int, int], ...],
    tuple[_Got, ...],
]


def _compile(items: Sequence[Item]) -> _Compiled:
    """The format, whole constants, constants under masks, and values; by index of the format."""
    codes: list[str] = []
    constants: list[tuple[int, bytes, int]] = []
    masked: list[tuple[int, int, int, int, int]] = []
    got: list[_Got] = []
    index = at = position = 0
    while position < len(items):
        item = items[position]
        # What shares bytes is taken together.
        behind, bits = position + 1, item.bits
        while bits % 8:
            bits += items[behind].bits
            behind += 1
        size, group = bits // 8, items[position:behind]
        position = behind
        hole, field = item.hole, item.field
        full = (1 << item.bits) - 1
        if (hole is None and not item.mask and len(group) == 1) or (field and field.kind == "pad"):
            codes.append(f"{size}x")
        elif hole is None and item.mask == full and len(group) == 1:
            codes.append(f"{size}s")
            constants.append((index, item.value.to_bytes(size, "big"), at))
            index += 1
        elif field is not None and field.kind in ("", "little"):
            assert hole is not None
            codes.append(f"{size}s")
            got.append(_Got(index, hole, field.read, at, at + size))
            index += 1
        else:
            code = _CODES.get(bits)
            codes.append(code or f"{size}s")
            mask = value = 0
            left = bits
            for part in group:
                left -= part.bits
                mask |= part.mask << left
                value |= part.value << left
                if part.hole is not None:
                    read = _reader(code, left, part.bits, bits)
                    # A number inside a byte begins where the byte does.
                    first, last = at + (bits - left - part.bits) // 8, at + size - left // 8
                    got.append(_Got(index, part.hole, read, first, last))
            if mask:
                masked.append((index, mask, value, at, size))
            index += 1
        at += size
    return "".join(codes), tuple(constants), tuple(masked), tuple(got)


def _reader(code: str | None, shift: int, bits: int, of: int) -> Callable[[Any], Value] | None:
    """Takes some bits out of what was unpacked."""
    mask = (1 << bits) - 1
    if code is None:
        return partial(_bits_of_bytes, shift=shift, mask=mask)
    return None if bits == of else partial(_bits_of, shift=shift, mask=mask)


def _bits_of(raw: int, *, shift: int, mask: int) -> int:
    return raw >> shift & mask


def _bits_of_bytes(raw: bytes, *, shift: int, mask: int) -> int:
    return int.from_bytes(raw, "big") >> shift & mask
