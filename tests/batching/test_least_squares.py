"""Tests of ``augury.batching.least_squares``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augury.batching.least_squares import RIDGE, solve_nonnegative

ALL = (0, 1, 2, 3)
EQUATIONS = st.lists(
    st.tuples(st.integers(1, 64), st.floats(0.05, 8.0), st.floats(0.01, 10.0)),
    min_size=1,
    max_size=30,
)


def normal(
    equations: list[tuple[int, float, float]],
) -> tuple[list[list[float]], list[float]]:
    rows = np.array([[1.0, n, n * s, n * s * s] for n, s, _ in equations])
    target = np.array([t for _, _, t in equations])
    return (rows.T @ rows).tolist(), (rows.T @ target).tolist()


@settings(deadline=None)
@given(EQUATIONS, st.sampled_from([ALL, (0,), (1, 2), ()]), st.booleans())
def test_it_is_the_minimum(
    equations: list[tuple[int, float, float]], support: tuple[int, ...], flat: bool
) -> None:
    """Not negative, the gradient zero where positive and uphill elsewhere, wherever it began."""
    information, moment = normal(equations)
    theta = solve_nonnegative(information, moment, support, flat)
    assert theta is not None
    allowed = (0, 1) if flat else ALL
    scales = np.sqrt(np.diag(np.array(information)))
    scaled = np.array(information) / np.outer(scales, scales) + RIDGE * np.eye(4)
    unknown = np.array(theta) * scales
    gradient = scaled @ unknown - np.array(moment) / scales
    size = 1.0 + float(np.abs(np.array(moment) / scales).max())
    for j in ALL:
        assert theta[j] >= 0.0
        if j not in allowed:
            assert theta[j] == 0.0
        elif theta[j] > 0.0:
            assert gradient[j] == pytest.approx(0.0, abs=1e-6 * size)
        else:
            assert gradient[j] >= -1e-6 * size


def test_what_cannot_be_told_apart_is_shared() -> None:
    """One shape only: each coefficient explains a quarter of the time."""
    information, moment = normal([(2, 3.0, 10.0)] * 5)
    theta = solve_nonnegative(information, moment, ALL, flat=False)
    assert theta is not None
    assert [theta[0], 2 * theta[1], 6 * theta[2], 18 * theta[3]] == pytest.approx(
        [2.5] * 4, rel=1e-3
    )


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_nonsense_has_no_answer(value: float) -> None:
    """Numbers that no batches can have made are told, not solved."""
    information, moment = normal([(1, 1.0, 1.0), (2, 3.0, 5.0)])
    information[2][2] = value
    assert solve_nonnegative(information, moment, ALL, flat=False) is None
