"""Whether a server answers rightly while it is under load: a few requests beside those of the generator, and their answers.

The generator itself looks at the status alone, since reading each answer would take the cores from the server.
"""

from __future__ import annotations

import threading
import urllib.error
from types import TracebackType
from typing import Any, Self

from benchmarks.peers.running import NotMeasured, Running, compare

# One more client, which waits so long between its requests.
PAUSE_S = 0.1
ROWS = 48


class Spot:
    """Asks *rows* of a server, in turn, for as long as the block lasts.

    Args:
        running: The server.
        rows: What is asked.
    """

    def __init__(self, running: Running, rows: list[Any]) -> None:
        self._running, self._rows = running, rows
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="spot", daemon=True)
        self._answers: list[tuple[int, list[float]]] = []
        self._unreadable = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._over.set()
        # A slow server may have one of them in hand.
        self._thread.join(30)

    def verdict(self, wanted: list[list[float]]) -> str:
        """How near the answers came to *wanted*, one for each row; empty without answers.

        Raises:
            NotMeasured: They are not those.
        """
        if self._unreadable:
            raise NotMeasured(f"under load: unreadable answer: {self._unreadable}")
        if not self._answers:
            return ""
        got = [answer for _, answer in self._answers]
        try:
            said = compare(self._running.work.kind, got, [wanted[at] for at, _ in self._answers])
        except NotMeasured as error:
            raise NotMeasured(f"under load: {error}") from None
        return f"{len(got)} answers looked at under load: {said}"

    def _ask(self) -> None:
        at = 0
        while not self._over.wait(PAUSE_S):
            body = self._running.peer.body(self._running.work, self._rows[at])
            try:
                data = self._running.ask(body, timeout_s=10)
            except (OSError, urllib.error.URLError):
                continue  # refused, or late: the generator counts that
            try:
                self._answers.append((at, self._running.peer.answer(self._running.work, data)))
            except (ValueError, KeyError, IndexError, TypeError) as error:
                self._unreadable = f"{type(error).__name__}: {error}"
                return
            at = (at + 1) % len(self._rows)
