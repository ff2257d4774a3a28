"""The second level: answers in a store that other processes, and later ones, share.

The lookups of one turn of the event loop become one question to the store, up to a thousand names; a
larger lookup is asked for in parts, each of which lets small ones that wait go first.  What is written
waits in a bounded buffer and goes out in batches, so that no request waits for a write.  A store that
is down or slow costs a lookup no longer than the timeout, however many names it has, and costs nothing
while the store knows that it is down.  Between processes there is no lock: two that miss the same row at the same moment
both compute it, and write the same answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
# A timer that is called later than this has waited for a loop that was held up: the answer may have
# come meanwhile, and the loop gets this long to read it.
GRACE_S: Final = 0.02
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


class _LookUp:
    """Some names, who wants to know, and what was found so far."""

    __slots__ = ("distinct", "found", "names", "next", "then", "timer")

    def __init__(self, names: Sequence[str], then: Then) -> None:
        self.names = names
        self.distinct = list(dict.fromkeys(names))
        self.found: dict[str, bytes | None] = {}
        self.next = 0  # of the distinct names, the first that was not asked for
        self.then: Then | None = then
        self.timer: asyncio.TimerHandle | None = None

    @property
    def told(self) -> bool:
        return self.then is None

    @property
    def is_large(self) -> bool:
        return len(self.distinct) > MAX_KEYS

    def learn(self, found: Mapping[str, bytes | None]) -> None:
        """Tell if all is found."""
        if not self.is_large:
            self.tell([found[name] for name in self.names])
            return
        self.found.update(found)
        if len(self.found) == len(self.distinct):
            self.tell([self.found[name] for name in self.names])

    def tell(self, values: Sequence[bytes | None] | None) -> None:
        """Tell, the first time."""
        then, self.then = self.then, None
        if self.timer is not None:
            self.timer.cancel()
        if then is not None:
            then(values)


class StoredRows:
    """Reads and writes packed rows; an async context manager that writes what is left at its end.

    Args:
        store: Where they lie; whoever opened it closes it.
        clock: Monotonic time.
        timeout_s: For a lookup in all, from when it was asked for; then it goes on without the store.
        max_items: Rows that may wait to be written; more are not written.
        max_bytes: Bytes that these may have.
    """

    def __init__(
        self,
        store: KeyValueStore,
        clock: Clock,
        *,
        timeout_s: float = 0.5,
        max_items: int = 65_536,
        max_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self._store = store
        self._timeout_s = timeout_s
        # Told ones are passed over, and leave when they are the first.
        self._small: deque[_LookUp] = deque()
        self._large: deque[_LookUp] = deque()
        self._asking = False  # a question is about to take what waits
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
        one = _LookUp(names, then)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._timeout_s
        one.timer = loop.call_at(until_s, self._due, one, until_s)
        (self._large if one.is_large else self._small).append(one)
        self._ask()

    def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """Write *value* under *name* soon."""
        self._unwritten.put(name, _Item(name, value, min(ttl_s, LONGEST_TTL_S)))

    def _due(self, one: _LookUp, until_s: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - until_s > GRACE_S:
            one.timer = loop.call_later(GRACE_S, self._give_up, one)
        else:
            self._give_up(one)

    def _give_up(self, one: _LookUp) -> None:
        one.tell(None)
        for waiting in (self._small, self._large):
            while waiting and waiting[0].told:
                waiting.popleft()

    def _ask(self) -> None:
        if self._asking or len(self._questions) >= MAX_QUESTIONS:
            return
        if not self._small and not self._large:
            return
        # The task runs in the loop's next turn, when all that are on their way have joined.
        self._asking = True
        task = asyncio.get_running_loop().create_task(self._question())
        self._questions.add(task)
        task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._questions.discard(task)
        self._ask()

    def _take(self) -> tuple[list[_LookUp], list[str]]:
        """Who asks next, and the names: small ones together, or a part of a large one."""
        taken: list[_LookUp] = []
        names: dict[str, None] = {}
        while self._small:
            one = self._small[0]
            if not one.told:
                more = [name for name in one.distinct if name not in names]
                if len(names) + len(more) > MAX_KEYS:
                    break
                taken.append(one)
                names.update(dict.fromkeys(more))
            self._small.popleft()
        while not taken and self._large:
            one = self._large.popleft()
            if not one.told:
                part = one.distinct[one.next : one.next + MAX_KEYS]
                one.next += len(part)
                return [one], part
        return taken, list(names)

    async def _question(self) -> None:
        asked, names = self._take()
        self._asking = False
        self._ask()  # what is too much for this question
        if not names:
            for one in asked:
                one.learn({})
            return
        try:
            found = dict(zip(names, await self._store.get_many(names), strict=True))
        except BaseException as error:  # whoever waits goes on without the store
            # Those who came meanwhile have waited as long: they do not wait for another failure.
            late = [*asked, *self._small, *self._large]
            self._small.clear()
            self._large.clear()
            for one in late:
                one.tell(None)
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, AuguryError):
                _log.error("reading the prediction cache's store failed", exc_info=error)
            return
        for one in asked:
            one.learn(found)
            if not one.told:
                self._large.append(one)

    async def _write(self, items: list[_Item]) -> None:
        by_ttl: dict[float, dict[str, bytes]] = {}
        for item in items:
            by_ttl.setdefault(item.ttl_s, {})[item.name] = item.value
        for ttl_s, values in by_ttl.items():
            await self._store.set_many(values, ttl_s=ttl_s)
