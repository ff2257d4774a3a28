"""The ASGI application: inference routes in plain ASGI, in front of FastAPI for the rest.

Each request passes the gate before its body is read: its scope is that of the very method and path by
which it is routed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, cast

from fastapi import FastAPI, Response
from starlette.routing import Match

import augury
from augury.core.caller import SCOPE_KEY, Caller
from augury.core.clock import Clock
from augury.core.errors import AuguryError, InvalidInput, Unauthenticated, Unavailable
from augury.edge import documents, errors, health
from augury.edge.auth.audit import Actor, Audit
from augury.edge.auth.gate import CHALLENGE, Gate, address_of
from augury.edge.auth.scopes import required_scope
from augury.edge.bodies import Bodies
from augury.edge.health import Drain
from augury.lifecycle.manager import Manager
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
from augury.protocols.asgi import Answer, Message, Receive, Scope, Send, header, reply_answer
from augury.protocols.native import models
from augury.protocols.native.errors import problem_answer, unexpected
from augury.protocols.native.routes import Pending, PredictRoute, Target, parse_path

_log = get_logger(__name__)

_STREAM: Final = b"text/event-stream"

# Where a request's scope holds what has been done of it before the application was called.
_PENDING: Final = "augury.pending"

# Paths up to this length are taken apart once and remembered.
_USUAL_PATH_CHARS: Final = 256

_DESCRIPTION = (
    "Predictions from trained models. Each model's request and answer are typed below, "
    "from its signature and its example."
)


def build_api(
    manager: Manager,
    metrics: Metrics,
    drain: Drain,
    *,
    anonymous: Caller,
    ready_without_models: bool = False,
    degradations: Callable[[], list[str]] = list,
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
    api.include_router(
        health.router(
            manager, drain, ready_without_models=ready_without_models, degradations=degradations
        )
    )

    @api.get("/metrics", tags=["health"], summary="Metrics for Prometheus")
    def show_metrics() -> Response:
        """All ``augury_*`` metrics as Prometheus text."""
        text, content_type = metrics.exposition()
        return Response(text, headers={"content-type": content_type})

    documents.install(api, manager, anonymous)
    return api


class Edge:
    """Sends each request to where it is answered.

    Args:
        predict: The native inference route.
        api: Everything else.
        gate: Decides who may.
        audit: Where calls that need the scope "admin" are written down.
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
        gate: Gate,
        audit: Audit,
        drain: Drain,
        *,
        metrics: Metrics,
        clock: Clock,
        max_body_bytes: int,
        max_buffered_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        self._predict = predict
        self._api = api
        self._gate = gate
        self._audit = audit
        self._drain = drain
        self._metrics = metrics
        self._clock = clock
        self._bodies = Bodies(max_body_bytes=max_body_bytes, max_buffered_bytes=max_buffered_bytes)

    def answer_now(self, scope: Scope, body: bytes) -> Answer | Pending | None:
        """Answer a request that has come whole, if it is a prediction and nothing has to be waited for.

        For a connection that has read the *body* before it calls the application.

        Returns:
            The answer, which has been counted; else the application is to be called with *scope*,
            and what has been done so far, if there is something, to be closed afterwards.
        """
        target = _target(scope["path"])
        if target is None or scope["method"] != "POST" or len(body) > self._bodies.small_bytes:
            return None
        try:
            caller = self._may_predict(scope)
        except AuguryError as error:
            return self._refused(error, self._clock.monotonic())
        if caller is None:
            return None
        scope[SCOPE_KEY] = caller
        outcome = self._predict.begin(target, scope, body)
        if isinstance(outcome, Pending):
            scope[_PENDING] = outcome
        return outcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            pending: Pending | None = scope.get(_PENDING)
            if pending is not None:
                await self._predict.conclude(pending, receive, send, pending.started_s)
                return
            target = _target(scope["path"])
            if target is None or scope["method"] != "POST":
                await self._through_api(target, scope, receive, send)
                return
            try:
                caller = self._may_predict(scope)
                if caller is None:
                    caller = await self._gate.ask(scope)
                    self._gate.check(caller, "predict")
            except AuguryError as error:
                started_s = self._clock.monotonic()
                await reply_answer(send, _problem_answer(error))
                self._count("native", error.status, started_s)
                return
            scope[SCOPE_KEY] = caller
            if self._bodies.pass_by(scope["headers"]):
                await self._predict(target, scope, receive, send)
            else:
                await self._predict_large(target, scope, receive, send)
        except asyncio.CancelledError:
            if not self._drain.begun:
                raise
            # The server cancels what outlasts the drain, and this is where such a task ends.
            with contextlib.suppress(RuntimeError):  # the answer had begun
                await _reply_problem(send, Unavailable("the server had to stop; ask again"))

    def _may_predict(self, scope: Scope) -> Caller | None:
        """Who asks for a prediction, and may; ``None``: :meth:`Gate.ask` has to tell.

        Raises:
            AuguryError: They may not.
        """
        caller = self._gate.identify(scope)
        if caller is not None:
            self._gate.check(caller, "predict")
        return caller

    def _refused(self, error: AuguryError, started_s: float) -> Answer:
        self._count("native", error.status, started_s)
        return _problem_answer(error)

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
        streams_from_s: float | None = None

        async def watched_send(message: Message) -> None:
            nonlocal status, begun, streams_from_s
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                if (header(message["headers"], b"content-type") or b"").startswith(_STREAM):
                    streams_from_s = self._clock.monotonic()
            await send(message)

        # What answers GET answers HEAD; the server leaves the body out.
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        scope = {**scope, "method": method}
        try:
            scope[SCOPE_KEY] = await self._admitted(scope)
            if target is not None:
                raise errors.MethodNotAllowed(f"predict takes POST, not {method[:40]}")
            if "\0" in scope["path"]:
                raise InvalidInput("the path holds a NUL character")
            with self._bodies.booked(scope["headers"], receive) as receive_booked:
                if required_scope(method, scope["path"]) == "admin":
                    await self._change(scope, receive_booked, watched_send, lambda: status)
                else:
                    await self._ask_api(scope, receive_booked, watched_send)
        except AuguryError as error:
            if not begun:
                allow = [(b"allow", b"POST")] if target is not None else []
                await _reply_problem(watched_send, error, allow)
        except Exception as error:  # noqa: BLE001 - FastAPI has told the client, and raises it again
            if not begun:
                _log.error("request failed", path=scope["path"][:200], exc_info=error)
                await _reply_problem(watched_send, unexpected())
        route = "native" if target is not None else _route(scope)
        # An event stream lasts as long as somebody listens, which is nobody's waiting.
        ended_s = self._clock.monotonic() if streams_from_s is None else streams_from_s
        self._metrics.request_done("", "", route, status, ended_s - started_s)

    async def _ask_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._api(cast(Any, scope), cast(Any, receive), cast(Any, send))

    async def _admitted(self, scope: Scope) -> Caller:
        """Who sends the request, who may.

        Raises:
            AuguryError: They may not.
        """
        method = scope["method"]
        need = required_scope(method, scope["path"])
        if need is None:
            return self._gate.welcome(scope)
        caller: Caller | None = None
        try:
            caller = self._gate.identify(scope)
            if caller is None:
                caller = await self._gate.ask(scope)
            self._gate.check(caller, need)
        except AuguryError as error:
            routed = self._routed(scope)
            if routed is None and caller is not None and caller.scopes:
                # Nothing would be done.  Whoever may use the server at all is told so: 404, or 405.
                return caller
            if routed is not None and need == "admin":
                actor = _actor(scope, "nobody" if caller is None else caller.name)
                await self._audit.refused(actor, f"{method} {routed[0]}", routed[1], error.status)
            raise
        return caller

    async def _change(
        self, scope: Scope, receive: Receive, send: Send, status: Callable[[], int]
    ) -> None:
        """Carry out a call that needs "admin", and write it down before and after."""
        routed = self._routed(scope)
        if routed is None:  # nothing is there to be changed
            await self._ask_api(scope, receive, send)
            return
        actor = _actor(scope, scope[SCOPE_KEY].name)
        action = f"{scope['method']} {routed[0]}"
        call = await self._audit.begin(actor, action, routed[1])
        try:
            await self._ask_api(scope, receive, send)
        finally:
            await self._audit.end(actor, action, call, status())

    def _routed(self, scope: Scope) -> tuple[str, dict[str, Any]] | None:
        """The template and the parameters of the route that would answer; ``None``: none would."""
        for route in self._api.router.routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                template = getattr(found.get("route", route), "path", None) or scope["path"]
                return str(template), dict(found.get("path_params", {}))
        return None

    def _count(self, protocol: str, status: int, started_s: float) -> None:
        self._metrics.request_done("", "", protocol, status, self._clock.monotonic() - started_s)


_usual_target = lru_cache(maxsize=512)(parse_path)


def _target(path: str) -> Target | None:
    """Which model is to predict, if that is what *path* asks for."""
    return _usual_target(path) if len(path) <= _USUAL_PATH_CHARS else parse_path(path)


def _actor(scope: Scope, caller: str) -> Actor:
    request_id = header(scope["headers"], b"x-request-id") or b""
    return Actor(caller, address_of(scope), request_id.decode("latin-1"))


def _route(scope: Scope) -> str:
    """The template of the route that answered: label values must not be a caller's inventions."""
    return str(getattr(scope.get("route"), "path", "unknown"))


def _problem_answer(error: AuguryError, headers: Iterable[tuple[bytes, bytes]] = ()) -> Answer:
    answer = problem_answer(error)
    challenge = [(b"www-authenticate", CHALLENGE)] if isinstance(error, Unauthenticated) else []
    return answer._replace(headers=[*answer.headers, *challenge, *headers])


async def _reply_problem(
    send: Send, error: AuguryError, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    await reply_answer(send, _problem_answer(error, headers))
