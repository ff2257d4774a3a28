"""The last thousand dispatches of a version: why each batch was released, and what became of it.

Written by instance threads and the event loop, read by whoever asks; a line is put down in less than a
microsecond, what is told of it is worked out by the reader.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from typing import Final, NamedTuple, TypeVar

# So many dispatches are kept, and as many of those that were computed inline.
KEPT: Final = 1000
INLINE: Final = "inline"

# Why work got no answer for want of time.  Values of the label `reason` of augury_shed_total.
SHED_REASONS: Final = (
    "admission",  # could not have been in time: refused as it came
    "queue_full",  # as many rows waited as may
    "evicted",  # made room for work of higher priority
    "expired",  # its deadline passed while it waited
    "hopeless",  # it could no longer be in time
    "abandoned",  # nobody waited for it any more
    "cancelled",  # stopped while it was computed: nobody waited any more, or too late
)


T = TypeVar("T")


class Dispatch(NamedTuple):
    """One batch that was begun.

    Args:
        at_s: Monotonic time at which it was.
        reason: Why it was released then; one of :data:`augury.batching.policies.base.REASONS`.
        rows: Rows in it.
        pieces: Pieces of work.
        length: Padded length; 1 where nothing is padded.
        padding_ratio: Part of it that is padding, 0 to 1.
        predicted_s: Mean expected by the cost model; NaN when it knew nothing.
        tail_s: What 99 of 100 such batches were expected to stay under; NaN as well.
        runtime_s: What it took.
        queue_s: How long the first of its pieces had waited.
        outcome: "ok", "failed" or "cancelled".
    """

    at_s: float
    reason: str
    rows: int
    pieces: int
    length: int
    padding_ratio: float
    predicted_s: float
    tail_s: float
    runtime_s: float
    queue_s: float
    outcome: str


class Totals(NamedTuple):
    """Counts since the version was loaded.

    Args:
        dispatches: Batches begun, by reason.
        rows: Rows in them, by reason.
        outcomes: Batches, by what became of them.
        shed: Pieces of work that got no answer for want of time, by reason.
    """

    dispatches: dict[str, int]
    rows: dict[str, int]
    outcomes: dict[str, int]
    shed: dict[str, int]


class Journal:
    """What a version's batches were like."""

    def __init__(self) -> None:
        # Of the last batches computed inline: when, rows, seconds; and of all of them, how many and their
        # rows.  Written by the event loop alone, which has no time for more.
        self._inlined: deque[tuple[float, int, float]] = deque(maxlen=KEPT)
        self._inline_batches = 0
        self._inline_rows = 0
        self._last: deque[Dispatch] = deque(maxlen=KEPT)
        # Not yet in the counts; kept apart, since the last thousand push each other out.
        self._uncounted: deque[Dispatch] = deque()
        self._dispatches: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._shed: Counter[str] = Counter()
        self._counting = threading.Lock()

    def add(self, dispatch: Dispatch) -> None:
        """Put one down."""
        self._last.append(dispatch)
        self._uncounted.append(dispatch)
        if len(self._uncounted) >= KEPT:
            with self._counting:
                self._count()

    def add_inline(self, at_s: float, rows: int, runtime_s: float) -> None:
        """Put one down that was computed on the event loop, whose thread this is."""
        self._inlined.append((at_s, rows, runtime_s))
        self._inline_batches += 1
        self._inline_rows += rows

    def shed(self, reason: str, pieces: int) -> None:
        """*pieces* of work got no answer."""
        with self._counting:
            self._shed[reason] += pieces

    def last(self, limit: int = KEPT) -> list[Dispatch]:
        """The last *limit* dispatches, the newest first."""
        kept = _copy(self._last)
        kept += [
            Dispatch(at_s, INLINE, rows, 1, 1, 0.0, math.nan, math.nan, runtime_s, 0.0, "ok")
            for at_s, rows, runtime_s in _copy(self._inlined)
        ]
        kept.sort(key=lambda dispatch: dispatch.at_s, reverse=True)
        return kept[:limit]

    def totals(self) -> Totals:
        """Counts of all, of those that are no longer kept too."""
        with self._counting:
            self._count()
            inline = {INLINE: self._inline_batches} if self._inline_batches else {}
            inline_rows = {INLINE: self._inline_rows} if self._inline_batches else {}
            ok = {"ok": self._inline_batches} if self._inline_batches else {}
            return Totals(
                dict(self._dispatches + Counter(inline)),
                dict(self._rows + Counter(inline_rows)),
                dict(self._outcomes + Counter(ok)),
                dict(self._shed),
            )

    def _count(self) -> None:
        for _ in range(len(self._uncounted)):
            dispatch = self._uncounted.popleft()
            self._dispatches[dispatch.reason] += 1
            self._rows[dispatch.reason] += dispatch.rows
            self._outcomes[dispatch.outcome] += 1


def _copy(items: deque[T]) -> list[T]:
    """*items* as they are now, though another thread may put one down meanwhile."""
    while True:
        try:
            return list(items)
        except RuntimeError:
            continue
