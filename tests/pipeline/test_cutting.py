"""Requests of many rows that are computed for themselves: into how large pieces they are cut."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from augury.batching.cost import CostModel
from augury.batching.cutting import piece_rows
from augury.core.cancellation import Cancellation
from augury.core.errors import AuguryError
from augury.core.request import Priority
from augury.core.tensor import Array
from augury.runtimes.onnx import OnnxRuntime
from tests import models
from tests.pipeline.serving import Serving, ask, serving
from tests.pipeline.test_patience import now_s


def cost_of(batch_s: float, row_s: float) -> CostModel:
    cost = CostModel()
    for _ in range(30):
        for rows in (1, 4, 16, 64):
            cost.observe(rows, 1, batch_s + rows * row_s)
    return cost


@pytest.mark.parametrize(
    ("batch_s", "row_s", "rows", "instances", "expected"),
    [
        (0.0, 0.022, 64, 2, range(1, 2)),  # nothing is gained by company
        (0.001, 0.005, 64, 1, range(5, 12)),  # 1.2 ms are 3 % of eight rows
        (0.010, 0.00001, 64, 1, range(64, 65)),  # the more the better
        (0.010, 0.00001, 64, 2, range(32, 33)),  # but no instance is idle
        (0.010, 0.00001, 1000, 2, range(64, 65)),
        (0.010, 0.00001, 3, 2, range(2, 3)),
        (0.010, 0.00001, 0, 2, range(1, 2)),
    ],
)
def test_pieces_are_as_large_as_is_of_use(
    batch_s: float, row_s: float, rows: int, instances: int, expected: range
) -> None:
    """Long enough, and a fair share at most."""
    cost = cost_of(batch_s, row_s)
    assert piece_rows(cost, rows, 1, max_rows=64, instances=instances) in expected


def slow_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each row takes five milliseconds, each batch one; the rows of each batch."""
    batches: list[int] = []
    run = OnnxRuntime.run

    def slow(
        runtime: OnnxRuntime, inputs: dict[str, Array], cancel: Cancellation | None = None
    ) -> dict[str, Array]:
        rows = len(inputs["x"])
        batches.append(rows)
        time.sleep(0.001 + 0.005 * rows)
        return run(runtime, inputs, cancel)

    monkeypatch.setattr(OnnxRuntime, "run", slow)
    return batches


async def learn(served: Serving) -> None:
    """Serve some rows, so that the costs are known."""
    for rows in (1, 2, 3, 4, 6, 8, 10, 12, 14):
        await served.engine.infer(ask("identity", *[[0.0, 0.0]] * rows, use_cache=False))


async def test_bulk_work_leaves_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose deadline is shorter than the whole of a bulk request takes."""
    batches = slow_runs(monkeypatch)
    folder = models.write_identity(tmp_path)
    (folder / "model.toml").write_text("[instances]\ncount = 2\n", encoding="utf-8")
    answers: Counter[str] = Counter()

    async with serving(tmp_path) as served:
        await learn(served)

        async def urgent(value: float) -> None:
            request = ask("identity", [value, 0], deadline_s=now_s() + 0.25, priority=Priority.HIGH)
            try:
                response = await served.engine.infer(request)
            except AuguryError as error:
                answers[type(error).__name__] += 1
            else:
                answers[", ".join(type(one).__name__ for one in response.errors.values())] += 1

        rows: Any = [[float(n), 1.0] for n in range(64)]
        del batches[:]
        bulk = [
            asyncio.create_task(
                served.engine.infer(ask("identity", *rows, use_cache=False, priority=Priority.LOW))
            )
            for _ in range(4)
        ]
        asked = []
        for value in range(40):
            await asyncio.sleep(0.01)
            asked.append(asyncio.create_task(urgent(value)))
        await asyncio.gather(*asked)
        for one in bulk:
            assert (await one).outputs["y"].tolist() == rows
    assert answers == {"": 40}
    assert max(batches) <= 32  # a piece, and who goes with it


async def test_a_lone_request_is_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To all instances."""
    batches = slow_runs(monkeypatch)
    folder = models.write_identity(tmp_path)
    (folder / "model.toml").write_text("[instances]\ncount = 2\n", encoding="utf-8")
    async with serving(tmp_path) as served:
        await learn(served)
        rows: Any = [[float(n), 1.0] for n in range(64)]
        del batches[:]
        start_s = now_s()
        response = await served.engine.infer(ask("identity", *rows, use_cache=False))
        assert response.outputs["y"].tolist() == rows
        assert now_s() - start_s < 0.7 * 64 * 0.005
    assert len(batches) >= 4
