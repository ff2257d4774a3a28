"""What the verbs show while they work."""

from __future__ import annotations

import io
import sys
import time

import pytest

from augury.app.cli import terminal
from augury.app.cli.terminal import Bar, Speed


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


class Times:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)


def test_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed is of what was done here, not of what was found done."""
    times = Times(monkeypatch)
    speed = Speed("tweets", total=10_000, done=4000)
    assert str(speed) == "4,000 of 10,000 tweets"
    times.now_s += 2
    speed.advance(1000)
    assert str(speed) == "5,000 of 10,000 tweets, 500/s, 10 s left"


def test_speed_is_of_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow beginning is forgotten, and memory is bounded."""
    times = Times(monkeypatch)
    speed = Speed("tweets", total=100_000)
    for per_s in (10, 1000):
        for _ in range(200):
            times.now_s += 1
            speed.advance(per_s)
    assert 980 < speed.per_s <= 1000
    assert len(speed._marks) < 40


@pytest.mark.parametrize(
    ("total", "told"), [(None, "20 tweets, 20/s"), (10, "20 of 10 tweets, 20/s")]
)
def test_no_time_left_is_told_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch, total: int | None, told: str
) -> None:
    """Neither without a total, nor with one that was wrong."""
    times = Times(monkeypatch)
    speed = Speed("tweets", total)
    times.now_s += 1
    speed.advance(20)
    assert str(speed) == told
