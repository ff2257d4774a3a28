"""Runs of the command line in this process, and a repository of small models."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from augury.app.cli import main
from tests.models import write_classifier, write_fails_on_negative, write_identity


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its output as JSON lines."""
        return [msgspec.json.decode(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> str:
        """Its stderr without the frame around usage errors."""
        return " ".join(self.err.replace("│", " ").split())


RunCli = Callable[..., Run]


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[RunCli]:
    """``augury`` with some arguments, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    root, manager = logging.getLogger(), logging.getLogger("augury.lifecycle.manager")
    before = (list(root.handlers), root.level, manager.level, sys.getswitchinterval())

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["augury", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    yield run
    # The process's own logging and scheduling, as they were.
    for handler in set(root.handlers) - set(before[0]):
        root.removeHandler(handler)
    root.setLevel(before[1])
    manager.setLevel(before[2])
    sys.setswitchinterval(before[3])


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``identity``, ``picky`` (fails on negative numbers) and ``mood`` (a text classifier) 1 and 2."""
    path = tmp_path_factory.mktemp("repository")
    write_identity(path)
    write_fails_on_negative(path)
    write_classifier(path, version=1)
    write_classifier(path, version=2)
    return path
