"""Every store of the registry, opened over something of the test's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis

from augury.core.clock import ManualClock
from augury.stores.base import KeyValueStore, TallyStore
from augury.stores.registry import open_store
from tests.redis_server import RedisServer


class Store(KeyValueStore, TallyStore, Protocol):
    """What every backend of ours is."""


@dataclass(frozen=True)
class Backend:
    """How the suite gets a store, and how it lets time pass for it."""

    store: Store
    pass_time: Callable[[float], Awaitable[None]]


# Redis has a time of its own.  Rather than to sleep, every expiry is moved towards now.
_PASS_TIME = """
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[1]) end
end
"""


class Place:
    """Where stores of one scheme are, for one test.

    Args:
        scheme: One of :data:`SCHEMES`.
        folder: The test's own.
        request: Gives the Redis, for those that need one.
    """

    def __init__(self, scheme: str, folder: Path, request: pytest.FixtureRequest) -> None:
        self.scheme = scheme
        self._folder = folder
        self._server: RedisServer | None = None
        if scheme == "redis":
            self._server = request.getfixturevalue("shared_redis")
            self._server.ask("FLUSHALL")

    def url(self, name: str = "store") -> str:
        """The URL of one store; those of other names know nothing of it."""
        match self.scheme:
            case "memory":
                return "memory://"
            case "sqlite":
                return f"sqlite:///{self._folder / name}.db"
            case _:
                assert self._server is not None
                # Patient: the machine may be busy with other tests.
                return f"{self._server.url}?prefix={name}:&timeout_s=10"

    async def open(self, name: str = "store") -> Backend:
        """Open a store."""
        clock = ManualClock(now_s=1_700_000_000.0)
        server = self._server
        store: Any = await open_store(self.url(name), clock=clock, on_corrupt=_never)

        async def pass_time(seconds: float) -> None:
            clock.advance(seconds)
            if server is not None:
                with redis.Redis(port=server.port) as client:
                    client.eval(_PASS_TIME, 0, str(int(seconds * 1000)))

        return Backend(store, pass_time)


# A new backend adds its line here.
SCHEMES = ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)]


def _never(path: Path, reason: str) -> None:
    raise AssertionError(f"{path} was found damaged: {reason}")
