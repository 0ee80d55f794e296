"""Values for holes that nobody gave one: of the right type, and for ids the same each time."""

from __future__ import annotations

import re

from bcast.accessory.holes import Hole
from bcast.accessory.template import Own, Value

__all__ = ["filler", "identifier"]

_NUMBER = re.compile(r"u([0-9]+)(?:le)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def filler(hole: Hole) -> Value:
    """Any value of the hole's type."""
    value = _filler(hole)
    return [value] if hole.many and not isinstance(value, list) else value


def _filler(hole: Hole) -> Value:
    match hole.type:
        case "mac" | "macle":
            return "02:00:00:00:00:01"
        case "ip4" | "ip4le":
            return "192.0.2.1"
        case "ip6":
            return "2001:db8::1"
        case "uuid" | "uuidle":
            return "00000000-0000-4000-8000-000000000001"
        case "bytes":
            size = hole.arguments[0] if hole.arguments else ""
            return "00" * int(size) if size.isdecimal() else "00"
        case "coap":
            return ""
        case "bool":
            return False
        case "list" | "qnames":
            return []
        case "int" | "uint" | "leb128" | "ber":
            return 1
    return 1 if _NUMBER.fullmatch(hole.type) else ""


def identifier(hole: Hole, own: Own) -> Value:
    """An id that is ``own``'s, in the form that the hole has."""
    from hashlib import sha256

    digest = sha256((own.id or own.mac or own.host).encode("utf-8", "replace")).hexdigest()
    kind = hole.type
    if kind in ("mac", "macle"):
        return (
            own.mac or f"02:{digest[:2]}:{digest[2:4]}:{digest[4:6]}:{digest[6:8]}:{digest[8:10]}"
        )
    if kind in ("uuid", "uuidle"):
        if _UUID.fullmatch(own.id):
            return own.id.lower()
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    if kind == "bytes":
        size = int(hole.arguments[0]) if hole.arguments and hole.arguments[0] else 16
        return (digest * (size // 32 + 1))[: 2 * size]
    if found := _NUMBER.fullmatch(kind):
        # The highest number often means none, or all.
        return int(digest[:16], 16) % ((1 << int(found[1])) - 1)
    if kind in ("int", "uint", "leb128"):
        return int(digest[:7], 16)
    if kind == "str" and hole.arguments and hole.arguments[0].isdecimal():
        return (own.id or digest)[: int(hole.arguments[0])]
    return own.id or digest[:16]
