"""Serve the page and its few files, from memory, with what keeps a browser honest.

The content security policy lets the page load from this server only and run no inline script; what
it shows is set as text, never as HTML.  ETags spare the bytes, and since every request is
revalidated, a new release shows at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from importlib.resources import files
from typing import Any, Final

from fastapi import APIRouter, Request, Response

ASSETS: Final = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "augur.svg": "image/svg+xml",
    "flock.svg": "image/svg+xml",
}

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def router() -> APIRouter:
    """``/`` and ``/assets/…``; outside of the API's document, since they are for people."""
    routes = APIRouter(include_in_schema=False)
    static = files(__package__).joinpath("static")
    for name, content_type in ASSETS.items():
        path = "/" if name == "index.html" else f"/assets/{name}"
        content = static.joinpath(name).read_bytes()
        routes.add_api_route(path, _serve(content, content_type), methods=["GET", "HEAD"])
    return routes


def _serve(content: bytes, content_type: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def serve(request: Request) -> Response:
        headers = {**_HEADERS, "ETag": etag}
        wanted = request.headers.get("if-none-match", "")
        known = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
        if etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=content_type, headers=headers)

    return serve
