"""Runs as ``benchmarks/`` calls them: worker processes, real sockets."""

from __future__ import annotations

import asyncio
import math
import os
from pathlib import Path

import pytest

from augury.bench.load.arrivals import Trace, read_trace
from augury.bench.results import Level, Snapshot
from augury.bench.run import Load, prepare, run_closed, run_open, sweep
from augury.core.errors import OperatorError
from tests.bench.servers import answer, echo, serving

QUICK = Load(duration_s=0.8, warm_up_s=0.2, slo_s=0.5, timeout_s=3)


def test_open_loop_over_two_processes() -> None:
    """Both send their half of the same arrivals; counts add up, and each answer is its own."""
    load = Load(duration_s=1, warm_up_s=0.2, slo_s=0.5, processes=2)
    told: list[Snapshot] = []
    with serving() as server:
        workload = prepare(server.url, unique=500, echo=("y", "x"))
        level = run_open(workload, load, rate_rps=300, arrivals="constant", tell=told.append)
    assert level.requests == 300
    assert (level.ok, level.wrong, level.failed, level.refused) == (300, 0, 0, 0)
    assert level.offered_rps == pytest.approx(300)
    assert level.good_share > 0.5
    assert level.latency.count == 300
    assert sum(point.offered for point in level.points) == 300
    assert told[-1].offered <= 300
    # Three requests to see that they work, and those of the warm-up.
    assert server.requests == 3 + 360


def test_closed_loop() -> None:
    """As many answers as the connections get."""
    with serving() as server:
        level = run_closed(prepare(server.url), QUICK, connections=4)
    assert level.ok == level.requests > 20
    assert level.rate_rps is None
    assert level.server is None or os.getpid() not in level.server.pids
    assert level.throughput_rps == pytest.approx(level.ok / 0.8)


def test_own_processes_are_known() -> None:
    """CPU time and memory of given processes, here this one, which serves."""
    load = Load(duration_s=1, warm_up_s=0.2, pids=(os.getpid(),))
    with serving() as server:
        level = run_closed(prepare(server.url), load, connections=4)
    assert level.server is not None
    assert level.server.cpu_s > 0
    assert level.cpu_s_per_1000 > 0
    assert level.server.rss_peak_bytes > 10_000_000


def test_trace_is_followed() -> None:
    """Its times and its inputs, made faster."""
    sent: list[int] = []

    async def note(number: int, path: str, body: bytes) -> bytes | None:
        if body:
            sent.append(int(body.split(b"[")[2].split(b",")[0]))
        return await echo(number, path, body)

    lines = [f'{{"at_s": {n}, "input": {n * 7 % 10}}}' for n in range(40)]
    trace = read_trace(lines, "t")
    with serving(note) as server:
        workload = prepare(server.url, rows=[{"x": [n, 0]} for n in range(10)])
        load = Load(duration_s=10, warm_up_s=0)
        level = run_open(workload, load, trace=trace, rate_rps=80)
        assert level.requests == 40
        assert level.duration_s == pytest.approx(0.5)
        assert sorted(sent[1:]) == sorted(n * 7 % 10 for n in range(40))
        far = Trace(trace.times, trace.inputs + 3 if trace.inputs is not None else None)
        with pytest.raises(OperatorError, match="names input 12; there are 10"):
            run_open(workload, load, trace=far, rate_rps=80)
        with pytest.raises(OperatorError, match="nothing is left"):
            run_open(workload, Load(warm_up_s=60), trace=trace)


async def _one_at_a_time(number: int, path: str, body: bytes) -> bytes | None:
    """Takes 20 ms for a request while nobody else is served, and says no to more than 4."""
    if not body:
        return await echo(number, path, body)
    global _waiting  # noqa: PLW0603 - the server's own state
    if _waiting >= 4:
        return answer({"code": "overloaded"}, 429)
    _waiting += 1
    async with _lock:
        await asyncio.sleep(0.02)
    _waiting -= 1
    return await echo(number, path, body)


_waiting = 0
_lock = asyncio.Lock()


def test_sweep_finds_what_a_server_can() -> None:
    """A server of 50 requests/s that refuses beyond: the sustainable rate is below, goodput stays up."""
    global _waiting, _lock
    _waiting, _lock = 0, asyncio.Lock()
    load = Load(duration_s=2, warm_up_s=0.2, slo_s=1.0, timeout_s=2)
    levels: list[Level] = []
    with serving(_one_at_a_time) as server:
        workload = prepare(server.url, slo_s=1.0)
        found = sweep(workload, load, rates=[150, 10], arrivals="constant", on_level=levels.append)
    assert [round(one.rate_rps or 0) for one in found.levels] == [10, 150]
    assert [round(one.rate_rps or 0) for one in levels] == [10, 150]
    assert found.sustainable_rps == pytest.approx(10)
    assert found.levels[1].refused > 50
    assert 5 < found.levels[1].goodput_rps < 60
    assert found.beyond is found.levels[1]


def test_sweep_searches_by_itself() -> None:
    """Without rates: from a closed loop's part upwards, then between, then beyond."""
    global _waiting, _lock
    _waiting, _lock = 0, asyncio.Lock()
    load = Load(duration_s=1.5, warm_up_s=0.1, slo_s=0.5, timeout_s=2, pids=None, least_requests=20)
    with serving(_one_at_a_time) as server:
        found = sweep(prepare(server.url), load, arrivals="constant", precision=1, beyond=(3,))
    assert found.sustainable_rps is not None
    assert 5 < found.sustainable_rps < 60
    assert found.beyond is not None
    assert found.beyond.offered_rps > 1.9 * found.sustainable_rps
    assert not math.isnan(found.goodput_kept)


def test_deadline_is_told_in_the_native_dialect() -> None:
    """X-Request-Timeout is the SLO, unless it is not wanted."""
    with serving() as server:
        with_it = prepare(server.url, slo_s=0.25)
        without = prepare(server.url, slo_s=0.25, deadline=False)
    assert b"\r\nX-Request-Timeout: 0.25\r\n" in with_it.requests[0]
    assert b"X-Request-Timeout" not in without.requests[0]
    assert (with_it.deadline, without.deadline) == ("X-Request-Timeout: 0.25", None)


def test_mistakes_are_told_in_the_servers_words(tmp_path: Path) -> None:
    """Unknown model, refused input, nobody there, no rows, no rate, no SLO."""

    async def picky(number: int, path: str, body: bytes) -> bytes | None:
        if path == "/api/models/none":
            return answer({}, 404)
        if body:
            return answer({"detail": "input 'x' is missing from the row"}, 400)
        return await echo(number, path, body)

    empty = tmp_path / "empty.txt"
    empty.touch()
    with serving(picky) as server:
        with pytest.raises(OperatorError, match="400: input 'x' is missing from the row"):
            prepare(server.url)
        with pytest.raises(OperatorError, match="no model 'none'"):
            prepare(server.url, model="none")
        with pytest.raises(OperatorError, match=r"empty\.txt holds no row"):
            prepare(server.url, file=empty)
        with pytest.raises(OperatorError, match="no input 'z' to be echoed; it has 'x'"):
            prepare(server.url, echo=("y", "z"))
        with pytest.raises(OperatorError, match="2 expected answers for 1 rows"):
            prepare(server.url, expect=[1, 2])
    with pytest.raises(OperatorError, match="no answer from 127"):
        prepare("http://127.0.0.1:1")
    with serving() as server:
        workload = prepare(server.url)
        with pytest.raises(OperatorError, match="a rate above 0"):
            run_open(workload, QUICK)
        with pytest.raises(OperatorError, match="needs an SLO"):
            sweep(workload, Load())
        with pytest.raises(OperatorError, match="1 connections for 2 processes"):
            run_closed(workload, Load(processes=2), connections=1)
