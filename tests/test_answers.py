from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Endpoint, Family
from bcast.discovery.answers import (
    MAX_PENDING,
    MAX_REMEMBERED,
    MAX_WIRELESS,
    Answer,
    Answers,
)

FOUR = Endpoint(IPv4Address("10.0.0.2"), 4000)
SIX = Endpoint(IPv6Address("fe80::2%eth0"), 4000)


def answer(due: float, nonce: int = 1, to: Endpoint = FOUR, interface: int = 2) -> Answer:
    return Answer(due, nonce, to, interface, 288)


def prober(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_an_answer_waits_for_its_time() -> None:
    answers = Answers()
    assert answers.next is None
    assert answers.take(1e9) == []
    assert answers.add(prober(1), answer(5.0))
    assert answers.add(prober(2), answer(3.0))
    assert answers.next == 3.0
    assert answers.take(2.9) == []
    assert answers.take(5.0) == [answer(3.0), answer(5.0)]
    assert answers.next is None


def test_who_asks_again_gets_the_new_answer_at_the_earlier_time() -> None:
    answers = Answers()
    answers.add(prober(1), answer(1.0, nonce=1))
    answers.add(prober(1), answer(5.0, nonce=2, to=SIX))
    assert answers.take(9.0) == [answer(1.0, nonce=2, to=SIX)]
    answers.add(prober(1), answer(5.0, nonce=3))
    answers.add(prober(1), answer(1.0, nonce=4))
    assert answers.take(9.0) == [answer(1.0, nonce=4)]
    assert answers.next is None


def test_searches_on_two_interfaces_are_answered_on_both() -> None:
    answers = Answers()
    answers.add(prober(1), answer(1.0, nonce=1, interface=2))
    answers.add(prober(1), answer(1.0, nonce=2, interface=3))
    assert {one.interface for one in answers.take(1.0)} == {2, 3}


def test_a_probe_is_known_again_for_as_long_as_repeats_may_come() -> None:
    answers = Answers()
    assert not answers.is_repeated(prober(1), 7)
    answers.add(prober(1), answer(0.0, nonce=7))
    answers.take(0.0)
    assert answers.is_repeated(prober(1), 7)
    assert not answers.is_repeated(prober(1), 8)
    assert not answers.is_repeated(prober(2), 7)
    for n in range(1, MAX_REMEMBERED):
        answers.add(prober(9), answer(0.0, nonce=n))
    assert answers.is_repeated(prober(1), 7)
    answers.add(prober(9), answer(0.0, nonce=MAX_REMEMBERED))
    assert not answers.is_repeated(prober(1), 7), "a flood mustn't fill the memory"


def test_when_too_many_wait_the_last_of_them_give_way() -> None:
    answers = Answers()
    for n in range(MAX_PENDING):
        assert answers.add(prober(n), answer(60.0 + n / 1_000))
    assert not answers.add(prober(MAX_PENDING), answer(65.0))
    assert answers.add(prober(MAX_PENDING), answer(0.5, nonce=2))
    assert answers.next == 0.5
    # Who waits already may ask again.
    assert answers.add(prober(5), answer(65.0, nonce=3))
    due = answers.take(100.0)
    assert len(due) == MAX_PENDING
    assert due[0].nonce == 2
    assert max(one.due for one in due) < 60.0 + (MAX_PENDING - 1) / 1_000


def test_wireless_probes_that_were_held_back_are_recognised() -> None:
    answers = Answers()
    assert not answers.is_bunched(prober(1), 2, 0, 10.0)
    answers.keep_wireless(prober(1), 2, 65_500, 10.0)
    # Sent 100 ms later, by a counter that began again meanwhile.
    assert answers.is_bunched(prober(1), 2, 64, 10.001)
    assert answers.is_bunched(prober(1), 2, 64, 10.049)
    assert not answers.is_bunched(prober(1), 2, 64, 10.051)
    assert not answers.is_bunched(prober(2), 2, 64, 10.001)
    assert not answers.is_bunched(prober(1), 3, 64, 10.001), "its search there is another one"
    for n in range(MAX_WIRELESS):
        answers.keep_wireless(prober(100 + n), 2, 0, 10.0)
    assert not answers.is_bunched(prober(1), 2, 64, 10.001), "a flood mustn't fill the memory"


def test_what_is_owed_on_an_interface_that_goes_is_forgotten() -> None:
    answers = Answers()
    answers.add(prober(1), answer(1.0, interface=2))
    answers.add(prober(2), answer(2.0, interface=3))
    answers.add(prober(3), answer(3.0, to=SIX, interface=2))
    answers.drop(2, (Family.IPV6,))
    assert answers.next == 2.0
    answers.drop(2)
    assert answers.take(9.0) == [answer(2.0, interface=3)]
    answers.add(prober(1), answer(1.0))
    answers.clear()
    assert answers.next is None
    assert answers.take(9.0) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(2, 3), st.floats(0, 10), st.floats(0, 1)),
        max_size=80,
    )
)
def test_nobody_waits_longer_than_the_first_of_the_answers_that_were_replaced(
    steps: list[tuple[int, int, float, float]],
) -> None:
    """Against a model: for each prober and interface the earliest time and the last nonce."""
    answers = Answers()
    model: dict[tuple[int, int], Answer] = {}
    now = 0.0
    for nonce, (who, interface, window, wait) in enumerate(steps):
        new = answer(now + window, nonce=nonce, interface=interface)
        assert answers.add(prober(who), new)
        due = min(new.due, model.get((who, interface), new).due)
        model[who, interface] = new._replace(due=due)
        now += wait
        assert answers.next == min(one.due for one in model.values())
        expected = {key: one for key, one in model.items() if one.due <= now}
        taken = answers.take(now)
        assert sorted(taken) == sorted(expected.values())
        assert [one.due for one in taken] == sorted(one.due for one in taken)
        model = {key: one for key, one in model.items() if key not in expected}
        assert answers.next == min((one.due for one in model.values()), default=None)


def test_a_prober_that_asks_for_earlier_and_earlier_answers_doesnt_fill_the_memory() -> None:
    answers = Answers()
    for n in range(5 * MAX_PENDING):
        answers.add(prober(1), answer(65.0 - n / 100_000, nonce=n))
        assert len(answers._queue) <= 2 * MAX_PENDING + 1
    assert len(answers.take(100.0)) == 1
