"""Tests of ``augury.core.registry``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from augury.core.errors import NotFound
from augury.core.registry import Registry

ENTRIES = {"json": "json:dumps", "absent": "no_such_package_here:thing"}


@pytest.fixture
def registry() -> Registry[object]:
    return Registry("thing", "augury.test_things", ENTRIES)


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution with entry points ``zebra`` and ``json``."""
    (tmp_path / "augury_things.py").write_text("zebra = 'a zebra'\n")
    info = tmp_path / "augury_things-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: augury-things\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[augury.test_things]\nzebra = augury_things:zebra\njson = augury_things:zebra\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("augury_things", None)


def test_entries_are_imported_on_use(registry: Registry[object]) -> None:
    """The attribute is found, and found again without an import."""
    import json

    assert registry.get("json") is json.dumps
    assert registry.get("json") is json.dumps
    assert registry.names() == ("json", "absent")


def test_an_unknown_name_is_told_with_those_there_are(registry: Registry[object]) -> None:
    """The message helps whoever misspelt it."""
    with pytest.raises(NotFound, match="no thing 'jsonn'; here are: json, absent"):
        registry.get("jsonn")


def test_a_missing_package_is_an_import_error(registry: Registry[object]) -> None:
    """An extra that is not installed is another thing than an unknown name."""
    with pytest.raises(ImportError, match="no_such_package_here"):
        registry.get("absent")


@pytest.mark.usefixtures("other_package")
def test_other_packages_add_names_but_take_none_over(registry: Registry[object]) -> None:
    """Entry points come after our own names, and never instead of them."""
    import json

    assert registry.names() == ("json", "absent", "zebra")
    assert registry.get("zebra") == "a zebra"
    assert registry.get("json") is json.dumps
