"""Whatever arrives on a port that a description names is this protocol or isn't: never an error.

12,000 changed datagrams in the default profile, two millions in the long one, each through all
descriptions: no exception, none that takes long, nothing that is kept.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable
from functools import cache
from random import Random
from time import thread_time
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcast.accessory.description import Decoded, Description, Misfits
from bcast.accessory.template import MAX_ITEMS, MAX_TEXT
from tests.accessories import ALL_ROLES, CATALOGUE, captured, catalogue, needs_aes
from tests.fuzz.mutations import mutate

EXAMPLES = min(settings().max_examples, 1_000)
MUTATIONS = 200 if EXAMPLES < 1_000 else 2_000

#: What frames with a checksum begin with, and what stands for the checksum while it is computed.
TUYA = bytes.fromhex("000055aa")
TAPO = bytes.fromhex("02000001")
TAPO_SEED = bytes.fromhex("5a6b7c8d")

#: Seconds of CPU that no datagram may take, through all descriptions.
LONGEST = 0.05

HOSTILE = {
    "brackets": b"[" * 65_000,
    "objects": b'{"a":' * 13_000,
    "objects in a known place": b'{"system":{"get_sysinfo":' + b'{"a":' * 12_000,
    "digits": b'{"method":"registration","env":' + b"9" * 60_000 + b"}",
    "keys": b'{"msg":{"cmd":"scan","data":{'
    + b",".join(b'"%d":0' % n for n in range(6_000))
    + b"}}}",
    "headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 10_800,
    "one header": b"NOTIFY * HTTP/1.1\r\nHOST: " + b"x" * 65_000,
    "blanks": b"M-SEARCH * HTTP/1.1\r\n" + b" " * 65_000,
    "colons": b"HTTP/1.1 200 OK\r\nUSN: uuid" + b":" * 65_000,
    "commas": b"," * 65_000,
    "tags": b"<a>" * 21_000,
    "attributes": b"<a " + b" ".join(b'b%d="c"' % n for n in range(6_000)) + b"/>",
    "entities": b'<!DOCTYPE a [<!ENTITY b "'
    + b"c" * 30_000
    + b'">]><a>'
    + b"&b;" * 10_000
    + b"</a>",
    "encoding": b'<?xml version="1.0" encoding="ut.-8"?><a/>',
    "other encoding": '<?xml version="1.0" encoding="utf-16"?><a/>'.encode("utf-16"),
    "zeros": bytes(65_507),
    "ones": b"\xff" * 65_507,
    "frame": bytes.fromhex("000055aa 00000000 00000013 0000ffbb 00000000") + bytes(65_000),
    "options": bytes.fromhex("51450000 00") + b"\xd0\x00" * 32_000,
    "items": bytes.fromhex("06100202ffdc0801 0a4d000a0e57") + bytes.fromhex("0202") * 32_000,
}


def timed(description: Description, payload: bytes) -> tuple[Decoded | Misfits, float]:
    """What a datagram is, and the CPU seconds that took: the least of three where it is long,
    since another program may have had the caches."""
    took = LONGEST
    for _ in range(3):
        began = thread_time()
        decoded = description.decode(payload, roles=ALL_ROLES)
        took = min(took, thread_time() - began)
        if took < LONGEST:
            break
    return decoded, took


def through_all(payload: bytes, descriptions: Iterable[Description]) -> float:
    """Decodes with each, checks what comes out, and returns the CPU seconds of the slowest."""
    slowest = 0.0
    for description in descriptions:
        decoded, took = timed(description, payload)
        slowest = max(slowest, took)
        if not isinstance(decoded, Decoded):
            continue
        json.dumps(decoded.values, allow_nan=False)
        for value in decoded.values.values():
            items = value if isinstance(value, list) else [value]
            assert len(items) <= MAX_ITEMS
            assert all(len(item) <= 2 * MAX_TEXT for item in items if isinstance(item, str))
        description.identity(decoded, "192.0.2.1")
    return slowest


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_made_to_hurt_is_a_stranger(name: str) -> None:
    for description in catalogue().values():
        decoded, took = timed(description, HOSTILE[name])
        assert took < LONGEST
        assert not isinstance(decoded, Decoded), description.name
        assert len(str(decoded)) < 10_000, "a reason doesn't repeat what the peer sent"


@settings(max_examples=EXAMPLES)
@given(st.integers(0, 2**64))
def test_changed_datagrams_are_decoded_or_rejected(seed: int) -> None:
    random = Random(seed)
    descriptions = catalogue().values()
    slowest = 0.0
    for _ in range(MUTATIONS):
        payload, other = valid(random), valid(random)
        slowest = max(slowest, through_all(changed(payload, other, random), descriptions))
    assert slowest < LONGEST


def changed(payload: bytes, other: bytes, random: Random) -> bytes:
    """A payload that was changed. Every other frame's length and checksum are right nevertheless:
    otherwise nothing would ever reach what frames hold."""
    mutant = mutate(payload, other, random)
    if random.random() < 0.5:
        return mutant
    if mutant.startswith(TUYA) and len(mutant) >= 24:
        framed = mutant[:12] + (len(mutant) - 16).to_bytes(4, "big") + mutant[16:-8]
        return framed + crc32(framed).to_bytes(4, "big") + mutant[-4:]
    if mutant.startswith(TAPO) and 16 <= len(mutant) < 65_536:
        start, body = (
            mutant[:4] + (len(mutant) - 16).to_bytes(2, "big") + mutant[6:12],
            mutant[16:],
        )
        checksum = crc32(start + TAPO_SEED + body)
        return start + checksum.to_bytes(4, "big") + body
    return mutant


def valid(random: Random) -> bytes:
    return random.choice(payloads()[random.choice(CATALOGUE)])


@cache
def payloads() -> dict[str, tuple[bytes, ...]]:
    return {
        name: tuple(dict.fromkeys(datagram.payload for datagram in captured(name)))
        for name in CATALOGUE
    }


def test_nothing_is_kept_of_what_was_decoded() -> None:
    descriptions = catalogue().values()

    def decode_many(seed: int) -> int:
        random = Random(seed)
        for _ in range(1_000):
            through_all(changed(valid(random), valid(random), random), descriptions)
        gc.collect()
        return sys.getallocatedblocks()

    decode_many(1)
    before = decode_many(2)
    assert decode_many(3) - before < 500


@pytest.mark.parametrize("name", CATALOGUE)
def test_mutations_are_near_enough(name: str) -> None:
    """Some still decode: others would only try the first bytes."""
    needs_aes(name)
    random = Random(3)
    description = catalogue()[name]
    decoded = others = 0
    for _ in range(2_000):
        payload = random.choice(payloads()[name])
        other = changed(payload, valid(random), random)
        read = isinstance(description.decode(other, roles=ALL_ROLES), Decoded)
        decoded += read
        others += read and other != payload
    assert 20 < decoded < 1_990
    assert others > 20, "only those that weren't changed at all"
