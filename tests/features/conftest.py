"""Every store that feature tables may lie in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from augury.core.clock import ManualClock
from augury.features.catalogue import FeatureStore, as_feature_store
from augury.stores.registry import open_store
from tests.asyncio_faults import no_asyncio_faults
from tests.features.tables import NOW_S
from tests.redis_server import RedisServer

__all__ = ["no_asyncio_faults"]


def _never(path: Path, reason: str) -> None:
    raise AssertionError(f"{path} was found damaged: {reason}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_S)


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        return server.url
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[FeatureStore]:
    opened = await open_store(url, clock=clock, on_corrupt=_never)
    yield as_feature_store(opened)
    await opened.close()
