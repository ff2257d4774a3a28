"""Which models are computed on the event loop: those that take less than a way between threads.

Handing work to an instance and its answer back costs two changes of thread.  A model that is quicker than
that is computed at once, where the request stands, if nothing of it waits or is under way.

:class:`InlineGate` decides, from measured times alone; :mod:`augury.batching.hop` measures what the way
costs on this machine.  See ``docs/decisions/0017-inline-and-budget.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from augury.batching.cost import CostModel
from augury.core.tensor import Column, Columns, Ragged, column_nbytes

InlineMode = bool | Literal["auto"]

# What is measured is believed between these: an idle machine in a good moment, and a very slow one.
LEAST_HOP_S: Final = 50e-6
MOST_HOP_S: Final = 500e-6

# This part of the runs must be below the threshold.
QUANTILE: Final = 0.9
# What slow runs hold the loop up beyond the threshold adds up to a debt; each quick run pays back this part
# of the threshold: on average, slow runs may cost that much of what is saved.
PAID_BACK: Final = 0.25
# At this debt, be it from one run or from many, the model leaves the event loop. Ten milliseconds, twenty
# times the highest threshold, are what a machine that others use takes away now and then.
MOST_DEBT_S: Final = 0.01
# It leaves for so long at first, each further time for twice as long, up to the second number; where it went
# well for longer than that, it begins anew.
FIRST_BREAK_S: Final = 1.0
MOST_BREAK_S: Final = 60.0
# While it is not computed inline, its costs are looked at so often.
LOOK_AGAIN_S: Final = 1.0
# One inline run in so many teaches the cost model, which takes 10 µs to learn.
LEARN_EVERY: Final = 32


class InlineGate:
    """Whether a model is computed inline, and up to how many rows at once.

    Written on the event loop, but for :meth:`look` under the scheduler's lock.

    Args:
        mode: ``[batching] inline``: "auto", or whatever the costs are, always or never.
        hop_s: What a way between threads takes: the threshold.
        max_rows: Rows of a run at most.
    """

    __slots__ = (
        "_break_s",
        "_closed_until_s",
        "_debt_s",
        "_max_rows",
        "_mode",
        "_next_look_s",
        "_row_bytes",
        "_runs",
        "limit_s",
        "rows",
    )

    def __init__(self, mode: InlineMode, hop_s: float, max_rows: int) -> None:
        self._mode = mode
        self._max_rows = max_rows
        self.limit_s = min(max(hop_s, LEAST_HOP_S), MOST_HOP_S)
        # So many rows may be computed inline; 0: none.
        self.rows = max_rows if mode is True else 0
        self._runs = 0
        self._debt_s = 0.0
        self._row_bytes: dict[str, int] = {}
        self._break_s = FIRST_BREAK_S
        self._closed_until_s = 0.0
        self._next_look_s = 0.0

    @property
    def always(self) -> bool:
        """Whether the costs do not matter."""
        return self._mode is True

    def measured(self, columns: Columns | None, open_inputs: Iterable[str]) -> None:
        """The costs were measured with *columns*, of which the callers choose the size of *open_inputs*.

        What is larger may cost more, however few rows it has.  ``None``: nothing was measured.
        """
        self._row_bytes = {
            name: 0 if columns is None else _largest_row(columns[name]) for name in open_inputs
        }

    def knows(self, columns: Columns, rows: int) -> bool:
        """Whether *rows* rows of this size cost what was measured, or that does not matter."""
        for name, most in self._row_bytes.items():
            if column_nbytes(columns[name]) > most * rows:
                return self.always
        return True

    def look(self, cost: CostModel, now_s: float) -> None:
        """See what the model costs by now, unless that was seen a moment ago."""
        if self._mode != "auto" or now_s < self._next_look_s or now_s < self._closed_until_s:
            return
        self._next_look_s = now_s + LOOK_AGAIN_S
        rows = self._max_rows
        # A NaN, as of a model that is not known, is below nothing.
        while rows and not cost.tail(rows, 1, QUANTILE) <= self.limit_s:
            rows //= 2
        self.rows = rows

    def ran(self, seconds: float, now_s: float) -> bool:
        """A run on the event loop took so long; returns whether the cost model should learn it."""
        self._runs += 1
        if seconds > self.limit_s:
            self._debt_s += seconds - self.limit_s
            if self._debt_s >= MOST_DEBT_S and self._mode == "auto":
                self._close(now_s)
                return True
        elif self._debt_s > 0.0:
            self._debt_s -= PAID_BACK * self.limit_s
        return self._runs % LEARN_EVERY == 0

    def _close(self, now_s: float) -> None:
        if now_s - self._closed_until_s > MOST_BREAK_S:
            self._break_s = FIRST_BREAK_S
        self.rows = 0
        self._debt_s = 0.0
        self._closed_until_s = now_s + self._break_s
        self._break_s = min(2.0 * self._break_s, MOST_BREAK_S)


def _largest_row(column: Column) -> int:
    if isinstance(column, Ragged):
        return 0  # what it costs is known by its length, not here
    return max((column_nbytes(column[row : row + 1]) for row in range(len(column))), default=0)
