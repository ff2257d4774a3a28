"""A log-linear ("HDR") histogram of latencies in microseconds.

Each power of two is cut into 1,024 equal buckets, so that a value is known to 0.1 % from a microsecond
to an hour in a fixed 200 KB, and histograms of several processes are added.  Values are filled in by the
thousand, with numpy: the loop that measures only appends to a list.

The layout is Gil Tene's HdrHistogram's; docs/decisions/0018-load-generator.md says why it is not the package.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Three significant digits.
BITS: Final = 11
MAX_US: Final = 1 << 32


class Histogram:
    """Counts of microseconds.

    Args:
        bits: 2 to this many buckets below the first power of two; the relative error is 2 to minus this, times two.

    >>> h = Histogram()
    >>> h.add([1_000, 2_000, 3_000])
    >>> h.count, h.percentile_us(50), h.max_us
    (3, 2000.0, 3000)
    """

    def __init__(self, bits: int = BITS) -> None:
        self.bits = bits
        self.counts: NDArray[np.int64] = np.zeros(bucket_count(bits), np.int64)
        self.sum_us = 0.0
        self.min_us = 0
        self.max_us = 0

    @property
    def count(self) -> int:
        """How many values."""
        return int(self.counts.sum())

    @property
    def mean_us(self) -> float:
        """Exact, not of the buckets; NaN when empty."""
        count = self.count
        return self.sum_us / count if count else float("nan")

    def add(self, values_us: ArrayLike) -> None:
        """Count values; those below 0 as 0, those over 71 minutes as that."""
        values = np.clip(np.asarray(values_us, dtype=np.float64), 0, MAX_US - 1).astype(np.int64)
        if not values.size:
            return
        first = not self.count
        self.counts += np.bincount(bucket_of(values, self.bits), minlength=len(self.counts))
        self.sum_us += float(values.sum())
        low, high = int(values.min()), int(values.max())
        self.min_us = low if first else min(self.min_us, low)
        self.max_us = max(self.max_us, high)

    def merge(self, other: Histogram) -> Self:
        """Take the counts of *other*, of the same bits, in."""
        if other.count:
            self.min_us = min(self.min_us, other.min_us) if self.count else other.min_us
        self.counts += other.counts
        self.sum_us += other.sum_us
        self.max_us = max(self.max_us, other.max_us)
        return self

    def percentile_us(self, percent: float) -> float:
        """The value that *percent* of all are at or below (nearest rank); NaN when empty.

        It is the highest value of its bucket, as HdrHistogram has it, and never more than the maximum.
        """
        count = self.count
        if not count:
            return float("nan")
        rank = max(1, int(np.ceil(count * percent / 100.0)))
        index = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(max(self.min_us, min(self.max_us, highest_of(index, self.bits))))

    def share_at_or_below(self, value_us: float) -> float:
        """The share of values up to *value_us*, by buckets; NaN when empty."""
        count = self.count
        if not count:
            return float("nan")
        index = int(bucket_of(np.array([min(value_us, MAX_US - 1)], np.int64), self.bits)[0])
        return float(self.counts[: index + 1].sum() / count)

    def buckets(self) -> list[tuple[int, int]]:
        """Highest microseconds and count of each bucket that holds something, rising."""
        return [
            (highest_of(int(i), self.bits), int(self.counts[i]))
            for i in np.flatnonzero(self.counts)
        ]


def bucket_count(bits: int) -> int:
    """Buckets of a histogram."""
    return int(bucket_of(np.array([MAX_US - 1]), bits)[0]) + 1


def bucket_of(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The bucket of each value, which is 0 or more.

    The first ``2**bits`` values have a bucket each; beyond, each power of two has ``2**(bits - 1)``.
    """
    # frexp's exponent is the bit length, exactly, for integers below 2**53.
    exponent = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - bits, 0)
    return (exponent << (bits - 1)) + (values >> exponent)


def highest_of(bucket: int, bits: int) -> int:
    """The highest value of *bucket*.

    >>> all(highest_of(int(bucket_of(np.array([v]), 11)[0]), 11) >= v for v in (0, 2047, 2048, 5_000_001))
    True
    """
    half = 1 << (bits - 1)
    if bucket < 2 * half:
        return bucket
    exponent, rest = divmod(bucket - half, half)
    return ((half + rest + 1) << exponent) - 1
