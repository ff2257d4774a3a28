"""The JSON document holds all, and the page shows it."""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from augury.app.cli.bench.tables import show_result
from augury.bench.dialects.base import FAILED, GOOD, REFUSED, Model, Verdict
from augury.bench.dialects.native import NATIVE
from augury.bench.measure.processes import ServerUse
from augury.bench.measure.tally import Tally
from augury.bench.report.document import document, settings_of
from augury.bench.report.page import page
from augury.bench.report.svg import Line, Plot, log_ticks, ticks
from augury.bench.report.warnings import warnings_of
from augury.bench.results import Level, Sweep, level_of
from augury.bench.run import Load, Workload
from augury.bench.target import Target

LOAD = Load(duration_s=5, warm_up_s=0, slo_s=0.1)
WORKLOAD = Workload(
    Target("http://h:1", "h", 1, "/p", NATIVE, Model("<m>"), (("Authorization", "Bearer geheim"),)),
    [b"x"],
)
USE = ServerUse((1, 2), 2.5, 5.0, 10 << 20, 30 << 20, 20 << 20, None)


def make_level(rate: float, latency_s: float, refused: int = 0, failed: int = 0) -> Level:
    """A level with exponential latencies."""
    tally = Tally(0, 5, 0.1, 0.25)
    rng = np.random.default_rng(int(rate))
    records = array("d")
    for number, at_s in enumerate(np.arange(0, 5, 1 / rate)):
        verdict = (
            Verdict(REFUSED, "429 overloaded")
            if number < refused
            else Verdict(FAILED, "timeout <b>")
            if number < refused + failed
            else GOOD
        )
        done_s = at_s + (0.001 if number < refused else rng.exponential(latency_s))
        records.extend((at_s, at_s, at_s, done_s, tally.number_of(verdict)))
    tally.fold(records)
    return level_of(tally, loop="open", rate_rps=rate, connections=9, server=USE, interrupted=False)


SWEEP = Sweep((make_level(50, 0.01), make_level(100, 0.02), make_level(200, 0.1, 100, 7)), 0.1, 100)


class _Checker(HTMLParser):
    """Counts tags; every one that opens must close."""

    VOID = frozenset(("meta", "line", "polyline", "polygon", "circle", "rect"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def _document(result: Level | Sweep) -> dict[str, Any]:
    # Through JSON, as a page of last year's run is made.
    told = document(result, settings_of(WORKLOAD, LOAD, arrivals="gamma", cv2=4.0))
    return dict(json.loads(json.dumps(told, allow_nan=False)))


def test_document_of_a_sweep() -> None:
    """Machine, versions, settings, and for each level all that was counted; no secret."""
    told = _document(SWEEP)
    assert (told["schema"], told["kind"]) == (1, "sweep")
    assert told["sweep"]["sustainable_rps"] == 100
    assert {"cpu", "cores", "memory_bytes"} <= told["machine"].keys()
    assert {"augury", "python", "numpy"} <= told["versions"].keys()
    assert told["settings"]["headers"] == ["Authorization"]
    assert "geheim" not in json.dumps(told)
    last = told["levels"][2]
    assert (last["requests"], last["refused"], last["failed"]) == (1000, 100, 7)
    assert last["refusal_ms"]["p99"] == pytest.approx(1, rel=0.01)
    assert last["kinds"][0]["outcome"] == "ok"
    assert sum(one["offered"] for one in last["series"]) == 1000
    assert sum(count for _, count in last["latency_buckets_us"]) == last["ok"]
    # 2.5 CPU seconds in 5 s, 1,000 answers less those that never came.
    assert last["server"]["cpu_s_per_1000"] == pytest.approx(2.5, rel=0.1)
    assert last["latency_ms"]["p50"] <= last["latency_ms"]["p99"] <= last["latency_ms"]["max"]


@pytest.mark.parametrize("result", [SWEEP, SWEEP.levels[2], Sweep((), 0.1, None)])
def test_page_is_whole(result: Level | Sweep) -> None:
    """Well-formed, loads nothing, names are escaped; plots for what there is."""
    text = page(_document(result))
    checker = _Checker()
    checker.feed(text)
    assert not checker.open
    assert "http://" not in text.replace("http://h:1", "")
    assert "<script" not in text
    assert "<m>" not in text
    assert "&lt;m&gt;" in text
    if isinstance(result, Sweep) and result.levels:
        assert checker.seen["svg"] == 4 + 3 * 3
        assert "100/s" in text
    assert "timeout <b>" not in text
    assert "nan" not in text.lower().replace("finance", "")


def test_plots_break_at_what_is_not_known() -> None:
    """A NaN breaks the line, nothing makes no plot."""
    points = [(0.0, 1.0), (1.0, math.nan), (2.0, 3.0)]
    drawn = Plot("t", "x", "y").lines([Line("a", points, 1)])
    assert drawn.count("<polyline") == 2
    assert Plot("t", "x", "y").lines([Line("a", [(0.0, math.nan)], 1)]) == ""
    assert Plot("t", "x", "y", y_log=True).lines([Line("a", [(1.0, 0.0)], 1)]) == ""


def test_ticks_are_round() -> None:
    """Whatever the range."""
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(5, 5) == [5]
    assert log_ticks(1, 100_000) == [1, 10, 100, 1000, 10_000, 100_000]


def test_warnings_are_on_the_page_and_in_the_document() -> None:
    """Processes that cannot have answered, rates of a few requests; why a sweep ended."""
    idle = ServerUse((7,), 0.0, 5.0, 1, 1, 1, None)
    few = replace(make_level(50, 0.01), server=idle, answered_inside=5000)
    cut = Sweep((few,), 0.1, 50, failure="no answer from h:1: <gone>")
    warnings = warnings_of(cut, replace(WORKLOAD, fresh=True))
    assert [one.split(":")[0] for one in warnings] == [
        "at 50 requests/s fewer than 300 were sent, of which 99 % says little; a longer --duration sends more",
        "the processes that were watched (7) used no CPU time for 5,000 answers",
    ]
    told = document(cut, settings_of(WORKLOAD, LOAD), warnings)
    assert told["warnings"] == warnings
    assert told["sweep"]["failure"] == "no answer from h:1: <gone>"
    text = page(told)
    assert "used no CPU time for 5,000 answers" in text
    assert "Ended early: no answer from h:1: &lt;gone&gt;" in text


def test_nothing_answered_has_no_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Cores are told, seconds for 1,000 answers are not: there are none."""
    tally = Tally(0, 5, 0.1, 0.25)
    level = level_of(tally, loop="open", rate_rps=5, connections=9, server=USE, interrupted=False)
    show_result(level, WORKLOAD, {})
    told = capsys.readouterr().out
    assert "0.50 cores" in told
    assert "nan" not in told
    assert "1,000 answers" not in told
