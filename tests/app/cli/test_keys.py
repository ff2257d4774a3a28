"""``augury keys``."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from augury.edge.auth.keys import id_of
from augury.edge.auth.passwords import Superuser
from augury.edge.auth.presented import Login


def run(
    *words: str, folder: Path, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """`augury keys` with *words*, in *folder*."""
    command = [sys.executable, "-c", "from augury.app.cli import main; main()", "keys", *words]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUGURY_")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_key_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    """The key alone is on stdout; nothing tells it again."""
    options = ("--scope", "predict,read", "--name", "ci", "--rows-per-minute", "6000")
    made = run("create", *options, folder=tmp_path)
    key = made.stdout.strip()
    key_id = id_of(key)
    assert made.returncode == 0, made.stderr
    assert key_id is not None
    assert f"key {key_id} (predict, read, 6,000 rows a minute) until 20" in made.stderr
    assert key not in made.stderr

    listed = run("list", "--json", folder=tmp_path)
    [told] = json.loads(listed.stdout)["keys"]
    assert (told["id"], told["name"], told["scopes"]) == (key_id, "ci", ["predict", "read"])
    assert (told["status"], told["rows_per_minute"], told["last_used"]) == ("active", 6000, None)
    table = run("list", folder=tmp_path)
    assert key_id in table.stdout
    for text in (listed.stdout, table.stdout):
        assert key not in text
        assert key.rsplit("_", 1)[1] not in text

    gone = run("revoke", key_id, folder=tmp_path)
    assert (gone.returncode, gone.stdout) == (0, f"key {key_id} is revoked\n")
    assert json.loads(run("list", "--json", folder=tmp_path).stdout) == {"keys": []}
    again = run("revoke", key_id, folder=tmp_path)
    assert again.returncode == 1
    assert f"no key '{key_id}'" in again.stderr


def test_the_secret_key_is_made_for_this_user_alone(tmp_path: Path) -> None:
    """Once, beside the store; what lies on the disk holds no key."""
    key = run("create", "--scope", "admin", "--expires", "never", "--json", folder=tmp_path)
    told = json.loads(key.stdout)
    assert told["expires"] is None
    file = tmp_path / "augury-data" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    run("create", "--scope", "read", folder=tmp_path)
    assert file.read_bytes() == before
    secret = told["key"].rsplit("_", 1)[1].encode()
    for path in file.parent.iterdir():
        assert secret not in path.read_bytes()


def test_where_others_reach_the_server_the_secret_key_must_be_set(tmp_path: Path) -> None:
    """A file in the folder of whoever makes the key would be of no use to the servers."""
    options = ("create", "--scope", "read")
    refused = run(*options, folder=tmp_path, AUGURY_HOST="0.0.0.0")
    assert refused.returncode == 1
    assert "AUGURY_SECRET_KEY" in refused.stderr
    given = {"AUGURY_HOST": "0.0.0.0", "AUGURY_SECRET_KEY": "k3y-" * 10}
    made = run(*options, folder=tmp_path, **given)
    assert made.returncode == 0
    assert not (tmp_path / "augury-data" / "secret.key").exists()


def test_making_and_revoking_is_written_down(tmp_path: Path) -> None:
    """In the audit file, by whom; a key that cannot be written down is not made."""
    audit = {"AUGURY_AUDIT_FILE": "audit.jsonl"}
    key = run("create", "--scope", "read", folder=tmp_path, **audit).stdout.strip()
    key_id = id_of(key)
    assert key_id is not None
    run("revoke", key_id, folder=tmp_path, **audit)
    text = (tmp_path / "audit.jsonl").read_text()
    made, revoked, done = (json.loads(line) for line in text.splitlines())
    assert (made["event"], made["targets"], made["scopes"]) == (
        "key created",
        {"id": key_id},
        "read",
    )
    assert made["caller"].startswith("cli:")
    assert (revoked["event"], revoked["action"]) == ("command begun", "keys revoke")
    assert revoked["targets"]["id"] == key_id
    assert (done["event"], done["outcome"]) == ("command ended", "done")
    assert done["call"] == revoked["call"]
    assert key not in text


@pytest.mark.parametrize("audit", ["augury-data", ".", "store.lines", "blocked/audit.jsonl"])
def test_what_cannot_be_written_down_is_not_done(tmp_path: Path, audit: str) -> None:
    """No key is made, none is revoked; one line tells why."""
    (tmp_path / "store.lines.lock").mkdir()
    (tmp_path / "blocked").write_text("a file is in the way")
    kept = id_of(run("create", "--scope", "read", folder=tmp_path).stdout.strip())
    assert kept is not None
    for words in (["create", "--scope", "read"], ["revoke", kept]):
        refused = run(*words, folder=tmp_path, AUGURY_AUDIT_FILE=audit)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("augury: ")
        assert refused.stderr.count("\n") == 1
    [told] = json.loads(run("list", "--json", folder=tmp_path).stdout)["keys"]
    assert (told["id"], told["status"]) == (kept, "active")


def test_a_blank_audit_file_is_none(tmp_path: Path) -> None:
    """Compose files set what they do not know to nothing; a terminal shows no audit lines."""
    made = run("create", "--scope", "read", folder=tmp_path, AUGURY_AUDIT_FILE="")
    assert made.returncode == 0
    assert made.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["augury-data"]


def test_a_key_that_is_not_there_is_no_event(tmp_path: Path) -> None:
    """It is looked for before anything is written down."""
    gone = run("revoke", "0123456789ab", folder=tmp_path, AUGURY_AUDIT_FILE="audit.jsonl")
    assert gone.returncode == 1
    assert not (tmp_path / "audit.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create"], "--scope"),
        (["create", "--scope", "write"], "'write' is no scope"),
        (["create", "--scope", "read", "--expires", "soon"], "'soon' is no duration"),
        (["create", "--scope", "read", "--rows-per-minute", "0"], "rows-per-minute"),
        (["revoke"], "Missing argument"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use(tmp_path: Path, words: list[str], told: str) -> None:
    """Exit code 2, and what was wrong."""
    refused = run(*words, folder=tmp_path)
    assert refused.returncode == 2
    assert told in " ".join(refused.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["create", "--scope", "read"], ["list"], ["revoke", "x"]])
def test_a_store_that_forgets_is_refused(tmp_path: Path, words: list[str]) -> None:
    """A key in it would never be found."""
    refused = run(*words, "--store", "memory://", folder=tmp_path)
    assert refused.returncode == 1
    assert "memory:// is forgotten" in refused.stderr


async def test_a_password_is_hashed_from_a_pipe(tmp_path: Path) -> None:
    """The hash works in the password's place."""
    done = run("hash-password", folder=tmp_path, stdin="correct horse battery\n")
    assert done.returncode == 0, done.stderr
    superuser = Superuser("ada", done.stdout.strip())
    assert await superuser.check(Login("ada", "correct horse battery"))
    superuser.close()


@pytest.mark.parametrize(
    "password", ["", "short", "changethis12", "$argon2id$v=19$m=1,t=1,p=1$a$b"]
)
def test_passwords_that_are_none(tmp_path: Path, password: str) -> None:
    """Weak ones are refused here already, and told nowhere."""
    done = run("hash-password", folder=tmp_path, stdin=password + "\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert not password or password not in done.stderr


def test_the_table_is_empty_at_first(tmp_path: Path) -> None:
    """It says how to make a key."""
    done = run("list", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "augury keys create" in done.stderr


@pytest.mark.parametrize("verb", ["create", "list", "revoke", "hash-password"])
def test_help_has_an_example(tmp_path: Path, verb: str) -> None:
    """And each verb can tell its result as JSON."""
    done = run(verb, "--help", folder=tmp_path)
    assert f"Example: augury keys {verb}" in done.stdout
    assert "--json" in done.stdout
