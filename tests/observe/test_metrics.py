"""Tests of ``augury.observe.metrics``: what versions put aside is added up when it is read."""

from __future__ import annotations

import gc
import threading

import pytest

from augury.observe.metrics import MAX_UNADDED, Metrics, VersionMetrics

LABELS = {"model": "m", "version": "1"}


def count_batches(version: VersionMetrics, times: int) -> None:
    for _ in range(times):
        version.batch_done(
            rows=3, padding_ratio=0.25, queue_s=(0.01, 0.02), runtime_s=0.004, predicted_s=0.003,
            reason="full",
        )  # fmt: skip


def test_all_that_was_put_aside_is_told() -> None:
    """However much, and from whichever threads."""
    metrics = Metrics()
    version = VersionMetrics(metrics, "m", 1)
    threads = [threading.Thread(target=count_batches, args=(version, 1500)) for _ in range(4)]
    for thread in threads:
        thread.start()
    value = metrics.registry.get_sample_value
    while any(thread.is_alive() for thread in threads):
        value("augury_batch_rows_count", LABELS)
    assert value("augury_batch_rows_count", LABELS) == 6000
    assert value("augury_batch_rows_sum", LABELS) == 18_000
    assert value("augury_queue_seconds_count", LABELS) == 12_000
    assert value("augury_batch_padding_ratio_bucket", {**LABELS, "le": "0.2"}) == 0
    assert value("augury_batch_padding_ratio_bucket", {**LABELS, "le": "0.3"}) == 6000
    assert value("augury_runtime_seconds_bucket", {**LABELS, "le": "0.005"}) == 6000
    assert value("augury_batch_predicted_seconds_count", LABELS) == 6000
    assert value("augury_batch_dispatch_total", {**LABELS, "reason": "full"}) == 6000
    assert len(version._batches) == 0


def test_what_is_put_aside_is_bounded() -> None:
    """Though nobody scrapes."""
    version = VersionMetrics(Metrics(), "m", 1)
    count_batches(version, MAX_UNADDED + 5)
    for _ in range(MAX_UNADDED + 5):
        version.inline_done(1, 1e-5)
        version.shed("expired")
        version.batch_failed("retry")
    put_aside = (version._batches, version._inlined, version._shed, version._failures)
    assert all(len(one) < MAX_UNADDED for one in put_aside)


def test_an_unknown_prediction_is_no_number() -> None:
    """It is left out, where zero would be a lie."""
    metrics = Metrics()
    version = VersionMetrics(metrics, "m", 1)
    version.batch_done(rows=1, padding_ratio=0.0, queue_s=(0.0,), runtime_s=0.1)
    value = metrics.registry.get_sample_value
    version.inline_done(1, 0.1)
    assert value("augury_batch_predicted_seconds_count", LABELS) == 0
    assert value("augury_batch_observed_seconds_count", LABELS) == 0
    assert value("augury_runtime_seconds_count", LABELS) == 2


def test_predicted_and_observed_are_of_the_same_batches() -> None:
    """Else the two could not be compared."""
    metrics = Metrics()
    version = VersionMetrics(metrics, "m", 1)
    version.batch_done(rows=1, padding_ratio=0.0, queue_s=(0.0,), runtime_s=9.0)
    version.inline_done(1, 9.0)
    count_batches(version, 2)
    value = metrics.registry.get_sample_value
    for name, seconds in {"predicted": 0.006, "observed": 0.008}.items():
        assert value(f"augury_batch_{name}_seconds_count", LABELS) == 2
        assert value(f"augury_batch_{name}_seconds_sum", LABELS) == pytest.approx(seconds)


def test_what_waits_is_told_as_it_is_now() -> None:
    """None of a version that has been unloaded, or that could not be loaded."""
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    version = VersionMetrics(metrics, "m", 1)
    version.queue_changed(7)
    assert value("augury_queue_rows", LABELS) == 7
    version.shed("expired", 2)
    version.close()
    assert value("augury_queue_rows", LABELS) == 0
    assert value("augury_shed_total", {**LABELS, "reason": "expired"}) == 2
    failed = VersionMetrics(metrics, "m", 2)
    failed.queue_changed(3)
    del failed
    gc.collect()
    assert value("augury_queue_rows", {"model": "m", "version": "2"}) == 0


def test_some_numbers_alone_are_right_too() -> None:
    """As the dashboard asks for them."""
    metrics = Metrics()
    version = VersionMetrics(metrics, "m", 1)
    count_batches(version, 2)
    version.queue_changed(4)
    names = ["augury_queue_rows", "augury_batch_rows_sum"]
    told = {
        sample.name: sample.value
        for family in metrics.registry.restricted_registry(names).collect()
        for sample in family.samples
    }
    assert told == {"augury_queue_rows": 4, "augury_batch_rows_sum": 6}
