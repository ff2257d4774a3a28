"""TensorFlow Serving's REST: ``POST /v1/models/{m}:predict`` with ``{"instances": […]}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, unquote

import msgspec

from augury.bench.dialects.base import (
    GOOD,
    UNREADABLE,
    Ask,
    Encoded,
    Model,
    Row,
    Verdict,
    judge_status,
    wrong_rows,
)
from augury.core.errors import OperatorError

_PREFIX: Final = "/v1/models/"
_SUFFIX: Final = ":predict"


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
        return f"{_PREFIX}{quote(model, safe='')}{_SUFFIX}"

    def model_of(self, path: str) -> str | None:
        if not (path.startswith(_PREFIX) and path.endswith(_SUFFIX)):
            return None
        return unquote(path[len(_PREFIX) : -len(_SUFFIX)].split("/", 1)[0]) or None

    def describe(self, ask: Ask, model: str) -> Model:
        if not model:
            raise OperatorError("the dialect tf-v1 needs a model; name it with --model")
        told = ask(f"{_PREFIX}{quote(model, safe='')}")
        if told is None:
            raise OperatorError(f"the server has no model {model!r}")
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
