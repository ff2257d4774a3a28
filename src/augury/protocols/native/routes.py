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
from augury.core.request import InferRequest, InferResponse, Priority
from augury.lifecycle.handle import Handle
from augury.observe.logs import get_logger
from augury.observe.metrics import Metrics
from augury.packages.reader import parse_version
from augury.pipeline.engine import Engine
from augury.pipeline.remembered import KnownRows
from augury.pipeline.servable import ModelServable
from augury.protocols.asgi import (
    Answer,
    CacheWishes,
    Headers,
    Receive,
    Scope,
    Send,
    cancelled_when_client_goes,
    check_body,
    read_body,
    reply_answer,
)
from augury.protocols.native.codec import (
    DecodedRows,
    PredictBody,
    decode_body,
    decode_rows,
    encode_fragment,
    encode_fragments,
    encode_response,
    row_errors,
)
from augury.protocols.native.errors import problem_answer, row_problem, unexpected
from augury.protocols.native.plain import PlainBody, plain_rows

PREFIX: Final = "/api/models/"
SUFFIX: Final = "/predict"

# Under this name rows keep their JSON beside their tensors.
DIALECT: Final = "native"

# A day.  Timers of the event loop overflow at some 10¹⁰ seconds.
_LONGEST_TIMEOUT_S: Final = 86_400.0

_PRIORITIES: Final = {
    b"high": Priority.HIGH,
    b"normal": Priority.NORMAL,
    b"low": Priority.LOW,
}

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


class Outcome(NamedTuple):
    """What became of a request, and under what names it is counted."""

    answer: Answer
    model: str = ""
    version: str = ""


class _Wishes(NamedTuple):
    """What a request's headers ask for, besides an answer."""

    timeout: bytes | None = None
    priority: bytes | None = None
    cache: CacheWishes = CacheWishes()


_NO_WISHES: Final = _Wishes()


class Pending:
    """A request that has been read, and whose answer has to be waited for.

    Holds the version that is to answer: whoever gets one gives it to :meth:`PredictRoute.finish`, or
    calls :meth:`close`.
    """

    __slots__ = ("_handle", "decoded", "keys", "request", "servable", "started_s")

    def __init__(
        self,
        handle: Handle,
        request: InferRequest,
        decoded: DecodedRows,
        keys: Sequence[bytes] | None,
        started_s: float,
    ) -> None:
        self._handle: Handle | None = handle
        self.servable = cast("ModelServable", handle.servable)
        self.request = request
        self.decoded = decoded
        self.keys = keys
        self.started_s = started_s

    def close(self) -> None:
        """Give the version back; once is enough."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.__exit__(None, None, None)


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
        try:
            body = await read_body(receive, scope["headers"], self._max_body_bytes)
        except AuguryError as error:
            outcome: Outcome | Pending = self._failed(target.model, error)
        else:
            outcome = self._begin(target, scope, body, started_s)
        await self.conclude(outcome, receive, send, started_s)

    def begin(self, target: Target, scope: Scope, body: bytes) -> Answer | Pending:
        """Answer a request whose *body* is there already, if nothing has to be waited for.

        Raises nothing: errors are answers.

        Returns:
            The answer, which has been counted; or what :meth:`conclude` has to go on with.
        """
        started_s = self._clock.monotonic()
        outcome: Outcome | Pending
        try:
            check_body(scope["headers"], self._max_body_bytes)
        except AuguryError as error:
            outcome = self._failed(target.model, error)
        else:
            outcome = self._begin(target, scope, body, started_s)
        if isinstance(outcome, Pending):
            return outcome
        self._count(outcome, started_s)
        return outcome.answer

    async def conclude(
        self, outcome: Outcome | Pending, receive: Receive, send: Send, started_s: float
    ) -> None:
        """Wait for the answer, if there is none yet, and send it."""
        if isinstance(outcome, Pending):
            outcome = await self._finish(outcome, receive)
        await reply_answer(send, outcome.answer)
        self._count(outcome, started_s)

    def _count(self, outcome: Outcome, started_s: float) -> None:
        status = outcome.answer.status
        seconds = self._clock.monotonic() - started_s
        self._metrics.request_done(outcome.model, outcome.version, "native", status, seconds)

    def _begin(
        self, target: Target, scope: Scope, body: bytes, started_s: float
    ) -> Outcome | Pending:
        """Do all that can be done without waiting."""
        kept = False
        handle: Handle | None = None
        try:
            wishes = _wishes(scope["headers"])
            handle = self._engine.lease(target.model, _version(target), target.label)
            outcome = self._ask(handle, wishes, scope, body, started_s)
            kept = isinstance(outcome, Pending)
        except AuguryError as error:
            outcome = self._failed(target.model, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours is told without its details
            outcome = self._broken(target.model, error)
        finally:
            if handle is not None and not kept:
                handle.__exit__(None, None, None)
        return outcome

    def _ask(
        self, handle: Handle, wishes: _Wishes, scope: Scope, content: bytes, started_s: float
    ) -> Outcome | Pending:
        """Answer from memory or from a cheap model, or tell what has to be waited for."""
        servable = cast("ModelServable", handle.servable)
        may_know = servable.caching and wishes.cache.remembered
        question = (DIALECT, content)
        if may_know:
            known = self._engine.asked_before(servable, question)
            if known is not None:
                _deadline(wishes, started_s)
                _priority(wishes)
                caller_of(scope).charge(len(known.rows))
                return self._remembered(servable, known, started_s)
        signature = servable.signature
        plain = plain_rows(signature)
        body: PlainBody | PredictBody | None = None if plain is None else plain.read(content)
        if body is None:
            plain, body = None, decode_body(content)
        deadline_s = None if wishes.timeout is None else _deadline(wishes, started_s)
        priority = Priority.NORMAL if wishes.priority is None else _priority(wishes)
        count = len(body.rows)
        self._charge(count, scope)
        inputs = None if plain is None else plain.inputs(body.rows)
        if inputs is not None:
            decoded = DecodedRows(inputs, list(range(count)), {}, count)
        else:
            if plain is not None:  # it is well-formed, and a size or number in it is off
                body = decode_body(content)
            decoded = decode_rows(body.rows, signature)
        keys: Sequence[bytes] | None = None
        if may_know and not decoded.errors:
            keys = self._engine.keys(servable, decoded.inputs, decoded.rows, body.parameters)
        if keys is not None:
            known = self._engine.known(servable, keys, question)
            if known is not None:
                return self._remembered(servable, known, started_s)
            may_know = len(keys) > 1 or self._engine.may_know(servable, keys[0])
        # Up to twenty times the body's size: not to be kept while the rows wait.
        body.rows.clear()
        if not decoded.positions:
            return self._told(servable, None, decoded)
        request = InferRequest(
            model=servable.package.name,
            version=servable.package.version,
            inputs=decoded.inputs,
            parameters=body.parameters,
            deadline_s=deadline_s,
            use_cache=wishes.cache.use_cache,
            refresh=wishes.cache.refresh,
            priority=priority,
        )
        if not (may_know or decoded.errors):
            # Under overload that is most of what comes: nothing more is done for it.
            refusal = self._engine.too_late(servable, request, decoded.rows, started_s)
            if refusal is not None:
                answer = problem_answer(refusal)
                return Outcome(answer, servable.package.name, servable.version_label)
        response = self._engine.infer_now(servable, request, keys)
        if response is None:
            return Pending(handle, request, decoded, keys, started_s)
        return self._told(servable, response, decoded)

    async def _finish(self, pending: Pending, receive: Receive) -> Outcome:
        """Wait for the answer."""
        servable = pending.servable
        model = servable.package.name
        try:
            with cancelled_when_client_goes(receive):
                response = await self._engine.infer_leased(servable, pending.request, pending.keys)
            return self._told(servable, response, pending.decoded)
        except AuguryError as error:
            return self._failed(model, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours is told without its details
            return self._broken(model, error)
        finally:
            pending.close()

    def _told(
        self, servable: ModelServable, response: InferResponse | None, decoded: DecodedRows
    ) -> Outcome:
        """The answer that has come, or why no row has one."""
        model, version = servable.package.name, servable.version_label
        errors = row_errors(response, decoded)
        if response is not None and len(errors) < decoded.rows:
            answer = Answer(200, encode_response(response, decoded, servable.signature))
            return Outcome(answer, model, version)
        rows = [{"error": row_problem(errors[row])} for row in range(decoded.rows)]
        return Outcome(problem_answer(errors[0], rows=rows), model, version)

    def _failed(self, model: str, error: AuguryError) -> Outcome:
        return Outcome(problem_answer(error), self._known(model))

    def _broken(self, model: str, error: Exception) -> Outcome:
        _log.error("request failed", model=model, exc_info=error)
        return self._failed(model, unexpected())

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

    def _remembered(self, servable: ModelServable, known: KnownRows, started_s: float) -> Outcome:
        """The answer when this process remembers every row: there was nothing to wait for."""
        signature, version = servable.signature, servable.version_label
        model = servable.package.name
        fragments = known.fragments(DIALECT, lambda outputs: encode_fragment(outputs, signature))
        total_s = self._clock.monotonic() - started_s
        return Outcome(
            Answer(200, encode_fragments(model, version, fragments, total_s)), model, version
        )

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
    priority: bytes | None = None
    cache: CacheWishes | None = None
    for name, value in headers:
        if name == b"cache-control":
            cache = (cache or CacheWishes()).with_directives(value)
        elif name == b"x-request-timeout" and timeout is None:
            timeout = value
        elif name == b"x-request-priority" and priority is None:
            priority = value
    if cache is None and timeout is None and priority is None:
        return _NO_WISHES
    return _Wishes(timeout, priority, cache or CacheWishes())


def _priority(wishes: _Wishes) -> Priority:
    """From ``X-Request-Priority``."""
    if wishes.priority is None:
        return Priority.NORMAL
    priority = _PRIORITIES.get(wishes.priority.lower())
    if priority is None:
        raise InvalidInput(
            f"X-Request-Priority is {wishes.priority.decode('latin-1')[:40]!r}; send one of: "
            + ", ".join(name.decode() for name in _PRIORITIES)
        )
    return priority


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
