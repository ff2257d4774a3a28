"""Who is measured again, and how searches are counted."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from benchmarks.peers.outcome import Entry, Outcome, Plan, contenders, middle
from benchmarks.peers.servers import load


def entry(name: str, rate: float, goodput: float = 0.0) -> Entry:
    outcome = Outcome(name, "tweets", rows_per_s=[rate], goodput={"poisson": [goodput]})
    running: Any = SimpleNamespace(peer=load(name))
    return Entry(running, outcome)


def test_those_that_decide_the_ratios_are_measured_again() -> None:
    """Augury, the two best frameworks and the best other service, by goodput; by rate while there is none."""
    entries = [
        entry("seed", 100, 10), entry("seed_int8", 900), entry("ray", 300, 5), entry("triton", 200, 150),
        entry("augury", 800, 700), entry("mlserver", 250, 160), entry("fastapi_onnx", 600, 400),
    ]  # fmt: skip

    chosen = [one.running.peer.name for one in contenders(entries, "poisson")]
    assert chosen == ["augury", "mlserver", "triton", "fastapi_onnx"]
    by_rate = [one.running.peer.name for one in contenders(entries)]
    assert by_rate == ["augury", "ray", "mlserver", "fastapi_onnx"]


def test_a_rate_that_counts_is_held_for_long() -> None:
    """At least 600 requests and fifteen seconds whatever the rate, over all rounds, and thirty seconds of overload."""
    plan = Plan()

    assert plan.long[0] * plan.goodput_repeats >= 600
    assert plan.long[1] * plan.goodput_repeats >= 15
    assert plan.long[2] >= plan.long[0] / 15  # at fifteen a second, too
    assert plan.overload_s >= 30


def test_the_middle() -> None:
    """Of an even number it lies between; of none there is none."""
    assert middle([1.0, 2.0]) == 1.5
    assert math.isnan(middle([]))
