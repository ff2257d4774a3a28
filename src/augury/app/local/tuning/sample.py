"""The rows that a model is tuned with: its own examples, or those of a file.

They go through the steps before the model once; what is measured afterwards is the batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from augury.app.local.files import open_input
from augury.app.local.layout import layout_for
from augury.app.local.rows import Format, Row, read_rows
from augury.batching.merge import group_alike
from augury.core.errors import AuguryError, OperatorError, UnlikeRows
from augury.core.tensor import Array, Columns, Ragged, take_rows
from augury.pipeline.examples import example_inputs
from augury.pipeline.servable import ModelServable
from augury.protocols.native.codec import decode_rows

# Enough that lengths are mixed as in the file; the first of it, so that tuning twice is the same.
MAX_ROWS: Final = 2048
MAX_BYTES: Final = 32 * 1024 * 1024
# The steps before the model are timed on so many rows at most, one by one as single requests are.
TIMED_ROWS: Final = 256
# Slow steps do not use up the time for measuring: what is ready by then must do.
STEPS_S: Final = 5.0


@dataclass(slots=True)
class Sample:
    """Rows, ready for batches.

    Args:
        source: Where they come from, for people.
        pieces: Each row's columns as the model wants them.
        refused: Rows that cannot be used.
        first_error: Why the first of these cannot.
        steps_s: What the steps before the model took, for each of the first rows.
    """

    source: str
    pieces: list[Columns] = field(default_factory=list)
    refused: int = 0
    first_error: str = ""
    steps_s: list[float] = field(default_factory=list)

    @property
    def steps_row_s(self) -> float:
        """Seconds that the steps before the model take for one row, the median."""
        return statistics.median(self.steps_s) if self.steps_s else 0.0

    def batches(self, rows: int, window: int) -> list[list[Columns]]:
        """Batches of exactly *rows* rows, put together as a busy server does.

        Companions are of like length among *window* rows; rows of another shape are never mixed.
        Where there are too few, they are repeated.
        """
        found: list[list[Columns]] = []
        for group in group_alike(self.pieces):
            own = [self.pieces[place] for place in group]
            missing = -len(own) % rows
            own += [own[place % len(own)] for place in range(missing)]
            step = max(rows, window // rows * rows)
            for start in range(0, len(own), step):
                near = sorted(own[start : start + step], key=_length)
                found += [near[place : place + rows] for place in range(0, len(near), rows)]
        return found


def read_examples(servable: ModelServable) -> Sample:
    """The rows of ``[[examples]]``.

    Raises:
        OperatorError: There are none, or none that can be used.
    """
    package = servable.package
    sample = Sample("the model's examples")
    if not package.manifest.examples:
        raise OperatorError(
            f"{package.name} has no [[examples]] to measure with; add some to its model.toml, or give a "
            "file of rows with --data"
        )
    for number, example in enumerate(package.manifest.examples, start=1):
        try:
            inputs, rows = example_inputs(servable, example)
            _add(sample, servable, inputs, rows)
        except AuguryError as error:
            _refuse(sample, f"example {number}: {error.message}")
    return _checked(sample)


def read_file(
    servable: ModelServable,
    file: Path,
    format: Format,
    text_column: str | None,
    *,
    max_line_bytes: int,
) -> Sample:
    """The first rows of *file*, read as ``augury predict`` does.

    Raises:
        OperatorError: No row can be used, or the model joins features, which a file does not hold.
        WrongColumns: The columns are not those of the file.
    """
    sample = Sample(file.name if str(file) != "-" else "standard input")
    if servable.joins is not None:
        raise OperatorError(
            f"{servable.package.name} joins feature tables, whose values are not in {sample.source}; leave "
            "--data out: its [[examples]] state them"
        )
    layout = layout_for(servable.signature, format, text_column)
    with open_input(file) as stream:
        rows = read_rows(stream, format, layout, max_line_bytes=max_line_bytes)
        taken = list(_first(islice(rows, MAX_ROWS)))
    for row in taken:
        if row.error is not None:
            _refuse(sample, f"line {row.line}: {row.error.message}")
    good = [row for row in taken if row.error is None]
    while good:
        decoded = decode_rows([dict(row.inputs) for row in good], servable.signature)
        others = []
        for place, error in sorted(decoded.errors.items()):
            # Rows of one call share a shape; those of another go in a call of their own.
            if decoded.positions and isinstance(error, UnlikeRows):
                others.append(good[place])
            else:
                _refuse(sample, f"line {good[place].line}: {error.message}")
        if decoded.positions:
            _add(sample, servable, decoded.inputs, len(decoded.positions))
        good = others
    return _checked(sample)


def _first(rows: Iterator[Row]) -> Iterator[Row]:
    nbytes = 0
    for row in rows:
        yield row
        nbytes += row.nbytes
        if nbytes > MAX_BYTES:
            return


def _add(sample: Sample, servable: ModelServable, inputs: dict[str, Array], rows: int) -> None:
    """Take *rows* rows through the steps before the model, one by one, as single requests come."""
    until_s = time.perf_counter() + STEPS_S
    for row in range(rows):
        one = {name: array[row : row + 1] for name, array in inputs.items()}
        started_s = time.perf_counter()
        batch = servable.preprocess(one, 1, {})
        now_s = time.perf_counter()
        if len(sample.steps_s) < TIMED_ROWS:
            sample.steps_s.append(now_s - started_s)
        if batch.errors:
            _refuse(sample, f"a row is refused: {batch.errors[0].message}")
        else:
            columns = {name: take_rows(each, slice(0, 1)) for name, each in batch.columns.items()}
            sample.pieces.append(columns)
        if now_s > until_s:
            return


def _refuse(sample: Sample, reason: str) -> None:
    sample.first_error = sample.first_error or reason
    sample.refused += 1


def _checked(sample: Sample) -> Sample:
    if not sample.pieces:
        why = f": {sample.first_error}" if sample.first_error else ""
        raise OperatorError(f"no row of {sample.source} can be used{why}")
    return sample


def _length(piece: Columns) -> int:
    ragged: Sequence[Ragged] = [one for one in piece.values() if isinstance(one, Ragged)]
    return max((len(row) for column in ragged for row in column.rows), default=0)
