"""The loop that sends: times are kept whatever the server does, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from augury.bench.dialects.base import FAILED, GOOD, OK, REFUSED, WRONG, Verdict
from augury.bench.dialects.native import NATIVE
from augury.bench.load.generator import Generator
from augury.bench.load.judging import make_judge
from augury.bench.load.plan import Plan, Progress
from augury.bench.load.wire import encode_request
from augury.bench.measure.tally import Tally
from augury.bench.results import level_of
from tests.bench.servers import answer, echo, serving


def _plan(
    port: int,
    *,
    loop: Literal["open", "closed"] = "open",
    at: Sequence[float] = (),
    connections: int = 50,
    distinct: int = 100,
    **more: Any,
) -> Plan:
    bodies = [msgspec.json.encode({"rows": [{"x": [n, -n]}]}) for n in range(distinct)]
    given: dict[str, Any] = {
        "warm_up_s": 0.0,
        "duration_s": 1.0,
        "timeout_s": 5.0,
        "slo_s": 0.25,
        "interval_s": 0.25,
        "expects": [msgspec.json.encode([{"y": [n, -n]}]) for n in range(distinct)],
    } | more
    return Plan(
        family=socket.AF_INET,
        address=("127.0.0.1", port),
        requests=[encode_request("/p", "h", [], body) for body in bodies],
        dialect="native",
        rows=1,
        check="rows",
        loop=loop,
        at=np.array(at, float).tobytes(),
        which=(np.arange(max(len(at), 1000)) % distinct).astype(np.uint32).tobytes(),
        connections=connections,
        **given,
    )


def _run(plan: Plan, **more: Any) -> Tally:
    judge = make_judge(NATIVE, plan.rows, plan.check, plan.expects)
    return Generator(plan, judge, **more).run(time.monotonic() + 0.02)


def _every(gap_s: float, until_s: float = 1.0) -> list[float]:
    return np.arange(0, until_s, gap_s).tolist()


def test_open_loop_answers_all() -> None:
    """Each request is sent once, at its time, and each answer is its own."""
    with serving() as server:
        tally = _run(_plan(server.port, at=_every(0.002)))
    assert (tally.count, tally.count_of(OK), server.requests) == (500, 500, 500)
    assert tally.lag.count == 500


def test_a_stall_shows_in_the_tail_of_an_open_loop() -> None:
    """No coordinated omission: a server that stands still for a second delays all that came meanwhile.

    From the times of sending, with one connection, only one request of 400 would have been slow.
    """
    stalled = False

    async def stall(number: int, path: str, body: bytes) -> bytes | None:
        nonlocal stalled
        if number == 100 and not stalled:
            stalled = True
            await asyncio.sleep(1.0)
        return await echo(number, path, body)

    with serving(stall) as server:
        tally = _run(_plan(server.port, at=_every(0.005, 2.0), connections=1, duration_s=2.0))
    assert tally.count_of(OK) == 400
    assert tally.ok.percentile_us(99) > 900_000
    assert tally.ok.percentile_us(75) > 200_000
    assert tally.ok_from_send.percentile_us(99) < 500_000
    assert tally.waited > 100
    # All were late, but the generator took them up in time.
    assert tally.good < 350


def test_closed_loop_waits_for_answers() -> None:
    """So many connections, one request on each at a time."""
    most = 0
    now = 0

    async def slow(number: int, path: str, body: bytes) -> bytes | None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return await echo(number, path, body)

    with serving(slow) as server:
        tally = _run(_plan(server.port, loop="closed", connections=7, duration_s=0.5))
    assert (most, server.connections) == (7, 7)
    assert 7 * 4 <= tally.count_of(OK) == tally.count <= 7 * 25
    assert not tally.lag.percentile_us(99) > 0


def test_never_answered_is_failed() -> None:
    """After the timeout each is counted, and its connection is not used again."""

    async def silent(number: int, path: str, body: bytes) -> bytes | None:
        if number % 2:
            await asyncio.sleep(60)
        return await echo(number, path, body)

    with serving(silent) as server:
        tally = _run(_plan(server.port, at=_every(0.05), timeout_s=0.3))
    assert tally.count == 20
    assert {verdict.label for verdict in tally.kinds} == {"", "timeout"}
    assert tally.count_of(FAILED) >= 9


def test_never_sent_is_failed() -> None:
    """A request that found no connection free until its time was up is not forgotten."""

    async def silent(number: int, path: str, body: bytes) -> bytes | None:
        await asyncio.sleep(60)
        return None

    with serving(silent) as server:
        tally = _run(_plan(server.port, at=_every(0.02, 0.2), timeout_s=0.3, connections=2))
    labels = {verdict.label: count for verdict, count in tally.kinds.items()}
    assert tally.count == tally.count_of(FAILED) == 10
    assert labels["timeout, no connection free"] >= 1


def test_errors_by_kind() -> None:
    """Refusals, errors with and without code, wrong answers, closed connections."""
    answers = [
        answer({"code": "overloaded"}, 429),
        answer(b"busy", 503),
        answer({"code": "internal"}, 500),
        answer({"rows": [{"y": [0, 0]}]}),
        answer({"rows": []}),
        answer({"rows": [{"error": {"status": 422, "code": "refused"}}]}),
        answer(b"not json"),
        b"SSH-2.0\r\n\r\n",
        None,
    ]

    async def various(number: int, path: str, body: bytes) -> bytes | None:
        return answers[number % len(answers)]

    with serving(various) as server:
        # The first expects y = [0, 0], which nobody else does.
        tally = _run(_plan(server.port, at=_every(0.02, 0.18), connections=1))
    kinds = {(one.outcome, one.label): count for one, count in tally.kinds.items()}
    assert kinds == {
        (REFUSED, "429 overloaded"): 1,
        (REFUSED, "503"): 1,
        (FAILED, "500 internal"): 1,
        (WRONG, "not what was expected"): 1,
        (WRONG, "0 rows for 1"): 1,
        (FAILED, "row 422 refused"): 1,
        (WRONG, "unreadable answer"): 1,
        (WRONG, "not HTTP"): 1,
        (FAILED, "closed before the answer"): 1,
    }
    assert tally.refused.count == 2


def test_answers_that_are_mixed_up_are_wrong() -> None:
    """A server that answers a request with another's rows is found out."""

    async def mixed(number: int, path: str, body: bytes) -> bytes | None:
        return await echo(number, path, b'{"rows":[{"x":[7,-7]}]}' if number % 10 == 9 else body)

    with serving(mixed) as server:
        tally = _run(_plan(server.port, at=_every(0.01), distinct=97))
    assert tally.count == 100
    assert tally.count_of(WRONG) == 10


def test_nobody_listens() -> None:
    """Each request fails at once in the open loop; the closed loop tries now and then, not all the time."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        tally = _run(_plan(port, at=_every(0.01)))
        assert [(one.label, n) for one, n in tally.kinds.items()] == [("connection refused", 100)]
        closed = _run(_plan(port, loop="closed", connections=3))
    assert 3 <= closed.count_of(FAILED) <= 3 * 25


def test_connections_that_end_are_replaced() -> None:
    """A server that closes after each answer loses no request."""

    async def once(number: int, path: str, body: bytes) -> bytes | None:
        return answer(
            {"rows": [{"y": __import__("json").loads(body)["rows"][0]["x"]}]},
            200,
            "Connection: close",
        )

    with serving(once) as server:
        tally = _run(_plan(server.port, loop="closed", connections=4, duration_s=0.3))
        opened = _run(_plan(server.port, at=_every(0.01)))
    assert tally.count == tally.count_of(OK) > 8
    assert opened.count == opened.count_of(OK) == 100


def test_large_requests_and_chunked_answers() -> None:
    """Bodies over the sockets' buffers go and come whole."""
    body = b"x" * 3_000_000

    async def big(number: int, path: str, got: bytes) -> bytes | None:
        assert got == body
        half = len(body) // 2
        chunks = b"".join(b"%x\r\n%s\r\n" % (half, body[:half]) for _ in range(2))
        return b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    seen: list[int] = []

    def judge(status: int, got: bytes, which: int) -> Any:
        seen.append(len(got))
        return NATIVE.judge(429, got, 1)

    with serving(big) as server:
        plan = _plan(server.port, at=[0, 0.3, 0.6])
        plan.requests = [encode_request("/p", "h", [], body)]
        plan.which = np.zeros(3, np.uint32).tobytes()
        tally = Generator(plan, judge).run(time.monotonic())
    assert (tally.count, seen) == (3, [len(body)] * 3)


def test_a_word_ends_it_early() -> None:
    """What was measured until then is kept, and the window is cut; every request that was due is counted.

    The server answers none in the last half second: those it was asked, those that wait for a connection and
    those that are due have failed, or the rate would look as if it had held.
    """
    reader, writer = os.pipe()
    told: list[Progress] = []

    async def ever_slower(number: int, path: str, body: bytes) -> bytes | None:
        if number >= 30:
            await asyncio.sleep(60)
        return await echo(number, path, body)

    with serving(ever_slower) as server:
        threading.Timer(1.0, os.write, (writer, b"s")).start()
        plan = _plan(server.port, at=_every(0.01, 30), duration_s=30.0, connections=20)
        tally = _run(plan, stop_fd=reader, tell=told.append)
    os.close(reader)
    os.close(writer)
    assert 0.3 < tally.duration_s < 20
    kinds = {verdict.label: count for verdict, count in tally.kinds.items()}
    assert kinds[""] == 30
    assert kinds["interrupted"] >= 20
    # Each that was due by then, to one.
    assert tally.count == pytest.approx(tally.duration_s / 0.01, abs=2)
    assert tally.good < 0.6 * tally.count
    assert told


def test_a_closed_loop_that_ends_early_counts_what_is_under_way() -> None:
    """One request on each connection."""
    reader, writer = os.pipe()

    async def silent(number: int, path: str, body: bytes) -> bytes | None:
        await asyncio.sleep(60)
        return None

    with serving(silent) as server:
        threading.Timer(0.5, os.write, (writer, b"s")).start()
        plan = _plan(server.port, loop="closed", connections=5, duration_s=30.0)
        tally = _run(plan, stop_fd=reader)
    os.close(reader)
    os.close(writer)
    assert [(one.label, count) for one, count in tally.kinds.items()] == [("interrupted", 5)]


def test_waiting_for_a_connection_is_not_the_generators_delay() -> None:
    """A server that closes each connection, slowly: what waits for the next one was taken up in time."""

    async def once(number: int, path: str, body: bytes) -> bytes | None:
        await asyncio.sleep(0.05)
        told = await echo(number, path, body)
        return told and told.replace(b"\r\n\r\n", b"\r\nConnection:close\r\n\r\n", 1)

    with serving(once) as server:
        plan = _plan(server.port, at=_every(0.01, 0.5), connections=1, duration_s=0.5)
        tally = _run(plan)
    assert tally.count == tally.count_of(OK) == 50
    assert tally.waited > 30
    assert tally.ok.percentile_us(99) > 1_000_000
    assert tally.lag.percentile_us(90) < 100_000
    # No request went to a connection that the server was about to close.
    assert server.connections == 50


def test_hostile_answers_are_counted() -> None:
    """Chunks of a negative size, beginnings without end, brackets without end: wrong each, and on it goes."""
    chunks = b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n"
    answers = [
        chunks + b"-6\r\n\r\n",
        b"HTTP/1.1 100 x\r\n\r\n" * 20_000,
        answer(b'{"rows":' + b"[" * 100_000),
        b"HTTP/1.1 100 x\r\n\r\n" * 1200 + answer({"rows": [{"y": [3, -3]}]}),
    ]

    async def hostile(number: int, path: str, body: bytes) -> bytes | None:
        return answers[number % len(answers)]

    with serving(hostile) as server:
        tally = _run(_plan(server.port, at=_every(0.1, 0.4), connections=1))
    kinds = {(one.outcome, one.label): count for one, count in tally.kinds.items()}
    assert kinds == {(WRONG, "not HTTP"): 2, (WRONG, "unreadable answer"): 1, (OK, ""): 1}


def test_a_generator_that_is_kept_from_its_core_is_found_out() -> None:
    """It uses little CPU time, and waits for nothing: here because judging an answer sleeps."""

    def slow(status: int, body: bytes, which: int) -> Verdict:
        time.sleep(0.01)
        return GOOD

    with serving() as server:
        plan = _plan(server.port, loop="closed", connections=16)
        tally = Generator(plan, slow).run(time.monotonic())
        idle = _run(_plan(server.port, at=_every(0.1)))
    assert tally.cpu_share < 0.7
    assert tally.busy_share > 0.9
    assert sum(tally.behind_s) / len(tally.behind_s) > 0.01
    assert idle.busy_share < 0.7
    level = level_of(
        tally, loop="closed", rate_rps=None, connections=16, server=None, interrupted=False
    )
    assert "a worker waited for nothing" in level.generator_limit


def test_warm_up_is_not_counted() -> None:
    """Requests of the warm-up are sent, and nothing else is known of them."""
    with serving() as server:
        tally = _run(_plan(server.port, at=_every(0.01), warm_up_s=0.5, duration_s=0.5))
    assert (server.requests, tally.count) == (100, 50)


@pytest.mark.parametrize("connections", [1, 20])
def test_cpu_share_is_measured(connections: int) -> None:
    """A share of a core, above nothing."""
    with serving() as server:
        tally = _run(_plan(server.port, loop="closed", connections=connections))
    assert 0 < tally.cpu_share <= 1.2
