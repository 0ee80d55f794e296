from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.wire.hashes import id64, mix64, realm_hash, slot, type_hash

u64 = st.integers(0, 2**64 - 1)


def test_mix64_is_what_splitmix64_generates() -> None:
    """The first numbers from seeds 0 and 1234567, as published with the generator."""
    assert mix64(0) == 0xE220A8397B1DCDAF
    assert mix64(1_234_567) == 6_457_827_717_110_365_317


@given(u64, u64)
def test_mix64_can_be_undone(x: int, y: int) -> None:
    assert (mix64(x) == mix64(y)) == (x == y)
    assert 0 <= mix64(x) < 2**64


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)],
)
def test_types_hash_as_the_published_vectors_of_fnv_1a(text: str, expected: int) -> None:
    assert type_hash(text) == expected


def test_no_realm_is_zero_and_nothing_else_is() -> None:
    assert realm_hash("") == 0
    assert realm_hash("foobar") == 0xBF9C ^ 0xF968
    assert realm_hash(ZERO) == 1
    h = type_hash(ZERO)
    assert h >> 16 == h & 0xFFFF


#: A name whose hash folds to 0, which would be no realm.
ZERO = next(f"{n}" for n in range(10**6) if (h := type_hash(f"{n}")) >> 16 == h & 0xFFFF)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_realms_fit_their_field(name: str) -> None:
    assert 1 <= realm_hash(name) <= 65_535


def test_an_id_counts_whole() -> None:
    some = bytes(range(16))
    flipped = {
        id64(bytes(b ^ (mask if n == at else 0) for n, b in enumerate(some)))
        for at in range(16)
        for mask in (1, 2, 4, 8, 16, 32, 64, 128)
    }
    assert len(flipped | {id64(some), id64(some[8:] + some[:8])}) == 130


@given(st.binary(min_size=16, max_size=16), u64)
def test_a_slot_is_one_of_65536(id: bytes, nonce: int) -> None:
    assert 0 <= slot(id64(id), nonce) < 65_536


@given(u64)
def test_slots_are_spread_evenly_and_anew_for_each_nonce(nonce: int) -> None:
    """Ids as alike as can be. A quarter of 2,000 is 500 give or take 19: 8 sigma are allowed."""
    peers = [id64(n.to_bytes(16, "big")) for n in range(2_000)]
    quarters = [0] * 4
    for peer in peers:
        quarters[slot(peer, nonce) >> 14] += 1
    assert all(345 < count < 655 for count in quarters)
    stays = sum(slot(p, nonce) >> 14 == slot(p, nonce ^ 1) >> 14 for p in peers)
    assert 345 < stays < 655
