from __future__ import annotations

from collections.abc import Iterable
from math import log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.discovery.counting import BITS, Population
from bcast.wire.hashes import id64


def population(ids: Iterable[bytes]) -> Population:
    made = Population()
    for one in ids:
        made.add(id64(one))
    return made


def random_ids(count: int, seed: int = 1) -> list[bytes]:
    random = Random(seed)
    return [random.randbytes(16) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "within"), [(1, 0.01), (10, 0.01), (100, 0.04), (1_000, 0.03), (4_096, 0.03)]
)
@pytest.mark.parametrize("seed", range(3))
def test_as_many_as_there_are_bits_are_counted_within_a_few_percent(
    count: int, within: float, seed: int
) -> None:
    counted = population(random_ids(count, seed))
    assert counted.estimate() == pytest.approx(count, rel=within)
    assert count <= counted.upper() <= count * (1 + 3 * within) + 1


@pytest.mark.parametrize("count", [8_000, 20_000])
@pytest.mark.parametrize("seed", range(3))
def test_beyond_that_the_error_grows_and_the_upper_bound_with_it(count: int, seed: int) -> None:
    counted = population(random_ids(count, seed))
    assert counted.estimate() == pytest.approx(count, rel=0.1)
    assert count <= counted.upper() <= 1.25 * count


def test_more_than_can_be_counted_are_counted_as_36909() -> None:
    counted = population(random_ids(60_000))
    assert (
        counted.estimate() == pytest.approx(BITS * log(2 * BITS)) == pytest.approx(36_909, 0.001)
    )
    assert counted.upper() > 54_000


@given(st.lists(st.sampled_from(random_ids(40))), st.randoms(use_true_random=False))
def test_hearing_somebody_again_in_any_order_changes_nothing(
    ids: list[bytes], random: Random
) -> None:
    once = population(set(ids)).estimate()
    again = [*ids, *ids]
    random.shuffle(again)
    assert population(again).estimate() == once
    assert once == pytest.approx(len(set(ids)), abs=2)


def test_ids_that_count_up_are_told_apart_too() -> None:
    counted = population(n.to_bytes(16, "big") for n in range(1_000))
    assert counted.estimate() == pytest.approx(1_000, rel=0.05)


def test_what_was_heard_counts_for_this_interval_and_the_next() -> None:
    first, second = random_ids(2_000)[:1_000], random_ids(2_000)[1_000:]
    counted = population(first)
    counted.rotate()
    for one in second:
        counted.add(id64(one))
    assert counted.estimate() == pytest.approx(2_000, rel=0.05)
    counted.rotate()
    assert counted.estimate() == pytest.approx(1_000, rel=0.05)
    counted.rotate()
    assert counted.estimate() == 0
    assert counted.upper() == 0


def test_a_newcomer_doubles_its_interval_until_it_hears_everybody() -> None:
    """Among 10,000 peers that beat every 304 s."""
    random = Random(1)
    ids = random_ids(10_000)
    phases = [random.uniform(0, 304) for _ in ids]
    counted = Population()
    now, interval = 0.0, 30.0
    intervals = []
    for _ in range(8):
        for one, phase in zip(ids, phases, strict=True):
            # Whoever beats between now and the newcomer's next beat.
            if (phase - now) % 304 < interval:
                counted.add(id64(one))
        now += interval
        interval = max(30.0, counted.upper() / 33)
        counted.rotate()
        intervals.append(interval)
    assert intervals[0] < 40
    assert intervals[-1] == pytest.approx(304, rel=0.1)
