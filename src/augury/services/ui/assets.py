"""A file of the page, served from memory with what spares bytes and keeps a browser honest.

Read at the first request, so that starting costs nothing; compressed then, once, in a thread.  The
content security policy lets a page load from this server only and run no inline script.  An ETag
spares what the browser has.  Since every request is revalidated, a new release shows at once; a file
whose name holds its version never changes, and is not asked for again.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import Request, Response

CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_REVALIDATED: Final = "no-cache"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
# Below, headers outweigh what compression saves.
_SMALL_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class _Content:
    plain: bytes
    packed: bytes | None
    etag: str


class Asset:
    """One file.

    Args:
        file: Where it lies.
        versioned: Whether its name holds its version, so that it never changes.
    """

    def __init__(self, file: Traversable, *, versioned: bool = False) -> None:
        self._file = file
        self._cache_control = _FOR_EVER if versioned else _REVALIDATED
        self._content: _Content | None = None
        self.content_type = CONTENT_TYPES[file.name[file.name.rindex(".") :]]

    async def __call__(self, request: Request) -> Response:
        """Answer GET or HEAD."""
        content = self._content
        if content is None:
            content = self._content = await asyncio.to_thread(self._read)
        packed = content.packed if _takes_gzip(request) else None
        etag = f'"{content.etag}-gz"' if packed else f'"{content.etag}"'
        headers = {
            **_HEADERS,
            "Cache-Control": self._cache_control,
            "Vary": "Accept-Encoding",
            "ETag": etag,
        }
        wanted = request.headers.get("if-none-match", "")
        known = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
        if etag in known or "*" in known:
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(packed or content.plain, media_type=self.content_type, headers=headers)

    def _read(self) -> _Content:
        plain = self._file.read_bytes()
        packed = gzip.compress(plain, mtime=0) if len(plain) >= _SMALL_BYTES else None
        return _Content(plain, packed, hashlib.sha256(plain).hexdigest()[:32])


def _takes_gzip(request: Request) -> bool:
    """Whether the client accepts gzip; ``gzip;q=0`` is a refusal (RFC 9110, 12.5.3)."""
    for offer in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = offer.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
