"""Requests that were asked before, byte for byte, and the keys of their rows.

A client that asks again mostly sends the same bytes; then neither its JSON has to be read nor a digest
to be made.  Holds no answer: what it finds is looked up as any other key.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

# Question, keys, their tuple, place in the dict; by tracemalloc.
QUESTION_OVERHEAD_BYTES: Final = 320
KEY_BYTES: Final = 60


class Questions:
    """The last questions, within a bound; the one that came first goes first.

    Args:
        max_bytes: Of all questions together, overhead included.
    """

    def __init__(self, max_bytes: int) -> None:
        self.bytes_held = 0
        self._max_bytes = max_bytes
        self._keys: dict[Hashable, tuple[Sequence[bytes], int]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, question: Hashable) -> Sequence[bytes] | None:
        """The keys of its rows, or ``None``."""
        known = self._keys.get(question)
        return None if known is None else known[0]

    def put(self, question: Hashable, nbytes: int, keys: Sequence[bytes]) -> None:
        """Keep *question*, which has *nbytes* bytes and these *keys*."""
        nbytes += QUESTION_OVERHEAD_BYTES + KEY_BYTES * len(keys)
        if nbytes > self._max_bytes or question in self._keys:
            return
        self._keys[question] = (tuple(keys), nbytes)
        self.bytes_held += nbytes
        while self.bytes_held > self._max_bytes:
            self.bytes_held -= self._keys.pop(next(iter(self._keys)))[1]

    def clear(self) -> None:
        """Forget all."""
        self._keys.clear()
        self.bytes_held = 0
