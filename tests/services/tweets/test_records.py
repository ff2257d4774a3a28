from __future__ import annotations

from datetime import UTC, datetime

from augury.core.clock import ManualClock
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import (
    TTL_S,
    PredictionRecord,
    items_of,
    recall,
    record_of,
    remember,
)
from augury.stores.memory import MemoryStore

AT = datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)


def make_record(
    tweet_id: int = 7,
    *,
    label: str = "positive",
    text: str = "Good #night",
    author_id: int | None = 42,
    username: str | None = "Ada",
    created_at: datetime | None = AT,
) -> PredictionRecord:
    scores = {"negative": 0.1, "neutral": 0.1, "positive": 0.1}
    scores[label] = 0.8
    tweet = Tweet(
        id=tweet_id, text=text, author_id=author_id, username=username, created_at=created_at
    )
    return record_of(
        tweet, label=label, scores=scores, model="tweet-sentiment", version=1, predicted_at=AT
    )


def test_the_keys() -> None:
    """One prediction is found by author, by tweet, by name and by topic."""
    assert sorted(items_of(make_record())) == [
        "tweets:author_id:ada",
        "tweets:author_of:7",
        "tweets:prediction:42:7",
        "tweets:topic:#night:7",
        "tweets:topic:good:7",
        "tweets:topic:night:7",
    ]


def test_an_unknown_author_has_no_name_key() -> None:
    """A name without an id leads nowhere."""
    keys = items_of(make_record(author_id=None))
    assert "tweets:prediction:-:7" in keys
    assert "tweets:author_id:ada" not in keys


async def test_what_is_remembered_is_recalled(store: MemoryStore) -> None:
    """All of it, with and without author."""
    for record in (make_record(), make_record(8, author_id=None, username=None)):
        await remember(store, record)
        assert await recall(store, record.tweet_id) == record
    assert await recall(store, 9) is None


async def test_it_is_forgotten_after_60_days() -> None:
    """Every key of it."""
    assert TTL_S == 60 * 24 * 3600
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    await remember(store, make_record())
    clock.advance(TTL_S - 1)
    assert await recall(store, 7) is not None
    clock.advance(2)
    assert await store.count() == 0


async def test_a_record_of_another_release_is_no_hit(store: MemoryStore) -> None:
    """What cannot be read is made anew."""
    await remember(store, make_record())
    await store.set("tweets:prediction:42:7", b'{"label": 5}')
    assert await recall(store, 7) is None
    await store.delete("tweets:prediction:42:7")
    assert await recall(store, 7) is None


def test_the_tweet_can_be_had_back() -> None:
    """A record holds all of its tweet, so that a new version need not fetch it."""
    tweet = Tweet(
        id=7, text="t", author_id=1, username="a", author_name="A", created_at=AT, lang="en"
    )
    record = record_of(tweet, label="x", scores={}, model="m", version=1, predicted_at=AT)
    assert record.tweet == tweet
