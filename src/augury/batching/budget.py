"""Cores that several models share, so that a heavy one cannot starve a light one.

An instance takes as many cores as its run has threads before it chooses its batch, and gives them back
afterwards.  While cores are free that costs a microsecond and decides nothing.  When they are not:

- those who wait get cores in the order of what their models have used lately, the least first;
- a model that has used less than its share, and whose batches are short beside the wait for a core, goes
  at once, beside the others: the operating system shares the cores out for that moment.  One at a time
  may, so that all others lose at most the part that one more thread takes.

:class:`Shares` decides and is pure; :class:`CpuBudget` knows threads.  See
``docs/decisions/0017-inline-and-budget.md``.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Final

from augury.core.clock import Clock

# What a model has used counts half as much so many seconds later: who was idle for long has no claim to
# all cores for as long.
HALF_LIFE_S: Final = 1.0
# A model that took cores, or waited for them, no longer ago takes part in the sharing.
ACTIVE_S: Final = 1.0
# A run counts as short if it takes at most this part of the time until a core is free.
SHORT: Final = 0.5
# What a run takes of a model none of whose runs has ended yet.
UNKNOWN_S: Final = 0.1
# Weight of the newest run in what a model's runs usually take.
SMOOTHING: Final = 0.2


@dataclass(slots=True, eq=False)
class Share:
    """What one model has had of the cores.

    Args:
        name: The model.
        used_s: Core-seconds, decayed up to *at_s*.
        at_s: Monotonic time of that.
        typical_s: What its runs take, smoothed; 0 before the first.
        active_s: When it last took or wanted cores.
        running: Its runs that are under way.
    """

    name: str
    used_s: float = 0.0
    at_s: float = 0.0
    typical_s: float = 0.0
    active_s: float = -1e18
    running: int = 0

    def used(self, now_s: float) -> float:
        """Core-seconds used lately, as of *now_s*."""
        return self.used_s * math.exp2((self.at_s - now_s) / HALF_LIFE_S)

    def charge(self, seconds: float, now_s: float) -> None:
        """Add core-*seconds*."""
        self.used_s = self.used(now_s) + seconds
        self.at_s = now_s


@dataclass(slots=True, eq=False)
class Grant:
    """Cores that a run holds, or waits for.

    Args:
        share: Whose.
        cores: How many.
        since_s: Monotonic time from which it has them.
        extra: Whether it runs beside those who have all cores.
        given: While it waits: held, and released when it waits no longer.
    """

    share: Share
    cores: int
    since_s: float = 0.0
    extra: bool = False
    given: threading.Lock | None = None


class Shares:
    """Who gets cores: pure, the time is passed in.

    Args:
        cores: How many there are.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.free = cores
        self.shares: list[Share] = []
        self.waiting: list[Grant] = []
        self.running: list[Grant] = []

    def ask(self, share: Share, cores: int, now_s: float) -> Grant | None:
        """Cores for a run of *share*: at once, or ``None``: wait for them."""
        share.active_s = now_s
        grant = Grant(share, min(cores, self.cores), now_s)
        if (not self.waiting and grant.cores <= self.free) or self._may_go_beside(grant, now_s):
            self._give(grant, now_s)
            return grant
        return None

    def wait(self, share: Share, cores: int, now_s: float) -> Grant:
        """A place among those who wait."""
        grant = Grant(share, min(cores, self.cores), now_s)
        self.waiting.append(grant)
        return grant

    def give_back(self, grant: Grant, now_s: float, *, ran: bool) -> list[Grant]:
        """A run is over, or there was nothing to run; returns who waits no longer."""
        self.running.remove(grant)
        share = grant.share
        share.running -= 1
        if not grant.extra:
            self.free += grant.cores
        if ran:
            took_s = now_s - grant.since_s
            share.charge(took_s * grant.cores, now_s)
            share.active_s = now_s
            first = share.typical_s == 0.0
            share.typical_s += (1.0 if first else SMOOTHING) * (took_s - share.typical_s)
        return self._next(now_s) if self.waiting else []

    def _next(self, now_s: float) -> list[Grant]:
        """Give what is free to those who have used the least."""
        given = []
        self.waiting.sort(key=lambda grant: self._used(grant.share, now_s))
        while self.waiting and self.waiting[0].cores <= self.free:
            grant = self.waiting.pop(0)
            self._give(grant, now_s)
            given.append(grant)
        for grant in self.waiting:
            if self._may_go_beside(grant, now_s):
                self.waiting.remove(grant)
                self._give(grant, now_s)
                given.append(grant)
                break
        return given

    def _give(self, grant: Grant, now_s: float) -> None:
        grant.extra = grant.cores > self.free
        grant.since_s = now_s
        if not grant.extra:
            self.free -= grant.cores
        grant.share.running += 1
        self.running.append(grant)

    def _used(self, share: Share, now_s: float) -> float:
        """What *share* has used lately, with what its runs under way have taken up to now."""
        under_way = sum(
            (now_s - grant.since_s) * grant.cores for grant in self.running if grant.share is share
        )
        return share.used(now_s) + under_way

    def _may_go_beside(self, grant: Grant, now_s: float) -> bool:
        """Whether a run is short, of a model that has had less than its share, and alone in that."""
        if not self.running or any(one.extra for one in self.running):
            return False
        mine = grant.share
        others = [one for one in self.shares if one is not mine and self._active(one, now_s)]
        if not others or mine.running or not mine.typical_s:
            return False  # one whose runs nobody knows might hold the place for long
        used = [self._used(one, now_s) for one in others]
        own = self._used(mine, now_s)
        if own * (len(others) + 1) > sum(used) + own:
            return False
        typical_s = [one.share.typical_s or UNKNOWN_S for one in self.running]
        free_in_s = min(
            one.since_s + usual_s - now_s
            for one, usual_s in zip(self.running, typical_s, strict=True)
        )
        # What takes longer than usual may take as long again.
        return mine.typical_s <= SHORT * max(free_in_s, 0.5 * max(typical_s))

    def _active(self, share: Share, now_s: float) -> bool:
        return share.running > 0 or now_s - share.active_s < ACTIVE_S


class CpuBudget:
    """The cores of a process, shared by all its schedulers.

    Args:
        cores: How many.
        clock: Monotonic time.
    """

    def __init__(self, cores: int, clock: Clock) -> None:
        self._shares = Shares(cores)
        self._clock = clock
        self._lock = threading.Lock()

    def open(self, name: str, typical_s: float = 0.0) -> Share:
        """A model begins to use the cores, whose runs take about *typical_s*; 0: nobody knows."""
        share = Share(name, typical_s=typical_s)
        with self._lock:
            self._shares.shares.append(share)
        return share

    def close(self, share: Share) -> None:
        """It uses them no more."""
        with self._lock:
            self._shares.shares.remove(share)

    def take(self, share: Share, cores: int) -> Grant:
        """Cores for one run, of an instance that has found something to do; waits for them."""
        with self._lock:
            now_s = self._clock.monotonic()
            grant = self._shares.ask(share, cores, now_s)
            if grant is not None:
                return grant
            grant = self._shares.wait(share, cores, now_s)
            given = grant.given = threading.Lock()
            given.acquire()
        given.acquire()  # released by whoever gives cores back
        return grant

    def give_back(self, grant: Grant, *, ran: bool) -> None:
        """The run is over, or there was nothing to do after all."""
        with self._lock:
            given = self._shares.give_back(grant, self._clock.monotonic(), ran=ran)
        for one in given:
            assert one.given is not None  # noqa: S101 - take() has set it
            one.given.release()
