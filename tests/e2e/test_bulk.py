"""Scoring a file that is killed again and again: nothing is lost, nothing counted twice."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from augury.core.clock import SystemClock
from augury.services.tweets.ledger import Ledger
from augury.stores.registry import open_store
from tests.e2e.bulk_run import BulkRun
from tests.models import write_classifier
from tests.redis_server import RedisServer
from tests.services.tweets import recount, x_corpus

pytestmark = pytest.mark.e2e


def write_tweets(path: Path, count: int, authors: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(x_corpus.line_of(number, authors)) + "\n")
    return path


async def assert_counted_once(url: str, count: int, authors: int) -> None:
    """Every tweet has a record, and all aggregates are what a plain recount of the records says."""
    store: Any = await open_store(url, clock=SystemClock(), on_corrupt=lambda *_: None)
    try:
        ledger = Ledger(store, clock=SystemClock())
        want: recount.Counts = {}
        written: Counter[int] = Counter()
        for start in range(0, count, 1000):
            numbers = range(start, min(count, start + 1000))
            records = await ledger.records([x_corpus.tweet_id(n) for n in numbers])
            assert None not in records
            for record in records:
                assert record is not None
                assert record.author_id is not None
                written[record.author_id] += 1
            for entity, labels in recount.by_hand(r for r in records if r).items():
                want.setdefault(entity, Counter()).update(labels)
        assert written == Counter(x_corpus.author_of(n, authors) for n in range(count))
        assert await recount.as_told(ledger, want) == want
    finally:
        await store.close()


async def score_killed(
    file: Path, url: str, count: int, kill_at: list[int], timeout_s: float, *options: str
) -> tuple[dict[str, Any], float, float]:
    """Score *file*, killed at each of these positions; the last run's report, and its peak memory
    when a tenth of its way was done, and at its end.
    """
    for position in kill_at:
        run = BulkRun(file, url, *options)
        assert run.wait_until(lambda r=run, p=position: r.position >= p, timeout_s), run.shown  # type: ignore[misc]
        run.kill()
    run = BulkRun(file, url, "--json", *options)
    assert run.wait_until(lambda: run.position > kill_at[-1], timeout_s), run.shown
    begun = run.position
    run.wait_until(lambda: run.position >= begun + (count - begun) // 10, timeout_s)
    early = late = run.peak_mib()

    def ended() -> bool:
        nonlocal late
        late = run.peak_mib()
        return run.position >= count

    run.wait_until(lambda: run.position >= count - count // 20, timeout_s)
    if run.process.poll() is None:
        ended()
    code, out = run.finish(timeout_s)
    assert code == 0, run.shown
    assert "going on after" in run.shown
    assert " left" in run.shown
    return json.loads(out), early, late


@pytest.mark.parametrize("backend", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
async def test_killed_twice(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A few thousand tweets, two kills, each tweet counted once."""
    count, authors = 2000, 200
    url = f"sqlite:///{tmp_path / 'store'}"
    if backend == "redis":
        url = request.getfixturevalue("redis_server").url
    file = write_tweets(tmp_path / "t.jsonl", count, authors)
    report, _, _ = await score_killed(file, url, count, [1, 1000], 100)
    assert report["entries"] == count
    assert report["resumed_from"] >= 512
    assert (report["refused"], report["faulty"]) == (0, 0)
    await assert_counted_once(url, count, authors)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("backend", "model"),
    [
        ("sqlite", "bundled"),
        ("sqlite", "small"),
        pytest.param("redis", "small", marks=pytest.mark.redis),
    ],
)
async def test_a_hundred_thousand_tweets_killed_at_random(
    backend: str, model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """100,000 tweets of 5,000 authors: resumable after kill -9 at random moments, in flat memory.

    A small model leaves the store as what is slow, so that more kills meet a write.
    """
    count, authors = 100_000, 5_000
    url = f"sqlite:///{tmp_path / 'store'}"
    if backend == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = server.url
    options: tuple[str, ...] = ()
    if model == "small":
        write_classifier(tmp_path / "repository", "tweet-sentiment")
        options = ("--repository", str(tmp_path / "repository"))
    file = write_tweets(tmp_path / "t.jsonl", count, authors)
    kill_at = sorted(random.randint(1, 55_000) for _ in range(5))
    report, early, late = await score_killed(file, url, count, kill_at, 1800, *options)
    sys.stdout.write(
        f"{backend}, {model} model: killed at {kill_at}; {report['entries_per_s']:.0f} tweets/s; "
        f"peak memory {early:.0f} MiB early, {late:.0f} MiB in the end\n"
    )
    assert report["entries"] == count
    assert late - early < 25
    await assert_counted_once(url, count, authors)


@pytest.mark.redis
async def test_a_redis_that_dies_in_the_middle_costs_time_only(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """The run waits, tells so, and goes on when Redis is back."""
    count, authors = 2000, 200
    file = write_tweets(tmp_path / "t.jsonl", count, authors)
    run = BulkRun(file, redis_server.url, "--json", "--store-wait", "60")
    assert run.wait_until(lambda: run.position > 0, 60), run.shown
    redis_server.kill()
    assert run.wait_until(lambda: "waiting for the store for up to 1 min" in run.shown, 60), (
        run.shown
    )
    redis_server.start()
    code, out = run.finish(100)
    assert code == 0, run.shown
    assert "the store is back after" in run.shown
    assert json.loads(out)["entries"] == count
    await assert_counted_once(redis_server.url, count, authors)
