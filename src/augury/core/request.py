"""The one request and the one response that every dialect is translated to and from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from augury.core.errors import AuguryError
from augury.core.tensor import Array


class Priority(IntEnum):
    """How urgent a request is; the lowest number goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


@dataclass(slots=True)
class InferRequest:
    """A question to one model.

    Args:
        model: Name of the model.
        inputs: Arrays whose leading axis is the batch; all have the same number of rows.
        version: The version asked for; ``None`` for the one that policy and labels choose.
        label: A version label ("stable"); at most one of *version* and *label* is given.
        parameters: Passed to the transforms that ask for them; part of the cache's key.
        outputs: Names of the outputs wanted; empty for all.
        id: The caller's own name for the request; only echoed.
        deadline_s: Monotonic time after which the answer is of no use; ``None`` for never.
        use_cache: Whether the answer may come out of the cache, and be kept there.
        refresh: With *use_cache*, whether it is computed anew all the same, and then kept.
        priority: Who goes first where rows wait; bulk work is LOW.
    """

    model: str
    inputs: dict[str, Array]
    version: int | None = None
    label: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    id: str = ""
    deadline_s: float | None = None
    use_cache: bool = True
    refresh: bool = False
    priority: Priority = Priority.NORMAL


@dataclass(slots=True)
class Timing:
    """Where the time of a request went; seconds."""

    preprocess_s: float = 0.0
    queue_s: float = 0.0
    runtime_s: float = 0.0
    total_s: float = 0.0


@dataclass(slots=True)
class InferResponse:
    """An answer, row by row.

    Args:
        model: Name of the model.
        version: The version that answered.
        outputs: Arrays of ``rows`` rows; the content of a row named in *errors* means nothing.
        rows: Number of rows, as many as were asked.
        errors: Row index to why this row has no answer.
        cached: Row indices whose answer was remembered.
        timing: Where the time went.
    """

    model: str
    version: int
    outputs: dict[str, Array]
    rows: int
    errors: dict[int, AuguryError] = field(default_factory=dict)
    cached: frozenset[int] = frozenset()
    timing: Timing = field(default_factory=Timing)
