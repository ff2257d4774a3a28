"""Join the tensors of several pieces of work into one batch, and split the outputs again.

Pure.  What is cut from a batch is a read-only view: several callers, and the cache, may hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from augury.core.errors import RuntimeFailed
from augury.core.tensor import Array, Column, Columns, Ragged, zero_rows


def merge_columns(parts: Sequence[Columns]) -> dict[str, Array]:
    """One dense array for each column, rows in the order of *parts*.

    Args:
        parts: The columns of each piece of work; all have the same names.

    Returns:
        Dense columns are concatenated along the batch axis (a single part is passed through, not
        copied); ragged ones become ``(rows, longest)``, shorter rows filled up with their pad.

    Raises:
        ValueError: Dense columns that differ in more than their rows; see :func:`group_alike`.
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


def group_alike(parts: Sequence[Columns]) -> list[list[int]]:
    """Positions of the *parts* that can be merged with each other, group by group."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, part in enumerate(parts):
        shapes = tuple(
            (name, None if isinstance(column, Ragged) else column.shape[1:])
            for name, column in part.items()
        )
        groups.setdefault(shapes, []).append(position)
    return list(groups.values())


def pad(columns: Sequence[Column]) -> Array:
    """Ragged *columns* under each other, shape ``(rows, longest)``."""
    ragged = [column for column in columns if isinstance(column, Ragged)]
    rows = [row for column in ragged for row in column.rows]
    if len(rows) == 1:
        return rows[0].reshape(1, -1)  # a view: what runs alone costs nothing
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
    """Read-only views of *outputs* for pieces of work with *rows* rows each.

    The views share memory: one that outlives the others (in a cache) must be copied.
    """
    # A view is made read-only, not the array: a runtime may answer with an array of its own.
    frozen = {name: array[:] for name, array in outputs.items()}
    for array in frozen.values():
        array.setflags(write=False)
    if len(rows) == 1:
        return [frozen]
    parts = []
    start = 0
    for count in rows:
        parts.append({name: array[start : start + count] for name, array in frozen.items()})
        start += count
    return parts


def gather_outputs(
    parts: Sequence[tuple[Sequence[int], dict[str, Array]]], rows: int
) -> dict[str, Array]:
    """Put *parts* together that were computed apart.

    Args:
        parts: Which rows each part answers, and its outputs; a part without outputs adds nothing.
        rows: Number of rows of the whole.

    Returns:
        Arrays of *rows* rows.  Rows that no part answers are zero (empty for BYTES).  Where parts
        differ in size along an axis, as of a model that answers in the padded length of its batch,
        the smaller ones are filled up in the same way.

    Raises:
        RuntimeFailed: Parts of different rank.
    """
    answered = [(list(own), outputs) for own, outputs in parts if outputs]
    gathered: dict[str, Array] = {}
    for name in answered[0][1] if answered else ():
        arrays = [(own, outputs[name]) for own, outputs in answered]
        first = arrays[0][1]
        if any(array.ndim != first.ndim for _, array in arrays):
            raise RuntimeFailed(f"the model's output {name!r} has not always the same rank")
        sizes = [array.shape[1:] for _, array in arrays]
        shape = tuple(max(along) for along in zip(*sizes, strict=True))
        whole = zero_rows(rows, shape, first.dtype)
        for own, array in arrays:
            # Slices to the part's own size: a plain assignment would broadcast axes of size 1.
            place: tuple[Any, ...] = (own, *(slice(size) for size in array.shape[1:]))
            whole[place] = array
        gathered[name] = whole
    return gathered
