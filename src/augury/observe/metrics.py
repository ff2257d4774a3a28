"""The numbers that Prometheus scrapes; all of them are named here and nowhere else.

Base units, histograms for times.  Each :class:`Metrics` has a registry of its own, so that tests and
several servers in one process do not share counts.  Label children are looked up once per model
version and kept, because a lookup costs more than the count itself.
"""

from __future__ import annotations

import math
import threading
from collections import Counter as Counts
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar
from weakref import WeakSet, ref

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from augury.observe.tally import Count, LoopCounter, LoopHistogram, Spread

# Seconds: a cache hit takes 50 µs, a large model on a CPU seconds.
TIME_BUCKETS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ROW_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
RATIO_BUCKETS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

_CACHE_RESULTS: Final = {
    "process": ("hit", "shared", "miss"),
    "store": ("hit", "miss", "unavailable"),
}
_CACHE_REASONS: Final = ("entries", "bytes", "expired")

# So many batches are put aside at most before they are added up.
MAX_UNADDED: Final = 1024

T = TypeVar("T")

MODEL_STATES: Final = ("new", "loading", "ready", "draining", "failed", "ended")


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.versions = _Versions()
        # Batches are put aside as they come, and added up when somebody reads.
        of_batches = partial(
            LoopHistogram,
            labelnames=["model", "version"],
            before=self.versions.add_up,
            registry=registry,
        )
        self.requests = LoopCounter(
            "augury_requests",
            "Requests answered, by status code.",
            ["model", "version", "protocol", "code"],
            registry=registry,
        )
        self.request_seconds = LoopHistogram(
            "augury_request_seconds",
            "Time from the request's headers to its answer's last byte, of an event stream its first.",
            ["model", "protocol"],
            buckets=TIME_BUCKETS_S,
            registry=registry,
        )
        self.queue_seconds = of_batches(
            "augury_queue_seconds",
            "Time that work waited for an idle instance.",
            buckets=TIME_BUCKETS_S,
        )
        self.queue_rows = Gauge(
            "augury_queue_rows",
            "Rows that wait for an idle instance.",
            ["model", "version"],
            registry=registry,
        )
        self.runtime_seconds = of_batches(
            "augury_runtime_seconds",
            "Time of one batch in the runtime, postprocessing included; batches computed on the event "
            "loop are among them.",
            buckets=TIME_BUCKETS_S,
        )
        self.batch_rows = of_batches(
            "augury_batch_rows",
            "Rows in a batch.",
            buckets=ROW_BUCKETS,
        )
        self.batch_predicted_seconds = of_batches(
            "augury_batch_predicted_seconds",
            "What the cost model had expected of a batch, if it knew anything; to be compared with "
            "augury_batch_observed_seconds.",
            buckets=TIME_BUCKETS_S,
        )
        self.batch_observed_seconds = of_batches(
            "augury_batch_observed_seconds",
            "What the batches took of which the cost model had expected something; those computed on "
            "the event loop are not asked about.",
            buckets=TIME_BUCKETS_S,
        )
        self.batch_dispatch = LoopCounter(
            "augury_batch_dispatch",
            "Batches that were begun, by why they were released; docs/batching.md tells the reasons.",
            ["model", "version", "reason"],
            before=self.versions.add_up,
            registry=registry,
        )
        self.shed = LoopCounter(
            "augury_shed",
            "Pieces of work that got no answer because there was no time for one, by reason: admission, "
            "queue_full and evicted (429), expired and hopeless (504), abandoned (nobody waited any "
            "more) and cancelled (the same, or too late, while it was computed).",
            ["model", "version", "reason"],
            before=self.versions.add_up,
            registry=registry,
        )
        self.batch_padding_ratio = of_batches(
            "augury_batch_padding_ratio",
            "Part of a padded batch that is padding.",
            buckets=RATIO_BUCKETS,
        )
        self.cache_lookups = LoopCounter(
            "augury_cache_lookups",
            "Rows looked up in a level of the prediction cache (process, store): hit, shared (already "
            "in flight), miss or unavailable (no answer from the store).",
            ["model", "level", "result"],
            registry=registry,
        )
        self.cache_evictions = LoopCounter(
            "augury_cache_evictions",
            "Rows that left the process's prediction cache: entries, bytes (a bound was reached) or "
            "expired.",
            ["model", "reason"],
            registry=registry,
        )
        self.cache_entries = Gauge(
            "augury_cache_entries",
            "Rows in the process's prediction cache.",
            ["model", "version"],
            registry=registry,
        )
        self.cache_bytes = Gauge(
            "augury_cache_bytes",
            "Bytes held by the process's prediction cache.",
            ["model", "version"],
            registry=registry,
        )
        self.features_lookups = Counter(
            "augury_features_lookups",
            "Lookups in the feature store, of predictions and of feature tables: hit, miss or "
            "unavailable.",
            ["result"],
            registry=registry,
        )
        self.features_table_lookups = Counter(
            "augury_features_table_lookups",
            "Rows of feature tables that models join: hit, miss (none, or expired) or unavailable.",
            ["table", "result"],
            registry=registry,
        )
        self.store_up = Gauge(
            "augury_store_up", "1 while the store can be reached, otherwise 0.", registry=registry
        )
        self.store_buffer_items = Gauge(
            "augury_store_buffer_items",
            "Predictions that wait to be written to the store.",
            registry=registry,
        )
        self.store_dropped = Counter(
            "augury_store_dropped",
            "Predictions given up: more waited than there is room for, or the store refused them.",
            registry=registry,
        )
        self._dropped_so_far = 0
        self.model_state = Gauge(
            "augury_model_state",
            "1 for the state that a model's version is in.",
            ["model", "version", "state"],
            registry=registry,
        )
        self._bound: dict[tuple[str, str, str, int], tuple[Count, Spread]] = {}
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

    def watch_store(self, up: Callable[[], bool]) -> None:
        """Ask *up*, which must not wait, whenever somebody wants to know."""
        self.store_up.set_function(lambda: float(up()))

    def store_buffer_changed(self, items: int, dropped: int) -> None:
        """*items* wait for the store; *dropped* were given up in all."""
        self.store_buffer_items.set(items)
        if dropped > self._dropped_so_far:
            self.store_dropped.inc(dropped - self._dropped_so_far)
            self._dropped_so_far = dropped

    def features_joined(self, table: str, result: str, rows: int) -> None:
        """*rows* of a feature table were asked for: "hit", "miss" or "unavailable"."""
        if rows:
            self.features_lookups.labels(result).inc(rows)
            self.features_table_lookups.labels(table, result).inc(rows)

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


class _Versions:
    """Has the versions' counts added up before anybody reads them."""

    def __init__(self) -> None:
        # Weakly: a version whose loading failed is never closed.
        self._versions: WeakSet[VersionMetrics] = WeakSet()
        self._changing = threading.Lock()

    def add(self, version: VersionMetrics) -> None:
        """From now on *version* is asked."""
        with self._changing:
            self._versions.add(version)

    def remove(self, version: VersionMetrics) -> None:
        """From now on it is not."""
        with self._changing:
            self._versions.discard(version)

    def add_up(self) -> None:
        """Before numbers of batches are read."""
        with self._changing:
            versions = list(self._versions)
        for version in versions:
            version.add_up()


class _BatchCount(NamedTuple):
    """What is kept of a batch until it is added up."""

    rows: int
    padding_ratio: float
    queue_s: Sequence[float]
    runtime_s: float
    predicted_s: float
    reason: str


class VersionMetrics:
    """The metrics of one version, with their labels already bound.

    What is told of batches and the queue comes from instance threads and, of batches computed inline,
    from the event loop; it is only put aside (0.5 µs), and added up at a scrape or when much has come.
    What is told of the cache comes from the event loop alone.
    """

    def __init__(self, metrics: Metrics, model: str, version: int) -> None:
        labels = (model, str(version))
        self._queue_seconds = metrics.queue_seconds.labels(*labels)
        mine = ref(self)
        metrics.queue_rows.labels(*labels).set_function(
            lambda: 0 if (me := mine()) is None else me.waiting_rows
        )
        self._runtime_seconds = metrics.runtime_seconds.labels(*labels)
        self._predicted_seconds = metrics.batch_predicted_seconds.labels(*labels)
        self._observed_seconds = metrics.batch_observed_seconds.labels(*labels)
        self._batch_rows = metrics.batch_rows.labels(*labels)
        self._batch_padding_ratio = metrics.batch_padding_ratio.labels(*labels)
        self._dispatches = partial(metrics.batch_dispatch.labels, *labels)
        self._sheds = partial(metrics.shed.labels, *labels)
        self.waiting_rows = 0
        self._batches: deque[_BatchCount] = deque()
        self._inlined: deque[tuple[int, float]] = deque()
        self._failures: deque[str] = deque()
        self._shed: deque[tuple[str, int]] = deque()
        self._adding = threading.Lock()
        self._lookups = {
            (level, result): metrics.cache_lookups.labels(model, level, result)
            for level, results in _CACHE_RESULTS.items()
            for result in results
        }
        self._cache_hits = self._lookups["process", "hit"]
        self._evictions = {
            reason: metrics.cache_evictions.labels(model, reason) for reason in _CACHE_REASONS
        }
        self._cache_entries = metrics.cache_entries.labels(*labels)
        self._cache_bytes = metrics.cache_bytes.labels(*labels)
        self._versions = metrics.versions
        self._versions.add(self)

    def batch_done(
        self,
        *,
        rows: int,
        padding_ratio: float,
        queue_s: Sequence[float],
        runtime_s: float,
        predicted_s: float = math.nan,
        reason: str = "idle",
    ) -> None:
        """One batch has been computed; *queue_s* has an entry for each piece of work in it."""
        self._batches.append(
            _BatchCount(rows, padding_ratio, queue_s, runtime_s, predicted_s, reason)
        )
        if len(self._batches) >= MAX_UNADDED:
            self.add_up()

    def inline_done(self, rows: int, runtime_s: float) -> None:
        """One batch of one piece of work has been computed where it stood."""
        self._inlined.append((rows, runtime_s))
        if len(self._inlined) >= MAX_UNADDED:
            self.add_up()

    def batch_failed(self, reason: str) -> None:
        """A batch was begun for *reason*, and failed or was cancelled."""
        self._failures.append(reason)
        if len(self._failures) >= MAX_UNADDED:
            self.add_up()

    def shed(self, reason: str, pieces: int = 1) -> None:
        """*pieces* of work get no answer."""
        self._shed.append((reason, pieces))
        if len(self._shed) >= MAX_UNADDED:
            self.add_up()

    def queue_changed(self, rows: int) -> None:
        """*rows* wait now."""
        self.waiting_rows = rows

    def add_up(self) -> None:
        """Put what was put aside into the numbers that are read; from any thread."""
        with self._adding:
            batches = _drained(self._batches)
            if batches:
                self._batch_rows.observe_all([batch.rows for batch in batches])
                self._batch_padding_ratio.observe_all([batch.padding_ratio for batch in batches])
                self._runtime_seconds.observe_all([batch.runtime_s for batch in batches])
                foreseen = [batch for batch in batches if not math.isnan(batch.predicted_s)]
                self._predicted_seconds.observe_all([batch.predicted_s for batch in foreseen])
                self._observed_seconds.observe_all([batch.runtime_s for batch in foreseen])
                self._queue_seconds.observe_all(
                    [waited_s for batch in batches for waited_s in batch.queue_s]
                )
            reasons = [batch.reason for batch in batches] + _drained(self._failures)
            for reason, count in Counts(reasons).items():
                self._dispatches(reason).inc(count)
            inlined = _drained(self._inlined)
            if inlined:
                nothing = [0.0] * len(inlined)
                self._batch_rows.observe_all([rows for rows, _ in inlined])
                self._runtime_seconds.observe_all([runtime_s for _, runtime_s in inlined])
                self._batch_padding_ratio.observe_all(nothing)
                self._queue_seconds.observe_all(nothing)
                self._dispatches("inline").inc(len(inlined))
            for reason, pieces in _drained(self._shed):
                self._sheds(reason).inc(pieces)

    def close(self) -> None:
        """The version is unloaded; what it has counted stays."""
        self.waiting_rows = 0
        self.add_up()
        self._versions.remove(self)

    def cache_looked_up(self, *, hits: int, shared: int, misses: int) -> None:
        """Rows of one request have been looked up in the process."""
        self._cache_hits.value += hits
        if shared:
            self._lookups["process", "shared"].inc(shared)
        if misses:
            self._lookups["process", "miss"].inc(misses)

    def store_looked_up(self, *, hits: int, misses: int, unavailable: int) -> None:
        """Rows of one request have been looked up in the store."""
        if hits:
            self._lookups["store", "hit"].inc(hits)
        if misses:
            self._lookups["store", "miss"].inc(misses)
        if unavailable:
            self._lookups["store", "unavailable"].inc(unavailable)

    def cache_held(self, entries: int, nbytes: int) -> None:
        """The version's rows in the process's prediction cache are so many."""
        self._cache_entries.set(entries)
        self._cache_bytes.set(nbytes)

    def cache_evicted(self, reason: str) -> None:
        """A row has left the process's prediction cache."""
        self._evictions[reason].inc()


def _drained(items: deque[T]) -> list[T]:
    """What is in *items* now, taken out; others may go on appending."""
    return [items.popleft() for _ in range(len(items))]
