"""Very many concurrent requests, each unlike all others: every answer belongs to its request.

Among them are rows on which the model fails, inside requests whose other rows are sound, and clients that
vanish at every moment.  The whole million, as a number of its own choice:

    AUGURY_MILLION=1000000 python -m pytest tests/e2e/test_million.py -m slow
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess, serving
from tests.models import write_picky_echo
from tests.wire import Wire, post

pytestmark = pytest.mark.e2e

PATH = "/api/models/picky-echo/predict"
CONNECTIONS = 64
MOST_ROWS = 8
# Who is more urgent than others, and until when: nothing of it mixes up answers.
WISHES = (
    (),
    ("X-Request-Priority: high",),
    ("X-Request-Priority: low", "X-Request-Timeout: 60"),
    ("X-Request-Timeout: 30",),
)
# Of so many requests, one: has several rows, is left by its client.
EVERY_MULTIPLE = 8
EVERY_VANISHING = 40
# Of the rows in a request of several.
FAILING_PART = 0.3
# A machine that does other things as well does 50 requests a second at least.
SLOWEST_PER_S = 50
# Answers that are remembered; full after some ten thousand, so that the rest must not grow anything.
CACHE_MIB = 8
GROWTH_MIB = 60


class Crowd:
    """Clients that share the numbers from 1 on: none is sent twice.

    Args:
        server: Whom they ask.
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._turns: Iterator[int] = iter(())
        self._numbers = itertools.count(1)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def ask(self, requests: int) -> None:
        """Send *requests* requests, on all connections at once."""
        self._turns = iter(range(requests))
        async with asyncio.TaskGroup() as clients:
            for seed in range(CONNECTIONS):
                clients.create_task(self._client(random.Random(seed)))

    async def _client(self, rng: random.Random) -> None:
        wire: Wire | None = None
        try:
            for _ in self._turns:
                if wire is None:
                    wire = await Wire.open(self._server.host, self._server.port)
                rows = self._rows(rng)
                body = json.dumps({"rows": [{"x": row} for row in rows]}).encode()
                request = post(PATH, body, *rng.choice(WISHES))
                if rng.randrange(EVERY_VANISHING) == 0:
                    await self._vanish(wire, request, rng)
                    wire = None
                else:
                    answer = await wire.ask(request)
                    self._check(rows, answer.status, answer.body)
        finally:
            if wire is not None:
                wire.writer.transport.abort()

    def _rows(self, rng: random.Random) -> list[list[int]]:
        """One row or several, each of a number of its own; negative: the model fails on it."""
        several = rng.randrange(EVERY_MULTIPLE) == 0
        count = rng.randint(2, MOST_ROWS) if several else 1
        rows = []
        for place in range(count):
            number = next(self._numbers)
            failing = several and rng.random() < FAILING_PART
            rows.append([-number if failing else number, place])
        if all(row[0] < 0 for row in rows):
            rows[0][0] = -rows[0][0]
        return rows

    async def _vanish(self, wire: Wire, request: bytes, rng: random.Random) -> None:
        """Leave in the middle of the request, or while the answer is made, with or without a word."""
        whole = rng.random() < 0.5
        await wire.send(request if whole else request[: rng.randrange(1, len(request))])
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() * 0.01)
        if rng.random() < 0.5:
            wire.writer.transport.abort()
        else:
            wire.writer.close()
        self.counts["vanished"] += 1

    def _check(self, rows: list[list[int]], status: int, body: bytes) -> None:
        self.counts[f"answered {status}"] += 1
        if status != 200:
            self.wrong.append(f"{rows}: {status} {body[:300]!r}")
            return
        for row, got in zip(rows, json.loads(body)["rows"], strict=True):
            if row[0] < 0:
                self.counts["failed rows"] += 1
                right = got.get("error", {}).get("code") == "runtime_failed" and "y" not in got
            else:
                self.counts["rows"] += 1
                right = got == {"y": row}
            if not right:
                self.wrong.append(f"row {row} of {rows}: {got}")


async def ask(tmp_path: Path, requests: int) -> Counter[str]:
    """Let a crowd send *requests* requests to a real server, which must be well at every moment."""
    write_picky_echo(tmp_path / "models")
    with serving(
        tmp_path, "models", "--store", "memory://", cache_bytes=str(CACHE_MIB << 20)
    ) as server:
        crowd = Crowd(server)
        first = min(2000, requests // 2)
        await crowd.ask(first)
        before_mib, files = server.rss_mib(), len(server.open_files())
        started_s = time.monotonic()
        async with asyncio.timeout(60 + requests / SLOWEST_PER_S):
            await crowd.ask(requests - first)
        per_s = (requests - first) / (time.monotonic() - started_s)
        growth_mib = server.rss_mib(peak=True) - before_mib
        assert not crowd.wrong[:10]
        assert growth_mib < GROWTH_MIB, f"{growth_mib:.0f} MiB more after {requests} requests"
        with server.client() as client:
            assert client.get("/readyz").status_code == 200
        await _settle(server, files)
        await asyncio.to_thread(server.stop)
    assert not [event for event in server.events() if event["level"] == "error"][:10]
    print(f"{dict(crowd.counts)}, {per_s:,.0f}/s, {growth_mib:.0f} MiB more")  # noqa: T201 - for -s
    return crowd.counts


async def _settle(server: ServerProcess, files: int) -> None:
    """Wait until the connections of those that left are closed."""
    async with asyncio.timeout(60):
        while len(server.open_files()) > files + 4:  # noqa: ASYNC110 - another process's files
            await asyncio.sleep(0.1)


def expect(counts: Counter[str], requests: int) -> None:
    """Every request was answered with 200, but for those whose clients had gone."""
    assert counts["answered 200"] + counts["vanished"] == requests
    assert counts["vanished"] > requests / EVERY_VANISHING / 2
    assert counts["failed rows"] > requests / EVERY_MULTIPLE * FAILING_PART
    assert not [name for name in counts if name.startswith("answered") and name[-3:] != "200"]


async def test_three_thousand(tmp_path: Path) -> None:
    """The same in small: answers find their requests, failing rows fail alone, nothing is left over."""
    expect(await ask(tmp_path, 3000), 3000)


@pytest.mark.slow
@pytest.mark.timeout(25_000)
async def test_a_million(tmp_path: Path) -> None:
    """A hundred thousand requests, or as many as AUGURY_MILLION says."""
    requests = int(os.environ.get("AUGURY_MILLION", "100000"))
    expect(await ask(tmp_path, requests), requests)
