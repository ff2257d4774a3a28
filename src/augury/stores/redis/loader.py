"""Make one question of many reads.

A command costs its sender some hundred microseconds of Python, whatever it asks for; a key in it
costs one.  So the reads of one turn of the event loop go out together, and so do those that come
while earlier ones are under way.  A read alone is not held up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from augury.core.errors import AuguryError, Internal, Unavailable

# Keys of one question: the server answers it in a fraction of a millisecond.
BATCH_KEYS: Final = 256
# Questions under way at once: while one is on the wire another is being made.
QUESTIONS: Final = 2

Ask = Callable[[Sequence[bytes], float], Awaitable[list[bytes | None]]]


class Loader:
    """Gathers reads.

    Args:
        ask: The values under some keys, by a deadline in the loop's time.
        timeout_s: For a read in all, from when it was asked for.
    """

    def __init__(self, ask: Ask, *, timeout_s: float) -> None:
        self._ask = ask
        self._timeout_s = timeout_s
        # Key, who waits for it, and until when; the first asked first.
        self._waiting: list[tuple[bytes, asyncio.Future[bytes | None], float]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def load(self, key: bytes) -> asyncio.Future[bytes | None]:
        """The value under *key*; whoever awaits it may be cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._waiting.append((key, future, loop.time() + self._timeout_s))
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

    async def _answer(self, batch: list[tuple[bytes, asyncio.Future[bytes | None], float]]) -> None:
        wanted = [(key, future) for key, future, _ in batch if not future.done()]
        if not wanted:
            return
        keys = list(dict.fromkeys(key for key, _ in wanted))
        try:
            # All have at least as long as the first.
            values = await self._ask(keys, batch[0][2])
        except asyncio.CancelledError:
            self._fail(wanted, Unavailable("the server is ending"))
            raise
        except AuguryError as error:
            self._fail(wanted, error)
        except Exception as error:  # noqa: BLE001  it belongs to those who wait, not to this task
            self._fail(wanted, Internal(f"reading failed: {type(error).__name__}"))
        else:
            found = dict(zip(keys, values, strict=True))
            for key, future in wanted:
                if not future.done():
                    future.set_result(found[key])

    @staticmethod
    def _fail(wanted: list[tuple[bytes, asyncio.Future[bytes | None]]], error: AuguryError) -> None:
        for _, future in wanted:
            if not future.done():
                # Each its own: an error that several raise would collect all their tracebacks.
                future.set_exception(type(error)(error.message, **error.details))
