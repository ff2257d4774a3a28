"""Two servers on one SQLite file, a rebuild and erasures in the middle: real processes, one truth."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from augury.core.clock import SystemClock
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.archive import keep
from augury.services.tweets.topics import topics_of
from augury.stores.sqlite import SqliteStore
from tests.e2e.server import ServerProcess, clean_environment, serving

pytestmark = pytest.mark.e2e

TEXTS = ("I love #tea", "I hate #tea and #coffee", "a chair by the window", "$AUG to the moon 🚀")
TWEETS = [
    Tweet(
        id=1_050_118_621_198_921_728 + n * 10**12,
        text=f"{TEXTS[n % len(TEXTS)]} no{n % 3}thing",
        author_id=n % 7 + 1,
        username=f"user{n % 7 + 1}",
    )
    for n in range(84)
]
TOKEN = "an-administrators-token"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
ERASED_AUTHOR = 3
ERASED_TWEETS = [tweet.id for tweet in TWEETS if tweet.author_id == 5][:4]
AGGREGATES = (
    "/v1/tweets/sentiment?bucket=hour",
    "/v1/tweets/sentiment?bucket=week",
    "/v1/tweets?limit=100",
    "/v1/authors?limit=100",
    "/v1/authors/@user5/sentiment",
    "/v1/authors/1/tweets?limit=100",
    "/v1/topics?limit=100",
    "/v1/topics?kind=hashtag&limit=100",
    "/v1/topics?order=rising&at=2018-10-14T00:00:00Z",
    "/v1/topics/%23tea/sentiment?bucket=day",
    "/v1/topics/%23tea/tweets?limit=100",
)


async def import_into(path: Path) -> None:
    async with await SqliteStore.open(
        path, clock=SystemClock(), on_corrupt=lambda *_: None
    ) as store:
        await keep(store, TWEETS)


def run(command: list[str], folder: Path) -> None:
    subprocess.run(
        command, cwd=folder, env=clean_environment(), capture_output=True, check=True, timeout=60
    )


async def ask(client: httpx2.AsyncClient, ids: list[int]) -> list[int]:
    """Ask for tweets one after another; the statuses."""
    return [
        (await client.get("/v1/inference", params={"tweetUrl": str(one)})).status_code
        for one in ids
    ]


async def act(a: ServerProcess, b: ServerProcess, rebuild: list[str], folder: Path) -> None:
    """Everything at once: both servers are asked, erase, and the tables are counted anew."""
    ids = [tweet.id for tweet in TWEETS]
    async with (
        httpx2.AsyncClient(base_url=a.url, timeout=60) as first,
        httpx2.AsyncClient(base_url=b.url, timeout=60) as second,
    ):
        asked = asyncio.gather(
            ask(first, ids), ask(first, ids[::-1]), ask(second, ids), ask(second, ids[40:])
        )
        rebuilding = asyncio.to_thread(run, rebuild, folder)
        erased = [
            await first.delete(f"/v1/authors/{ERASED_AUTHOR}", headers=ADMIN),
            *[await second.delete(f"/v1/tweets/{one}", headers=ADMIN) for one in ERASED_TWEETS],
        ]
        statuses, _ = await asyncio.gather(asked, rebuilding)
        assert {answer.status_code for answer in erased} == {200}
        # 404 for those that were erased before they were asked for: nothing brings them back.
        assert {status for row in statuses for status in row} <= {200, 404}


def told(server: ServerProcess) -> dict[str, Any]:
    with server.client() as client:
        return {path: client.get(path).json() for path in AGGREGATES}


def settled(server: ServerProcess, total: int) -> None:
    """Return when what waited in the servers' buffers is counted."""
    until_s = time.monotonic() + 60
    with server.client() as client:
        while client.get("/v1/tweets/sentiment").json()["total"] != total:
            assert time.monotonic() < until_s, client.get("/v1/tweets/sentiment").text
            time.sleep(0.05)


async def test_two_servers_on_one_file_agree(tmp_path: Path) -> None:
    """Asked, erased and counted anew at once: both tell the same, which is a recount's, and a rebuild
    changes nothing.
    """
    path = tmp_path / "store.sqlite3"
    await import_into(path)
    store = f"sqlite:///{path}"
    rebuild = [
        *(sys.executable, "-c", "from augury.app.cli import main; main()"),
        *("tweets", "rebuild", "--store", store),
    ]
    left = [
        tweet
        for tweet in TWEETS
        if tweet.author_id != ERASED_AUTHOR and tweet.id not in ERASED_TWEETS
    ]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    settings: dict[str, Any] = {"store": store, "admin_token": TOKEN}
    with serving(tmp_path / "a", **settings) as a, serving(tmp_path / "b", **settings) as b:
        await act(a, b, rebuild, tmp_path)
        await asyncio.to_thread(settled, a, len(left))
        before = told(a)
        assert told(b) == before
        await asyncio.to_thread(run, rebuild, tmp_path)
        assert told(a) == told(b) == before
        a.stop()
        b.stop()
    authors = {int(row["id"]): row["total"] for row in before["/v1/authors?limit=100"]["authors"]}
    assert authors == Counter(tweet.author_id for tweet in left)
    topics = {row["topic"]: row["total"] for row in before["/v1/topics?limit=100"]["topics"]}
    assert topics == Counter(topic for tweet in left for topic in topics_of(tweet.text))
    listed = {row["tweetId"] for row in before["/v1/tweets?limit=100"]["tweets"]}
    assert listed == {str(tweet.id) for tweet in left}
