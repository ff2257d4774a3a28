"""``GET /api/models/{name}/batches``: why the last batches were released, and what became of them."""

from __future__ import annotations

import math
from typing import Annotated, cast

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from augury.batching.journal import KEPT, Dispatch
from augury.core.clock import Clock
from augury.lifecycle.manager import Manager
from augury.pipeline.servable import ModelServable


class BatchModel(BaseModel):
    """One batch."""

    at: float = Field(description="When it was begun; seconds since 1970-01-01 UTC.")
    reason: str = Field(
        description="Why it was released then: idle, full, padding, gain, deadline, objective, timeout, "
        "inline, retry or drain; docs/batching.md tells what they mean."
    )
    rows: int
    pieces: int = Field(description="Pieces of work in it: requests, or single rows of them.")
    length: int = Field(description="Padded length; 1 where nothing is padded.")
    padding_ratio: float = Field(description="Part of it that is padding, 0 to 1.")
    predicted_s: float | None = Field(description="Mean that was expected, if anything was.")
    tail_s: float | None = Field(description="What 99 of 100 were expected to stay under.")
    runtime_s: float = Field(description="What it took.")
    queue_s: float = Field(description="How long the first of its pieces had waited.")
    outcome: str = Field(description="ok, failed (its parts follow, as retry) or cancelled.")


class BatchTotals(BaseModel):
    """Counts since the version was loaded."""

    batches: dict[str, int] = Field(description="By reason.")
    rows: dict[str, int] = Field(description="Rows in them, by reason.")
    outcomes: dict[str, int] = Field(description="Batches, by what became of them.")
    shed: dict[str, int] = Field(
        description="Pieces of work that got no answer for want of time, by reason: admission, "
        "queue_full, evicted, expired, hopeless, abandoned, cancelled."
    )


class BatchList(BaseModel):
    """The last batches of one version, the newest first."""

    model: str
    version: str
    waiting_rows: int = Field(description="Rows that wait now.")
    totals: BatchTotals
    batches: list[BatchModel]


Limit = Annotated[int, Query(ge=0, le=KEPT, description="Batches at most, the newest first.")]


def router(manager: Manager, clock: Clock) -> APIRouter:
    """The routes that tell of batches."""
    routes = APIRouter(prefix="/api/models", tags=["models"])

    @routes.get("/{name}/batches", summary="Last batches of a model")
    async def show_batches(name: str, limit: Limit = 100) -> BatchList:
        """Why each of the last batches of the default version was released, and what became of it."""
        return _told(manager, clock, name, None, limit)

    @routes.get("/{name}/versions/{version}/batches", summary="Last batches of a version")
    async def show_version_batches(name: str, version: int, limit: Limit = 100) -> BatchList:
        """The same of one version."""
        return _told(manager, clock, name, version, limit)

    return routes


def _told(manager: Manager, clock: Clock, name: str, version: int | None, limit: int) -> BatchList:
    """What is known of the batches of a version.

    Raises:
        NotFound: No such model or version.
        ModelNotReady: It is not ready.
    """
    with manager.acquire(name, version) as held:
        servable = cast("ModelServable", held)
        journal = servable.scheduler.journal
        # Monotonic times, as dates.
        began = clock.time() - clock.monotonic()
        totals = journal.totals()
        return BatchList(
            model=name,
            version=servable.version_label,
            waiting_rows=servable.scheduler.waiting_rows,
            totals=BatchTotals(
                batches=totals.dispatches,
                rows=totals.rows,
                outcomes=totals.outcomes,
                shed=totals.shed,
            ),
            batches=[_batch(dispatch, began) for dispatch in journal.last(limit)],
        )


def _batch(dispatch: Dispatch, began: float) -> BatchModel:
    return BatchModel(
        at=round(began + dispatch.at_s, 6),
        reason=dispatch.reason,
        rows=dispatch.rows,
        pieces=dispatch.pieces,
        length=dispatch.length,
        padding_ratio=round(dispatch.padding_ratio, 4),
        predicted_s=_number(dispatch.predicted_s),
        tail_s=_number(dispatch.tail_s),
        runtime_s=round(dispatch.runtime_s, 7),
        queue_s=round(dispatch.queue_s, 7),
        outcome=dispatch.outcome,
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 7)
