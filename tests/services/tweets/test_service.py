from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

import pytest
from structlog.testing import capture_logs

from augury.core.clock import ManualClock
from augury.core.errors import InvalidInput, NotFound, RuntimeFailed, TooLarge, Unavailable
from augury.core.signature import Signature, TensorSpec
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import remember
from augury.services.tweets.service import Sentiment, TweetService
from augury.stores.base import KeyValueStore
from augury.stores.memory import MemoryStore
from tests.services.tweets.conftest import NOW_S, DownStore, LexiconPredictor

URL = "https://x.com/ada/status/7"


class CountingSource:
    """Has every tweet, and counts how often it was asked."""

    def __init__(self, text: str = "Good #night") -> None:
        self.asked = 0
        self.text = text

    async def fetch(self, tweet_id: int) -> Tweet:
        self.asked += 1
        return Tweet(id=tweet_id, text=self.text, author_id=42, username="ada", source="x")


@pytest.fixture
def source() -> CountingSource:
    return CountingSource()


@pytest.fixture
def service(
    predictor: LexiconPredictor, source: CountingSource, store: MemoryStore
) -> TweetService:
    return TweetService(predictor, source, store, clock=ManualClock(NOW_S), max_texts=4)


async def test_a_tweet_is_judged_once(
    service: TweetService, source: CountingSource, predictor: LexiconPredictor
) -> None:
    """The second answer is told from memory: no fetch, no prediction."""
    first = await service.judge_tweet(URL)
    assert (first.record.label, first.cached) == ("positive", False)
    assert first.record.predicted_at == datetime(2018, 10, 11, tzinfo=UTC)
    await service.remember(first.record)
    second = await service.judge_tweet("7")
    assert (second.record, second.cached) == (first.record, True)
    assert (source.asked, predictor.rows_asked) == (1, 1)


async def test_another_version_judges_anew_without_fetching(
    service: TweetService, source: CountingSource, predictor: LexiconPredictor
) -> None:
    """What an older version said is not told as the new one's; its tweet is not paid for twice."""
    await service.remember((await service.judge_tweet(URL)).record)
    predictor.served = 2
    answer = await service.judge_tweet(URL)
    assert (answer.cached, answer.record.version, source.asked) == (False, 2, 1)
    await service.remember(answer.record)
    assert (await service.judge_tweet(URL)).cached


async def test_another_model_judges_anew(
    service: TweetService, source: CountingSource, store: MemoryStore
) -> None:
    """Version 1 of another model is another version."""
    await service.remember((await service.judge_tweet(URL)).record)
    other = TweetService(LexiconPredictor(), source, store, model="other")
    assert not (await other.judge_tweet(URL)).cached


async def test_a_store_that_is_down_fails_nobody(
    predictor: LexiconPredictor, source: CountingSource
) -> None:
    """The prediction is made and told; the log says that memory is out, without the text."""
    service = TweetService(predictor, source, cast(KeyValueStore, DownStore()))
    with capture_logs() as events:
        answer = await service.judge_tweet(URL)
        await service.remember(answer.record)
    assert answer.record.label == "positive"
    assert [event["log_level"] for event in events] == ["warning", "warning"]
    assert "night" not in str(events)


async def test_lookups_are_counted(source: CountingSource, store: MemoryStore) -> None:
    """Each question to memory is a hit, a miss (stale ones too) or not answered."""
    seen: list[str] = []
    predictor = LexiconPredictor()
    service = TweetService(predictor, source, store, on_lookup=seen.append)
    await service.remember((await service.judge_tweet(URL)).record)
    await service.judge_tweet(URL)
    predictor.served = 2
    await service.judge_tweet(URL)
    down = TweetService(predictor, source, cast(KeyValueStore, DownStore()), on_lookup=seen.append)
    await down.judge_tweet(URL)
    assert seen == ["miss", "hit", "miss", "unavailable"]


async def test_aggregates_need_the_store(
    predictor: LexiconPredictor, source: CountingSource
) -> None:
    """There the store is the answer, so its absence is told."""
    service = TweetService(predictor, source, cast(KeyValueStore, DownStore()))
    with pytest.raises(Unavailable):
        await service.author("@ada", "day")


async def test_rows_fail_alone(service: TweetService) -> None:
    """One bad text carries its own error; the order is kept."""
    answer = await service.judge_texts(["good", "\ud83d", "", "bad"])
    good, surrogate, empty, bad = answer.results
    assert isinstance(good, Sentiment)
    assert isinstance(bad, Sentiment)
    assert (good.label, bad.label) == ("positive", "negative")
    assert sum(good.scores.values()) == pytest.approx(1, abs=1e-5)
    assert isinstance(surrogate, InvalidInput)
    assert "character 0" in surrogate.message
    surrogate.message.encode()
    assert isinstance(empty, InvalidInput)


@pytest.mark.parametrize("texts", [["\ud800"], ["", ""], ["\ud800", ""]])
async def test_all_rows_may_fail(service: TweetService, texts: list[str]) -> None:
    """Then there are only errors."""
    answer = await service.judge_texts(texts)
    assert all(isinstance(result, InvalidInput) for result in answer.results)
    assert answer.version == 1


@pytest.mark.parametrize("text", ["\0", "a\0b", "a" * 100_000, "😊", "\u202e", "\U0010ffff"])
async def test_strange_texts(service: TweetService, text: str) -> None:
    """Each is judged or refused, as the model likes."""
    (result,) = (await service.judge_texts([text])).results
    assert isinstance(result, Sentiment | InvalidInput | TooLarge)


async def test_the_number_of_texts_is_bounded(service: TweetService) -> None:
    """The message names the setting."""
    with pytest.raises(TooLarge, match=r"5 texts.*limit is 4 \(AUGURY_MAX_TEXTS\)"):
        await service.judge_texts(["a"] * 5)
    with pytest.raises(InvalidInput, match="at least one"):
        await service.judge_texts([])


async def test_a_text_that_the_model_refuses(
    predictor: LexiconPredictor, store: MemoryStore
) -> None:
    """A tweet without text is its error, not a server's failure."""
    service = TweetService(predictor, CountingSource(text=""), store)
    with pytest.raises(InvalidInput, match="empty"):
        await service.judge_tweet(URL)


async def test_a_model_of_another_kind(
    service: TweetService, predictor: LexiconPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model without named scores is told by its name."""
    bare = Signature(predictor.signature("").inputs, (TensorSpec("scores", "FP32", (3,)),))
    monkeypatch.setattr(predictor, "signature", lambda model: bare)
    with pytest.raises(RuntimeFailed, match="'tweet-sentiment' tells no sentiment"):
        await service.judge_texts(["good"])


async def test_what_nobody_asked_for_is_not_held(service: TweetService) -> None:
    """404 with what to do."""
    with pytest.raises(NotFound, match="ask /v1/inference"):
        await service.author("@nobody", "day")
    with pytest.raises(NotFound, match="'#bitcoin'"):
        await service.topic("#Bitcoin", "day")


async def test_author_and_topic(service: TweetService, store: MemoryStore) -> None:
    """What was judged is found again, under the author's id, the name and the topic."""
    await remember(store, (await service.judge_tweet(URL)).record)
    assert (await service.author("@ADA", "day"))[0] == 42
    topic, tally = await service.topic(" #Night ", "day")
    assert (topic, tally.all.total) == ("#night", 1)


async def test_many_at_once(service: TweetService) -> None:
    """Concurrent questions get their own answers."""
    texts = ["good", "bad", "chair"] * 50
    answers = await asyncio.gather(*(service.judge_texts([text]) for text in texts))
    labels = {"good": "positive", "bad": "negative", "chair": "neutral"}
    for text, answer in zip(texts, answers, strict=True):
        (result,) = answer.results
        assert isinstance(result, Sentiment)
        assert result.label == labels[text]
