"""``POST /api/models/{name}[/versions/{v}|/labels/{l}]/predict``, as plain ASGI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, cast

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
from augury.pipeline.servable import ModelServable
from augury.protocols.asgi import (
    Headers,
    Receive,
    Scope,
    Send,
    cancelled_when_client_goes,
    header,
    read_body,
    reply,
)
from augury.protocols.native.codec import (
    PredictBody,
    decode_body,
    decode_rows,
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

# A day.  Timers of the event loop overflow at some 10¹⁰ seconds.
_LONGEST_TIMEOUT_S: Final = 86_400.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
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


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a request: *body* with *error* ``None``, or the error that no row escaped."""

    version: str = ""
    body: bytes = b""
    error: AuguryError | None = None


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
            headers: Headers = scope["headers"]
            asked = decode_body(await read_body(receive, headers, self._max_body_bytes))
            with cancelled_when_client_goes(receive):
                outcome = await self._predict(target, headers, asked, started_s)
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

    async def _predict(
        self, target: Target, headers: Headers, asked: PredictBody, started_s: float
    ) -> _Outcome:
        if len(asked.rows) > self._max_rows:
            raise TooLarge(
                f"{len(asked.rows)} rows in one request, the limit is {self._max_rows} "
                "(max_request_rows); send several requests",
                rows=len(asked.rows),
                limit=self._max_rows,
            )
        deadline_s = _deadline(headers, started_s)
        with self._engine.lease(target.model, _version(target), target.label) as leased:
            servable = cast(ModelServable, leased)
            signature, version = servable.signature, servable.package.version
            decoded = decode_rows(asked.rows, signature)
            # Up to twenty times the body's size: not to be kept while the rows wait.
            asked.rows.clear()
            response: InferResponse | None = None
            if decoded.positions:
                request = InferRequest(
                    model=target.model,
                    version=version,
                    inputs=decoded.inputs,
                    parameters=asked.parameters,
                    deadline_s=deadline_s,
                    use_cache=_may_use_cache(headers),
                )
                response = await self._engine.infer(request)
            errors = row_errors(response, decoded)
            if response is not None and len(errors) < decoded.rows:
                answer = encode_response(response, decoded, signature)
                return _Outcome(str(version), answer)
            rows = [{"error": row_problem(errors[row])} for row in range(decoded.rows)]
            return _Outcome(str(version), problem_body(errors[0], rows=rows), errors[0])

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


def _deadline(headers: Headers, started_s: float) -> float | None:
    """Monotonic deadline from ``X-Request-Timeout`` in seconds, or ``None``."""
    value = header(headers, b"x-request-timeout")
    if value is None:
        return None
    try:
        timeout_s = float(value)
    except ValueError:
        timeout_s = math.nan
    if not 0 < timeout_s < math.inf:
        raise InvalidInput(
            f"X-Request-Timeout is {value.decode('latin-1')[:40]!r}; send seconds above 0, like 0.5"
        )
    return started_s + min(timeout_s, _LONGEST_TIMEOUT_S)


def _may_use_cache(headers: Headers) -> bool:
    """Whether a remembered answer will do."""
    value = header(headers, b"cache-control")
    return value is None or b"no-cache" not in value.lower()
