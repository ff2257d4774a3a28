"""What every backend does with tallies: check a change, add vectors.

Pure.  The backends import it; what a change means is said in :mod:`.base`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from augury.core.errors import TooLarge
from augury.stores.base import TALLY_LIMIT, Change, Vector


def check_changes(changes: Iterable[Change]) -> None:
    """Refuse what no backend could carry out, before anything is.

    Raises:
        ValueError: A number to add is not within the limit.
        UnicodeEncodeError: A name cannot be written as UTF-8.
    """
    for change in changes:
        names = [*change.expected, *change.values, *change.sums, *change.ranks]
        for by_member in change.sums.values():
            names += by_member
            _check_numbers(list(chain.from_iterable(by_member.values())))
        for ranks in change.ranks.values():
            names += ranks
            _check_numbers(list(ranks.values()))
        # Joined by what is no surrogate, two halves of a pair do not become whole.
        "\0".join(names).encode()


def _check_numbers(numbers: Sequence[int]) -> None:
    if numbers and not (min(numbers) > -TALLY_LIMIT and max(numbers) < TALLY_LIMIT):
        wrong = next(number for number in numbers if not fits(number))
        raise ValueError(f"{wrong} cannot be added to a tally, its limit is 2**53")


def fits(number: int) -> bool:
    """Whether *number* is within the limit of tallies."""
    return -TALLY_LIMIT < number < TALLY_LIMIT


def added(vector: Vector, more: Vector) -> Vector:
    """The sum of two vectors, without trailing zeros; ``()`` for all zeros.

    >>> added((1, 2), (1, -2, 3)), added((1, 2), (-1, -2))
    ((2, 0, 3), ())
    """
    numbers = [a + b for a, b in zip_longest(vector, more, fillvalue=0)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def overflow(table: str) -> TooLarge:
    """The error of a change that would take a number of *table* out of the limit."""
    return TooLarge(
        f"a number of the tally {table!r} would reach 2**53, the limit of tallies",
        table=table,
        limit=TALLY_LIMIT,
    )


def check_page(limit: int, offset: int = 0) -> None:
    """Refuse a page of less than nothing.

    Raises:
        ValueError: *limit* or *offset* is below 0.
    """
    if limit < 0 or offset < 0:
        raise ValueError(f"limit is {limit} and offset is {offset}, both must be 0 or more")
