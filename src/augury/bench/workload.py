"""What is asked of whom: a target, and every request that may be sent to it, encoded beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from augury.bench.dialects.base import FAILED, UNREADABLE, Row
from augury.bench.dialects.oip_v2 import OipV2
from augury.bench.payloads import (
    Format,
    encode_expected,
    encode_requests,
    make_rows,
    read_rows,
)
from augury.bench.target import Target, exchange, find_target, words_of
from augury.core.errors import OperatorError

# Of the rows that are made up where none are given: more than are under way at once with 32 connections, or 500.
MADE_UP: Final = 1000

RowsFrom = Literal["given", "file", "examples", "made up"]


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
        rows_from: Where the rows come from; for reports.
        fresh: Whether each request asks for an answer that is computed for it alone.
    """

    target: Target
    requests: Sequence[bytes]
    expects: Sequence[bytes] = ()
    rows: int = 1
    check: Literal["rows", "status"] = "rows"
    order: Literal["cycle", "random"] = "cycle"
    deadline: str | None = None
    rows_from: RowsFrom = "given"
    fresh: bool = False

    def few_distinct(self, in_flight: float) -> str:
        """Why a server could share answers among the requests that are under way; empty when it could not."""
        if self.fresh or len(self.requests) >= in_flight:
            return ""
        count = len(self.requests)
        return (
            f"about {in_flight:,.0f} requests are under way at once, and there "
            f"{'is only 1' if count == 1 else f'are only {count:,}'} distinct: a server that remembers or shares answers "
            "computes fewer than it gives; --input or --unique give more"
        )


def prepare(
    url: str,
    *,
    dialect: str | None = None,
    model: str = "",
    texts: Sequence[str] | None = None,
    rows: Sequence[Row] | None = None,
    file: Path | None = None,
    column: str | None = None,
    format: Format | None = None,
    unique: int | None = None,
    rows_per_request: int = 1,
    expect: Sequence[Any] | None = None,
    echo: tuple[str, str] | None = None,
    slo_s: float | None = None,
    deadline: bool | None = None,
    headers: Sequence[tuple[str, str]] = (),
    check: Literal["rows", "status"] = "rows",
    order: Literal["cycle", "random"] = "cycle",
    fresh: bool | None = None,
) -> Workload:
    """Ask the server what it serves, encode all requests, and try one.

    Without any rows, 1,000 are made up after the model's example; where the server does not understand those, or
    with *expect*, its examples are taken.

    Args:
        url: See :func:`augury.bench.target.find_target`.
        dialect: Likewise.
        model: Likewise.
        texts: A row each, for the model's first input.
        rows: Rows as inputs by name; in the dialect raw ``{"raw": body}``, or the body as a JSON object.
        file: Rows of a file; see :func:`augury.bench.payloads.read_rows`.
        column: Likewise.
        format: Likewise.
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
        fresh: Send ``Cache-Control: no-store``, so that no answer is remembered, or shared among equal requests;
            ``None``: in the native dialect, where it is known to mean that.

    Raises:
        OperatorError: Not reachable, no such model, no rows, or the first request is not understood; in the
            server's own words.
    """
    target = find_target(url, dialect=dialect, model=model, headers=headers)
    given = _given(target, texts=texts, rows=rows, file=file, column=column, format=format)
    encoding = _encoding(target, slo_s=slo_s, deadline=deadline, fresh=fresh)

    def make(chosen: Sequence[Row], rows_from: RowsFrom) -> Workload:
        wanted = _wanted(chosen, expect, echo)
        requests = encode_requests(
            target,
            chosen,
            rows_per_request,
            headers=encoding.headers,
            dialect_encode=encoding.encode,
        )
        expects = [] if wanted is None else encode_expected(wanted, rows_per_request)
        workload = Workload(
            target,
            requests,
            expects,
            rows_per_request,
            check,
            order,
            encoding.deadline,
            rows_from,
            encoding.fresh,
        )
        _try_some(workload)
        return workload

    if given is not None:
        return make(given, "file" if file is not None else "given")
    if unique is not None:
        return make(make_rows(target.model, unique, np.random.default_rng(0)), "made up")
    examples = target.model.examples
    if target.model.inputs and expect is None:
        try:
            return make(make_rows(target.model, MADE_UP, np.random.default_rng(0)), "made up")
        except OperatorError:
            # Not every model takes any number; its own examples it takes.
            if not examples:
                raise
    if not examples:
        raise OperatorError(
            "the server tells no example of what it takes; give rows with --input FILE"
        )
    return make(examples, "examples")


def _given(
    target: Target,
    *,
    texts: Sequence[str] | None,
    rows: Sequence[Row] | None,
    file: Path | None,
    column: str | None,
    format: Format | None,
) -> Sequence[Row] | None:
    model = target.model
    if file is not None:
        raw = target.dialect.name == "raw" and column is None and format in (None, "txt", "jsonl")
        return read_rows(file, model, column, raw=raw, format=format)
    if texts is not None:
        name = model.inputs[0].name if model.inputs else "text"
        return [{name: text} for text in texts]
    return rows or None


def _wanted(
    chosen: Sequence[Row], expect: Sequence[Any] | None, echo: tuple[str, str] | None
) -> list[Any] | None:
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
    return wanted


class _Encoding(NamedTuple):
    """What each request says besides its rows."""

    headers: list[tuple[str, str]]
    encode: Any
    deadline: str | None
    fresh: bool


def _encoding(
    target: Target, *, slo_s: float | None, deadline: bool | None, fresh: bool | None
) -> _Encoding:
    headers: list[tuple[str, str]] = []
    encode: Any = None
    told: str | None = None
    if slo_s is not None and deadline is not False:
        header = target.dialect.deadline(slo_s)
        if header is not None:
            headers.append(header)
            told = f"{header[0]}: {header[1]}"
        elif deadline:
            if not isinstance(target.dialect, OipV2):
                raise OperatorError(f"the dialect {target.dialect.name} has no deadline to send")
            encode = target.dialect.with_timeout(slo_s).encode
            told = f"parameters.timeout: {round(slo_s * 1e6)}"
    own = {name.lower() for name, _ in target.headers}
    is_fresh = target.dialect.name == "native" if fresh is None else fresh
    if is_fresh and "cache-control" not in own:
        headers.append(("Cache-Control", "no-store"))
    return _Encoding(headers, encode, told, is_fresh and "cache-control" not in own)


def _try_some(workload: Workload) -> None:
    """One request, so that a mistake is told in the server's words instead of as 100 % errors.

    Of rows that were made up three: it need not take all of them.
    """
    target, requests = workload.target, workload.requests
    some = {0, len(requests) // 2, len(requests) - 1} if workload.rows_from == "made up" else {0}
    for number in sorted(some):
        head, end, body = requests[number].partition(b"\r\n\r\n")
        # The first answer of a server takes longer, and that is no mistake.
        kept = [
            line
            for line in head.split(b"\r\n")
            if not line.lower().startswith((b"x-request-timeout:", b"connection:"))
        ]
        request = b"\r\n".join([*kept, b"Connection: close"]) + end + body
        answer = exchange(target, request)
        try:
            verdict = target.dialect.judge(answer.status, answer.body, workload.rows)
        except RecursionError:
            verdict = UNREADABLE
        if verdict.outcome == FAILED:
            told = words_of(answer.body)
            raise OperatorError(
                f"POST {target.shown_path} is answered with {answer.status}{': ' + told if told else ''}"
            )
