"""`.env.example`, docs/settings.md and the settings tree say the same."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from pathlib import Path

import pytest
from dotenv import dotenv_values

from augury.app.environment import UNUSED, names_of
from augury.app.settings import Settings, read_settings
from tests.e2e.server import serving

_ROOT = Path(__file__).parents[2]
_EXAMPLE = _ROOT / ".env.example"
_LINE = re.compile(r"^#([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


@pytest.fixture
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {name for setting in Settings.model_fields for name in names_of(setting)}
    for name in list(os.environ):
        if name.upper() in names:
            monkeypatch.delenv(name)


def commented() -> dict[str, str]:
    """The variables of `.env.example` with what stands behind their `=`."""
    return dict(_LINE.findall(_EXAMPLE.read_text(encoding="utf-8")))


def test_every_setting_is_in_the_example_once() -> None:
    """One commented line for each setting, under its own name, and no other."""
    found = [name for name, _ in _LINE.findall(_EXAMPLE.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(names_of(setting)[0] for setting in Settings.model_fields)


def test_every_other_name_is_in_the_example() -> None:
    """The names without AUGURY_ that are read, and those that no longer are, are told."""
    text = _EXAMPLE.read_text(encoding="utf-8")
    others = {name for setting in Settings.model_fields for name in names_of(setting)[1:]}
    assert {"APP_ENV", "TWITTER_BEARER_TOKEN", "FIRST_SUPERUSER"} <= others
    for name in others | set(UNUSED):
        assert re.search(rf"\b{name}\b", text), name


def test_every_setting_is_on_the_page_once() -> None:
    """docs/settings.md has a row for each setting, in a group that says what it is about."""
    page = (_ROOT / "docs/settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE)
    assert sorted(rows) == sorted(Settings.model_fields)
    assert "## Other" not in page, "give the new setting a group in docs/reference.py: GROUPS"


@pytest.mark.usefixtures("_own_environment")
def test_every_line_may_be_uncommented() -> None:
    """A line of the example, uncommented and otherwise left alone, sets the default."""
    untouched = read_settings()
    Path(".env").write_text(
        "".join(f"{name}={value}\n" for name, value in commented().items() if value),
        encoding="utf-8",
    )
    assert read_settings() == untouched


@pytest.mark.usefixtures("_own_environment")
def test_the_example_itself_sets_nothing() -> None:
    """Copied to .env, it is as if it were not there."""
    untouched = read_settings()
    shutil.copy(_EXAMPLE, ".env")
    assert dotenv_values(".env") == {}
    assert read_settings() == untouched


@pytest.mark.e2e
def test_a_server_starts_over_the_unchanged_example(tmp_path: Path) -> None:
    """Ready, and nothing in the log about variables."""
    shutil.copy(_EXAMPLE, tmp_path / ".env")
    with serving(tmp_path, store="memory://") as server:
        server.stop()
    assert "variable is not read" not in server.log


def test_the_groups_name_no_setting_twice() -> None:
    """The page's groups together are the settings, each once."""
    groups = runpy.run_path(str(_ROOT / "docs/reference.py"))["grouped"]()
    names = [name for _, names in groups for name in names]
    assert sorted(names) == sorted(Settings.model_fields)
