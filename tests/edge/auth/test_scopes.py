"""Which scope a request needs, and that no way of writing it needs less."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st

from augury.app.build import open_application
from augury.app.settings import Settings
from augury.edge.auth.scopes import RULES, required_scope, rule_of
from augury.protocols.native.routes import parse_path

CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/livez", None),
        ("HEAD", "/readyz", None),
        ("GET", "/", None),
        ("GET", "/assets/dashboard/main.js", None),
        ("GET", "/favicon.ico", None),
        ("GET", "/ui", "read"),
        ("GET", "/docs", "read"),
        ("GET", "/docs/assets/swagger-ui.css", "read"),
        ("GET", "/openapi.json", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/api/models", "read"),
        ("HEAD", "/api/models/mood", "read"),
        ("GET", "/api/admin/keys", "admin"),
        ("GET", "/api/admin", "admin"),
        ("POST", "/api/models/mood/predict", "predict"),
        ("POST", "/api/models/mood/versions/2/predict", "predict"),
        ("POST", "/api/models/mood/labels/stable/predict", "predict"),
        ("GET", "/v1/inference", "predict"),
        ("POST", "/v1/sentiment", "predict"),
        ("GET", "/v1/authors", "read"),
        ("GET", "/v1/topics/#bitcoin/sentiment", "read"),
        ("POST", "/v1/clear", "admin"),
        ("DELETE", "/v1/authors/1", "admin"),
        ("DELETE", "/", "admin"),
    ],
)
def test_what_each_route_needs(method: str, path: str, scope: str | None) -> None:
    """Reading needs read, predicting predict, changing and deleting admin; health needs nothing."""
    assert required_scope(method, path) == scope


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("POST", "/livez"),
        ("POST", "/"),
        ("PUT", "/assets/app.js"),
        ("POST", "/v1/authors"),
        ("POST", "/api/models"),
        ("PUT", "/api/models/mood/predict"),
        ("get", "/v1/authors"),
        ("Get", "/livez"),
        ("OPTIONS", "/v1/clear"),
        ("TRACE", "/metrics"),
        ("PROPFIND", "/api/models"),
        ("", "/livez"),
    ],
)
def test_what_no_rule_states_needs_admin(method: str, path: str) -> None:
    """A method or path that nobody thought of is closed."""
    assert rule_of(method, path) is None
    assert required_scope(method, path) == "admin"


@pytest.mark.parametrize(
    "path",
    [
        "//livez",
        "/assets/../v1/clear",
        "/assets/..",
        "/assets/./x",
        "/assets//x",
        "/api/../livez",
        "/LIVEZ",
        "/livez/",
        "/livez\0",
        "/livez\n",
        "/v1//inference",
        "/V1/authors",
        "/api/Admin/../admin",
        "livez",
        "",
        "/metricsx",
        "/docs.json",
    ],
)
def test_no_spelling_of_a_path_opens_it(path: str) -> None:
    """Doubled slashes, dots, case, a slash at the end: the path that is routed is what counts."""
    assert required_scope("GET", path) == "admin"


@given(path=st.text(max_size=60), method=st.sampled_from([*CHANGING, "CONNECT", "x"]))
def test_only_three_changing_requests_need_less_than_admin(path: str, method: str) -> None:
    """Whatever the path is, only a POST that predicts needs less."""
    scope = required_scope(method, "/" + path)
    if scope != "admin":
        assert method == "POST"
        assert scope == "predict"
        assert path == "v1/sentiment" or parse_path("/" + path) is not None


@given(rest=st.text(max_size=60))
def test_every_predict_path_needs_predict(rest: str) -> None:
    """What is routed as a prediction and what is guarded as one are the same paths, odd ones apart."""
    path = f"/api/models/{rest}/predict"
    needs = required_scope("POST", path)
    if parse_path(path) is None:
        assert needs == "admin"
    else:
        assert needs in ("predict", "admin")


@given(rest=st.text(max_size=60), method=st.text(max_size=8))
def test_admin_routes_are_never_open(rest: str, method: str) -> None:
    """Nothing below /api/admin needs less, by any method."""
    assert required_scope(method, "/api/admin/" + rest) == "admin"


def test_open_rules_are_few_and_for_reading() -> None:
    """Nobody opens a route by the way."""
    opened = {rule.path for rule in RULES if rule.need == "open"}
    assert opened == {"/livez", "/readyz", "/", "/assets/*", "/favicon.ico"}
    assert all(rule.methods == {"GET", "HEAD"} for rule in RULES if rule.need == "open")


def routes_of(api: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path of *api*, those of its mounts as ``/mounted/x``."""
    for context in iter_route_contexts(api.routes):
        path = context.path
        assert path is not None
        if context.methods:
            yield from ((method, path) for method in sorted(context.methods))
        else:
            yield "GET", f"{path}/x"


async def test_every_route_of_the_application_is_stated(tmp_path: Path) -> None:
    """No route is left to the last resort: each has a line in the table."""
    settings = Settings(store=f"sqlite:///{tmp_path}/store.sqlite3", x_bearer_token=None)
    async with open_application(settings, None, ()) as application:
        found = set(routes_of(application.api))
        paths = application.api.openapi()["paths"]
        # FastAPI matches these after all others, where the gate does not look.
        assert not getattr(application.api.router, "_low_priority_routes", [])
    found |= {(method.upper(), path) for path, item in paths.items() for method in item}
    assert ("GET", "/api/models/{name}") in found
    assert ("POST", "/api/models/tweet-sentiment/predict") in found
    assert ("GET", "/docs/assets/x") in found
    unstated = sorted(route for route in found if rule_of(*route) is None)
    assert unstated == []
    for method, path in found:
        if method in CHANGING and required_scope(method, path) != "admin":
            assert path.endswith("/predict") or path == "/v1/sentiment", path
