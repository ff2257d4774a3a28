"""Tests of ``augury.batching.inline`` and ``augury.batching.hop``."""

from __future__ import annotations

import numpy as np
import pytest

from augury.batching.cost import CostModel
from augury.batching.hop import measure_hop_s
from augury.batching.inline import LEAST_HOP_S, MOST_HOP_S, InlineGate, InlineMode
from augury.core.tensor import Columns

LIMIT_S = 200e-6


def cost_of(batch_s: float, row_s: float) -> CostModel:
    """A model that has seen such batches."""
    cost = CostModel()
    for _ in range(10):
        for rows in (1, 4, 16, 64):
            cost.observe(rows, 1, batch_s + rows * row_s)
    return cost


def test_a_model_below_the_threshold_is_computed_inline() -> None:
    """With as many rows as stay below it."""
    gate = InlineGate("auto", LIMIT_S, 64)
    assert gate.rows == 0
    gate.look(cost_of(10e-6, 10e-6), 0.0)
    assert gate.rows in (8, 16)


def test_what_is_slow_or_unknown_is_not() -> None:
    """Not one row."""
    for cost in (cost_of(1e-3, 0.0), CostModel()):
        gate = InlineGate("auto", LIMIT_S, 64)
        gate.look(cost, 0.0)
        assert gate.rows == 0


@pytest.mark.parametrize(("mode", "rows"), [(True, 64), (False, 0)])
def test_the_manifest_may_decide(mode: InlineMode, rows: int) -> None:
    """Whatever the costs are, and however slow the runs."""
    gate = InlineGate(mode, LIMIT_S, 64)
    for cost in (cost_of(1.0, 1.0), cost_of(1e-6, 1e-6)):
        gate.look(cost, 100.0)
        assert gate.rows == rows
    for _ in range(100):
        gate.ran(1.0, 200.0)
    assert gate.rows == rows


def test_a_model_that_turns_slow_leaves_and_is_tried_again() -> None:
    """After a break, that is twice as long each time; what costs too much by then stays out."""
    gate, quick = InlineGate("auto", LIMIT_S, 64), cost_of(10e-6, 1e-6)
    gate.look(quick, 0.0)
    assert runs_until_closed(gate, 10.0, [2e-3]) == 6
    gate.look(quick, 10.9)
    assert gate.rows == 0
    gate.look(quick, 11.0)
    assert gate.rows == 64
    assert runs_until_closed(gate, 20.0, [2e-3]) == 6
    gate.look(quick, 21.5)
    assert gate.rows == 0
    gate.look(cost_of(1e-3, 0.0), 22.0)
    assert gate.rows == 0


def runs_until_closed(gate: InlineGate, now_s: float, seconds: list[float]) -> int:
    """How many of 10,000 runs that take *seconds* in turn are let onto the event loop."""
    for number in range(10_000):
        if not gate.rows:
            return number
        gate.ran(seconds[number % len(seconds)], now_s)
    return 10_000


@pytest.mark.parametrize(
    ("slow_s", "quick_runs", "most"),
    [
        (5.0, 0, 1),  # one long run is enough
        (5.0, 9, 1),
        (0.02, 99, 1),
        (0.005, 9, 30),  # some milliseconds, again and again
        (0.001, 4, 100),
        (0.001, 19, 10_000),  # what a machine does that others use, too
        (0.005, 199, 10_000),
        (0.00025, 3, 10_000),
    ],
)
def test_slow_runs_count_by_what_they_hold_up(slow_s: float, quick_runs: int, most: int) -> None:
    """Not by their number: the loop is held up for ten milliseconds, or once, before the model leaves."""
    gate = InlineGate("auto", LIMIT_S, 64)
    gate.look(cost_of(10e-6, 1e-6), 0.0)
    runs = runs_until_closed(gate, 1.0, [slow_s] + [20e-6] * quick_runs)
    assert runs <= most
    assert (runs == 10_000) == (most == 10_000)


def test_what_went_well_for_long_is_forgiven() -> None:
    """Breaks get longer while a model is slow again and again, not over weeks."""
    gate, quick = InlineGate("auto", LIMIT_S, 64), cost_of(10e-6, 1e-6)
    now_s, breaks = 100.0, []
    for pause_s in (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 30.0, 61.0, 0.0, 7_200.0, 0.0):
        now_s += pause_s
        gate.look(quick, now_s)
        assert gate.rows
        gate.ran(1.0, now_s)
        closed_s = now_s
        while not gate.rows:
            now_s += 0.5
            gate.look(quick, now_s)
        breaks.append(now_s - closed_s)
    assert breaks == [1, 2, 4, 8, 16, 32, 60, 60, 1, 2, 1, 2]


def test_larger_rows_than_were_measured_are_not_known() -> None:
    """Where the callers choose the size of a row; of all others it does not matter."""
    gate = InlineGate("auto", LIMIT_S, 64)
    text, image = np.array([[b"a"], [b"abc"]], object), np.zeros((1, 8, 8), "f4")
    sized: Columns = {"text": text, "image": image, "x": np.zeros((1, 2))}
    gate.measured(sized, ["text", "image"])
    assert gate.knows(sized, 2)
    assert gate.knows({**sized, "x": np.zeros((1, 999))}, 2)
    assert gate.knows({**sized, "text": np.array([[b"xyz"]], object)}, 1)
    assert not gate.knows({**sized, "text": np.array([[b"wxyz"]], object)}, 1)
    assert not gate.knows({**sized, "image": np.zeros((1, 8, 9), "f4")}, 1)
    gate.measured(None, ["text"])
    assert not gate.knows(sized, 2)
    always = InlineGate(True, LIMIT_S, 64)
    always.measured(None, ["text"])
    assert always.knows(sized, 2)


def test_the_threshold_is_sane() -> None:
    """Whatever was measured."""
    assert InlineGate("auto", 1e-9, 1).limit_s == LEAST_HOP_S
    assert InlineGate("auto", 1.0, 1).limit_s == MOST_HOP_S


async def test_the_way_can_be_measured_anywhere() -> None:
    """On a thread that has an event loop, too."""
    assert 1e-6 < measure_hop_s() < 1
