"""Which topics are spoken of more than they usually are.

A topic's tweets of a window (a day, or seven) are set against the same topic's earlier windows of
that length: the mean of those is what is expected, and the excess is measured in the standard
deviations of a Poisson process, ``(n - e) / sqrt(e + 1)``.  That is the "Poisson model" of Hendrickson,
Kolb, Lehman and Montague, *Trend Detection in Social Data* (Gnip / Twitter, 2015); the 1 added to
the variance is a prior of one tweet, without which every new word would rise without bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from augury.services.tweets.aggregates import Aggregates, Counts, KindOrAll, Page, few_at_once
from augury.services.tweets.ledger import LedgerStore, tables
from augury.services.tweets.ledger.tables import KINDS, Kind

Window = Literal["day", "week"]

DAYS: Final[dict[Window, int]] = {"day": 1, "week": 7}
# Windows that tell what is usual: a week of days, so that each weekday has its say, a month of weeks.
PAST_WINDOWS: Final[dict[Window, int]] = {"day": 7, "week": 4}
# Less than this is chance.
MIN_RECENT: Final = 3
# Of each kind, the most active of the window; what is rare cannot have risen far.
CANDIDATES: Final = 300
# They are found among the most active of each of its days.
DAY_CANDIDATES: Final[dict[Window, int]] = {"day": 300, "week": 100}

_DAY: Final = timedelta(days=1)
_LAST_DAY: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RisingRow:
    """A topic in the list of those that rise.

    Args:
        topic: As ``topics.topics_of`` spells it.
        kind: What it is.
        counts: All its tweets.
        recent: Its tweets of the window.
        expected: What its earlier windows would have led us to expect.
        score: By how many standard deviations it is above that.
    """

    topic: str
    kind: Kind
    counts: Counts
    recent: int
    expected: float
    score: float


@dataclass(frozen=True, slots=True)
class Rising:
    """A page of topics, and the window that they rise in.

    Args:
        page: The topics, the highest score first.
        start: Begin of the window, UTC.
        end: Its end, exclusive; ``None`` beside the end of time.
    """

    page: Page[RisingRow]
    start: datetime
    end: datetime | None


def rising_score(recent: int, expected: float) -> float:
    """By how many standard deviations *recent* is above *expected*.

    >>> rising_score(9, 3.0), rising_score(3, 3.0)
    (3.0, 0.0)
    """
    return (recent - expected) / math.sqrt(expected + 1)


def elapsed_share(days: int, end_day: datetime, now: datetime) -> float:
    """How much of the window of *days* that ends with *end_day* is over.

    >>> elapsed_share(1, datetime(2026, 11, 21), datetime(2026, 11, 21, 6))
    0.25
    """
    over = (now - end_day) / _DAY
    return (days - 1 + min(1.0, max(0.0, over))) / days


def days_until(day: datetime, days: int) -> list[datetime]:
    """*Day* and those before it, *days* in all, unless time itself is younger."""
    begin = datetime.min.replace(tzinfo=UTC)
    return [day - n * _DAY for n in range(days) if day - begin >= n * _DAY]


async def rising_topics(
    aggregates: Aggregates,
    *,
    window: Window,
    kind: KindOrAll,
    now: datetime,
    at: datetime | None,
    offset: int,
    limit: int,
) -> Rising:
    """The topics that rise in a window.

    Args:
        aggregates: Where topics are added up.
        window: A day of UTC, or seven days.
        kind: Which topics.
        now: What was written on later days is not looked at.
        at: The window is the one that ends with this day; ``None``: today, or, when nothing was
            written in it, the latest day before it that has tweets.
        offset: Topics before the first one told.
        limit: Topics told at most.

    Raises:
        Unavailable: The store cannot be reached.
    """
    store = aggregates.store

    async def read(generation: int) -> Rising:
        end_day = _day_of(min(at or now, now))
        found = await _recent(store, generation, kind, window, end_day)
        if at is None and not found:
            latest = await _latest_day(store, generation, end_day)
            if latest is not None:
                end_day = latest
                found = await _recent(store, generation, kind, window, end_day)
        recent = {topic: count for topic, count in found.items() if count >= MIN_RECENT}
        expected = await _expected(store, generation, window, end_day, list(recent))
        share = elapsed_share(DAYS[window], end_day, now)
        scored = []
        for topic, count in recent.items():
            usual = expected[topic] * share
            score = round(rising_score(count, usual), 6)
            if score > 0:
                scored.append((score, count, topic, round(usual, 6)))
        scored.sort(key=lambda row: (-row[0], -row[1], row[2]))
        told = scored[offset : offset + limit]
        rows = await aggregates.topic_rows(generation, [topic for _, _, topic, _ in told])
        return Rising(
            Page(
                tuple(
                    RisingRow(row.topic, row.kind, row.counts, count, usual, score)
                    for row, (score, count, _, usual) in zip(rows, told, strict=True)
                ),
                len(scored),
                offset,
                limit,
            ),
            days_until(end_day, DAYS[window])[-1],
            None if end_day == _LAST_DAY else end_day + _DAY,
        )

    return await aggregates.stable(read)


def _day_of(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


async def _latest_day(store: LedgerStore, generation: int, until: datetime) -> datetime | None:
    """The latest day with tweets that is not after *until*."""
    days = await store.sums(tables.stretch_table(generation, "day", tables.ALL_TWEETS))
    starts = (found[0] for member in days if (found := tables.read_start("day", member)))
    return max((start for start in starts if start is not None and start <= until), default=None)


async def _recent(
    store: LedgerStore, generation: int, kind: KindOrAll, window: Window, end_day: datetime
) -> dict[str, int]:
    """The most active topics of the window, with their tweets in it."""
    days = days_until(end_day, DAYS[window])
    counts: dict[str, int] = {}
    for one in KINDS if kind == "all" else (kind,):
        names = [tables.day_topics_table(generation, one, day) for day in days]
        tops = await few_at_once(lambda name: store.top(name, limit=DAY_CANDIDATES[window]), names)
        # In the order of their appearance, each once.
        found = dict.fromkeys(topic for ranked in tops for topic, _ in ranked)
        counted = await _counted(store, names, list(found))
        counts |= sorted(counted.items(), key=lambda row: (-row[1], row[0]))[:CANDIDATES]
    return counts


async def _expected(
    store: LedgerStore, generation: int, window: Window, end_day: datetime, topics: list[str]
) -> dict[str, float]:
    """The mean of each topic's earlier windows."""
    days = days_until(end_day, DAYS[window] * (PAST_WINDOWS[window] + 1))[DAYS[window] :]
    past: dict[str, int] = {}
    for kind in KINDS:
        theirs = [topic for topic in topics if tables.kind_of(topic) == kind]
        names = [tables.day_topics_table(generation, kind, day) for day in days]
        past |= await _counted(store, names, theirs)
    return {topic: count / PAST_WINDOWS[window] for topic, count in past.items()}


async def _counted(store: LedgerStore, names: list[str], topics: list[str]) -> dict[str, int]:
    """The sum of each topic's ranks in the tables *names*."""
    if not topics or not names:
        return dict.fromkeys(topics, 0)
    ranks = await few_at_once(lambda name: store.ranks_of(name, topics), names)
    return dict(zip(topics, map(sum, zip(*ranks, strict=True)), strict=True))
