"""What is asked of whom: a target, and every request that may be sent to it, encoded beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from augury.bench.dialects.base import FAILED, Row
from augury.bench.dialects.oip_v2 import OipV2
from augury.bench.payloads import encode_expected, encode_requests, make_rows, read_rows
from augury.bench.target import Target, find_target, post, words_of
from augury.core.errors import OperatorError


@dataclass(frozen=True)
class Workload:
    """What is asked of whom.

    Args:
        target: The model on its server.
        requests: Whole requests, as they are sent.
        expects: For each the rows that must be answered, as JSON; empty: any.
        rows: Rows of each request.
        check: ``rows``: the dialect judges answers; ``status``: 200 is enough, which is quicker.
        order: ``cycle``: the requests in turn; ``random``: any, again and again.
        deadline: The header, or parameter, that tells the server when an answer is of no use; for reports.
    """

    target: Target
    requests: Sequence[bytes]
    expects: Sequence[bytes] = ()
    rows: int = 1
    check: Literal["rows", "status"] = "rows"
    order: Literal["cycle", "random"] = "cycle"
    deadline: str | None = None


def prepare(
    url: str,
    *,
    dialect: str | None = None,
    model: str = "",
    texts: Sequence[str] | None = None,
    rows: Sequence[Row] | None = None,
    file: Path | None = None,
    column: str | None = None,
    unique: int | None = None,
    rows_per_request: int = 1,
    expect: Sequence[Any] | None = None,
    echo: tuple[str, str] | None = None,
    slo_s: float | None = None,
    deadline: bool | None = None,
    headers: Sequence[tuple[str, str]] = (),
    check: Literal["rows", "status"] = "rows",
    order: Literal["cycle", "random"] = "cycle",
) -> Workload:
    """Ask the server what it serves, encode all requests, and try one.

    Args:
        url: See :func:`augury.bench.target.find_target`.
        dialect: Likewise.
        model: Likewise.
        texts: A row each, for the model's first input.
        rows: Rows as inputs by name; in the dialect raw ``{"raw": body}``, or the body as a JSON object.
        file: Rows of a file; see :func:`augury.bench.payloads.read_rows`.
        column: Likewise.
        unique: So many rows made up, each different.
        rows_per_request: Rows of each request.
        expect: For each row what must be answered: a part of the answer's row is enough.
        echo: Names of an output and an input: the answer's output must be the request's input.
        slo_s: For the deadline.
        deadline: Tell the server that an answer later than *slo_s* is of no use: in the native dialect (where it is the
            default) as ``X-Request-Timeout``, in oip-v2 as Triton's ``timeout`` parameter.
        headers: Sent with each request.
        check: ``rows``: the dialect judges answers; ``status``: 200 is enough.
        order: ``cycle`` or ``random``.

    Raises:
        OperatorError: Not reachable, no such model, no rows, or the first request is not understood; in the
            server's own words.
    """
    target = find_target(url, dialect=dialect, model=model, headers=headers)
    chosen = _rows(target, texts=texts, rows=rows, file=file, column=column, unique=unique)
    wanted: list[Any] | None = list(expect) if expect is not None else None
    if echo is not None:
        answered, asked = echo
        if missing := next((row for row in chosen if asked not in row), None):
            raise OperatorError(
                f"a row has no input {asked!r} to be echoed; it has {', '.join(map(repr, missing))}"
            )
        wanted = [{answered: row[asked]} for row in chosen]
    if wanted is not None and len(wanted) != len(chosen):
        raise OperatorError(f"{len(wanted):,} expected answers for {len(chosen):,} rows")
    encode: Any = None
    told: str | None = None
    more: list[tuple[str, str]] = []
    if slo_s is not None and deadline is not False:
        header = target.dialect.deadline(slo_s)
        if header is not None:
            more.append(header)
            told = f"{header[0]}: {header[1]}"
        elif deadline:
            if not isinstance(target.dialect, OipV2):
                raise OperatorError(f"the dialect {target.dialect.name} has no deadline to send")
            encode = target.dialect.with_timeout(slo_s).encode
            told = f"parameters.timeout: {round(slo_s * 1e6)}"
    requests = encode_requests(
        target, chosen, rows_per_request, headers=more, dialect_encode=encode
    )
    expects = [] if wanted is None else encode_expected(wanted, rows_per_request)
    workload = Workload(target, requests, expects, rows_per_request, check, order, told)
    _try_one(workload)
    return workload


def _rows(
    target: Target,
    *,
    texts: Sequence[str] | None,
    rows: Sequence[Row] | None,
    file: Path | None,
    column: str | None,
    unique: int | None,
) -> Sequence[Row]:
    model = target.model
    if file is not None:
        return read_rows(file, model, column, raw=target.dialect.name == "raw" and column is None)
    if texts is not None:
        name = model.inputs[0].name if model.inputs else "text"
        return [{name: text} for text in texts]
    if rows:
        return rows
    if unique is not None:
        return make_rows(model, unique, np.random.default_rng(0))
    if model.examples:
        return model.examples
    if model.inputs:
        return make_rows(model, 1, np.random.default_rng(0))
    raise OperatorError("the server tells no example of what it takes; give rows with --input FILE")


def _try_one(workload: Workload) -> None:
    """One request, so that a mistake is told in the server's words instead of as 100 % errors."""
    target = workload.target
    data = workload.requests[0]
    head, _, body = data.partition(b"\r\n\r\n")
    pairs = [line.decode("latin-1").split(": ", 1) for line in head.split(b"\r\n")[1:]]
    headers = [(name, value) for name, value in pairs if name.lower() != "x-request-timeout"]
    status, answer = post(target, headers, body)
    verdict = target.dialect.judge(status, answer, workload.rows)
    if verdict.outcome == FAILED:
        told = words_of(answer)
        raise OperatorError(
            f"POST {target.path} is answered with {status}{': ' + told if told else ''}"
        )
