"""Tests of ``augury.pipeline.costs`` and ``augury.pipeline.calibration``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from augury.batching.cost import CostModel
from augury.core.clock import SystemClock
from augury.core.errors import InvalidPackage
from augury.core.tensor import Array, Columns, Ragged
from augury.observe.metrics import Metrics
from augury.packages.reader import ModelPackage, read_package
from augury.pipeline.calibration import BUDGET_S, calibrate
from augury.pipeline.costs import MAX_FILES, CostBook, machine_facts
from augury.pipeline.loading import ServableLoader
from tests import models

MACHINE = machine_facts("ONNX Runtime 1", instances=2, threads=1, cores=2)


def learnt() -> CostModel:
    cost = CostModel()
    for _ in range(10):
        for rows in (1, 4, 16):
            cost.observe(rows, 1, 0.002 + 0.001 * rows)
    return cost


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    return read_package(models.write_identity(tmp_path / "repository"), 1)


def test_what_is_kept_comes_back(tmp_path: Path, package: ModelPackage) -> None:
    """For this package on this machine, run in this way, and no other."""
    book = CostBook(tmp_path / "costs")
    assert book.read(package, MACHINE) is None
    book.write(package, MACHINE, learnt())
    kept = book.read(package, MACHINE)
    assert kept is not None
    assert kept.predict(8, 1) == pytest.approx(0.01, rel=0.1)
    assert book.read(package, {**MACHINE, "threads": 2}) is None
    other = read_package(models.write_identity(tmp_path / "repository", "other"), 1)
    assert book.read(other, MACHINE) is None
    os.utime(package.model_file, (1, 1))
    assert book.read(package, MACHINE) is None


def test_nothing_is_kept_of_what_is_not_known(tmp_path: Path, package: ModelPackage) -> None:
    """Not even a folder is made."""
    CostBook(tmp_path / "costs").write(package, MACHINE, CostModel())
    assert not (tmp_path / "costs").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "cost": {"shapes": 3}}', "x" * 100_000,
     '{"format": 1, "cost": {"shapes": [[1, 1, -1]], "residuals": []}}', "[" * 60_000, "\udcff",
     '{"format": 1, "cost": {"shapes": [[1, 1, 1' + 400 * "0" + ']], "residuals": []}}',
     '{"format": 1, "cost": {"shapes": [], "residuals": [[1' + 5000 * "0" + "]]}}"],
)  # fmt: skip
def test_a_broken_file_is_as_good_as_none(
    tmp_path: Path, package: ModelPackage, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of, and written anew."""
    book = CostBook(tmp_path)
    book.write(package, MACHINE, learnt())
    (file,) = tmp_path.glob("*.json")
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert book.read(package, MACHINE) is None
    assert "of no use" in caplog.text
    book.write(package, MACHINE, learnt())
    assert book.read(package, MACHINE) is not None


def test_a_folder_that_cannot_be_written_harms_nobody(
    tmp_path: Path, package: ModelPackage
) -> None:
    """A read-only disk is fine; nothing half-written stays."""
    (tmp_path / "file").write_text("")
    CostBook(tmp_path / "file").write(package, MACHINE, learnt())
    CostBook(Path("/proc/augury")).write(package, MACHINE, learnt())
    assert list(tmp_path.glob("*.tmp")) == []


def test_the_oldest_go(tmp_path: Path, package: ModelPackage) -> None:
    """The folder does not grow for ever."""
    for number in range(MAX_FILES + 20):
        (tmp_path / f"{number}.json").write_text("{}")
        os.utime(tmp_path / f"{number}.json", (number, number))
    CostBook(tmp_path).write(package, MACHINE, learnt())
    left = {file.stem for file in tmp_path.glob("*.json")}
    assert len(left) == MAX_FILES
    assert "20" not in left
    assert "21" in left


async def test_a_servable_keeps_what_it_has_learnt(tmp_path: Path) -> None:
    """From its unloading to the next start; with its provenance."""
    package = read_package(models.write_identity(tmp_path / "repository"), 1)
    book = CostBook(tmp_path / "costs")
    loader = ServableLoader(SystemClock(), Metrics(), costs=book)
    servable = loader.load(package, 1)
    servable.start()
    record = servable.cost_record()
    assert record["known"]
    assert record["a"] + record["d"] > 0
    assert record["machine"]["engine"].startswith("ONNX Runtime")
    await servable.close()
    (file,) = (tmp_path / "costs").glob("*.json")
    kept = json.loads(file.read_text())
    assert (kept["model"], kept["version"]) == ("identity", 1)
    assert book.read(package, servable.machine) is not None


def test_an_unknown_policy_is_told_with_those_there_are(tmp_path: Path) -> None:
    """And the file that names it."""
    folder = models.write_identity(tmp_path)
    (folder / "model.toml").write_text('[batching]\npolicy = "nearest"\n')
    with pytest.raises(
        InvalidPackage, match=r"model\.toml: \[batching\] policy: .*'nearest'.* deadline"
    ):
        ServableLoader(SystemClock(), Metrics()).load(read_package(folder, 1), 1)


def test_calibration_tells_rows_from_tokens() -> None:
    """From one example, within its time."""
    seen: set[tuple[int, ...]] = set()

    def run(inputs: dict[str, Array], rows: int) -> None:
        shape = inputs["ids"].shape
        seen.add(shape)
        time.sleep(0.0002 + 0.00002 * shape[0] * shape[1])

    cost = CostModel()
    columns: Columns = {"ids": Ragged((np.arange(12),), 0)}
    started_s = time.monotonic()
    calibrate(run, columns, cost, SystemClock(), max_rows=64, max_length=128)
    assert time.monotonic() - started_s < BUDGET_S + 0.1
    assert cost.known
    assert max(length for _, length in seen) == 48
    assert 0.1 < cost.predict(16, 24) / (0.0002 + 0.00002 * 16 * 24) < 10


def test_calibration_keeps_to_what_the_model_takes() -> None:
    """No row longer than may be, no batch larger; a failure ends it without a word."""
    shapes: list[tuple[int, ...]] = []

    def run(inputs: dict[str, Array], rows: int) -> None:
        shapes.append(inputs["ids"].shape)
        if len(shapes) == 5:
            raise ValueError

    columns: Columns = {"ids": Ragged((np.arange(12), np.arange(3)), 0)}
    calibrate(run, columns, CostModel(), SystemClock(), max_rows=3, max_length=20)
    assert len(shapes) == 5
    assert all(rows <= 3 and length <= 20 for rows, length in shapes)


def test_calibration_of_a_slow_model_is_short() -> None:
    """One run tells what it can."""
    runs: list[int] = []

    def run(inputs: dict[str, Array], rows: int) -> None:
        runs.append(rows)
        time.sleep(0.1)

    cost = CostModel()
    calibrate(run, {"x": np.zeros((1, 2))}, cost, SystemClock(), max_rows=64)
    assert runs == [1]
    assert cost.observations == 1
