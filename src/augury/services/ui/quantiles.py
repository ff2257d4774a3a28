"""What a stretch of time held, from the counts at its ends; pure.

Prometheus histograms only ever grow, so the difference of two readings is the histogram of what came
between them.  A quantile is read from it as Prometheus's ``histogram_quantile`` does: find the bucket
that holds the rank, and assume that its observations lie evenly spread between its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bucket.

    Args:
        bounds: Upper bounds of the buckets, rising; the last may be infinite.
        counts: Observations up to each bound, so that they never fall from one to the next.
        sum: Sum of all observations.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    sum: float = 0.0

    @property
    def total(self) -> float:
        """How many observations there are."""
        return self.counts[-1] if self.counts else 0.0

    @property
    def mean(self) -> float | None:
        """Mean of the observations; ``None`` without any."""
        return self.sum / self.total if self.total > 0 else None

    def since(self, before: Histogram) -> Histogram:
        """What was observed after *before* was read; all of it, when *before* has other buckets.

        >>> Histogram((1, 2), (3, 5), 6.0).since(Histogram((1, 2), (1, 1), 1.0)).counts
        (2, 4)
        """
        if before.bounds != self.bounds:
            return self
        # A version that is unloaded takes its counts along; nothing can be observed less than never.
        grown = [max(0, now - then) for now, then in zip(self.counts, before.counts, strict=True)]
        for place, (low, high) in enumerate(pairwise(grown)):
            grown[place + 1] = max(low, high)
        return Histogram(self.bounds, tuple(grown), max(0.0, self.sum - before.sum))

    def quantile(self, q: float) -> float | None:
        """The value below which the part *q* of the observations lies, by interpolation.

        Args:
            q: Between 0 and 1.

        Returns:
            ``None`` without observations.  What lies above the last finite bound is told as that
            bound: all that is known of it is that it is more.

        >>> Histogram((1, 2, math.inf), (2, 4, 4)).quantile(0.75)
        1.5
        """
        rank = q * self.total
        if self.total <= 0:
            return None
        below, low = 0.0, 0.0
        for bound, count in zip(self.bounds, self.counts, strict=True):
            if count >= rank and count > below:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * max(0.0, rank - below) / (count - below)
            if not math.isinf(bound):
                low = bound
            below = count
        return low


def rates(
    now: Mapping[str, float], before: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Each count's growth per second; a count that fell was begun anew.

    >>> rates({"hit": 9, "miss": 2}, {"hit": 4}, 5.0)
    {'hit': 1.0, 'miss': 0.4}
    """
    return {name: max(0.0, count - before.get(name, 0.0)) / seconds for name, count in now.items()}
