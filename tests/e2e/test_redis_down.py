"""A server whose Redis is killed, restarted and held up under load: predictions go on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.server import ServerProcess, serving
from tests.redis_server import RedisServer
from tests.services.tweets import x_corpus
from tests.services.tweets.x_server import TOKEN, running_x_server

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

TIMEOUT_S = 0.3
# Beyond the store's timeout and what the slowest took while all was well: other work here.
SLACK_S = 1.0
BACK_S = 15.0


@dataclass
class Load:
    """Clients that ask for texts and tweets, and what they met."""

    url: str
    answered: dict[str, int] = field(default_factory=lambda: {"text": 0, "tweet": 0})
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    over: bool = False

    async def run(self, kind: str, first: int) -> None:
        """One client; no two ask for the same."""
        async with httpx2.AsyncClient(base_url=self.url, timeout=30) as client:
            for number in count(first, 100):
                if self.over:
                    return
                began_s = time.monotonic()
                try:
                    answer = await self._ask(client, kind, number)
                except httpx2.HTTPError as error:
                    self.failures.append(f"{kind}: {error!r}")
                    continue
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                if answer.status_code != 200:
                    self.failures.append(f"{kind}: {answer.status_code} {answer.text}")
                self.answered[kind] += 1

    async def _ask(self, client: httpx2.AsyncClient, kind: str, number: int) -> httpx2.Response:
        if kind == "tweet":
            tweet_url = f"https://x.com/a/status/{x_corpus.tweet_id(number)}"
            return await client.get("/v1/inference", params={"tweetUrl": tweet_url})
        rows = [{"text": f"I like number {number} very much"}]
        path = "/api/models/tweet-sentiment/predict"
        return await client.post(path, json={"rows": rows})

    async def act(self, requests: int = 40) -> float:
        """Wait for so many more answers of each kind; the longest that one of these took."""
        self.longest_s = 0.0
        wanted = {kind: answers + requests for kind, answers in self.answered.items()}
        until_s = time.monotonic() + 40
        while any(self.answered[kind] < wanted[kind] for kind in wanted):
            assert time.monotonic() < until_s, self.answered
            assert self.failures == []
            await asyncio.sleep(0.02)
        return self.longest_s


async def _readiness(server: ServerProcess) -> tuple[int, dict[str, Any]]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        answer = await client.get("/readyz")
        return answer.status_code, answer.json()


async def _until_degraded(server: ServerProcess, *, degraded: bool) -> list[str]:
    """What ``/readyz`` tells, once it does; it is ready all the while."""
    until_s = time.monotonic() + BACK_S
    while time.monotonic() < until_s:
        status, told = await _readiness(server)
        assert (status, told["ready"]) == (200, True)
        faults: list[str] = told["degraded"]
        if bool(faults) is degraded:
            return faults
        await asyncio.sleep(0.05)
    raise AssertionError(f"degraded is not {degraded} after {BACK_S} s")


async def _metric(server: ServerProcess, line: str) -> float:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith(line))


UNAVAILABLE = 'augury_features_lookups_total{result="unavailable"}'


@pytest.mark.timeout(300)  # took 31 to 57 s on two cores that others used, too
async def test_predictions_go_on_without_the_store(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """No request fails or waits longer than the store's timeout; nothing that waited gets lost."""
    with (
        running_x_server() as x,
        serving(
            tmp_path,
            store=redis_server.url,
            store_timeout_s=str(TIMEOUT_S),
            x_base_url=x.url,
            x_bearer_token=TOKEN,
        ) as server,
    ):
        load = Load(server.url)
        async with asyncio.TaskGroup() as clients:
            for i in range(4):
                clients.create_task(load.run("text", i))
                clients.create_task(load.run("tweet", i))
            await load.act()  # connections, caches
            well_s = await load.act()
            assert await _metric(server, "augury_store_up") == 1
            before = await _metric(server, UNAVAILABLE)

            redis_server.kill()
            (fault,) = await _until_degraded(server, degraded=True)
            down_s = await load.act()
            assert f"redis://{redis_server.address}/0: cannot be reached since 20" in fault
            assert await _metric(server, UNAVAILABLE) >= before + 30
            assert await _metric(server, "augury_store_up") == 0
            assert await _metric(server, "augury_store_buffer_items") >= 30

            redis_server.start()
            assert await _until_degraded(server, degraded=False) == []
            await load.act()
            assert await _metric(server, "augury_store_up") == 1

            # Held up, it takes connections and answers nothing: the worst that may happen.
            redis_server.pause()
            await _until_degraded(server, degraded=True)
            held_up_s = await load.act()
            redis_server.resume()
            await _until_degraded(server, degraded=False)
            await load.act()
            load.over = True

        assert load.failures == []
        assert down_s < well_s + TIMEOUT_S + SLACK_S
        assert held_up_s < well_s + TIMEOUT_S + SLACK_S
        for _ in range(200):
            if not await _metric(server, "augury_store_buffer_items"):
                break
            await asyncio.sleep(0.1)
        async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
            labels = (await client.get("/v1/tweets/sentiment")).json()["labels"]
        assert sum(labels.values()) == load.answered["tweet"]
        assert await _metric(server, "augury_store_dropped_total") == 0
        server.stop()
    log = server.log
    # Told once for each outage, not for each request.
    assert 2 <= log.count('"store cannot be reached"') < 10, log
    assert "I like number" not in log
