"""Samples the server's metrics on the event loop, keeps the last of them, and tells who listens.

Two tiers, each bounded: the last quarter of an hour in steps of 5 s, the last day in steps of 2 min.
A coarse sample is made from readings 2 min apart, not from fine samples: the quantiles of a whole
stretch cannot be had from those of its parts.  Samples are encoded once and kept as JSON.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from augury.core.clock import Clock
from augury.core.errors import Overloaded, Unavailable
from augury.observe.logs import get_logger
from augury.services.ui.readings import Reading, sample_between

INTERVAL_S: Final = 5.0
FINE_KEEP: Final = 180  # 15 min
COARSE_INTERVAL_S: Final = 120.0
COARSE_KEEP: Final = 720  # 24 h
MAX_SUBSCRIBERS: Final = 32
# So many samples may wait for a reader; one that is further behind is let go.
MAX_BEHIND: Final = 16
# Between two looks at the clock and at whether the server is going away.
_LOOK_S: Final = 0.5

_log = get_logger(__name__)


class Tier:
    """The last samples of one length.

    Args:
        interval_s: Length of a sample.
        keep: How many are kept.
    """

    def __init__(self, interval_s: float, keep: int) -> None:
        self.interval_s = interval_s
        self.keep = keep
        self._samples: deque[bytes] = deque(maxlen=keep)
        self._last: Reading | None = None

    def offer(self, reading: Reading) -> bytes | None:
        """Take *reading*; the sample that it completes, or ``None`` when it is too early for one."""
        last = self._last
        if last is None:
            self._last = reading
            return None
        # The loop wakes a little early or late; half a look is near enough.
        if reading.monotonic_s - last.monotonic_s < self.interval_s - _LOOK_S / 2:
            return None
        self._last = reading
        sample = sample_between(last, reading).model_dump_json().encode()
        self._samples.append(sample)
        return sample

    def samples(self) -> list[bytes]:
        """What is kept, as JSON, in the order of time."""
        return list(self._samples)


class Subscription:
    """One who listens; what is told waits here until it is read."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_BEHIND)

    def offer(self, event: bytes) -> bool:
        """Put *event* in line; ``False`` when the reader is too far behind, and let go."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.end()
            return False
        return True

    def end(self) -> None:
        """No more comes; what waits is dropped."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    async def next(self) -> bytes | None:
        """The next event; ``None`` at the end."""
        return await self._waiting.get()


class Sampler:
    """The samples of one server.

    Args:
        read: Takes a reading.
        models: The models and their states, as JSON.
        ending: Whether the server is going away: then all who listen are let go.
        clock: Monotonic time.
        fine: The tier whose samples are told live.
        coarse: The tier that reaches back further.
        max_subscribers: Who listens at once, at most.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        models: Callable[[], bytes],
        ending: Callable[[], bool],
        clock: Clock,
        *,
        fine: Tier | None = None,
        coarse: Tier | None = None,
        max_subscribers: int = MAX_SUBSCRIBERS,
    ) -> None:
        self._read = read
        self._ending = ending
        self._clock = clock
        self._max_subscribers = max_subscribers
        self._subscribers: set[Subscription] = set()
        self._told_models = b""
        self._number = 0
        self.models = models
        self.fine = fine or Tier(INTERVAL_S, FINE_KEEP)
        self.coarse = coarse or Tier(COARSE_INTERVAL_S, COARSE_KEEP)

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Listen while the block runs.

        Raises:
            Overloaded: So many listen that there is no place.
            Unavailable: The server is going away.
        """
        if self._ending():
            raise Unavailable("the server is draining; ask again")
        if len(self._subscribers) >= self._max_subscribers:
            raise Overloaded(
                f"{self._max_subscribers} dashboards listen already, which is the limit; close one",
                limit=self._max_subscribers,
                retry_after_s=30,
            )
        subscription = Subscription()
        self._subscribers.add(subscription)
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)

    @property
    def subscribers(self) -> int:
        """How many listen."""
        return len(self._subscribers)

    def tick(self) -> None:
        """Take a reading, and tell what is new."""
        reading = self._read()
        self.coarse.offer(reading)
        sample = self.fine.offer(reading)
        if sample is not None:
            self._number += 1
            self._tell(b"id: %d\nevent: sample\ndata: %b\n\n" % (self._number, sample))
        models = self.models()
        if models != self._told_models:
            self._told_models = models
            self._tell(b"event: models\ndata: %b\n\n" % models)

    async def run(self) -> None:
        """Sample until cancelled."""
        due_s = self._clock.monotonic()
        while True:
            if self._ending():
                self._let_all_go()
            now_s = self._clock.monotonic()
            if now_s >= due_s:
                due_s = max(due_s + self.fine.interval_s, now_s)
                self._tick_or_tell()
            await asyncio.sleep(_LOOK_S)

    def _tick_or_tell(self) -> None:
        try:
            self.tick()
        except Exception as error:  # noqa: BLE001 - one bad reading must not end the dashboard
            _log.error("the dashboard's sample failed", exc_info=error)

    def _tell(self, event: bytes) -> None:
        for subscription in list(self._subscribers):
            if not subscription.offer(event):
                self._subscribers.discard(subscription)

    def _let_all_go(self) -> None:
        for subscription in self._subscribers:
            subscription.end()
        self._subscribers.clear()


@asynccontextmanager
async def running(sampler: Sampler) -> AsyncIterator[Sampler]:
    """*sampler* at work, while the block runs."""
    task = asyncio.create_task(sampler.run(), name="augury-sampler")
    try:
        yield sampler
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
