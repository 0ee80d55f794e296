from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Family
from bcast.discovery.schedule import JITTER, Due, Path, Schedule
from bcast.errors import ArgumentError

ETH = Path(2, Family.IPV4)
ETH6 = Path(2, Family.IPV6)
WLAN = Path(3, Family.IPV4)


def schedule(interval: float | None = None, count: float = 1.0, seed: int = 1) -> Schedule:
    return Schedule(random=Random(seed), interval=interval, count=lambda: count)


def run(made: Schedule, until: float) -> list[tuple[float, Due]]:
    """All that is due until then, by somebody who is never late."""
    done = []
    while made.next is not None and made.next <= until:
        now = made.next
        done.append((now, made.take(now)))
        assert made.next is None or made.next > now
    return done


def beats(done: list[tuple[float, Due]]) -> list[float]:
    return [time for time, due in done if due.beat]


def test_nothing_is_due_where_there_is_nothing_to_say() -> None:
    made = schedule()
    assert made.next is None
    made.announce([], 0.0)
    assert made.next is None
    assert made.take(5.0) == Due()


@pytest.mark.parametrize("seed", range(5))
def test_an_occasion_is_announced_three_times_and_then_there_are_beats(seed: int) -> None:
    made = schedule(seed=seed)
    made.announce([ETH, ETH6], 100.0)
    done = run(made, 1_000.0)
    announced = [(time, due.announcements) for time, due in done if due.announcements]
    assert [paths for _, paths in announced] == [(ETH, ETH6)] * 3
    first = announced[0][0]
    assert 100 <= first <= 100 + JITTER
    assert [time - first for time, _ in announced] == pytest.approx([0, 1, 3])
    times = beats(done)
    assert first + 3 < times[0] <= first + 33
    assert [b - a for a, b in pairwise(times)] == pytest.approx([30] * (len(times) - 1))


def test_peers_that_start_together_dont_announce_themselves_in_one_moment() -> None:
    firsts = []
    for seed in range(100):
        made = schedule(seed=seed)
        made.announce([ETH], 0.0)
        firsts.append(made.next or 0.0)
    assert min(firsts) < JITTER / 10
    assert max(firsts) > JITTER * 0.9


def test_peers_that_start_together_dont_beat_together() -> None:
    """Of 3,000 peers that power brought back at once, hardly more than 33 beat in any second."""
    a_second = [0] * 400
    for seed in range(3_000):
        made = schedule(count=3_000, seed=seed)
        made.announce([ETH], 0.0)
        for time in beats(run(made, 300.0)):
            a_second[int(time)] += 1
    assert max(a_second) < 33 + 4 * 33**0.5
    assert sum(a_second[10:290]) / 280 == pytest.approx(33, rel=0.02)


@pytest.mark.parametrize(
    ("count", "interval"),
    [(1, 30), (990, 30), (991, 31), (1_000, 31), (20_000, 607), (500_000, 3_600)],
)
def test_the_interval_follows_the_number_of_peers(count: int, interval: int) -> None:
    made = schedule(count=count)
    made.announce([ETH], 0.0)
    assert made.interval == 30  # nobody was heard yet
    first, second, *_ = beats(run(made, 10_000.0))
    assert made.interval == interval
    assert second - first == pytest.approx(interval)


def test_a_beat_is_followed_by_the_next_after_the_interval_that_it_states() -> None:
    random = Random(1)
    made = Schedule(random=random, interval=None, count=lambda: random.uniform(0, 20_000))
    made.announce([ETH], 0.0)
    stated = None
    for _ in range(100):
        assert made.next is not None
        now = made.next
        if made.take(now).beat:
            if stated is not None:
                assert now == pytest.approx(stated)
            stated = now + made.interval


@pytest.mark.parametrize(("given", "whole"), [(1, 1), (1.5, 2), (45.0, 45), (3_600, 3_600)])
def test_a_given_interval_stays_whoever_is_there(given: float, whole: int) -> None:
    made = schedule(given, count=20_000)
    made.announce([ETH], 0.0)
    first, second, *_ = beats(run(made, 10_000.0))
    assert made.interval == whole
    assert second - first == pytest.approx(whole)


@pytest.mark.parametrize("interval", [0, 0.9, -1, 3_601, float("nan"), float("inf")])
def test_an_interval_that_no_message_can_state_is_refused(interval: float) -> None:
    with pytest.raises(ArgumentError, match="use 1 to 3600 seconds"):
        schedule(interval)


@pytest.mark.parametrize("late", [0.5, 29.0, 31.0, 3_600.0, 1e6])
def test_a_host_that_stood_still_sends_one_beat_and_not_those_it_missed(late: float) -> None:
    made = schedule()
    made.announce([ETH], 0.0)
    due = beats(run(made, 99.0))[-1] + 30
    assert made.take(due + late).beat
    assert made.next is not None
    assert due + late < made.next <= due + late + 30
    assert not made.take(due + late).beat
    # Others expect the beats when they were stated to come, if that is still possible.
    if late < 30:
        assert made.next == pytest.approx(due + 30)


def test_announcements_that_are_late_are_made_once() -> None:
    made = schedule()
    made.announce([ETH], 0.0)
    assert made.take(2.0).announcements == (ETH,)
    assert made.take(2.0).announcements == ()
    assert made.take(3.2).announcements == (ETH,)
    assert made.take(9.0).announcements == ()


def test_something_new_is_announced_afresh_and_beats_go_on() -> None:
    made = schedule()
    made.announce([ETH], 0.0)
    before = beats(run(made, 50.0))[-1]
    made.announce([ETH], 50.0)
    made.announce([ETH], 50.5)
    done = run(made, 100.0)
    assert [time for time, due in done if due.announcements] == pytest.approx(
        [50.5, 51.5, 53.5], abs=JITTER
    )
    assert beats(done)[0] == pytest.approx(before + 30)


def test_a_path_that_comes_later_is_announced_alone_and_one_that_goes_no_more() -> None:
    made = schedule()
    made.announce([ETH], 0.0)
    run(made, 0.5)
    made.announce([WLAN], 0.5)
    made.forget([ETH])
    assert {due.announcements for _, due in run(made, 4.0)} == {(WLAN,)}
    assert beats(run(made, 50.0))


def test_without_an_interface_nothing_is_due() -> None:
    made = schedule()
    made.announce([ETH], 0.0)
    run(made, 50.0)
    made.forget([ETH])
    made.stop()
    assert made.next is None
    made.announce([ETH], 100.0)
    assert beats(run(made, 200.0))


def test_goodbyes_are_all_that_is_said_in_the_end() -> None:
    made = schedule()
    made.announce([ETH], 0.0)
    made.leave(0.5)
    done = run(made, 1e6)
    assert [time for time, _ in done] == pytest.approx([0.5, 0.6, 0.8])
    assert {due for _, due in done} == {Due(goodbye=True)}
    assert made.next is None


def test_goodbyes_that_are_late_are_said_once() -> None:
    made = schedule()
    made.leave(0.0)
    assert made.take(0.2).goodbye
    assert made.take(5.0).goodbye
    assert made.next is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["announce", "forget", "stop", "take", "leave"]),
            st.lists(st.sampled_from([ETH, ETH6, WLAN]), unique=True),
            st.floats(0, 100),
        ),
        max_size=30,
    ),
    st.integers(0, 99),
)
def test_whatever_happens_nothing_is_due_twice(
    steps: list[tuple[str, list[Path], float]], seed: int
) -> None:
    made = schedule(seed=seed)
    now = 0.0
    for what, paths, wait in steps:
        now += wait
        if what == "announce":
            made.announce(paths, now)
        elif what == "forget":
            made.forget(paths)
        elif what == "stop":
            made.stop()
        elif what == "leave":
            made.leave(now)
        is_due = made.next is not None and made.next <= now
        assert (made.take(now) != Due()) == is_due
        assert made.next is None or made.next > now
        assert made.take(now) == Due()
