"""Errors of the FastAPI side, told in the same form as everywhere."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from augury.core.errors import AuguryError, InvalidInput, MalformedBody, NotFound
from augury.observe.logs import get_logger
from augury.protocols.native.errors import problem_response, unexpected

_log = get_logger(__name__)


class MethodNotAllowed(InvalidInput):
    """The path exists, the method does not."""

    code, title, status = "method_not_allowed", "Method not allowed", 405


def install(app: FastAPI) -> None:
    """Let *app* answer every error as a problem document."""

    @app.exception_handler(AuguryError)
    async def known(_: Request, error: AuguryError) -> Response:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])[:200]}: {fault['msg'][:300]}"
            for fault in error.errors()[:5]
        ]
        if any(fault["loc"] == ("body",) for fault in error.errors()):
            faults.append("send a JSON object, with content-type: application/json")
        return problem_response(InvalidInput("; ".join(faults)))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, AuguryError):
            return problem_response(error.__cause__)  # raised while FastAPI read the body
        path = request.url.path[:200]
        if error.status_code >= 500:
            return problem_response(unexpected())
        if error.status_code == 404:
            told: AuguryError = NotFound(f"nothing is at {path!r}; /docs lists the routes")
        elif error.status_code == 405:
            told = MethodNotAllowed(f"{request.method} is not for {path!r}; /docs lists the routes")
        elif error.detail == "There was an error parsing the body":  # FastAPI's words
            told = MalformedBody("the body is not valid JSON in UTF-8, or is nested too deeply")
        else:
            told = InvalidInput(f"{path!r}: {error.detail}")
        return problem_response(told, error.headers)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        _log.error("request failed", path=request.url.path[:200], exc_info=error)
        return problem_response(unexpected())
