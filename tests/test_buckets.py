from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bcast.discovery.buckets import (
    HOST_BURST,
    HOST_RATE,
    MAX_SOURCES,
    SOURCE_BURST,
    SOURCE_RATE,
    Bucket,
    Buckets,
)

#: Pauses between requests: bursts, the rates, and silences that fill every bucket.
pauses = st.one_of(st.just(0.0), st.floats(0, 0.01), st.floats(0, 5))


def most(times: list[float], burst: int, rate: float) -> bool:
    """Whether in no stretch of time there were more than the burst and what the rate adds."""
    return all(
        later - earlier + 1 <= burst + rate * (times[later] - times[earlier]) + 1e-6
        for earlier in range(len(times))
        for later in range(earlier, len(times))
    )


@given(st.lists(pauses, max_size=60), st.integers(1, 5), st.floats(0.1, 100))
def test_a_bucket_gives_its_burst_and_its_rate_and_no_more(
    waits: list[float], burst: int, rate: float
) -> None:
    bucket = Bucket(burst, rate)
    now = 0.0
    taken = []
    for wait in waits:
        now += wait
        had = bucket.has_token(now)
        assert bucket.take(now) == had
        if had:
            taken.append(now)
    assert most(taken, burst, rate)
    now += burst / rate + 1e-6
    assert [bucket.take(now) for _ in range(burst + 1)] == [True] * burst + [False]


def test_a_source_has_a_burst_and_a_rate_of_its_own() -> None:
    buckets = Buckets()
    assert sum(buckets.take("flood", 0.0) for _ in range(1_000)) == SOURCE_BURST
    assert buckets.take("other", 0.0)
    assert sum(buckets.take("flood", 10.0) for _ in range(1_000)) == SOURCE_BURST
    granted = sum(buckets.take("flood", 10.0 + n / 1_000) for n in range(1, 10_001))
    assert granted == 10 * SOURCE_RATE


def test_all_sources_together_get_no_more_than_the_host_gives() -> None:
    buckets = Buckets()
    assert sum(buckets.take(n, 0.0) for n in range(10_000)) == HOST_BURST
    granted = sum(buckets.take(n, n / 5_000) for n in range(1, 50_001))
    assert HOST_RATE * 10 - 1 <= granted <= HOST_RATE * 10


def test_who_is_refused_by_the_host_keeps_the_own_tokens() -> None:
    buckets = Buckets()
    for n in range(HOST_BURST):
        assert buckets.take(n, 0.0)
    assert not any(buckets.take("late", 0.0) for _ in range(1_000))
    assert sum(buckets.take("late", 1.0) for _ in range(1_000)) == SOURCE_BURST


def test_forged_sources_neither_fill_the_memory_nor_refill_a_bucket() -> None:
    buckets = Buckets()
    now = 0.0
    granted = 0
    for n in range(20_000):
        now += 1 / 2_000
        buckets.take(n, now)
        granted += buckets.take("flood", now)
        assert len(buckets) <= MAX_SOURCES
    # Pushed out and taken for new, a source could have a burst again: it never is while it asks.
    assert granted <= SOURCE_BURST + SOURCE_RATE * now
