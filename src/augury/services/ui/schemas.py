"""What the dashboard is told: a sample of the server every few seconds, and its models."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Range = Literal["15m", "24h"]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


class Quantiles(_Told):
    """Of the observations of one stretch; nulls when there were none."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Requests(_Told):
    """Requests answered per second, by status; those for this dashboard and for health are left out."""

    ok: float = Field(0.0, description="1xx to 3xx")
    refused: float = Field(0.0, description="4xx: the caller's fault")
    failed: float = Field(0.0, description="5xx: ours, or of something that we had to ask")


class Batches(_Told):
    """Batches computed."""

    per_s: float = 0.0
    mean_rows: float | None = None
    p99_rows: float | None = None


class Level(_Told):
    """Rows looked up per second at one level of the prediction cache."""

    hit: float = 0.0
    shared: float = Field(0.0, description="Already being computed for somebody else")
    miss: float = 0.0
    unavailable: float = Field(0.0, description="The level could not be asked")


class Lookups(_Told):
    """Predictions looked up per second in the feature store."""

    hit: float = 0.0
    miss: float = 0.0
    unavailable: float = 0.0


class StoreState(_Told):
    """How the store is; nulls where the server does not watch one."""

    up: bool | None = None
    buffered: int | None = Field(None, description="Writes that wait for the store")


class Sample(_Told):
    """The server over one stretch of time."""

    at: datetime = Field(description="End of the stretch, UTC")
    seconds: float = Field(description="Its length")
    requests_per_s: Requests
    latency_s: Quantiles = Field(description="Of requests, in seconds")
    queue_s: Quantiles = Field(description="Time that work waited for an instance, in seconds")
    queue_rows: int = Field(description="Rows that wait, at the end of the stretch")
    batches: Batches
    cache_per_s: dict[str, Level] = Field(description="Level (process, store) to its lookups")
    features_per_s: Lookups
    store: StoreState
    cpu_cores: float = Field(description="Processor time used per second")
    memory_bytes: int | None = Field(description="Resident memory; null where it cannot be read")


class ModelState(_Told):
    """One version of a model."""

    model: str
    version: str
    state: str
    reason: str = Field(description="Why it failed; else empty")
    runtime: str | None
    labels: list[str]
    answers: bool = Field(description="Whether it answers when no version is named")


class ServerHistory(_Told):
    """All that the dashboard needs to begin; the live stream goes on from there."""

    version: str = Field(description="Of Augury")
    tweets: bool = Field(description="Whether the tweet application is served")
    range: Range
    interval_s: float = Field(description="Length of a sample")
    keep: int = Field(description="Samples that are kept at most")
    models: list[ModelState]
    samples: list[Sample] = Field(description="In the order of time")
