"""Whom the load is for: a URL, the dialect it is spoken to in, and what the server says of the model."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from augury.bench.dialects.base import Dialect, Model
from augury.bench.dialects.registry import DIALECTS
from augury.core.errors import OperatorError

# A server that takes longer to describe a model is not measured yet.
ASK_S: Final = 30.0


@dataclass(frozen=True)
class Target:
    """A model on a server.

    Args:
        url: As it was given, for reports.
        host: Name or address.
        port: Its port.
        path: Where requests go.
        dialect: How they are spoken.
        model: What is known of the model.
        headers: Sent with each request (credentials, for instance); reports leave their values out.
    """

    url: str
    host: str
    port: int
    path: str
    dialect: Dialect
    model: Model
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def host_header(self) -> str:
        """The ``Host`` of each request."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def resolve(self) -> tuple[int, tuple[str, int]]:
        """Family and address of its first address that takes connections.

        Raises:
            OperatorError: It cannot be reached.
        """
        problem: OSError | None = None
        try:
            for family, _, _, _, address in socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            ):
                try:
                    socket.create_connection(address[:2], timeout=ASK_S).close()  # type: ignore[arg-type]
                except OSError as error:
                    problem = error
                else:
                    return int(family), (str(address[0]), int(address[1]))
        except OSError as error:
            problem = error
        raise _unreachable(self.host, self.port, problem) from None


def find_target(
    url: str,
    *,
    dialect: str | None = None,
    model: str = "",
    headers: Sequence[tuple[str, str]] = (),
) -> Target:
    """The target that *url* names, after asking the server what it serves.

    Args:
        url: ``http://host:port``, with *model* and *dialect* (native when not given); or with the path of a
            dialect, which then tells both; or with any other path, which is the dialect ``raw``.
        dialect: Its name.
        model: The model's name; the only one of the server when not given.
        headers: Sent with each request.

    Raises:
        OperatorError: No such dialect or model, or the server cannot be reached.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        hint = (
            " (TLS is not measured: it would be the generator's cost)"
            if parts.scheme == "https"
            else ""
        )
        raise OperatorError(f"{url!r} is no http:// URL{hint}")
    try:
        port = parts.port or 80
    except ValueError:
        raise OperatorError(f"{url!r} has no valid port") from None
    path = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    spoken, name = _spoken(parts.path, dialect)
    name = model or name
    target = Target(url, parts.hostname, port, path, spoken, Model(name), tuple(headers))
    target.resolve()
    described = spoken.describe(lambda where: ask(target, where), name)
    if parts.path in ("", "/") and spoken.name != "raw":
        path = spoken.path(described.name)
    return replace(target, path=path or "/", model=described)


def _spoken(path: str, dialect: str | None) -> tuple[Dialect, str]:
    if dialect is not None:
        spoken = DIALECTS.get(dialect)
        return spoken, spoken.model_of(path) or ""
    if path in ("", "/"):
        return DIALECTS.get("native"), ""
    for name in DIALECTS.names():
        spoken = DIALECTS.get(name)
        if (found := spoken.model_of(path)) is not None:
            return spoken, found
    return DIALECTS.get("raw"), ""


def ask(target: Target, path: str) -> Any:
    """GET *path*: the JSON document, or ``None`` for 404.

    Raises:
        OperatorError: Any other answer, or none; tells the server's own words.
    """
    connection = http.client.HTTPConnection(target.host, target.port, timeout=ASK_S)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path, headers=dict(target.headers))
            response = connection.getresponse()
            body = response.read(8 << 20)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(target.host, target.port, error) from None
    if response.status == 404:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if response.status != 200 or document is None:
        raise OperatorError(f"GET {path}: {response.status} {words_of(body)}".rstrip())
    return document


def post(target: Target, headers: Sequence[tuple[str, str]], body: bytes) -> tuple[int, bytes]:
    """POST one request, as the load will; status and body of the answer.

    Raises:
        OperatorError: No answer.
    """
    connection = http.client.HTTPConnection(target.host, target.port, timeout=ASK_S)
    with contextlib.closing(connection):
        try:
            connection.request("POST", target.path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(target.host, target.port, error) from None


def words_of(body: bytes) -> str:
    """What a person should read of an error's body."""
    text = body[:2000].decode(errors="replace").strip()
    with contextlib.suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict):
            for name in ("detail", "error", "message"):
                if isinstance(document.get(name), str):
                    return str(document[name])
    return " ".join(text.split())[:300]


def _unreachable(host: str, port: int, error: Exception | None) -> OperatorError:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OperatorError(f"no answer from {host}:{port}: {told}")
