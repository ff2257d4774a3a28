"""Tests of ``augury.pipeline.answer``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from augury.batching.scheduler import WorkResult
from augury.core.errors import AuguryError, Refused, RuntimeFailed, Unavailable
from augury.core.request import InferRequest, InferResponse
from augury.core.tensor import bytes_column
from augury.packages.reader import ModelPackage
from augury.pipeline.answer import Answer
from augury.pipeline.remembered import remembered

PACKAGE = ModelPackage("m", 3, Path("m/3"), Path("m/3/model.onnx"), "onnx")


def result(
    *values: float, errors: dict[int, AuguryError] | None = None, times_s: float = 0.0
) -> WorkResult:
    outputs = {
        "y": np.array(values, "f4"),
        "name": bytes_column([str(value).encode() for value in values]),
    }
    return WorkResult(outputs, errors or {}, times_s, 2 * times_s)


def done(outcome: WorkResult | BaseException | None) -> asyncio.Future[WorkResult]:
    future: asyncio.Future[WorkResult] = asyncio.get_running_loop().create_future()
    if outcome is None:
        future.cancel()
    elif isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return future


def response(answer: Answer, *outputs: str) -> InferResponse:
    return answer.response(PACKAGE, InferRequest("m", {}, outputs=outputs))


async def test_parts_stand_in_the_order_of_the_request() -> None:
    """Remembered, computed and refused rows, whatever came first; the longest times count."""
    answer = Answer(6)
    answer.preprocess_s = 0.5
    answer.refuse([4], refused := Refused("no"))
    answer.add([5, 1], done(result(5, 1, times_s=0.25)))
    answer.add_cached(2, remembered(result(2).outputs))
    failed = RuntimeFailed("failed")
    answer.add([0, 3], done(result(0, 9, errors={1: failed})))
    told = response(answer)
    assert (told.model, told.version, told.rows) == ("m", 3, 6)
    assert told.outputs["y"].tolist() == [0, 1, 2, 9, 0, 5]
    assert told.outputs["name"].tolist()[4] == b""
    assert told.errors == {4: refused, 3: failed}
    assert told.cached == {2}
    timing = told.timing
    assert (timing.preprocess_s, timing.queue_s, timing.runtime_s) == (0.5, 0.25, 0.5)


async def test_a_part_without_answers_hides_no_other() -> None:
    """Wherever it stands."""
    for empty_first in (True, False):
        answer = Answer(2)
        parts: list[tuple[list[int], WorkResult]] = [
            ([0], WorkResult({}, {0: Refused("no")}, 0, 0)),
            ([1], result(1)),
        ]
        for rows, part in parts if empty_first else reversed(parts):
            answer.add(rows, done(part))
        assert response(answer).outputs["y"].tolist() == [0, 1]


async def test_nothing_was_answered() -> None:
    """Errors alone, and no outputs."""
    answer = Answer(2)
    answer.refuse(range(2), Refused("no"))
    assert response(answer).outputs == {}
    assert len(response(answer).errors) == 2


async def test_one_part_for_all_is_not_copied() -> None:
    """But its dict is: nobody takes an output out of the cache."""
    part = result(1, 2)
    answer = Answer(2)
    answer.add([0, 1], done(part))
    outputs = response(answer).outputs
    assert outputs["y"] is part.outputs["y"]
    outputs.clear()
    assert part.outputs


@pytest.mark.parametrize(("outcome", "error"), [(Refused("no"), Refused), (None, Unavailable)])
async def test_what_failed_is_the_error_of_its_rows(outcome: Any, error: type[AuguryError]) -> None:
    """Computations that were given up included."""
    answer = Answer(3)
    answer.add([0, 2], done(outcome))
    answer.add([1], done(result(1)))
    told = response(answer)
    assert {row: type(one) for row, one in told.errors.items()} == {0: error, 2: error}
    assert told.outputs["y"][1] == 1


async def test_a_stranger_s_exception_is_raised() -> None:
    """It is a fault of ours, not of a row."""
    with pytest.raises(ZeroDivisionError):
        Answer(1).add([0], done(ZeroDivisionError()))


async def test_only_the_outputs_asked_for() -> None:
    """In the order asked for."""
    answer = Answer(1)
    answer.add([0], done(result(1)))
    assert list(response(answer, "name").outputs) == ["name"]
    assert list(response(answer, "name", "y").outputs) == ["name", "y"]
