"""What is asked when nobody says what: nothing that a server could remember."""

from __future__ import annotations

import pytest

from augury.bench.report.warnings import warnings_of
from augury.bench.run import Load, prepare, run_closed
from tests.bench.servers import answer, echo, serving

LOAD = Load(duration_s=0.5, warm_up_s=0.1)


def test_requests_are_all_different_and_ask_for_fresh_answers() -> None:
    """Without any rows 1,000 are made up; no-store, so that no two share an answer."""
    with serving() as server:
        workload = prepare(server.url)
        remembered = prepare(server.url, fresh=False)
        own = prepare(server.url, headers=[("Cache-Control", "max-age=1")])
    assert len(set(workload.requests)) == 1000
    assert (workload.rows_from, workload.fresh) == ("made up", True)
    assert all(b"\r\nCache-Control: no-store\r\n" in one for one in workload.requests)
    assert not remembered.fresh
    assert b"Cache-Control" not in remembered.requests[0]
    assert own.requests[0].count(b"Cache-Control") == 1
    assert not own.fresh


def test_examples_are_taken_where_made_up_rows_are_not_understood() -> None:
    """Not every model takes any number."""

    async def picky(number: int, path: str, body: bytes) -> bytes | None:
        if body and b"[1,2]" not in body:
            return answer({"detail": "only 1 and 2"}, 422)
        return await echo(number, path, body)

    with serving(picky) as server:
        workload = prepare(server.url)
    assert (workload.rows_from, len(workload.requests)) == ("examples", 1)


@pytest.mark.parametrize(
    ("fresh", "rows", "warned"), [(False, 1, True), (False, 20, False), (None, 1, False)]
)
def test_few_distinct_requests_are_told(fresh: bool | None, rows: int, warned: bool) -> None:
    """Fewer than are under way at once, and nothing that keeps a server from sharing answers."""
    with serving() as server:
        workload = prepare(server.url, rows=[{"x": [n, 0]} for n in range(rows)], fresh=fresh)
        level = run_closed(workload, LOAD, connections=8)
    told = [one for one in warnings_of(level, workload) if "distinct" in one]
    assert bool(told) == warned
    if warned:
        assert "about 8 requests are under way at once, and there is only 1 distinct" in told[0]
