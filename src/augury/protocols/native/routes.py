"""``POST /api/models/{name}[/versions/{v}|/labels/{l}]/predict``, as plain ASGI."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import unquote

from augury.core.clock import Clock
from augury.core.errors import AuguryError, InvalidInput, VersionNotFound
from augury.core.request import InferRequest, InferResponse
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
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
from augury.protocols.native.codec import all_failed, decode_body, decode_rows, encode_response
from augury.protocols.native.errors import (
    CONTENT_TYPE,
    problem_body,
    problem_headers,
    row_problem,
    unexpected,
)

PREFIX: Final = "/api/models/"
SUFFIX: Final = "/predict"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Which model a path names."""

    model: str
    version: str | None = None
    label: str | None = None


def parse_path(path: str) -> Target | None:
    """The target of a predict route, or ``None`` when *path* is something else.

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
            return Target(parts[0], label=unquote(parts[2]))
    return None


class PredictRoute:
    """Answers predict requests.

    Args:
        engine: Does the work.
        metrics: Where requests are counted.
        clock: Monotonic time.
        max_body_bytes: A larger body is refused.
    """

    def __init__(
        self, engine: Engine, metrics: Metrics, clock: Clock, *, max_body_bytes: int
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._max_body_bytes = max_body_bytes

    async def __call__(self, target: Target, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request to *target*."""
        started_s = self._clock.monotonic()
        model, version, status = target.model, "", 200
        try:
            headers: Headers = scope["headers"]
            body = await read_body(receive, headers, self._max_body_bytes)
            with cancelled_when_client_goes(receive):
                version, answer, error, more = await self._predict(target, headers, body, started_s)
        except AuguryError as raised:
            answer, error, more = b"", raised, {}
        except Exception as raised:  # noqa: BLE001 - a fault of ours is told without its details
            _log.error("request failed", model=model, exc_info=raised)
            answer, error, more = b"", unexpected(), {}
        if error is None:
            await reply(send, 200, answer)
        else:
            status = error.status
            if error.code in ("model_not_found", "client_gone"):
                model = ""  # a caller's inventions must not become label values
            await reply(
                send, status, problem_body(error, **more), CONTENT_TYPE, problem_headers(error)
            )
        self._metrics.request_done(
            model, version, "native", status, self._clock.monotonic() - started_s
        )

    async def _predict(
        self, target: Target, headers: Headers, body: bytes, started_s: float
    ) -> tuple[str, bytes, AuguryError | None, dict[str, object]]:
        """Version that answered, its answer, or the error that no row escaped and its rows."""
        decoded_body = decode_body(body)
        version = _version(target)
        with self._engine.lease(target.model, version, target.label) as leased:
            servable = cast(ModelServable, leased)
            signature = servable.signature
            decoded = decode_rows(decoded_body.rows, signature)
            number = servable.package.version
            response: InferResponse | None = None
            if decoded.positions:
                request = InferRequest(
                    model=target.model,
                    version=number,
                    inputs=decoded.inputs,
                    parameters=decoded_body.parameters,
                    deadline_s=_deadline(headers, started_s),
                    use_cache=b"no-cache" not in (header(headers, b"cache-control") or b""),
                )
                response = await self._engine.infer(request)
            error = all_failed(response, decoded)
            if error is None and response is not None:
                return str(number), encode_response(response, decoded, signature), None, {}
            failed = dict(decoded.errors)
            if response is not None:
                failed.update(
                    (decoded.positions[row], fault) for row, fault in response.errors.items()
                )
            rows = [{"error": row_problem(failed[row])} for row in range(decoded.rows)]
            return str(number), b"", error, {"rows": rows}


def _version(target: Target) -> int | None:
    if target.version is None:
        return None
    if not target.version.isdecimal() or len(target.version) > 18:
        raise VersionNotFound(target.model, f"version {target.version[:40]!r}")
    return int(target.version)


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
    return started_s + timeout_s
