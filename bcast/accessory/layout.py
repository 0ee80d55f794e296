"""Binary templates: hex digits with holes, compiled to steps.

::

    hex = hex digits | "ascii" | ? (any half byte, written 0) | hole | "[" hex "]" | # comment
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from bcast.accessory.blocks import Block, Item
from bcast.accessory.checksums import CHECKSUMS
from bcast.accessory.fields import field_of, typed_literal
from bcast.accessory.frames import Input, Output
from bcast.accessory.holes import Call, Hole, parse_hole
from bcast.accessory.mistakes import Wrong, meant
from bcast.accessory.parts import Parts
from bcast.accessory.steps import Each, Inside, Optional, Step, Variable
from bcast.accessory.template import Making, Misfit, Reading, Writing

__all__ = ["Layout", "make_hex"]

_SPANS = ("all", "before", "after")


class _Constant(NamedTuple):
    bits: int
    value: int
    mask: int


class _Maybe(NamedTuple):
    nodes: tuple[_Node, ...]
    start: int


_Node: TypeAlias = _Constant | Hole | _Maybe


class Layout:
    """A binary template. Made by `make_hex`.

    ``ends``: whether it knows where it ends, so that something may follow it.
    """

    def __init__(self, steps: tuple[Step, ...], *, closes: bool, ends: bool) -> None:
        self.steps = steps
        self.holes = tuple(hole for step in steps for hole in step.holes)
        self.constants = sum(step.constants for step in steps)
        first = steps[0] if steps else None
        self.guard: bytes | tuple[bytes, ...] = b""
        self.guard_at = 0
        if isinstance(first, Block):
            self.guard, self.guard_at = first.guard
        self.ends = ends or closes

    @property
    def items(self) -> tuple[Item, ...] | None:
        """Its fixed items, if it has nothing else: they can stand in what it is a part of."""
        if len(self.steps) == 1 and isinstance(self.steps[0], Block) and self.steps[0].simple:
            return self.steps[0].items
        return None

    def read(self, payload: bytes, reading: Reading) -> None:
        end = self.read_at(payload, 0, len(payload), reading)
        if end != len(payload):
            raise Misfit("%d bytes more than are described", len(payload) - end)

    def read_at(self, payload: bytes, at: int, end: int, reading: Reading) -> int:
        frame = Input(payload, at, end, reading)
        for step in self.steps:
            step.read(frame)
        if frame.closed or frame.checks:
            frame.finish()
        return frame.at

    def write(self, writing: Writing) -> bytes:
        out = bytearray()
        self.write_to(out, writing)
        return bytes(out)

    def write_to(self, out: bytearray, writing: Writing) -> None:
        frame = Output(out, writing)
        for step in self.steps:
            step.write(frame)
        frame.finish()


# --- parsing


def _parse(text: str, at: int, making: Making, *, inside: bool) -> tuple[tuple[_Node, ...], int]:
    nodes: list[_Node] = []
    begin = at
    while at < len(text):
        character = text[at]
        if character.isspace():
            at += 1
        elif character == "#":
            at = (text.find("\n", at) + 1) or len(text)
        elif character == '"':
            end = text.find('"', at + 1)
            quoted = text[at + 1 : end]
            if end < 0 or "\n" in quoted or not quoted.isascii():
                making.wrong(Wrong('"..." is ASCII on one line', at, text[at : at + 20]))
                end = end if end >= 0 else len(text)
            else:
                bits = 8 * len(quoted)
                value = int.from_bytes(quoted.encode(), "big")
                nodes.append(_Constant(bits, value, (1 << bits) - 1))
            at = end + 1
        elif character in "0123456789abcdefABCDEF":
            nodes.append(_Constant(4, int(character, 16), 15))
            at += 1
        elif character == "?":
            nodes.append(_Constant(4, 0, 0))
            at += 1
        elif character == "{":
            try:
                hole, at = parse_hole(text, at)
                nodes.append(hole)
            except Wrong as wrong:
                making.wrong(wrong)
                at = (text.find("}", at) + 1) or len(text)
        elif character == "[":
            inner, end = _parse(text, at + 1, making, inside=True)
            nodes.append(_Maybe(inner, at))
            at = end
        elif character == "]" and inside:
            return _joined(nodes), at + 1
        else:
            making.wrong(
                Wrong(
                    f"{character!r} isn't a hex digit: text stands in quotation marks",
                    at,
                    text[at : at + 20],
                )
            )
            at += 1
    if inside:
        making.wrong(Wrong("this [ has no ]", begin - 1, text[begin - 1 : begin + 20]))
    return _joined(nodes), at


def _joined(nodes: Sequence[_Node]) -> tuple[_Node, ...]:
    """Half bytes next to each other as one constant: whole bytes that are known by themselves."""
    joined: list[_Node] = []
    for node in nodes:
        last = joined[-1] if joined else None
        if isinstance(node, _Constant) and isinstance(last, _Constant):
            joined[-1] = _Constant(
                last.bits + node.bits,
                last.value << node.bits | node.value,
                last.mask << node.bits | node.mask,
            )
        else:
            joined.append(node)
    return tuple(joined)


# --- compiling


def make_hex(text: str, making: Making) -> Layout:
    """A template of kind ``hex``; mistakes are noted in ``making``."""
    nodes, _ = _parse(text, 0, making, inside=False)
    return _Compiler(nodes, making).layout()


class _Compiler:
    """Turns the nodes of one template into steps."""

    def __init__(self, nodes: tuple[_Node, ...], making: Making) -> None:
        self._nodes = nodes
        self._making = making
        self._names = {hole.name for hole in _holes(nodes) if hole.name}
        self._sized: set[str] = set()
        self._counted: set[str] = set()
        self._closes = False
        self._ends = True
        #: Which hole takes the rest, if one does.
        self._rest: Hole | None = None

    def layout(self) -> Layout:
        steps = self._steps(self._nodes, 0, inside=False)
        return Layout(steps, closes=self._closes, ends=self._ends)

    def _steps(
        self, nodes: tuple[_Node, ...], after: int | None, *, inside: bool
    ) -> tuple[Step, ...]:
        """``after``: bytes that follow all of them, None if that differs."""
        steps: list[Step] = []
        items: list[Item] = []

        def flush(node: _Node | None) -> None:
            if sum(item.bits for item in items) % 8:
                start = getattr(node, "start", 0)
                shown = str(node) if isinstance(node, Hole) else "what follows"
                raise Wrong(f"{shown} begins, or it ends, inside a byte: fill it up", start)
            if items:
                steps.append(Block(items))
                items.clear()

        for position, node in enumerate(nodes):
            try:
                if isinstance(node, _Constant):
                    items.extend(_split_constant(node, sum(i.bits for i in items)))
                    continue
                if isinstance(node, Hole):
                    self._check_hole(node, inside)
                    fixed = self._fixed(node)
                    if fixed is not None:
                        whole = fixed[0].field and fixed[0].field.kind != "number"
                        if whole and sum(item.bits for item in items) % 8:
                            raise Wrong(f"{node} begins inside a byte", node.start, str(node))
                        items.extend(fixed)
                        continue
                flush(node)
                tail = self._size(nodes[position + 1 :], after)
                if isinstance(node, _Maybe):
                    inner = self._steps(node.nodes, tail, inside=True)
                    steps.append(self._optional(node, inner, tail))
                else:
                    steps.append(self._variable(node, tail))
            except Wrong as wrong:
                self._making.wrong(wrong)
                # What stood there is unknown: nothing is said about bytes that may be missing.
                items.clear()
        try:
            flush(None)
        except Wrong as wrong:
            self._making.wrong(wrong)
        return tuple(steps)

    def _optional(self, node: _Maybe, inner: tuple[Step, ...], tail: int | None) -> Optional:
        step = Optional(inner, tail)
        if inner and not any(hole.name for hole in step.holes):
            raise Wrong("a stretch that may be absent needs a hole with a name", node.start)
        return step

    def _check_hole(self, hole: Hole, inside: bool) -> None:
        if hole.optional:
            raise Wrong(f"{hole}: in hex what may be absent stands in [ ]", hole.start, str(hole))
        if hole.name == "*":
            raise Wrong(f"{hole}: hex has no list of names that could leave some out", hole.start)
        call = hole.source
        if not isinstance(call, Call) or call.function in ("random", "uuid", "time"):
            return
        needed = 2 if call.function in CHECKSUMS else 1
        if not 1 <= len(call.arguments) <= needed:
            raise Wrong(f"{hole}: {call.function}(...) takes what it is of", hole.start)
        span = call.arguments[0]
        known = self._names | (set(_SPANS) if call.function != "count" else set())
        if span not in known:
            raise Wrong(
                f"{hole}: nothing here is called '{span}'{meant(span, known)}",
                hole.start,
                str(hole),
            )
        if call.function in CHECKSUMS:
            self._check_checksum(hole, call)
        elif hole.mark == "=" and span in ("all", "after"):
            if inside:
                raise Wrong(f"{hole}: what may be absent can't say where all ends", hole.start)
            if hole.type in ("leb128", "ber") and span == "all":
                raise Wrong(f"{hole}: its own length differs: use length(after)", hole.start)
            self._closes = True
        elif hole.mark == "=" and span != "before":
            (self._counted if call.function == "count" else self._sized).add(span)

    def _check_checksum(self, hole: Hole, call: Call) -> None:
        bits = CHECKSUMS[call.function][0]
        field = field_of(hole)
        if field.kind not in ("number", "little") or field.bits < bits or field.bits % 8:
            raise Wrong(f"{hole}: {call.function} needs a number of {bits} bits", hole.start)
        if len(call.arguments) > 1:
            try:
                size = len(bytes.fromhex(call.arguments[1]))
            except ValueError:
                size = -1
            if 8 * size != field.bits:
                raise Wrong(
                    f"{hole}: '{call.arguments[1]}' has to be {field.bits // 8} bytes in hex",
                    hole.start,
                )

    def _fixed(self, hole: Hole) -> tuple[Item, ...] | None:
        """What a hole has at a fixed place; None if it has to be a step of its own."""
        if hole.type == "@":
            if hole.name or len(hole.arguments) != 1:
                return None
            part = self._making.part(hole.arguments[0])
            return part.items if isinstance(part, Layout) else None
        if hole.type == "each":
            return None
        field = field_of(hole)
        if not field.bits:
            return None
        if hole.name and (hole.name in self._sized or hole.name in self._counted):
            raise Wrong(f"{hole}: a length is given to it, but it has its own", hole.start)
        return (Item(field.bits, hole=typed_literal(hole, field), field=field),)

    def _variable(self, hole: Hole, tail: int | None) -> Step:
        sized = hole.name in self._sized
        counted = hole.name in self._counted
        if hole.type == "@":
            parts = Parts(hole, self._making)
            if not sized and not all(getattr(t, "ends", False) for t in parts.templates):
                self._take_rest(hole, tail)
            return Inside(hole, parts, sized=sized, tail=tail)
        if hole.type == "each":
            named = tuple(
                (self._making.part(a.removesuffix("*")), a.endswith("*"))
                for a in hole.arguments
                if a
            )
            if not named:
                raise Wrong(f"{hole}: each(part, part*) takes the parts that may come", hole.start)
            if not counted and not sized:
                self._take_rest(hole, tail)
            return Each(hole, named, counted=counted, sized=sized, tail=tail)
        field = field_of(hole)
        hole = typed_literal(hole, field)
        if hole.type == "uint" and not sized:
            name = hole.name or "x"
            raise Wrong(f"{hole} needs its length: {{:u8=length({name})}} before it", hole.start)
        if not sized and hole.type in ("bytes", "str"):
            self._take_rest(hole, tail)
        return Variable(hole, field, sized=sized, tail=tail)

    def _take_rest(self, hole: Hole, tail: int | None) -> None:
        if self._rest is not None or tail is None:
            raise Wrong(
                f"{hole}: only one of these can take the rest: give the others a length",
                hole.start,
                str(hole),
            )
        self._rest = hole
        self._ends = False

    def _size(self, nodes: tuple[_Node, ...], after: int | None) -> int | None:
        """How many bytes these take together with what comes after them."""
        bits = 0
        for node in nodes:
            if isinstance(node, _Constant):
                bits += node.bits
                continue
            items = None
            if isinstance(node, Hole):
                try:
                    items = self._fixed(node)
                except Wrong:
                    return None  # told where it is compiled
            if items is None:
                return None
            bits += sum(item.bits for item in items)
        return None if after is None else bits // 8 + after


def _holes(nodes: tuple[_Node, ...]) -> list[Hole]:
    found: list[Hole] = []
    for node in nodes:
        if isinstance(node, Hole):
            found.append(node)
        elif isinstance(node, _Maybe):
            found += _holes(node.nodes)
    return found


def _split_constant(node: _Constant, before: int) -> list[Item]:
    """A constant as items that are all known, all unknown, or share bytes with others."""
    items: list[Item] = []
    bits = node.bits
    # Up to the next whole byte it belongs to what stands before it.
    while bits:
        take = min(bits, -(before + node.bits - bits) % 8 or 8)
        bits -= take
        ones = (1 << take) - 1
        part = Item(take, node.value >> bits & ones, node.mask >> bits & ones)
        last = items[-1] if items else None
        if (
            take == 8
            and last is not None
            and last.bits % 8 == 0
            and part.mask in (0, ones)
            and last.mask in (0, (1 << last.bits) - 1)
            and bool(part.mask) == bool(last.mask)
        ):
            items[-1] = Item(
                last.bits + 8, last.value << 8 | part.value, last.mask << 8 | part.mask
            )
        else:
            items.append(part)
    return items
