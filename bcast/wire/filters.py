"""The Bloom filter of the peers that a prober knows already, so that they don't answer again.

8.7 bits an entry and 6 hash functions: one peer in 65 is taken for known and answers the next
round, whose nonce is another. A thousand entries fit into one datagram, with types and a tag.
"""

from __future__ import annotations

from collections.abc import Collection

from bcast.errors import ArgumentError
from bcast.wire.hashes import mix64
from bcast.wire.layout import MIN_FILTER

__all__ = ["FILTER_HASHES", "MAX_ENTRIES", "build", "contains", "entry"]

FILTER_HASHES = 6
MAX_ENTRIES = 1_000

_LOW = 0xFFFF_FFFF


def entry(id64: int, epoch: int, version: int) -> int:
    """What stands for a peer in filters. A restart or a new state makes another entry."""
    return mix64(id64 ^ (epoch << 32 | version))


def build(entries: Collection[int], nonce: int) -> tuple[bytes, int]:
    """The filter of at most 1,000 entries and the count of its hash functions.

    Without entries it is ``(b"", 0)``, no filter. Raises `ArgumentError` for more.
    """
    count = len(entries)
    if not count:
        return b"", 0
    if count > MAX_ENTRIES:
        raise ArgumentError(
            f"a filter of {count} peers doesn't fit a probe",
            f"cut the slots into ranges of at most {MAX_ENTRIES}",
        )
    size = max(MIN_FILTER, (count * 87 + 79) // 80)
    bits = size * 8
    field = bytearray(size)
    salt = mix64(nonce)
    for one in entries:
        base = mix64(one ^ salt)
        step = base >> 32 | 1
        for _ in range(FILTER_HASHES):
            bit = (base & _LOW) % bits
            field[bit >> 3] |= 0x80 >> (bit & 7)
            base += step
    return bytes(field), FILTER_HASHES


def contains(filter: bytes, hash_count: int, entry: int, nonce: int) -> bool:
    """Whether the entry is in the filter, or looks as if it were. Nothing is in ``b""``."""
    if not filter:
        return False
    bits = len(filter) * 8
    base = mix64(entry ^ mix64(nonce))
    step = base >> 32 | 1
    for _ in range(hash_count):
        bit = (base & _LOW) % bits
        if not filter[bit >> 3] & 0x80 >> (bit & 7):
            return False
        base += step
    return True
