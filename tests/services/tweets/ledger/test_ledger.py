from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import Unavailable
from augury.services.tweets.aggregates import Aggregates
from augury.services.tweets.ledger import Ledger, LedgerStore, tables
from augury.services.tweets.ledger.erasure import MARK_TTL_S, MAX_MARK_AHEAD_S
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import (
    AUTHOR_ID_PREFIX,
    RETENTION_S,
    encode_tweet,
    record_key,
    tweet_key,
)
from tests.services.tweets.conftest import NOW_S
from tests.services.tweets.ledger.conftest import (
    Spoiled,
    check,
    generation_of,
    opened_store,
    predicted,
)


async def test_what_is_written_is_recalled_and_counted(ledger: Ledger) -> None:
    """Records come back as they were, and the tables are those of a recount."""
    written = [
        predicted(1),
        predicted(2, author_id=None, username=None),
        predicted(3, created_at=None, text=""),
        predicted(4, text="#Bitcoin $BTC bitcoin", label="negative", author_id=43),
    ]
    assert await ledger.write(written) == 4
    assert await ledger.records([4, 9, 1]) == [written[3], None, written[0]]
    await check(ledger, written, range(10))


async def test_repeating_changes_nothing(ledger: Ledger, clock: ManualClock) -> None:
    """The same answer again, be it predicted later, is no change."""
    assert await ledger.write([predicted()]) == 1
    clock.advance(60)
    assert await ledger.write([predicted()]) == 0
    assert await ledger.write([predicted(at_s=clock.time())]) == 0
    await check(ledger, [predicted()], [7])


async def test_the_later_prediction_stands(ledger: Ledger, clock: ManualClock) -> None:
    """In whichever order they arrive, and within one call as well."""
    clock.advance(60)
    early, late = predicted(), predicted(at_s=NOW_S + 60, label="negative", version=2)
    assert await ledger.write([late, early]) == 1
    await check(ledger, [late], [7])
    assert await ledger.write([early]) == 0
    await check(ledger, [late], [7])


async def test_a_prediction_of_a_clock_that_was_wrong(ledger: Ledger, clock: ManualClock) -> None:
    """Dated years ahead, it stands until a newer one comes, not until its date."""
    await ledger.write([predicted(at_s=NOW_S + 10 * 365 * 86_400)])
    clock.advance(1)
    new = predicted(at_s=clock.time(), version=2)
    assert await ledger.write([new]) == 1
    await check(ledger, [new], [7])
    # Clocks of two machines differ a little.
    ahead = predicted(at_s=clock.time() + 60, version=3)
    await ledger.write([ahead])
    assert await ledger.write([predicted(at_s=clock.time() + 30, version=4)]) == 0
    await check(ledger, [ahead], [7])


async def test_everything_of_a_record_may_change(ledger: Ledger, clock: ManualClock) -> None:
    """Label, classes, text, author and time: the old contribution leaves without a trace."""
    await ledger.write([predicted(text="old #words", author_id=1, username="one")])
    clock.advance(1)
    new = predicted(
        at_s=clock.time(),
        text="new $WORDS",
        author_id=2,
        label="bad",
        scores={"good": 0.25, "bad": 0.75},
        created_at=AT_9999,
    )
    assert await ledger.write([new]) == 1
    await check(ledger, [new], [7])
    generation = await ledger.generation()
    for entity in (tables.author_entity(1), tables.topic_entity("#words")):
        assert await ledger.store.sums(tables.total_table(generation, entity)) == {}
        assert await ledger.store.rank_count(tables.tweets_table(generation, entity)) == 0
    assert await Aggregates(ledger).find_author("@ada") == 2


AT_9999 = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize("how", ["lost", "half", "unanswered"])
async def test_a_commit_that_fails_is_made_again(
    store: LedgerStore, clock: ManualClock, how: str
) -> None:
    """Whether it had happened or not, each tweet is counted once."""
    spoiled = Spoiled(store)
    ledger = Ledger(spoiled, clock=clock)
    written = [predicted(tweet_id) for tweet_id in range(1, 6)]
    await ledger.generation()
    spoiled.spoil = [how]
    with pytest.raises(Unavailable):
        await ledger.write(written)
    await ledger.write(written)
    await check(ledger, written, range(10))
    spoiled.spoil = [how]
    with pytest.raises(Unavailable):
        await ledger.erase([1, 2, 3])
    await ledger.erase([1, 2, 3])
    await check(ledger, written[3:], range(10))


async def test_many_writers_of_the_same_tweets(ledger: Ledger, store: LedgerStore) -> None:
    """Twenty tasks, two ledgers, ten tweets: counted once each, the latest prediction of each."""
    other = Ledger(store, clock=ledger.clock)
    versions = [
        [
            predicted(one, at_s=NOW_S - n, label=("positive", "negative")[n % 2], version=n + 1)
            for one in range(1, 11)
        ]
        for n in range(20)
    ]
    await asyncio.gather(
        *((ledger, other)[n % 2].write(versions[n]) for n in range(20)),
    )
    await check(ledger, versions[0], range(12))


async def test_erasing(ledger: Ledger, store: LedgerStore, clock: ManualClock) -> None:
    """Record, counts, the archive's copy and a name that nobody bears any more are gone."""
    await store.set(tweet_key(1), encode_tweet(Tweet(id=1, text="x", author_id=42)))
    await store.set(tweet_key(3), encode_tweet(Tweet(id=3, text="x", author_id=42)))
    await ledger.write([predicted(1), predicted(2)])
    clock.advance(1)
    assert await ledger.erase([1, 3, 9]) == 2
    await check(ledger, [predicted(2)], range(5))
    assert await store.get_many([tweet_key(1), tweet_key(3)]) == [None, None]
    assert await Aggregates(ledger).find_author("@Ada") == 42
    assert await ledger.erase([2]) == 1
    assert await Aggregates(ledger).find_author("@Ada") is None
    assert await ledger.erase([1, 2, 3]) == 0


async def test_what_was_under_way_does_not_come_back(ledger: Ledger, clock: ManualClock) -> None:
    """A prediction made before the erasure and written after it is dropped; a later one is not."""
    early = [predicted(1), predicted(2, author_id=5), predicted(3, author_id=6)]
    clock.advance(1)
    await ledger.erase([1])
    await ledger.erase_author(5)
    assert await ledger.write(early) == 1
    await check(ledger, early[2:], range(5))
    await ledger.clear()
    assert await ledger.write(early) == 0
    await check(ledger, [], range(5))
    clock.advance(1)
    late = [predicted(one, at_s=clock.time()) for one in (1, 2, 3)]
    assert await ledger.write(late) == 3
    await check(ledger, late, range(5))


async def test_an_erasure_in_the_middle_of_a_write(store: LedgerStore, clock: ManualClock) -> None:
    """It comes between reading and committing: the commit does not hold, the record is dropped."""
    spoiled = Spoiled(store)
    ledger, other = Ledger(spoiled, clock=clock), Ledger(store, clock=clock)
    for erase in (
        lambda: other.erase([7]),
        lambda: other.erase_author(42),
        other.clear,
    ):
        record = predicted(at_s=clock.time())
        await ledger.generation()
        clock.advance(1)
        spoiled.before_commit = erase
        assert await ledger.write([record]) == 0
        await check(ledger, [], [7])
        clock.advance(1)


async def test_a_write_that_an_erasure_stopped_leaves_no_name(
    store: LedgerStore, clock: ManualClock
) -> None:
    """The author's name was written already; it goes, unless they have other tweets."""
    spoiled = Spoiled(store)
    ledger, other = Ledger(spoiled, clock=clock), Ledger(store, clock=clock)
    await ledger.generation()
    for erase in (lambda: other.erase([7]), lambda: other.erase_author(42)):
        record = predicted(at_s=clock.time())
        clock.advance(1)
        spoiled.before_commit = erase
        assert await ledger.write([record]) == 0
        assert await store.count(AUTHOR_ID_PREFIX) == 0
        clock.advance(1)
    await ledger.write([predicted(8, at_s=clock.time())])
    late = predicted(9, at_s=clock.time())
    clock.advance(1)
    spoiled.before_commit = lambda: other.erase([9])
    assert await ledger.write([late]) == 0
    assert await Aggregates(ledger).find_author("@ada") == 42


@pytest.mark.parametrize("how", ["tweet", "author", "age"])
async def test_a_name_that_another_bears_now(ledger: Ledger, clock: ManualClock, how: str) -> None:
    """When the last of its former owner goes, it still leads to the new one."""
    await ledger.write([predicted(1)])
    clock.advance(1)
    await ledger.write([predicted(2, at_s=clock.time(), author_id=43)])
    match how:
        case "tweet":
            await ledger.erase([1])
        case "author":
            await ledger.erase_author(42)
        case _:
            clock.advance(RETENTION_S - 1)
            assert await ledger.expire() == 1
    assert await Aggregates(ledger).find_author("@ada") == 43
    await ledger.erase_author(43)
    assert await Aggregates(ledger).find_author("@ada") is None


@pytest.mark.parametrize("waited_s", [3 * 3600.0, 3 * 86_400.0])
async def test_what_has_waited_for_long_does_not_come_back(
    ledger: Ledger, clock: ManualClock, waited_s: float
) -> None:
    """A buffer whose store was down for hours or days brings back nothing that was erased."""
    early = [predicted(1), predicted(2, author_id=5)]
    clock.advance(1)
    await ledger.erase([1])
    await ledger.erase_author(5)
    clock.advance(waited_s)
    assert await ledger.write(early) == 0
    cleared = predicted(3, at_s=clock.time())
    clock.advance(1)
    await ledger.clear()
    clock.advance(waited_s)
    assert await ledger.write([cleared]) == 0
    await check(ledger, [], range(5))


async def test_an_erasure_of_a_clock_that_was_wrong(
    ledger: Ledger, store: LedgerStore, clock: ManualClock
) -> None:
    """One dated hours ahead does not keep out what is predicted after it."""
    ahead = Ledger(store, clock=ManualClock(NOW_S + 2 * MAX_MARK_AHEAD_S))
    await ledger.write([predicted()])
    for what in ("tweet", "author", "everything"):
        match what:
            case "tweet":
                await ahead.erase([7])
            case "author":
                await ahead.erase_author(42)
            case _:
                await ahead.clear()
        clock.advance(1)
        assert await ledger.write([predicted(at_s=clock.time())]) == 1


async def test_erasing_an_author(ledger: Ledger, store: LedgerStore, clock: ManualClock) -> None:
    """All their tweets, more than a page of them, and what the archive has; nobody else's."""
    theirs = [predicted(one) for one in range(1, 251)]
    others = [predicted(one, author_id=421, username="adam") for one in range(251, 260)]
    await ledger.write(theirs + others)
    for one, author_id in ((1, 42), (300, 42), (301, 421)):
        tweet = Tweet(id=one, text="x", author_id=author_id)
        await store.set(tweet_key(one), encode_tweet(tweet))
    clock.advance(1)
    assert await ledger.erase_author(42) == 251
    await check(ledger, others, range(260))
    archived = await store.get_many([tweet_key(one) for one in (1, 300, 301)])
    assert [copy is None for copy in archived] == [True, True, False]
    assert await Aggregates(ledger).find_author("@ada") is None
    assert await Aggregates(ledger).find_author("@adam") == 421
    assert await ledger.erase_author(42) == 0


async def test_clearing(ledger: Ledger, store: LedgerStore, clock: ManualClock) -> None:
    """Nothing of the tweets is left, other keys are; writing goes on."""
    await ledger.write([predicted(one) for one in range(1, 230)])
    await store.set(tweet_key(1), encode_tweet(Tweet(id=1, text="x")))
    await store.set(tweet_key(500), encode_tweet(Tweet(id=500, text="x")))
    await store.set("tweets:prediction:42:7", b"first release")
    await store.set("other", b"kept")
    clock.advance(1)
    assert await ledger.clear() == 230
    assert await store.count("tweets:") == 1
    assert await store.get("other") == b"kept"
    await check(ledger, [], range(10))
    await ledger.write([predicted(5, at_s=clock.time() + 1)])
    await check(ledger, [predicted(5, at_s=clock.time() + 1)], range(10))


@pytest.mark.parametrize("commits", [1, 2, 3])
async def test_an_interrupted_clearing(
    store: LedgerStore, clock: ManualClock, commits: int
) -> None:
    """Nothing is recalled from its first moment on, not even by a rebuild; repeating ends it."""
    spoiled = Spoiled(store)
    ledger = Ledger(spoiled, clock=clock)
    await ledger.write([predicted(one) for one in range(1, 330)])
    clock.advance(1)
    spoiled.spoil = [""] * commits + ["half"]
    with pytest.raises(Unavailable):
        await ledger.clear()
    await check(ledger, [], range(330))
    await ledger.rebuild(lambda done, of: None)
    await check(ledger, [], range(330))
    again = predicted(3, at_s=clock.time() + 1)
    await ledger.write([again])
    await check(ledger, [again], range(330))
    await ledger.expire()
    assert await store.count("tweets:record:") == 1
    await ledger.clear()
    assert await store.count("tweets:record:") == 0


async def test_retention(ledger: Ledger, store: LedgerStore, clock: ManualClock) -> None:
    """After 60 days a prediction is not recalled, and a sweep takes it out of the counts."""
    assert RETENTION_S == 60 * 24 * 3600
    await store.set(tweet_key(1), encode_tweet(Tweet(id=1, text="x")))
    await ledger.write([predicted(one, at_s=NOW_S + one) for one in range(1, 301)])
    clock.advance(RETENTION_S + 0.5)
    assert await ledger.expire() == 0
    clock.advance(200)
    assert await ledger.records([200, 201]) == [None, predicted(201, at_s=NOW_S + 201)]
    assert await ledger.expire(max_records=150) == 150
    assert await ledger.expire() == 50
    assert await ledger.expire() == 0
    left = [predicted(one, at_s=NOW_S + one) for one in range(201, 301)]
    await check(ledger, left, range(301))
    # The person who imported it decided to keep it.
    assert await store.get(tweet_key(1)) is not None
    assert await ledger.write([predicted(2)]) == 0


async def test_what_is_past_its_retention_is_replaced(ledger: Ledger, clock: ManualClock) -> None:
    """Also by the same answer: a tweet asked for anew is held anew."""
    await ledger.write([predicted()])
    clock.advance(RETENTION_S + 1)
    assert await ledger.record(7) is None
    new = predicted(at_s=clock.time())
    assert await ledger.write([new]) == 1
    assert await ledger.expire() == 0
    await check(ledger, [new], [7])


async def test_marks_of_erasures_do_not_stay(
    ledger: Ledger, store: LedgerStore, clock: ManualClock
) -> None:
    """The id of an erased tweet is not kept for longer than the mark has its use."""
    await ledger.write([predicted()])
    await ledger.erase([7])
    await ledger.erase_author(42)
    clock.advance(MARK_TTL_S + 1)
    assert await store.count("tweets:erased:") == 0


async def test_a_store_that_lost_records(
    ledger: Ledger, store: LedgerStore, clock: ManualClock
) -> None:
    """What no record stands behind holds up neither the sweep nor an erasure, and a rebuild ends it."""
    await ledger.write([predicted(one) for one in range(1, 4)])
    await store.delete(record_key(1), record_key(2))
    clock.advance(RETENTION_S + 1)
    assert await ledger.expire() == 1
    await ledger.write([predicted(4, at_s=clock.time()), predicted(5, at_s=clock.time())])
    await store.delete(record_key(4))
    clock.advance(1)
    assert await ledger.erase_author(42) == 1
    await ledger.rebuild(lambda done, of: None)
    await check(ledger, [], range(6))


async def test_a_record_of_another_release(ledger: Ledger, store: LedgerStore) -> None:
    """What cannot be read is no hit, and is replaced."""
    await store.set(record_key(7), b'{"record": 5}')
    assert await ledger.record(7) is None
    assert await ledger.write([predicted()]) == 1
    await check(ledger, [predicted()], [7])


async def test_a_lost_state_begins_anew(
    ledger: Ledger, store: LedgerStore, clock: ManualClock
) -> None:
    """The key of the generations gone, a rebuild brings back everything, into tables never used."""
    await ledger.write([predicted(1)])
    before = await generation_of(store)
    await store.delete("tweets:generations")
    clock.advance(1)
    await ledger.write([predicted(2)])
    assert await ledger.record(2) == predicted(2)
    assert (await generation_of(store))[0] > before[0]
    await ledger.rebuild(lambda done, of: None)
    await check(ledger, [predicted(1), predicted(2)], [1, 2])


async def test_two_ledgers_on_one_file(tmp_path: Path, clock: ManualClock) -> None:
    """Each with its own connection: both count, neither twice, both see the same."""
    async with (
        opened_store("sqlite", tmp_path, clock) as one,
        opened_store("sqlite", tmp_path, clock) as two,
    ):
        first, second = Ledger(one, clock=clock), Ledger(two, clock=clock)
        records = [predicted(tweet_id) for tweet_id in range(1, 120)]
        await asyncio.gather(
            *((first, second)[n % 2].write(records[n : n + 40]) for n in range(0, 100, 10))
        )
        await first.write(records)
        await check(first, records, range(120))
        await check(second, records, range(120))


async def test_strange_names_and_times(ledger: Ledger) -> None:
    """Whatever is a name, a topic or a time, it is counted where it belongs and nowhere else."""
    times = [
        datetime(1, 1, 1, tzinfo=UTC),
        AT_9999,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime.fromtimestamp(NOW_S, UTC) + timedelta(days=400),
        None,
    ]
    names = ["*", "a\nb", "tweets:record:1", "[a-z]?", "\\", "\0", "名前", "x" * 1_000_000]
    written = [
        predicted(n + 1, author_id=n + 1, username=name, created_at=times[n % len(times)])
        for n, name in enumerate(names)
    ]
    await ledger.write(written)
    await check(ledger, written, range(20))
    aggregates = Aggregates(ledger)
    for n, name in enumerate(names[:-1]):
        assert await aggregates.find_author(f"@{name}") == n + 1
    assert await aggregates.find_author("@*a") is None
    assert await aggregates.find_author("@" + names[-1]) is None
    page = await aggregates.authors(offset=0, limit=100)
    assert {row.username for row in page.rows} == set(names)
