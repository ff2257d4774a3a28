"""What a model costs, measured when it is loaded.

A few batches made of the package's own examples, by repetition: enough for the cost model to be of use to
the first caller, little enough not to be noticed at start.  The rest is learnt from what is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from augury.batching.cost import CostModel
from augury.batching.merge import merge_columns
from augury.batching.work import longest_row
from augury.core.clock import Clock
from augury.core.tensor import Array, Column, Columns, Ragged
from augury.observe.logs import get_logger

# Seconds that all of it may take; a model whose costs were kept from an earlier start is only looked at.
BUDGET_S: Final = 0.08
BUDGET_KNOWN_S: Final = 0.02
# Rounds over the shapes, for models that are quick.
ROUNDS: Final = 4
# Each shape's first run pays for memory that later ones find ready; it counts only where the second would
# take more than this part of the budget.
FIRST_COUNTS: Final = 0.03

_log = get_logger(__name__)


def calibrate(
    run: Callable[[dict[str, Array], int], object],
    columns: Columns,
    cost: CostModel,
    clock: Clock,
    *,
    max_rows: int,
    max_length: int | None = None,
) -> None:
    """Have *cost* learn from runs on rows like those of *columns*.

    Args:
        run: Computes a merged batch; what it answers is of no interest.
        columns: Rows that the model answers, preprocessed.
        cost: Learns.
        clock: Monotonic time.
        max_rows: Rows of a batch at most.
        max_length: Length of a row at most; ``None``: no longer than those of *columns*.
    """
    length = longest_row(columns)
    ends_s = clock.monotonic() + (BUDGET_KNOWN_S if cost.known else BUDGET_S)
    token_s = 0.0  # of the slowest run so far, for each row and token
    for rows, size in _shapes(length, max_rows, max_length):
        batch = merge_columns([_repeated(columns, rows, size)])
        for attempt in range(2):
            started_s = clock.monotonic()
            expected_s = token_s * rows * max(1, size)
            if started_s + expected_s > ends_s:
                break
            try:
                run(batch, rows)
            except Exception as error:  # noqa: BLE001 - a model may not take rows like these
                _log.debug("calibration ended early", rows=rows, length=size, reason=str(error))
                return
            took_s = clock.monotonic() - started_s
            if attempt or took_s > FIRST_COUNTS * BUDGET_S:
                cost.observe(rows, size or 1, took_s)
                token_s = max(token_s, took_s / (rows * max(1, size)) / 2)
            if took_s > FIRST_COUNTS * BUDGET_S:
                break


def _shapes(length: int, max_rows: int, max_length: int | None) -> Iterator[tuple[int, int]]:
    """Rows and lengths to try, the most telling first; each round over again."""
    if not length:
        sizes = [(rows, 0) for rows in (1, 4, 16, 2, 8, 64)]
    else:
        most = max(length, max_length or 0)
        half, double, fourfold = max(1, length // 2), min(2 * length, most), min(4 * length, most)
        sizes = [(1, length), (1, double), (4, half), (2, length), (1, fourfold), (4, length)]
        sizes += [(2, double), (8, half), (8, length), (4, fourfold), (16, length)]
    own = list(dict.fromkeys((min(rows, max_rows), size) for rows, size in sizes))
    for _ in range(ROUNDS):
        yield from own


def _repeated(columns: Columns, rows: int, length: int) -> Columns:
    """*rows* rows, ragged ones of *length*, made from those of *columns*."""

    def repeat(column: Column) -> Column:
        there = len(column)
        if isinstance(column, Ragged):
            return Ragged(
                tuple(np.resize(column.rows[row % there], length) for row in range(rows)),
                column.pad,
            )
        return column[np.arange(rows) % there]

    return {name: repeat(column) for name, column in columns.items()}
