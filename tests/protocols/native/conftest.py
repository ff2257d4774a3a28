"""The application that the tests of this folder ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import models
from tests.application import InProcess, in_process

LABELS = (
    '\n[versions]\npolicy = "all"\n[versions.labels]\nstable = 1\n"très new" = 2\n"50%25" = 2\n'
)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[InProcess]:
    """mood (two versions, three labels), picky, spin, and broken; bodies of 4 KiB at most."""
    models.write_classifier(tmp_path, manifest=models.CLASSIFIER_MANIFEST + LABELS)
    models.write_classifier(tmp_path, version=2, manifest=None)
    models.write_fails_on_negative(tmp_path)
    models.write_spin(tmp_path)
    broken = tmp_path / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"this is no model")
    async with in_process(tmp_path, max_body_bytes=4096) as application:
        yield application
