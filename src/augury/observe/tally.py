"""Counters and histograms for what is counted on the event loop thousands of times a second.

prometheus-client's own take a lock for each count, and a histogram several.  These are plain numbers
that one thread writes; whoever collects reads them as they are.  They have the same names for what
they can do, so that either kind can stand in the place of the other.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString


def _nothing() -> None:
    """Nothing has to be done before the numbers are read."""


class Count:
    """One counter; written by the event loop's thread alone."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Count *amount* more."""
        self.value += amount


class Spread:
    """One histogram; written by the event loop's thread alone."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last: above all bounds
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Count *amount* into its bucket."""
        self.counts[bisect_left(self._bounds, amount)] += 1
        self.total += amount

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Count many; 0.1 µs for each."""
        if not amounts:
            return
        places = np.searchsorted(self._bounds, amounts)
        for place, count in enumerate(np.bincount(places, minlength=len(self.counts)).tolist()):
            self.counts[place] += count
        self.total += math.fsum(amounts)


class LoopCounter:
    """A counter with labels.

    Args:
        name: Without ``_total``.
        documentation: One sentence.
        labelnames: Its labels.
        registry: Where it is collected.
        before: Called before its numbers are read.
    """

    _type: ClassVar = "counter"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        *,
        registry: CollectorRegistry,
        before: Callable[[], None] = _nothing,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labelnames = tuple(labelnames)
        self._before = before
        self._children: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The counter of these label values."""
        return self._children.setdefault(values, Count())

    def describe(self) -> Iterator[Metric]:
        """For the registry: the names, without numbers."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """For the registry: the numbers."""
        self._before()
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for values, child in list(self._children.items()):
            family.add_metric(values, child.value)
        yield family


class LoopHistogram:
    """A histogram with labels.

    Args:
        name: Its name.
        documentation: One sentence.
        labelnames: Its labels.
        buckets: Upper bounds, rising.
        registry: Where it is collected.
        before: Called before its numbers are read.
    """

    _type: ClassVar = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
        before: Callable[[], None] = _nothing,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labelnames = tuple(labelnames)
        self._before = before
        self._bounds = tuple(buckets)
        self._children: dict[tuple[str, ...], Spread] = {}
        registry.register(self)

    def labels(self, *values: str) -> Spread:
        """The histogram of these label values."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = Spread(self._bounds)
        return child

    def describe(self) -> Iterator[Metric]:
        """For the registry: the names, without numbers."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)

    def collect(self) -> Iterator[Metric]:
        """For the registry: the numbers."""
        self._before()
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
        names = [*map(floatToGoString, self._bounds), "+Inf"]
        for values, child in list(self._children.items()):
            below = 0
            buckets = []
            for name, count in zip(names, list(child.counts), strict=True):
                below += count
                buckets.append((name, below))
            family.add_metric(values, buckets, child.total)
        yield family
