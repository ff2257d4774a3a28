"""The Open Inference Protocol v2 over HTTP: ``POST /v2/models/{m}/infer``; Triton, MLServer, KServe, ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from augury.bench.dialects.base import (
    GOOD,
    UNREADABLE,
    Ask,
    Encoded,
    Input,
    Model,
    Place,
    Row,
    Verdict,
    cells,
    judge_status,
    need_model,
    wrong_rows,
)
from augury.core.errors import OperatorError

_PLACE: Final = Place("/v2/models/", "/infer")


class _Shape(msgspec.Struct):
    shape: list[int]


class _Answer(msgspec.Struct):
    outputs: list[_Shape]


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]


class _Outputs(msgspec.Struct):
    outputs: list[_Output]


_answer = msgspec.json.Decoder(_Answer)
_outputs = msgspec.json.Decoder(_Outputs)


class OipV2:
    """The dialect.

    Args:
        timeout_us: Triton's ``timeout`` parameter of each request, in microseconds; ``None`` for none.
    """

    name = "oip-v2"

    def __init__(self, timeout_us: int | None = None) -> None:
        self._timeout_us = timeout_us

    def with_timeout(self, seconds: float) -> OipV2:
        """The same with Triton's ``timeout`` in each request."""
        return OipV2(round(seconds * 1e6))

    def path(self, model: str) -> str:
        return _PLACE.path(model)

    def model_of(self, path: str) -> str | None:
        return _PLACE.model_of(path)

    def describe(self, ask: Ask, model: str) -> Model:
        need_model(self.name, model)
        told = _PLACE.ask(ask, model)
        return Model(
            model,
            tuple(
                # The batch is the first axis of every shape that metadata tell.
                Input(one["name"], one["datatype"], tuple(int(n) for n in one["shape"][1:]))
                for one in told.get("inputs") or ()
            ),
            tuple(one["name"] for one in told.get("outputs") or ()),
            facts={"platform": told.get("platform"), "versions": told.get("versions")},
        )

    def encode(self, rows: Sequence[Row], model: Model) -> Encoded:
        if not model.inputs:
            raise OperatorError(f"the server does not tell the inputs of the model {model.name!r}")
        document: dict[str, Any] = {"inputs": [_tensor(rows, one) for one in model.inputs]}
        if self._timeout_us is not None:
            document["parameters"] = {"timeout": self._timeout_us}
        return Encoded("application/json", msgspec.json.encode(document))

    def judge(self, status: int, body: bytes, rows: int) -> Verdict:
        if status != 200:
            return judge_status(status, body)
        try:
            outputs = _answer.decode(body).outputs
        except (msgspec.DecodeError, UnicodeDecodeError):
            return UNREADABLE
        if not outputs:
            return UNREADABLE
        for output in outputs:
            if not output.shape or output.shape[0] != rows:
                return wrong_rows(output.shape[0] if output.shape else 0, rows)
        return GOOD

    def rows_of(self, body: bytes) -> list[Any]:
        outputs = _outputs.decode(body).outputs
        columns = {one.name: _split(one) for one in outputs}
        counts = {len(column) for column in columns.values()}
        if len(counts) != 1:
            raise ValueError("outputs of unlike lengths")
        return [{name: column[i] for name, column in columns.items()} for i in range(counts.pop())]

    def deadline(self, seconds: float) -> tuple[str, str] | None:
        return None


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [one for part in value for one in _flat(part)]
    return [value]


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, (list, tuple)):
        return (len(value), *(_shape(value[0]) if value else ()))
    return ()


def _tensor(rows: Sequence[Row], spec: Input) -> dict[str, Any]:
    values = cells(rows, spec.name)
    shapes = {_shape(value) for value in values}
    if len(shapes) > 1:
        raise OperatorError(
            f"rows of one request differ in the shape of {spec.name!r}; use --rows 1"
        )
    shape = shapes.pop()
    if not shape and math.prod(spec.shape) == 1:
        shape = (1,) * len(spec.shape)  # servers that batch want [rows, 1] for a text
    return {
        "name": spec.name,
        "shape": [len(rows), *shape],
        "datatype": spec.datatype,
        "data": _flat(values),
    }


def _split(output: _Output) -> list[Any]:
    """The rows of one output, each nested as its shape says."""
    flat = _flat(output.data)
    if math.prod(output.shape) != len(flat):
        raise ValueError("shape and data differ")

    def nest(values: list[Any], shape: list[int]) -> Any:
        if not shape:
            return values[0]
        step = len(values) // shape[0] if shape[0] else 0
        return [nest(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]

    rows = nest(flat, output.shape)
    return rows if isinstance(rows, list) else [rows]


OIP_V2: Final = OipV2()
