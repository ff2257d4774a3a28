"""The application that the tests of this folder ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.application import InProcess, in_process
from tests.models import write_classifier, write_identity


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[InProcess]:
    """mood and identity; bodies of 4 KiB at most."""
    write_classifier(tmp_path)
    write_identity(tmp_path)
    async with in_process(tmp_path, max_body_bytes=4096) as application:
        yield application
