from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from augury.services.ui.routes import ASSETS, router


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(router())
    return TestClient(app)


PATHS = ["/", "/assets/app.js", "/assets/style.css", "/assets/augur.svg", "/assets/flock.svg"]


@pytest.mark.parametrize("path", PATHS)
def test_files_come_with_their_headers(client: TestClient, path: str) -> None:
    """Each has its type, its ETag, and a policy that admits this server only."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] in ASSETS.values()
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("path", PATHS)
def test_what_is_known_is_not_sent_again(client: TestClient, path: str) -> None:
    """304 for the ETag, alone, weak or among others; 200 for another."""
    etag = client.get(path).headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = client.get(path, headers={"if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/assets/../routes.py", "/assets/routes.py", "/assets/"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    """A handful of files, no folder."""
    assert client.get(path).status_code == 404


def test_the_page_is_for_people(client: TestClient) -> None:
    """It is not in the API's document."""
    app = FastAPI()
    app.include_router(router())
    assert app.openapi()["paths"] == {}


class Page(HTMLParser):
    """Collects what a policy or a person might stumble over."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.loaded: list[str] = []
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "style" or (tag == "script" and not named.get("src")):
            self.inline.append(tag)
        self.inline += [name for name in named if name == "style" or name.startswith("on")]
        self.loaded += [named[name] or "" for name in ("src",) if name in named]
        if tag == "link":
            self.loaded.append(named["href"] or "")
        if tag == "a":
            self.links.add(named["href"] or "")


def test_the_page_loads_from_here_only(client: TestClient) -> None:
    """No inline script or style, nothing from elsewhere; everything that it names is there."""
    page = Page()
    page.feed(client.get("/").text)
    assert page.inline == []
    for path in page.loaded:
        assert client.get(path).status_code == 200
    assert {"/docs", "/metrics", "/api/models"} <= page.links


def test_nothing_is_shown_as_html() -> None:
    """The script has no way from a text to markup."""
    script = files("augury.services.ui").joinpath("static/app.js").read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script)
