from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from augury.core.clock import ManualClock
from augury.services.tweets.aggregates import Aggregates
from augury.services.tweets.ledger import Ledger
from augury.services.tweets.rising import (
    Rising,
    Window,
    days_until,
    elapsed_share,
    rising_score,
    rising_topics,
)
from augury.stores.memory import MemoryStore
from tests.services.tweets.conftest import NOW_S
from tests.services.tweets.ledger.conftest import predicted

# Midnight; the day before is over to the last second.
NOW = datetime.fromtimestamp(NOW_S, UTC)
DAY = timedelta(days=1)
YESTERDAY = NOW - timedelta(hours=6)


@pytest.fixture
def ledger(store: MemoryStore) -> Ledger:
    return Ledger(store, clock=ManualClock(NOW_S))


async def rising(
    ledger: Ledger,
    *,
    window: Window = "day",
    kind: str = "hashtag",
    at: datetime | None = YESTERDAY,
    now: datetime = NOW,
    offset: int = 0,
    limit: int = 10,
) -> Rising:
    return await rising_topics(
        Aggregates(ledger),
        window=window,
        kind=kind,  # type: ignore[arg-type]
        now=now,
        at=at,
        offset=offset,
        limit=limit,
    )


class Tweets:
    """Writes tweets with a text, some at a time."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next_id = 1

    async def write(self, text: str, count: int, at: datetime | None) -> None:
        ids = range(self._next_id, self._next_id + count)
        self._next_id += count
        await self._ledger.write([predicted(one, text=text, created_at=at) for one in ids])


@pytest.fixture
def tweets(ledger: Ledger) -> Tweets:
    return Tweets(ledger)


def told(found: Rising) -> list[tuple[str, int, float]]:
    return [(row.topic, row.recent, row.expected) for row in found.page.rows]


def test_the_score() -> None:
    """Standard deviations over what is expected; surprise counts for more among the quiet."""
    assert rising_score(10, 0) == 10
    assert rising_score(110, 100) < 1
    assert rising_score(20, 8) == 4
    assert rising_score(2, 8) == -2


def test_how_much_of_a_window_is_over() -> None:
    """A day that has just begun lets expect little of it."""
    today = NOW - DAY
    assert elapsed_share(1, today, today) == 0
    assert elapsed_share(1, today, today + timedelta(hours=12)) == 0.5
    assert elapsed_share(7, today, today + timedelta(hours=12)) == 6.5 / 7
    assert elapsed_share(1, today, NOW + 5 * DAY) == 1


def test_days_before_time_began() -> None:
    """There are none."""
    assert days_until(datetime(1, 1, 2, tzinfo=UTC), 7) == [
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ]


async def test_what_is_new_rises_over_what_is_usual(ledger: Ledger, tweets: Tweets) -> None:
    """Ordered by score; what is as usual, what falls, and what is rare are left out."""
    for n in range(1, 8):
        await tweets.write("#usual", 5, YESTERDAY - n * DAY)
        await tweets.write("#falling", 9, YESTERDAY - n * DAY)
        await tweets.write("#louder", 2, YESTERDAY - n * DAY)
    await tweets.write("#usual", 5, YESTERDAY)
    await tweets.write("#falling", 3, YESTERDAY)
    await tweets.write("#louder", 6, YESTERDAY)
    await tweets.write("#new", 4, YESTERDAY)
    await tweets.write("#rare", 2, YESTERDAY)
    found = await rising(ledger)
    assert told(found) == [("#new", 4, 0.0), ("#louder", 6, 2.0)]
    assert [row.score for row in found.page.rows] == [4.0, round(4 / 3**0.5, 6)]
    assert found.page.rows[1].counts.total == 2 * 7 + 6
    assert (found.start, found.end) == (NOW - DAY, NOW)


async def test_equals_are_in_one_order(ledger: Ledger, tweets: Tweets) -> None:
    """By their name; and in pages."""
    await tweets.write("#b #a #c", 3, YESTERDAY)
    assert [row.topic for row in (await rising(ledger)).page.rows] == ["#a", "#b", "#c"]
    page = (await rising(ledger, offset=1, limit=1)).page
    assert ([row.topic for row in page.rows], page.total, page.next) == (["#b"], 3, 2)


async def test_kinds(ledger: Ledger, tweets: Tweets) -> None:
    """One at a time, or all together."""
    await tweets.write("#tag $btc", 3, YESTERDAY)
    assert told(await rising(ledger, kind="cashtag")) == [("$btc", 3, 0.0)]
    assert [topic for topic, _, _ in told(await rising(ledger, kind="all"))] == [
        "#tag",
        "$btc",
        "btc",
        "tag",
    ]


async def test_a_week(ledger: Ledger, tweets: Tweets) -> None:
    """Seven days that end with the one asked for, against the four weeks before."""
    await tweets.write("#week", 2, YESTERDAY)
    await tweets.write("#week", 4, YESTERDAY - 6 * DAY)
    await tweets.write("#week", 8, YESTERDAY - 7 * DAY)
    await tweets.write("#week", 50, YESTERDAY - 35 * DAY)
    found = await rising(ledger, window="week")
    assert told(found) == [("#week", 6, 2.0)]
    assert (found.start, found.end) == (NOW - 7 * DAY, NOW)


async def test_a_day_that_is_not_over(ledger: Ledger, tweets: Tweets) -> None:
    """Half a day lets expect half as much."""
    for n in range(1, 8):
        await tweets.write("#usual", 4, YESTERDAY - n * DAY)
    await tweets.write("#usual", 4, NOW - DAY)
    noon = NOW - DAY / 2
    assert told(await rising(ledger, at=None, now=noon)) == [("#usual", 4, 2.0)]


async def test_when_nothing_was_written_today(ledger: Ledger, tweets: Tweets) -> None:
    """The latest day that has tweets is told instead; a day that was asked for is not replaced."""
    await tweets.write("#past", 3, NOW - 400 * DAY)
    await tweets.write("#older", 3, NOW - 500 * DAY)
    await tweets.write("#undated", 3, None)
    found = await rising(ledger, at=None)
    assert told(found) == [("#past", 3, 0.0)]
    assert found.start == NOW - 400 * DAY
    assert told(await rising(ledger, at=NOW)) == []
    assert told(await rising(ledger, at=NOW - 500 * DAY)) == [("#older", 3, 0.0)]


async def test_the_future_does_not_rise(ledger: Ledger, tweets: Tweets) -> None:
    """Tweets of later days are no news; asked for them, we tell of today."""
    await tweets.write("#tomorrow", 9, NOW + DAY)
    await tweets.write("#doomsday", 9, datetime(9999, 12, 31, 23, tzinfo=UTC))
    assert told(await rising(ledger, at=None)) == []
    assert told(await rising(ledger, at=NOW + 9 * DAY)) == []
    assert (await rising(ledger, at=datetime.max.replace(tzinfo=UTC))).start == NOW


@pytest.mark.parametrize("window", ["day", "week"])
async def test_the_ends_of_time(ledger: Ledger, tweets: Tweets, window: Window) -> None:
    """The first day has no past, and the last has no end."""
    first = datetime(1, 1, 1, 5, tzinfo=UTC)
    last = datetime(9999, 12, 31, 5, tzinfo=UTC)
    await tweets.write("#first", 3, first)
    await tweets.write("#last", 3, last)
    assert told(await rising(ledger, window=window, at=first)) == [("#first", 3, 0.0)]
    found = await rising(ledger, window=window, at=None, now=last)
    assert (told(found)[0][0], found.end) == ("#last", None)


async def test_nothing_is_held(ledger: Ledger) -> None:
    """An empty list of today."""
    found = await rising(ledger, at=None)
    assert (found.page.rows, found.start) == ((), NOW)
