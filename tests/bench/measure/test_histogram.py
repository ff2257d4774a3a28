"""Histograms keep three digits, and can be added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.bench.measure.histogram import (
    BITS,
    MAX_US,
    Histogram,
    bucket_count,
    bucket_of,
    highest_of,
)


@given(st.integers(0, MAX_US - 1))
def test_a_value_is_known_to_a_thousandth(value: int) -> None:
    """Its bucket's highest value is at most 0.1 % above it, and never below."""
    bucket = int(bucket_of(np.array([value]), BITS)[0])
    assert value <= highest_of(bucket, BITS) <= value * 1.001
    assert bucket < bucket_count(BITS)


@given(st.integers(1, MAX_US - 1))
def test_buckets_rise(value: int) -> None:
    """A higher value is never in a lower bucket, and neighbours are in the same or the next."""
    below, bucket = bucket_of(np.array([value - 1, value]), BITS)
    assert 0 <= bucket - below <= 1


def test_percentiles_of_known_distribution() -> None:
    """Against numpy's on a million values, to 0.2 %."""
    values = np.random.default_rng(1).lognormal(8, 1.5, 1_000_000)
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part)
    for percent in (1, 50, 90, 99, 99.9, 99.99):
        exact = float(np.percentile(values, percent, method="inverted_cdf"))
        assert histogram.percentile_us(percent) == pytest.approx(exact, rel=2e-3, abs=1)
    assert histogram.count == 1_000_000
    assert histogram.max_us == int(values.max())
    assert histogram.mean_us == pytest.approx(values.mean(), rel=1e-3)


def test_merged_is_as_filled_together() -> None:
    """Two processes' histograms add up to one's."""
    values = np.random.default_rng(2).exponential(5000, 10_000)
    whole, first, second = Histogram(), Histogram(), Histogram()
    whole.add(values)
    first.add(values[:3000])
    second.add(values[3000:])
    first.merge(second).merge(Histogram())
    assert (first.counts == whole.counts).all()
    assert (first.min_us, first.max_us) == (whole.min_us, whole.max_us)
    assert first.sum_us == pytest.approx(whole.sum_us)
    assert Histogram().merge(whole).min_us == whole.min_us


def test_one_slow_of_a_hundred() -> None:
    """p99 is the 99th of 100 (nearest rank), p99.9 and p100 the slow one."""
    histogram = Histogram()
    histogram.add([1000] * 99 + [1_000_000])
    assert histogram.percentile_us(99) == 1000
    assert histogram.percentile_us(99.9) == histogram.percentile_us(100) == 1_000_000


def test_out_of_range_is_kept() -> None:
    """Clocks that go back and waits of hours are counted at the ends."""
    histogram = Histogram()
    histogram.add([-5, 1e13])
    assert (histogram.count, histogram.min_us, histogram.max_us) == (2, 0, MAX_US - 1)


def test_empty() -> None:
    """Nothing is not zero."""
    histogram = Histogram()
    histogram.add([])
    assert np.isnan(histogram.percentile_us(50))
    assert np.isnan(histogram.mean_us)
    assert histogram.buckets() == []
