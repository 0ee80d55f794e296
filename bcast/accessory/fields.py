"""Types of values in binary datagrams: how many bits they take, and what the bits mean.

A number is an ``int``; everything else is read from bytes. What a datagram has in hex, a
description has too: values are never bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from bcast.accessory.holes import Hole, Literal
from bcast.accessory.leaves import read_ip4, read_mac, read_uuid, write_str
from bcast.accessory.mistakes import Wrong, meant
from bcast.accessory.template import MAX_TEXT, Misfit, Value

__all__ = [
    "ENCODINGS",
    "FIELD_TYPES",
    "Field",
    "field_of",
    "number",
    "read_ber",
    "read_leb128",
    "typed_literal",
    "write_ber",
    "write_leb128",
]

#: What texts may be encoded in.
ENCODINGS = ("utf-8", "ascii", "latin-1", "utf-16le", "utf-16be")

#: For advice; numbers are ``u1`` to ``u64``, with ``le`` behind for little endian.
FIELD_TYPES = (
    *("u8", "u16", "u16le", "u24", "u32", "u32le", "u64", "u64le", "uint", "leb128", "ber"),
    *("bytes", "str", "cstr", "ip4", "ip4le", "ip6", "mac", "macle", "uuid", "uuidle", "pad"),
    *("coap", "each"),
)

_NUMBER = re.compile(r"u([0-9]{1,2})(le)?")


class Field(NamedTuple):
    """A type with its arguments.

    ``bits``: how many it takes, 0 if that differs from value to value. ``kind``: "number" (big
    endian), "little" (endian, whole bytes), "pad", or "" for what ``read`` and ``write`` convert
    (bytes to value and back, raising `Misfit`).
    """

    kind: str
    bits: int
    read: Callable[[bytes], Value]
    write: Callable[[Value], bytes]


def field_of(hole: Hole) -> Field:
    """The field of a hole in hex, other than parts. Raises `Wrong`."""
    kind, arguments = hole.type, hole.arguments

    def refuse(message: str) -> Wrong:
        return Wrong(f"{hole}: {message}", hole.start)

    def size() -> int:
        if not arguments or not arguments[0]:
            return 0
        if not re.fullmatch("[0-9]{1,4}", arguments[0]) or not 0 < int(arguments[0]) <= MAX_TEXT:
            raise refuse(f"{kind}(n) takes a number of bytes from 1 to {MAX_TEXT:,}")
        return int(arguments[0])

    if not kind:
        raise refuse("a hole in hex needs a type, like {name:u16} or {name:str(16)}")
    if found := _NUMBER.fullmatch(kind):
        bits = int(found[1])
        if not 1 <= bits <= 64:
            raise refuse("a number has 1 to 64 bits")
        if found[2] and bits % 8:
            raise refuse("only whole bytes can be little endian")
        if arguments:
            raise refuse(f"{kind} takes nothing in parentheses")
        return _little(bits // 8) if found[2] else Field("number", bits, _no_bytes, _no_value)
    if kind in ("bytes", "pad") and len(arguments) > 1:
        raise refuse(f"{kind} takes one number in parentheses")
    if kind == "pad":
        if not size() or hole.name or hole.mark:
            raise refuse("write {:pad(n)}: n bytes that mean nothing")
        return Field("pad", 8 * size(), _no_bytes, _no_value)
    if kind == "bytes":
        return _bytes(size())
    if kind in ("str", "cstr"):
        return _str(kind, size() if kind == "str" else 0, arguments[kind == "str" :], refuse)
    if kind in _SIMPLE:
        if arguments:
            raise refuse(f"{kind} takes nothing in parentheses")
        return _SIMPLE[kind]
    raise refuse(f"no binary type '{kind}'{meant(kind, FIELD_TYPES)}")


def typed_literal(hole: Hole, field: Field) -> Hole:
    """The hole with its literal, if it has one, converted to its type. Raises `Wrong`."""
    if not isinstance(hole.source, Literal) or not isinstance(hole.source.value, str):
        return hole
    text = hole.source.value
    try:
        if field.kind == "number":
            value: Value = number(text, field.bits)
        elif field.kind == "variable":
            value = number(text, 63)
        else:
            value = field.read(field.write(text))
    except Misfit as misfit:
        raise Wrong(f"{hole}: {misfit}", hole.start) from None
    if isinstance(value, list):
        raise Wrong(f"{hole}: a list can't stand in a description", hole.start)
    return hole._replace(source=Literal(value))


def number(value: Value, bits: int) -> int:
    """A value as an unsigned number of so many bits; text in digits or 0x... is one too."""
    if isinstance(value, str) and re.fullmatch("0x[0-9a-fA-F]{1,16}|[0-9]{1,20}", value):
        value = int(value, 16 if value.startswith("0x") else 10)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Misfit("%r isn't a number", value)
    if not 0 <= value < 1 << bits:
        raise Misfit("%d doesn't fit %d bits", value, bits)
    return value


def _no_bytes(raw: bytes) -> Value:
    raise AssertionError("numbers are read from the whole")


def _no_value(value: Value) -> bytes:
    raise AssertionError("numbers are written into the whole")


def _little(size: int) -> Field:
    def read(raw: bytes) -> Value:
        return int.from_bytes(raw, "little")

    def write(value: Value) -> bytes:
        return number(value, 8 * size).to_bytes(size, "little")

    return Field("little", 8 * size, read, write)


def _bytes(size: int) -> Field:
    def read(raw: bytes) -> Value:
        if len(raw) > MAX_TEXT:
            raise Misfit("%d bytes in one value, more than %d", len(raw), MAX_TEXT)
        return raw.hex()

    def write(value: Value) -> bytes:
        try:
            raw = bytes.fromhex(value) if isinstance(value, str) else None
        except ValueError:
            raw = None
        if raw is None:
            raise Misfit("%r isn't bytes in hex", value)
        if size and len(raw) != size:
            raise Misfit("%r has %d bytes, not %d", value, len(raw), size)
        return raw

    return Field("", 8 * size, read, write)


def _str(kind: str, size: int, options: tuple[str, ...], refuse: Callable[[str], Wrong]) -> Field:
    pad, encoding = b"\0", "utf-8"
    for option in options:
        if option == "space" and kind == "str":
            pad = b" "
        elif option in ENCODINGS:
            encoding = option
        else:
            known = (*ENCODINGS, "space")
            raise refuse(f"{kind} has no '{option}'{meant(option, known)} ({', '.join(known)})")
    if kind == "cstr" and encoding.startswith("utf-16"):
        raise refuse("a text in UTF-16 can't end at the first zero byte: give it a length")
    if encoding.startswith("utf-16") and pad == b" ":
        raise refuse("a text in UTF-16 is padded with zeros")

    def read(raw: bytes) -> Value:
        # A name in bytes that no encoding has is shown as far as it can be: devices have those.
        text = raw.decode(encoding, "replace").partition("\0")[0]
        if pad == b" ":
            text = text.rstrip(" ")
        if len(text) > MAX_TEXT:
            raise Misfit("a text of %d characters, more than %d", len(text), MAX_TEXT)
        return text

    def write(value: Value) -> bytes:
        text = write_str(value)
        try:
            raw = text.encode(encoding)
        except UnicodeEncodeError:
            raise Misfit("%r can't be written in %s", text, encoding) from None
        if size and len(raw) > size:
            raise Misfit("%r takes %d bytes, and there is room for %d", text, len(raw), size)
        if "\0" in text or (pad == b" " and text.endswith(" ")):
            raise Misfit("%r contains what it is padded with", text)
        return raw.ljust(size, pad)

    return Field("", 8 * size, read, write)


def _ip4(raw: bytes) -> Value:
    one, two, three, four = raw
    return f"{one}.{two}.{three}.{four}"


def _write_ip4(value: Value) -> bytes:
    return bytes(map(int, str(read_ip4(write_str(value))).split(".")))


def _write_ip6(value: Value) -> bytes:
    from ipaddress import IPv6Address

    try:
        return IPv6Address(write_str(value)).packed
    except ValueError:
        raise Misfit("%r isn't an IPv6 address", value) from None


def _ip6(raw: bytes) -> Value:
    from ipaddress import IPv6Address

    return str(IPv6Address(raw))


def _mac(raw: bytes) -> Value:
    return raw.hex(":")


def _write_mac(value: Value) -> bytes:
    return bytes.fromhex(str(read_mac(write_str(value))).replace(":", ""))


def _uuid(raw: bytes) -> Value:
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _write_uuid(value: Value) -> bytes:
    return bytes.fromhex(str(read_uuid(write_str(value))).replace("-", ""))


def _mixed(raw: bytes) -> bytes:
    """A UUID's first three fields the other way round (as GUIDs have them), and back."""
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def read_leb128(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 63, 7):
        if at >= end:
            raise Misfit("a number has no end")
        byte = payload[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise Misfit("a number of more than 63 bits")


def write_leb128(value: int) -> bytes:
    number(value, 63)
    raw = bytearray()
    while value >= 0x80:
        raw.append(value & 0x7F | 0x80)
        value >>= 7
    raw.append(value)
    return bytes(raw)


def read_ber(payload: bytes, at: int, end: int) -> tuple[int, int]:
    """A length as BER has it (ITU-T X.690, 8.1.3), the definite forms, and where it ends."""
    if at >= end:
        raise Misfit("a length is missing")
    size = payload[at]
    at += 1
    if size < 0x80:
        return size, at
    size &= 0x7F
    if not 1 <= size <= 7 or at + size > end:
        raise Misfit("a length that takes %d bytes", size)
    return int.from_bytes(payload[at : at + size], "big"), at + size


def write_ber(value: int) -> bytes:
    number(value, 56)
    if value < 0x80:
        return bytes((value,))
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(raw),)) + raw


def _read_uint(raw: bytes) -> Value:
    if not 1 <= len(raw) <= 8:
        raise Misfit("a number of %d bytes", len(raw))
    return int.from_bytes(raw, "big")


def _write_uint(value: Value) -> bytes:
    plain = number(value, 64)
    return plain.to_bytes((plain.bit_length() + 7) // 8 or 1, "big")


_SIMPLE = {
    "ip4": Field("", 32, _ip4, _write_ip4),
    "ip4le": Field("", 32, lambda r: _ip4(r[::-1]), lambda v: _write_ip4(v)[::-1]),
    "ip6": Field("", 128, _ip6, _write_ip6),
    "mac": Field("", 48, _mac, _write_mac),
    "macle": Field("", 48, lambda r: _mac(r[::-1]), lambda v: _write_mac(v)[::-1]),
    "uuid": Field("", 128, _uuid, _write_uuid),
    "uuidle": Field("", 128, lambda r: _uuid(_mixed(r)), lambda v: _mixed(_write_uuid(v))),
    "uint": Field("", 0, _read_uint, _write_uint),
    "coap": Field("", 0, lambda raw: _bytes(0).read(raw), lambda v: _bytes(0).write(v)),
    "leb128": Field("variable", 0, _no_bytes, lambda v: write_leb128(number(v, 63))),
    "ber": Field("variable", 0, _no_bytes, lambda v: write_ber(number(v, 56))),
}
