"""The server's secret key."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from augury.core.errors import InvalidSetting
from augury.edge.auth.secret_key import SecretKey


def test_the_setting_wins(tmp_path: Path) -> None:
    """No file is made."""
    key = SecretKey("k" * 32, tmp_path / "secret.key")
    assert key.read() == key.read_or_make() == b"k" * 32
    assert list(tmp_path.iterdir()) == []


def test_it_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    """Mode 0600, and the same from then on."""
    file = tmp_path / "data" / "secret.key"
    assert SecretKey(None, file).read() is None
    made = SecretKey(None, file).read_or_make()
    assert len(made) == 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SecretKey(None, file).read() == SecretKey(None, file).read_or_make() == made
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]


def test_a_server_that_runs_finds_it_when_it_is_made(tmp_path: Path) -> None:
    """The command line makes it later."""
    running = SecretKey(None, tmp_path / "secret.key")
    assert running.read() is None
    made = SecretKey(None, tmp_path / "secret.key").read_or_make()
    assert running.read() == made


def test_of_many_that_make_it_at_once_one_wins(tmp_path: Path) -> None:
    """All have the same."""
    with ThreadPoolExecutor(16) as threads:
        file = tmp_path / "secret.key"
        made = list(threads.map(lambda _: SecretKey(None, file).read_or_make(), range(64)))
    assert len(set(made)) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says what to do."""
    file = tmp_path / "secret.key"
    SecretKey(None, file).read_or_make()
    file.chmod(mode)
    with pytest.raises(InvalidSetting, match="chmod 600"):
        SecretKey(None, file).read()


def test_files_that_hold_no_key(tmp_path: Path) -> None:
    """Empty, short, a folder: told, without what is in it."""
    file = tmp_path / "secret.key"
    file.write_text("short-secret")
    file.chmod(0o600)
    with pytest.raises(InvalidSetting, match="holds 12 bytes") as refused:
        SecretKey(None, file).read()
    assert "short-secret" not in refused.value.message
    with pytest.raises(InvalidSetting, match="directory"):
        SecretKey(None, tmp_path).read()


def test_where_there_shall_be_none_none_is_made() -> None:
    """Outside loopback it must be set."""
    assert SecretKey(None, None).read() is None
    with pytest.raises(InvalidSetting, match="AUGURY_SECRET_KEY"):
        SecretKey(None, None).read_or_make()
