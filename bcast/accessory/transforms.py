"""What a datagram went through on its way: ciphers and encodings, by name, in a closed table.

======================  ==========================================================================
``xor-autokey N``       each byte XORed with the one sent before it, the first with N (0..255)
``aes-128-ecb KEY``     AES-128, each block by itself, padded as PKCS#7 has it (RFC 5652, section
                        6.3); KEY is 32 hex digits or ``md5:TEXT``. Needs the extra ``bcast[aes]``
``base64``              RFC 4648, section 4, with its padding and nothing else between
``hex``                 two digits a byte; written in small letters, read in either
======================  ==========================================================================

None of it protects anything: the keys are constants that each copy of the firmware has.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from itertools import accumulate
from operator import xor
from typing import NamedTuple

from bcast.accessory.mistakes import Wrong, meant
from bcast.accessory.template import Misfit
from bcast.errors import ArgumentError

__all__ = ["TRANSFORMS", "Transform", "transform"]

_BLOCK = 16

_NEEDS_AES = "aes-128-ecb needs the package 'cryptography'"
_GET_AES = "install it with: pip install 'bcast[aes]'"


class Transform(NamedTuple):
    """One step of ``through``. ``undo`` takes what was received, and raises `Misfit` if nothing
    that was written can have become that; ``apply`` makes what is sent.

    ``missing`` is a sentence where this installation lacks what it needs, with the fix: then
    nothing fits, and ``apply`` raises `ArgumentError`.
    """

    name: str
    undo: Callable[[bytes], bytes]
    apply: Callable[[bytes], bytes]
    missing: str = ""


def transform(text: str) -> Transform:
    """The transform that a description names. Raises `Wrong` if there is none."""
    name, _, argument = text.strip().partition(" ")
    make = _TABLE.get(name)
    if make is None:
        known = meant(name, TRANSFORMS) or f": use one of {', '.join(TRANSFORMS)}"
        raise Wrong(f"there is no transform '{name}'{known}", 0, text)
    return make(argument.strip())


# --- XOR


def _xor_autokey(argument: str) -> Transform:
    if not re.fullmatch(r"[0-9]{1,3}", argument) or int(argument) > 255:
        raise Wrong("xor-autokey needs the key of the first byte, 0 to 255", 0, "xor-autokey")
    key = int(argument)

    def undo(payload: bytes) -> bytes:
        # As one number: a byte at a time, the largest datagram would take 5 ms.
        size = len(payload)
        keys = bytes((key,)) + payload[: size - 1] if size else b""
        plain = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
        return plain.to_bytes(size, "big")

    def apply(plain: bytes) -> bytes:
        return bytes(accumulate(plain, xor, initial=key))[1:]

    return Transform(f"xor-autokey {key}", undo, apply)


# --- AES


def _aes_128_ecb(argument: str) -> Transform:
    kind, colon, text = argument.partition(":")
    if colon and kind == "md5" and text:
        from hashlib import md5

        # A key made by a formula that firmware has: nothing is kept secret by it.
        key = md5(text.encode(), usedforsecurity=False).digest()
    elif re.fullmatch(r"[0-9A-Fa-f]{32}", argument):
        key = bytes.fromhex(argument)
    else:
        raise Wrong("aes-128-ecb needs a key: 32 hex digits, or md5:TEXT", 0, "aes-128-ecb")
    name = f"aes-128-ecb {argument}"
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import ECB
    except ImportError:
        return Transform(name, _undo_without_aes, _apply_without_aes, f"{_NEEDS_AES}: {_GET_AES}")
    cipher = Cipher(AES(key), ECB())

    def undo(payload: bytes) -> bytes:
        size = len(payload)
        if size == 0 or size % _BLOCK:
            raise Misfit(f"{size} bytes are no whole blocks of {_BLOCK}")
        decryptor = cipher.decryptor()
        padded: bytes = decryptor.update(payload) + decryptor.finalize()
        count = padded[-1]
        if not 1 <= count <= _BLOCK or padded[-count:] != bytes((count,)) * count:
            raise Misfit("it isn't enciphered with this key")
        return padded[:-count]

    def apply(plain: bytes) -> bytes:
        count = _BLOCK - len(plain) % _BLOCK
        encryptor = cipher.encryptor()
        sent: bytes = encryptor.update(plain + bytes((count,)) * count) + encryptor.finalize()
        return sent

    return Transform(name, undo, apply)


def _undo_without_aes(payload: bytes) -> bytes:
    raise Misfit(_NEEDS_AES)


def _apply_without_aes(plain: bytes) -> bytes:
    raise ArgumentError(_NEEDS_AES, _GET_AES)


# --- encodings


def _base64(argument: str) -> Transform:
    _refuse_argument("base64", argument)

    def undo(payload: bytes) -> bytes:
        try:
            return binascii.a2b_base64(payload, strict_mode=True)
        except ValueError:
            raise Misfit("it isn't base64") from None

    def apply(plain: bytes) -> bytes:
        return binascii.b2a_base64(plain, newline=False)

    return Transform("base64", undo, apply)


def _hex(argument: str) -> Transform:
    _refuse_argument("hex", argument)

    def undo(payload: bytes) -> bytes:
        try:
            return binascii.unhexlify(payload)
        except ValueError:
            raise Misfit("it isn't hex") from None

    return Transform("hex", undo, binascii.hexlify)


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise Wrong(f"{name} takes nothing behind it, not {argument[:20]!r}", 0, f"{name} ")


_TABLE: dict[str, Callable[[str], Transform]] = {
    "xor-autokey": _xor_autokey,
    "aes-128-ecb": _aes_128_ecb,
    "base64": _base64,
    "hex": _hex,
}

#: The names of all transforms.
TRANSFORMS = tuple(_TABLE)
