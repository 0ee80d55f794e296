"""Types of values that are written as text: in text, JSON strings, headers, pairs and XML.

Each converts a text to a value and back; what it reads is one canonical form, so that what two
accessories write differently compares equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from bcast.accessory.holes import Hole, Literal
from bcast.accessory.mistakes import Wrong, meant
from bcast.accessory.template import MAX_ITEMS, MAX_TEXT, Misfit, Value

__all__ = [
    "TEXT_TYPES",
    "Converter",
    "converter",
    "read_ip4",
    "read_mac",
    "read_str",
    "read_uuid",
    "with_literal",
    "write_str",
]


class Converter(NamedTuple):
    """``read`` and ``write`` raise `Misfit` for what isn't of the type."""

    read: Callable[[str], Value]
    write: Callable[[Value], str]


#: Types that are written as text. XML adds ``qnames``; a part (``@name``) is read from its bytes.
TEXT_TYPES = ("any", "base64", "bool", "int", "ip4", "ip6", "list", "mac", "str", "uuid")

# Python refuses to convert 4,300 digits; 18 fit 64 bits, and nobody writes more.
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_CANONICAL = re.compile(r"0|-?[1-9][0-9]{0,17}")
_MAC = re.compile(r"([0-9a-fA-F]{2})([:.-]?)" + r"([0-9a-fA-F]{2})\2" * 4 + "([0-9a-fA-F]{2})")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def converter(hole: Hole, default: str = "str") -> Converter:
    """The converter of a hole's type. Raises `Wrong` for an unknown one, or for its arguments."""
    kind, arguments = hole.type or default, hole.arguments
    if kind == "mac":
        return _mac(hole)
    if kind == "list":
        return _list(arguments[0] if arguments else "")
    if kind not in _SIMPLE:
        raise Wrong(f"{hole}: no text type '{kind}'{meant(kind, TEXT_TYPES)}", hole.start)
    if arguments:
        raise Wrong(f"{hole}: the type {kind} takes nothing in parentheses", hole.start)
    return _SIMPLE[kind]


def with_literal(hole: Hole, convert: Converter) -> Hole:
    """The hole with its literal, if it has one, converted to its type. Raises `Wrong`."""
    if not isinstance(hole.source, Literal) or not isinstance(hole.source.value, str):
        return hole
    try:
        value = convert.read(hole.source.value)
    except Misfit as misfit:
        raise Wrong(f"{hole}: {misfit}", hole.start) from None
    if isinstance(value, list):
        raise Wrong(f"{hole}: a list can't stand in a description", hole.start)
    return hole._replace(source=Literal(value))


def read_str(text: str) -> Value:
    """Any text that isn't too long."""
    if len(text) > MAX_TEXT:
        raise Misfit("a text of %d characters, more than %d", len(text), MAX_TEXT)
    return text


def write_str(value: Value) -> str:
    """Any single value as text: numbers in digits, truth values as JSON writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, list):
        raise Misfit("%r isn't a text", value)
    return str(value)


def _read_int(text: str) -> Value:
    if not _INTEGER.fullmatch(text):
        raise Misfit("%r isn't an integer", text[:40])
    return int(text)


def _write_int(value: Value) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        # Values from a command line are text.
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return str(int(value))
        raise Misfit("%r isn't an integer", value)
    return str(value)


def _read_any(text: str) -> Value:
    if _CANONICAL.fullmatch(text):
        return int(text)
    return text == "true" if text in ("true", "false") else read_str(text)


def _read_bool(text: str) -> Value:
    lower = text.lower()
    if lower not in ("true", "false"):
        raise Misfit("%r is neither true nor false", text[:40])
    return lower == "true"


def _write_bool(value: Value) -> str:
    if isinstance(value, str):
        value = _read_bool(value)
    if not isinstance(value, bool):
        raise Misfit("%r is neither true nor false", value)
    return write_str(value)


def read_ip4(text: str) -> Value:
    """An IPv4 address in four decimal numbers."""
    if len(text) > 15 or len(parts := text.split(".")) != 4:
        raise Misfit("%r isn't an IPv4 address", text[:40])
    for part in parts:
        if not (part.isascii() and part.isdigit()) or int(part) > 255 or part != str(int(part)):
            raise Misfit("%r isn't an IPv4 address", text[:40])
    return text


def _read_ip6(text: str) -> Value:
    from ipaddress import IPv6Address

    try:
        return str(IPv6Address(text[:64]))
    except ValueError:
        raise Misfit("%r isn't an IPv6 address", text[:40]) from None


def read_uuid(text: str) -> Value:
    """A UUID (RFC 9562, 4), in small letters."""
    if not _UUID.fullmatch(text):
        raise Misfit("%r isn't a UUID", text[:40])
    return text.lower()


def read_mac(text: str) -> Value:
    """A hardware address with any separator or none, as ``02:00:00:77:00:0a``."""
    found = _MAC.fullmatch(text)
    if found is None:
        raise Misfit("%r isn't a hardware address", text[:40])
    digits = text.replace(found[2], "").lower() if found[2] else text.lower()
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _mac(hole: Hole) -> Converter:
    separator, upper = ":", False
    for argument in hole.arguments:
        if argument == "upper":
            upper = True
        elif argument in (":", "-", ".", "none"):
            separator = "" if argument == "none" else argument
        else:
            raise Wrong(f"{hole}: a mac has a separator (: - . none) and upper", hole.start)

    def write(value: Value) -> str:
        text = str(read_mac(str(value))).replace(":", separator)
        return text.upper() if upper else text

    return Converter(read_mac, write)


def _list(separator: str) -> Converter:
    def read(text: str) -> Value:
        if len(text) > MAX_TEXT:
            raise Misfit("a list of %d characters, more than %d", len(text), MAX_TEXT)
        items = text.split(separator or None) if text else []
        if len(items) > MAX_ITEMS:
            raise Misfit("a list of %d items, more than %d", len(items), MAX_ITEMS)
        return [item.strip() for item in items] if separator else list(items)

    def write(value: Value) -> str:
        items = [write_str(item) for item in value] if isinstance(value, list) else [str(value)]
        text = (separator or " ").join(items)
        if read(text) != items:
            raise Misfit("%r can't be told apart again with %r between", items, separator or " ")
        return text

    return Converter(read, write)


def _read_base64(text: str) -> Value:
    from base64 import b64decode

    if len(text) > 2 * MAX_TEXT:
        raise Misfit("a text of %d characters in base64", len(text))
    try:
        return b64decode(text.encode("ascii"), validate=True).decode()
    except ValueError:  # binascii.Error, UnicodeError
        raise Misfit("%r isn't text in base64", text[:40]) from None


def _write_base64(value: Value) -> str:
    from base64 import b64encode

    return b64encode(write_str(value).encode()).decode("ascii")


def _written_by(read: Callable[[str], Value]) -> Callable[[Value], str]:
    """For types that are written as they are read."""
    return lambda value: str(read(write_str(value)))


_SIMPLE = {
    "str": Converter(read_str, write_str),
    "any": Converter(_read_any, write_str),
    "int": Converter(_read_int, _write_int),
    "bool": Converter(_read_bool, _write_bool),
    "ip4": Converter(read_ip4, _written_by(read_ip4)),
    "ip6": Converter(_read_ip6, _written_by(_read_ip6)),
    "uuid": Converter(read_uuid, _written_by(read_uuid)),
    "base64": Converter(_read_base64, _write_base64),
}
