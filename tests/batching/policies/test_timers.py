"""Tests of ``fixed``, ``delayed``, ``aimd`` and ``quantile``."""

from __future__ import annotations

import pytest

from augury.batching.policies.aimd import AdditiveIncrease
from augury.batching.policies.base import BatchDone, BatchPolicy
from tests.batching.policies.making import IDLE, learnt, make, queued
from tests.batching.simulator import Piece, Truth


def pieces(count: int, *, length: int = 0, enqueued_s: float = 0.0) -> list[Piece]:
    return [Piece(length=length, enqueued_s=enqueued_s) for _ in range(count)]


def test_fixed_waits_until_it_is_full() -> None:
    """Four rows make a batch of four at once; three wait for the timer of the oldest."""
    policy = make("fixed", max_rows=4, timeout_s=0.01)
    some = pieces(4)
    assert policy.choose(queued(policy, *some), IDLE, 0.0).batch == some

    queue = queued(policy, Piece(enqueued_s=0.002), *pieces(2, enqueued_s=0.004))
    waiting = policy.choose(queue, IDLE, 0.005)
    assert (waiting.batch, waiting.look_again_s) == ([], 0.012)
    assert len(queue) == 3
    released = policy.choose(queue, IDLE, 0.012)
    assert (len(released.batch), released.reason) == (3, "timeout")


def test_fixed_does_not_look_at_lengths() -> None:
    """Rows go in the order in which they came, as in the servers that it stands for."""
    policy = make("fixed", max_rows=3)
    some = [Piece(length=n, enqueued_s=0.0) for n in (5, 90, 6, 7)]
    choice = policy.choose(queued(policy, *some), IDLE, 0.0)
    assert (choice.batch, choice.reason) == (some[:3], "full")


def test_fixed_counts_from_the_oldest() -> None:
    """Also where a higher priority has overtaken it."""
    policy = make("fixed", timeout_s=0.01, ageing_s=5.0)
    queue = queued(policy, Piece(enqueued_s=0.0, priority=2), Piece(enqueued_s=0.008, priority=0))
    assert policy.choose(queue, IDLE, 0.009).look_again_s == 0.01


def test_delayed_waits_for_the_rest_of_a_burst() -> None:
    """Up to its delay, then companions of like length; a full batch at once."""
    policy = make("delayed", max_rows=4, delay_s=0.002)
    queue = queued(policy, Piece(length=20), Piece(length=90), Piece(length=21))
    assert policy.choose(queue, IDLE, 0.0).look_again_s == 0.002
    choice = policy.choose(queue, IDLE, 0.002)
    assert ([piece.length for piece in choice.batch], choice.reason) == ([20, 21], "padding")
    full = policy.choose(queued(policy, *pieces(4)), IDLE, 0.0)
    assert (len(full.batch), full.reason) == (4, "full")
    assert policy.choose(queued(policy, *pieces(2)), IDLE, 0.1).reason == "timeout"


def served(policy: BatchPolicy, runtime_s: float) -> int:
    """Rows of the next batch when many wait; it takes *runtime_s*."""
    choice = policy.choose(queued(policy, *pieces(100)), IDLE, 0.0)
    policy.observed(BatchDone(len(choice.batch), 1, 0.0, runtime_s, 0.0))
    return len(choice.batch)


def test_aimd_grows_and_shrinks() -> None:
    """A row more while the objective holds, a tenth less on a miss; never beyond max_rows."""
    policy = make("aimd", max_rows=20, objective_s=0.02)
    assert [served(policy, 0.01) for _ in range(21)] == [*range(1, 21), 20]
    assert served(policy, 0.03) == 20
    assert served(policy, 0.01) == 18
    assert served(policy, 0.01) == 19


def test_aimd_finds_what_the_objective_allows() -> None:
    """It ends near the largest batch that fits: here fifteen rows of a millisecond and five more."""
    policy = make("aimd", max_rows=64, objective_s=0.02)
    sizes = []
    for _ in range(300):
        choice = policy.choose(queued(policy, *pieces(100)), IDLE, 0.0)
        rows = len(choice.batch)
        sizes.append(rows)
        policy.observed(BatchDone(rows, 1, 0.0, 0.005 + 0.001 * rows, 0.0))
    assert max(sizes[100:]) == 16
    assert min(sizes[100:]) >= 13


def test_aimd_learns_nothing_from_small_batches() -> None:
    """That three rows are quick says nothing about thirty."""
    policy = make("aimd", objective_s=0.02)
    assert isinstance(policy, AdditiveIncrease)
    for _ in range(5):
        served(policy, 0.01)
    assert policy.rows == 6
    policy.observed(BatchDone(3, 1, 0.0, 0.001, 0.0))
    assert policy.rows == 6


def test_aimd_says_why() -> None:
    """Its own bound is the objective, the model's is full."""
    policy = make("aimd", max_rows=2)
    first = policy.choose(queued(policy, *pieces(9)), IDLE, 0.0)
    assert (len(first.batch), first.reason) == (1, "objective")
    policy.observed(BatchDone(1, 1, 0.0, 0.001, 0.0))
    assert policy.choose(queued(policy, *pieces(9)), IDLE, 0.0).reason == "full"


@pytest.mark.parametrize(
    ("objective_s", "rows"), [(0.0105, 8), (0.0052, 3), (0.0001, 1), (9.0, 32)]
)
def test_quantile_takes_what_fits(objective_s: float, rows: int) -> None:
    """The largest batch whose p99 is within the objective; one row in any case."""
    policy = make("quantile", learnt(Truth(a=0.002, d=0.001)), max_rows=32, objective_s=objective_s)
    choice = policy.choose(queued(policy, *pieces(50)), IDLE, 0.0)
    assert len(choice.batch) == rows
    assert choice.reason == ("full" if rows == 32 else "objective")


def test_quantile_takes_all_while_it_knows_nothing() -> None:
    """Without a model of the cost it is bounded by max_rows only."""
    policy = make("quantile", max_rows=32, objective_s=0.0001)
    assert len(policy.choose(queued(policy, *pieces(50)), IDLE, 0.0).batch) == 32
