from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from augury.core.clock import ManualClock
from augury.services.tweets.aggregates import Aggregates, Bucket, Counts, bucket_start, fold
from augury.services.tweets.ledger import Ledger, tables
from augury.services.tweets.records import record_key
from augury.stores.memory import MemoryStore
from tests.services.tweets.conftest import NOW_S
from tests.services.tweets.ledger.conftest import predicted

MONDAY = datetime(2018, 10, 8, tzinfo=UTC)


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return Ledger(store, clock=ManualClock(NOW_S + 1000))


@pytest.fixture
def aggregates(ledger: Ledger) -> Aggregates:
    return Aggregates(ledger)


def test_counts_shares_and_means() -> None:
    """Labels nobody got are told as zero; shares add up to one."""
    counts = Counts()
    counts.add(("negative", "neutral", "positive"), (1, 0, 3, 1_250_000, 1_000_000, 1_750_000))
    assert counts.labels == {"negative": 1, "neutral": 0, "positive": 3}
    assert counts.shares == {"negative": 0.25, "neutral": 0.0, "positive": 0.75}
    assert counts.mean_scores == {"negative": 0.3125, "neutral": 0.25, "positive": 0.4375}
    assert counts.total == 4


def test_models_with_other_classes_do_not_mix() -> None:
    """A class's mean is over the tweets whose model knows it; shares are of all."""
    counts = Counts()
    counts.add(("bad", "good"), (1, 1, 600_000, 1_400_000))
    counts.add(("bad", "fine", "good"), (0, 2, 0, 100_000, 1_900_000))  # trailing zeros left out
    assert counts.labels == {"bad": 1, "good": 1, "fine": 2}
    assert counts.total == 4
    assert counts.mean_scores == {"bad": 0.175, "good": 0.35, "fine": 0.95}


def test_nothing_adds_up_to_nothing() -> None:
    """No division by zero."""
    assert (Counts().total, Counts().shares, Counts().mean_scores) == (0, {}, {})


@pytest.mark.parametrize(
    ("bucket", "starts"),
    [
        ("hour", [MONDAY, MONDAY + timedelta(hours=23), MONDAY + timedelta(days=6, hours=23)]),
        ("day", [MONDAY, MONDAY + timedelta(days=6)]),
        ("week", [MONDAY]),
    ],
)
async def test_over_time(
    ledger: Ledger, aggregates: Aggregates, bucket: Bucket, starts: list[datetime]
) -> None:
    """Tweets fall into hours, days and ISO weeks of UTC."""
    times = [
        MONDAY,
        MONDAY + timedelta(hours=23, minutes=59),
        MONDAY + timedelta(days=6, hours=23),
    ]
    await ledger.write([predicted(n + 1, created_at=at) for n, at in enumerate(times)])
    tally = await aggregates.tally(tables.ALL_TWEETS, bucket)
    assert sorted(tally.buckets) == starts
    assert sum(counts.total for counts in tally.buckets.values()) == tally.all.total == 3
    assert (tally.first_at, tally.last_at) == (MONDAY, MONDAY + timedelta(days=6, hours=23))


def test_other_zones_are_brought_to_utc() -> None:
    """Half past one on Tuesday in Athens is Monday."""
    athens = datetime(2018, 10, 9, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    assert bucket_start(athens, "day") == MONDAY


async def test_a_tweet_without_time_counts_in_all_only(
    ledger: Ledger, aggregates: Aggregates
) -> None:
    """It is in no bucket, whatever their length, and neither first nor last."""
    await ledger.write([predicted(created_at=None)])
    for bucket in ("hour", "day", "week"):
        tally = await aggregates.tally(tables.author_entity(42), bucket)
        assert (tally.all.total, tally.undated, tally.buckets) == (1, 1, {})
        assert (tally.first_at, tally.last_at) == (None, None)
    await ledger.write([predicted(8, created_at=MONDAY)])
    tally = await aggregates.tally(tables.author_entity(42), "day")
    assert (tally.first_at, tally.last_at) == (MONDAY, MONDAY)


async def test_the_ends_of_time(ledger: Ledger, aggregates: Aggregates) -> None:
    """The years 1, 1970 and 9999 have their hours, days and weeks."""
    times = [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    ]
    await ledger.write([predicted(n + 1, created_at=at) for n, at in enumerate(times)])
    for bucket in ("hour", "day", "week"):
        tally = await aggregates.tally(tables.ALL_TWEETS, bucket)
        assert sorted(tally.buckets) == [bucket_start(at, bucket) for at in times]
        assert (tally.first_at, tally.last_at) == (times[0], times[-1])


def test_members_of_another_release_are_passed_over() -> None:
    """They cost only themselves."""
    good = tables.start_member("day", MONDAY, '["a"]')
    tally = fold("day", {good: (1, 1), "2018-10-08": (1,), "soon[1]": (1,), "x": (1,), "": (1,)})
    assert tally.all.total == 1


async def test_by_author_and_topic(ledger: Ledger, aggregates: Aggregates) -> None:
    """Each tweet is counted under its author and its topics, and under no other."""
    await ledger.write(
        [
            predicted(1, label="positive", text="#bitcoin up"),
            predicted(2, label="negative", text="bitcoin down"),
            predicted(3, text="#bitcoins", author_id=421),
        ]
    )

    async def total(entity: str) -> int:
        return (await aggregates.tally(entity, "day")).all.total

    assert await total(tables.author_entity(42)) == 2
    assert await total(tables.author_entity(4)) == 0
    assert await total(tables.topic_entity("#bitcoin")) == 1
    assert await total(tables.topic_entity("bitcoin")) == 2
    assert await total(tables.topic_entity("*")) == 0


async def test_active_authors(ledger: Ledger, aggregates: Aggregates) -> None:
    """The busiest first, equals in a settled order, in pages; named as in their latest tweet."""
    await ledger.write(
        [
            predicted(1, author_id=1, username="old_name", created_at=MONDAY),
            predicted(2, author_id=1, username="new_name", created_at=MONDAY + timedelta(days=1)),
            predicted(3, author_id=2, username="b", label="negative", created_at=None),
            predicted(4, author_id=3, username="c"),
            predicted(5, author_id=None, username=None),
        ]
    )
    page = await aggregates.authors(offset=0, limit=2)
    assert (page.total, page.next) == (3, 2)
    first, second = page.rows
    assert (first.author_id, first.username, first.counts.total) == (1, "new_name", 2)
    assert (first.first_at, first.last_at) == (MONDAY, MONDAY + timedelta(days=1))
    assert second.author_id == 3
    last = await aggregates.authors(offset=2, limit=2)
    assert last.next is None
    (third,) = last.rows
    assert (third.author_id, third.username, third.counts.labels["negative"]) == (2, "b", 1)
    assert (third.first_at, third.last_at) == (None, None)
    beyond = await aggregates.authors(offset=50, limit=2)
    assert (beyond.rows, beyond.total, beyond.next) == ((), 3, None)


async def test_active_topics(ledger: Ledger, aggregates: Aggregates) -> None:
    """Of one kind, or of all."""
    await ledger.write(
        [
            predicted(1, text="#bitcoin $btc"),
            predicted(2, text="#bitcoin"),
            predicted(3, text="bitcoin", label="negative"),
        ]
    )

    async def listed(kind: str) -> list[tuple[str, str, int]]:
        page = await aggregates.topics(kind, offset=0, limit=10)  # type: ignore[arg-type]
        assert page.total == len(page.rows)
        return [(row.topic, row.kind, row.counts.total) for row in page.rows]

    assert await listed("hashtag") == [("#bitcoin", "hashtag", 2)]
    assert await listed("cashtag") == [("$btc", "cashtag", 1)]
    assert await listed("word") == [("bitcoin", "word", 3), ("btc", "word", 1)]
    assert await listed("all") == [
        ("bitcoin", "word", 3),
        ("#bitcoin", "hashtag", 2),
        ("btc", "word", 1),
        ("$btc", "cashtag", 1),
    ]


async def test_totals_of_several_models(ledger: Ledger, aggregates: Aggregates) -> None:
    """Lists add up what models with other classes said, too."""
    await ledger.write(
        [predicted(1), predicted(2, label="good", scores={"bad": 0.25, "good": 0.75})]
    )
    (row,) = (await aggregates.authors(offset=0, limit=5)).rows
    assert row.counts.labels == {"negative": 0, "neutral": 0, "positive": 1, "bad": 0, "good": 1}
    assert row.counts.mean_scores["good"] == 0.75
    assert row.counts.mean_scores["positive"] == 0.8


async def test_lists_of_tweets(ledger: Ledger, aggregates: Aggregates) -> None:
    """An author's by their own time, the latest first; all by the time of their prediction."""
    records = [
        predicted(1, at_s=NOW_S + 3, created_at=MONDAY),
        predicted(2, at_s=NOW_S + 1, created_at=None),
        predicted(3, at_s=NOW_S + 2, created_at=MONDAY + timedelta(days=1)),
    ]
    await ledger.write(records)
    by_author = await aggregates.tweets(tables.author_entity(42), offset=0, limit=10)
    assert [row.tweet_id for row in by_author.rows] == [3, 1, 2]
    recent = await aggregates.recent(offset=0, limit=2)
    assert [row.tweet_id for row in recent.rows] == [1, 3]
    assert (recent.total, recent.next) == (3, 2)


async def test_lists_leave_out_what_is_gone(
    ledger: Ledger, aggregates: Aggregates, store: MemoryStore
) -> None:
    """A record erased between two looks costs only itself."""
    await ledger.write([predicted(1), predicted(2)])
    await store.delete(record_key(2))
    assert [row.tweet_id for row in (await aggregates.recent(offset=0, limit=9)).rows] == [1]
    (author,) = (await aggregates.authors(offset=0, limit=5)).rows
    assert (author.username, author.counts.total) == (None, 2)


async def test_tables_that_are_replaced_meanwhile(ledger: Ledger, aggregates: Aggregates) -> None:
    """An answer begun on tables that a rebuild has removed is made again."""
    await ledger.write([predicted(1)])
    seen: list[int] = []

    async def read(generation: int) -> int:
        seen.append(generation)
        if len(seen) < 3:
            await ledger.rebuild(lambda done, of: None)
        sums = await ledger.store.sums(tables.total_table(generation, tables.ALL_TWEETS))
        return len(sums)

    assert await aggregates.stable(read) == 1
    assert len(set(seen)) == 3


async def test_an_author_is_found_by_id_or_name(ledger: Ledger, aggregates: Aggregates) -> None:
    """Names know no case; digits are an id unless an @ stands before them."""
    await ledger.write([predicted(1, author_id=42, username="Ada")])
    await ledger.write([predicted(2, author_id=43, username="1984")])
    assert await aggregates.find_author("42") == 42
    assert await aggregates.find_author("@aDA") == 42
    assert await aggregates.find_author("ada") == 42
    assert await aggregates.find_author("@1984") == 43
    assert await aggregates.find_author("1984") == 1984
    assert await aggregates.find_author("nobody") is None
    assert await aggregates.find_author("9" * 5000) is None
    assert await aggregates.find_author("") is None
