"""Chances and bursts: as often as they say."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.errors import ArgumentError
from bcast.simnet.faults import Faults, GilbertElliott, Weather, chosen


@given(st.integers(), st.integers(0, 300), st.floats(0, 1))
def test_the_chosen_are_positions_in_order(seed: int, count: int, chance: float) -> None:
    found = chosen(Random(seed), count, chance)
    assert found == sorted(set(found))
    assert set(found) <= set(range(count))


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.3, 0.9])
def test_each_comes_up_as_often_as_its_chance_says(chance: float) -> None:
    random = Random(7)
    rounds = 4_000
    hits = [0] * 25
    for _ in range(rounds):
        for position in chosen(random, len(hits), chance):
            hits[position] += 1
    deviation = (chance * (1 - chance) / rounds) ** 0.5
    assert all(abs(hit / rounds - chance) < 4.5 * deviation for hit in hits)


def test_neighbours_come_up_independently() -> None:
    random = Random(8)
    both = sum({3, 4} <= set(chosen(random, 10, 0.3)) for _ in range(10_000))
    assert both / 10_000 == pytest.approx(0.09, abs=0.012)


def test_never_and_always() -> None:
    random = Random(1)
    state = random.getstate()
    assert chosen(random, 5, 0.0) == []
    assert chosen(random, 5, 5e-324) == []
    assert chosen(random, 5, 1.0) == [0, 1, 2, 3, 4]
    assert random.getstate() == state


def test_bursts_take_their_share_of_time_in_periods_of_their_length() -> None:
    model = GilbertElliott(0.2, 0.1, bad=0.9, good=0.05)
    weather = Weather(model, Random(5), 0.0)
    steps = [weather.loss(number / 1_000) for number in range(2_000_000)]
    assert set(steps) == {0.9, 0.05}
    bad = steps.count(0.9)
    begun = sum(a < b for a, b in pairwise(steps))
    assert bad / len(steps) == pytest.approx(0.1, rel=0.15)
    assert bad / begun / 1_000 == pytest.approx(0.2, rel=0.15)


def test_a_link_may_begin_in_a_bad_period() -> None:
    model = GilbertElliott(0.2, 0.25)
    begun = sum(Weather(model, Random(seed), 0.0).loss(0.0) for seed in range(2_000))
    assert begun / 2_000 == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Faults(loss=1.1), "1.1 is no chance"),
        (lambda: Faults(duplicate=-0.1), "-0.1 is no chance"),
        (lambda: Faults(reorder=float("nan")), "nan is no chance"),
        (lambda: Faults(delay=(0.2, 0.1)), "no delay"),
        (lambda: Faults(delay=(-0.1, 0.1)), "no delay"),
        (lambda: Faults(jitter=-1), "no jitter"),
        (lambda: GilbertElliott(0, 0.1), "no duration"),
        (lambda: GilbertElliott(0.2, 0), "no share"),
        (lambda: GilbertElliott(0.2, 1), "no share"),
        (lambda: GilbertElliott(0.2, 0.5, bad=2), "no chance"),
    ],
)
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ArgumentError, match=message):
        make()
