"""Errors as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

from augury.core.errors import AuguryError, Internal
from augury.protocols.asgi import Answer

CONTENT_TYPE: Final = b"application/problem+json"


def problem(error: AuguryError) -> dict[str, Any]:
    """The document that tells *error* to a client.

    ``type`` is a URN of the stable ``code``; details of the error stand beside the standard members.
    """
    document: dict[str, Any] = {
        "type": f"urn:augury:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    }
    for name, value in error.details.items():
        document.setdefault(name, value)
    return document


def row_problem(error: AuguryError) -> dict[str, Any]:
    """The same for one row among others: no ``type``, which would only repeat the code."""
    document = problem(error)
    del document["type"]
    return document


def problem_headers(error: AuguryError) -> list[tuple[bytes, bytes]]:
    """Headers that belong to *error*: ``Retry-After`` in whole seconds."""
    wait_s = error.retry_after_s
    if wait_s is None:
        return []
    return [(b"retry-after", str(max(1, math.ceil(wait_s))).encode())]


def problem_body(error: AuguryError, **more: Any) -> bytes:
    """:func:`problem` with further members, as JSON."""
    document = {**problem(error), **more}
    try:
        return msgspec.json.encode(document)
    except UnicodeEncodeError:
        # A message that quotes a lone surrogate; the standard library escapes it.
        return json.dumps(document).encode()


def problem_answer(error: AuguryError, **more: Any) -> Answer:
    """:func:`problem_body` with all that belongs to it."""
    return Answer(error.status, problem_body(error, **more), CONTENT_TYPE, problem_headers(error))


def unexpected() -> Internal:
    """What a client is told of a fault of ours; the log has the rest."""
    return Internal("the server failed on this request; its log tells more")


def problem_response(
    error: AuguryError, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """*error* as a response of the FastAPI side, with further *headers* and members."""
    own = {name.decode(): value.decode() for name, value in problem_headers(error)}
    return Response(
        problem_body(error, **more),
        status_code=error.status,
        media_type=CONTENT_TYPE.decode(),
        headers={**own, **(headers or {})},
    )
