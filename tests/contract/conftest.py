"""A store of every scheme in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.stores import SCHEMES, Backend, Place, Store


@pytest.fixture(params=SCHEMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.param, tmp_path, request)


@pytest.fixture
async def backend(place: Place) -> AsyncIterator[Backend]:
    opened = await place.open()
    yield opened
    await opened.store.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.store
