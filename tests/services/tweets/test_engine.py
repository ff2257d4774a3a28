"""The service on the real engine and the model that ships in the package."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from augury.app.build import bundled_repository, open_core
from augury.app.settings import Settings
from augury.core.clock import ManualClock
from augury.core.errors import AuguryError, NotFound
from augury.services.tweets.api.routes import router
from augury.services.tweets.ledger import Ledger, tables
from augury.services.tweets.model import Tweet
from augury.services.tweets.sentiments import Sentiment
from augury.services.tweets.service import TweetService
from augury.services.tweets.sources.archive import import_tweets
from augury.services.tweets.sources.chain import open_sources
from augury.stores.memory import MemoryStore

TWEETS = [
    Tweet(id=21, text="Good night 😊 what a wonderful #concert", author_id=42, username="ada"),
    Tweet(id=22, text="Worst #concert ever, I hate this", author_id=42, username="ada"),
]


@pytest.fixture
async def service(store: MemoryStore) -> AsyncIterator[TweetService]:
    await import_tweets(TWEETS, store)
    async with (
        open_core(Settings(), bundled_repository(), poll=False) as core,
        open_sources(store, None) as source,
        TweetService(core.engine, source, Ledger(store, clock=ManualClock())) as service,
    ):
        yield service


async def test_the_real_model_judges(service: TweetService) -> None:
    """It tells good from bad, and its scores are probabilities."""
    answer = await service.judge_texts(["I love it, wonderful 😍", "I hate this, awful", "\ud800"])
    good, bad, broken = answer.results
    assert isinstance(good, Sentiment)
    assert isinstance(bad, Sentiment)
    assert (good.label, bad.label) == ("positive", "negative")
    assert list(good.scores) == ["negative", "neutral", "positive"]
    assert sum(good.scores.values()) == pytest.approx(1, abs=1e-4)
    assert isinstance(broken, AuguryError)


@pytest.mark.parametrize(
    "text", ["", " ", "\0", "a" * 100_000, "\u200b", "http://x.y", "@a", "😊" * 500]
)
async def test_the_real_model_refuses_by_row(service: TweetService, text: str) -> None:
    """Whatever one text is, its neighbour is judged."""
    first, second = (await service.judge_texts([text, "I love it"])).results
    assert isinstance(first, AuguryError | Sentiment)
    assert not isinstance(first, AuguryError) or first.status < 500
    assert isinstance(second, Sentiment)


async def test_all_the_way(service: TweetService) -> None:
    """From an imported tweet to what is known of its author and topic."""
    for tweet in TWEETS:
        await service.judge_tweet(f"https://x.com/ada/status/{tweet.id}")
        assert (await service.judge_tweet(str(tweet.id))).cached
    await service.flush(20)
    author_id = await service.aggregates.find_author("@ada")
    assert author_id == 42
    author = await service.aggregates.tally(tables.author_entity(author_id), "day")
    assert author.all.labels == {"negative": 1, "neutral": 0, "positive": 1}
    topic = await service.aggregates.tally(tables.topic_entity("#concert"), "week")
    assert topic.all.total == 2
    assert topic.undated == 2


async def test_a_text_twice_is_remembered(service: TweetService) -> None:
    """The engine's cache shows in the answer."""
    await service.judge_texts(["I love it"])
    (again,) = (await service.judge_texts(["I love it"])).results
    assert isinstance(again, Sentiment)
    assert again.cached


async def test_texts_that_are_wanted_anew(service: TweetService) -> None:
    """With no-cache the engine computes again and keeps that; with no-store it keeps nothing."""
    app = FastAPI()
    app.include_router(router(service))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:

        async def cached(text: str, *values: str) -> list[bool]:
            answers = [
                await client.post(
                    "/v1/sentiment", json={"texts": [text]}, headers={"Cache-Control": value}
                )
                for value in values
            ]
            return [answer.json()["results"][0]["cached"] for answer in answers]

        assert await cached("I love it", "", "", "no-cache", "") == [False, True, False, True]
        assert await cached("I hate it", "no-store", "no-store", "no-cache", "max-age=0") == [
            False,
            False,
            False,
            True,
        ]


async def test_a_model_that_is_not_there(service: TweetService, store: MemoryStore) -> None:
    """Its name is told, as 404."""
    async with open_sources(store, None) as source:
        ledger = Ledger(store, clock=ManualClock())
        other = TweetService(service._predictor, source, ledger, model="none")
        with pytest.raises(NotFound, match="'none'"):
            await other.judge_texts(["a"])
