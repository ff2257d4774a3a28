"""uvicorn's HTTP connection, with the bounds that it lacks and an end that loses nothing.

Bounds: a client may take so long over its headers or a pause in its body, and its headers may be so
large; the server looks after the time once a second, which costs a request nothing.  End: while the
server drains, the last request of each connection is told "connection: close", and an idle connection
is closed only when nothing waits to be read on it.

A short cut: a request that came whole in one read may be answered at once, where the application can
do that without waiting; then there is no task, no exchange of messages, none of the objects that these
need, and one write.  The application decides, by the same code as always; all else goes uvicorn's way,
which is entered when that is known: the short cut is only for what cannot differ there.
"""

from __future__ import annotations

import asyncio
import select
import socket
import urllib.parse
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from augury.core.errors import AuguryError, InvalidInput, MalformedBody
from augury.edge.health import Drain
from augury.observe.logs import get_logger
from augury.protocols.asgi import Answer, Scope
from augury.protocols.native.errors import CONTENT_TYPE, problem_body

# A connection that is to be closed may be quiet for so long, before it counts as idle.
LINGER_S: Final = 0.2

# Of requests that came in one read, so many are answered at once, and for so long; other connections
# have to wait meanwhile.
AT_ONCE: Final = 16
AT_ONCE_S: Final = 0.001

# URLs up to this length are taken apart once and remembered.
_USUAL_URL_BYTES: Final = 256

_log = get_logger(__name__)


class HeadersTooLarge(InvalidInput):
    """A request line with headers over the limit."""

    code, title, status = "headers_too_large", "Headers too large", 431


class SupportsClose(Protocol):
    """What a request holds while it is answered."""

    def close(self) -> None:
        """Give it back; once is enough."""


class Application(Protocol):
    """An ASGI application that can answer some requests at once."""

    def answer_now(self, scope: Scope, body: bytes) -> Answer | SupportsClose | None:
        """The answer to a request that has come whole; raises nothing.

        Else the application is to be called with what *scope* is by then, and what is returned to be
        closed when that is over.  Of a scope it has type, method, path, headers and client.
        """


class Connection(HttpToolsProtocol):
    """One client's connection.

    Args:
        application: Asked first; ``None``: all requests go uvicorn's way.
        drain: Once begun, each connection ends with its next answer.
        max_header_bytes: Request line and headers may have so many bytes; what arrives in one read
            (up to 256 KiB) is looked at afterwards.
        **uvicorn: What uvicorn gives to its protocols.
    """

    def __init__(
        self,
        *,
        drain: Drain,
        max_header_bytes: int,
        application: Application | None = None,
        **uvicorn: Any,
    ) -> None:
        self._application = application
        # The body, so far, of a request that may be answered at once; None: there is no such request.
        self._held: list[bytes] | None = None
        # Given back when the task that begins next is over.
        self._holds: SupportsClose | None = None
        # Whether a read is being parsed, and how many of its requests have been answered at once.
        self._reading = False
        self._answered = 0
        # Whether the latest cycle's client wants to go on after its answer.
        self._goes_on = True
        # Since when the connection has nothing to do; None while it has.
        self._idle_since_s: float | None = None
        self._drain = drain
        self._max_header_bytes = max_header_bytes
        self._header_bytes = 0
        self._read_bytes = 0
        self._heard_s = 0.0
        # Since when the client owes us a request's head; None when it owes none.
        self._head_since_s: float | None = None
        self._head_begun = False
        self._unsent = (0, 0.0)
        super().__init__(**uvicorn)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._heard_s = self._head_since_s = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self.loop.time()
        self._read_bytes = len(data)
        self._reading = self._application is not None
        self._answered = 0
        rest = data
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    break
                except httptools.HttpParserUpgrade as offer:
                    rest = self._declined(rest[offer.args[0] :])
        except httptools.HttpParserError:
            self._held = None
            self._refuse(MalformedBody("the request is not valid HTTP/1.1"))
        self._reading = False
        if self._held is not None:  # the rest of it is yet to come
            self._begin_held()
        if self._head_begun:
            self._header_bytes += len(data)
            if self._header_bytes > self._max_header_bytes and not self.transport.is_closing():
                self._refuse(
                    HeadersTooLarge(
                        f"request line and headers have {self._header_bytes} bytes or more, the "
                        f"limit is {self._max_header_bytes} (max_header_bytes)"
                    )
                )

    def on_message_begin(self) -> None:
        self._idle_since_s = None
        self._head_since_s = self._heard_s
        self._head_begun = True
        # The read in which it begins may hold the end of a body as well; it counts as nothing.
        self._header_bytes = -self._read_bytes
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_begun:  # what follows a body is no header, and may not pass for one
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_since_s = None
        self._head_begun = False
        if self._reading and self._may_be_at_once():
            self._held = []
        else:
            self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        if self._held is not None:
            self._answer_held(self._held)
        else:
            super().on_message_complete()
            # uvicorn leaves it so when the answer came before the body's end.
            self.cycle.more_body = False

    def on_response_complete(self) -> None:
        """As uvicorn's, but for a timer each time: :meth:`end_if_stalled` looks after idle ones."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since_s = self.loop.time()

    def _may_be_at_once(self) -> bool:
        """Whether the request whose head has come may be answered before another is read.

        Not where its answer would be the connection's last: what follows it must not be computed, and
        while the server drains the last one is known only when all have been read.
        """
        cycle, parser, flow = self._cycle, self.parser, self.flow
        return (
            (cycle is None or cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() != "1.0"
            and not parser.should_upgrade()
            and not self._drain.begun
            # These need more than one write, or must wait for it.
            and not self.expect_100_continue
            and not (flow.write_paused or flow.read_paused)
            and (
                not self._answered
                or (self._answered < AT_ONCE and self.loop.time() - self._heard_s < AT_ONCE_S)
            )
        )

    def _begin_cycle(self) -> None:
        """Let uvicorn begin with a request whose head has come."""
        previous, goes_on = self._cycle, self._goes_on
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        self._goes_on = self.cycle.keep_alive
        if self._drain.begun:
            self.cycle.keep_alive = False
            if previous is not None and not previous.response_started:
                previous.keep_alive = goes_on  # pipelined: only the last answer may close

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        holds, self._holds = self._holds, None
        if holds is not None:  # a task that is cancelled before it begins closes nothing itself
            task.add_done_callback(lambda _: holds.close())

    def _begin_held(self, noted: Scope | None = None) -> None:
        """Have the application called for the request that is held, with what it has *noted* of it."""
        body, self._held = cast("list[bytes]", self._held), None
        self._begin_cycle()
        if noted is not None:
            cast(Scope, self.cycle.scope).update(noted)
        for part in body:
            super().on_body(part)

    def _answer_held(self, body: list[bytes]) -> None:
        """Answer the request that is held, which has come whole, or have the application called."""
        assert self._application is not None  # noqa: S101 - else nothing is held
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": self.root_path + _path(self.url),
            "headers": self.headers,
            "client": self.client,
        }
        try:
            answer = self._application.answer_now(scope, b"".join(body))
        except Exception as error:  # noqa: BLE001 - the parser would take it for the client's fault
            _log.error("request failed", path=scope["path"][:200], exc_info=error)
            answer = None
        if isinstance(answer, Answer):
            self._held = None
            self._answered += 1
            self.transport.write(_response(answer))
            self.server_state.total_requests += 1
            self._idle_since_s = self._heard_s
        else:
            self._holds = answer
            self._begin_held(scope)
            super().on_message_complete()

    def _declined(self, rest: bytes) -> bytes:
        """Go on in HTTP/1.1 with a client that offers another protocol, as Java's does each time.

        The parser takes what follows the head, a body too, for the other protocol's.

        Args:
            rest: What came after the head.

        Returns:
            What the parser is to be fed.
        """
        for name, value in self.cycle.scope["headers"]:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                self.cycle.more_body = True
                self.cycle.message_event.clear()
                self.parser = httptools.HttpRequestParser(_BodyParser(self))
                return b"POST / HTTP/1.1\r\n%b: %b\r\n\r\n" % (name, value) + rest
        return rest

    def _refuse(self, error: AuguryError) -> None:
        if self._working:
            # A whole request before it is under way: its answer is the last.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        body = problem_body(error)
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[error.status] + head % (CONTENT_TYPE, len(body)) + body)
        self.transport.close()

    def begin_to_end(self) -> None:
        """The drain has begun: the answer to the request under way is the last."""
        if self._cycle is not None:
            self._cycle.keep_alive = False

    def end_if_idle(self) -> None:
        """Close, unless a request is under way, has begun to arrive, or waits to be read."""
        if self.transport.is_closing():
            return
        quiet_s = self.loop.time() - self._heard_s
        under_way = self._cycle is not None and not self._cycle.response_complete
        if not (under_way or self._head_begun or quiet_s < LINGER_S or self._readable):
            self.transport.close()

    def end_if_stalled(self, timeout_s: float) -> None:
        """Close when the client has kept us waiting for *timeout_s*."""
        now_s = self.loop.time()
        cycle = self._cycle
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes != self._unsent[0]:
            self._unsent = (unsent_bytes, now_s)
        if unsent_bytes and now_s - self._unsent[1] > timeout_s:
            self.transport.abort()  # it does not read our answer
        elif self._working or self.flow.read_paused:
            # It waits for us; what it has begun to send besides counts from here.
            if self._head_since_s is not None:
                self._head_since_s = now_s
        elif self._head_since_s is not None:
            if now_s - self._head_since_s > timeout_s:
                self.transport.close()
        elif cycle is not None and cycle.more_body:
            if now_s - self._heard_s > timeout_s:
                self.transport.close()
        elif self._idle_since_s is not None and (
            now_s - self._idle_since_s > self.timeout_keep_alive
        ):
            self.transport.close()

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The latest request; uvicorn's annotation forgets that there is none at first."""
        return self.cycle

    @property
    def _working(self) -> bool:
        """Whether a request that has been read to its end has yet to be answered."""
        cycle = self._cycle
        return cycle is not None and not (cycle.response_complete or cycle.more_body)

    @property
    def _readable(self) -> bool:
        """Whether the kernel holds bytes that we have not read."""
        asked = select.poll()
        asked.register(
            cast("socket.socket", self.transport.get_extra_info("socket")), select.POLLIN
        )
        return bool(asked.poll(0))


def _path(url: bytes) -> str:
    """What uvicorn tells as the path of *url*."""
    return _usual_path(url) if len(url) <= _USUAL_URL_BYTES else _usual_path.__wrapped__(url)


@lru_cache(maxsize=512)
def _usual_path(url: bytes) -> str:
    path = httptools.parse_url(url).path.decode("ascii")
    return urllib.parse.unquote(path) if "%" in path else path


def _response(answer: Answer) -> bytes:
    """The bytes of a whole response, after which the connection goes on."""
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINE[answer.status],
        answer.content_type,
        len(answer.body),
        b"".join([b"%b: %b\r\n" % header for header in answer.headers]) if answer.headers else b"",
        answer.body,
    )


class _BodyParser:
    """What a parser tells, when only the body is new; gives way to the parser before it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._before = connection.parser
        self.on_body = connection.on_body

    def on_message_complete(self) -> None:
        self._connection.parser = self._before
        self._connection.on_message_complete()
