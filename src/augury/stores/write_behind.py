"""Items that wait to be written to a store, so that nobody waits for it, nor fails with it.

Between a service and its store.  What is put is held here, within bounds, and written in batches by
one task; while the store cannot be reached it stays and is tried again.  It holds in memory only:
what waits when the process is killed is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Final, Generic, Self, TypeVar

from augury.core.clock import Clock
from augury.core.errors import Unavailable
from augury.observe.logs import get_logger

T = TypeVar("T")

# The pause after a failure doubles up to this many times the first one.
_LONGEST_PAUSE: Final = 4
# A batch ends at this size, whatever its number of items.
BATCH_BYTES: Final = 4 * 1024 * 1024
# Drops are told at most this often.
_LOG_EVERY_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 5.0

_log = get_logger(__name__)


class WriteBehind(Generic[T]):
    """A bounded buffer before a store; an async context manager that owns the task that writes.

    Args:
        write: Writes a batch, the longest waiting item first.  It may be given an item again whose
            first try failed half-way, so writing twice must be writing once.
        nbytes: Size of an item, as *max_bytes* counts it.
        max_items: Bound of the items that wait or are being written.  Over a bound, those that have
            waited longest are dropped and counted.
        max_bytes: Bound of their sizes.
        batch_items: Items of one batch at most.
        retry_s: Pause after the store was unavailable; it doubles up to four times this.
        clock: Its monotonic time spaces the log lines.
        on_change: Told how many items wait or are being written, and how many were dropped in all.
        close_timeout_s: How long the end of the context waits for what is left to be written.
    """

    def __init__(
        self,
        write: Callable[[list[T]], Awaitable[None]],
        *,
        nbytes: Callable[[T], int],
        max_items: int,
        max_bytes: int,
        batch_items: int = 256,
        retry_s: float = 0.5,
        clock: Clock,
        on_change: Callable[[int, int], None] = lambda _items, _dropped: None,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
    ) -> None:
        if max_items < 1 or max_bytes < 1 or batch_items < 1:
            raise ValueError(
                f"max_items ({max_items}), max_bytes ({max_bytes}) and batch_items ({batch_items}) "
                "must be 1 or more"
            )
        self._write = write
        self._nbytes = nbytes
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._batch_items = batch_items
        self._retry_s = retry_s
        self._clock = clock
        self._on_change = on_change
        self._close_timeout_s = close_timeout_s
        # Key to item and size, the longest waiting first.
        self._waiting: dict[str, tuple[T, int]] = {}
        self._writing: dict[str, tuple[T, int]] = {}
        self._held_bytes = 0
        self._dropped = 0
        self._next_log_s = clock.monotonic()
        self._there_is_work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._batch_ended = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="write-behind")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            left = await self.flush(self._close_timeout_s)
        finally:
            self._closed = True
            assert self._task is not None  # noqa: S101  for the type checker
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if left:
            _log.error("items were not written before the end; they are lost", lost=left)

    @property
    def items(self) -> int:
        """How many items wait or are being written."""
        return len(self._waiting) + len(self._writing)

    @property
    def dropped(self) -> int:
        """How many items were given up in all: for want of room, or refused by the store."""
        return self._dropped

    def put(self, key: str, item: T) -> None:
        """Have *item* written, in place of what waits under *key*."""
        if self._closed:
            self._drop(1, "the buffer is closed")
            return
        self._forget([key])
        size_bytes = self._nbytes(item)
        self._waiting[key] = (item, size_bytes)
        self._held_bytes += size_bytes
        over = 0
        while self._waiting and (
            self.items > self._max_items or self._held_bytes > self._max_bytes
        ):
            over += self._forget([next(iter(self._waiting))])
        if over:
            self._drop(over, "more items wait than there is room for")
        self._changed()

    def get(self, key: str) -> T | None:
        """What waits under *key*, or is being written just now."""
        held = self._waiting.get(key) or self._writing.get(key)
        return None if held is None else held[0]

    async def discard(self, *keys: str) -> int:
        """Forget what waits under *keys*; returns how many items that were.

        When it returns, no batch holds one of them: what was written was written before.
        """
        forgotten = self._forget(keys)
        self._changed()
        while any(key in self._writing for key in keys):
            await self._batch_ended.wait()
            forgotten += self._forget(keys)
            self._changed()
        return forgotten

    async def flush(self, timeout_s: float) -> int:
        """Have everything written now, without waiting for a pause to end.

        Returns:
            How many items are left after *timeout_s* seconds at most.
        """
        self.hurry()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        return self.items

    def hurry(self) -> None:
        """End the pause after a failure: the store may be back."""
        self._hurry.set()

    async def _run(self) -> None:
        pause_s = self._retry_s
        while True:
            await self._there_is_work.wait()
            self._take_batch()
            if not self._writing:
                continue  # forgotten since the event was set
            try:
                await self._write_out(list(self._writing))
            except Unavailable as error:
                if pause_s == self._retry_s:
                    _log.warning("writes wait for the store", items=self.items, error=error.message)
                self._end_batch()
                await asyncio.sleep(0)  # whoever waits to discard comes before the next try
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._hurry.wait()
                pause_s = min(pause_s * 2, self._retry_s * _LONGEST_PAUSE)
            else:
                if pause_s != self._retry_s:
                    _log.info("the store takes writes again", items=self.items)
                pause_s = self._retry_s
                self._end_batch()
            self._hurry.clear()

    def _take_batch(self) -> None:
        size_bytes = 0
        for key in list(islice(self._waiting, self._batch_items)):
            size_bytes += self._waiting[key][1]
            if self._writing and size_bytes > BATCH_BYTES:
                break
            self._writing[key] = self._waiting.pop(key)
        self._batch_ended = asyncio.Event()

    async def _write_out(self, keys: list[str]) -> None:
        """Write the items under *keys* of the batch, halving it at errors down to the guilty one.

        Raises:
            Unavailable: The store cannot be reached; the batch holds what is not written.
        """
        try:
            await self._write([self._writing[key][0] for key in keys])
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever one item does must not hold up the others
            if len(keys) > 1:
                middle = len(keys) // 2
                await self._write_out(keys[:middle])
                await self._write_out(keys[middle:])
                return
            self._drop(1, f"the store refuses it: {type(error).__name__}")
        for key in keys:
            self._held_bytes -= self._writing.pop(key)[1]
        self._changed()

    def _end_batch(self) -> None:
        """Put back what was not written, before what came later."""
        if self._writing:
            superseded = self._writing.keys() & self._waiting.keys()
            self._held_bytes -= sum(self._writing[key][1] for key in superseded)
            self._waiting = {**self._writing, **self._waiting}
            self._writing = {}
        self._batch_ended.set()
        self._changed()

    def _forget(self, keys: Iterable[str]) -> int:
        found = [held for key in keys if (held := self._waiting.pop(key, None)) is not None]
        self._held_bytes -= sum(size_bytes for _, size_bytes in found)
        return len(found)

    def _drop(self, items: int, why: str) -> None:
        self._dropped += items
        now_s = self._clock.monotonic()
        if now_s >= self._next_log_s:
            self._next_log_s = now_s + _LOG_EVERY_S
            _log.error("items were given up", why=why, dropped=self._dropped)

    def _changed(self) -> None:
        _set(self._there_is_work, bool(self._waiting))
        _set(self._empty, not self.items)
        self._on_change(self.items, self._dropped)


def _set(event: asyncio.Event, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
