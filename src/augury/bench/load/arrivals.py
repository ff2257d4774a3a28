"""When requests come, drawn in advance.

All times are seconds from the start of a run.  They are drawn before it and never moved, so that a slow
server cannot slow its own load down.  Pure: the seed decides everything.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from augury.core.errors import OperatorError

Times = NDArray[np.float64]
Arrivals = Literal["poisson", "gamma", "constant"]
TraceKind = Literal["times", "gaps"]

# 160 MB of times; a longer run is several runs.
MAX_ARRIVALS: Final = 20_000_000


def draw(
    arrivals: Arrivals,
    rate_rps: float,
    duration_s: float,
    *,
    cv2: float = 1.0,
    rng: np.random.Generator,
) -> Times:
    """Times of requests at *rate_rps* on average, in ``[0, duration_s)``.

    Args:
        arrivals: ``poisson``: gaps are exponential; ``gamma``: gaps are gamma-distributed with squared
            coefficient of variation *cv2* (shape 1/cv2), which is bursty above 1; ``constant``: equal gaps.
        rate_rps: Requests per second.
        duration_s: Length of the run.
        cv2: Variance of the gaps over their squared mean; for ``gamma`` only.
        rng: Where chance comes from.

    Returns:
        Shape ``(n,)``, rising.

    Raises:
        OperatorError: More than 20 million requests.
    """
    if rate_rps * duration_s > MAX_ARRIVALS:
        raise OperatorError(
            f"{rate_rps:g} requests/s for {duration_s:g} s are {rate_rps * duration_s:,.0f} requests, "
            f"{MAX_ARRIVALS:,} are the most of one run"
        )
    mean_s = 1.0 / rate_rps
    if arrivals == "constant":
        return np.arange(math.ceil(rate_rps * duration_s), dtype=np.float64) * mean_s
    sample: Callable[[int], Times]
    if arrivals == "poisson":
        sample = lambda n: rng.exponential(mean_s, n)  # noqa: E731 - two lines beside each other
    else:
        sample = lambda n: rng.gamma(1.0 / cv2, mean_s * cv2, n)  # noqa: E731
    chunk = int(rate_rps * duration_s * 1.1) + 64
    times = np.cumsum(sample(chunk))
    while times[-1] < duration_s:
        times = np.concatenate([times, times[-1] + np.cumsum(sample(chunk))])
    return times[times < duration_s]


@dataclass(frozen=True)
class Trace:
    """Arrivals that were recorded.

    Args:
        times: Seconds from the first request; rising, the first is 0.
        inputs: Which of the inputs each request sends; ``None`` where the trace does not say.
    """

    times: Times
    inputs: NDArray[np.int64] | None = None

    @property
    def duration_s(self) -> float:
        """Until one mean gap after the last request; a second when all come at once."""
        last_s = float(self.times[-1])
        return last_s + (last_s / (len(self.times) - 1) if last_s > 0 else 1.0)

    @property
    def rate_rps(self) -> float:
        """Requests per second on average."""
        return len(self.times) / self.duration_s

    def at_rate(self, rate_rps: float) -> Trace:
        """The same pattern, faster or slower."""
        return Trace(self.times * (self.rate_rps / rate_rps), self.inputs)


def read_trace(lines: Iterable[str], name: str, kind: TraceKind = "times") -> Trace:
    """The trace in *lines*: a number a line, or a JSON object with ``at_s`` or ``gap_s``, and ``input``.

    Args:
        lines: The file's.
        name: The file's, for messages.
        kind: What a plain number is: a time in seconds (of any clock), or the gap before the request.

    Raises:
        OperatorError: A line that is neither, times that go back, or no line at all.
    """
    values: list[float] = []
    inputs: list[int] = []
    relative = kind == "gaps"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if len(values) >= MAX_ARRIVALS:
            raise OperatorError(f"{name}: more than {MAX_ARRIVALS:,} requests")
        try:
            entry: Any = json.loads(line)
            if isinstance(entry, dict):
                relative = "gap_s" in entry
                value = float(entry["gap_s"] if relative else entry["at_s"])
                if "input" in entry:
                    inputs.append(int(entry["input"]))
            else:
                value = float(entry)
        except (ValueError, TypeError, KeyError):
            raise OperatorError(
                f"{name}:{number}: {line.strip()[:80]!r} is neither a number of seconds nor an object "
                'with "at_s" or "gap_s"'
            ) from None
        if not math.isfinite(value) or (relative and value < 0):
            raise OperatorError(f"{name}:{number}: {value} is no time")
        values.append(value)
    if not values:
        raise OperatorError(f"{name} holds no request")
    if inputs and len(inputs) != len(values):
        raise OperatorError(f'{name}: "input" stands on {len(inputs)} of {len(values)} lines')
    times = np.array(values)
    if relative:
        times = np.cumsum(times)
    elif (back := np.flatnonzero(np.diff(times) < 0)).size:
        raise OperatorError(f"{name}: request {back[0] + 2} comes before the one above it")
    return Trace(times - times[0], np.array(inputs, np.int64) if inputs else None)
