"""Count all records anew, into a generation of tables beside the one in use.

While it runs, writers count in both (see ``generations``), so readers miss nothing, and the scan
has to care only for records that nobody writes.  Each record says which generations it is part of:
a rebuild that was killed is gone on with by starting it again, and two at once share the work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from augury.core.clock import Clock
from augury.services.tweets import records
from augury.services.tweets.ledger.generations import (
    LedgerStore,
    drop_stale,
    move,
    read_generations,
)

_PAGE_RECORDS: Final = 100


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild did.

    Args:
        records: Records that it has seen.
        counted: Those of them that it counted; writers, or another rebuild, counted the others.
        unreadable: Records of another release, in no aggregate.
    """

    records: int
    counted: int
    unreadable: int


async def rebuild(
    store: LedgerStore,
    clock: Clock,
    count_in: Callable[[Sequence[int]], Awaitable[int]],
    on_progress: Callable[[int, int], None],
) -> RebuildReport:
    """Fill a new generation and read it from then on; see ``Ledger.rebuild``.

    Args:
        store: Holds records and tables.
        clock: Wall time names generations.
        count_in: Counts records in all live generations.
        on_progress: Told how many records are done, of how many.

    Raises:
        Unavailable: The store cannot be reached; started again, it goes on.
    """
    target = await _begin(store, clock)
    total = await store.count(records.RECORD_PREFIX)
    on_progress(0, total)
    seen = counted = unreadable = 0
    waiting: list[int] = []
    async for key, value in store.scan(records.RECORD_PREFIX):
        seen += 1
        kept = records.decode_kept(value)
        if kept is None:
            unreadable += 1
        elif target not in kept.counted and key == records.record_key(kept.record.tweet_id):
            waiting.append(kept.record.tweet_id)
        if len(waiting) == _PAGE_RECORDS:
            counted += await count_in(waiting)
            waiting.clear()
        if seen % _PAGE_RECORDS == 0:
            on_progress(seen, max(seen, total))
    if waiting:
        counted += await count_in(waiting)
    await _finish(store, clock, target)
    on_progress(seen, seen)
    return RebuildReport(seen, counted, unreadable)


async def _begin(store: LedgerStore, clock: Clock) -> int:
    """The generation to fill: that of a rebuild that was begun, else a new one."""
    while True:
        state, value = await read_generations(store, clock)
        if state.read != state.write:
            return state.write
        begun = state.begun(clock)
        if await move(store, value, begun):
            return begun.write


async def _finish(store: LedgerStore, clock: Clock, target: int) -> None:
    """Have *target* read, unless another rebuild, or an erasure of everything, was faster.

    All that is not part of it was last written before it was begun, and has been seen by the scan
    since; whatever is written after it was begun is part of it.
    """
    while True:
        state, value = await read_generations(store, clock)
        if state.read == state.write or state.write != target:
            break
        if await move(store, value, state.flipped()):
            break
    await drop_stale(store, clock)
