from __future__ import annotations

from collections.abc import Sequence
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.discovery.search import QUIET, Opening, Question, Search


def new(
    opening: Opening = Opening.ALL,
    *,
    capacity: int = 512,
    expected: int = 0,
    bounds: Sequence[int] = (0, 65_536),
    patient: bool = False,
) -> Search:
    nonces = count(1)
    return Search(
        capacity=capacity,
        opening=opening,
        expected=expected,
        new_nonce=lambda: next(nonces),
        cut=lambda nonce: bounds,
        patient=patient,
    )


def ask(search: Search, *, until: float) -> list[tuple[float, Question]]:
    """The questions of a search that nobody answers, with their times."""
    asked = []
    while (due := search.due()) is not None and due <= until:
        asked += [(due, question) for question in search.handle(due)]
    return asked


def test_before_it_starts_nothing_is_due() -> None:
    search = new()
    assert search.due() is None
    assert search.handle(1.0) == []
    assert not search.started


def test_all_are_asked_at_once() -> None:
    search = new()
    search.start(5.0)
    assert search.handle(5.0) == [Question(1, 0, 0.0, 0.0, 0, 65_536)]


def test_while_nobody_was_ever_heard_the_pauses_grow_from_10_ms() -> None:
    search = new()
    search.start(0.0)
    times = [time for time, _ in ask(search, until=5.0)]
    pauses = [round(b - a, 3) for a, b in pairwise(times)]
    assert pauses[:6] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.25]
    assert max(pauses) == 1.0
    # In five seconds that nobody answers, the network isn't bothered much.
    assert len(times) <= 15


def test_a_round_ends_by_silence_after_the_last_reply() -> None:
    search = new()
    search.start(0.0)
    search.handle(0.0)
    search.note_reply(0.001, new=True)
    assert search.due() == pytest.approx(0.005)
    search.note_reply(0.004, new=True)
    assert search.due() == pytest.approx(0.008)
    assert search.handle(0.007) == []
    [question] = search.handle(0.008)
    assert (question.round, question.nonce, question.window) == (1, 2, 0.0)
    assert question.elapsed == pytest.approx(0.008)
    # Once somebody was heard, an unanswered round is given 4 ms, then 8.
    assert search.due() == pytest.approx(0.012)
    search.handle(0.012)
    assert search.due() == pytest.approx(0.020)


def test_three_rounds_without_anybody_new_are_quiet() -> None:
    search = new()
    search.start(0.0)
    search.handle(0.0)
    search.note_reply(0.001, new=True)
    ask(search, until=0.008)
    assert search.quiet == 0
    ask(search, until=0.1)
    assert search.quiet >= QUIET
    search.note_reply(0.1, new=True)
    ask(search, until=0.2)
    # A late answer may mean that there are more.
    assert search.quiet < 6


def test_the_gap_follows_the_longest_silence_that_a_reply_ended() -> None:
    search = new()
    search.start(0.0)
    search.handle(0.0)
    search.note_reply(0.008, new=True)
    [(ended, _)] = ask(search, until=0.0125)
    assert ended == pytest.approx(0.012)
    # The next round waits 1.3 x 8 ms, the one after, quiet, twice that, less what is forgotten.
    assert search.due() == pytest.approx(0.012 + 0.0104)
    assert search.handle(0.0225)
    assert search.due() == pytest.approx(0.0225 + 2 * 1.3 * 0.9 * 0.008)


def test_a_few_missing_are_asked_without_a_window() -> None:
    search = new(capacity=512)
    search.start(0.0)
    search.handle(0.0)
    for _ in range(400):
        search.note_reply(0.001, new=True)
    search.note_drops(200)
    [question] = ask(search, until=0.006)[0][1:]
    assert question.window == 0.0


def test_what_the_buffer_dropped_is_asked_for_in_a_window_that_can_be_read() -> None:
    search = new(capacity=512)
    search.start(0.0)
    search.handle(0.0)
    search.note_rate(10_000.0)
    for _ in range(512):
        search.note_reply(0.001, new=True)
    search.note_drops(488)
    [question] = ask(search, until=0.006)[0][1:]
    # 0.7 of what can be read, so that the buffer stays empty.
    assert question.window == pytest.approx(488 / 7_000)
    # The window is waited out, whatever comes; silence in it is none.
    search.note_reply(0.010, new=True)
    search.note_reply(0.060, new=True)
    assert search.due() == pytest.approx(0.005 + 488 / 7_000)
    search.handle(0.005 + 488 / 7_000)
    due = search.due()
    assert due is not None
    assert due - (0.005 + 488 / 7_000) == pytest.approx(0.004)


def test_a_window_is_a_second_at_most() -> None:
    search = new(capacity=512)
    search.start(0.0)
    search.handle(0.0)
    search.note_rate(100.0)
    search.note_drops(1_000)
    search.note_reply(0.001, new=True)
    [question] = ask(search, until=0.006)[0][1:]
    assert question.window == 1.0


def test_more_than_50000_a_second_are_never_asked_for() -> None:
    search = new(capacity=1)
    search.note_rate(1e9)
    assert search.rate == 50_000.0
    search.note_rate(0.0)
    assert search.rate == 50_000.0


def test_a_sample_of_a_sixteenth_tells_the_window_of_the_rest() -> None:
    search = new(Opening.SAMPLE, capacity=512)
    search.start(0.0)
    [sample] = search.handle(0.0)
    assert (sample.low, sample.high, sample.window) == (0, 4_096, 0.0)
    for _ in range(49):
        search.note_reply(0.001, new=True)
    assert search.due() == pytest.approx(0.002)
    [rest] = search.handle(0.002)
    assert (rest.low, rest.high, rest.nonce) == (4_096, 65_536, sample.nonce)
    # 49 and one and a half standard deviations, fifteen times, at 20,000 a second.
    assert rest.window == pytest.approx((49 + 1.5 * 7) * 15 / 20_000)


def test_a_sample_that_nobody_answers_takes_no_more_than_2_ms() -> None:
    search = new(Opening.SAMPLE)
    search.start(0.0)
    times = [time for time, _ in ask(search, until=0.1)]
    assert times[:3] == pytest.approx([0.0, 0.002, 0.012])


def test_many_who_are_expected_answer_over_a_window_at_once() -> None:
    search = new(Opening.CACHED, expected=2_000)
    search.start(0.0)
    [question] = search.handle(0.0)
    assert question.window == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("capacity", "expected", "first"),
    [
        (512, 0, (0, 65_536, 0.0)),
        (511, 0, (0, 4_096, 0.0)),
        (512, 512, (0, 65_536, 0.0)),
        (512, 1_000, (0, 65_536, 0.05)),
    ],
)
def test_auto_chooses_by_what_is_expected_and_what_the_buffer_holds(
    capacity: int, expected: int, first: tuple[int, int, float]
) -> None:
    search = new(Opening.AUTO, capacity=capacity, expected=expected)
    search.start(0.0)
    [question] = search.handle(0.0)
    assert (question.low, question.high, question.window) == pytest.approx(first)


def test_ranges_without_a_window_are_asked_at_once_with_one_nonce() -> None:
    search = new(bounds=(0, 20_000, 40_000, 65_536))
    search.start(0.0)
    questions = search.handle(0.0)
    assert [(q.low, q.high) for q in questions] == [
        (0, 20_000),
        (20_000, 40_000),
        (40_000, 65_536),
    ]
    assert {q.nonce for q in questions} == {1}


def test_ranges_share_a_window_one_after_another() -> None:
    search = new(Opening.CACHED, expected=2_000, bounds=(0, 32_768, 65_536))
    search.start(0.0)
    [first] = search.handle(0.0)
    assert first.window == pytest.approx(0.05)
    search.note_reply(0.001, new=True)
    assert search.due() == pytest.approx(0.05)
    [second] = search.handle(0.05)
    assert (second.low, second.high) == (32_768, 65_536)
    assert search.due() == pytest.approx(0.1)


def test_a_patient_search_asks_ever_more_seldom() -> None:
    search = new(patient=True)
    search.start(0.0)
    times = [time for time, _ in ask(search, until=4_000.0)]
    late = [time for time in times if time > 10.0]
    pauses = [round(b - a) for a, b in pairwise(late)]
    assert pauses == [120, 240, 480, *[600] * (len(pauses) - 3)]
    assert len(times) < 30


def test_somebody_new_makes_a_patient_search_eager_again() -> None:
    search = new(patient=True)
    search.start(0.0)
    ask(search, until=100.0)
    due = search.due()
    assert due is not None
    assert due > 100.0
    search.handle(due)
    search.note_reply(due + 0.001, new=True)
    again = ask(search, until=due + 1.0)
    assert len(again) > 5


def test_an_answer_of_somebody_known_does_not() -> None:
    search = new(patient=True)
    search.start(0.0)
    ask(search, until=100.0)
    due = search.due()
    assert due is not None
    search.handle(due)
    search.note_reply(due + 0.001, new=False)
    assert len(ask(search, until=due + 10.0)) <= 1


steps = st.lists(
    st.tuples(
        st.floats(0, 0.5),
        st.integers(0, 50),
        st.booleans(),
        st.integers(0, 1_000),
        st.floats(0, 1e6),
    ),
    max_size=30,
)


@given(steps, st.sampled_from(Opening), st.integers(1, 5_000), st.integers(0, 100_000))
def test_whatever_comes_it_asks_neither_in_a_hurry_nor_never(
    steps: list[tuple[float, int, bool, int, float]],
    opening: Opening,
    capacity: int,
    expected: int,
) -> None:
    search = new(opening, capacity=capacity, expected=expected)
    now = 0.0
    search.start(now)
    last = -1.0
    for pause, replies, fresh, drops, rate in steps:
        for question in search.handle(now):
            assert 0 <= question.low < question.high <= 65_536
            assert question.window >= 0
            if question.low == 0:
                # Rounds are never closer than the shortest gap.
                assert now - last >= 0.004 - 1e-9 or last < 0
                last = now
        due = search.due()
        assert due is not None
        assert due <= now + 62.0
        for number in range(replies):
            search.note_reply(now + pause * number / 50, new=fresh)
        search.note_drops(drops)
        search.note_rate(rate)
        now += pause
