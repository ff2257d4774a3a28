"""The worker processes, seen from the process that measures.

That one sends nothing itself: it paints, and samples the server, without disturbing the load.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from augury.bench.load.plan import (
    Broken,
    Done,
    Plan,
    Progress,
    Ready,
    decode_message,
    encode,
    split_frames,
    write_frame,
)
from augury.bench.load.worker import START
from augury.bench.measure.tally import Tally
from augury.core.errors import OperatorError

# Between the word to start and the start, so that all workers have heard it.
LEAD_S: Final = 0.1
LOOK_S: Final = 0.1
# Reading a large plan on a busy machine.
READY_S: Final = 60.0
# Beyond a run's end and its timeout.
GRACE_S: Final = 30.0

# Seconds from the start, and the latest word of each worker.
Watch = Callable[[float, Sequence[Progress]], None]


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    incoming: bytearray
    progress: Progress | None = None
    ready: bool = False
    done: bytes | None = None


class Fleet:
    """Worker processes that run one plan after another.

    Args:
        processes: How many.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        # -P: what lies in the working folder is not ours to import.
        command = [sys.executable, "-P", "-m", "augury.bench.load.worker"]
        try:
            for _ in range(self._processes):
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                self._workers.append(_Worker(process, bytearray()))
        except BaseException as error:
            number = len(self._workers) + 1
            self._end()
            if isinstance(error, OSError):
                raise OperatorError(
                    f"cannot start worker {number} of {self._processes}: {error.strerror}"
                ) from None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            process = worker.process
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        self._workers = []

    def run(self, plans: Sequence[Plan], watch: Watch) -> tuple[Tally, bool]:
        """Run a plan on each worker, all from the same moment.

        Args:
            plans: As many as there are workers.
            watch: Called ten times a second.

        Returns:
            What all of them measured, and whether Ctrl-C ended it early.

        Raises:
            OperatorError: A worker failed.
        """
        with selectors.DefaultSelector() as selector:
            for worker, plan in zip(self._workers, plans, strict=True):
                worker.progress, worker.ready, worker.done = None, False, None
                assert worker.process.stdin is not None  # noqa: S101 - they are pipes
                assert worker.process.stdout is not None  # noqa: S101
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
                self._write(worker, encode(plan), framed=True)
            self._until(selector, lambda: all(one.ready for one in self._workers), READY_S)
            start_s = time.monotonic() + LEAD_S
            for worker in self._workers:
                self._write(worker, START.pack(start_s))
            longest_s = max(one.warm_up_s + one.duration_s + one.timeout_s for one in plans)
            interrupted = False

            def look() -> None:
                told = [one.progress for one in self._workers if one.progress is not None]
                watch(time.monotonic() - start_s, told)

            def over() -> bool:
                return all(one.done is not None for one in self._workers)

            try:
                self._until(selector, over, longest_s + GRACE_S, look)
            except KeyboardInterrupt:
                interrupted = True
                for worker in self._workers:
                    if worker.done is None:
                        self._write(worker, b"s")
                self._until(selector, over, GRACE_S)
            if not interrupted:
                for worker in self._workers:
                    self._write(worker, b"k")
        tallies = [
            Tally.from_bytes(worker.done or b"", plan.duration_s)
            for worker, plan in zip(self._workers, plans, strict=True)
        ]
        total = tallies[0]
        for tally in tallies[1:]:
            total.merge(tally)
        return total, interrupted

    def _write(self, worker: _Worker, data: bytes, *, framed: bool = False) -> None:
        stdin = worker.process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        try:
            if framed:
                write_frame(stdin, data)  # type: ignore[arg-type]
            else:
                stdin.write(data)
                stdin.flush()
        except BrokenPipeError:
            raise _lost(worker) from None

    def _until(
        self,
        selector: selectors.BaseSelector,
        reached: Callable[[], bool],
        limit_s: float,
        look: Callable[[], None] | None = None,
    ) -> None:
        late_s = time.monotonic() + limit_s
        next_look_s = 0.0
        while not reached():
            now_s = time.monotonic()
            if now_s > late_s:
                raise OperatorError(
                    f"a worker of the load generator said nothing for {limit_s:g} s"
                )
            if look is not None and now_s >= next_look_s:
                look()
                next_look_s = now_s + LOOK_S
            for key, _ in selector.select(LOOK_S):
                self._take(key.data, key.fd)
        if look is not None:
            look()

    @staticmethod
    def _take(worker: _Worker, fd: int) -> None:
        data = os.read(fd, 1 << 20)
        if not data:
            raise _lost(worker)
        worker.incoming += data
        for frame in split_frames(worker.incoming):
            message = decode_message(frame)
            if isinstance(message, Progress):
                worker.progress = message
            elif isinstance(message, Done):
                worker.done = message.tally
            elif isinstance(message, Ready):
                worker.ready = True
            elif isinstance(message, Broken):
                raise OperatorError(f"a worker of the load generator failed: {message.message}")


def _lost(worker: _Worker, wait_s: float = 5.0) -> OperatorError:
    try:
        code = worker.process.wait(wait_s)
    except subprocess.TimeoutExpired:
        return OperatorError("a worker of the load generator closed its output, and goes on")
    return OperatorError(f"a worker of the load generator ended with exit code {code}")
