"""What the tests of descriptions share: the catalogue, the captures, values for any message."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from hypothesis import strategies as st

import bcast
from bcast.accessory.description import Description
from bcast.accessory.forms import Form, Role
from bcast.accessory.holes import Hole, Reference
from bcast.accessory.loading import load
from bcast.accessory.template import Own, Value
from bcast.capture import CaptureReader
from bcast.datagram import Datagram

__all__ = [
    "ALL_ROLES",
    "CAPTURES",
    "CATALOGUE",
    "FOLDER",
    "OWN",
    "captured",
    "catalogue",
    "message_values",
    "needs_aes",
]

CAPTURES = Path(__file__).parent / "captures"

FOLDER = Path(bcast.__file__).parent / "accessories"

#: The names of the descriptions that bcast brings.
CATALOGUE = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))

ALL_ROLES: tuple[Role, ...] = ("goodbye", "announcement", "reply", "probe")

OWN = Own(
    address="192.0.2.77",
    port=4477,
    mac="02:00:00:77:00:4d",
    id="4d696e69-444c-164e-9d41-0200007700aa",
    host="host-a",
)


@cache
def catalogue() -> Mapping[str, Description]:
    return {
        name: load((FOLDER / f"{name}.toml").read_text("utf-8"), file=f"{name}.toml")
        for name in CATALOGUE
    }


@cache
def captured(name: str) -> tuple[Datagram, ...]:
    with CaptureReader(CAPTURES / f"{name}.pcap") as reader:
        return tuple(reader)


def needs_aes(name: str) -> None:
    """Skips what can't be read without the extra."""
    if name == "tuya":
        pytest.importorskip("cryptography", reason="needs the extra bcast[aes]")


def message_values(form: Form) -> st.SearchStrategy[dict[str, Value]]:
    """Values for some holes of a message, those aside that come from elsewhere.

    Those without a source are given all or not at all: half a stretch can't be written. What is
    only ever read has no others, so there they are given.
    """
    holes = {
        hole.name: hole
        for hole in form.template.holes
        if hole.name not in ("", "*") and hole.type not in ("@", "each") and not _echoed(hole)
    }
    bare = {name: _value(hole) for name, hole in holes.items() if hole.source is None}
    others = {name: _value(hole) for name, hole in holes.items() if hole.source is not None}
    given = st.fixed_dictionaries(bare, optional=others)
    return st.one_of(st.fixed_dictionaries({}, optional=others), given) if form.sent else given


def _echoed(hole: Hole) -> bool:
    return isinstance(hole.source, Reference) and hole.mark == "="


def _value(hole: Hole) -> st.SearchStrategy[Value]:
    one = _of_type(hole)
    # Of each of a part's names there are as many as there are of the part.
    return st.lists(one, min_size=3, max_size=3).map(_items) if hole.many else one


def _items(values: list[Value]) -> Value:
    return [value for value in values if not isinstance(value, list)]


#: Letters that no kind of template gives a meaning; what has one is for the templates' own tests.
_WORD = st.text("abcXYZ089äß☃_", min_size=1, max_size=12)


def _of_type(hole: Hole) -> st.SearchStrategy[Value]:
    kind, arguments = hole.type, hole.arguments
    bits = kind.removeprefix("u").removesuffix("le")
    if kind.startswith("u") and bits.isdigit():
        return st.integers(0, 2 ** int(bits) - 1)
    match kind:
        case "mac" | "macle":
            return st.integers(0, 2**48 - 1).map(
                lambda n: ":".join(f"{b:02x}" for b in n.to_bytes(6, "big"))
            )
        case "ip4" | "ip4le":
            return st.ip_addresses(v=4).map(str)
        case "uuid" | "uuidle":
            return st.uuids().map(str)
        case "uint" | "leb128" | "ber" | "int":
            return st.integers(0, 2**24)
        case "bool":
            return st.booleans()
        case "bytes":
            size = int(arguments[0]) if arguments else None
            return st.binary(min_size=size or 0, max_size=size or 14).map(bytes.hex)
        case "str" | "cstr":
            size = int(arguments[0]) if arguments and arguments[0].isdigit() else 12
            return st.text("abcXYZ089 ", max_size=size - 1).map(str.strip).filter(bool)
        case "list":
            return st.lists(_WORD, min_size=1, max_size=4).map(list)
        case "qnames":
            return st.lists(_WORD.map(lambda w: f"{{urn:x:{w}}}n{w}"), min_size=1, max_size=3).map(
                list
            )
        case "coap":
            return st.sampled_from(("", "c128", "40c128"))
        case "any":
            return st.one_of(_WORD, st.integers(0, 2**31), st.booleans())
    return _WORD
