"""What credentials proved to be a moment ago, so that the next request need not wait.

Sits between the gate, which must answer in a microsecond, and those who know but take a hundred
milliseconds (passwords) or a round trip (keys).  Credentials are remembered by a keyed digest only.
A credential is looked up anew before what is known of it gets too old, while requests go on with the
old answer; many requests with one credential cause one look-up.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from augury.core.caller import Caller
from augury.core.clock import Clock
from augury.core.errors import AuguryError, Unavailable
from augury.observe.logs import get_logger

# A key that was revoked works no longer than this, anywhere.
REVOKED_WITHIN_S: Final = 5.0
# A look-up begins so long before: no request waits for it, unless it takes longer.
_AHEAD_S: Final = 2.5
# With the store down, what was right goes on for so long, and is looked up so often.
_OUTAGE_S: Final = 300.0
_RETRY_S: Final = 1.0
# A wrong credential is not looked at again for so long.
_WRONG_S: Final = 2.0

# A renewal that fails is tried again every second; each kind of failure is logged so often.
_TELL_EVERY_S: Final = 60.0

_MAX_RIGHT: Final = 10_000
_MAX_WRONG: Final = 4_096
_MAX_LOOKUPS: Final = 64

Digest = bytes

_V = TypeVar("_V")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look-up found.

    Args:
        caller: Who it is; ``None``: the credential is wrong.
        ends_s: Monotonic time at which that ends for certain, as when a key expires.
        fixed_s: Seconds for which it holds, however often it is asked for; ``None``: it is looked
            up anew all the time, like a key that may be revoked.
    """

    caller: Caller | None
    ends_s: float = math.inf
    fixed_s: float | None = None


@dataclass(slots=True)
class Known:
    """A credential that was right.

    Args:
        caller: Whose it is.
        renew_at_s: Looked up anew from then on.
        until_s: Not to be believed from then on.
        confirmed_s: When it was looked up last.
        ends_s: It ends then, whatever is known.
        due: Whether it was time to look it up anew when it was asked for.
    """

    caller: Caller
    renew_at_s: float
    until_s: float
    confirmed_s: float
    ends_s: float
    due: bool = False


class Recall:
    """Credentials that were right, and wrong, a moment ago.

    Belongs to the event loop.

    Args:
        clock: Monotonic time.
    """

    def __init__(self, clock: Clock) -> None:
        self._tell_after_s: dict[type[BaseException], float] = {}
        self._now_s = clock.monotonic
        self._copy = hashlib.blake2b(digest_size=16, key=secrets.token_bytes(32)).copy
        self._right: dict[Digest, Known] = {}
        self._wrong: dict[Digest, float] = {}
        self._lookups: dict[Digest, asyncio.Task[Caller | None]] = {}

    def digest(self, credential: bytes) -> Digest:
        """What stands for *credential* here; means nothing to any other process."""
        state = self._copy()
        state.update(credential)
        return state.digest()

    def find(self, credential: bytes) -> Known | None:
        """What is known of a credential that is right, unless it is too old."""
        # On the way of every request, hence :meth:`digest` written out.
        state = self._copy()
        state.update(credential)
        known = self._right.get(state.digest())
        if known is None:
            return None
        now_s = self._now_s()
        if now_s >= known.until_s:
            return None
        known.due = now_s >= known.renew_at_s
        return known

    def is_wrong(self, digest: Digest) -> bool:
        """Whether the credential was wrong a moment ago."""
        return self._wrong.get(digest, -math.inf) > self._now_s()

    def renew(self, digest: Digest, look_up: Callable[[], Awaitable[Verdict]]) -> None:
        """Look the credential up anew if it is time, without waiting."""
        known = self._right.get(digest)
        now_s = self._now_s()
        if known is None or now_s < known.renew_at_s or len(self._lookups) >= _MAX_LOOKUPS:
            return
        known.renew_at_s = now_s + _RETRY_S
        if digest not in self._lookups:
            task = self._begin(digest, look_up)
            task.add_done_callback(self._tell_failed)

    async def learn(
        self, digest: Digest, look_up: Callable[[], Awaitable[Verdict]], *, fault: str | None = None
    ) -> Caller | None:
        """Look the credential up, or wait for the look-up that is under way.

        Args:
            digest: The credential's.
            look_up: Finds out whose it is.
            fault: Why that cannot work just now, if it is known; what was right goes on then.

        Returns:
            Whose it is; ``None`` when it is wrong.

        Raises:
            Unavailable: It cannot be looked up, and was not right within the last minutes.
        """
        known = self._right.get(digest)
        if known is not None and fault is not None and self._outlives(known):
            self.renew(digest, look_up)
            return known.caller
        task = self._lookups.get(digest)
        if task is None:
            if len(self._lookups) >= _MAX_LOOKUPS:
                raise Unavailable(
                    f"{_MAX_LOOKUPS} credentials are being looked up; retry later",
                    retry_after_s=1.0,
                )
            task = self._begin(digest, look_up)
        try:
            # Shielded: a request that is cut must not take the answer from the others.
            return await asyncio.shield(task)
        except Unavailable:
            known = self._right.get(digest)
            if known is not None and self._outlives(known):
                return known.caller
            raise

    async def close(self) -> None:
        """End the look-ups that are under way."""
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, digest: Digest, look_up: Callable[[], Awaitable[Verdict]]
    ) -> asyncio.Task[Caller | None]:
        task = asyncio.create_task(self._look_up(digest, look_up), name="augury-credential")
        self._lookups[digest] = task
        task.add_done_callback(lambda _: self._lookups.pop(digest, None))
        return task

    async def _look_up(
        self, digest: Digest, look_up: Callable[[], Awaitable[Verdict]]
    ) -> Caller | None:
        # From before the question: an answer may be as old as that.
        asked_s = self._now_s()
        try:
            verdict = await look_up()
        except Unavailable:
            known = self._right.get(digest)
            if known is not None:
                now_s = self._now_s()
                last_s = min(known.confirmed_s + _OUTAGE_S, known.ends_s)
                known.until_s = min(max(known.until_s, now_s + REVOKED_WITHIN_S), last_s)
            raise
        if verdict.caller is None:
            self._right.pop(digest, None)
            _put(self._wrong, digest, asked_s + _WRONG_S, _MAX_WRONG)
            return None
        if verdict.fixed_s is None:
            renew_at_s, until_s = asked_s + _AHEAD_S, asked_s + REVOKED_WITHIN_S
        else:
            renew_at_s = asked_s + verdict.fixed_s * _AHEAD_S / REVOKED_WITHIN_S
            until_s = asked_s + verdict.fixed_s
        known = Known(
            caller=verdict.caller,
            renew_at_s=renew_at_s,
            until_s=min(until_s, verdict.ends_s),
            confirmed_s=asked_s,
            ends_s=verdict.ends_s,
        )
        _put(self._right, digest, known, _MAX_RIGHT)
        return verdict.caller

    def _tell_failed(self, task: asyncio.Task[Caller | None]) -> None:
        """Log why nothing came of a renewal, for which nobody waits."""
        if task.cancelled():
            return
        error = task.exception()
        # That the store is away is told by the store.
        if error is None or isinstance(error, Unavailable):
            return
        now_s, kind = self._now_s(), type(error)
        if now_s < self._tell_after_s.get(kind, -math.inf):
            return
        self._tell_after_s[kind] = now_s + _TELL_EVERY_S
        if isinstance(error, AuguryError):
            _log.warning("a credential could not be looked up", reason=error.message)
        else:
            _log.error("a credential could not be looked up", exc_info=error)

    def _outlives(self, known: Known) -> bool:
        """Whether what was right may go on although it cannot be looked up."""
        now_s = self._now_s()
        return now_s < min(known.confirmed_s + _OUTAGE_S, known.ends_s)


def _put(table: dict[Digest, _V], digest: Digest, value: _V, most: int) -> None:
    table.pop(digest, None)
    table[digest] = value
    if len(table) > most:
        del table[next(iter(table))]
