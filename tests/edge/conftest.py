"""The application that the tests of this folder ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.application import InProcess, in_process
from tests.models import write_classifier, write_identity

ADMIN_TOKEN = "the-token-of-these-tests"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[InProcess]:
    """mood and identity, asked with all scopes; bodies of 4 KiB at most."""
    write_classifier(tmp_path)
    write_identity(tmp_path)
    async with in_process(
        tmp_path,
        headers={"authorization": f"Bearer {ADMIN_TOKEN}"},
        admin_token=ADMIN_TOKEN,
        allowed_hosts=("evil.example",),  # so that what is behind the gate is seen
        max_body_bytes=4096,
    ) as application:
        yield application
