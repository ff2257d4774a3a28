"""A fixture for whole folders of tests: nothing that asyncio would only log goes unseen."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.fixture(autouse=True)
def no_asyncio_faults() -> Iterator[None]:
    """No future fails with nobody looking, no task is lost, no callback raises."""
    records = _Records()
    logger = logging.getLogger("asyncio")
    logger.addHandler(records)
    yield
    gc.collect(1)
    logger.removeHandler(records)
    assert records.messages == []
