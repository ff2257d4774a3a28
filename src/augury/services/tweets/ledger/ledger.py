"""The one who writes predictions down and keeps the aggregates in step with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import msgspec

from augury.core.clock import Clock
from augury.core.errors import InvalidSetting
from augury.observe.logs import EventLogger, get_logger
from augury.services.tweets import records
from augury.services.tweets.ledger import tables
from augury.services.tweets.ledger.commits import Commits, Step, There, chunks
from augury.services.tweets.ledger.erasure import Erasure, marks_of, was_erased
from augury.services.tweets.ledger.generations import (
    GENERATIONS_KEY,
    Generations,
    LedgerStore,
    decode_generations,
    read_generations,
)
from augury.services.tweets.ledger.rebuild import RebuildReport, rebuild
from augury.services.tweets.records import RETENTION_S, Kept, PredictionRecord
from augury.services.tweets.topics import topics_of
from augury.stores.base import KeyValueStore, TallyStore

# About a second of SQLite's time.
DEFAULT_MAX_EXPIRED: Final = 500

# By so much the clocks of two machines may differ.
MAX_AHEAD_S: Final = 3600.0

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def ledger_over(store: KeyValueStore, clock: Clock) -> Ledger:
    """The ledger in *store*.

    Raises:
        InvalidSetting: The store keeps keys and values only.
    """
    if not isinstance(store, TallyStore):
        raise InvalidSetting(
            f"a {type(store).__name__} cannot hold the tweet service's counts; set AUGURY_STORE to "
            "memory://, sqlite:///path or redis://host:port/db"
        )
    return Ledger(cast("LedgerStore", store), clock=clock)


class Ledger:
    """Predictions, and what they add up to.

    Safe to use from many tasks and processes at once.

    Args:
        store: Holds both.
        clock: Wall time decides what is past its retention.
        retention_s: For how long a prediction is held after it was made.
        logger: Told of erasures, by their number.

    Raises (all methods):
        Unavailable: The store cannot be reached, or others change the same tweets without end.
            What was done until then is done, and repeating the call is safe.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        clock: Clock,
        retention_s: float = RETENTION_S,
        logger: EventLogger | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.retention_s = retention_s
        self._log = logger or get_logger(__name__)
        self._commits = Commits(store, clock, name_ttl_s=retention_s)
        self._erasure = Erasure(self._commits)

    async def record(self, tweet_id: int) -> PredictionRecord | None:
        """What is remembered of a tweet; ``None`` for nothing, and when its retention is over."""
        return (await self.records([tweet_id]))[0]

    async def records(self, tweet_ids: Sequence[int]) -> list[PredictionRecord | None]:
        """The same of many, in their order, in one round trip."""
        state_value, *values = await self.store.get_many(
            [GENERATIONS_KEY, *map(records.record_key, tweet_ids)]
        )
        state = state_value and decode_generations(state_value)
        found = map(records.decode_kept, values)
        return [
            None
            if not state or kept is None or not state.holds(kept) or self._is_over(kept)
            else kept.record
            for kept in found
        ]

    async def write(self, predicted: Sequence[PredictionRecord]) -> int:
        """Remember predictions and count them; returns how many changed anything.

        A tweet is counted once, however often it is written: the later prediction stands, and one
        that differs in nothing but its time changes nothing.  What was predicted before an erasure
        of its tweet, its author or everything is dropped.
        """
        latest: dict[int, PredictionRecord] = {}
        for record in predicted:
            before = latest.get(record.tweet_id)
            if before is None or before.predicted_at <= record.predicted_at:
                latest[record.tweet_id] = record

        def step(tweet_id: int, there: There, state: Generations) -> Step | None:
            return self._written(latest[tweet_id], there, state)

        changed = 0
        for chunk in chunks(list(latest)):
            marks = {tweet_id: marks_of(latest[tweet_id]) for tweet_id in chunk}
            changed += len(await self._commits.carry_out(chunk, step, marks))
        return changed

    async def erase(self, tweet_ids: Sequence[int]) -> int:
        """Erase tweets: predictions, their counts, and the archive's copies.

        Returns:
            How many there were of which anything was held.
        """
        erased = await self._erasure.tweets(tweet_ids)
        if erased:
            self._log.info("tweets erased", tweets=erased)
        return erased

    async def erase_author(self, author_id: int) -> int:
        """Erase all tweets of an author, also those of the archive that nobody asked for.

        Returns:
            How many there were.
        """
        erased = await self._erasure.author(author_id)
        self._log.info("author erased", tweets=erased)
        return erased

    async def clear(self) -> int:
        """Erase everything: predictions, aggregates, names, the archive.

        The archive goes first; then predictions and aggregates are gone at once, for all
        processes, before they are removed one by one.
        Interrupted, it is completed by calling it again.

        Returns:
            How many tweets there were.
        """
        erased = await self._erasure.everything()
        self._log.info("everything erased", tweets=erased)
        return erased

    async def expire(self, *, max_records: int = DEFAULT_MAX_EXPIRED) -> int:
        """Erase predictions that are past their retention, the oldest first; the archive stays.

        It also removes the records and tables that an interrupted :meth:`clear` or
        :meth:`rebuild` left behind.

        Args:
            max_records: How many predictions at most.

        Returns:
            How many were erased for their age.
        """
        await self._erasure.complete()
        expired = await self._erasure.older(
            tables.time_rank(self._over_at()), self._is_over, max_records
        )
        if expired:
            self._log.info("predictions past their retention erased", tweets=expired)
        return expired

    async def rebuild(self, on_progress: Callable[[int, int], None]) -> RebuildReport:
        """Count everything anew, beside the tables in use, which are replaced when it is done.

        Args:
            on_progress: Told how many records are done, of how many (as counted at the start).
        """
        return await rebuild(self.store, self.clock, self._count_in, on_progress)

    async def generation(self) -> int:
        """The generation of the tables that are read just now."""
        return (await read_generations(self.store, self.clock))[0].read

    def _written(self, new: PredictionRecord, there: There, state: Generations) -> Step | None:
        """What a written record becomes; ``None`` when it changes nothing."""
        kept = Kept(record=new, topics=tuple(topics_of(new.text)), counted=state.live)
        if self._is_over(kept) or was_erased(new, there, state, self.clock):
            return None
        old = there.kept
        if old is not None and not self._is_over(old):
            same = msgspec.structs.replace(new, predicted_at=old.record.predicted_at) == old.record
            # One from the future was dated by a clock that was wrong; it must not stand for ever.
            right = old.record.predicted_at <= self._at(self.clock.time() + MAX_AHEAD_S)
            if right and (same or new.predicted_at < old.record.predicted_at):
                return None
        return (kept,)

    async def _count_in(self, tweet_ids: Sequence[int]) -> int:
        """Count records in the live generations that they are not part of yet."""

        def step(tweet_id: int, there: There, state: Generations) -> Step | None:
            del tweet_id
            kept = there.kept
            if kept is None or set(state.live) <= set(kept.counted):
                return None
            topics = tuple(topics_of(kept.record.text))
            return (Kept(record=kept.record, topics=topics, counted=state.live),)

        return len(await self._commits.carry_out(tweet_ids, step))

    def _is_over(self, kept: Kept) -> bool:
        """Whether a prediction is past its retention."""
        return kept.record.predicted_at <= self._over_at()

    def _over_at(self) -> datetime:
        """When the youngest prediction was made that is past its retention."""
        return self._at(self.clock.time() - self.retention_s)

    @staticmethod
    def _at(time_s: float) -> datetime:
        return _EPOCH + timedelta(seconds=time_s)
