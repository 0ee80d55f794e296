"""Sketches of what can be read: JSON, header lines and plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from bcast.accessory.conversation import Spoken
from bcast.accessory.sketches import Echo, Names, Sketch, hole, quoted

__all__ = [
    "headers_shape",
    "json_leaves",
    "json_shape",
    "parse_json",
    "sketch_headers",
    "sketch_json",
    "sketch_text",
    "text_shape",
]

_Path: TypeAlias = tuple[str | int, ...]

_START = re.compile(r"[A-Z][A-Z-]+ \S+ HTTP/\d\.\d|HTTP/\d\.\d \d{3}.*")
_DELIMITERS = re.compile(r"([\s,;:=|&]+)")


# --- JSON


def parse_json(payload: bytes) -> object:
    """The object that a payload is, None if it is none. Only for drafts: not bounded."""
    if not payload.lstrip().startswith(b"{"):
        return None
    try:
        found: object = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def json_shape(value: object) -> frozenset[tuple[_Path, bool]]:
    """Where its leaves are, and empty objects: datagrams with the same are of one kind."""
    return frozenset((path, isinstance(leaf, dict)) for path, leaf in _leaves(value))


def json_leaves(value: object) -> dict[str, object]:
    """Its leaves by their keys; of several with one key the last."""
    return {str(path[-1]): leaf for path, leaf in _leaves(value) if path}


def _leaves(value: object, path: _Path = ()) -> list[tuple[_Path, object]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [leaf for i, inner in enumerate(value) for leaf in _leaves(inner, (*path, i))]
    return [(path, value)]


def sketch_json(
    payloads: Sequence[bytes],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
    asked: Mapping[str, object],
) -> Sketch:
    """``asked``: the texts that the probe has; a reply that repeats one under the same key says
    which kind of message it is."""
    parsed = [parse_json(payload) for payload in payloads]
    leaves = [dict(_leaves(value)) for value in parsed]
    varying: dict[str, Echo] = {}
    holes: dict[_Path, object] = {}
    for path, first in leaves[0].items():
        values = [leaf[path] for leaf in leaves]
        key = next((str(step) for step in reversed(path) if isinstance(step, str)), "value")
        constant = all(value == first and type(value) is type(first) for value in values)
        if isinstance(first, dict) or (
            constant and (names.internal or (isinstance(first, str) and asked.get(key) == first))
        ):
            holes[path] = quoted(first) if isinstance(first, str) else first
            continue
        text = hole(key, values, spoken, names, echoes, typed=True)
        holes[path] = text
        if names.internal and not constant:
            name = re.split("[:=~}]", text[1:])[0]
            varying[name] = _leaf_of(path)
    compact = b'": ' not in payloads[0]
    separators = (",", ":") if compact else (", ", ": ")
    text = json.dumps(_put(parsed[0], holes), separators=separators, ensure_ascii=False)
    return Sketch("json", text, echoes=varying)


def _leaf_of(path: _Path) -> Echo:
    return lambda payload: dict(_leaves(parse_json(payload))).get(path)


def _put(value: object, holes: Mapping[_Path, object], path: _Path = ()) -> object:
    if path in holes:
        return holes[path]
    if isinstance(value, dict):
        return {key: _put(inner, holes, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_put(inner, holes, (*path, i)) for i, inner in enumerate(value)]
    return value


# --- header lines


def _headers(payload: bytes) -> tuple[str, dict[str, str]] | None:
    try:
        lines = payload.decode().splitlines()
    except UnicodeDecodeError:
        return None
    if not lines or not _START.fullmatch(lines[0]):
        return None
    found: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return lines[0], found


def headers_shape(payload: bytes) -> tuple[str, frozenset[str]] | None:
    """The start line and the names, None for a payload that isn't header lines."""
    found = _headers(payload)
    return (found[0], frozenset(map(str.lower, found[1]))) if found else None


def sketch_headers(
    payloads: Sequence[bytes],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
) -> Sketch:
    parsed = [found[1] for payload in payloads if (found := _headers(payload))]
    lowered = [{name.lower(): value for name, value in one.items()} for one in parsed]
    first = _headers(payloads[0])
    lines = [quoted(first[0]) if first else ""]
    varying: dict[str, Echo] = {}
    for name, value in parsed[0].items():
        values = [one[name.lower()] for one in lowered]
        if names.internal and len(set(values)) == 1:
            lines.append(f"{name}: {quoted(value)}")
            continue
        text = hole(name, values, spoken, names, echoes)
        lines.append(f"{name}: {text}")
        if names.internal:
            varying[re.split("[:=~}]", text[1:])[0]] = _header_of(name.lower())
    return Sketch("headers", "\n".join(lines), echoes=varying)


def _header_of(name: str) -> Echo:
    def echo(payload: bytes) -> object:
        found = _headers(payload)
        return {key.lower(): value for key, value in found[1].items()}.get(name) if found else None

    return echo


# --- text


def text_shape(payload: bytes) -> tuple[str, ...] | None:
    """Its words (all as "x" or "") and what stands between them, None if it isn't printable."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    if not text.replace("\r", "").replace("\n", "").replace("\t", "").isprintable():
        return None
    pieces = _DELIMITERS.split(text)
    return tuple(piece if i % 2 else "x"[: len(piece)] for i, piece in enumerate(pieces))


def sketch_text(
    payloads: Sequence[bytes],
    spoken: Sequence[Spoken],
    names: Names,
    echoes: Mapping[str, Echo],
) -> Sketch:
    split = [_DELIMITERS.split(payload.decode()) for payload in payloads]
    pieces = []
    varying: dict[str, Echo] = {}
    key = ""
    for i, word in enumerate(split[0]):
        values = [one[i] for one in split]
        constant = len(set(values)) == 1
        after = split[0][i + 1] if i + 1 < len(split[0]) else ""
        is_key = constant and after.strip() in ("=", ":")
        if (
            i % 2
            or not all(values)
            or is_key
            or (constant and (names.internal or len(split[0]) == 1))
        ):
            pieces.append(quoted(word))
            if not i % 2:
                key = word
            continue
        text = hole(key, values, spoken, names, echoes)
        pieces.append(text)
        key = ""
        if names.internal:
            varying[re.split("[:=~}]", text[1:])[0]] = _word_of(i)
    return Sketch("text", "".join(pieces), echoes=varying)


def _word_of(i: int) -> Echo:
    def echo(payload: bytes) -> object:
        try:
            words = _DELIMITERS.split(payload.decode())
        except UnicodeDecodeError:
            return None
        return words[i] if i < len(words) else None

    return echo
