"""Answers that are made on the event loop, without waiting for anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from augury.batching.cost import CostModel
from augury.core.errors import DeadlineExceeded, RuntimeFailed, ShapeMismatch
from augury.core.request import InferRequest, InferResponse
from augury.pipeline.servable import ModelServable
from tests import models
from tests.pipeline.serving import Serving, ask, serving

INLINE = "[batching]\ninline = true\n"
UNCACHED = "[cache]\nenabled = false\n"


def write(folder: Path, manifest: str = INLINE) -> None:
    (folder / "model.toml").write_text(manifest, encoding="utf-8")


def now(served: Serving, request: InferRequest) -> InferResponse | None:
    """What is answered without waiting."""
    with served.engine.lease(request.model) as leased:
        servable = cast("ModelServable", leased)
        rows = len(next(iter(request.inputs.values())))
        keys = served.engine.keys(servable, request.inputs, rows, request.parameters)
        return served.engine.infer_now(servable, request, keys)


def lookups(served: Serving) -> tuple[float, float, float]:
    counts = served.looked_up("identity")
    return counts["hit"], counts["shared"], counts["miss"]


@pytest.mark.parametrize("manifest", [INLINE, INLINE + UNCACHED])
async def test_a_cheap_model_answers_at_once(tmp_path: Path, manifest: str) -> None:
    """The same as if it had been waited for."""
    write(models.write_identity(tmp_path), manifest)
    async with serving(tmp_path) as served:
        request = ask("identity", [1, 2], [3, 4], outputs=("y",))
        at_once = now(served, request)
        assert at_once is not None
        awaited = await served.engine.infer(ask("identity", [1, 2], [3, 4]))
        assert at_once.outputs["y"].tolist() == awaited.outputs["y"].tolist() == [[1, 2], [3, 4]]
        assert (at_once.errors, at_once.rows, at_once.version) == ({}, 2, 1)
        assert at_once.timing.total_s >= at_once.timing.runtime_s > 0


async def test_it_is_remembered_and_counted(tmp_path: Path) -> None:
    """As any other answer; rows that were remembered come from there."""
    write(models.write_identity(tmp_path))
    async with serving(tmp_path) as served:
        assert now(served, ask("identity", [1, 2])) is not None
        assert lookups(served) == (0, 0, 1)
        mixed = now(served, ask("identity", [3, 4], [1, 2], [5, 6]))
        assert mixed is not None
        assert mixed.outputs["y"].tolist() == [[3, 4], [1, 2], [5, 6]]
        assert mixed.cached == {1}
        assert lookups(served) == (1, 0, 3)
        assert len(served.shelf("identity")) == 3
        assert now(served, ask("identity", [9, 9], use_cache=False)) is not None
        assert lookups(served) == (1, 0, 3)
        assert len(served.shelf("identity")) == 3


async def test_what_is_remembered_is_no_view_of_the_answer(tmp_path: Path) -> None:
    """Nor can it be written to."""
    write(models.write_identity(tmp_path))
    async with serving(tmp_path) as served:
        request = ask("identity", [1, 2], [3, 4])
        now(served, request)
        request.inputs["x"][:] = 0
        again = now(served, ask("identity", [3, 4]))
        assert again is not None
        assert again.outputs["y"].tolist() == [[3, 4]]
        assert again.cached == {0}


async def test_what_has_to_be_waited_for_is_left_alone(tmp_path: Path) -> None:
    """Nothing is done or counted: a row asked for twice, one under way, one to be computed anew."""
    write(models.write_identity(tmp_path))
    async with serving(tmp_path) as served:
        assert now(served, ask("identity", [1, 2], [1, 2])) is None
        assert now(served, ask("identity", [1, 2], refresh=True)) is None
        with served.engine.lease("identity") as leased:
            servable = cast("ModelServable", leased)
            (key,) = servable.keys.keys({"x": np.array([[1, 2]], "f4")}, 1, {})
            future = asyncio.get_running_loop().create_future()
            servable.flights.lead(key, future, lambda *_: None)
            assert now(served, ask("identity", [1, 2])) is None
            future.cancel()
        assert lookups(served) == (0, 0, 0)
        assert len(served.shelf("identity")) == 0


async def test_a_model_that_is_not_cheap_is_waited_for(tmp_path: Path) -> None:
    """Here: by its manifest."""
    write(models.write_identity(tmp_path), "[batching]\ninline = false\n")
    async with serving(tmp_path) as served:
        assert now(served, ask("identity", [1, 2])) is None


OPEN = "[[examples]]\ninputs.x = [[1, 2, 3, 4]]\noutputs.y = [[1, 2, 3, 4]]\n"


@pytest.mark.parametrize(("manifest", "size"), [(OPEN, 4), ("", 1)])
async def test_a_caller_cannot_hold_the_loop_up_by_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str, size: int
) -> None:
    """Where the size of an input is open, rows as large as those that were measured are computed there."""
    write(models.write_identity(tmp_path, size=None), manifest)
    monkeypatch.setattr(CostModel, "tail", lambda *_: 1e-6)
    async with serving(tmp_path) as served:
        assert now(served, ask("identity", [1.0] * size)) is not None
        assert now(served, ask("identity", [2.0] * (size + 1))) is None
        response = await served.engine.infer(ask("identity", [2.0] * 1000))
        assert response.outputs["y"].shape == (1, 1000)
        with served.engine.lease("identity") as leased:
            journal = cast("ModelServable", leased).scheduler.journal
        assert journal.totals().dispatches["inline"] == 1


async def test_what_cannot_be_answered_is_refused(tmp_path: Path) -> None:
    """With the errors that waiting would have brought."""
    write(models.write_identity(tmp_path))
    async with serving(tmp_path) as served:
        with pytest.raises(ShapeMismatch):
            now(served, ask("identity", [1, 2, 3]))
        with pytest.raises(DeadlineExceeded):
            now(served, ask("identity", [1, 2], deadline_s=0.0))


@pytest.mark.parametrize("manifest", [INLINE, INLINE + UNCACHED])
async def test_a_row_that_fails_is_told_and_not_remembered(tmp_path: Path, manifest: str) -> None:
    """A lone one at once; among others it has to be found out."""
    write(models.write_fails_on_negative(tmp_path), manifest)
    async with serving(tmp_path) as served:
        alone = now(served, ask("picky", [-1, 2]))
        assert alone is not None
        assert isinstance(alone.errors[0], RuntimeFailed)
        assert now(served, ask("picky", [-1, 2], [1, 2])) is None
        both = await served.engine.infer(ask("picky", [-1, 2], [1, 2]))
        assert list(both.errors) == [0]
