"""``POST /api/models/{name}[/versions/{v}|/labels/{l}]/predict``, as plain ASGI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

from augury.core.caller import caller_of
from augury.core.clock import Clock
from augury.core.errors import (
    AuguryError,
    InvalidInput,
    NotFound,
    TooLarge,
    VersionNotFound,
)
from augury.core.request import InferRequest, InferResponse
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
from augury.packages.reader import parse_version
from augury.pipeline.engine import Engine
from augury.pipeline.remembered import KnownRows
from augury.pipeline.servable import ModelServable
from augury.protocols.asgi import (
    CacheWishes,
    Headers,
    Receive,
    Scope,
    Send,
    cancelled_when_client_goes,
    read_body,
    reply,
)
from augury.protocols.native.codec import (
    decode_body,
    decode_rows,
    encode_fragment,
    encode_fragments,
    encode_response,
    row_errors,
)
from augury.protocols.native.errors import (
    CONTENT_TYPE,
    problem_body,
    problem_headers,
    row_problem,
    unexpected,
)

PREFIX: Final = "/api/models/"
SUFFIX: Final = "/predict"

# Under this name rows keep their JSON beside their tensors.
DIALECT: Final = "native"

# A day.  Timers of the event loop overflow at some 10¹⁰ seconds.
_LONGEST_TIMEOUT_S: Final = 86_400.0

_log = get_logger(__name__)


class Target(NamedTuple):
    """Which model a path names."""

    model: str
    version: str | None = None
    label: str | None = None


def parse_path(path: str) -> Target | None:
    """The target of a predict route, or ``None`` when *path* (decoded) is something else.

    >>> parse_path("/api/models/m/versions/3/predict")
    Target(model='m', version='3', label=None)
    """
    if not (path.startswith(PREFIX) and path.endswith(SUFFIX)):
        return None
    parts = path[len(PREFIX) : -len(SUFFIX)].split("/")
    if len(parts) == 1 and parts[0]:
        return Target(parts[0])
    if len(parts) == 3 and parts[0] and parts[2]:
        if parts[1] == "versions":
            return Target(parts[0], version=parts[2])
        if parts[1] == "labels":
            return Target(parts[0], label=parts[2])
    return None


class _Outcome(NamedTuple):
    """What became of a request: *body* with *error* ``None``, or the error that no row escaped."""

    version: str = ""
    body: bytes = b""
    error: AuguryError | None = None


class _Wishes(NamedTuple):
    """What a request's headers ask for, besides an answer."""

    timeout: bytes | None
    cache: CacheWishes


class _Asked(NamedTuple):
    """A request whose answer may take its time."""

    body: bytes
    wishes: _Wishes
    scope: Scope
    receive: Receive
    started_s: float


class PredictRoute:
    """Answers predict requests.

    Args:
        engine: Does the work.
        metrics: Where requests are counted.
        clock: Monotonic time.
        max_body_bytes: A larger body is refused.
        max_rows: More rows are refused before they are looked at.
    """

    def __init__(
        self,
        engine: Engine,
        metrics: Metrics,
        clock: Clock,
        *,
        max_body_bytes: int,
        max_rows: int = 65_536,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._max_body_bytes = max_body_bytes
        self._max_rows = max_rows

    async def __call__(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to *target*."""
        started_s = self._clock.monotonic()
        model, status = target.model, 200
        try:
            body = await read_body(receive, scope["headers"], self._max_body_bytes)
            wishes = _wishes(scope["headers"])
            with self._engine.lease(target.model, _version(target), target.label) as leased:
                servable = cast("ModelServable", leased)
                known: KnownRows | None = None
                if wishes.cache.remembered:
                    known = self._engine.asked_before(servable, (DIALECT, body))
                if known is not None:
                    _deadline(wishes, started_s)
                    caller_of(scope).charge(len(known.rows))
                    outcome = self._remembered(servable, known, started_s)
                else:
                    asked = _Asked(body, wishes, scope, receive, started_s)
                    outcome = await self._answer(servable, asked)
        except AuguryError as raised:
            outcome = _Outcome(body=problem_body(raised), error=raised)
        except Exception as raised:  # noqa: BLE001 - a fault of ours is told without its details
            _log.error("request failed", model=model, exc_info=raised)
            error = unexpected()
            outcome = _Outcome(body=problem_body(error), error=error)
        if outcome.error is None:
            await reply(send, 200, outcome.body)
        else:
            status = outcome.error.status
            model = self._known(model)
            await reply(send, status, outcome.body, CONTENT_TYPE, problem_headers(outcome.error))
        self._metrics.request_done(
            model, outcome.version, "native", status, self._clock.monotonic() - started_s
        )

    async def _answer(self, servable: ModelServable, asked: _Asked) -> _Outcome:
        """Answer what is not known to have been asked before."""
        wishes = asked.wishes
        body = decode_body(asked.body)
        deadline_s = _deadline(wishes, asked.started_s)
        self._charge(len(body.rows), asked.scope)
        decoded = decode_rows(body.rows, servable.signature)
        keys: Sequence[bytes] | None = None
        if wishes.cache.remembered and not decoded.errors:
            keys = self._engine.keys(servable, decoded.inputs, decoded.rows, body.parameters)
        if keys is not None:
            known = self._engine.known(servable, keys, (DIALECT, asked.body))
            if known is not None:
                return self._remembered(servable, known, asked.started_s)
        # Up to twenty times the body's size: not to be kept while the rows wait.
        body.rows.clear()
        response: InferResponse | None = None
        if decoded.positions:
            request = InferRequest(
                model=servable.package.name,
                version=servable.package.version,
                inputs=decoded.inputs,
                parameters=body.parameters,
                deadline_s=deadline_s,
                use_cache=wishes.cache.use_cache,
                refresh=wishes.cache.refresh,
            )
            with cancelled_when_client_goes(asked.receive):
                response = await self._engine.infer_leased(servable, request, keys)
        errors = row_errors(response, decoded)
        if response is not None and len(errors) < decoded.rows:
            answer = encode_response(response, decoded, servable.signature)
            return _Outcome(servable.version_label, answer)
        rows = [{"error": row_problem(errors[row])} for row in range(decoded.rows)]
        return _Outcome(servable.version_label, problem_body(errors[0], rows=rows), errors[0])

    def _charge(self, rows: int, scope: Scope) -> None:
        """Refuse more rows than one request, or this caller, may ask for."""
        if rows > self._max_rows:
            raise TooLarge(
                f"{rows} rows in one request, the limit is {self._max_rows} "
                "(max_request_rows); send several requests",
                rows=rows,
                limit=self._max_rows,
            )
        caller_of(scope).charge(rows)

    def _remembered(self, servable: ModelServable, known: KnownRows, started_s: float) -> _Outcome:
        """The answer when this process remembers every row: there was nothing to wait for."""
        signature, version = servable.signature, servable.version_label
        fragments = known.fragments(DIALECT, lambda outputs: encode_fragment(outputs, signature))
        total_s = self._clock.monotonic() - started_s
        body = encode_fragments(servable.package.name, version, fragments, total_s)
        return _Outcome(version, body)

    def _known(self, model: str) -> str:
        """*model*, or nothing when it is a caller's invention, which must not become a label."""
        try:
            self._engine.version(model)
        except NotFound:
            return ""
        except AuguryError:  # it is there, but not ready
            pass
        return model


def _version(target: Target) -> int | None:
    if target.version is None:
        return None
    version = parse_version(target.version)
    if version is None:
        raise VersionNotFound(target.model, f"version {target.version[:40]!r}")
    return version


def _wishes(headers: Headers) -> _Wishes:
    """Read the headers that matter here, all in one pass."""
    timeout: bytes | None = None
    cache = CacheWishes()
    for name, value in headers:
        if name == b"cache-control":
            cache = cache.with_directives(value)
        elif name == b"x-request-timeout" and timeout is None:
            timeout = value
    return _Wishes(timeout, cache)


def _deadline(wishes: _Wishes, started_s: float) -> float | None:
    """Monotonic deadline from ``X-Request-Timeout`` in seconds, or ``None``."""
    if wishes.timeout is None:
        return None
    try:
        timeout_s = float(wishes.timeout)
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < math.inf:
        raise InvalidInput(
            f"X-Request-Timeout is {wishes.timeout.decode('latin-1')[:40]!r}; send seconds above 0, "
            "like 0.5"
        )
    return started_s + min(timeout_s, _LONGEST_TIMEOUT_S)
