"""Rows as they are remembered: what the prediction cache's two levels hold of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from augury.batching.scheduler import WorkResult
from augury.cache.prediction import PredictionCache
from augury.cache.shelf import Shelf
from augury.core.tensor import Array, column_nbytes

# An array object and its place in the dict of outputs; measured with tracemalloc.
ARRAY_OVERHEAD_BYTES: Final = 160
# A bytes object and its place in the dict of fragments, and that dict once it holds one.
FRAGMENT_OVERHEAD_BYTES: Final = 230


@dataclass(frozen=True, slots=True)
class Remembered(WorkResult):
    """The answer to one row, which took no time.

    Args:
        fragments: Dialect to the row as that dialect writes it, once it has been asked for.
    """

    fragments: dict[str, bytes] = field(default_factory=dict)


PredictionRows = PredictionCache[Remembered]
RowShelf = Shelf[Remembered]


def remembered(outputs: Mapping[str, Array]) -> Remembered:
    """One row's *outputs*, copied: they are views into a whole batch."""
    copies = {name: array.copy() for name, array in outputs.items()}
    for array in copies.values():
        array.setflags(write=False)  # it is handed to every caller that asks for the row
    return Remembered(copies, {}, queue_s=0.0, runtime_s=0.0)


def remembered_nbytes(row: Remembered) -> int:
    """Bytes that a remembered row holds when it is put."""
    return sum(column_nbytes(array) + ARRAY_OVERHEAD_BYTES for array in row.outputs.values())


class KnownRows:
    """The rows of a request that are all remembered in this process.

    Args:
        shelf: Where they lie.
        keys: Their keys.
        rows: Their answers.
    """

    __slots__ = ("_keys", "_shelf", "rows")

    def __init__(self, shelf: RowShelf, keys: Sequence[bytes], rows: list[Remembered]) -> None:
        self._shelf = shelf
        self._keys = keys
        self.rows = rows

    def fragments(
        self, dialect: str, encode: Callable[[Mapping[str, Array]], bytes]
    ) -> list[bytes]:
        """Each row as *dialect* writes it: by *encode* for the first time, from then on kept."""
        found = []
        for key, row in zip(self._keys, self.rows, strict=True):
            fragment = row.fragments.get(dialect)
            if fragment is None:
                fragment = row.fragments[dialect] = encode(row.outputs)
                self._shelf.grow(key, len(fragment) + FRAGMENT_OVERHEAD_BYTES)
            found.append(fragment)
        return found
