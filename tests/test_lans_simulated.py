"""Made-up time: the same seed tells the same story, and an hour is over in a moment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bcast.lans import SimulatedLan


def story(seed: int) -> str:
    with SimulatedLan(seed=seed) as lan:
        lamps = [lan.accessory(f"lamp-{number}", "_lamp") for number in range(3)]
        with lan.loss(0.3):
            for lamp in lamps:
                lan.expect_device(lamp, within=60)
            lamps[0].restart()
            lamps[1].leave()
            lan.expect_removal(lamps[1], within=600)
        return lan.timeline


@given(st.integers(0, 1000))
def test_a_seed_tells_the_same_story(seed: int) -> None:
    assert story(seed) == story(seed)


def test_another_seed_tells_another() -> None:
    assert len({story(seed) for seed in range(5)}) == 5


def test_time_goes_by_only_while_something_is_waited_for() -> None:
    with SimulatedLan() as lan:
        lamp = lan.accessory("lamp")
        assert lan.now == 0
        lan.expect_device(lamp)
        assert 0 < lan.now < 0.01
        lan.wait(3600)
        assert lan.now > 3600
        lan.expect_device(lamp, within=0)
