from __future__ import annotations

import math
import time

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from augury.core.clock import ManualClock
from augury.observe.metrics import Metrics, VersionMetrics
from augury.services.ui.readings import Reading, read, sample_between


class Server:
    """Metrics and a clock; each sample covers what was done since the one before."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.clock = ManualClock(now_s=1_000.0)
        self.version = VersionMetrics(self.metrics, "m", 1)
        self.before = read(self.metrics, self.clock)

    def reading_after(self, seconds: float) -> tuple[Reading, Reading]:
        self.clock.advance(seconds)
        before, self.before = self.before, read(self.metrics, self.clock)
        return before, self.before


@pytest.fixture
def server() -> Server:
    return Server()


def test_requests_are_told_by_whose_fault_it_is(server: Server) -> None:
    """Per second: what was answered, what the caller got wrong, what we did."""
    for code, times in ((200, 20), (304, 5), (404, 5), (429, 5), (500, 1), (503, 1)):
        for _ in range(times):
            server.metrics.request_done("m", "1", "native", code, 0.01)
    told = sample_between(*server.reading_after(5.0)).requests_per_s
    assert (told.ok, told.refused, told.failed) == (5.0, 2.0, 0.4)


@pytest.mark.parametrize(
    "route", ["/", "/ui", "/api/ui/live", "/assets/app.js", "/metrics", "/livez", "/readyz"]
)
def test_looking_is_not_work(server: Server, route: str) -> None:
    """The dashboard's own requests, and an open stream's length, do not show on it."""
    server.metrics.request_done("", "", route, 200, 3600.0)
    told = sample_between(*server.reading_after(5.0))
    assert told.requests_per_s.ok == 0.0
    assert told.latency_s.p99 is None


def test_only_the_stretch_counts(server: Server) -> None:
    """What was slow before is not slow now."""
    server.metrics.request_done("m", "1", "native", 200, 9.0)
    server.reading_after(5.0)
    for _ in range(100):
        server.metrics.request_done("m", "1", "native", 200, 0.002)
    latency = sample_between(*server.reading_after(5.0)).latency_s
    assert latency.p99 is not None
    assert latency.p99 < 0.0025
    assert sample_between(*server.reading_after(5.0)).latency_s.p50 is None


def test_queue_and_batches(server: Server) -> None:
    """Rows that wait, how long they waited, and how large the batches were."""
    server.version.queue_changed(7)
    for rows in (2, 4, 6):
        server.version.batch_done(rows=rows, padding_ratio=0.0, queue_s=[0.02], runtime_s=0.01)
    told = sample_between(*server.reading_after(3.0))
    assert told.queue_rows == 7
    assert (told.batches.per_s, told.batches.mean_rows) == (1.0, 4.0)
    assert told.queue_s.p50 is not None
    assert 0.01 <= told.queue_s.p50 <= 0.025


def test_levels_of_the_cache_are_told_apart(server: Server) -> None:
    """Each level has its hits and misses."""
    lookups = server.metrics.cache_lookups
    lookups.labels("m", "process", "hit").inc(10)
    lookups.labels("m", "process", "miss").inc(5)
    lookups.labels("m", "store", "hit").inc(4)
    lookups.labels("m", "store", "unavailable").inc(1)
    told = sample_between(*server.reading_after(5.0)).cache_per_s
    assert (told["process"].hit, told["process"].miss) == (2.0, 1.0)
    assert (told["store"].hit, told["store"].unavailable) == (0.8, 0.2)


def test_metrics_that_are_not_there_are_not_missed() -> None:
    """A server without levels, store or batches is sampled, too."""
    metrics, clock = Metrics(), ManualClock(now_s=5.0)
    metrics.registry = CollectorRegistry()
    lookups = Counter("augury_cache_lookups", "-", ["model", "result"], registry=metrics.registry)
    before = read(metrics, clock)
    lookups.labels("m", "hit").inc(5)
    clock.advance(5.0)
    told = sample_between(before, read(metrics, clock))
    assert told.cache_per_s["process"].hit == 1.0
    assert (told.store.up, told.store.buffered) == (None, None)
    assert told.batches.mean_rows is None


def test_the_store_is_down_when_one_is() -> None:
    """Up only if every store that is watched is; what waits for them adds up."""
    metrics, clock = Metrics(), ManualClock(now_s=5.0)
    metrics.registry = CollectorRegistry()
    up = Gauge("augury_store_up", "-", ["store"], registry=metrics.registry)
    waiting = Gauge("augury_store_buffer_items", "-", ["store"], registry=metrics.registry)
    up.labels("a").set(1)
    up.labels("b").set(0)
    waiting.labels("a").set(3)
    waiting.labels("b").set(40)
    reading = read(metrics, clock)
    assert (reading.store_up, reading.buffered) == (False, 43)


def test_the_process_is_measured() -> None:
    """Processor time grows with work, and memory is what the system says."""
    server = Server()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        math.sqrt(2.0)
    told = sample_between(*server.reading_after(1.0))
    assert told.cpu_cores >= 0.05
    assert told.memory_bytes is None or told.memory_bytes > 10_000_000


def test_no_time_no_sample(server: Server) -> None:
    """Two readings of one moment tell nothing, and say so."""
    with pytest.raises(ValueError, match="no time"):
        sample_between(*server.reading_after(0.0))


def test_the_wall_clock_may_jump(server: Server) -> None:
    """Rates go by the clock that does not."""
    before, after = server.reading_after(5.0)
    jumped = Reading(at_s=after.at_s - 3600, monotonic_s=after.monotonic_s, requests={"ok": 10.0})
    assert sample_between(before, jumped).requests_per_s.ok == 2.0
