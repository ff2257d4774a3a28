from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.services.ui.quantiles import Histogram, rates

BOUNDS = (0.1, 0.5, 1.0, math.inf)


def histogram(*values: float, bounds: tuple[float, ...] = BOUNDS) -> Histogram:
    """The histogram of *values*."""
    counts = tuple(float(sum(value <= bound for value in values)) for bound in bounds)
    return Histogram(bounds, counts, math.fsum(values))


def test_a_quantile_is_interpolated_in_its_bucket() -> None:
    """As Prometheus's histogram_quantile does: evenly spread between the bucket's bounds."""
    four = histogram(0.05, 0.2, 0.3, 0.9)
    assert four.quantile(0.25) == pytest.approx(0.1)
    assert four.quantile(0.5) == pytest.approx(0.3)
    assert four.quantile(0.75) == pytest.approx(0.5)
    assert four.quantile(1.0) == pytest.approx(1.0)


def test_above_the_last_bound_that_bound_is_told() -> None:
    """Nothing is known of what is larger than the largest bound, but that it is."""
    assert histogram(7.0, 8.0).quantile(0.5) == 1.0


def test_without_observations_there_is_no_quantile() -> None:
    """Nor a mean; nothing divides by zero."""
    for empty in (Histogram(), histogram()):
        assert (empty.quantile(0.99), empty.mean, empty.total) == (None, None, 0.0)


def test_a_difference_is_what_came_between() -> None:
    """Two readings of one growing histogram tell the stretch between them."""
    before, after = histogram(0.05, 0.9), histogram(0.05, 0.9, 0.3, 0.3)
    assert after.since(before) == histogram(0.3, 0.3)
    assert after.since(before).mean == pytest.approx(0.3)


def test_what_falls_counts_as_nothing() -> None:
    """A version that is unloaded takes its counts along; rates do not go below zero for it."""
    shrunk = histogram(0.3).since(histogram(0.05, 0.3, 0.9))
    assert (shrunk.total, shrunk.sum, shrunk.quantile(0.5)) == (0.0, 0.0, None)
    assert rates({"ok": 3.0}, {"ok": 8.0}, 5.0) == {"ok": 0.0}


def test_other_buckets_begin_anew() -> None:
    """The first reading has none yet."""
    assert histogram(0.3).since(Histogram()) == histogram(0.3)


@given(
    st.lists(st.integers(0, 50), min_size=len(BOUNDS), max_size=len(BOUNDS)),
    st.lists(st.integers(0, 50), min_size=len(BOUNDS), max_size=len(BOUNDS)),
    st.floats(0, 1),
)
def test_quantiles_lie_where_they_should(before: list[int], more: list[int], q: float) -> None:
    """Between two readings a quantile lies in the bucket that numpy puts it in, and rises with q."""
    first = Histogram(BOUNDS, tuple(accumulate(before)), 1.0)
    both = [a + b for a, b in zip(before, more, strict=True)]
    stretch = Histogram(BOUNDS, tuple(accumulate(both)), 2.0).since(first)
    assert stretch.counts == tuple(accumulate(more))
    value = stretch.quantile(q)
    if sum(more) == 0:
        assert value is None
        return
    assert value is not None
    uppers = np.repeat([0.1, 0.5, 1.0, 1.0], more)
    lowers = np.repeat([0.0, 0.1, 0.5, 1.0], more)
    place = min(len(uppers) - 1, max(0, math.ceil(q * len(uppers)) - 1))
    assert lowers[place] <= value <= uppers[place]
    assert value <= (stretch.quantile(1.0) or 0.0)
