"""The ASGI application: inference routes in plain ASGI, in front of FastAPI for the rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, cast

from fastapi import FastAPI, Response

import augury
from augury.core.clock import Clock
from augury.core.errors import AuguryError, InvalidInput, Unavailable
from augury.edge import documents, errors, health
from augury.edge.bodies import Bodies
from augury.edge.health import Drain
from augury.lifecycle.manager import Manager
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
from augury.protocols.asgi import Message, Receive, Scope, Send, reply
from augury.protocols.native import models
from augury.protocols.native.errors import (
    CONTENT_TYPE,
    problem_body,
    problem_headers,
    unexpected,
)
from augury.protocols.native.routes import PredictRoute, Target, parse_path

_log = get_logger(__name__)

_DESCRIPTION = (
    "Predictions from trained models. Each model's request and answer are typed below, "
    "from its signature and its example."
)


def build_api(
    manager: Manager, metrics: Metrics, drain: Drain, *, ready_without_models: bool = False
) -> FastAPI:
    """The FastAPI side: models, health, metrics, documents; routers of services are added to it."""
    api = FastAPI(
        title="Augury",
        version=augury.__version__,
        description=_DESCRIPTION,
        docs_url=None,  # ours asks no other host
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever host the request names
    )
    errors.install(api)
    api.include_router(models.router(manager))
    api.include_router(health.router(manager, drain, ready_without_models=ready_without_models))

    @api.get("/metrics", tags=["health"], summary="Metrics for Prometheus")
    def show_metrics() -> Response:
        """All ``augury_*`` metrics as Prometheus text."""
        text, content_type = metrics.exposition()
        return Response(text, headers={"content-type": content_type})

    documents.install(api, manager)
    return api


class Edge:
    """Sends each request to where it is answered.

    Args:
        predict: The native inference route.
        api: Everything else.
        drain: Once begun, requests may be cut.
        metrics: Where requests to the FastAPI side are counted.
        clock: Monotonic time.
        max_body_bytes: A larger body is refused with 413.
        max_buffered_bytes: Bodies that would take more together are refused with 429.
    """

    def __init__(
        self,
        predict: PredictRoute,
        api: FastAPI,
        drain: Drain,
        metrics: Metrics,
        clock: Clock,
        *,
        max_body_bytes: int,
        max_buffered_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self._predict = predict
        self._api = api
        self._drain = drain
        self._metrics = metrics
        self._clock = clock
        self._bodies = Bodies(max_body_bytes=max_body_bytes, max_buffered_bytes=max_buffered_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = parse_path(scope["path"])
        try:
            if target is None or scope["method"] != "POST":
                await self._through_api(target, scope, receive, send)
            elif self._bodies.pass_by(scope["headers"]):
                await self._predict(target, scope, receive, send)
            else:
                await self._predict_large(target, scope, receive, send)
        except asyncio.CancelledError:
            if not self._drain.begun:
                raise
            # The server cancels what outlasts the drain, and this is where such a task ends.
            with contextlib.suppress(RuntimeError):  # the answer had begun
                await _reply_problem(send, Unavailable("the server had to stop; ask again"))

    async def _predict_large(
        self, target: Target, scope: Scope, receive: Receive, send: Send
    ) -> None:
        started_s = self._clock.monotonic()
        try:
            with self._bodies.booked(scope["headers"], receive) as receive_booked:
                await self._predict(target, scope, receive_booked, send)
        except AuguryError as error:  # refused when it was announced: the route tells its own
            await _reply_problem(send, error)
            self._count("native", error.status, started_s)

    async def _through_api(
        self, target: Target | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        started_s = self._clock.monotonic()
        status = 500
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
            await send(message)

        # What answers GET answers HEAD; the server leaves the body out.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope = {**scope, "method": method}
        try:
            if target is not None:
                raise errors.MethodNotAllowed(f"predict takes POST, not {method[:40]}")
            if "\0" in scope["path"]:
                raise InvalidInput("the path holds a NUL character")
            with self._bodies.booked(scope["headers"], receive) as receive_booked:
                await self._api(
                    cast(Any, scope), cast(Any, receive_booked), cast(Any, watched_send)
                )
        except AuguryError as error:
            if not begun:
                allow = [(b"allow", b"POST")] if target is not None else []
                await _reply_problem(watched_send, error, allow)
        except Exception as error:  # noqa: BLE001 - FastAPI has told the client, and raises it again
            if not begun:
                _log.error("request failed", path=scope["path"][:200], exc_info=error)
                await _reply_problem(watched_send, unexpected())
        route = "native" if target is not None else _route(scope)
        self._count(route, status, started_s)

    def _count(self, protocol: str, status: int, started_s: float) -> None:
        self._metrics.request_done("", "", protocol, status, self._clock.monotonic() - started_s)


def _route(scope: Scope) -> str:
    """The template of the route that answered: label values must not be a caller's inventions."""
    return str(getattr(scope.get("route"), "path", "unknown"))


async def _reply_problem(
    send: Send, error: AuguryError, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    body = problem_body(error)
    await reply(send, error.status, body, CONTENT_TYPE, [*problem_headers(error), *headers])
