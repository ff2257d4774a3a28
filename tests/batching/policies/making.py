"""Policies, cost models that have learnt a truth without noise, and queues, in one line each."""

from __future__ import annotations

from typing import Any, TypeVar

from augury.batching.cost import CostModel
from augury.batching.policies.base import BatchPolicy, Load, PolicyContext
from augury.batching.policies.registry import make_policy
from augury.batching.queue import RowQueue
from augury.packages.manifest import BatchingTable
from tests.batching.simulator import Piece, Truth

P = TypeVar("P", bound=BatchPolicy)
IDLE = Load(1)
TWO_IDLE = Load(2)


def learnt(truth: Truth) -> CostModel:
    """Knows *truth* well: many batches of many shapes, none of them noisy."""
    cost = CostModel()
    for _ in range(12):
        for rows in (1, 2, 4, 8, 32):
            for length in (5, 10, 20, 40, 80, 160) if truth.b or truth.c else (0,):
                cost.observe(rows, length, truth.mean(rows, length))
    return cost


def make(name: str, cost: CostModel | None = None, **table: Any) -> BatchPolicy:
    """The policy *name*; the keys of *table* as in ``[batching]``."""
    settings = BatchingTable(policy=name, **table)
    return make_policy(PolicyContext(settings, settings.max_rows, cost or CostModel()))


def queued(policy: BatchPolicy, *pieces: Piece) -> RowQueue[Piece]:
    """A queue in which *pieces* wait, as urgent as *policy* says."""
    queue: RowQueue[Piece] = RowQueue(100_000)
    for piece in pieces:
        queue.push(piece, policy.urgency(piece))
    return queue
