"""Machines are told anything at all: see `tests.fuzz.machines`."""

from __future__ import annotations

import gc
import tracemalloc
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bcast.wire import encode
from tests.fuzz.corpus import read_corpus
from tests.fuzz.machines import KEYS, Ordeal, random_message, random_script, run_script
from tests.fuzz.mutations import mutate

#: Lives that hypothesis draws, and datagrams in each: 6,000 by default, two millions in the long
#: profile.
LIVES = min(settings().max_examples, 1_000) // 2
DATAGRAMS = 200 if LIVES < 500 else 4_000


def torment(ordeal: Ordeal, random: Random, count: int) -> None:
    for _ in range(count):
        said = random_message(random, ordeal.nonces)
        payload = encode(said, KEYS if random.random() < 0.5 else None)
        if random.random() < 0.3:
            other = random.choice(ordeal.sent) if ordeal.sent else payload
            payload = mutate(payload, other, random)
        elif random.random() < 0.1 and ordeal.sent:
            payload = random.choice(ordeal.sent)
        ttl = 254 if random.random() < 0.02 else 255
        ordeal.feed(payload, random.randrange(100), wifi=random.random() < 0.3, ttl=ttl)
        if random.random() < 0.3:
            ordeal.pause(random.choice((0.001, 0.01, 0.3, 5.0, 100.0)))


@settings(max_examples=LIVES)
@given(st.integers(0, 2**64), st.booleans())
def test_whatever_they_are_told_machines_neither_fail_nor_lie(seed: int, keyed: bool) -> None:
    torment(Ordeal(seed & 0xFFFF, keyed=keyed), Random(seed), DATAGRAMS)


@given(st.integers(0, 2**64))
def test_a_script_of_valid_messages_is_survived(seed: int) -> None:
    run_script(random_script(Random(seed)))


@given(st.binary(max_size=400))
def test_any_script_is_survived(script: bytes) -> None:
    run_script(script)


def test_the_scripts_that_a_search_found_are_survived() -> None:
    for script in read_corpus("machines"):
        run_script(script)


def test_a_long_life_takes_no_more_memory_than_a_short_one() -> None:
    random = Random(1)
    ordeal = Ordeal(1, keyed=False)
    torment(ordeal, random, 4_000)
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        torment(ordeal, random, 8_000)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # What was allocated before isn't traced: all that is held now is what came since.
    assert after - before < 400_000
