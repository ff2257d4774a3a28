"""Make one question of many reads.

A command costs its sender some hundred microseconds of Python, whatever it asks for; a key in it
costs one.  So the reads of one turn of the event loop go out together, and so do those that come
while earlier ones are under way.  A read alone is not held up.

A question lasts no longer than the most impatient of its reads may wait.  Those that have time left
when it is given up are asked for again, with the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from augury.core.errors import AuguryError, Internal, Unavailable

# Keys of one question: the server answers it in a fraction of a millisecond.
BATCH_KEYS: Final = 256
# Questions under way at once: while one is on the wire another is being made.
QUESTIONS: Final = 2

# A read that has less time left than this is not asked for again: each question that is given up
# costs a connection.
LEAST_LEFT_S: Final = 0.01

Ask = Callable[[Sequence[bytes], float], Awaitable[list[bytes | None]]]


class _Read(NamedTuple):
    """A key, who waits for it, and until when."""

    key: bytes
    future: asyncio.Future[bytes | None]
    deadline_s: float


class Loader:
    """Gathers reads.

    Args:
        ask: The values under some keys, by a deadline in the loop's time; ``Unavailable`` then.
        timeout_s: For a read in all, from when it was asked for.
    """

    def __init__(self, ask: Ask, *, timeout_s: float) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        # The first asked first.
        self._waiting: list[_Read] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def load(self, key: bytes) -> asyncio.Future[bytes | None]:
        """The value under *key*; whoever awaits it may be cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._waiting.append(_Read(key, future, loop.time() + self._timeout_s))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._send)
        return future

    async def close(self) -> None:
        """Wait for what is under way; what waits fails with the store's own error."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _send(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._tasks) < QUESTIONS:
            batch, self._waiting = self._waiting[:BATCH_KEYS], self._waiting[BATCH_KEYS:]
            task = asyncio.create_task(self._answer(batch), name="redis-load")
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._send()

    async def _answer(self, batch: list[_Read]) -> None:
        wanted = [read for read in batch if not read.future.done()]
        if not wanted:
            return
        keys = list(dict.fromkeys(read.key for read in wanted))
        deadline_s = min(read.deadline_s for read in wanted)
        try:
            values = await self._ask(keys, deadline_s)
        except asyncio.CancelledError:
            self._fail(wanted, Unavailable("the server is ending"))
            raise
        except Unavailable as error:
            self._fail(self._put_back(wanted, deadline_s), error)
        except AuguryError as error:
            self._fail(wanted, error)
        except Exception as error:  # noqa: BLE001  it belongs to those who wait, not to this task
            self._fail(wanted, Internal(f"reading failed: {type(error).__name__}"))
        else:
            found = dict(zip(keys, values, strict=True))
            for key, future, _ in wanted:
                if not future.done():
                    future.set_result(found[key])

    def _put_back(self, wanted: list[_Read], deadline_s: float) -> list[_Read]:
        """Let those wait on that a question was given up for others' sake; returns the rest.

        Each time ends the wait of one at least, and of each when its own time is over.
        """
        over_s = asyncio.get_running_loop().time() + LEAST_LEFT_S
        if over_s < deadline_s:
            return wanted  # it was not for the time: the store cannot be asked
        self._waiting[:0] = [read for read in wanted if read.deadline_s > over_s]
        return [read for read in wanted if read.deadline_s <= over_s]

    @staticmethod
    def _fail(wanted: list[_Read], error: AuguryError) -> None:
        for _, future, _ in wanted:
            if not future.done():
                # Each its own: an error that several raise would collect all their tracebacks.
                future.set_exception(type(error)(error.message, **error.details))
