"""What the verbs show while they work."""

from __future__ import annotations

import io
import sys
import time

import pytest

from augury.app.cli import terminal
from augury.app.cli.terminal import Bar


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def show_bar(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, after_s: float) -> str:
    """What some work with a bar leaves on stderr."""
    screen = Screen(is_terminal=is_terminal)
    monkeypatch.setattr(terminal, "BAR_AFTER_S", after_s)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Bar("Loading") as bar:
        bar.begin("Asking mood", 10)
        until_s = time.monotonic() + 5
        while time.monotonic() < until_s and after_s == 0.0 and is_terminal:
            bar.advance(1, "1 row")
            if "Asking mood" in screen.getvalue():
                break
            time.sleep(0.01)
    return screen.getvalue()


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lasts has a bar that says what is being done and how far it is."""
    shown = show_bar(monkeypatch, is_terminal=True, after_s=0.0)

    assert "Asking mood" in shown


def test_no_bar_for_what_is_over_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends within the time has none."""
    assert show_bar(monkeypatch, is_terminal=True, after_s=60.0) == ""


def test_no_bar_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a bar goes to a stderr that is no terminal."""
    assert show_bar(monkeypatch, is_terminal=False, after_s=0.0) == ""
