"""Any path, with bodies as the file has them: LitServe, BentoML, Ray Serve, a service of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from augury.bench.dialects.base import GOOD, RAW, Ask, Encoded, Model, Row, Verdict, judge_status
from augury.core.errors import OperatorError


class Raw:
    """The dialect: a row is a body; a list in the answer is as many rows as it is long."""

    name = "raw"

    def path(self, model: str) -> str:
        raise OperatorError("the dialect raw needs a whole URL, with its path")

    def model_of(self, path: str) -> str | None:
        return None

    def describe(self, ask: Ask, model: str) -> Model:
        return Model(model)

    def encode(self, rows: Sequence[Row], model: Model) -> Encoded:
        if len(rows) != 1:
            raise OperatorError("in the dialect raw a line is a body; use --rows 1")
        body = rows[0].get(RAW)
        if body is None:
            return Encoded("application/json", msgspec.json.encode(rows[0]))
        data = body if isinstance(body, bytes) else str(body).encode()
        is_json = data[:1] in (b"{", b"[", b'"')
        return Encoded("application/json" if is_json else "text/plain; charset=utf-8", data)

    def judge(self, status: int, body: bytes, rows: int) -> Verdict:
        return GOOD if 200 <= status < 300 else judge_status(status, body)

    def rows_of(self, body: bytes) -> list[Any]:
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return [body.decode()]
        return [value]

    def deadline(self, seconds: float) -> tuple[str, str] | None:
        return None


RAW_DIALECT: Final = Raw()
