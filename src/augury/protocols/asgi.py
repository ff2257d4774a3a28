"""What every HTTP dialect needs of ASGI: read a bounded body, answer, notice that the client left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

from augury.core.errors import ClientGone, InvalidInput, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

# Most answers are quicker; only for the others it is worth a task to watch the connection.
WATCH_AFTER_S: Final = 0.05


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first header *name* (lower case), or ``None``."""
    for key, value in headers:
        if key == name:
            return value
    return None


class CacheWishes(NamedTuple):
    """What a request's ``Cache-Control`` asks for, as RFC 9111 has it.

    After ``no-cache`` what is stored will not do, but what is computed may be stored; after
    ``no-store`` neither.

    Args:
        use_cache: Whether the answer may come from memory, and be kept there.
        refresh: With *use_cache*, whether it is computed anew all the same, and then kept.
    """

    use_cache: bool = True
    refresh: bool = False

    @property
    def remembered(self) -> bool:
        """Whether a remembered answer will do."""
        return self.use_cache and not self.refresh

    def with_directives(self, value: bytes) -> CacheWishes:
        """With those of one more header.

        >>> CacheWishes().with_directives(b"max-age=0, No-Cache")
        CacheWishes(use_cache=True, refresh=True)
        """
        directives = value.lower()
        return CacheWishes(
            self.use_cache and b"no-store" not in directives,
            self.refresh or b"no-cache" in directives,
        )


def cache_wishes(headers: Headers) -> CacheWishes:
    """What all ``Cache-Control`` headers of a request ask for."""
    wishes = CacheWishes()
    for name, value in headers:
        if name == b"cache-control":
            wishes = wishes.with_directives(value)
    return wishes


class Answer(NamedTuple):
    """A whole response, however it is sent.

    Args:
        status: Its status code.
        body: All of it.
        content_type: Of the body.
        headers: Further ones, names in lower case.
    """

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()


def check_body(headers: Headers, max_bytes: int) -> None:
    """Whether a body with these *headers* may be read.

    Raises:
        TooLarge: More than *max_bytes* are announced.
        InvalidInput: A content encoding that we do not read.
    """
    length: bytes | None = None
    encoding: bytes | None = None
    for name, value in headers:  # one pass: this is done for each request
        if name == b"content-length" and length is None:
            length = value
        elif name == b"content-encoding" and encoding is None:
            encoding = value
    if length is not None and length.isdigit() and int(length) > max_bytes:
        raise body_too_large(int(length), max_bytes)
    if encoding is not None and encoding.lower() != b"identity":
        raise InvalidInput(
            f"content encoding {encoding.decode('latin-1')[:40]!r} is not supported; "
            "send the body as it is"
        )


async def read_body(receive: Receive, headers: Headers, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: More than *max_bytes*, announced or sent.
        InvalidInput: A content encoding that we do not read.
        ClientGone: The client hung up while sending.
    """
    check_body(headers, max_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > max_bytes:
            raise body_too_large(len(body), max_bytes)
        return body
    chunks: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone("the client hung up while it sent the request")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise body_too_large(size, max_bytes)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def body_too_large(size: int, max_bytes: int) -> TooLarge:
    """The error for a body of *size* bytes or more."""
    return TooLarge(
        f"the body has {size} bytes or more, the limit is {max_bytes} (max_body_bytes); send less",
        limit_bytes=max_bytes,
    )


async def reply_answer(send: Send, answer: Answer) -> None:
    """Send *answer*."""
    await reply(send, answer.status, answer.body, answer.content_type, answer.headers)


async def reply(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = b"application/json",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a whole response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


class cancelled_when_client_goes:  # noqa: N801 - reads as what it does, like contextlib's
    """While the block runs, a client that hangs up cancels it; the body has been read before.

    Args:
        receive: Of the request.

    Raises:
        ClientGone: That happened.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine always runs in a task here
        self._task: asyncio.Task[Any] = task
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._start)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and isinstance(error, asyncio.CancelledError):
            self._task.uncancel()
            raise ClientGone("the client hung up before the answer was ready") from None

    def _start(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()
