"""Moments to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.features.times import UnfitTime, show, to_microseconds


def _naive(year: int, month: int = 1, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC).replace(tzinfo=None)


@given(moment=st.datetimes(min_value=_naive(1000, 1, 2), max_value=_naive(9000)))
def test_a_moment_comes_back_as_it_was(moment: datetime) -> None:
    """Text and datetime mean the same, to the microsecond."""
    aware = moment.replace(tzinfo=UTC)
    micros = to_microseconds(aware, assume_utc=False)

    assert to_microseconds(aware.isoformat(), assume_utc=False) == micros
    assert to_microseconds(show(micros), assume_utc=False) == micros
    assert to_microseconds(moment, assume_utc=True) == micros


@given(
    moment=st.datetimes(min_value=_naive(1970, 1, 3), max_value=_naive(2100)),
    minutes=st.integers(-1439, 1439),
)
def test_offsets_count(moment: datetime, minutes: int) -> None:
    """The same moment on another clock is the same moment."""
    zoned = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=minutes)))

    wanted = to_microseconds(moment, assume_utc=True)
    assert to_microseconds(zoned.isoformat(), assume_utc=False) == wanted


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("2026-01-01T00:00:00", "has no offset"),
        (_naive(2026), "has no offset"),
        ("2026-01-01", "is no time"),
        ("2026-13-01T00:00:00Z", "is no time"),
        ("2026-01-01T00:00:00+25:00", "no such offset"),
        ("2026-01-01T00:00:00.1234567Z", "finer than a microsecond"),
        ("infinity", "is no time"),
        ("٢٠٢٦-01-01T00:00:00Z", "is no time"),
        ("", "is no time"),
        (1_700_000_000, "is no time"),
        (None, "is missing"),
    ],
)
def test_what_is_no_moment_is_refused(value: Any, words: str) -> None:
    """Numbers are refused too: whether they are seconds or milliseconds nobody knows."""
    with pytest.raises(UnfitTime, match=words):
        to_microseconds(value, assume_utc=False)


def test_common_spellings_are_understood() -> None:
    """As spreadsheets, databases and people write times."""
    for text in ("1970-01-01T00:00:01Z", "1970-01-01 00:00:01+00", "1970-01-01 01:00:01 +0100"):
        assert to_microseconds(text, assume_utc=False) == 1_000_000
    assert to_microseconds("1970-01-01T00:01Z", assume_utc=False) == 60_000_000
    assert to_microseconds("1970-01-01T00:00:00,5z", assume_utc=False) == 500_000
    assert to_microseconds("1970-01-01T00:00:00.100000000Z", assume_utc=False) == 100_000
