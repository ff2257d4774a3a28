"""TensorFlow Serving's REST: ``POST /v1/models/{m}:predict`` with ``{"instances": […]}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from augury.bench.dialects.base import (
    GOOD,
    UNREADABLE,
    Ask,
    Encoded,
    Model,
    Place,
    Row,
    Verdict,
    judge_status,
    need_model,
    wrong_rows,
)

_PLACE: Final = Place("/v1/models/", ":predict")


class _Answer(msgspec.Struct):
    predictions: list[msgspec.Raw]


class _Rows(msgspec.Struct):
    predictions: list[Any]


_answer = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows)


class TfV1:
    """The dialect: rows with one input are sent bare, as the row format wants them."""

    name = "tf-v1"

    def path(self, model: str) -> str:
        return _PLACE.path(model)

    def model_of(self, path: str) -> str | None:
        return _PLACE.model_of(path)

    def describe(self, ask: Ask, model: str) -> Model:
        need_model(self.name, model)
        told = _PLACE.ask(ask, model)
        states = [one.get("state") for one in told.get("model_version_status", ())]
        return Model(model, facts={"states": states})

    def encode(self, rows: Sequence[Row], model: Model) -> Encoded:
        instances = [next(iter(row.values())) if len(row) == 1 else row for row in rows]
        return Encoded("application/json", msgspec.json.encode({"instances": instances}))

    def judge(self, status: int, body: bytes, rows: int) -> Verdict:
        if status != 200:
            return judge_status(status, body)
        try:
            got = len(_answer.decode(body).predictions)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return UNREADABLE
        return GOOD if got == rows else wrong_rows(got, rows)

    def rows_of(self, body: bytes) -> list[Any]:
        return _rows.decode(body).predictions

    def deadline(self, seconds: float) -> tuple[str, str] | None:
        return None


TF_V1: Final = TfV1()
