"""Pre-shared keys: tags that prove who sent a datagram, and the files that keys come from."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from bcast.errors import ArgumentError, KeyFileError
from bcast.values import Value
from bcast.wire.layout import HEADER_SIZE, TAG_HEAD, TAG_SIZE

__all__ = ["MAX_KEY", "MIN_KEY", "KeyFile", "Keyring", "is_authentic", "read_key_file", "tag"]

#: Bytes of a key: fewer could be guessed, and more than a block of SHA-256 is hashed anyway.
MIN_KEY = 16
MAX_KEY = 64

#: A key file is smaller, in bytes: 255 keys of 64 bytes, with a comment on each.
_MAX_FILE = 65_536

_MAKE = "make one with: openssl rand -hex 16 > FILE"


class Keyring(Value):
    """The keys that a domain's peers share, by their ids (1..255), and which one tags.

    Datagrams are accepted under every key, so that keys can be changed one peer at a time.
    Raises `ArgumentError` for a key of fewer than 16 or more than 64 bytes, an id out of range,
    or a current key that isn't there. Shows no key when it is printed.
    """

    keys: Mapping[int, bytes]
    current: int

    def __init__(self, keys: Mapping[int, bytes], current: int) -> None:
        for number, key in keys.items():
            if not 1 <= number <= 255:
                raise ArgumentError(f"{number} is not a key id", "use 1 to 255")
            if not MIN_KEY <= len(key) <= MAX_KEY:
                raise ArgumentError(
                    f"key {number} has {len(key)} bytes", f"it must have {MIN_KEY} to {MAX_KEY}"
                )
        if current not in keys:
            raise ArgumentError(f"there is no key {current}", "name one that is there as current")
        super().__init__(dict(keys), current)

    def __hash__(self) -> int:
        return hash((frozenset(self.keys.items()), self.current))

    def __repr__(self) -> str:
        return f"Keyring(keys {', '.join(map(str, self.keys))}; current {self.current})"


class KeyFile(NamedTuple):
    """What a key file holds, and a sentence about what is wrong with the file, "" if nothing."""

    keyring: Keyring
    warning: str


def tag(datagram: bytes, key: bytes) -> bytes:
    """The 18 bytes to append: HMAC-SHA-256 (RFC 2104) cut to 128 bits, as a field."""
    import hmac

    return TAG_HEAD + hmac.digest(key, datagram, "sha256")[:16]


def is_authentic(payload: bytes, keyring: Keyring) -> bool:
    """Whether the datagram's last field is the tag that the key it names makes of the rest.

    Takes the same time whatever tag is wrong. Says nothing about age: that is for nonces and
    sequence numbers.
    """
    import hmac

    body = payload[:-TAG_SIZE]
    if len(body) < HEADER_SIZE:
        return False
    key = keyring.keys.get(body[5])
    return key is not None and hmac.compare_digest(tag(body, key), payload[-TAG_SIZE:])


def read_key_file(path: str | os.PathLike[str]) -> KeyFile:
    """Reads a key file: on each line an id (1..255) and a key of 16 to 64 bytes in hex.

    The key of the first line is the current one. Without an id it is key 1. Blank lines, and
    what follows a ``#``, don't count. Raises `KeyFileError`, whose sentence names the file and
    the line, never the key.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_FILE + 1)
    except FileNotFoundError as error:
        raise KeyFileError(f"there is no key file {name}", _MAKE) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise KeyFileError(
            f"can't read the key file {name}: {why}", "name a file that you may read"
        ) from error
    if len(data) > _MAX_FILE:
        raise KeyFileError(f"{name} is too large for a key file", _MAKE)
    keys: dict[int, bytes] = {}
    for line, text in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        if words := text.partition("#")[0].split():
            number, key = _read_line(words, f"{name}, line {line}")
            if number in keys:
                raise KeyFileError(
                    f"{name}, line {line}: key {number} is there already",
                    "write another id (1 to 255) before the key",
                )
            keys[number] = key
    if not keys:
        raise KeyFileError(f"there is no key in {name}", _MAKE)
    warning = ""
    if os.name == "posix" and stat.S_ISREG(mode) and mode & stat.S_IROTH:
        warning = f"everybody on this machine can read {name}: chmod 600 {name}"
    return KeyFile(Keyring(keys, next(iter(keys))), warning)


def _read_line(words: list[str], where: str) -> tuple[int, bytes]:
    *ids, digits = words
    if len(ids) > 1:
        raise KeyFileError(f"{where} has {len(words)} words", "write an id and a key in hex")
    number = 1
    if ids:
        number = int(ids[0]) if ids[0].isdecimal() and len(ids[0]) <= 3 else 0
    if not 1 <= number <= 255:
        raise KeyFileError(f"{where}: that is not a key id", "use a number from 1 to 255")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        raise KeyFileError(f"{where}: the key is not in hex", _MAKE) from None
    if not MIN_KEY <= len(key) <= MAX_KEY:
        raise KeyFileError(
            f"{where}: the key has {len(key)} bytes",
            f"it must have {MIN_KEY} to {MAX_KEY}; {_MAKE}",
        )
    return number, key
