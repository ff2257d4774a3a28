"""Very many concurrent requests: every answer belongs to its request.

Most rows are unlike all others.  The rest are asked by many at the same time, and again later, of a model
whose answers are remembered and of one that computes each anew: a shared answer must reach those who asked
just this, and no other.  Among the rows are some on which the models fail, inside requests whose other
rows are sound; some clients have little time, and some vanish at every moment.

The slow test makes a hundred thousand requests.  The whole million, as a number of its own choice:

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

# Answers are remembered and shared by those who ask while they are computed; or nothing of that.
REMEMBERING, FORGETTING = "picky-echo", "picky-echo-anew"
CONNECTIONS = 256
MOST_ROWS = 8
# Who is more urgent than others, and until when: nothing of it mixes up answers.
WISHES = (
    (),
    ("X-Request-Priority: high",),
    ("X-Request-Priority: low", "X-Request-Timeout: 60"),
    ("X-Request-Timeout: 30",),
)
# Some have little time: they are told that it was not enough, or answered like all others.
HASTY = tuple((f"X-Request-Timeout: {seconds}",) for seconds in (0.01, 0.1, 0.3, 1))
TOO_LATE = {429: "overloaded", 504: "deadline_exceeded"}
# Of all rows, those that others ask as well: out of a few, which change after so many requests.
REPEATED_PART = 0.2
REPEATED = 16
REPEATED_FOR = 1000
# Unlike any number that is sent once.
REPEATED_FROM = 1 << 40
# Of so many requests, one: has several rows, is left by its client, has little time.
EVERY_MULTIPLE = 8
EVERY_VANISHING = 40
EVERY_HASTY = 25
# Of the rows in a request of several.
FAILING_PART = 0.3
# A machine that does other things as well does 50 requests a second at least.
SLOWEST_PER_S = 50
# Answers that are remembered; full after some ten thousand, so that the rest must not grow anything.
CACHE_MIB = 8
GROWTH_MIB = 80


class Crowd:
    """Clients that share the numbers from 1 on: none is sent twice, but for the repeated ones.

    Args:
        server: Whom they ask.
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._turns: Iterator[int] = iter(())
        self._numbers = itertools.count(1)
        self._begun = 0
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
                hasty = rng.randrange(EVERY_HASTY) == 0
                path = f"/api/models/{rng.choice((REMEMBERING, FORGETTING))}/predict"
                request = post(path, body, *rng.choice(HASTY if hasty else WISHES))
                if rng.randrange(EVERY_VANISHING) == 0:
                    await self._vanish(wire, request, rng)
                    wire = None
                else:
                    answer = await wire.ask(request)
                    self._check(rows, answer.status, answer.body, hasty=hasty)
        finally:
            if wire is not None:
                wire.writer.transport.abort()

    def _rows(self, rng: random.Random) -> list[list[int]]:
        """One row or several, each of a number of its own or a repeated one.

        Negative: the model fails on it.
        """
        several = rng.randrange(EVERY_MULTIPLE) == 0
        count = rng.randint(2, MOST_ROWS) if several else 1
        self._begun += 1
        rows = []
        for place in range(count):
            if rng.random() < REPEATED_PART:
                number = REPEATED_FROM + self._begun // REPEATED_FOR * REPEATED
                row = [number + rng.randrange(REPEATED), 0]
                self.counts["repeated rows"] += 1
            else:
                row = [next(self._numbers), place]
            if several and rng.random() < FAILING_PART:
                row[0] = -row[0]
            rows.append(row)
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

    def _check(self, rows: list[list[int]], status: int, body: bytes, *, hasty: bool) -> None:
        if hasty and status in TOO_LATE:
            self.counts["too late"] += 1
            return
        self.counts[f"answered {status}"] += 1
        if status != 200:
            self.wrong.append(f"{rows}: {status} {body[:300]!r}")
            return
        for row, got in zip(rows, json.loads(body)["rows"], strict=True):
            code = got.get("error", {}).get("code")
            if hasty and code in TOO_LATE.values():
                self.counts["rows too late"] += 1
                right = "y" not in got
            elif row[0] < 0:
                self.counts["failed rows"] += 1
                right = code == "runtime_failed" and "y" not in got
            else:
                self.counts["rows"] += 1
                right = got == {"y": row}
            if not right:
                self.wrong.append(f"row {row} of {rows}, hasty: {hasty}: {got}")


async def ask(tmp_path: Path, requests: int) -> Counter[str]:
    """Let a crowd send *requests* requests to a real server, which must be well at every moment."""
    # On the event loop nothing would be under way when others ask for it.
    write_model(tmp_path / "models", REMEMBERING, "[batching]\ninline = false\n")
    write_model(tmp_path / "models", FORGETTING, "[cache]\nenabled = false\n")
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
            for result in ("hit", "shared", "miss"):
                labels = {"model": REMEMBERING, "level": "process", "result": result}
                crowd.counts[result] = metric(client.get("/metrics").text, labels)
                labels["model"] = FORGETTING
                assert not metric(client.get("/metrics").text, labels)
        await _settle(server, files)
        await asyncio.to_thread(server.stop)
    assert not [event for event in server.events() if event["level"] == "error"][:10]
    print(f"{dict(crowd.counts)}, {per_s:,.0f}/s, {growth_mib:.0f} MiB more")  # noqa: T201 - for -s
    return crowd.counts


def write_model(repository: Path, name: str, manifest: str) -> None:
    """picky-echo under another *name*."""
    folder = write_picky_echo(repository, name)
    (folder / "model.toml").write_text(manifest, encoding="utf-8")


def metric(text: str, labels: dict[str, str]) -> int:
    """How many rows were looked up with *labels*, whatever else they are labelled with."""
    found = 0.0
    for line in text.splitlines():
        if line.startswith("augury_cache_lookups_total{"):
            found += float(line.split()[-1]) * all(
                f'{name}="{value}"' in line for name, value in labels.items()
            )
    return int(found)


async def _settle(server: ServerProcess, files: int) -> None:
    """Wait until the connections of those that left are closed."""
    async with asyncio.timeout(60):
        while len(server.open_files()) > files + 4:  # noqa: ASYNC110 - another process's files
            await asyncio.sleep(0.1)


def expect(counts: Counter[str], requests: int) -> None:
    """Every request was answered with 200, but for those whose clients had gone or had too little time."""
    assert counts["answered 200"] + counts["vanished"] + counts["too late"] == requests
    assert counts["vanished"] > requests / EVERY_VANISHING / 2
    assert counts["too late"] < requests / EVERY_HASTY * 1.5
    assert counts["failed rows"] > requests / EVERY_MULTIPLE * FAILING_PART
    assert counts["repeated rows"] > requests * REPEATED_PART / 2
    assert counts["hit"] > requests * REPEATED_PART / 10
    assert counts["shared"] > requests / REPEATED_FOR
    assert not [name for name in counts if name.startswith("answered") and name[-3:] != "200"]


async def test_three_thousand(tmp_path: Path) -> None:
    """The same in small: answers find their requests, failing rows fail alone, nothing is left over."""
    expect(await ask(tmp_path, 3000), 3000)


@pytest.mark.slow
@pytest.mark.timeout(25_000)
async def test_a_million(tmp_path: Path) -> None:
    """A hundred thousand requests, the default, or as many as AUGURY_MILLION says."""
    requests = int(os.environ.get("AUGURY_MILLION", "100000"))
    expect(await ask(tmp_path, requests), requests)
