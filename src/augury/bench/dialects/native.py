"""Augury's own: ``POST /api/models/{m}/predict`` with ``{"rows": [{input: value}]}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from augury.bench.dialects.base import (
    FAILED,
    GOOD,
    REFUSED,
    UNREADABLE,
    Ask,
    Encoded,
    Input,
    Model,
    Place,
    Row,
    Verdict,
    judge_status,
    plain_words,
    wrong_rows,
)
from augury.core.errors import OperatorError

_PLACE: Final = Place("/api/models/", "/predict")


class _Error(msgspec.Struct):
    status: int = 500
    code: str = ""


class _RowAnswer(msgspec.Struct):
    error: _Error | None = None


class _Answer(msgspec.Struct):
    rows: list[_RowAnswer]


class _Rows(msgspec.Struct):
    rows: list[Any]


_answer = msgspec.json.Decoder(_Answer)
_rows = msgspec.json.Decoder(_Rows)


class Native:
    """The native dialect."""

    name = "native"

    def path(self, model: str) -> str:
        return _PLACE.path(model)

    def model_of(self, path: str) -> str | None:
        return _PLACE.model_of(path)

    def describe(self, ask: Ask, model: str) -> Model:
        if not model:
            listed = ask("/api/models")
            if listed is None:
                raise OperatorError(
                    "the server has no /api/models; name the path, or the dialect and the model"
                )
            names = [one["name"] for one in listed["models"]]
            if len(names) != 1:
                there = (
                    f"serves {plain_words(', '.join(names), 300)}" if names else "serves no model"
                )
                raise OperatorError(f"the server {there}; name one with --model")
            model = names[0]
        told = _PLACE.ask(ask, model)
        for version in told["versions"]:
            if version["version"] == told["default_version"] and version["signature"]:
                return _model(told["name"], version)
        raise OperatorError(f"no version of the model {model!r} is ready")

    def encode(self, rows: Sequence[Row], model: Model) -> Encoded:
        return Encoded("application/json", msgspec.json.encode({"rows": rows}))

    def judge(self, status: int, body: bytes, rows: int) -> Verdict:
        if status != 200:
            return judge_status(status, body)
        try:
            answered = _answer.decode(body).rows
        except (msgspec.DecodeError, UnicodeDecodeError):
            return UNREADABLE
        if len(answered) != rows:
            return wrong_rows(len(answered), rows)
        for row in answered:
            if (error := row.error) is not None:
                outcome = REFUSED if error.status in (429, 503) else FAILED
                return Verdict(outcome, plain_words(f"row {error.status} {error.code}", 60))
        return GOOD

    def rows_of(self, body: bytes) -> list[Any]:
        return _rows.decode(body).rows

    def deadline(self, seconds: float) -> tuple[str, str] | None:
        return ("X-Request-Timeout", f"{seconds:g}")


def _model(name: str, version: dict[str, Any]) -> Model:
    signature = version["signature"]
    example = version.get("example") or {}
    return Model(
        name,
        tuple(
            Input(one["name"], one["datatype"], tuple(one["shape"])) for one in signature["inputs"]
        ),
        tuple(one["name"] for one in signature["outputs"]),
        tuple(example.get("rows", ())),
        {"version": version["version"], "instances": version.get("instances")},
    )


NATIVE: Final = Native()
