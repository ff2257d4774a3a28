"""The numbers that Prometheus scrapes; all of them are named here and nowhere else.

Base units, histograms for times.  Each :class:`Metrics` has a registry of its own, so that tests and
several servers in one process do not share counts.  Label children are looked up once per model
version and kept, because a lookup costs more than the count itself.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

# Seconds: a cache hit takes 50 µs, a large model on a CPU seconds.
TIME_BUCKETS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ROW_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RATIO_BUCKETS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

MODEL_STATES: Final = ("new", "loading", "ready", "draining", "failed", "ended")


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "augury_requests",
            "Requests answered, by status code.",
            ["model", "version", "protocol", "code"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "augury_request_seconds",
            "Time from the request's headers to its answer's last byte handed over.",
            ["model", "protocol"],
            buckets=TIME_BUCKETS_S,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "augury_queue_seconds",
            "Time that work waited for an idle instance.",
            ["model", "version"],
            buckets=TIME_BUCKETS_S,
            registry=registry,
        )
        self.queue_rows = Gauge(
            "augury_queue_rows",
            "Rows that wait for an idle instance.",
            ["model", "version"],
            registry=registry,
        )
        self.runtime_seconds = Histogram(
            "augury_runtime_seconds",
            "Time of one batch in the runtime, postprocessing included.",
            ["model", "version"],
            buckets=TIME_BUCKETS_S,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "augury_batch_rows",
            "Rows in a batch.",
            ["model", "version"],
            buckets=ROW_BUCKETS,
            registry=registry,
        )
        self.batch_padding_ratio = Histogram(
            "augury_batch_padding_ratio",
            "Part of a padded batch that is padding.",
            ["model", "version"],
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.cache_lookups = Counter(
            "augury_cache_lookups",
            "Rows looked up in the prediction cache: hit, shared (already in flight) or miss.",
            ["model", "result"],
            registry=registry,
        )
        self.cache_bytes = Gauge(
            "augury_cache_bytes", "Bytes held by the prediction cache.", registry=registry
        )
        self.features_lookups = Counter(
            "augury_features_lookups",
            "Predictions looked up in the feature store: hit, miss or unavailable.",
            ["result"],
            registry=registry,
        )
        self.model_state = Gauge(
            "augury_model_state",
            "1 for the state that a model's version is in.",
            ["model", "version", "state"],
            registry=registry,
        )
        self._bound: dict[tuple[str, str, str, int], tuple[Counter, Histogram]] = {}
        ProcessCollector(namespace="augury", registry=registry)
        PlatformCollector(registry=registry)

    def request_done(
        self, model: str, version: str, protocol: str, code: int, seconds: float
    ) -> None:
        """A request has been answered; *model* is empty when the caller named none that exists."""
        key = (model, version, protocol, code)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = (
                self.requests.labels(model, version, protocol, str(code)),
                self.request_seconds.labels(model, protocol),
            )
        bound[0].inc()
        bound[1].observe(seconds)

    def feature_looked_up(self, result: str) -> None:
        """The feature store was asked: "hit", "miss" or "unavailable"."""
        self.features_lookups.labels(result).inc()

    def set_model_state(self, model: str, version: int, state: str | None) -> None:
        """Record the state of a version; ``None`` forgets the version."""
        for known in MODEL_STATES:
            labels = (model, str(version), known)
            if state is None:
                self.model_state.remove(*labels)
            else:
                self.model_state.labels(*labels).set(1.0 if known == state else 0.0)

    def exposition(self) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class VersionMetrics:
    """The metrics of one version, with their labels already bound.

    Its methods are called from instance threads; prometheus-client's counts are thread-safe.
    """

    def __init__(self, metrics: Metrics, model: str, version: int) -> None:
        labels = (model, str(version))
        self._queue_seconds = metrics.queue_seconds.labels(*labels)
        self._queue_rows = metrics.queue_rows.labels(*labels)
        self._runtime_seconds = metrics.runtime_seconds.labels(*labels)
        self._batch_rows = metrics.batch_rows.labels(*labels)
        self._batch_padding_ratio = metrics.batch_padding_ratio.labels(*labels)
        self._cache_hits = metrics.cache_lookups.labels(model, "hit")
        self._cache_shared = metrics.cache_lookups.labels(model, "shared")
        self._cache_misses = metrics.cache_lookups.labels(model, "miss")

    def batch_done(
        self, *, rows: int, padding_ratio: float, queue_s: list[float], runtime_s: float
    ) -> None:
        """One batch has been computed; *queue_s* has an entry for each piece of work in it."""
        self._batch_rows.observe(rows)
        self._batch_padding_ratio.observe(padding_ratio)
        self._runtime_seconds.observe(runtime_s)
        for waited_s in queue_s:
            self._queue_seconds.observe(waited_s)

    def queue_changed(self, rows: int) -> None:
        """*rows* wait now."""
        self._queue_rows.set(rows)

    def cache_looked_up(self, *, hits: int, shared: int, misses: int) -> None:
        """Rows of one request have been looked up."""
        if hits:
            self._cache_hits.inc(hits)
        if shared:
            self._cache_shared.inc(shared)
        if misses:
            self._cache_misses.inc(misses)
