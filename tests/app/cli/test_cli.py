"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

import augury
from augury.app.cli import app
from tests.app.cli.conftest import RunCli

VERBS = [command.name for command in app.registered_commands]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(cli: RunCli, verb: str) -> None:
    """Every verb has a help page with an example of that verb."""
    run = cli(verb, "--help")

    assert run.code == 0
    assert f"Example: augury {verb}" in run.out


@pytest.mark.parametrize("verb", sorted({*VERBS} - {"serve"}))  # type: ignore[type-var]
def test_output_that_may_be_piped_has_json(cli: RunCli, verb: str) -> None:
    """Every verb that prints results can print them as JSON."""
    assert "--json" in cli(verb, "--help").out


def test_help_imports_nothing_heavy() -> None:
    """The command line itself loads none of the libraries that its verbs need."""
    code = (
        "import sys, augury.app.cli\n"
        "heavy = {'numpy', 'onnxruntime', 'fastapi', 'pydantic', 'rich', 'structlog', 'uvicorn'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout == "[]\n"


def test_version(cli: RunCli) -> None:
    """--version prints the version and nothing else."""
    assert cli("--version").out == f"{augury.__version__}\n"


@pytest.mark.parametrize("arguments", [["nope"], ["predict"], ["check", "--nope", "."]])
def test_wrong_use_is_exit_code_2(cli: RunCli, arguments: list[str]) -> None:
    """An unknown verb or option, and a missing argument, are exit code 2."""
    assert cli(*arguments).code == 2


def test_wrong_setting_is_one_line(cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is impossible is told in one line, without a traceback."""
    monkeypatch.setenv("AUGURY_MAX_REQUEST_ROWS", "0")
    run = cli("predict", "tweet-sentiment", "--input", "/dev/null")

    assert run.code == 1
    assert run.err.count("\n") == 1
    assert "max_request_rows" in run.err
