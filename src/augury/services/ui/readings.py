"""Read our own metrics, and tell what happened between two readings.

A reading holds plain sums over all models; it takes the metrics by name, so that one which this
server does not have simply stays empty.  ``sample_between`` is pure.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from prometheus_client.samples import Sample as MetricSample

from augury.core.clock import Clock
from augury.observe.metrics import Metrics
from augury.services.ui.quantiles import Histogram, rates
from augury.services.ui.schemas import (
    Batches,
    Level,
    Lookups,
    Quantiles,
    Requests,
    Sample,
    StoreState,
)

# Names as they are sampled: counters with _total, histograms by their parts.
_HISTOGRAMS: Final = ("augury_request_seconds", "augury_queue_seconds", "augury_batch_rows")
_NAMES: Final = (
    "augury_requests_total",
    "augury_queue_rows",
    "augury_cache_lookups_total",
    "augury_features_lookups_total",
    "augury_store_up",
    "augury_store_buffer_items",
    *(f"{name}_{part}" for name in _HISTOGRAMS for part in ("bucket", "sum")),
)

# What people and machines ask to look at the server is not its work.
_OWN_ROUTES: Final = frozenset(
    {"/", "/ui", "/docs", "/docs/assets", "/openapi.json", "/metrics", "/livez", "/readyz"}
)
_OWN_PREFIXES: Final = ("/api/ui/", "/assets/")

_STATM: Final = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Reading:
    """The server's counts at one moment.

    Args:
        at_s: Wall time, seconds since 1970.
        monotonic_s: The same moment on a clock that does not jump.
        requests: Answers by "ok", "refused" or "failed".
        latency_s: Of requests.
        queue_s: Of waiting for an instance.
        batch_rows: Of batches.
        queue_rows: Rows that wait.
        cache: Lookups by level, then by result.
        features: Lookups by result.
        store_up: Whether the store answers; ``None`` when nobody watches it.
        buffered: Writes that wait for the store; ``None`` likewise.
        cpu_s: Processor time of this process, all threads.
        memory_bytes: Resident; ``None`` where the system does not tell.
    """

    at_s: float
    monotonic_s: float
    requests: Mapping[str, float] = field(default_factory=dict)
    latency_s: Histogram = field(default_factory=Histogram)
    queue_s: Histogram = field(default_factory=Histogram)
    batch_rows: Histogram = field(default_factory=Histogram)
    queue_rows: float = 0.0
    cache: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    features: Mapping[str, float] = field(default_factory=dict)
    store_up: bool | None = None
    buffered: float | None = None
    cpu_s: float = 0.0
    memory_bytes: int | None = None


def read(metrics: Metrics, clock: Clock) -> Reading:
    """Take a reading of *metrics* and of this process."""
    found: dict[str, list[MetricSample]] = defaultdict(list)
    for family in metrics.registry.restricted_registry(_NAMES).collect():
        for sample in family.samples:
            found[sample.name].append(sample)
    requests: dict[str, float] = defaultdict(float)
    for sample in found["augury_requests_total"]:
        if not _is_own(sample):
            requests[_outcome(sample.labels["code"])] += sample.value
    cache: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for sample in found["augury_cache_lookups_total"]:
        cache[sample.labels.get("level", "process")][sample.labels["result"]] += sample.value
    features: dict[str, float] = defaultdict(float)
    for sample in found["augury_features_lookups_total"]:
        features[sample.labels["result"]] += sample.value
    up, buffered = found["augury_store_up"], found["augury_store_buffer_items"]
    return Reading(
        at_s=clock.time(),
        monotonic_s=clock.monotonic(),
        requests=requests,
        latency_s=_histogram(found, "augury_request_seconds"),
        queue_s=_histogram(found, "augury_queue_seconds"),
        batch_rows=_histogram(found, "augury_batch_rows"),
        queue_rows=sum(sample.value for sample in found["augury_queue_rows"]),
        cache=cache,
        features=features,
        store_up=all(sample.value for sample in up) if up else None,
        buffered=sum(sample.value for sample in buffered) if buffered else None,
        cpu_s=time.process_time(),
        memory_bytes=_resident_bytes(),
    )


def sample_between(before: Reading, after: Reading) -> Sample:
    """What happened between two readings.

    Raises:
        ValueError: *after* is not after *before*.
    """
    seconds = after.monotonic_s - before.monotonic_s
    if seconds <= 0:
        raise ValueError(f"no time between the readings: {seconds} s")
    batches = after.batch_rows.since(before.batch_rows)
    levels = {
        name: Level(**_rounded(rates(counts, before.cache.get(name, {}), seconds)))
        for name, counts in after.cache.items()
    }
    return Sample(
        at=datetime.fromtimestamp(round(after.at_s, 1), UTC),
        seconds=round(seconds, 3),
        requests_per_s=Requests(**_rounded(rates(after.requests, before.requests, seconds))),
        latency_s=_quantiles(after.latency_s.since(before.latency_s)),
        queue_s=_quantiles(after.queue_s.since(before.queue_s)),
        queue_rows=round(after.queue_rows),
        batches=Batches(
            per_s=_round(batches.total / seconds),
            mean_rows=_maybe(batches.mean),
            p99_rows=_maybe(batches.quantile(0.99)),
        ),
        cache_per_s=levels,
        features_per_s=Lookups(**_rounded(rates(after.features, before.features, seconds))),
        store=StoreState(
            up=after.store_up, buffered=None if after.buffered is None else round(after.buffered)
        ),
        cpu_cores=_round(max(0.0, after.cpu_s - before.cpu_s) / seconds),
        memory_bytes=after.memory_bytes,
    )


def _is_own(sample: MetricSample) -> bool:
    route = sample.labels.get("protocol", "")
    return route in _OWN_ROUTES or route.startswith(_OWN_PREFIXES)


def _outcome(code: str) -> str:
    if code >= "5":
        return "failed"
    return "refused" if code >= "4" else "ok"


def _histogram(found: Mapping[str, list[MetricSample]], name: str) -> Histogram:
    """The histogram *name*, summed over its labels."""
    counts: dict[float, float] = defaultdict(float)
    for sample in found[f"{name}_bucket"]:
        if not _is_own(sample):
            counts[float(sample.labels["le"])] += sample.value
    total = sum(sample.value for sample in found[f"{name}_sum"] if not _is_own(sample))
    bounds = tuple(sorted(counts))
    return Histogram(bounds, tuple(counts[bound] for bound in bounds), total)


def _quantiles(of: Histogram) -> Quantiles:
    return Quantiles(
        p50=_maybe(of.quantile(0.5)), p90=_maybe(of.quantile(0.9)), p99=_maybe(of.quantile(0.99))
    )


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: _round(number) for name, number in numbers.items()}


def _round(number: float) -> float:
    """Four significant digits: more than a chart shows, and short on the wire."""
    return float(f"{number:.4g}")


def _maybe(number: float | None) -> float | None:
    return None if number is None else _round(number)


def _resident_bytes() -> int | None:
    try:
        pages = _STATM.read_text("ascii").split()[1]
    except OSError:  # not Linux
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
