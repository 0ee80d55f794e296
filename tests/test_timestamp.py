from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcast.timestamp import rfc3339
from tests.strategies import times_ns

# RFC 3339, 5.6: date-time of four-digit years, and time-secfrac.
FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
END_OF_9999 = 253_402_300_800 * 10**9

four_digit_years = st.integers(0, END_OF_9999 - 1)


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (999_999_999, "1970-01-01T00:00:00.999999999Z"),
        (1_000_000_000, "1970-01-01T00:00:01.000000000Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (1_795_409_294_000_000_001, "2026-11-23T04:48:14.000000001Z"),
        (2**31 * 10**9, "2038-01-19T03:14:08.000000000Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (END_OF_9999 - 1, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times(time_ns: int, expected: str) -> None:
    assert rfc3339(time_ns) == expected


def parsed(text: str) -> int:
    """Nanoseconds since 1970, read by other means."""
    whole, fraction = text[:-1].split(".")
    seconds = datetime.fromisoformat(whole).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (seconds.days * 86_400 + seconds.seconds) * 10**9 + int(fraction)


@given(st.one_of(times_ns, four_digit_years))
def test_no_nanosecond_is_lost(time_ns: int) -> None:
    text = rfc3339(time_ns)
    assert FORM.fullmatch(text)
    assert parsed(text) == time_ns


@given(four_digit_years, four_digit_years)
def test_texts_sort_as_times_do(one: int, other: int) -> None:
    assert (rfc3339(one) < rfc3339(other)) is (one < other)
