from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.datagram import Endpoint
from bcast.discovery.inquiries import Inquiries, Inquiry, Purpose

THERE = Endpoint(IPv4Address("10.0.0.2"), 4000)


def new(nonces: Iterator[int] | None = None) -> Inquiries:
    numbers = count(1) if nonces is None else nonces
    return Inquiries(lambda: next(numbers))


def about(id: bytes = b"a", *, tries: int = 4, purpose: Purpose = Purpose.STATE) -> Inquiry:
    return Inquiry(purpose, 2, THERE, tries=tries, id=id)


def run(inquiries: Inquiries, until: float) -> tuple[list[float], list[Inquiry]]:
    """The times at which something is asked, and what is given up."""
    times: list[float] = []
    failed: list[Inquiry] = []
    while (due := inquiries.due()) is not None and due <= until:
        asked, given_up = inquiries.handle(due)
        times += [due] * len(asked)
        failed += given_up
    return times, failed


def test_a_question_is_asked_again_ever_more_seldom_and_given_up() -> None:
    inquiries = new()
    one = about()
    inquiries.ask(one, 1.0)
    times, failed = run(inquiries, 10.0)
    assert times == pytest.approx([1.0, 1.1, 1.25, 1.475])
    assert failed == [one]
    assert inquiries.due() is None
    assert not inquiries.are_open(Purpose.STATE)


def test_the_pauses_grow_to_a_second() -> None:
    inquiries = new()
    inquiries.ask(about(tries=21), 0.0)
    times, [_] = run(inquiries, 60.0)
    # What a death costs at the highest loss that is planned for.
    assert 16.0 < times[-1] < 18.0


def test_any_of_the_nonces_answers_it() -> None:
    inquiries = new()
    one = about()
    inquiries.ask(one, 0.0)
    run(inquiries, 0.2)
    assert len(one.nonces) == 2
    assert inquiries.answered(99, 2) is None
    assert inquiries.answered(1, 3) is None, "it went out of another interface"
    assert inquiries.answered(1, 2) is one
    assert inquiries.answered(2, 2) is None
    assert run(inquiries, 10.0) == ([], [])


def test_the_same_is_not_asked_twice_at_a_time() -> None:
    inquiries = new()
    inquiries.ask(about(), 0.0)
    inquiries.ask(about(), 0.0)
    inquiries.ask(about(purpose=Purpose.SILENCE), 0.0)
    assert inquiries.is_open(Purpose.SILENCE, b"a", 2)
    assert not inquiries.is_open(Purpose.GOODBYE, b"a", 2)
    times, failed = run(inquiries, 10.0)
    assert len(times) == 8
    assert len(failed) == 2


def test_what_concerns_somebody_who_is_gone_is_closed() -> None:
    inquiries = new()
    inquiries.ask(about(b"a"), 0.0)
    inquiries.ask(about(b"b"), 0.0)
    inquiries.handle(0.0)
    inquiries.close_about(b"a")
    assert inquiries.answered(1, 2) is None
    _, failed = run(inquiries, 10.0)
    assert [one.id for one in failed] == [b"b"]
    inquiries.ask(about(b"c"), 20.0)
    inquiries.close_on(3)
    assert inquiries.are_open(Purpose.STATE)
    inquiries.close_on(2)
    assert not inquiries.are_open(Purpose.STATE)


def test_a_flood_of_changes_is_no_flood_of_questions() -> None:
    inquiries = new()
    for number in range(5_000):
        inquiries.ask(about(number.to_bytes(2, "big"), tries=1), 0.0)
    asked, _ = inquiries.handle(0.0)
    assert len(asked) == 256
    # All have their turn.
    times, failed = run(inquiries, 60.0)
    assert len(times) + len(asked) == 5_000
    assert len(failed) == 5_000
    assert times[-1] < 5.0


def test_many_who_are_dead_keep_nobody_from_being_asked() -> None:
    inquiries = new()
    for number in range(200):
        inquiries.ask(about(number.to_bytes(2, "big"), tries=21), 0.0)
    run(inquiries, 10.0)
    inquiries.ask(about(b"alive"), 10.0)
    inquiries.handle(10.0)
    asked, _ = inquiries.handle(10.1)
    assert b"alive" in [inquiry.id for inquiry, _ in asked]


@given(
    st.lists(st.tuples(st.sampled_from("ahc"), st.integers(0, 3), st.integers(0, 3)), max_size=50)
)
def test_nothing_is_left_behind(steps: list[tuple[str, int, int]]) -> None:
    inquiries = new()
    now = 0.0
    for what, id, nonce in steps:
        if what == "a":
            inquiries.ask(about(bytes([id])), now)
        elif what == "h":
            now += 0.1
            inquiries.handle(now)
        else:
            inquiries.answered(nonce, 2)
    run(inquiries, 1_000.0)
    assert inquiries.due() is None
    assert not any(inquiries.are_open(purpose) for purpose in Purpose)
    for nonce in range(1_000):
        assert inquiries.answered(nonce, 2) is None
