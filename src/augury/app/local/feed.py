"""Rows that a thread reads ahead for the event loop, as many as fit and no more.

Reading may block for as long as it likes (a pipe, a terminal): the loop goes on, and a reader that
is stuck in the operating system does not hold up the end of the process, since its thread is a
daemon.  The loop takes what is there, so batches fill when rows come fast and wait for nobody when
they come slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from augury.app.local.rows import Row


class RowFeed:
    """Hands rows from a thread to the loop.

    Args:
        rows: Where they come from; only the thread touches it.
        max_rows: Rows that are held, and given out at once, at most.
        max_bytes: The same in bytes; a larger row goes alone.
    """

    def __init__(self, rows: Iterator[Row], *, max_rows: int, max_bytes: int) -> None:
        self._rows = rows
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._held: deque[Row] = deque()
        self._held_bytes = 0
        self._ended = False
        self._error: BaseException | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._woken = asyncio.Event()
        self._waiting = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="augury-read", daemon=True).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    async def take(self) -> list[Row]:
        """The rows that have been read, at least one; none at the end.

        Raises:
            Exception: Whatever ended the reading, after the rows before it.
        """
        while True:
            with self._changed:
                if self._held:
                    taken = list(self._held)
                    self._held.clear()
                    self._held_bytes = 0
                    self._changed.notify()
                    return taken
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return []
                self._woken.clear()
                self._waiting = True
            await self._woken.wait()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for row in self._rows:
                if not self._put(row):
                    return
        except BaseException as raised:  # noqa: BLE001 - whoever takes rows is told
            error = raised
        with self._changed:
            self._ended, self._error = True, error
            self._wake()

    def _put(self, row: Row) -> bool:
        """Hold *row* as soon as there is room; whether anybody still wants rows."""
        with self._changed:
            while not self._closed and self._is_full(row):
                self._changed.wait()
            if self._closed:
                return False
            self._held.append(row)
            self._held_bytes += row.nbytes
            self._wake()
            return True

    def _is_full(self, row: Row) -> bool:
        if not self._held:
            return False
        return len(self._held) >= self._max_rows or self._held_bytes + row.nbytes > self._max_bytes

    def _wake(self) -> None:
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._woken.set)
