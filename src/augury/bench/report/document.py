"""Results as one JSON document; ``schema`` says how to read it, and members are only ever added."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np

import augury
from augury.bench.measure.histogram import Histogram, bucket_of, highest_of
from augury.bench.measure.processes import ServerUse
from augury.bench.measure.tally import POINT_BITS
from augury.bench.results import Level, Sweep, number
from augury.bench.run import Load, Workload

SCHEMA: Final = 1
PERCENTS: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
_PACKAGES: Final = (
    "numpy",
    "msgspec",
    "onnxruntime",
    "tokenizers",
    "uvicorn",
    "uvloop",
    "httptools",
)


def document(
    result: Level | Sweep, settings: Mapping[str, Any], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """All of *result*, with the machine, all *settings* (see :func:`settings_of`) and *warnings*."""
    levels = result.levels if isinstance(result, Sweep) else (result,)
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "sweep" if isinstance(result, Sweep) else result.loop,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(),
        "settings": dict(settings),
        "interrupted": result.interrupted,
        "generator_limit": result.generator_limit or None,
        "warnings": list(warnings),
    }
    if isinstance(result, Sweep):
        found["sweep"] = {
            "slo_s": result.slo_s,
            "sustainable_rps": result.sustainable_rps,
            "peak_goodput_rps": result.peak.goodput_rps if result.peak else None,
            "goodput_kept": number(result.goodput_kept),
            "failure": result.failure or None,
        }
    found["levels"] = [level_document(level) for level in levels]
    return found


def level_document(level: Level) -> dict[str, Any]:
    """One level; rates per second, times as their names say, what is not known as null."""
    return {
        "loop": level.loop,
        "rate_rps": level.rate_rps,
        "connections": level.connections,
        "duration_s": level.duration_s,
        "slo_s": level.slo_s,
        "requests": level.requests,
        "ok": level.ok,
        "good": level.good,
        "refused": level.refused,
        "failed": level.failed,
        "wrong": level.wrong,
        "offered_rps": number(level.offered_rps),
        "throughput_rps": number(level.throughput_rps),
        "goodput_rps": number(level.goodput_rps),
        "good_share": number(level.good_share),
        "holds": level.holds,
        "latency_ms": percentiles(level.latency),
        "latency_from_send_ms": percentiles(level.latency_from_send),
        "refusal_ms": percentiles(level.refusals),
        "kinds": [
            {"outcome": one.outcome, "label": one.label, "count": one.count} for one in level.kinds
        ],
        "server": _server(level.server, level),
        "generator": {
            "lag_ms": percentiles(level.lag),
            "cpu_share": number(level.generator_cpu),
            "busy_share": number(level.generator_busy),
            "behind_ms": number(level.generator_behind_s * 1e3),
            "waited_for_connection": level.waited,
            "limit": level.generator_limit or None,
        },
        "latency_buckets_us": coarse(level.latency),
        "series": [
            {
                "from_s": round(one.from_s, 3),
                "offered": one.offered,
                "ok": one.ok,
                "good": one.good,
                "refused": one.refused,
                "failed": one.failed,
                "p50_ms": number(one.p50_ms),
                "p99_ms": number(one.p99_ms),
            }
            for one in level.points
        ],
        "interrupted": level.interrupted,
    }


def settings_of(workload: Workload, load: Load, **more: Any) -> dict[str, Any]:
    """What decided a run; of headers only the names, since values may be secrets."""
    target = workload.target
    return {
        "url": target.url,
        "path": target.shown_path,
        "dialect": target.dialect.name,
        "model": target.model.name or None,
        "model_facts": dict(target.model.facts),
        "distinct_requests": len(workload.requests),
        "request_bytes": round(sum(map(len, workload.requests)) / len(workload.requests)),
        "rows_from": workload.rows_from,
        "no_store": workload.fresh,
        "rows_per_request": workload.rows,
        "check": "expected" if workload.expects else workload.check,
        "order": workload.order,
        "deadline": workload.deadline,
        "headers": [name for name, _ in target.headers],
        "duration_s": load.duration_s,
        "warm_up_s": load.warm_up_s,
        "slo_s": load.slo_s,
        "timeout_s": load.timeout_s,
        "seed": load.seed,
        "max_connections": load.max_connections,
        "least_requests": load.least_requests,
        "processes": load.processes,
        "cpus": list(load.cpus),
        **more,
    }


def percentiles(histogram: Histogram) -> dict[str, float] | None:
    """Milliseconds; ``None`` when nothing was counted."""
    if not histogram.count:
        return None
    found = {f"p{percent:g}": histogram.percentile_us(percent) / 1e3 for percent in PERCENTS}
    return {
        "count": histogram.count,
        "mean": round(histogram.mean_us / 1e3, 3),
        "min": histogram.min_us / 1e3,
        **found,
        "max": histogram.max_us / 1e3,
    }


def coarse(histogram: Histogram) -> list[tuple[int, int]]:
    """Highest microseconds and count of buckets 3 % wide, those that hold something."""
    counts: dict[int, int] = {}
    for value_us, count in histogram.buckets():
        bucket = int(bucket_of(np.array([value_us]), POINT_BITS)[0])
        counts[bucket] = counts.get(bucket, 0) + count
    return [(highest_of(bucket, POINT_BITS), count) for bucket, count in counts.items()]


def machine() -> dict[str, Any]:
    """The machine that all this ran on, the server too when it is on loopback."""
    model = platform.processor()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of Augury, Python and the packages that matter to speed."""
    found = {"augury": augury.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _server(use: ServerUse | None, level: Level) -> dict[str, Any] | None:
    if use is None:
        return None
    return {
        "pids": list(use.pids),
        "cpu_s": round(use.cpu_s, 3),
        "window_s": round(use.window_s, 3),
        "cores": number(use.cores),
        "cpu_s_per_1000": number(level.cpu_s_per_1000),
        "rss_before_bytes": use.rss_before_bytes,
        "rss_peak_bytes": use.rss_peak_bytes,
        "rss_after_bytes": use.rss_after_bytes,
        "pss_after_bytes": use.pss_after_bytes,
    }
