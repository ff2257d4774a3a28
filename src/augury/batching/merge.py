"""Join the tensors of several pieces of work into one batch, and split the outputs again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augury.core.tensor import Array, Column, Columns, Ragged


def merge_columns(parts: Sequence[Columns]) -> dict[str, Array]:
    """One dense array for each column, rows in the order of *parts*.

    Args:
        parts: The columns of each piece of work; all have the same names.

    Returns:
        Dense columns are concatenated along the batch axis (a single part is passed through, not
        copied); ragged ones become ``(rows, longest)``, shorter rows filled up with their pad.
    """
    merged: dict[str, Array] = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        first = columns[0]
        if isinstance(first, Ragged):
            merged[name] = pad(columns)
        else:
            merged[name] = first if len(columns) == 1 else np.concatenate(columns)  # type: ignore[arg-type]
    return merged


def pad(columns: Sequence[Column]) -> Array:
    """Ragged *columns* under each other, shape ``(rows, longest)``."""
    ragged = [column for column in columns if isinstance(column, Ragged)]
    rows = [row for column in ragged for row in column.rows]
    longest = max(map(len, rows))
    padded = np.full((len(rows), longest), ragged[0].pad, dtype=rows[0].dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def padding_ratio(parts: Sequence[Columns], merged: dict[str, Array]) -> float:
    """The part of the padded batch that is padding, 0 to 1; 0 when nothing is ragged."""
    for name, column in parts[0].items():
        if isinstance(column, Ragged):
            filled = sum(
                len(row)
                for part in parts
                if isinstance(ragged := part[name], Ragged)
                for row in ragged.rows
            )
            return 1.0 - filled / merged[name].size if merged[name].size else 0.0
    return 0.0


def split_outputs(outputs: dict[str, Array], rows: Sequence[int]) -> list[dict[str, Array]]:
    """Views of *outputs* for pieces of work with *rows* rows each.

    The views share memory: one that outlives the others (in a cache) must be copied.
    """
    if len(rows) == 1:
        return [outputs]
    parts = []
    start = 0
    for count in rows:
        parts.append({name: array[start : start + count] for name, array in outputs.items()})
        start += count
    return parts
