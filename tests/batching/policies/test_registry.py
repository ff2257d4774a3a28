"""Tests of ``augury.batching.policies.registry``, and what holds for every policy in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augury.batching.policies.base import REASONS, BatchDone, Load
from augury.batching.policies.registry import POLICIES
from augury.core.errors import NotFound
from tests.batching.policies.making import IDLE, learnt, make, queued
from tests.batching.simulator import Piece, Truth

TRUTH = Truth(a=2e-3, d=0.1e-3, b=0.02e-3)
NAMES = ("deadline", "fixed", "delayed", "aimd", "quantile")

PIECES = st.lists(
    st.builds(
        Piece,
        rows=st.integers(1, 9),
        deadline_s=st.none() | st.floats(0.0, 2.0),
        length=st.integers(0, 90),
        priority=st.integers(0, 2),
        enqueued_s=st.floats(0.0, 1.0),
    ),
    min_size=1,
    max_size=60,
)


def test_names() -> None:
    """The names of the documentation are the names there are."""
    assert POLICIES.names()[: len(NAMES)] == NAMES


def test_an_unknown_name_is_told() -> None:
    """The message lists those that can be had."""
    with pytest.raises(NotFound, match="no batching policy 'quick'; here are: deadline, fixed"):
        make("quick")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("known", [False, True])
@settings(deadline=None)
@given(pieces=PIECES, now_s=st.floats(1.0, 2.5), busy=st.booleans(), max_rows=st.integers(1, 16))
def test_nothing_is_lost(  # noqa: PLR0917 - hypothesis draws them
    name: str, known: bool, pieces: list[Piece], now_s: float, busy: bool, max_rows: int
) -> None:
    """Each piece leaves once, in a batch that is small enough or alone, or is told to be hopeless."""
    cost = learnt(TRUTH) if known else None
    policy = make(name, cost, max_rows=max_rows)
    queue = queued(policy, *pieces)
    load = Load(2, (now_s + 0.01,)) if busy else Load(2)
    left: list[Piece] = queue.drop_dead(now_s)
    for _ in range(2000):
        queue.drop_dead(now_s)
        if not queue:
            break
        before = len(queue)
        choice = policy.choose(queue, load, now_s)
        left += [*choice.batch, *choice.hopeless]
        assert len(queue) == before - len(choice.batch) - len(choice.hopeless)
        if choice.batch:
            rows = sum(piece.rows for piece in choice.batch)
            assert choice.reason in REASONS
            assert rows <= max_rows or len(choice.batch) == 1
            length = max(piece.length for piece in choice.batch)
            policy.observed(BatchDone(rows, length or 1, 0.01, 0.01, 0.0))
        elif not choice.hopeless:
            assert choice.look_again_s is not None
            assert choice.look_again_s > now_s
            now_s = choice.look_again_s
            left += queue.drop_dead(now_s)
    assert not queue
    assert len(left) == len({id(piece) for piece in left})
    late = [piece for piece in pieces if piece.deadline_s is not None]
    assert {id(piece) for piece in pieces} - {id(piece) for piece in left} <= {id(p) for p in late}


@pytest.mark.parametrize("name", NAMES)
def test_age_makes_urgent(name: str) -> None:
    """In every policy a lower priority is a matter of time, not of principle."""
    policy = make(name, ageing_s=2.0)
    old_and_low = policy.urgency(Piece(priority=2, enqueued_s=0.0))
    assert old_and_low > policy.urgency(Piece(priority=1, enqueued_s=1.9))
    assert old_and_low < policy.urgency(Piece(priority=1, enqueued_s=2.1))
    assert old_and_low < policy.urgency(Piece(priority=0, enqueued_s=4.1))


@pytest.mark.parametrize("name", ["aimd", "deadline", "delayed", "quantile"])
def test_a_window_is_kept(name: str) -> None:
    """Companions come from so many that wait, also where a batch may have more; left out, a batch can be
    full whatever `max_rows` is.
    """
    cost = learnt(Truth(a=0.5, d=0.00001, b=0.000001))

    def pieces() -> list[Piece]:
        return [Piece(length=40) for _ in range(7)] + [Piece(length=41) for _ in range(200)]

    def batch(**table: Any) -> list[Piece]:
        policy = make(name, cost, max_rows=128, objective_s=9.0, **table)
        queue = queued(policy, *pieces())
        for _ in range(128):  # aimd grows
            policy.observed(BatchDone(128, 40, 0.01, 0.01, 0.0))
        return policy.choose(queue, IDLE, 100.0).batch

    assert len(batch(window=10)) == 10
    assert len(batch()) == 128
