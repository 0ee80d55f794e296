"""JSON from the network: parsed within bounds, and its values as those of descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from bcast.accessory.holes import Hole, Literal
from bcast.accessory.leaves import converter, with_literal
from bcast.accessory.mistakes import Wrong
from bcast.accessory.structure import Shown
from bcast.accessory.template import MAX_ITEMS, MAX_TEXT, Leaf, Misfit, Value

__all__ = [
    "Json",
    "JsonConverter",
    "checked_leaf",
    "checked_value",
    "json_converter",
    "json_hole",
    "parse_json",
]

#: Objects and lists of a datagram, and so how deep they stand in one another: 65,000 brackets
#: would be a tree of 5 MB, or no stack left.
_MAX_CONTAINERS: Final = 256

#: A number is less than this, either way: 18 digits fit 64 bits, and no device counts further.
_TOO_LARGE: Final = 10**18

#: What `json` makes of a document, and makes one of.
Json: TypeAlias = Any

#: How a value is read from JSON, and written.
JsonConverter: TypeAlias = tuple[Callable[[Json], Value], Callable[[Value], Json]]


_decode = json.JSONDecoder().decode


def parse_json(payload: bytes) -> Json:
    """What a datagram says. Raises `Misfit`, and nothing else."""
    if payload.count(b"{") + payload.count(b"[") > _MAX_CONTAINERS:
        raise Misfit("more than %d objects and lists", _MAX_CONTAINERS)
    try:
        return _decode(payload.decode())
    # A number of more than 4,300 digits is a ValueError too; and the stack may be nearly full
    # where a datagram is read.
    except (ValueError, RecursionError) as error:
        raise Misfit("it is no JSON (%s)", error) from None


def checked_value(found: Json) -> Value:
    """What was found, if it is a value, within the bounds. Raises `Misfit`."""
    if isinstance(found, list):
        if len(found) > MAX_ITEMS:
            raise Misfit("a list of %d items, more than %d", len(found), MAX_ITEMS)
        return [checked_leaf(item) for item in found]
    return checked_leaf(found)


def checked_leaf(found: Json) -> Leaf:
    if isinstance(found, str):
        if len(found) > MAX_TEXT:
            raise Misfit("a text of %d characters, more than %d", len(found), MAX_TEXT)
        if not found.isascii() and any("\ud800" <= c <= "\udfff" for c in found):
            raise Misfit("half a character")
        return found
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, int):
        if not -_TOO_LARGE < found < _TOO_LARGE:
            raise Misfit("a number of more than 18 digits")
        return found
    if isinstance(found, float):
        if found - found != 0:
            raise Misfit("%s is no number to count with", found)
        return found
    raise Misfit("%s instead of a value", Shown(found))


def json_converter(hole: Hole) -> JsonConverter:
    """How a hole's value is read from JSON and written. Raises `Wrong`."""
    kind = hole.type or "any"
    if kind == "any" and not hole.arguments:
        return checked_value, _keep
    if kind == "list" and not hole.arguments:
        return _read_list, _write_list
    text = converter(hole)
    if kind in ("bool", "int"):
        wanted: type = bool if kind == "bool" else int

        def read(found: Json) -> Value:
            if not isinstance(found, wanted) or isinstance(found, bool) is not (wanted is bool):
                raise Misfit("%s is no %s", Shown(found), kind)
            return checked_leaf(found)

        def write(value: Value) -> Json:
            return json.loads(text.write(value))

        return read, write

    def read_text(found: Json) -> Value:
        if not isinstance(found, str):
            raise Misfit("%s is no text", Shown(found))
        checked_leaf(found)
        return text.read(found)

    return read_text, text.write


def _keep(value: Value) -> Json:
    return value


def _read_list(found: Json) -> Value:
    if not isinstance(found, list):
        raise Misfit("%s is no list", Shown(found))
    return checked_value(found)


def _write_list(value: Value) -> Json:
    return value if isinstance(value, list) else [value]


def json_hole(hole: Hole) -> Hole:
    """The hole with its literal converted: without a type as JSON has it, else as a text."""
    if not isinstance(hole.source, Literal) or not isinstance(hole.source.value, str):
        return hole
    kind = hole.type or "any"
    if kind == "list" and not hole.arguments:
        raise Wrong(f"{hole}: a list can't stand in a description", hole.start)
    if kind != "any":
        return with_literal(hole, converter(hole))
    text = hole.source.value
    try:
        value = checked_value(parse_json(text.encode()))
    except Misfit:
        value = text
    if isinstance(value, list | str):
        # A text needs no quotes here, and what looks like a list is one.
        value = text
    return hole._replace(source=Literal(value))
