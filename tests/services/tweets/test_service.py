from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from augury.core.clock import ManualClock
from augury.core.errors import (
    AuguryError,
    InvalidInput,
    NotFound,
    RuntimeFailed,
    TooLarge,
    Unavailable,
)
from augury.core.request import InferRequest, InferResponse
from augury.core.signature import Signature, TensorSpec
from augury.services.tweets.ledger import Ledger, LedgerStore
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import encode_tweet, tweet_key
from augury.services.tweets.sentiments import Sentiment
from augury.services.tweets.service import TweetAnswer, TweetService
from augury.services.tweets.sources.archive import ArchiveSource
from augury.stores.memory import MemoryStore
from tests.services.tweets.conftest import NOW_S, DownStore, LexiconPredictor

URL = "https://x.com/ada/status/7"

# A machine that is busy with other tests may take long over what takes milliseconds.
SOON_S = 20.0


class CountingSource:
    """Has every tweet, and counts how often it was asked; it waits while its gate is closed."""

    def __init__(self, text: str = "Good #night") -> None:
        self.asked = 0
        self.text = text
        self.error: AuguryError | None = None
        self.called = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, tweet_id: int) -> Tweet:
        self.asked += 1
        self.called.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Tweet(id=tweet_id, text=self.text, author_id=42, username="ada", source="x")


class Slow:
    """A source that has fetched long before it answers."""

    def __init__(self, source: ArchiveSource) -> None:
        self._source = source
        self.fetched = asyncio.Event()
        self.gate = asyncio.Event()

    async def fetch(self, tweet_id: int) -> Tweet:
        tweet = await self._source.fetch(tweet_id)
        self.fetched.set()
        await self.gate.wait()
        return tweet


class Watched:
    """A store of which one write can be preceded by something else."""

    def __init__(self, store: MemoryStore, at_write: int) -> None:
        self._store = store
        self.before_write: Callable[[], Awaitable[None]] | None = None
        self.at_write = at_write
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        hook = self.before_write
        if hook is None or name not in ("commit", "delete", "set_many"):
            return method

        async def preceded(*args: Any, **kwargs: Any) -> Any:
            self.writes += 1
            if self.writes == self.at_write:
                self.before_write = None
                await hook()
            return await method(*args, **kwargs)

        return preceded


class Breaking:
    """A store that can be taken away and given back."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.down = False

    def __getattr__(self, name: str) -> Any:
        return getattr(DownStore() if self.down else self._store, name)


@pytest.fixture
def source() -> CountingSource:
    return CountingSource()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_S)


@pytest.fixture
def ledger(store: MemoryStore, clock: ManualClock) -> Ledger:
    return Ledger(store, clock=clock)


@pytest.fixture
async def service(
    predictor: LexiconPredictor, source: CountingSource, ledger: Ledger, clock: ManualClock
) -> AsyncIterator[TweetService]:
    async with TweetService(predictor, source, ledger, clock=clock, max_texts=4) as service:
        yield service


def over_down_store(clock: ManualClock) -> Ledger:
    return Ledger(cast(LedgerStore, DownStore()), clock=clock)


async def test_a_tweet_is_judged_once(
    service: TweetService, source: CountingSource, predictor: LexiconPredictor
) -> None:
    """The second answer is told from memory: no fetch, no prediction."""
    first = await service.judge_tweet(URL)
    assert (first.record.label, first.cached) == ("positive", False)
    assert first.record.predicted_at == datetime(2018, 10, 11, tzinfo=UTC)
    second = await service.judge_tweet("7")
    assert (second.record, second.cached) == (first.record, True)
    await service.flush(SOON_S)
    third = await service.judge_tweet("7")
    assert (third.record, third.cached) == (first.record, True)
    assert (source.asked, predictor.rows_asked) == (1, 1)


async def test_questions_that_meet_share_one_fetch(
    service: TweetService, source: CountingSource, predictor: LexiconPredictor
) -> None:
    """Fifty at once for one unseen tweet: X is asked once, and the model."""
    source.gate.clear()
    asking = [asyncio.create_task(service.judge_tweet(URL)) for _ in range(50)]
    await source.called.wait()
    asking[0].cancel()  # the one who came first goes first
    source.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert all(isinstance(answer, TweetAnswer) for answer in answers[1:])
    assert (source.asked, predictor.rows_asked) == (1, 1)


async def test_an_error_is_told_to_all_who_wait_and_not_kept(
    service: TweetService, source: CountingSource
) -> None:
    """The next question asks anew."""
    source.error = NotFound("tweet 7 was deleted")
    answers = await asyncio.gather(
        *(service.judge_tweet(URL) for _ in range(5)), return_exceptions=True
    )
    assert answers == [source.error] * 5
    assert source.asked == 1
    source.error = None
    assert (await service.judge_tweet(URL)).record.tweet_id == 7


async def test_when_all_have_gone_the_fetch_ends(
    service: TweetService, source: CountingSource
) -> None:
    """Nobody pays for an answer that nobody waits for."""
    source.gate.clear()
    asking = [asyncio.create_task(service.judge_tweet(URL)) for _ in range(3)]
    await source.called.wait()
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0)
    assert service._flights == {}
    source.gate.set()
    assert (await service.judge_tweet(URL)).record.tweet_id == 7
    assert source.asked == 2


async def test_another_version_judges_anew_without_fetching(
    service: TweetService,
    source: CountingSource,
    predictor: LexiconPredictor,
) -> None:
    """What an older version said is not told as the new one's; its tweet is not paid for twice."""
    await service.judge_tweet(URL)
    predictor.served = 2
    answer = await service.judge_tweet(URL)
    assert (answer.cached, answer.record.version, source.asked) == (False, 2, 1)
    assert (await service.judge_tweet(URL)).cached
    await service.flush(SOON_S)
    assert (await service.judge_tweet(URL)).cached
    tally = await service.aggregates.tally("all", "day")
    assert tally.all.total == 1


async def test_another_model_judges_anew(
    service: TweetService, source: CountingSource, ledger: Ledger
) -> None:
    """Version 1 of another model is another version."""
    await service.judge_tweet(URL)
    await service.flush(SOON_S)
    async with TweetService(LexiconPredictor(), source, ledger, model="other") as other:
        assert not (await other.judge_tweet(URL)).cached


async def test_a_store_that_is_down_fails_nobody(
    predictor: LexiconPredictor, source: CountingSource, clock: ManualClock
) -> None:
    """The prediction is made and told, and told again from the buffer; the log is without text."""
    with capture_logs() as events:
        service = TweetService(predictor, source, over_down_store(clock), clock=clock)
        async with service:
            answer = await service.judge_tweet(URL)
            assert (await service.judge_tweet(URL)).cached
            assert await service.flush(0.01) == 1
            service._buffer._close_timeout_s = 0.0
    assert answer.record.label == "positive"
    assert "memory not asked" in [event["event"] for event in events]
    assert "night" not in str(events)


async def test_what_waited_is_written_when_the_store_is_back(
    predictor: LexiconPredictor, source: CountingSource, store: MemoryStore, clock: ManualClock
) -> None:
    """Nothing that was answered meanwhile is lost, and nothing is counted twice."""
    breaking = Breaking(store)
    ledger = Ledger(cast(LedgerStore, breaking), clock=clock)
    async with TweetService(predictor, source, ledger, clock=clock) as service:
        breaking.down = True
        for tweet_id in range(1, 21):
            await service.judge_tweet(str(tweet_id))
            await service.judge_tweet(str(tweet_id))
        assert await service.flush(0.01) == 20
        with pytest.raises(Unavailable):
            await service.aggregates.tally("all", "day")
        breaking.down = False
        assert await service.flush(SOON_S) == 0
        assert (await service.aggregates.tally("all", "day")).all.total == 20
    assert source.asked == 20


async def test_lookups_are_counted(
    source: CountingSource, ledger: Ledger, clock: ManualClock
) -> None:
    """Each question to memory is a hit, a miss (stale ones too) or not answered."""
    seen: list[str] = []
    predictor = LexiconPredictor()
    async with TweetService(predictor, source, ledger, on_lookup=seen.append) as service:
        await service.judge_tweet(URL)
        await service.judge_tweet(URL)
        predictor.served = 2
        await service.judge_tweet(URL)
    down = TweetService(predictor, source, over_down_store(clock), on_lookup=seen.append)
    await down.judge_tweet(URL)
    assert seen == ["miss", "hit", "miss", "unavailable"]


async def test_aggregates_need_the_store(
    predictor: LexiconPredictor, source: CountingSource, clock: ManualClock
) -> None:
    """There the store is the answer, so its absence is told."""
    service = TweetService(predictor, source, over_down_store(clock))
    with pytest.raises(Unavailable):
        await service.aggregates.find_author("@ada")
    with pytest.raises(Unavailable):
        await service.erase_tweet(7)


async def test_erased_tweets_stay_erased(
    predictor: LexiconPredictor, store: MemoryStore, ledger: Ledger, clock: ManualClock
) -> None:
    """Neither the archive nor an answer that was under way brings one back."""
    await store.set(tweet_key(7), encode_tweet(Tweet(id=7, text="Good #night", author_id=42)))
    source = Slow(ArchiveSource(store))
    async with TweetService(predictor, source, ledger, clock=clock) as service:
        asking = asyncio.create_task(service.judge_tweet(URL))
        await source.fetched.wait()
        clock.advance(1)
        # It has read the archive's copy, and is yet to be judged.
        assert await service.erase_tweet(7) == 1
        source.gate.set()
        assert (await asking).record.label == "positive"
        await service.flush(SOON_S)
        assert (await service.aggregates.tally("all", "day")).all.total == 0
        with pytest.raises(NotFound, match="not in the archive"):
            await service.judge_tweet(URL)


@pytest.mark.parametrize("at_write", range(1, 7))
@pytest.mark.parametrize("what", ["tweet", "author", "everything"])
async def test_a_question_in_the_middle_of_an_erasure(
    predictor: LexiconPredictor,
    store: MemoryStore,
    clock: ManualClock,
    what: str,
    at_write: int,
) -> None:
    """Whatever it still finds, archive's copy or record, at whichever step: it brings nothing back."""
    await store.set(tweet_key(7), encode_tweet(Tweet(id=7, text="Good #night", author_id=42)))
    watched = Watched(store, at_write)
    ledger = Ledger(cast(LedgerStore, watched), clock=clock)
    source = ArchiveSource(store)
    async with TweetService(predictor, source, ledger, clock=clock) as service:
        await service.judge_tweet(URL)
        await service.flush(SOON_S)
        clock.advance(1)

        async def ask() -> None:
            clock.advance(0.01)
            predictor.served += 1  # so that it is judged anew, and written
            with suppress(NotFound):
                await service.judge_tweet(URL)
            clock.advance(0.01)
            await service.flush(0.05)

        watched.before_write = ask
        match what:
            case "tweet":
                await service.erase_tweet(7)
            case "author":
                await service.erase_author(42)
            case _:
                await service.clear()
        watched.before_write = None
        clock.advance(1)
        await service.flush(SOON_S)
        assert await ledger.record(7) is None
        assert (await service.aggregates.tally("all", "day")).all.total == 0
        with pytest.raises(NotFound):
            await service.judge_tweet(URL)


async def test_what_is_written_just_before_the_mark_is_removed_too(
    predictor: LexiconPredictor, store: MemoryStore, clock: ManualClock
) -> None:
    """A question that has read the archive's copy is written when the removal has looked already."""
    await store.set(tweet_key(7), encode_tweet(Tweet(id=7, text="Good #night", author_id=42)))
    # First the archive's copy is deleted; no record is there to be removed; then the mark is set.
    watched = Watched(store, at_write=2)
    ledger = Ledger(cast(LedgerStore, watched), clock=clock)
    source = Slow(ArchiveSource(store))
    async with TweetService(predictor, source, ledger, clock=clock) as service:
        await ledger.generation()
        asking = asyncio.create_task(service.judge_tweet(URL))
        await source.fetched.wait()
        clock.advance(1)

        async def answer() -> None:
            source.gate.set()
            await asking
            assert await service.flush(SOON_S) == 0
            assert await ledger.record(7) is not None

        watched.before_write = answer
        assert await service.erase_tweet(7) == 1
        assert asking.done()
        assert await ledger.record(7) is None
        assert (await service.aggregates.tally("all", "day")).all.total == 0


async def test_what_waits_is_erased_too(service: TweetService, clock: ManualClock) -> None:
    """A prediction that the store has not got yet is gone as well, and counted as erased."""
    await service.judge_tweet(URL)
    assert await service.erase_tweet(7) == 1
    clock.advance(1)
    await service.judge_tweet("8")
    assert await service.erase_author(42) == 1
    clock.advance(1)
    await service.judge_tweet("9")
    assert await service.clear() == 1
    assert await service.flush(SOON_S) == 0
    assert (await service.aggregates.tally("all", "day")).all.total == 0


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


async def test_a_text_that_the_model_refuses(predictor: LexiconPredictor, ledger: Ledger) -> None:
    """A tweet without text is its error, not a server's failure."""
    service = TweetService(predictor, CountingSource(text=""), ledger)
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


class Swapped(LexiconPredictor):
    """Another version takes over while the first one answers, and calls its classes otherwise."""

    def signature(self, model: str) -> Signature:
        known = super().signature(model)
        if self.served == 1:
            return known
        label, scores = known.outputs
        names = tuple(reversed(scores.labels))
        return Signature(known.inputs, (label, TensorSpec("scores", "FP32", (3,), labels=names)))

    async def infer(self, request: InferRequest) -> InferResponse:
        response = await super().infer(request)
        self.served = 2
        return response


async def test_a_version_that_takes_over_meanwhile(source: CountingSource, ledger: Ledger) -> None:
    """Scores are named as the version that answered names them, and so they are remembered."""
    async with TweetService(Swapped(), source, ledger, clock=ledger.clock) as service:
        answer = await service.judge_tweet(URL)
        await service.flush(SOON_S)
        assert (answer.record.version, answer.record.label) == (1, "positive")
        assert max(answer.record.scores, key=answer.record.scores.__getitem__) == "positive"
        assert await ledger.record(7) == answer.record


async def test_a_prediction_that_is_wanted_anew(
    service: TweetService, source: CountingSource, predictor: LexiconPredictor, clock: ManualClock
) -> None:
    """It is made of the known text and remembered; questions like it that meet share it."""
    first = await service.judge_tweet(URL)
    clock.advance(1)
    wrong = dict(zip(first.record.scores, (0.8, 0.1, 0.1), strict=True))
    service.remember(
        msgspec.structs.replace(
            first.record,
            label="negative",
            scores=wrong,
            predicted_at=first.record.predicted_at + timedelta(seconds=0.5),
        )
    )
    assert (await service.judge_tweet(URL)).record.label == "negative"
    answers = await asyncio.gather(*(service.judge_tweet(URL, refresh=True) for _ in range(5)))
    assert [answer.cached for answer in answers] == [False] * 5
    assert (source.asked, predictor.rows_asked) == (1, 2)
    again = await service.judge_tweet(URL)
    assert (again.cached, again.record) == (True, answers[0].record)
    assert again.record.label == "positive"
    await service.flush(SOON_S)
    assert (await service.judge_tweet(URL)).record == again.record


async def test_many_at_once(service: TweetService) -> None:
    """Concurrent questions get their own answers."""
    texts = ["good", "bad", "chair"] * 50
    answers = await asyncio.gather(*(service.judge_texts([text]) for text in texts))
    labels = {"good": "positive", "bad": "negative", "chair": "neutral"}
    for text, answer in zip(texts, answers, strict=True):
        (result,) = answer.results
        assert isinstance(result, Sentiment)
        assert result.label == labels[text]
