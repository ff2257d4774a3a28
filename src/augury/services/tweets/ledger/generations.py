"""Which tables are written and which are read.

The aggregates live in tables of a *generation*.  Usually one is written and read; while they are
rebuilt, writers count in two, and readers stay with the older one until the newer is complete.
One key tells so to all processes, and every commit of ``ledger`` expects its very bytes: whoever
was late finds that out before anything is counted.
"""

from __future__ import annotations

from typing import Final, Protocol, Self

import msgspec

from augury.core.clock import Clock
from augury.services.tweets.ledger.tables import generation_prefix
from augury.services.tweets.records import Kept
from augury.stores.base import Change, KeyValueStore, TallyStore

GENERATIONS_KEY: Final = "tweets:generations"

# Commits that race for the key; each loser finds another state, so few are ever needed.
_ATTEMPTS: Final = 20


class LedgerStore(KeyValueStore, TallyStore, Protocol):
    """Keys and values, and sums and ranks that change with them."""


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """The state of all tables.

    Args:
        read: Generation that is read.
        write: Generation that is filled; another than *read* while the tables are rebuilt.
        stale: Generations whose tables are yet to be removed.
        floor: First generation after everything was last erased; a record that is part of none
            from there on is erased, and only waits for its removal.
        clearing: Whether such records may be left.
        cleared_ms: When everything was last erased, in ms since 1970.
    """

    read: int
    write: int
    stale: tuple[int, ...] = ()
    floor: int = 0
    clearing: bool = False
    cleared_ms: int | None = None

    @property
    def live(self) -> tuple[int, ...]:
        """Generations that every write counts in."""
        return (self.read,) if self.read == self.write else (self.read, self.write)

    def next(self, clock: Clock) -> int:
        """A generation that was never used.

        Seconds since 1970 where that is more: should the key be lost, which a Redis that runs out
        of memory may do, its successor begins with fresh tables rather than with half-known ones.
        """
        return max(self.read, self.write, *self.stale, int(clock.time()) - 1) + 1

    def begun(self, clock: Clock) -> Self:
        """With a new generation to fill."""
        return msgspec.structs.replace(self, write=self.next(clock))

    def flipped(self) -> Self:
        """With the filled generation read, and the other one to be removed."""
        return msgspec.structs.replace(self, read=self.write, stale=(*self.stale, self.read))

    def emptied(self, clock: Clock) -> Self:
        """With a new generation for everything; what was before is to be removed."""
        new = self.next(clock)
        return msgspec.structs.replace(
            self,
            read=new,
            write=new,
            stale=(*self.stale, *self.live),
            floor=new,
            clearing=True,
            cleared_ms=int(clock.time() * 1000),
        )

    def holds(self, kept: Kept) -> bool:
        """Whether a record was written since everything was last erased."""
        return any(generation >= self.floor for generation in kept.counted)


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Generations)
_NOTHING: Final = Generations(read=0, write=0)


async def read_generations(store: LedgerStore, clock: Clock) -> tuple[Generations, bytes]:
    """The state, and the bytes that commits expect; begun, if there is none.

    Raises:
        Unavailable: The store cannot be reached.
    """
    for _ in range(_ATTEMPTS):
        value = await store.get(GENERATIONS_KEY)
        state = None if value is None else decode_generations(value)
        if value is not None and state is not None:
            return state, value
        first = _NOTHING.next(clock)
        await move(store, value, Generations(read=first, write=first))
    raise AssertionError(f"{GENERATIONS_KEY} is removed as often as it is written")


async def move(store: LedgerStore, old: bytes | None, new: Generations) -> bool:
    """Replace the state, unless it is another than *old* by now; returns whether it was replaced.

    Raises:
        Unavailable: The store cannot be reached.
    """
    (done,) = await store.commit(
        [Change(expected={GENERATIONS_KEY: old}, values={GENERATIONS_KEY: _ENCODER.encode(new)})]
    )
    return done


def decode_generations(value: bytes) -> Generations | None:
    """The state; ``None`` for what cannot be read."""
    try:
        return _DECODER.decode(value)
    except msgspec.MsgspecError:
        return None


async def drop_stale(store: LedgerStore, clock: Clock) -> None:
    """Remove the tables of generations that are no longer live.

    Nobody writes them any more: every commit expects the state of a time when they were live.

    Raises:
        Unavailable: The store cannot be reached.
    """
    state, value = await read_generations(store, clock)
    if not state.stale:
        return
    for generation in state.stale:
        await store.drop_tables(generation_prefix(generation))
    # If the state moved meanwhile, whoever comes next drops them once more, which is cheap.
    await move(store, value, msgspec.structs.replace(state, stale=()))
