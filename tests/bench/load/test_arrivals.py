"""Arrivals are what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from augury.bench.load.arrivals import MAX_ARRIVALS, Times, draw, read_trace
from augury.core.errors import OperatorError


def _cv2(times: Times) -> float:
    gaps = np.diff(times)
    return float(gaps.var() / gaps.mean() ** 2)


def test_poisson() -> None:
    """The rate is met to a percent, gaps vary as their mean, and counts of intervals as theirs."""
    times = draw("poisson", 1000, 200, rng=np.random.default_rng(1))
    assert len(times) / 200 == pytest.approx(1000, rel=0.01)
    assert _cv2(times) == pytest.approx(1, abs=0.02)
    counts = np.bincount(times.astype(int))
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.35)


@pytest.mark.parametrize("cv2", [0.25, 1.0, 4.0, 16.0])
def test_gamma_is_as_bursty_as_asked(cv2: float) -> None:
    """The gaps' squared coefficient of variation is the one asked for, at the same rate."""
    times = draw("gamma", 1000, 400, cv2=cv2, rng=np.random.default_rng(2))
    assert len(times) / 400 == pytest.approx(1000, rel=0.03)
    assert _cv2(times) == pytest.approx(cv2, rel=0.08)


def test_constant() -> None:
    """Equal gaps, from 0, none at the end."""
    times = draw("constant", 10, 1, rng=np.random.default_rng(0))
    assert times.tolist() == pytest.approx([n / 10 for n in range(10)])


def test_seed_decides_all() -> None:
    """The same seed gives the same times; another others."""
    first, again, other = (
        draw("gamma", 50, 10, cv2=4, rng=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first.tolist() == again.tolist() != other.tolist()
    assert (np.diff(first) >= 0).all()
    assert first[-1] < 10


def test_too_many_is_told() -> None:
    """The number and the limit are named."""
    with pytest.raises(OperatorError, match=f"{MAX_ARRIVALS:,}"):
        draw("poisson", 1e6, 1e6, rng=np.random.default_rng(0))


def test_trace_of_times() -> None:
    """Times of any clock count from the first; blank lines are nothing."""
    trace = read_trace(["100.5\n", "\n", "101\n", "103\n"], "t")
    assert trace.times.tolist() == [0, 0.5, 2.5]
    assert trace.inputs is None
    assert trace.duration_s == pytest.approx(3.75)


def test_trace_of_gaps() -> None:
    """A gap stands before its request; the first counts from 0."""
    assert read_trace(["9", "1", "0.5"], "t", "gaps").times.tolist() == [0, 1, 1.5]


def test_trace_of_objects_names_inputs() -> None:
    """JSON lines may say which input is sent."""
    lines = ['{"at_s": 1, "input": 5}', '{"at_s": 2.5, "input": 0}']
    trace = read_trace(lines, "t")
    assert (trace.times.tolist(), trace.inputs is not None) == ([0, 1.5], True)
    assert trace.inputs is not None
    assert trace.inputs.tolist() == [5, 0]


def test_a_trace_that_comes_at_once() -> None:
    """All at the same time is a burst, of a second."""
    trace = read_trace(["5", "5", "5"], "t")
    assert (trace.duration_s, trace.rate_rps) == (1, 3)
    assert trace.at_rate(30).times.tolist() == [0, 0, 0]


def test_trace_at_another_rate() -> None:
    """The pattern stays, the rate is the one asked for."""
    trace = read_trace([str(n) for n in (0, 1, 3, 4)], "t")
    faster = trace.at_rate(100)
    assert faster.rate_rps == pytest.approx(100)
    assert _cv2(faster.times) == pytest.approx(_cv2(trace.times))


@pytest.mark.parametrize(
    ("lines", "kind", "told"),
    [
        ([], "times", "t holds no request"),
        (["1", "x"], "times", "t:2: 'x' is neither"),
        (["2", "1"], "times", "request 2 comes before"),
        (["-1"], "gaps", "t:1: -1.0 is no time"),
        (["NaN"], "times", "is no time"),
        (['{"when": 1}'], "times", "t:1:"),
        (['{"at_s": 1, "input": 1}', "2"], "times", '"input" stands on 1 of 2 lines'),
    ],
)
def test_a_wrong_trace_is_told(lines: list[str], kind: str, told: str) -> None:
    """File and line are named."""
    with pytest.raises(OperatorError, match=told):
        read_trace(lines, "t", kind)  # type: ignore[arg-type]
