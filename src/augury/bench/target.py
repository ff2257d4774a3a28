"""Whom the load is for: a URL, the dialect it is spoken to in, and what the server says of the model."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from augury.bench.dialects.base import Dialect, Model, plain_words
from augury.bench.dialects.registry import DIALECTS
from augury.bench.load.wire import Answer, AnswerReader, BrokenAnswerError, encode_request
from augury.core.errors import OperatorError

# A server that takes longer to describe a model, or for its first answer, is not measured yet.
ASK_S: Final = 30.0
MAX_DESCRIPTION_BYTES: Final = 8 * 1024 * 1024
MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Target:
    """A model on a server.

    Args:
        url: For reports: scheme, host, port and path, the values of a query left out.
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

    @property
    def shown_path(self) -> str:
        """The path for reports and messages: values of its query are left out, since they may be secrets."""
        return _masked(self.path)

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
    try:
        parts = urlsplit(url)
    except ValueError:
        raise OperatorError("that is no valid URL") from None
    if "@" in parts.netloc:
        raise OperatorError(
            "a URL with a user or password is not taken; "
            "send a header instead, such as -H 'Authorization: Basic …'"
        )
    if parts.scheme != "http" or not parts.hostname:
        hint = (
            " (TLS is not measured: it would be the generator's cost)"
            if parts.scheme == "https"
            else ""
        )
        raise OperatorError(f"{_masked(url)!r} is no http:// URL{hint}")
    try:
        port = parts.port or 80
    except ValueError:
        raise OperatorError(f"{_masked(url)!r} has no valid port") from None
    # As a browser sends it: what is no ASCII goes in per cent.
    path = quote(parts.path.rstrip("/"), safe=_PATH_SIGNS)
    if parts.query:
        path += "?" + quote(parts.query, safe=_PATH_SIGNS + "?")
    spoken, name = _spoken(parts.path, dialect)
    name = model or name
    shown = _masked(f"{parts.scheme}://{parts.netloc}{path}")
    target = Target(shown, _ascii(parts.hostname), port, path, spoken, Model(name), tuple(headers))
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
    request = encode_request(path, target.host_header, target.headers, None)
    answer = exchange(target, request, most_bytes=MAX_DESCRIPTION_BYTES)
    if answer.status == 404:
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if answer.status != 200 or document is None:
        raise OperatorError(f"GET {path}: {answer.status} {words_of(answer.body)}".rstrip())
    return document


def exchange(
    target: Target,
    request: bytes,
    *,
    most_bytes: int = MAX_ANSWER_BYTES,
    within_s: float = ASK_S,
) -> Answer:
    """Send one request, on a connection of its own.

    Args:
        target: Whom to.
        request: Its bytes, whole.
        most_bytes: An answer may have.
        within_s: It must have come, however busily the server sends.

    Raises:
        OperatorError: No answer within that time and size.
    """
    until_s = time.monotonic() + within_s
    reader = AnswerReader()
    try:
        with socket.create_connection((target.host, target.port), timeout=within_s) as sock:
            sock.sendall(request)
            while True:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                sock.settimeout(left_s)
                data = sock.recv(64 * 1024)
                answer = reader.feed(data) if data else reader.close()
                if answer is not None:
                    return answer
                if not data:
                    raise OperatorError(
                        f"{target.host}:{target.port} closed the connection before the answer was whole"
                    )
                if reader.size > most_bytes:
                    raise OperatorError(
                        f"the answer of {target.host}:{target.port} has more than {most_bytes >> 20} MiB"
                    )
    except TimeoutError:
        raise OperatorError(
            f"no whole answer from {target.host}:{target.port} within {within_s:g} s"
        ) from None
    except BrokenAnswerError:
        raise OperatorError(f"what {target.host}:{target.port} answers is no HTTP/1") from None
    except OSError as error:
        raise _unreachable(target.host, target.port, error) from None


def words_of(body: bytes) -> str:
    """What a person should read of an error's body."""
    text = body[:2000].decode(errors="replace")
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body)
        if isinstance(document, dict):
            for name in ("detail", "error", "message"):
                if isinstance(document.get(name), str):
                    text = document[name]
                    break
    return plain_words(text, 300)


_PATH_SIGNS: Final = "/%:@!$&'()*+,;=~-._"


def _masked(url: str) -> str:
    """*url* with the values of its query left out.

    >>> _masked("http://h/p?key=1&x")
    'http://h/p?key=…&…'
    """
    path, mark, query = url.partition("?")
    words = [word.partition("=") for word in query.split("&")]
    return path + mark + "&".join(f"{name}=…" if sign else "…" for name, sign, _ in words if mark)


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise OperatorError(f"{host!r} is no host's name") from None


def _unreachable(host: str, port: int, error: Exception | None) -> OperatorError:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OperatorError(f"no answer from {host}:{port}: {told}")
