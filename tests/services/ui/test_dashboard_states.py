"""What the dashboard says when there is nothing, not yet, no more, or not for you."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests.models import write_identity
from tests.redis_server import RedisServer
from tests.services.ui.crowd import FIRST_AUTHOR_ID, tweets
from tests.services.ui.dashboard import Dashboard, Place

pytestmark = pytest.mark.browser


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def board(chrome: Chrome, place: Place) -> Iterator[Dashboard]:
    board = Dashboard(chrome, place.url)
    board.errors()
    yield board
    chrome.get("about:blank")
    assert board.errors() == []


def test_a_fresh_server_says_what_to_do(board: Dashboard, place: Place) -> None:
    """No empty axes: what is missing, and the command that brings it, to copy."""
    with place.serving():
        board.open()
        board.wait_for_text("#panel-authors .empty", "No tweets yet")
        assert "augury tweets score FILE" in board.text("#panel-authors code")
        assert not board.one("#panel-authors .tools").is_displayed()
        board.wait_for_text("#panel-tweets .empty", "No tweets yet")
        board.wait_for_text(".topics + div", "No topics yet")
        copy = board.one("#panel-authors .command button")
        assert copy.accessible_name == "Copy: augury tweets score FILE"
        copy.click()
        board.wait(lambda: copy.text != "Copy")


def test_a_server_that_goes_and_comes(board: Dashboard, place: Place) -> None:
    """Live, then reconnecting since when, then live again by itself; what went wrong is told."""
    place.score(tweets(40))
    with place.serving() as server:
        board.open()
        board.drawn("authors")
        board.wait_for_text("#live-words", "Live")
        assert board.one("#live-words").get_attribute("role") == "status"
        server.stop()
        board.wait_for_text("#live-words", "Reconnecting, last heard at")
        board.one(".names a").click()
        board.wait_for_text(".fault h2", "The server cannot be reached")
        assert board.one(".drilldown h2").is_displayed()
    with place.serving():
        board.wait(lambda: board.text("#live-words") == "Live")
        # What had failed is asked for again, without a hand; by hand it works as well.
        # In one step: between two, an answer may take the button away.
        board.js("document.querySelectorAll('.fault button').forEach(again => again.click())")
        board.drawn("course")
        assert board.all(".fault") == []


def test_other_repositories(board: Dashboard, tmp_path: Path) -> None:
    """Without the tweet application the service is shown, and the other view says why it is empty."""
    models = tmp_path / "models"
    write_identity(models)
    broken = models / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"no model")
    place = Place(tmp_path, str(models))
    board.url = place.url
    with place.serving(ready=False):
        board.open()
        board.wait_for_text(".models", "identity")
        assert board.driver.current_url.endswith("#service")
        assert not board.one("#try").is_displayed()
        rows = dict(
            zip(board.texts(".models tbody th"), board.texts(".models tbody tr"), strict=True)
        )
        assert "ready" in rows["identity"]
        assert "failed" in rows["broken"]
        assert "model.onnx" in rows["broken"]
        board.one("#to-tweets").click()
        board.wait_for_text(".empty", "The tweet application is not served here")
        assert board.text("code") == "augury serve REPOSITORY --app tweets"


@pytest.mark.parametrize("status", [401, 403])
def test_no_credentials(board: Dashboard, place: Place, status: int) -> None:
    """A refusal names what is needed, and can be tried again."""
    place.score(tweets(5))
    with place.serving():
        board.open()
        board.drawn("authors")
        board.js(
            """
            const real = window.fetch;
            window.answers = () => { window.fetch = real; };
            const status = arguments[0];
            window.fetch = async () => new Response(
              JSON.stringify({ title: "Not allowed", detail: "no scope 'read'", retryable: false }),
              { status, headers: { "content-type": "application/problem+json" } });
            location.hash = `#tweets/author/${arguments[1]}`;
            """,
            status,
            str(FIRST_AUTHOR_ID),
        )
        board.wait_for_text(".fault p", "scope “read”")
        assert board.text(".fault h2") == "Not allowed"
        board.js("window.answers(); location.hash = '#tweets'")
        board.drawn("authors")


@pytest.mark.redis
def test_a_store_that_is_down(chrome: Chrome, tmp_path: Path, redis_server: RedisServer) -> None:
    """A banner tells since when, and that predictions go on; it goes when the store is back."""
    place = Place(tmp_path)
    place.store = redis_server.url
    board = Dashboard(chrome, place.url)
    with place.serving(store_timeout_s="0.3"):
        board.open()
        board.wait_for_text("#live-words", "Live")
        assert board.text("#banner") == ""
        redis_server.kill()
        board.wait(lambda: board.js("return fetch('/v1/tweets').then(r => r.status)") == 503)
        board.wait_for_text("#banner", "The store cannot be reached since")
        assert board.one("#banner").get_attribute("role") == "status"
        assert "Predictions go on" in board.text("#banner")
        redis_server.start()
        board.wait(lambda: board.js("return fetch('/v1/tweets').then(r => r.status)") == 200)
        board.wait(lambda: board.text("#banner") == "")
    chrome.get("about:blank")
