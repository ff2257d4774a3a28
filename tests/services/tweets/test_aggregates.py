from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.services.tweets import aggregates
from augury.services.tweets.aggregates import (
    Bucket,
    Tally,
    author_tally,
    bucket_start,
    find_author,
    topic_tally,
)
from augury.services.tweets.records import Observation, remember
from augury.stores.memory import MemoryStore
from tests.services.tweets.test_records import make_record

MONDAY = datetime(2018, 10, 8, tzinfo=UTC)


def seen(label: str, at: datetime | None) -> Observation:
    scores = {"negative": 0.25, "neutral": 0.25, "positive": 0.25}
    return Observation(label=label, scores={**scores, label: 0.5}, created_at=at)


def test_counts_shares_and_means() -> None:
    """Labels nobody got are told as zero; shares add up to one."""
    tally = Tally(bucket="day")
    for label in ("positive", "positive", "negative", "positive"):
        tally.add(seen(label, MONDAY))
    assert tally.all.labels == {"negative": 1, "neutral": 0, "positive": 3}
    assert tally.all.shares == {"negative": 0.25, "neutral": 0.0, "positive": 0.75}
    assert tally.all.mean_scores == {"negative": 0.3125, "neutral": 0.25, "positive": 0.4375}
    assert tally.all.total == 4


@pytest.mark.parametrize(
    ("bucket", "starts"),
    [
        ("hour", [MONDAY, MONDAY + timedelta(hours=23), MONDAY + timedelta(days=6, hours=23)]),
        ("day", [MONDAY, MONDAY + timedelta(days=6)]),
        ("week", [MONDAY]),
    ],
)
def test_over_time(bucket: Bucket, starts: list[datetime]) -> None:
    """Tweets fall into hours, days and ISO weeks of UTC."""
    tally = Tally(bucket=bucket)
    for at in (
        MONDAY,
        MONDAY + timedelta(hours=23, minutes=59),
        MONDAY + timedelta(days=6, hours=23),
    ):
        tally.add(seen("neutral", at))
    assert sorted(tally.buckets) == starts
    assert (tally.first_at, tally.last_at) == (MONDAY, MONDAY + timedelta(days=6, hours=23))


def test_other_zones_are_brought_to_utc() -> None:
    """Half past one on Tuesday in Athens is Monday."""
    athens = datetime(2018, 10, 9, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    assert bucket_start(athens, "day") == MONDAY


def test_a_tweet_without_time_counts_in_all_only() -> None:
    """It is in no bucket."""
    tally = Tally(bucket="day")
    tally.add(seen("neutral", None))
    assert (tally.all.total, tally.undated, tally.buckets, tally.first_at) == (1, 1, {}, None)


OBSERVATIONS = st.lists(
    st.builds(
        seen,
        st.sampled_from(["negative", "neutral", "positive"]),
        st.none() | st.integers(0, 5000).map(lambda hours: MONDAY + timedelta(hours=hours)),
    )
)


@given(first=OBSERVATIONS, second=OBSERVATIONS)
def test_tallies_add_up(first: list[Observation], second: list[Observation]) -> None:
    """Two tallies merged are the tally of everything: what makes them fit for increments."""
    whole, left, right = (Tally(bucket="week") for _ in range(3))
    for observation in first:
        whole.add(observation)
        left.add(observation)
    for observation in second:
        whole.add(observation)
        right.add(observation)
    left.merge(right)
    assert left == whole


def test_tallies_of_other_buckets_do_not_mix() -> None:
    """Days cannot be told from weeks."""
    with pytest.raises(ValueError, match="by hour to one by day"):
        Tally(bucket="day").merge(Tally(bucket="hour"))


def test_a_tally_can_be_kept() -> None:
    """It survives being written as JSON."""
    tally = Tally(bucket="day")
    tally.add(seen("neutral", MONDAY))
    assert msgspec.json.decode(msgspec.json.encode(tally), type=Tally) == tally


async def test_by_author_and_topic(store: MemoryStore) -> None:
    """Each tweet is counted under its author and its topics, and under no other."""
    await remember(store, make_record(1, label="positive", text="#bitcoin up"))
    await remember(store, make_record(2, label="negative", text="bitcoin down"))
    await remember(store, make_record(3, text="#bitcoins", author_id=421))
    assert (await author_tally(store, 42, "day")).all.labels["positive"] == 1
    assert (await author_tally(store, 42, "day")).all.total == 2
    assert (await author_tally(store, 4, "day")).all.total == 0
    assert (await topic_tally(store, "#bitcoin", "day")).all.total == 1
    assert (await topic_tally(store, "bitcoin", "day")).all.total == 2


async def test_a_tweet_judged_twice_counts_once(store: MemoryStore) -> None:
    """The last prediction stands."""
    await remember(store, make_record(1, label="positive"))
    await remember(store, make_record(1, label="negative"))
    assert (await author_tally(store, 42, "day")).all.labels["negative"] == 1
    assert (await author_tally(store, 42, "day")).all.total == 1


async def test_reading_has_a_bound(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than we are willing to read is told as truncated."""
    monkeypatch.setattr(aggregates, "MAX_OBSERVATIONS", 3)
    for tweet_id in range(1, 4):
        await remember(store, make_record(tweet_id))
    assert not (await author_tally(store, 42, "day")).truncated
    await remember(store, make_record(5))
    tally = await author_tally(store, 42, "day")
    assert (tally.truncated, tally.all.total) == (True, 3)


async def test_what_cannot_be_read_is_passed_over(store: MemoryStore) -> None:
    """A value of another release costs only itself."""
    await remember(store, make_record(1))
    await store.set("tweets:prediction:42:2", b"[]")
    assert (await author_tally(store, 42, "day")).all.total == 1


async def test_an_author_is_found_by_id_or_name(store: MemoryStore) -> None:
    """Names know no case; digits are an id unless an @ stands before them."""
    await remember(store, make_record(1, author_id=42, username="Ada"))
    await remember(store, make_record(2, author_id=43, username="1984"))
    assert await find_author(store, "42") == 42
    assert await find_author(store, "@aDA") == 42
    assert await find_author(store, "ada") == 42
    assert await find_author(store, "@1984") == 43
    assert await find_author(store, "1984") == 1984
    assert await find_author(store, "nobody") is None
    assert await find_author(store, "9" * 5000) is None
