"""``augury serve`` up to the point where it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from augury.app import listen as module
from augury.app.settings import Settings
from tests.app.cli.conftest import RunCli

Given = tuple[Settings, Path | None, tuple[str, ...]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """What it would have served with."""
    seen: list[Given] = []

    async def listen(
        settings: Settings, repository: Any, apps: Any, started_s: float, passed_over: Any
    ) -> None:
        assert started_s > 0
        assert not list(passed_over)
        seen.append((settings, repository, apps))

    monkeypatch.setattr(module, "listen", listen)
    return seen


def test_without_anything_the_bundled_application(cli: RunCli, given: list[Given]) -> None:
    """No repository, no flags: the defaults."""
    assert cli("serve").code == 0
    ((settings, repository, apps),) = given
    assert (settings.host, settings.http_port, settings.model_control) == (
        "127.0.0.1",
        8000,
        "poll",
    )
    assert (repository, apps) == (None, ())


def test_flags_win(cli: RunCli, given: list[Given], monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the environment and over the file that --config names."""
    Path("mine.toml").write_text('host = "::1"\nhttp_port = 1\nstore = "memory://"\n')
    monkeypatch.setenv("AUGURY_HTTP_PORT", "2")
    flags = (
        "--config",
        "mine.toml",
        "--http-port",
        3,
        "--model-control",
        "none",
        "--app",
        "tweets",
    )
    assert cli("serve", "models", *flags).code == 0
    ((settings, repository, apps),) = given
    assert (settings.host, settings.http_port, settings.store) == ("::1", 3, "memory://")
    assert settings.model_control == "none"
    assert (repository, apps) == (Path("models"), ("tweets",))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--http-port", "65536"),
        ("--http-port", "-1"),
        ("--http-port", "x"),
        ("--model-control", "explicit"),
        ("--app", "birds"),
    ],
)
def test_a_flag_that_cannot_be_is_a_wrong_use(
    cli: RunCli, given: list[Given], option: str, value: str
) -> None:
    """Exit code 2; the option is named."""
    run = cli("serve", option, value)
    assert (run.code, given) == (2, [])
    assert option in run.errors


def test_a_setting_that_cannot_be_is_a_failure(
    cli: RunCli, given: list[Given], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 and one line that names it."""
    monkeypatch.setenv("AUGURY_HTTP_PORT", "x")
    run = cli("serve")
    assert (run.code, given) == (1, [])
    assert run.err.startswith("augury: setting http_port: ")
    assert len(run.err.splitlines()) == 1


def test_a_file_that_is_not_there_is_a_failure(cli: RunCli, given: list[Given]) -> None:
    """The file is named."""
    run = cli("serve", "--config", "none.toml")
    assert (run.code, given) == (1, [])
    assert "none.toml" in run.err


def test_ctrl_c_before_it_serves_is_no_traceback(
    cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130, as shells have it."""

    async def listen(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "listen", listen)
    run = cli("serve")
    assert (run.code, run.err) == (130, "")
