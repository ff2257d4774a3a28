from __future__ import annotations

import gzip
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from augury.services.ui.assets import CONTENT_TYPES
from augury.services.ui.routes import ASSETS, PAGES, VENDORED, router

STATIC = files("augury.services.ui").joinpath("static")


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(router())
    return TestClient(app)


LIBRARY = f"/assets/{VENDORED[0]}"
PATHS = [*PAGES, *(f"/assets/{name}" for name in (*ASSETS, *VENDORED))]
SCRIPTS = [name for name in ASSETS if name.endswith(".js")]


@pytest.mark.parametrize("path", PATHS)
def test_files_come_with_their_headers(client: TestClient, path: str) -> None:
    """Each has its type, its ETag, and a policy that admits this server only."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] in CONTENT_TYPES.values()
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


def test_large_files_are_packed_for_who_accepts_it(client: TestClient) -> None:
    """The charts' library travels as a third of its size, or plain, under ETags that differ."""
    with client.stream("GET", LIBRARY, headers={"accept-encoding": "gzip, br"}) as packed:
        raw = b"".join(packed.iter_raw())
    plain = client.get(LIBRARY, headers={"accept-encoding": "identity"})
    refused = client.get(LIBRARY, headers={"accept-encoding": "gzip;q=0"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert gzip.decompress(raw) == plain.content == refused.content
    assert len(raw) < len(plain.content) * 0.4
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


def test_only_what_never_changes_is_kept_for_ever(client: TestClient) -> None:
    """The library's name holds its version; all else is revalidated, so that a release shows at once."""
    assert "immutable" in client.get(LIBRARY).headers["cache-control"]
    for path in set(PATHS) - {LIBRARY}:
        assert client.get(path).headers["cache-control"] == "no-cache"


def test_the_library_is_the_one_that_was_published(client: TestClient) -> None:
    """Byte for byte ECharts 6.1.0's own build, with its licences beside it."""
    digest = hashlib.sha256(client.get(LIBRARY).content).hexdigest()
    assert digest == "5eef51bee09fb9cc234c4179a58ae0150126f49f88c992efe2d6bca81d8dd03b"
    vendor = STATIC.joinpath("vendor")
    assert "Apache License" in vendor.joinpath("LICENSE").read_text("utf-8")
    assert "Apache ECharts" in vendor.joinpath("NOTICE").read_text("utf-8")
    assert "Bostock" in vendor.joinpath("LICENSE-d3").read_text("utf-8")


@pytest.mark.parametrize(
    "path", ["/assets/../routes.py", "/assets/routes.py", "/assets/", "/assets/vendor/LICENSE"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    """A handful of files, no folder."""
    assert client.get(path).status_code == 404


def test_the_pages_are_for_people(client: TestClient) -> None:
    """They are not in the API's document."""
    app = FastAPI()
    app.include_router(router())
    assert app.openapi()["paths"] == {}


def test_the_dashboard_can_stand_alone() -> None:
    """Without the tweet application there is no page at /."""
    app = FastAPI()
    app.include_router(router(page=False))
    alone = TestClient(app)
    assert alone.get("/").status_code == 404
    assert alone.get("/ui").status_code == 200


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


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_from_here_only(client: TestClient, path: str) -> None:
    """No inline script or style, nothing from elsewhere; everything that it names is there."""
    page = Page()
    page.feed(client.get(path).text)
    assert page.inline == []
    for loaded in page.loaded:
        assert client.get(loaded).status_code == 200
    assert {"/docs", "/metrics", "/ui"} <= page.links
    assert "/" in page.links


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_imports_is_there(client: TestClient, name: str) -> None:
    """Every import is one of our files."""
    path = f"/assets/{name}"
    for wanted in re.findall(r'from "([^"]+)"', client.get(path).text):
        assert client.get(urljoin(path, wanted)).status_code == 200, wanted


@pytest.mark.parametrize("name", SCRIPTS)
def test_nothing_is_shown_as_html(name: str) -> None:
    """No script of ours has a way from a text to markup or to code."""
    script = STATIC.joinpath(*name.split("/")).read_text("utf-8")
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function"
    assert not re.search(ways, script)
