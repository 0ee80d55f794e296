from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.discovery.presence import Deadlines, Hearing, silence, tries_for


@pytest.mark.parametrize("loss", [0.05, 0.1, 0.3])
def test_so_many_queries_unanswered_by_chance_are_less_than_one_in_ten_days(loss: float) -> None:
    answered = (1 - loss) ** 2
    # 1,000 peers that beat every 30 s, each asked after three lost beats in a row.
    asked_a_day = 1_000 * 86_400 / 30 * loss**3
    assert asked_a_day * (1 - answered) ** tries_for(loss) <= 0.1


def test_the_more_is_lost_the_more_often_is_asked() -> None:
    tries = [tries_for(loss / 100) for loss in range(101)]
    assert tries == sorted(tries)
    assert tries[0] == 4
    assert tries[100] == 40


def test_three_intervals_of_silence_and_a_reserve() -> None:
    assert silence(30) == pytest.approx(99)


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3])
def test_loss_is_told_by_the_beats_that_should_have_come(loss: float) -> None:
    random = Random(1)
    hearing = Hearing(0.0)
    for peer in range(50):
        last = None
        for beat in range(40):
            now = 30.0 * beat + peer / 2
            if random.random() < loss:
                continue
            hearing.note_beat(now, since=None if last is None else now - last, interval=30.0)
            last = now
    assert hearing.loss == pytest.approx(loss, abs=0.04)


def test_a_peer_that_was_off_for_long_is_no_loss() -> None:
    hearing = Hearing(0.0)
    hearing.note_beat(0.0, since=None, interval=30.0)
    hearing.note_beat(3_600.0, since=3_600.0, interval=30.0)
    assert hearing.loss == 0.0
    assert Hearing(0.0).loss == 0.0


def test_within_a_host_no_loss_is_feared_that_was_not_counted() -> None:
    hearing = Hearing(0.0, inward=True)
    assert hearing.feared_loss == 0.0
    hearing.note_beat(30.0, since=90.0, interval=30.0)
    assert hearing.feared_loss == hearing.loss > 0


def test_before_beats_were_counted_losses_are_feared() -> None:
    hearing = Hearing(0.0)
    # Otherwise one in 15 of those who are checked first is given up where three in ten are lost.
    assert (1 - 0.7**2) ** tries_for(hearing.feared_loss) < 0.001
    for peer in range(100):
        hearing.note_beat(peer / 10, since=None, interval=30.0)
    assert (1 - 0.7**2) ** tries_for(hearing.feared_loss) < 0.001, "these say nothing"
    listen(hearing, since=30.0, until=60.0, peers=100)
    assert tries_for(hearing.feared_loss) == 4, "soon it is known that nothing is lost"


def listen(hearing: Hearing, *, since: float, until: float, peers: int) -> None:
    """Beats of ``peers`` every 30 s each, evenly spread."""
    number = 0
    while (now := since + number * 30 / peers) < until:
        hearing.note_beat(now, since=30.0, interval=30.0)
        hearing.is_deaf(now, expected=peers / 30, interval=30.0)
        number += 1


def test_of_many_peers_loss_is_told_to_a_hundredth() -> None:
    random = Random(1)
    hearing = Hearing(0.0)
    last: dict[int, float] = {}
    estimates = []
    # A thousand that beat every five seconds: the bound of 32 % isn't far from the truth of 30 %.
    for number in range(200 * 240):
        now, peer = number / 200, number % 1_000
        if random.random() >= 0.3:
            since = now - last[peer] if peer in last else None
            hearing.note_beat(now, since=since, interval=5.0)
            last[peer] = now
        if now > 120 and number % 100 == 0:
            estimates.append(hearing.loss)
    assert max(estimates) - min(estimates) < 0.02
    assert {tries_for(estimate) for estimate in estimates} == {21}


def test_where_no_beats_come_at_all_it_is_we_who_are_deaf() -> None:
    hearing = Hearing(0.0)
    listen(hearing, since=0.0, until=300.0, peers=100)
    assert not hearing.is_deaf(300.0, expected=100 / 30, interval=30.0)
    assert hearing.is_deaf(345.0, expected=100 / 30, interval=30.0)
    assert hearing.is_deaf(400.0, expected=100 / 30, interval=30.0)
    listen(hearing, since=400.0, until=460.0, peers=100)
    assert not hearing.is_deaf(460.0, expected=100 / 30, interval=30.0)


def test_where_half_of_the_peers_are_gone_it_is_they() -> None:
    hearing = Hearing(0.0)
    listen(hearing, since=0.0, until=300.0, peers=100)
    listen(hearing, since=300.0, until=500.0, peers=50)
    assert not hearing.is_deaf(500.0, expected=100 / 30, interval=30.0)


def test_of_few_peers_nothing_can_be_told() -> None:
    hearing = Hearing(0.0)
    listen(hearing, since=0.0, until=300.0, peers=3)
    assert not hearing.is_deaf(400.0, expected=3 / 30, interval=30.0)


def test_a_deadline_passes_once() -> None:
    deadlines = Deadlines()
    assert deadlines.due() is None
    deadlines.watch(b"b", 5.0)
    deadlines.watch(b"a", 3.0)
    assert deadlines.due() == 3.0
    assert deadlines.passed(2.9) == []
    assert deadlines.passed(5.0) == [b"a", b"b"]
    assert deadlines.passed(9.0) == []
    deadlines.watch(b"a", 7.0)
    assert deadlines.due() == 7.0


@given(st.lists(st.tuples(st.binary(max_size=1), st.floats(0, 100))))
def test_deadlines_are_bounded_by_those_who_are_watched(
    watched: list[tuple[bytes, float]],
) -> None:
    deadlines = Deadlines()
    for id, deadline in watched:
        deadlines.watch(id, deadline)
    passed = deadlines.passed(100.0)
    assert sorted(passed) == sorted({id for id, _ in watched})
