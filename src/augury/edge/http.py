"""The ASGI application: inference routes in plain ASGI, in front of FastAPI for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

import augury
from augury.core.clock import Clock
from augury.core.errors import AuguryError, InvalidInput
from augury.edge import errors, health
from augury.edge.health import Drain
from augury.lifecycle.manager import Manager
from augury.observe.metrics import Metrics
from augury.protocols.asgi import Message, Receive, Scope, Send, body_too_large, header, reply
from augury.protocols.native import models
from augury.protocols.native.errors import CONTENT_TYPE, problem_body, problem_headers
from augury.protocols.native.routes import PredictRoute, parse_path
from augury.protocols.native.schema import predict_paths

_DESCRIPTION = (
    "Predictions from trained models. Each model's request and answer are typed below, "
    "from its signature and its example."
)


def build_api(
    manager: Manager, metrics: Metrics, drain: Drain, *, ready_without_models: bool = False
) -> FastAPI:
    """The FastAPI side: models, health, metrics, documents; routers of services are added to it."""
    api = FastAPI(title="Augury", version=augury.__version__, description=_DESCRIPTION)
    errors.install(api)
    api.include_router(models.router(manager))
    api.include_router(health.router(manager, drain, ready_without_models=ready_without_models))

    @api.get("/metrics", tags=["health"], summary="Metrics for Prometheus")
    def show_metrics() -> Response:
        """All ``augury_*`` metrics as Prometheus text."""
        text, content_type = metrics.exposition()
        return Response(text, headers={"content-type": content_type})

    api.openapi = _typed_openapi(api, manager)  # type: ignore[method-assign]
    return api


def _typed_openapi(api: FastAPI, manager: Manager) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document, made anew when the set of ready versions has changed."""
    made: tuple[int, dict[str, Any]] | None = None

    def openapi() -> dict[str, Any]:
        nonlocal made
        if made is None or made[0] != manager.revision:
            revision = manager.revision
            document = get_openapi(
                title=api.title,
                version=api.version,
                description=api.description,
                routes=api.routes,
            )
            document["paths"] = {**predict_paths(manager), **document.get("paths", {})}
            made = (revision, document)
        return made[1]

    return openapi


class Edge:
    """Sends each request to where it is answered.

    Args:
        predict: The native inference route.
        api: Everything else.
        drain: Once begun, each answer asks its client to close the connection.
        metrics: Where requests to the FastAPI side are counted.
        clock: Monotonic time.
        max_body_bytes: A larger body is refused with 413.
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
    ) -> None:
        self._predict = predict
        self._api = api
        self._drain = drain
        self._metrics = metrics
        self._clock = clock
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            return
        if self._drain.begun:
            send = _closing(send)
        target = parse_path(scope["path"])
        if target is not None and scope["method"] == "POST":
            await self._predict(target, scope, receive, send)
        else:
            await self._through_api(scope, receive, send)

    async def _through_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = self._clock.monotonic()
        status = 500
        begun = False

        async def watched_send(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
            await send(message)

        try:
            _refuse_unreadable_path(scope)
            length = header(scope["headers"], b"content-length")
            if length is not None and length.isdigit() and int(length) > self._max_body_bytes:
                raise body_too_large(int(length), self._max_body_bytes)
            await self._api(
                cast(Any, scope), _bounded(receive, self._max_body_bytes), cast(Any, watched_send)
            )
        except AuguryError as error:
            if begun:
                raise
            status = error.status
            await reply(send, status, problem_body(error), CONTENT_TYPE, problem_headers(error))
        route = scope.get("route")
        protocol = getattr(route, "path", "unknown")
        self._metrics.request_done("", "", protocol, status, self._clock.monotonic() - started_s)


def _refuse_unreadable_path(scope: Scope) -> None:
    if "\0" in scope["path"]:
        raise InvalidInput("the path holds a NUL character")


def _bounded(receive: Receive, max_bytes: int) -> Receive:
    """*receive*, refusing a body that grows over *max_bytes*."""
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise body_too_large(size, max_bytes)
        return message

    return receive_bounded


def _closing(send: Send) -> Send:
    """*send*, asking the client to close the connection after this answer."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_closing
