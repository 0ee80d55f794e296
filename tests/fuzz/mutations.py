"""Datagrams that are nearly right: valid ones, changed as a faulty or hostile peer would."""

from __future__ import annotations

from random import Random

__all__ = ["mutate"]

#: Numbers at which something begins or ends.
_EDGES = (0, 1, 2, 3, 15, 16, 17, 18, 63, 64, 65, 127, 128, 253, 254, 255)


def mutate(payload: bytes, other: bytes, random: Random) -> bytes:
    """``payload``, changed one to four times; parts of ``other`` may get into it."""
    changed = bytearray(payload)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        change = random.choice(_CHANGES)
        change(changed, other, random)
    return bytes(changed)


def _flip(changed: bytearray, other: bytes, random: Random) -> None:
    if changed:
        changed[_place(changed, random)] ^= 1 << random.randrange(8)


def _overwrite(changed: bytearray, other: bytes, random: Random) -> None:
    if changed:
        changed[_place(changed, random)] = random.choice(_EDGES)


def _nudge(changed: bytearray, other: bytes, random: Random) -> None:
    if changed:
        at = _place(changed, random)
        changed[at] = (changed[at] + random.choice((-2, -1, 1, 2))) & 0xFF


def _truncate(changed: bytearray, other: bytes, random: Random) -> None:
    del changed[random.randrange(len(changed) + 1) :]


def _remove(changed: bytearray, other: bytes, random: Random) -> None:
    at = random.randrange(len(changed) + 1)
    del changed[at : at + random.choice(_EDGES)]


def _insert(changed: bytearray, other: bytes, random: Random) -> None:
    at = random.randrange(len(changed) + 1)
    changed[at:at] = random.randbytes(random.choice(_EDGES))


def _append(changed: bytearray, other: bytes, random: Random) -> None:
    """A field of any type with a length that is right, or nearly."""
    size = random.choice(_EDGES)
    kind = random.choice((0, 1, 3, 0x10, 0x7F, 0x80, 0x90, random.randrange(256)))
    said = max(0, size + random.choice((0, 0, 0, -1, 1)))
    short = said < 255 and random.random() < 0.8
    length = bytes((said,)) if short else b"\xff" + said.to_bytes(2, "big")
    changed += bytes((kind,)) + length + random.randbytes(size)


def _repeat(changed: bytearray, other: bytes, random: Random) -> None:
    changed += changed[random.randrange(len(changed) + 1) :][:400]


def _splice(changed: bytearray, other: bytes, random: Random) -> None:
    """The fixed part of one message with the fields of another."""
    at = random.choice((32, 40, 48, 52, random.randrange(len(changed) + 1)))
    changed[at:] = other[random.choice((at, 32, 40, 48, 52)) :]


def _pretend(changed: bytearray, other: bytes, random: Random) -> None:
    """Another type of message, or a key that it isn't tagged with."""
    if len(changed) > 5:
        changed[random.choice((3, 5))] = random.randrange(8)


def _place(changed: bytearray, random: Random) -> int:
    """Often in what follows the id: the first 32 bytes say little."""
    least = min(24, len(changed) - 1) if random.random() < 0.7 else 0
    return random.randrange(least, len(changed))


_CHANGES = (
    _flip,
    _overwrite,
    _nudge,
    _truncate,
    _remove,
    _insert,
    _append,
    _repeat,
    _splice,
    _pretend,
)
