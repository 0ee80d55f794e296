"""Payloads as people write them: hex, and templates that say who sent them.

Layer 2: pure.
"""

from __future__ import annotations

import re

from bcast.datagram import Address, Interface
from bcast.errors import ArgumentError
from bcast.timestamp import rfc3339

__all__ = ["Template", "parse_hex"]

_FIELD = re.compile(rb"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAMES = (b"seq", b"interface", b"address", b"mac", b"time")


def parse_hex(text: str) -> bytes:
    """The bytes of hex digits; blanks and colons between bytes are passed over.

    Raises `ArgumentError` for an odd number of digits, or anything else.
    """
    stretches = text.replace(":", " ").split()
    for stretch in stretches:
        wrong = next((c for c in stretch if c not in "0123456789abcdefABCDEF"), None)
        if wrong is not None:
            raise ArgumentError(
                f"{wrong!r} is not a hex digit", "write bytes as 01 ff 7a or 01ff7a"
            )
        if len(stretch) % 2:
            raise ArgumentError(
                f"{len(stretch)} hex digits ({stretch[:40]!r}) don't make whole bytes",
                "write two digits for each byte",
            )
    return bytes.fromhex("".join(stretches))


class Template:
    """A payload with ``{seq} {interface} {address} {mac} {time}`` in it.

    ``{seq}`` counts the rounds from 1, ``{interface}`` is the name, ``{address}`` the source
    address, ``{mac}`` the hardware address (empty where there is none) and ``{time}`` the time of
    sending (RFC 3339, UTC). ``{{`` and ``}}`` stand for the braces themselves.

    Raises `ArgumentError` for any other name, or a brace without its partner.
    """

    def __init__(self, payload: bytes) -> None:
        self._pieces: list[tuple[bytes, bytes]] = []
        end = 0
        for found in _FIELD.finditer(payload):
            literal = payload[end : found.start()]
            end = found.end()
            token = found[0]
            if token in (b"{{", b"}}"):
                self._pieces.append((literal + token[:1], b""))
            elif found[1] in _NAMES:
                self._pieces.append((literal, found[1]))
            else:
                shown = token[:40].decode(errors="replace")
                raise ArgumentError(
                    f"{shown!r} in the template isn't a value",
                    "use {seq} {interface} {address} {mac} {time}, and {{ }} for braces",
                )
        self._end = payload[end:]

    def fill(self, sequence: int, interface: Interface, source: Address, time_ns: int) -> bytes:
        """The payload for one datagram."""
        values = {
            b"": "",
            b"seq": str(sequence),
            b"interface": interface.name,
            b"address": str(source.address).partition("%")[0],
            b"mac": interface.hardware_address or "",
            b"time": rfc3339(time_ns),
        }
        # A name that isn't UTF-8 goes out as the bytes that the system has.
        filled = (
            literal + values[name].encode(errors="surrogateescape")
            for literal, name in self._pieces
        )
        return b"".join(filled) + self._end
