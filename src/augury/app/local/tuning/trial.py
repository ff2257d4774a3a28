"""One layout, loaded and measured: real instance threads in tight loops, the server's own code.

A loop merges rows into a batch and computes it, as an instance thread does; no queue and no event loop
stand before it, so that what is measured is the most that the layout can do.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import math
import os
import threading
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from augury.app.local.tuning.plan import LEAST_BATCHES, Layout, Point
from augury.batching.merge import merge_columns
from augury.core.clock import SystemClock
from augury.core.errors import AuguryError
from augury.core.tensor import Columns
from augury.observe.metrics import Metrics
from augury.packages.manifest import InstancesTable
from augury.packages.reader import ModelPackage
from augury.pipeline.servable import ModelServable

# Batches of one look, all threads together: their p99 is settled, and memory stays bounded.
MAX_BATCHES: Final = 20_000

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Tally:
    """All that was seen of one layout with batches of one size, over several looks."""

    layout: Layout
    rows: int
    times_s: array[float] = field(default_factory=lambda: array("d"))
    failed: int = 0
    first_error: str = ""
    memory_bytes: int = 0
    # Rows and seconds of each look: a rate is of all of them.
    _rates: list[tuple[float, float]] = field(default_factory=list)

    def add_look(self, loops: Sequence[Loop], memory_bytes: int) -> None:
        """Take over what *loops*, which ran at the same time, have seen."""
        per_s, longest_s = 0.0, 0.0
        for loop in loops:
            self.times_s.extend(loop.times_s)
            self.failed += loop.failed
            self.first_error = self.first_error or loop.first_error
            per_s += self.rows * len(loop.times_s) / max(loop.seconds, 1e-9)
            longest_s = max(longest_s, loop.seconds)
        self._rates.append((per_s, longest_s))
        self.memory_bytes = max(self.memory_bytes, memory_bytes)

    def point(self) -> Point:
        """What is known so far."""
        times = sorted(self.times_s)
        count = len(times)
        weight = sum(seconds for _, seconds in self._rates)
        rate = sum(per_s * seconds for per_s, seconds in self._rates) / max(weight, 1e-9)
        return Point(
            layout=self.layout,
            rows=self.rows,
            batches=count,
            failed=self.failed,
            rows_per_s=rate,
            p50_s=times[(count - 1) // 2] if times else 0.0,
            p99_s=times[-(-count * 99 // 100) - 1] if times else 0.0,
            memory_bytes=self.memory_bytes,
        )


@dataclass(slots=True)
class Loop:
    """What one thread saw."""

    times_s: array[float] = field(default_factory=lambda: array("d"))
    failed: int = 0
    first_error: str = ""
    seconds: float = 0.0
    # Until when Ctrl-C is waited for: a `join` that it interrupts takes the thread for ended (Python 3.11),
    # and the interpreter would end under a model that still computes.
    ended: threading.Event = field(default_factory=threading.Event)


class Trial:
    """A model, loaded with one layout.

    Args:
        package: The model.
        layout: Instances and threads; they win over the package's ``[instances]``.

    Raises:
        InvalidPackage: It cannot be served.
    """

    def __init__(self, package: ModelPackage, layout: Layout) -> None:
        _give_back()
        self._before_bytes = resident_bytes()
        table = InstancesTable(count=layout.count, threads=layout.threads)
        manifest = package.manifest.model_copy(update={"instances": table})
        self._layout = layout
        self.servable = ModelServable(
            replace(package, manifest=manifest), 0, clock=SystemClock(), metrics=Metrics()
        )

    def close(self) -> None:
        """Unload it."""
        asyncio.run(self.servable.close())

    def measure(
        self,
        tally: Tally,
        batches: Sequence[Sequence[Columns]],
        seconds: float,
        most_s: float | None = None,
    ) -> None:
        """Compute *batches* again and again, in all instances, and add what it takes to *tally*.

        Lasts *seconds* and one batch, or longer, until *tally* has enough batches to judge by, but at most *most_s*
        (left out: *seconds*).

        Raises:
            KeyboardInterrupt: Ctrl-C; the threads have ended, and *tally* knows nothing of this look.
        """
        stop = threading.Event()
        begin = threading.Barrier(self._layout.count)
        wanted = max(0, LEAST_BATCHES - len(tally.times_s)) if most_s is not None else 0
        least = -(-wanted // self._layout.count)
        loops = [Loop() for _ in range(self._layout.count)]
        threads = [
            threading.Thread(
                target=self._run_loop,
                args=(
                    loop,
                    batches,
                    number * len(batches) // len(loops),
                    (begin, stop),
                    (seconds, max(seconds, most_s or 0.0), least),
                ),
                name=f"augury-tune-{number}",
                daemon=True,
            )
            for number, loop in enumerate(loops)
        ]
        try:
            for thread in threads:
                thread.start()
            for loop in loops:
                loop.ended.wait()
        finally:
            # After Ctrl-C: each ends after the batch that it has in hand.
            stop.set()
            begin.abort()
            for thread, loop in zip(threads, loops, strict=True):
                if thread.ident is not None:
                    loop.ended.wait()
                    thread.join()
        tally.add_look(loops, max(0, resident_bytes() - self._before_bytes))

    def _run_loop(
        self,
        loop: Loop,
        batches: Sequence[Sequence[Columns]],
        first: int,
        signals: tuple[threading.Barrier, threading.Event],
        bounds: tuple[float, float, int],
    ) -> None:
        try:
            self._compute(loop, batches, first, signals, bounds)
        finally:
            loop.ended.set()

    def _compute(
        self,
        loop: Loop,
        batches: Sequence[Sequence[Columns]],
        first: int,
        signals: tuple[threading.Barrier, threading.Event],
        bounds: tuple[float, float, int],
    ) -> None:
        begin, stop = signals
        seconds, most_s, least = bounds
        # The first batch of a size allocates what the next ones use again.
        with suppress(Exception):
            self._run(batches[first])
        try:
            begin.wait()
        except threading.BrokenBarrierError:
            return
        most = max(1, MAX_BATCHES // self._layout.count)
        started_s = now_s = time.perf_counter()
        until_s, at_last_s = started_s + seconds, started_s + most_s
        place = first
        while len(loop.times_s) + loop.failed < most and not stop.is_set():
            batch_s = now_s
            try:
                self._run(batches[place])
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                loop.failed += 1
                told = error.message if isinstance(error, AuguryError) else repr(error)
                loop.first_error = loop.first_error or told
                now_s = time.perf_counter()
            else:
                now_s = time.perf_counter()
                loop.times_s.append(now_s - batch_s)
            enough = len(loop.times_s) + loop.failed >= least
            if now_s >= (until_s if enough else at_last_s):
                break
            place = (place + 1) % len(batches)
        loop.seconds = now_s - started_s

    def _run(self, parts: Sequence[Columns]) -> None:
        self.servable.run_batch(merge_columns(parts), len(parts))


def _give_back() -> None:
    """Return to the system what the layout before has left behind, as far as that can be done."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


class Others:
    """How much other programs compute on this process's cores, from now on."""

    def __init__(self) -> None:
        self._cores = os.sched_getaffinity(0)
        self._since = self._read()

    def cores(self) -> float:
        """Cores that they kept busy on average, at most all; NaN where the system does not tell.

        The system counts in ticks of 10 ms, so a look over much less than a second is a guess.
        """
        (busy_s, own_s, wall_s), now = self._since, self._read()
        others_s = now[0] - busy_s - (now[1] - own_s)
        cores = max(others_s, 0.0) / max(now[2] - wall_s, 1e-9)  # NaN stays
        return min(cores, float(len(self._cores)))

    def _read(self) -> tuple[float, float, float]:
        """Seconds: busy cores, this process, the clock."""
        busy_s = math.nan
        with suppress(OSError, ValueError, IndexError):
            lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
            fields = [line.split() for line in lines if line.startswith("cpu")]
            own = [each[1:] for each in fields if each[0][3:] and int(each[0][3:]) in self._cores]
            # user, nice, system; then idle and waiting; then interrupts and what the host stole.
            ticks = sum(int(each[at]) for each in own for at in (0, 1, 2, 5, 6, 7))
            busy_s = ticks / os.sysconf("SC_CLK_TCK")
        return busy_s, time.process_time(), time.monotonic()
