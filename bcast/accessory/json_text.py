"""JSON as a template: matched by structure, written with the spacing of the template.

Keys that are listed have to be there, with the values that stand behind them; others are passed
over, or taken by ``"*": "{*}"``. A string that is one hole stands for any JSON value (``:str``,
``:int``, ``:bool`` and ``:list`` for one of that kind, the other types for a string of their
form); holes within a longer string are text. ``{:@part}`` is what the part describes, as a string
or as the object itself.
"""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from bcast.accessory.holes import Call, Hole, Literal
from bcast.accessory.json_values import (
    Json,
    checked_leaf,
    checked_value,
    json_converter,
    json_hole,
    parse_json,
)
from bcast.accessory.mistakes import Wrong
from bcast.accessory.parts import Parts, chosen
from bcast.accessory.structure import (
    COMPUTED,
    MAX_KEY,
    MAX_REST,
    Absent,
    Entry,
    Near,
    Shown,
    check_rest,
    lone_hole,
)
from bcast.accessory.template import Making, Misfit, Reading, Writing, same

__all__ = ["JsonTemplate", "make_json"]

_SPECIAL = re.compile(r"[][{}]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


class JsonTemplate:
    """A `bcast.accessory.template.Template`, and a part that may stand inside another one."""

    def __init__(self, root: _Place, separators: tuple[str, str]) -> None:
        self.root = root
        self.holes = root.holes
        self.constants = root.constants
        self.guard = {_Object: b"{", _Array: b"["}.get(type(root), b"")
        encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=separators)
        self._encode = encoder.encode

    def read(self, payload: bytes, reading: Reading) -> None:
        self.root.read(parse_json(payload), reading)

    def write(self, writing: Writing) -> bytes:
        try:
            made = self.root.write(writing)
        except Absent:
            made = None
        try:
            return self._encode(made).encode()
        except ValueError:
            raise Misfit("JSON can't say %s", Shown(made)) from None


def make_json(text: str, making: Making) -> JsonTemplate:
    """The template that ``json`` of a description is; mistakes are noted in ``making``."""
    try:
        document = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        where = error.pos if isinstance(error, json.JSONDecodeError) else 0
        near = text[where : where + 20].partition("\n")[0]
        making.wrong(Wrong(f"this is no JSON: {error}", where, near))
        document = None
    root = _compile(document, making, "")
    check_rest(root.holes, making)
    return JsonTemplate(root, _separators(text))


def _separators(text: str) -> tuple[str, str]:
    """What the template puts behind its items and keys; a line break only makes it legible."""
    bare = _STRING.sub('""', text)
    colon = ": " if re.search(r":\s", bare) else ":"
    inline = re.search(r",(?!\s*\n)(\s?)", bare)
    spaced = inline[1] if inline else colon[1:]
    return (", " if spaced else ","), colon


# --- places of the template


class _Place(Protocol):
    """A place in the template. ``optional``: it, and its key, may be absent."""

    @property
    def holes(self) -> tuple[Hole, ...]: ...
    @property
    def constants(self) -> int: ...
    @property
    def optional(self) -> bool: ...

    def read(self, found: Json, reading: Reading) -> None: ...

    def write(self, writing: Writing) -> Json:
        """Raises `Absent` if that is possible here, `Missing` and `Misfit`."""


class _Pairs(list[tuple[str, Any]]):
    """An object of a template, with keys that stand there twice."""


def _compile(document: Json, making: Making, path: str) -> _Place:
    try:
        if isinstance(document, _Pairs):
            return _Object(document, making, path)
        if isinstance(document, list):
            return _Array(document, making, path)
        if not isinstance(document, str) or not _SPECIAL.search(document):
            return _Constant(document, path)
        hole = lone_hole(document)
        if hole is None:
            return _Text(document, making, path)
        return _Nested(hole, making, path) if hole.type == "@" else _Single(hole, path)
    except Wrong as wrong:
        making.wrong(wrong)
        return _Constant(None, path)


class _Constant:
    holes: tuple[Hole, ...] = ()
    optional = False

    def __init__(self, value: Json, path: str) -> None:
        self._value = value
        self._path = path or "it"
        self.constants = 8 * len(json.dumps(value))

    def read(self, found: Json, reading: Reading) -> None:
        if not same(found, self._value):
            raise Misfit("%s is %s, not %r", self._path, Shown(found), self._value)

    def write(self, writing: Writing) -> Json:
        return self._value


class _Text:
    """A string with something around its holes."""

    def __init__(self, text: str, making: Making, path: str) -> None:
        self._entry = Entry(text, making)
        self._path = path or "it"
        self.holes = self._entry.holes
        self.constants = self._entry.constants
        self.optional = self._entry.optional

    def read(self, found: Json, reading: Reading) -> None:
        if not isinstance(found, str):
            raise Misfit("%s is %s, no text", self._path, Shown(found))
        checked_leaf(found)
        self._entry.read(found, reading)

    def write(self, writing: Writing) -> Json:
        return self._entry.write(writing)


class _Single:
    """A string that is one hole: a JSON value, of any kind or of one."""

    def __init__(self, hole: Hole, path: str) -> None:
        if hole.name == "*":
            raise Wrong(f'{hole}: what isn\'t listed is written "*": "{{*}}"', hole.start)
        if isinstance(hole.source, Call) and hole.source.function not in COMPUTED:
            raise Wrong(f"{hole}: {hole.source.function} is for hex", hole.start)
        self._path = path or "it"
        self._convert = json_converter(hole)
        self.optional = hole.optional
        self._hole = hole = json_hole(hole)
        self.holes = (hole,)
        self._null = hole.source == Literal(None)
        fixed = hole.mark == "=" and isinstance(hole.source, Literal)
        self.constants = 8 if fixed else 0

    def read(self, found: Json, reading: Reading) -> None:
        if found is None and not self._null:
            if self.optional:
                return
            raise Misfit("%s is null: a hole for which that is nothing has a ?", self._path)
        try:
            value = self._convert[0](found)
        except Misfit as misfit:
            raise Misfit("%s: %s", self._path, misfit) from None
        reading.accept(self._hole, value)

    def write(self, writing: Writing) -> Json:
        if self.optional and not writing.has(self._hole):
            raise Absent
        return self._convert[1](writing.value(self._hole))


class _Nested:
    """A hole that is a part: the object itself, or a string that the part describes."""

    optional = False

    def __init__(self, hole: Hole, making: Making, path: str) -> None:
        parts = Parts(hole, making)
        self._path = path or "it"
        self._templates = parts.templates
        self._parts = parts
        self.holes = parts.holes
        self.constants = parts.constants

    def read(self, found: Json, reading: Reading) -> None:
        if isinstance(found, str):
            self._parts.read(found.encode("utf-8", "surrogatepass"), reading)
            return
        reason = Misfit("%s is %s, no text", self._path, Shown(found))
        for template in self._templates:
            if isinstance(template, JsonTemplate):
                reading.spend()
                attempt = reading.item()
                try:
                    template.root.read(found, attempt)
                    reading.take(attempt)
                except Misfit as misfit:
                    reading.effort = attempt.effort
                    reason = misfit
                else:
                    return
        raise reason

    def write(self, writing: Writing) -> Json:
        template = chosen(self._templates, writing)
        if isinstance(template, JsonTemplate):
            return template.root.write(writing)
        try:
            return template.write(writing).decode()
        except UnicodeDecodeError:
            raise Misfit("%s isn't text", self._path) from None


class _Object:
    optional = False

    def __init__(self, pairs: _Pairs, making: Making, path: str) -> None:
        self._path = path or "it"
        self._rest = False
        self._places: dict[str, _Place] = {}
        holes: list[Hole] = []
        for key, document in pairs:
            if key == "*":
                if document != "{*}":
                    making.wrong(Wrong('what isn\'t listed is written "*": "{*}"', 0, '"*"'))
                self._rest = True
                holes.append(Hole("*"))
            elif key in self._places:
                making.wrong(Wrong(f"{key!r} stands here twice", 0, key))
            else:
                place = _compile(document, making, f"{path}.{key}".lstrip("."))
                self._places[key] = place
                holes += place.holes
        self.holes = tuple(holes)
        self._required = [(k, p) for k, p in self._places.items() if not p.optional]
        self._others = [(k, p) for k, p in self._places.items() if p.optional]
        self.constants = sum(8 * (len(k) + 3) + p.constants for k, p in self._required)

    def read(self, found: Json, reading: Reading) -> None:
        if not isinstance(found, dict):
            raise Misfit("%s is %s, no object", self._path, Shown(found))
        for key, place in self._required:
            if key not in found:
                raise Misfit("%s has no %r%s", self._path, key, Near(key, found))
            place.read(found[key], reading)
        for key, place in self._others:
            if key in found:
                place.read(found[key], reading)
        if self._rest:
            self._read_rest(found, reading)

    def _read_rest(self, found: dict[str, Json], reading: Reading) -> None:
        if len(found) - len(self._places) > MAX_REST:
            raise Misfit("%s has more than %d values", self._path, MAX_REST)
        for key, inner in found.items():
            if key in self._places or inner is None or len(key) > MAX_KEY:
                continue
            try:
                value = checked_value(inner)
                checked_leaf(key)
            except Misfit:
                # It isn't asked for: what can't be kept is left out.
                continue
            reading.accept_rest(key, value)

    def write(self, writing: Writing) -> Json:
        made: dict[str, Json] = {}
        for key, place in self._places.items():
            try:
                made[key] = place.write(writing)
            except Absent:
                continue
        if self._rest:
            made |= {k: v for k, v in writing.rest.items() if k not in self._places}
        return made


class _Array:
    """A list: the items of the template in their order; further ones are passed over."""

    optional = False

    def __init__(self, documents: list[Json], making: Making, path: str) -> None:
        self._path = path or "it"
        self._places = [_compile(d, making, f"{path}[{n}]") for n, d in enumerate(documents)]
        self.holes = tuple(hole for place in self._places for hole in place.holes)
        self.constants = sum(place.constants for place in self._places)
        for before, place in zip(self._places, self._places[1:], strict=False):
            if before.optional and not place.optional:
                raise Wrong(f"{before.holes[0]}: only the last items can be absent", 0)

    def read(self, found: Json, reading: Reading) -> None:
        if not isinstance(found, list):
            raise Misfit("%s is %s, no list", self._path, Shown(found))
        for number, place in enumerate(self._places):
            if number < len(found):
                place.read(found[number], reading)
            elif not place.optional:
                raise Misfit("%s has only %d items", self._path, len(found))

    def write(self, writing: Writing) -> Json:
        made = []
        for place in self._places:
            try:
                made.append(place.write(writing))
            except Absent:
                break
        return made
