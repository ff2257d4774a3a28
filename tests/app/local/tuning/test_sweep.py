"""Measuring real models; nothing here depends on how fast they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from augury.app.build import SWITCH_INTERVAL_S
from augury.app.local.tuning.plan import LEAST_BATCHES, Layout, Point
from augury.app.local.tuning.sample import Sample, read_examples, read_file
from augury.app.local.tuning.sweep import Plan, Sweep, Tuning, plan_sweep
from augury.app.local.tuning.trial import MAX_BATCHES, Loop, Others, Tally, Trial, resident_bytes
from augury.core.errors import InvalidPackage, OperatorError
from augury.packages.reader import ModelPackage, read_package
from augury.pipeline.servable import ModelServable
from tests.models import (
    write_fails_on_negative,
    write_fixed,
    write_identity,
    write_slow,
)

EXAMPLE = "[[examples]]\ninputs.x = [[1, 2], [3, 4]]\n"


def package(folder: Path, manifest: str = EXAMPLE) -> ModelPackage:
    (folder / "model.toml").write_text(manifest, encoding="utf-8")
    return read_package(folder, 1)


def sweep(plan: Plan, begun: list[str] | None = None) -> Tuning:
    told = begun if begun is not None else []
    return Sweep(plan, read_examples, told.append, lambda done, best: None).run()


def small_plan(one: ModelPackage, *, slo_s: float = 10.0, budget_s: float = 2.0) -> Plan:
    plan = plan_sweep(one, slo_s=slo_s, budget_s=budget_s, max_rows=4)
    return replace(plan, layouts=(Layout(2, 1), Layout(1, 2)))


def test_every_setting_is_measured(tmp_path: Path) -> None:
    """Each layout and batch size has batches, a rate, and times in order; what is set now is known."""
    plan = small_plan(package(write_identity(tmp_path), EXAMPLE + "[batching]\nmax_rows = 3\n"))
    assert plan.rows == (1, 2, 3, 4)
    tuning = sweep(replace(plan, current=(Layout(2, 1), 3)))

    measured = {(point.layout, point.rows) for point in tuning.points}
    assert {(Layout(2, 1), rows) for rows in (1, 2, 3, 4)} <= measured
    for point in tuning.points:
        assert point.batches > 0
        assert point.rows_per_s > 0
        assert 0 < point.p50_s <= point.p99_s
        assert point.failed == 0
    assert tuning.chosen in tuning.points
    assert tuning.now is not None
    assert tuning.now.rows == 3
    assert not tuning.interrupted


def test_the_machine_s_own_layout_is_planned(tmp_path: Path) -> None:
    """What [instances] says now is among the layouts, as the server would fill it up."""
    one = package(write_identity(tmp_path), "[instances]\ncount = 3\nthreads = 2\n")
    plan = plan_sweep(one, slo_s=1, budget_s=1, max_rows=1)

    assert plan.current[0] == Layout(3, 2)
    assert Layout(3, 2) in plan.layouts
    assert plan.cores == len(os.sched_getaffinity(0))


def test_a_model_that_insists_on_its_batch_size(tmp_path: Path) -> None:
    """There is one size to measure."""
    plan = small_plan(package(write_fixed(tmp_path, rows=4)))
    tuning = sweep(plan)

    assert plan.fixed_rows == 4
    assert {point.rows for point in tuning.points} == {4}


def test_what_is_too_slow_is_not_tried_larger(tmp_path: Path) -> None:
    """Over the SLO with one row a batch: larger batches are left out, and nothing is chosen."""
    tuning = sweep(small_plan(package(write_slow(tmp_path)), slo_s=1e-6))

    assert {point.rows for point in tuning.points} == {1}
    assert tuning.chosen is None


def test_the_budget_ends_it(tmp_path: Path) -> None:
    """What was not reached is told; the first layout has been looked at all the same."""
    begun: list[str] = []
    tuning = sweep(small_plan(package(write_slow(tmp_path, products=200)), budget_s=0.01), begun)

    assert [(point.layout, point.rows) for point in tuning.points] == [(Layout(2, 1), 1)]
    assert tuning.skipped == ["2 × 1 from 2 rows on", "1 × 2"]
    assert begun == ["slow, 2 × 1 threads"]


def test_a_broken_package_is_told_as_check_does(tmp_path: Path) -> None:
    """A file that does not load, and examples that come out otherwise, end it with file and sentence."""
    folder = write_identity(tmp_path)
    with pytest.raises(InvalidPackage, match=r"model.toml: example 1: output 'y' is"):
        sweep(
            small_plan(package(folder, "[[examples]]\ninputs.x = [[1, 2]]\noutputs.y = [[2, 2]]\n"))
        )
    (folder / "1/model.onnx").write_bytes(b"nonsense")
    with pytest.raises(InvalidPackage, match="cannot load it"):
        small_plan(package(folder))


def run_on(plan: Plan, file: Path) -> Tuning:
    def read(servable: ModelServable) -> Sample:
        return read_file(servable, file, "jsonl", None, max_line_bytes=1000)

    return Sweep(plan, read, lambda what: None, lambda done, best: None).run()


def test_batches_that_fail_are_counted(tmp_path: Path) -> None:
    """One bad row: single rows fail now and then, and a setting that fails is never chosen."""
    plan = small_plan(package(write_fails_on_negative(tmp_path), ""))
    file = tmp_path / "rows.jsonl"
    file.write_text('{"x": [1, 1]}\n{"x": [-1, 1]}\n', encoding="utf-8")
    tuning = run_on(plan, file)

    single = next(point for point in tuning.points if point.rows == 1)
    assert single.failed > 0
    assert single.batches > 0
    assert tuning.chosen is None
    assert "ONNX Runtime failed" in tuning.first_error


def test_when_every_batch_fails(tmp_path: Path) -> None:
    """There is nothing to show: the first reason is told."""
    plan = small_plan(package(write_fails_on_negative(tmp_path), ""))
    file = tmp_path / "rows.jsonl"
    file.write_text('{"x": [-1, 1]}\n', encoding="utf-8")

    with pytest.raises(
        OperatorError, match=r"picky: every batch of rows.jsonl failed; the first: ONNX"
    ):
        run_on(plan, file)


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    """SIGINT while threads compute: they end, and what was seen before is there."""
    plan = small_plan(package(write_slow(tmp_path)), budget_s=600)

    def on_done(done: int, best: Point | None) -> None:
        if done == 1:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    tuning = Sweep(plan, read_examples, lambda what: None, on_done).run()

    assert tuning.interrupted
    assert [point.rows for point in tuning.points] == [1]
    threads = [one for one in threading.enumerate() if one.name.startswith("augury-tune")]
    assert not any(one.is_alive() for one in threads)


def test_ctrl_c_before_anything_is_known(tmp_path: Path) -> None:
    """There is nothing to keep."""

    def on_begin(what: str) -> None:
        raise KeyboardInterrupt

    plan = small_plan(package(write_identity(tmp_path)))
    with pytest.raises(KeyboardInterrupt):
        Sweep(plan, read_examples, on_begin, lambda done, best: None).run()


def test_the_process_is_as_it_was(tmp_path: Path) -> None:
    """Threads' turns are set as in the server while measuring, and back afterwards, whatever they were."""
    # Not what this process has: a server that ran in it before leaves its own.
    before_s = 2 * SWITCH_INTERVAL_S
    seen: list[float] = []
    plan = small_plan(package(write_identity(tmp_path)), budget_s=0.1)
    found_s = sys.getswitchinterval()
    sys.setswitchinterval(before_s)
    try:
        Sweep(
            plan, read_examples, lambda _: seen.append(sys.getswitchinterval()), lambda *_: None
        ).run()
        after_s = sys.getswitchinterval()
    finally:
        sys.setswitchinterval(found_s)

    assert after_s == pytest.approx(before_s)
    assert seen == pytest.approx([SWITCH_INTERVAL_S] * len(seen))


def test_a_slow_model_is_looked_at_for_longer(tmp_path: Path) -> None:
    """As long as it takes for enough batches to judge by, and as the budget lasts."""
    trial = Trial(package(write_slow(tmp_path)), Layout(2, 1))
    batches = read_examples(trial.servable).batches(1, 64)
    patient, hasty = Tally(Layout(2, 1), 1), Tally(Layout(2, 1), 1)
    trial.measure(hasty, batches, 0.0)
    trial.measure(patient, batches, 0.0, 60.0)

    assert hasty.point().batches == 2
    assert patient.point().batches >= LEAST_BATCHES
    trial.measure(hasty, batches, 0.0, 0.0)
    assert hasty.point().batches == 4
    trial.close()


def test_instances_compute_at_once(tmp_path: Path) -> None:
    """Four instances are four threads that are inside the model at the same time."""
    trial = Trial(package(write_identity(tmp_path)), Layout(4, 1))
    inside, arrived = threading.Barrier(4, timeout=30), []
    run_batch = trial.servable.run_batch

    def meeting(inputs: object, rows: int) -> object:
        arrived.append(inside.wait())
        return run_batch(inputs, rows)  # type: ignore[arg-type]

    trial.servable.run_batch = meeting  # type: ignore[method-assign,assignment]
    sample = read_examples(trial.servable)
    tally = Tally(Layout(4, 1), 1)
    trial.measure(tally, sample.batches(1, 64), 0.0)

    assert sorted(arrived[:4]) == [0, 1, 2, 3]
    trial.close()


def test_looks_add_up() -> None:
    """Two looks of different length: the rate is that of all their time, the tail of all batches."""
    tally = Tally(Layout(1, 1), 10)
    one, other = Loop(seconds=1.0), Loop(seconds=3.0)
    one.times_s.extend([0.01] * 99)
    other.times_s.extend([0.03] * 1)
    tally.add_look([one], 5)
    tally.add_look([other], 3)
    point = tally.point()

    assert point.rows_per_s == pytest.approx(1000 / 4)
    assert (point.batches, point.p50_s, point.p99_s) == (100, 0.01, 0.01)
    assert point.memory_bytes == 5


def test_a_look_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However quick the model, no more batches than the bound are remembered."""
    assert MAX_BATCHES <= 20_000
    monkeypatch.setattr("augury.app.local.tuning.trial.MAX_BATCHES", 100)
    trial = Trial(package(write_identity(tmp_path)), Layout(2, 1))
    tally = Tally(Layout(2, 1), 1)
    trial.measure(tally, read_examples(trial.servable).batches(1, 64), 60.0)

    assert tally.point().batches == 100
    trial.close()


def test_what_the_system_tells() -> None:
    """Memory of this process, and what others compute meanwhile."""
    assert resident_bytes() > 1 << 20
    others = Others()
    subprocess.run(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True
    )
    assert 0.0 < others.cores() <= len(os.sched_getaffinity(0))


def test_others_never_have_more_cores_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick that is counted in the middle of a very short look is not a machine full of others."""
    others = Others()
    busy_s, own_s, wall_s = others._read()
    monkeypatch.setattr(others, "_read", lambda: (busy_s + 1.0, own_s, wall_s + 1e-6))
    assert others.cores() == len(os.sched_getaffinity(0))
