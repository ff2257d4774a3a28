"""One browser for a file of tests, and the dashboard over a month of tweets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from augury.services.tweets.model import Tweet
from tests.services.ui.browser import chromium, programs_or_skip
from tests.services.ui.crowd import tweets
from tests.services.ui.dashboard import Dashboard, Place

CROWD = 400
XSS = '<img src=x onerror="document.title=1"><script>document.title=2</script> good'
HOSTILE = {
    3001: ("<b>x</b>", XSS, XSS),
    3002: ("=cmd()", '=HYPERLINK("http://a.example","x")', "@SUM(A1) #books"),
    3003: ("rtl", "\u202egnp.exe \u202b", "\u202eמה שלומך היום, יום נפלא \u202b #ספרים"),
    3004: (None, None, "nameless and fine"),
}


def crowd() -> list[Tweet]:
    """A month of ordinary tweets until now, and some by people who try things."""
    now = datetime.now(UTC).replace(microsecond=0)
    hostile = [
        Tweet(
            id=1_950_000_000_000_000_000 + author,
            text=text,
            author_id=author,
            username=username,
            author_name=name,
            created_at=now - timedelta(minutes=3),
        )
        for author, (username, name, text) in HOSTILE.items()
    ]
    # Much of one of them, so that they stand in the chart.
    many = [
        Tweet(
            id=1_960_000_000_000_000_000 + number,
            text=f"formula number {number} is good",
            author_id=3002,
            username="=cmd()",
            author_name=HOSTILE[3002][1],
            created_at=now - timedelta(hours=number),
        )
        for number in range(60)
    ]
    return [*tweets(CROWD, last=now), *hostile, *many]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with chromium(programs_or_skip()) as driver:
        yield driver


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that remembers the crowd."""
    programs_or_skip()
    folder: Path = tmp_path_factory.mktemp("dashboard")
    place = Place(folder)
    place.score(crowd())
    with place.serving():
        yield place.url


@pytest.fixture
def dashboard(chrome: Chrome, filled: str) -> Iterator[Dashboard]:
    """The dashboard of that server; nothing may be left in the console."""
    board = Dashboard(chrome, filled)
    board.errors()
    yield board
    assert board.errors() == []
