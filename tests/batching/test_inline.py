"""Tests of ``augury.batching.inline`` and ``augury.batching.hop``."""

from __future__ import annotations

import pytest

from augury.batching.cost import CostModel
from augury.batching.hop import measure_hop_s
from augury.batching.inline import LEAST_HOP_S, MOST_HOP_S, InlineGate, InlineMode

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
    for _ in range(8):
        assert gate.rows == 64
        gate.ran(1e-3, 10.0)
    assert gate.rows == 0
    gate.look(quick, 10.9)
    assert gate.rows == 0
    gate.look(quick, 11.0)
    assert gate.rows == 64
    for _ in range(8):
        gate.ran(1e-3, 20.0)
    gate.look(quick, 21.5)
    assert gate.rows == 0
    gate.look(cost_of(1e-3, 0.0), 22.0)
    assert gate.rows == 0


def test_a_slow_run_now_and_then_does_not_matter() -> None:
    """One in twenty is what a shared machine does."""
    gate = InlineGate("auto", LIMIT_S, 64)
    gate.look(cost_of(10e-6, 1e-6), 0.0)
    for number in range(2000):
        gate.ran(1e-3 if number % 20 == 0 else 20e-6, 1.0)
    assert gate.rows == 64


def test_the_threshold_is_sane() -> None:
    """Whatever was measured."""
    assert InlineGate("auto", 1e-9, 1).limit_s == LEAST_HOP_S
    assert InlineGate("auto", 1.0, 1).limit_s == MOST_HOP_S


async def test_the_way_can_be_measured_anywhere() -> None:
    """On a thread that has an event loop, too."""
    assert 1e-6 < measure_hop_s() < 1
