"""TorchServe: ``POST /predictions/{m}``, a row a request; text as it is, anything else as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from augury.bench.dialects.base import (
    GOOD,
    Ask,
    Encoded,
    Model,
    Place,
    Row,
    Verdict,
    judge_status,
    need_model,
)
from augury.core.errors import OperatorError

_PLACE: Final = Place("/predictions/")


class TorchServe:
    """The dialect; the handler decides what an answer looks like, so any 200 is one."""

    name = "torchserve"

    def path(self, model: str) -> str:
        return _PLACE.path(model)

    def model_of(self, path: str) -> str | None:
        return _PLACE.model_of(path)

    def describe(self, ask: Ask, model: str) -> Model:
        need_model(self.name, model)
        # What there is, only the management port tells.
        return Model(model)

    def encode(self, rows: Sequence[Row], model: Model) -> Encoded:
        if len(rows) != 1:
            raise OperatorError(
                f"TorchServe takes one row a request, not {len(rows)}; use --rows 1"
            )
        values = list(rows[0].values())
        value = values[0] if len(values) == 1 else rows[0]
        if isinstance(value, str):
            return Encoded("text/plain; charset=utf-8", value.encode())
        return Encoded("application/json", msgspec.json.encode(value))

    def judge(self, status: int, body: bytes, rows: int) -> Verdict:
        return GOOD if status == 200 else judge_status(status, body)

    def rows_of(self, body: bytes) -> list[Any]:
        try:
            return [msgspec.json.decode(body)]
        except msgspec.DecodeError:
            return [body.decode()]

    def deadline(self, seconds: float) -> tuple[str, str] | None:
        return None


TORCHSERVE: Final = TorchServe()
