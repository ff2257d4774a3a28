"""Carry commands to the server within a bounded time, and know whether it can be reached.

The first failure to reach it opens the breaker: until a PING in the background is answered, every
operation fails at once.  A server that nobody asks is sent a PING now and then.  Nothing is tried twice here, as nobody can tell whether a command whose
answer is missing was carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
    ResponseError,
)

from augury.core.clock import Clock
from augury.core.errors import AuguryError, Conflict, OperatorError, TooLarge, Unavailable
from augury.observe.logs import get_logger
from augury.stores.redis.breaker import Breaker
from augury.stores.redis.connections import Command, Connections, Server
from augury.stores.redis.deadline import Deadline

# What a server answers that is there, but cannot do this just now.  By its own word, the first of
# an error, and what it means for an operator.
_REFUSALS: Final = {
    "OOM": "its memory is full (maxmemory)",
    "READONLY": "it is a read-only replica",
    "MISCONF": "it cannot write its data to its disk and takes no writes",
    "NOREPLICAS": "it has too few replicas to take writes",
    "MASTERDOWN": "its primary is down",
    "CLUSTERDOWN": "its cluster is down",
    "BUSY": "it is busy with a script",
    "TRYAGAIN": "it is moving the keys",
    "NOPERM": "its user may not do this",
    "MOVED": "it is part of a Redis Cluster, which is not supported",
    "CROSSSLOT": "it is part of a Redis Cluster, which is not supported",
}
# These concern the server and not the command: nobody else need try.
_NOT_NOW: Final = {
    "LOADING": "it is loading its data",
    "NOAUTH": "it wants a password",
    "WRONGPASS": "it refuses the user name or password",
}

# A server that nobody asks anything is asked by us, so that a look at the fault tells the truth.
WATCH_S: Final = 1.0

_log = get_logger(__name__)


class Link:
    """The way to one Redis; made by :meth:`open`.

    Args:
        server: Where it is.
        name: Its URL, as it may be shown.
        timeout_s: For one operation in all: waiting for a connection, connecting, asking, reading.
        pool: Connections at most.
        clock: For the breaker.
    """

    def __init__(
        self, server: Server, *, name: str, timeout_s: float, pool: int, clock: Clock
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._connections = Connections(server, size=pool, connect_timeout_s=timeout_s)
        self._breaker = Breaker(name, clock)
        self._refusal: str | None = None
        self._down = asyncio.Event()
        self._answered_s = 0.0
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Try the server; one that cannot be reached is tried again in the background.

        Raises:
            OperatorError: It can be reached, but refuses the password or the database.
        """
        try:
            await self._ping()
        except (AuthenticationError, AuthorizationError, ResponseError) as error:
            if _word(error) != "LOADING":
                await self._connections.close()
                raise OperatorError(
                    f"store {self.name} cannot be used: {_told(error)}; give user name and password "
                    "in the URL, redis://user:password@host:port/db, or in AUGURY_REDIS_PASSWORD"
                ) from None
            self._failed(error)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
        self._probe = asyncio.create_task(self._probe_for_ever(), name="redis-probe")

    @property
    def fault(self) -> str | None:
        """Why operations fail just now."""
        if self._closed:
            return f"store {self.name} is closed"
        return self._breaker.fault or self._refusal

    def check(self) -> None:
        """Let pass while the server can be reached.

        Raises:
            Unavailable: It cannot, or the store is closed.
        """
        if self._closed:
            raise Unavailable(f"store {self.name} is closed", store=self.name)
        self._breaker.check()

    async def ask(self, *commands: Command, deadline_s: float | None = None) -> list[Any]:
        """The answers to *commands*, sent in one go.

        Args:
            *commands: At most as many as a server answers in milliseconds.
            deadline_s: The loop's time at which to give up; ``timeout_s`` from now unless given.

        Raises:
            Unavailable: No answer within the time, or the server refuses for now.
            AuguryError: What else the server answered to one of them.
        """
        answers = await self.ask_each(*commands, deadline_s=deadline_s)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise self.translated(answer)
        return answers

    async def ask_in_turn(self, commands: Iterable[Command]) -> list[Any]:
        """The answer to each of *commands*, one round trip after the other, within one timeout for all.

        Raises:
            Unavailable: Not all answers came within the time, or as :meth:`ask`.
            AuguryError: As :meth:`ask`.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self.timeout_s
        answers: list[Any] = []
        for command in commands:
            # A deadline that is over still lets answers through that are there at once.
            if answers and loop.time() >= deadline_s:
                raise Unavailable(
                    f"store {self.name}: {len(answers)} parts of a question took {self.timeout_s:g} s, "
                    "and there are more (its parameter timeout_s)",
                    store=self.name,
                )
            answers += await self.ask(command, deadline_s=deadline_s)
        return answers

    async def ask_each(self, *commands: Command, deadline_s: float | None = None) -> list[Any]:
        """As :meth:`ask`, but with an error that the server answered in the place of its answer."""
        self.check()
        loop = asyncio.get_running_loop()
        if deadline_s is None:
            deadline_s = loop.time() + self.timeout_s
        held_since_s: float | None = None
        try:
            async with Deadline(deadline_s), self._connections.hold():
                held_since_s = loop.time()
                self.check()  # it may have gone away while this waited
                answers = await self._connections.ask(commands)
        except TimeoutError as error:
            if held_since_s is None or loop.time() - held_since_s < self.timeout_s / 2:
                # The server may be well: most of the time went by in the queue, or for others' sake.
                raise Unavailable(
                    f"store {self.name}: all its {self._connections.size} connections were busy for "
                    f"{self.timeout_s:g} s (its parameters pool and timeout_s)",
                    store=self.name,
                ) from None
            raise self._failed(error) from None
        except (RedisError, OSError) as error:
            raise self._failed(error) from error
        self._answered_s = loop.time()
        self._note(answers)
        return answers

    def translated(self, error: ResponseError) -> AuguryError:
        """What the server answered, in our words."""
        word = _word(error)
        if word in _NOT_NOW:
            return self._failed(error)
        if word in _REFUSALS:
            return Unavailable(f"store {self.name}: {_told(error)}", store=self.name)
        if word == "WRONGTYPE":
            return Conflict(
                f"store {self.name} has another kind of value under a key of ours; give the store a "
                "prefix of its own (its parameter prefix)",
                store=self.name,
            )
        if "string exceeds maximum allowed size" in str(error):
            return TooLarge(f"store {self.name}: a value is too large for it", store=self.name)
        return Unavailable(f"store {self.name}: {_told(error)}", store=self.name)

    async def close(self) -> None:
        """Stop the probe and close what nobody uses; the rest closes when it comes back."""
        self._closed = True
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.cancel()
            with suppress(asyncio.CancelledError):
                await probe
        await self._connections.close()

    def _failed(self, error: BaseException) -> Unavailable:
        """Open the breaker; returns the error to raise."""
        reason = _told(error) if str(error) else f"no answer within {self.timeout_s:g} s"
        if self._breaker.failed(reason):
            _log.warning("store cannot be reached", store=self.name, reason=reason)
        self._down.set()
        return Unavailable(self._breaker.fault or reason, store=self.name)

    def _note(self, answers: Sequence[Any]) -> None:
        """Remember that the server refuses, until it carries out a write."""
        refused = [
            answer
            for answer in answers
            if isinstance(answer, ResponseError) and _word(answer) in _REFUSALS
        ]
        if refused:
            self._refusal = f"store {self.name}: {_told(refused[0])}"

    def write_done(self) -> None:
        """A write was carried out: writes are not refused any more."""
        self._refusal = None

    async def _ping(self) -> None:
        deadline_s = asyncio.get_running_loop().time() + self.timeout_s
        async with Deadline(deadline_s), self._connections.hold():
            (answer,) = await self._connections.ask([("PING",)])
        if isinstance(answer, ResponseError):
            raise answer

    async def _probe_for_ever(self) -> None:
        while True:
            if self._down.is_set():
                await self._connections.clear()
                await asyncio.sleep(self._breaker.pause_s())
            else:
                await self._silence()
                if self._down.is_set():
                    continue  # the pause first
            try:
                await self._ping()
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)
            else:
                self._down.clear()
                if self._breaker.answered():
                    _log.info("store can be reached again", store=self.name)

    async def _silence(self) -> None:
        """Return when the server is down, or has not been asked anything for a while."""
        loop = asyncio.get_running_loop()
        while not self._down.is_set():
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._down.wait()
            except TimeoutError:
                if loop.time() - self._answered_s >= WATCH_S:
                    return


# Codes that redis-py makes classes of, and leaves out of the message.
_CUT_OFF: Final = {
    "BusyLoadingError": "LOADING",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "NoPermissionError": "NOPERM",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "MovedError": "MOVED",
    "TryAgainError": "TRYAGAIN",
    "ClusterCrossSlotError": "CROSSSLOT",
}


def _word(error: BaseException) -> str:
    """The code of an error that the server answered, its first word: ``OOM``, ``READONLY``."""
    known = getattr(error, "status_code", None) or _CUT_OFF.get(type(error).__name__)
    return known or str(error).split(" ", 1)[0]


def _told(error: BaseException) -> str:
    """*error* as one may read it; never a value that was sent."""
    word = _word(error)
    if known := _NOT_NOW.get(word) or _REFUSALS.get(word):
        return known
    return " ".join(str(error).split())[:200]
