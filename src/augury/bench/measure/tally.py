"""Counts of one worker's run, or of all workers' together.

Each request of the measured window is in exactly one kind, whatever became of it: what was never
answered counts as failed, and latencies run from the time at which the request was *meant* to go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from augury.bench.dialects.base import FAILED, OK, REFUSED, WRONG, Verdict
from augury.bench.measure.histogram import Histogram, bucket_count, bucket_of, highest_of

# Points of a time series, and the precision of each point's histogram (3 %).
MAX_POINTS: Final = 240
POINT_BITS: Final = 6
# Servers that make up a new error code for each answer fill no memory.
MAX_KINDS: Final = 64
# A request's record: when it was meant to go, was taken up, was sent, was answered; and its kind.
FIELDS: Final = 5

_HISTOGRAMS: Final = ("ok", "ok_from_send", "refused", "lag")
_COUNTS: Final = ("offered", "ok", "good", "refused", "failed")


@dataclass(frozen=True)
class Point:
    """One interval of the time series, by the times at which requests were meant to go.

    Args:
        from_s: Its start, from that of the measured window.
        offered: Requests that were meant to go.
        ok: Of these, answered.
        good: Of these, in time.
        refused: Refused.
        failed: Anything else, wrong answers too.
        p50_ms: Median latency of the answered; NaN without any.
        p99_ms: The same for the 99th percentile.
    """

    from_s: float
    offered: int
    ok: int
    good: int
    refused: int
    failed: int
    p50_ms: float
    p99_ms: float


class Tally:
    """What was measured.

    Args:
        warm_up_s: Requests before are not counted.
        duration_s: Length of the window after that.
        slo_s: What counts as in time; ``None``: any answer.
        interval_s: Width of a point.
    """

    def __init__(
        self, warm_up_s: float, duration_s: float, slo_s: float | None, interval_s: float
    ) -> None:
        self.warm_up_s = warm_up_s
        self.duration_s = duration_s
        self.slo_s = slo_s
        self.interval_s = interval_s
        self.ok = Histogram()
        self.ok_from_send = Histogram()
        self.refused = Histogram()
        self.lag = Histogram()
        self.good = 0
        self.kinds: dict[Verdict, int] = {}
        # Answers that came within the window, whenever they were asked: what CPU time is divided by.
        self.answered_inside = 0
        self.waited = 0
        # Of the generator: its CPU time, and all time in which it was not waiting, over the time that passed.
        self.cpu_share = 0.0
        self.busy_share = 0.0
        # How late it woke up, twenty times a second.
        self.behind_s: list[float] = []
        self._verdicts: list[Verdict] = []
        self._numbers: dict[Verdict, int] = {}
        points = max(1, min(MAX_POINTS, int(np.ceil(duration_s / interval_s - 1e-9))))
        self._series: NDArray[np.int64] = np.zeros((points, len(_COUNTS)), np.int64)
        self._point_latencies: NDArray[np.int64] = np.zeros(
            (points, bucket_count(POINT_BITS)), np.int64
        )

    @property
    def count(self) -> int:
        """Requests of the window."""
        return sum(self.kinds.values())

    def count_of(self, outcome: int) -> int:
        """Requests that ended in *outcome* (OK, REFUSED, FAILED, WRONG)."""
        return sum(n for verdict, n in self.kinds.items() if verdict.outcome == outcome)

    def number_of(self, verdict: Verdict) -> int:
        """The number under which records name *verdict*."""
        number = self._numbers.get(verdict)
        if number is None:
            if len(self._verdicts) >= MAX_KINDS:
                verdict = Verdict(verdict.outcome, "others")
                if verdict in self._numbers:
                    return self._numbers[verdict]
            number = self._numbers[verdict] = len(self._verdicts)
            self._verdicts.append(verdict)
        return number

    def fold(self, records: array[float]) -> None:
        """Count *records* (5 numbers each, seconds from the start), and empty them."""
        if not records:
            return
        table = np.array(records, dtype=np.float64).reshape(-1, FIELDS)
        del records[:]
        end_s = self.warm_up_s + self.duration_s
        outcomes = np.array([one.outcome for one in self._verdicts])
        came = outcomes[table[:, 4].astype(np.int64)] != FAILED
        inside = (table[:, 3] >= self.warm_up_s) & (table[:, 3] < end_s)
        self.answered_inside += int((came & inside).sum())
        at = table[:, 0]
        table = table[(at >= self.warm_up_s) & (at < end_s)]
        if not len(table):
            return
        at, kind = table[:, 0], table[:, 4].astype(np.int64)
        outcome = outcomes[kind]
        latency_us = (table[:, 3] - at) * 1e6
        answered = outcome == OK
        good = answered if self.slo_s is None else answered & (latency_us <= self.slo_s * 1e6)
        refused = outcome == REFUSED
        self.ok.add(latency_us[answered])
        self.ok_from_send.add((table[:, 3] - table[:, 2])[answered] * 1e6)
        self.refused.add(latency_us[refused])
        self.lag.add((table[:, 1] - at) * 1e6)
        self.good += int(good.sum())
        for number, count in enumerate(np.bincount(kind, minlength=len(self._verdicts))):
            if count:
                verdict = self._verdicts[number]
                self.kinds[verdict] = self.kinds.get(verdict, 0) + int(count)
        points = len(self._series)
        point = np.minimum(((at - self.warm_up_s) / self.interval_s).astype(np.int64), points - 1)
        masks = (np.ones(len(at), bool), answered, good, refused, ~(answered | refused))
        for column, mask in enumerate(masks):
            self._series[:, column] += np.bincount(point[mask], minlength=points)
        width = self._point_latencies.shape[1]
        coarse = bucket_of(np.clip(latency_us[answered], 0, 2**32 - 1).astype(np.int64), POINT_BITS)
        cells = np.bincount(point[answered] * width + coarse, minlength=points * width)
        self._point_latencies += cells.reshape(points, width)

    def cut(self, duration_s: float) -> None:
        """The run ended early: the window is *duration_s* long."""
        self.duration_s = max(duration_s, 0.0)

    def merge(self, other: Tally) -> Self:
        """Take in what another worker of the same run measured."""
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))
        for verdict, count in other.kinds.items():
            self.kinds[verdict] = self.kinds.get(verdict, 0) + count
        self.good += other.good
        self.answered_inside += other.answered_inside
        self.waited += other.waited
        self.cpu_share = max(self.cpu_share, other.cpu_share)
        self.busy_share = max(self.busy_share, other.busy_share)
        self.behind_s += other.behind_s
        self.duration_s = max(self.duration_s, other.duration_s)
        self._series += other._series
        self._point_latencies += other._point_latencies
        return self

    def points(self) -> Iterator[Point]:
        """The time series."""
        for index, (counts, latencies) in enumerate(
            zip(self._series.tolist(), self._point_latencies, strict=True)
        ):
            from_s = index * self.interval_s
            if from_s >= self.duration_s:
                return
            offered, ok, good, refused, failed = counts
            yield Point(
                from_s,
                offered,
                ok,
                good,
                refused,
                failed,
                _percentile(latencies, 50),
                _percentile(latencies, 99),
            )

    def to_bytes(self) -> bytes:
        """All of it, for the parent."""
        document: dict[str, Any] = {
            "window": [self.warm_up_s, self.duration_s, self.slo_s, self.interval_s],
            "kinds": [[*verdict, count] for verdict, count in self.kinds.items()],
            "numbers": [self.good, self.answered_inside, self.waited],
            "generator": [self.cpu_share, self.busy_share, self.behind_s],
            "series": self._series.tobytes(),
            "latencies": self._point_latencies.tobytes(),
        }
        for name in _HISTOGRAMS:
            one: Histogram = getattr(self, name)
            document[name] = [one.counts.tobytes(), one.sum_us, one.min_us, one.max_us]
        return msgspec.msgpack.encode(document)

    @classmethod
    def from_bytes(cls, data: bytes, duration_s: float) -> Self:
        """What :meth:`to_bytes` gave of a run that was meant to last *duration_s*."""
        document = msgspec.msgpack.decode(data)
        warm_up_s, measured_s, slo_s, interval_s = document["window"]
        tally = cls(warm_up_s, duration_s, slo_s, interval_s)
        tally.duration_s = measured_s
        tally.kinds = {Verdict(outcome, label): n for outcome, label, n in document["kinds"]}
        tally.good, tally.answered_inside, tally.waited = document["numbers"]
        tally.cpu_share, tally.busy_share, tally.behind_s = document["generator"]
        for mine, name in ((tally._series, "series"), (tally._point_latencies, "latencies")):
            mine[:] = np.frombuffer(document[name], np.int64).reshape(mine.shape)
        for name in _HISTOGRAMS:
            one: Histogram = getattr(tally, name)
            counts, one.sum_us, one.min_us, one.max_us = document[name]
            one.counts[:] = np.frombuffer(counts, np.int64)
        return tally


def _percentile(counts: NDArray[np.int64], percent: float) -> float:
    total = int(counts.sum())
    if not total:
        return float("nan")
    rank = max(1, int(np.ceil(total * percent / 100)))
    return highest_of(int(np.searchsorted(np.cumsum(counts), rank)), POINT_BITS) / 1e3


__all__ = ["FAILED", "OK", "REFUSED", "WRONG", "Point", "Tally"]
