"""Variables that nobody reads are told; APP_ENV says how logs are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from augury.app.environment import given_names, names_of, unread
from augury.app.settings import Settings, read_settings
from augury.core.errors import InvalidSetting
from tests.e2e.server import serving

SECRET = "value-that-is-never-shown"


@pytest.fixture
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(("AUGURY_", "TWITTER_", "APP_ENV")):
            monkeypatch.delenv(name)


def test_a_typo_is_told_with_the_nearest_name() -> None:
    """The advice names the setting that was probably meant."""
    ((name, advice),) = unread(["AUGURY_HTP_PORT"])
    assert name == "AUGURY_HTP_PORT"
    assert "AUGURY_HTTP_PORT" in advice


def test_a_name_like_none_leads_to_the_page() -> None:
    """Nothing near is not guessed at."""
    ((_, advice),) = unread(["AUGURY_QQQQQQQQQQQQ"])
    assert "docs/settings.md" in advice


def test_what_is_read_is_not_told() -> None:
    """Every name of every setting, in any case, and what has nothing to do with us."""
    names = [name for setting in Settings.model_fields for name in names_of(setting)]
    assert unread([*names, *map(str.lower, names), "PATH", "AUGURY_URL", "TWITTER_HANDLE"]) == []


def test_names_of_old_are_told_with_what_is_read_instead() -> None:
    """Consumer and access keys are not used."""
    found = unread(["TWITTER_CONSUMER_KEY", "TWITTER_ACCESS_TOKEN_SECRET", "TWITTER_BEARER_TOKEN"])
    assert [name for name, _ in found] == ["TWITTER_CONSUMER_KEY", "TWITTER_ACCESS_TOKEN_SECRET"]
    assert all("TWITTER_BEARER_TOKEN" in advice for _, advice in found)


def test_a_flood_of_names_is_cut() -> None:
    """A thousand unknown names are not a thousand lines of log."""
    assert len(unread(f"AUGURY_{number}" for number in range(1000))) == 20


@pytest.mark.usefixtures("_own_environment")
def test_names_come_from_the_environment_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are looked at; an empty value counts as unset."""
    monkeypatch.setenv("AUGURY_ONE", "1")
    monkeypatch.setenv("AUGURY_EMPTY", "")
    Path(".env").write_text("AUGURY_TWO=2\nexport AUGURY_THREE='$x'\n", encoding="utf-8")
    found = set(given_names())
    assert {"AUGURY_ONE", "AUGURY_TWO", "AUGURY_THREE"} <= found
    assert "AUGURY_EMPTY" not in found


@pytest.mark.e2e
def test_the_server_warns_and_shows_no_value(tmp_path: Path) -> None:
    """`augury serve` tells each unread name once, and starts all the same."""
    (tmp_path / ".env").write_text(
        f"AUGURY_MAX_TEXT={SECRET}\nTWITTER_CONSUMER_KEY={SECRET}\n", encoding="utf-8"
    )
    with serving(tmp_path, store="memory://", x_baerer_token=SECRET) as server:
        server.stop()
    told = {e["name"]: e["advice"] for e in server.events() if e["event"] == "variable is not read"}
    assert set(told) >= {"AUGURY_MAX_TEXT", "TWITTER_CONSUMER_KEY", "AUGURY_X_BAERER_TOKEN"}
    assert "AUGURY_MAX_TEXTS" in told["AUGURY_MAX_TEXT"]
    assert "AUGURY_X_BEARER_TOKEN" in told["AUGURY_X_BAERER_TOKEN"]
    assert SECRET not in server.log


@pytest.mark.usefixtures("_own_environment")
class TestAppEnv:
    def test_production_logs_json(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """APP_ENV=production is enough."""
        monkeypatch.setenv("APP_ENV", "production")
        assert read_settings().log_format == "json"

    @pytest.mark.parametrize("name", ["demo", "development", "staging"])
    def test_any_other_changes_nothing(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Other words are taken, and logs stay for people."""
        monkeypatch.setenv("APP_ENV", name)
        settings = read_settings()
        assert (settings.app_env, settings.log_format) == (name, "console")

    def test_whatever_sets_the_format_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment and the file are stronger than what follows from APP_ENV."""
        monkeypatch.setenv("AUGURY_APP_ENV", "production")
        Path("augury.toml").write_text('log_format = "console"\n', encoding="utf-8")
        assert read_settings().log_format == "console"
        Path("augury.toml").unlink()
        monkeypatch.setenv("AUGURY_LOG_FORMAT", "console")
        assert read_settings().log_format == "console"

    def test_the_own_name_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """AUGURY_APP_ENV over APP_ENV, which other programs read, too."""
        monkeypatch.setenv("APP_ENV", "production")
        monkeypatch.setenv("AUGURY_APP_ENV", "test")
        assert read_settings().log_format == "console"

    def test_it_is_a_word(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """More than 64 characters are refused by name and limit."""
        monkeypatch.setenv("AUGURY_APP_ENV", "x" * 65)
        with pytest.raises(InvalidSetting, match="64"):
            read_settings()
