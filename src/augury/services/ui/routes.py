"""Which file is at which path: the try-it page at ``/``, the dashboard at ``/ui``, and their assets."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from fastapi import APIRouter

from augury.services.ui.assets import Asset

# Pages, then what they load: what both need, what one needs, and what others wrote.
PAGES: Final = {"/": "index.html", "/ui": "dashboard.html"}
SHARED: Final = ("style.css", "augur.svg", "flock.svg", "asking.js", "elements.js", "words.js")
DASHBOARD: Final = (
    *("main", "live", "panel", "readout", "looks", "export", "tiles"),
    *("tweets", "authors", "courses", "lists", "drilldown", "service"),
)
ASSETS: Final = (
    *SHARED,
    "app.js",
    "dashboard/dashboard.css",
    *(f"dashboard/{name}.js" for name in DASHBOARD),
)
# Their names hold their versions.
VENDORED: Final = ("vendor/echarts-6.1.0.simple.min.js",)


def router(*, page: bool = True) -> APIRouter:
    """The pages and their assets; outside of the API's document, since they are for people.

    Args:
        page: Whether the try-it page is served, too: it needs the tweet application.
    """
    routes = APIRouter(include_in_schema=False)
    static = files(__package__).joinpath("static")
    for path, name in PAGES.items():
        if page or path != "/":
            _add(routes, path, Asset(static.joinpath(name)))
    for name in (*ASSETS, *VENDORED):
        asset = Asset(static.joinpath(*name.split("/")), versioned=name in VENDORED)
        _add(routes, f"/assets/{name}", asset)
    return routes


def _add(routes: APIRouter, path: str, asset: Asset) -> None:
    routes.add_api_route(path, asset.__call__, methods=["GET", "HEAD"])
