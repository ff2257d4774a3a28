"""Change records and, in the same atomic step, what they add to the aggregates.

Every commit expects the record's old bytes and the state of the generations.  So a record is
counted exactly once, whoever races, repeats, or dies half-way: a commit whose fate is unknown is
made again after reading.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from augury.core.clock import Clock
from augury.core.errors import Unavailable
from augury.services.tweets import records
from augury.services.tweets.ledger import tables
from augury.services.tweets.ledger.contributions import difference
from augury.services.tweets.ledger.generations import (
    GENERATIONS_KEY,
    Generations,
    LedgerStore,
    decode_generations,
    read_generations,
)
from augury.services.tweets.records import Kept
from augury.stores.base import Change

# Records of one round trip, with some 100 sums and ranks each.
CHUNK_RECORDS: Final = 100

# Ten rounds with pauses of up to 2.5 s: enough for dozens of processes that write one tweet.
_ATTEMPTS: Final = 10
_FIRST_PAUSE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class There:
    """What the store holds of one tweet, as it was read.

    Args:
        value: The record's bytes.
        kept: The same, if it can be read and was not erased with everything else.
        marks: The keys that were asked for besides, with their values.
    """

    value: bytes | None
    kept: Kept | None
    marks: Mapping[str, bytes | None]


# What a record becomes; (None,) is its removal.
Step = tuple[Kept | None]
StepOf = Callable[[int, There, Generations], Step | None]


class Commits:
    """Changes records and tables together.

    Args:
        store: Holds both.
        clock: Wall time names generations.
        name_ttl_s: For how long the id behind an author's name is kept.

    Raises (all methods):
        Unavailable: The store cannot be reached, or others change the same tweets without end.
    """

    def __init__(self, store: LedgerStore, clock: Clock, *, name_ttl_s: float) -> None:
        self.store = store
        self.clock = clock
        self._name_ttl_s = name_ttl_s

    async def carry_out(
        self,
        tweet_ids: Sequence[int],
        step_of: StepOf,
        marks: Mapping[int, Sequence[str]] | None = None,
    ) -> dict[int, Kept | None]:
        """Read, decide, commit; and again for those where somebody was faster.

        Args:
            tweet_ids: Whose records are concerned; at most a chunk, none twice.
            step_of: Decides, from what is there, perhaps several times; ``None`` leaves it so.
            marks: By tweet, keys that the decision needs to know, and that must not change under it.

        Returns:
            What was held before, of each tweet that something was done to.
        """
        done: dict[int, Kept | None] = {}
        # Whose names have been written for a commit that did not hold; and those that came to nothing.
        tried: dict[int, Kept] = {}
        in_vain: list[Kept] = []
        waiting = list(tweet_ids)
        for attempt in range(_ATTEMPTS):
            if attempt:
                # Random, so that two who met once do not meet again.
                await asyncio.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**attempt))  # noqa: S311
            state, state_value, found = await self._read(waiting, marks or {})
            changes: dict[int, Change] = {}
            names: dict[str, bytes] = {}
            for tweet_id in waiting:
                there = found[tweet_id]
                step = step_of(tweet_id, there, state)
                before = tried.pop(tweet_id, None)
                if before is not None and (step is None or _names_of(step[0]) != _names_of(before)):
                    in_vain.append(before)
                if step is None:
                    continue
                (new,) = step
                if new is not None:
                    tried[tweet_id] = new
                sums, ranks = difference(there.kept, new, state.live)
                key = records.record_key(tweet_id)
                changes[tweet_id] = Change(
                    expected={GENERATIONS_KEY: state_value, key: there.value, **there.marks},
                    values={key: None if new is None else records.encode_kept(new)},
                    sums=sums,
                    ranks=ranks,
                )
                names |= _names_of(new)
            if not changes:
                break
            if names:
                # Before the commit: whoever erases the tweet after it erases the name as well.
                await self.store.set_many(names, ttl_s=self._name_ttl_s)
            carried = await self.store.commit(list(changes.values()))
            held = {tweet_id for tweet_id, ok in zip(changes, carried, strict=True) if ok}
            done |= {tweet_id: found[tweet_id].kept for tweet_id in held}
            waiting = [tweet_id for tweet_id in changes if tweet_id not in held]
            if not waiting:
                break
        else:
            raise Unavailable(
                f"{len(waiting)} tweets are changed by others faster than by us; try again",
                tweets=len(waiting),
            )
        # Whoever erased them may have looked for the name before it was written.
        await self._forget_names(in_vain)
        return done

    async def remove(
        self, tweet_ids: Sequence[int], only: Callable[[Kept], bool] = lambda _: True
    ) -> set[int]:
        """Remove records and their counts, those that *only* admits; returns whose there were."""

        def step(tweet_id: int, there: There, state: Generations) -> Step | None:
            del tweet_id, state
            if there.value is None or (there.kept is not None and not only(there.kept)):
                return None
            return (None,)

        gone = await self.carry_out(tweet_ids, step)
        await self._forget_names(gone.values())
        return set(gone)

    async def pages(self, prefix: str) -> AsyncGenerator[list[tuple[str, bytes]], None]:
        """All items under *prefix*, a chunk at a time."""
        page: list[tuple[str, bytes]] = []
        async for item in self.store.scan(prefix):
            page.append(item)
            if len(page) == CHUNK_RECORDS:
                yield page
                page = []
        if page:
            yield page

    async def _read(
        self, tweet_ids: Sequence[int], marks: Mapping[int, Sequence[str]]
    ) -> tuple[Generations, bytes, dict[int, There]]:
        """The state and what is held of tweets, as one round trip tells it."""
        keys = dict.fromkeys(
            key
            for tweet_id in tweet_ids
            for key in (records.record_key(tweet_id), *marks.get(tweet_id, ()))
        )
        while True:
            state_value, *values = await self.store.get_many([GENERATIONS_KEY, *keys])
            state = state_value and decode_generations(state_value)
            if state and state_value:
                break
            await read_generations(self.store, self.clock)  # begins them
        held = dict(zip(keys, values, strict=True))
        found: dict[int, There] = {}
        for tweet_id in tweet_ids:
            value = held[records.record_key(tweet_id)]
            kept = records.decode_kept(value)
            if kept is not None and not state.holds(kept):
                kept = None
            found[tweet_id] = There(
                value, kept, {key: held[key] for key in marks.get(tweet_id, ())}
            )
        return state, state_value, found

    async def _forget_names(self, gone: Iterable[Kept | None]) -> None:
        """Forget the names of authors of whom nothing is left, but for those that others bear now."""
        names: dict[int, dict[str, bytes]] = {}
        for kept in gone:
            if kept is not None and kept.record.author_id is not None:
                names.setdefault(kept.record.author_id, {}).update(_names_of(kept))
        if not names:
            return
        state, _ = await read_generations(self.store, self.clock)
        for author_id, ids in names.items():
            table = tables.tweets_table(state.read, tables.author_entity(author_id))
            if ids and not await self.store.rank_count(table):
                await self.store.commit(
                    [
                        Change(expected={key: value}, values={key: None})
                        for key, value in ids.items()
                    ]
                )


def chunks(tweet_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """*tweet_ids*, as many at a time as one round trip takes."""
    for start in range(0, len(tweet_ids), CHUNK_RECORDS):
        yield tweet_ids[start : start + CHUNK_RECORDS]


def _names_of(kept: Kept | None) -> dict[str, bytes]:
    """Under which name the author's id is found: key to value."""
    if kept is None or kept.record.author_id is None:
        return {}
    key = records.author_id_key(kept.record.username or "")
    return {} if key is None else {key: str(kept.record.author_id).encode()}
