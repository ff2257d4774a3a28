"""Who cannot be in time is refused before the steps before the model, which cost as much as an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from augury.batching.scheduler import Scheduler
from augury.core.errors import Overloaded
from augury.core.request import InferRequest
from augury.core.tensor import bytes_column
from augury.pipeline.servable import ModelServable
from tests import models
from tests.pipeline.serving import serving
from tests.pipeline.test_patience import now_s

MODEL = """
[signature.inputs.text]
dtype = "BYTES"
[[preprocess]]
use = "tokenize"
tokenizer = "tokenizer.json"
"""


@pytest.mark.parametrize("use_cache", [True, False])
async def test_nothing_is_done_for_who_is_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_cache: bool
) -> None:
    """The rows are not even tokenised; afterwards others are answered."""
    folder = models.write_token_sum(tmp_path)
    models.write_tokenizer(folder / "1")
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    prepared: list[int] = []
    prepare = ModelServable.preprocess

    def noted(servable: ModelServable, inputs: Any, rows: int, parameters: Any) -> Any:
        prepared.append(rows)
        return prepare(servable, inputs, rows, parameters)

    def turn_away(
        scheduler: Scheduler, deadline_s: float | None, priority: int, least: int = 0
    ) -> None:
        if deadline_s is not None:
            raise Overloaded("too much waits")

    monkeypatch.setattr(ModelServable, "preprocess", noted)
    monkeypatch.setattr(Scheduler, "turn_away", turn_away)
    async with serving(tmp_path) as served:
        prepared.clear()  # of the calibration

        def asked(**options: Any) -> InferRequest:
            texts = {"text": bytes_column([b"one two", b"three"])}
            return InferRequest("tokens", texts, use_cache=use_cache, **options)

        hurried = await served.engine.infer(asked(deadline_s=now_s() + 60))
        assert [type(error) for error in hurried.errors.values()] == [Overloaded] * 2
        assert prepared == []
        patient = await served.engine.infer(asked())
        assert patient.errors == {}
        assert prepared == [2]
