"""The second level: answers in a store that other processes, and later ones, share.

All lookups of one turn of the event loop become one question to the store.  What is written waits in a
bounded buffer and goes out in batches, so that no request waits for a write.  A store that is down or
slow costs a lookup no longer than the store's own timeout, and costs nothing while the store knows
that it is down.  Between processes there is no lock: two that miss the same row at the same moment
both compute it, and write the same answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

from augury.core.clock import Clock
from augury.core.errors import AuguryError
from augury.observe.logs import get_logger
from augury.stores.base import KeyValueStore
from augury.stores.write_behind import WriteBehind

# Keys of one question; a thousand values of a classifier are 100 KiB.
MAX_KEYS: Final = 1024
# Questions at once.  While so many are under way, lookups gather for the next.
MAX_QUESTIONS: Final = 4
# An item's name, tuple and place in the buffer.
ITEM_OVERHEAD_BYTES: Final = 400
# What is left at the end may take so long: it can be computed again.
CLOSE_TIMEOUT_S: Final = 1.0
# Ten years: stores count the time to live in integers.
LONGEST_TTL_S: Final = 315_360_000.0

# Told, for each key, its value or None; or, when the store could not be asked, None for all.
Then = Callable[[Sequence[bytes | None] | None], None]


class _Item(NamedTuple):
    """What waits to be written."""

    name: str
    value: bytes
    ttl_s: float


_log = get_logger(__name__)


class StoredRows:
    """Reads and writes packed rows; an async context manager that writes what is left at its end.

    Args:
        store: Where they lie; whoever opened it closes it.
        clock: Monotonic time.
        max_items: Rows that may wait to be written; more are not written.
        max_bytes: Bytes that these may have.
    """

    def __init__(
        self,
        store: KeyValueStore,
        clock: Clock,
        *,
        max_items: int = 65_536,
        max_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._store = store
        self._waiting: list[tuple[Sequence[str], Then]] = []
        self._questions: set[asyncio.Task[None]] = set()
        self._unwritten: WriteBehind[_Item] = WriteBehind(
            self._write,
            nbytes=lambda item: len(item.value) + ITEM_OVERHEAD_BYTES,
            max_items=max_items,
            max_bytes=max_bytes,
            clock=clock,
            close_timeout_s=CLOSE_TIMEOUT_S,
        )

    async def __aenter__(self) -> Self:
        await self._unwritten.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        while self._questions:
            await asyncio.wait(self._questions)
        await self._unwritten.__aexit__(*exc_info)

    @property
    def unwritten(self) -> int:
        """How many rows wait to be written."""
        return self._unwritten.items

    def look_up(self, names: Sequence[str], then: Then) -> None:
        """Ask for *names*; *then* is called once, perhaps at once, and must not raise."""
        if self._store.fault is not None:
            then(None)
            return
        self._waiting.append((names, then))
        if len(self._questions) < MAX_QUESTIONS and len(self._waiting) == 1:
            self._ask()

    def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """Write *value* under *name* soon."""
        self._unwritten.put(name, _Item(name, value, min(ttl_s, LONGEST_TTL_S)))

    def _ask(self) -> None:
        # The task runs in the loop's next turn, when all that are on their way have joined.
        task = asyncio.get_running_loop().create_task(self._question())
        self._questions.add(task)
        task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._questions.discard(task)
        if self._waiting and len(self._questions) < MAX_QUESTIONS:
            self._ask()

    async def _question(self) -> None:
        asked, self._waiting = self._waiting, []
        names = list(dict.fromkeys(name for own, _ in asked for name in own))
        found: dict[str, bytes | None] = {}
        try:
            for start in range(0, len(names), MAX_KEYS):
                part = names[start : start + MAX_KEYS]
                found.update(zip(part, await self._store.get_many(part), strict=True))
        except BaseException as error:  # whoever waits goes on without the store
            # Those who came meanwhile have waited as long: they do not wait for another failure.
            late, self._waiting = self._waiting, []
            for _, then in asked + late:
                then(None)
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, AuguryError):
                _log.error("reading the prediction cache's store failed", exc_info=error)
            return
        for own, then in asked:
            then([found[name] for name in own])

    async def _write(self, items: list[_Item]) -> None:
        by_ttl: dict[float, dict[str, bytes]] = {}
        for item in items:
            by_ttl.setdefault(item.ttl_s, {})[item.name] = item.value
        for ttl_s, values in by_ttl.items():
            await self._store.set_many(values, ttl_s=ttl_s)
