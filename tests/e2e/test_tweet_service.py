"""The tweet service on real parts: X's stand-in, a Redis that dies under load, two servers."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from augury.services.tweets.topics import topics_of
from tests.e2e.server import ServerProcess, serving
from tests.redis_server import RedisServer
from tests.services.tweets import x_corpus
from tests.services.tweets.x_server import TOKEN, running_x_server

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

CLIENTS = 16
# Of the corpus; some are asked for many times.
TWEETS = 600
# Of each act: before Redis dies, while it is away, after it is back.
REQUESTS = 120
# Bounds for busy machines.
LONGEST_S = 15.0
ACT_S = 60.0


@dataclass
class Load:
    """What the clients asked, and what came of it."""

    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    over: bool = False
    longest_s: float = 0.0
    readings: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)

    async def ask(self, url: str, seed: int) -> None:
        """One client: a tweet after another, by URL."""
        pick = random.Random(seed)
        async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
            while not self.over:
                number = int(TWEETS * pick.random() ** 1.5)
                tweet_url = f"https://x.com/a/status/{x_corpus.tweet_id(number)}"
                begun_s = time.monotonic()
                try:
                    answer = await client.get("/v1/inference", params={"tweetUrl": tweet_url})
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                self.requests += 1
                self.longest_s = max(self.longest_s, time.monotonic() - begun_s)
                self._take(number, answer)

    def _take(self, number: int, answer: httpx2.Response) -> None:
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code} {answer.text}")
            return
        told = answer.json()
        before = self.answers.setdefault(number, told)
        if {**before, "cached": None} != {**told, "cached": None}:
            self.failures.append(f"two answers for {number}: {before} and {told}")

    async def watch(self, url: str) -> None:
        """Whoever sends the traffic looks at ``/readyz`` all the time."""
        async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
            while not self.over:
                answer = await client.get("/readyz")
                self.readings.append((time.monotonic(), answer.status_code, answer.json()))
                await asyncio.sleep(0.1)

    async def act(self, requests: int) -> None:
        """Return when so many more requests have been answered."""
        wanted = self.requests + requests
        until_s = time.monotonic() + ACT_S
        while self.requests < wanted and not self.failures:
            assert time.monotonic() < until_s, f"{self.requests} of {wanted} in {ACT_S} s"
            await asyncio.sleep(0.02)
        assert self.failures == []


def counted(answers: dict[int, dict[str, Any]]) -> dict[str, Counter[str]]:
    """What every aggregate should be: entity to label to number of tweets."""
    counts: dict[str, Counter[str]] = {}
    for number, told in answers.items():
        author = f"author {x_corpus.author_of(number)}"
        topics = [f"topic {topic}" for topic in topics_of(x_corpus.text_of(number))]
        for entity in ("all", author, *topics):
            counts.setdefault(entity, Counter())[told["sentimentAnalyst"]] += 1
    return counts


def told_by(server: ServerProcess) -> dict[str, Counter[str]]:
    """What the server's aggregates are, through the API alone."""
    counts: dict[str, Counter[str]] = {}
    with server.client() as client:

        def all_pages(path: str, rows: str) -> list[dict[str, Any]]:
            listed: list[dict[str, Any]] = []
            offset: int | None = 0
            while offset is not None:
                page = client.get(path, params={"offset": offset, "limit": 100}).json()
                listed += page[rows]
                offset = page["next"]
            return listed

        def labels(path: str) -> Counter[str]:
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            return +Counter(answer.json()["labels"])

        counts["all"] = labels("/v1/tweets/sentiment")
        for row in all_pages("/v1/authors?order=active", "authors"):
            author = row["id"]
            counts[f"author {author}"] = labels(f"/v1/authors/{author}/sentiment")
            assert +Counter(row["labels"]) == counts[f"author {author}"]
        for row in all_pages("/v1/topics", "topics"):
            topic = row["topic"]
            quoted = topic.replace("#", "%23")
            counts[f"topic {topic}"] = labels(f"/v1/topics/{quoted}/sentiment?bucket=day")
            assert +Counter(row["labels"]) == counts[f"topic {topic}"]
    return counts


def wait_for_total(server: ServerProcess, tweets: int) -> None:
    """Return when so many tweets are counted: answers are remembered after they have been sent."""
    until_s = time.monotonic() + 20
    told = -1
    with server.client() as client:
        while told < tweets and time.monotonic() < until_s:
            told = sum(client.get("/v1/tweets/sentiment").json()["labels"].values())
            time.sleep(0.1)
    assert told == tweets


def metric(server: ServerProcess, line: str) -> float:
    """A value of ``/metrics``; 0 when it is not there."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(one.rpartition(" ")[2]) for one in lines if one.startswith(line))


def assert_remembered(server: ServerProcess, answers: dict[int, dict[str, Any]]) -> None:
    """All that was answered is answered from memory, and the same."""
    with server.client() as client:
        for number, told in answers.items():
            tweet = str(x_corpus.tweet_id(number))
            again = client.get("/v1/inference", params={"tweetUrl": tweet}).json()
            assert again == {**told, "cached": True}


@pytest.mark.timeout(300)
async def test_redis_dies_in_the_middle_and_every_aggregate_is_right(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Tweets are scored by URL under load while Redis is killed and comes back: no request fails,
    readiness tells, and in the end every author, topic and total is what was answered.
    """
    load = Load()
    with running_x_server() as x:
        settings: dict[str, Any] = {
            "store": redis_server.url,
            "x_base_url": x.url,
            "x_bearer_token": TOKEN,
        }
        with serving(tmp_path, **settings) as first:
            tasks = [asyncio.create_task(load.ask(first.url, seed)) for seed in range(CLIENTS)]
            tasks.append(asyncio.create_task(load.watch(first.url)))
            try:
                await load.act(REQUESTS)
                await asyncio.to_thread(redis_server.kill)
                killed_s = time.monotonic()
                await load.act(REQUESTS)
                await asyncio.sleep(1)
                await asyncio.to_thread(redis_server.start)
                back_s = time.monotonic()
                await load.act(REQUESTS)
            finally:
                load.over = True
                await asyncio.gather(*tasks)

            assert load.failures == []
            assert load.longest_s < LONGEST_S
            # Traffic keeps coming, since the service goes on; but it tells that it is not whole.
            assert {status for _, status, _ in load.readings} == {200}
            degraded = [at for at, _, told in load.readings if told["degraded"]]
            assert degraded
            assert killed_s < min(degraded) < back_s
            assert metric(first, 'augury_features_lookups_total{result="unavailable"}') > 0

            want = counted(load.answers)
            await asyncio.to_thread(wait_for_total, first, len(load.answers))
            assert told_by(first) == want
            with first.client() as client:
                ready = client.get("/readyz")
            assert (ready.status_code, ready.json()["degraded"]) == (200, [])

            # What was told while Redis was away is remembered all the same.
            asked_of_x = len(x.asked)
            assert_remembered(first, load.answers)
            assert len(x.asked) == asked_of_x

            other = tmp_path / "other"
            other.mkdir()
            with serving(other, **settings) as second:
                assert told_by(second) == want
                second.stop()
            first.stop()


async def test_two_servers_agree_on_every_aggregate(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Both are asked for the same tweets at once; each is counted once, and both tell the same."""
    load = Load()
    with running_x_server() as x:
        settings: dict[str, Any] = {
            "store": redis_server.url,
            "x_base_url": x.url,
            "x_bearer_token": TOKEN,
        }
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        with serving(tmp_path / "a", **settings) as a, serving(tmp_path / "b", **settings) as b:
            tasks = [
                asyncio.create_task(load.ask((a, b)[seed % 2].url, seed // 2))
                for seed in range(CLIENTS)
            ]
            try:
                await load.act(2 * REQUESTS)
            finally:
                load.over = True
                await asyncio.gather(*tasks)
            assert load.failures == []
            want = counted(load.answers)
            await asyncio.to_thread(wait_for_total, a, len(load.answers))
            assert told_by(a) == want
            assert told_by(b) == want
