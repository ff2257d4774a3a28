"""Take predictions out again: a tweet, an author, everything, or what is past its retention.

An erasure leaves a mark for a week, so that what was asked for before it and is yet to be written
(an answer under way, the buffer of a process whose store is down) does not bring it back; see
``was_erased``.  The archive's copy goes first, then the record, then the mark is made: whoever has
seen either of them asked before the mark.  What was written in between is removed once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec

from augury.core.clock import Clock
from augury.services.tweets import records
from augury.services.tweets.ledger import tables
from augury.services.tweets.ledger.commits import CHUNK_RECORDS, Commits, There, chunks
from augury.services.tweets.ledger.generations import (
    GENERATIONS_KEY,
    Generations,
    drop_stale,
    move,
    read_generations,
)
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import Kept, PredictionRecord
from augury.stores.base import Change

# A buffered prediction may wait for its store over a long weekend.
MARK_TTL_S: Final = 7 * 86_400.0

# An erasure dated further ahead than this was dated by a clock that has been set back since.
MAX_MARK_AHEAD_S: Final = 3600.0

_MAX_STALLS: Final = 3
# Of removing what was written while the mark was made.
_MAX_PASSES: Final = 5


class Erasure:
    """Erases through *commits*, so that the aggregates follow.

    Raises (all methods):
        Unavailable: The store cannot be reached.  What was erased until then stays erased; to
            repeat the call completes it.
    """

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._store = commits.store
        self._clock = commits.clock

    async def tweets(self, tweet_ids: Sequence[int]) -> int:
        """See ``Ledger.erase``."""
        erased = 0
        for chunk in chunks(list(dict.fromkeys(tweet_ids))):
            keys = list(map(records.tweet_key, chunk))
            copies = zip(chunk, await self._store.get_many(keys), strict=True)
            gone = {tweet_id for tweet_id, copy in copies if copy is not None}
            await self._store.delete(*keys)
            gone |= await self._commits.remove(chunk)
            for _ in range(_MAX_PASSES):
                await self._mark(map(records.erased_tweet_key, chunk))
                again = await self._commits.remove(chunk)
                if not again:
                    break
                gone |= again
            erased += len(gone)
        return erased

    async def author(self, author_id: int) -> int:
        """See ``Ledger.erase_author``."""
        # The archive has no order by author: all of it is looked through.
        erased = await self._remove_archived(
            lambda tweet: tweet is not None and tweet.author_id == author_id
        )
        entity = tables.author_entity(author_id)

        async def drain() -> int:
            return await self._drain(
                table_of=lambda generation: tables.tweets_table(generation, entity),
                page_of=lambda table, limit: self._store.top(table, limit=limit),
                only=lambda kept: kept.record.author_id == author_id,
                with_archive=True,
            )

        erased += await drain()
        for _ in range(_MAX_PASSES):
            await self._mark([records.erased_author_key(author_id)])
            again = await drain()
            if not again:
                break
            erased += again
        return erased

    async def everything(self) -> int:
        """See ``Ledger.clear``."""
        erased = await self._remove_archived(lambda _: True)
        while True:
            state, value = await read_generations(self._store, self._clock)
            if await move(self._store, value, state.emptied(self._clock)):
                break
        erased += await self.complete()
        for prefix in (records.AUTHOR_ID_PREFIX, *records.FIRST_RELEASE_PREFIXES):
            async for page in self._commits.pages(prefix):
                await self._store.delete(*(key for key, _ in page))
        return erased

    async def older(self, rank: int, is_over: Callable[[Kept], bool], max_records: int) -> int:
        """Erase records predicted at *rank* or before, the oldest first; the archive stays.

        Args:
            rank: A time, as ``tables.time_rank`` tells it.
            is_over: The same of a record.
            max_records: How many at most.
        """
        return await self._drain(
            table_of=tables.predicted_table,
            page_of=lambda table, limit: self._store.bottom(table, at_most=rank, limit=limit),
            only=is_over,
            max_records=max_records,
        )

    async def complete(self) -> int:
        """Remove tables that nobody reads, and records that were erased with everything else.

        Returns:
            How many records were removed.
        """
        await drop_stale(self._store, self._clock)
        state, state_value = await read_generations(self._store, self._clock)
        if not state.clearing:
            return 0
        removed = 0
        async for page in self._commits.pages(records.RECORD_PREFIX):
            changes = [
                Change(expected={key: value}, values={key: None})
                for key, value in page
                if (kept := records.decode_kept(value)) is None or not state.holds(kept)
            ]
            if changes:
                removed += sum(await self._store.commit(changes))
        await move(self._store, state_value, msgspec.structs.replace(state, clearing=False))
        return removed

    async def _remove_archived(self, is_meant: Callable[[Tweet | None], bool]) -> int:
        """Remove tweets from the archive; returns how many of them were never judged."""
        unjudged = 0
        async for page in self._commits.pages(records.TWEET_PREFIX):
            keys = [key for key, value in page if is_meant(records.decode_tweet(value))]
            if keys:
                judged = await self._store.get_many(
                    [records.RECORD_PREFIX + key.removeprefix(records.TWEET_PREFIX) for key in keys]
                )
                await self._store.delete(*keys)
                unjudged += judged.count(None)
        return unjudged

    async def _mark(self, keys: Iterable[str]) -> None:
        now = str(int(self._clock.time() * 1000)).encode()
        await self._store.set_many(dict.fromkeys(keys, now), ttl_s=MARK_TTL_S)

    async def _drain(
        self,
        *,
        table_of: Callable[[int], str],
        page_of: Callable[[str, int], Awaitable[list[tuple[str, int]]]],
        only: Callable[[Kept], bool],
        max_records: int | None = None,
        with_archive: bool = False,
    ) -> int:
        """Remove the records that a ranks table lists, page by page, until it lists none."""
        removed = stalls = 0
        while stalls < _MAX_STALLS and (max_records is None or removed < max_records):
            state, state_value = await read_generations(self._store, self._clock)
            table = table_of(state.read)
            left = CHUNK_RECORDS if max_records is None else max_records - removed
            ranked = await page_of(table, min(CHUNK_RECORDS, left))
            if not ranked:
                break
            ids = [int(member) for member, _ in ranked]
            if with_archive:
                await self._store.delete(*map(records.tweet_key, ids))
            gone = await self._commits.remove(ids, only)
            removed += len(gone)
            others = [row for row in ranked if int(row[0]) not in gone]
            dropped = await self._drop_orphans(state_value, table, others)
            # A page that stays as it was: what it lists was written anew just now, or the store
            # has lost more than records.
            stalls = 0 if gone or dropped else stalls + 1
        return removed

    async def _drop_orphans(
        self, state_value: bytes, table: str, ranked: Sequence[tuple[str, int]]
    ) -> int:
        """Take tweets out of a table that no record stands behind, so that nobody waits for them.

        Only a store that loses records, such as a full Redis, has such.  Returns how many.
        """
        if not ranked:
            return 0
        keys = [records.record_key(int(member)) for member, _ in ranked]
        values = await self._store.get_many(keys)
        orphans = [
            Change(
                expected={GENERATIONS_KEY: state_value, key: None}, ranks={table: {member: -rank}}
            )
            for (member, rank), key, value in zip(ranked, keys, values, strict=True)
            if value is None
        ]
        return sum(await self._store.commit(orphans)) if orphans else 0


def marks_of(record: PredictionRecord) -> list[str]:
    """Where erasures that concern *record* are told."""
    marks = [records.erased_tweet_key(record.tweet_id)]
    if record.author_id is not None:
        marks.append(records.erased_author_key(record.author_id))
    return marks


def was_erased(new: PredictionRecord, there: There, state: Generations, clock: Clock) -> bool:
    """Whether *new* was predicted before its tweet, its author or everything was erased.

    The mark is in the expectations of the commit: an erasure that comes in between is noticed.
    """
    at_ms = int(new.predicted_at.timestamp() * 1000)
    # From the time of a clock that was wrong nothing can be told.
    latest_ms = (clock.time() + MAX_MARK_AHEAD_S) * 1000
    erased_ms = [int(mark) for mark in there.marks.values() if mark is not None]
    if state.cleared_ms is not None:
        erased_ms.append(state.cleared_ms)
    return any(at_ms <= erased <= latest_ms for erased in erased_ms)
