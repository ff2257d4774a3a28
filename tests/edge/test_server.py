"""The server on real sockets: what it takes from clients, and how it goes away."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest

from augury.edge.health import Drain
from augury.edge.http import Edge
from augury.edge.listener import bind
from augury.edge.server import Server
from augury.protocols.asgi import Message, Receive, Scope, Send, read_body, reply
from tests.wire import Wire, get, post


@pytest.fixture(autouse=True)
def near_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshakes of this machine with itself take no quarter of a second."""
    monkeypatch.setattr("augury.edge.server._BACKLOG_S", 0.03)


class App:
    """Answers with what it was asked; ``/wait`` waits for :attr:`go`, ``/big`` answers 64 MiB."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.errors: list[BaseException] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        try:
            if scope["path"] == "/early":
                return await reply(send, 413, b"too much")
            body = await read_body(receive, scope["headers"], 10**9)
            if scope["path"] == "/wait":
                await self.go.wait()
            if scope["path"] == "/big":
                body = b"x" * (64 << 20)
            head = f"{scope['method']} {scope['path']} ".encode()
            await reply(send, 200, head + body, b"text/plain")
        except BaseException as error:
            self.errors.append(error)
            raise


class Running:
    """A server in this loop."""

    def __init__(self, app: App, server: Server, task: asyncio.Task[None], port: int) -> None:
        self.app = app
        self.server = server
        self.task = task
        self.port = port

    async def wire(self) -> Wire:
        """A new connection to it."""
        return await Wire.open("127.0.0.1", self.port)

    def stop(self) -> None:
        """Let it drain."""
        self.server.should_exit = True


@asynccontextmanager
async def running(
    *,
    app: Callable[[Scope, Receive, Send], Any] | None = None,
    grace_s: float = 0.0,
    drain_timeout_s: float = 30.0,
    client_timeout_s: float = 30.0,
    max_header_bytes: int = 65_536,
) -> AsyncIterator[Running]:
    """A server over *app*; stopped at the end."""
    own = App()
    drain = Drain()
    server = Server(
        cast(Edge, app or own),
        drain,
        grace_s=grace_s,
        drain_timeout_s=drain_timeout_s,
        client_timeout_s=client_timeout_s,
        max_header_bytes=max_header_bytes,
    )
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    task = asyncio.create_task(server.serve([listener]))
    await until(lambda: server.started)
    one = Running(own, server, task, port)
    try:
        yield one
    finally:
        own.go.set()
        one.stop()
        await asyncio.wait_for(task, 60)


async def until(condition: Callable[[], bool]) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a state of others, without an event to wait for
            await asyncio.sleep(0.005)


class TestRequests:
    async def test_one_after_the_other(self) -> None:
        """A connection serves many requests."""
        async with running() as served, await served.wire() as wire:
            for number in range(3):
                answer = await wire.ask(post("/", b"%d" % number))
                assert (answer.status, answer.body) == (200, b"POST / %d" % number)
                assert "connection" not in answer.headers

    async def test_pipelined(self) -> None:
        """Requests sent at once are answered in their order."""
        async with running() as served, await served.wire() as wire:
            await wire.send(b"".join(post("/", b"%d" % number) for number in range(50)))
            for number in range(50):
                assert (await wire.answer()).body == b"POST / %d" % number

    async def test_byte_by_byte(self) -> None:
        """A request in the smallest pieces is a request."""
        async with running() as served, await served.wire() as wire:
            for byte in post("/slow", b"abc"):
                await wire.send(bytes([byte]))
            assert (await wire.answer()).body == b"POST /slow abc"

    async def test_http_1_0(self) -> None:
        """The older version is answered and closed."""
        async with running() as served, await served.wire() as wire:
            assert (await wire.ask(get("/", version="1.0"))).status == 200
            assert await wire.ended()

    async def test_absolute_form(self) -> None:
        """A URI with a host means the path in it."""
        async with running() as served, await served.wire() as wire:
            assert (await wire.ask(get("http://other.example/a/b?c=d"))).body == b"GET /a/b "

    async def test_expect_100(self) -> None:
        """The client is told to go on, and then answered; an early refusal comes instead."""
        async with running() as served, await served.wire() as wire:
            head, _, body = post("/", b"abc", "Expect: 100-continue").partition(b"\r\n\r\n")
            assert (await wire.ask(head + b"\r\n\r\n")).status == 100
            assert (await wire.ask(body)).body == b"POST / abc"
        async with running() as served, await served.wire() as wire:
            head = post("/early", b"abc", "Expect: 100-continue").partition(b"\r\n\r\n")[0]
            assert (await wire.ask(head + b"\r\n\r\n")).status == 413

    @pytest.mark.parametrize("protocol", ["h2c", "websocket"])
    async def test_other_protocols_are_not_taken_up(self, protocol: str) -> None:
        """Who offers one, as Java's client does with every request, is answered in HTTP/1.1."""
        offer = (
            "Connection: Upgrade, HTTP2-Settings",
            f"Upgrade: {protocol}",
            "HTTP2-Settings: AA",
        )
        async with running() as served, await served.wire() as wire:
            for number in range(3):
                body = b"%d" % number
                assert (await wire.ask(post("/", body, *offer))).body == b"POST / " + body
            for _ in range(2):
                assert (await wire.ask(get("/", *offer))).status == 200
            await wire.send(get("/a", *offer) + get("/b"))
            assert [(await wire.answer()).body for _ in range(2)] == [b"GET /a ", b"GET /b "]

    async def test_the_body_beside_another_protocol_s_offer_may_come_later(self) -> None:
        """In chunks, in pieces, broken: it is a body like any other."""
        offer = ("Connection: Upgrade", "Upgrade: h2c")
        async with running() as served, await served.wire() as wire:
            await wire.send(post("/", b"abc", *offer)[:-2])
            await asyncio.sleep(0.05)
            assert (await wire.ask(b"bc")).body == b"POST / abc"
            chunked = ["POST / HTTP/1.1", "Host: a", *offer, "Transfer-Encoding: chunked", "", ""]
            await wire.send("\r\n".join(chunked).encode() + b"2\r\nde\r\n")
            await asyncio.sleep(0.05)
            assert (await wire.ask(b"1\r\nf\r\n0\r\n\r\n")).body == b"POST / def"
            broken = "\r\n".join(chunked).encode() + b"nonsense\r\n"
            assert (await wire.ask(broken)).status == 400

    async def test_a_large_body_that_was_refused_early_does_no_harm(self) -> None:
        """The client may send it to its end, and use the connection again."""
        async with running() as served, await served.wire() as wire:
            answer = await wire.ask(post("/early", b"x" * (4 << 20)))
            assert answer.status == 413
            assert (await wire.ask(get("/"))).status == 200

    async def test_a_half_closed_connection_is_a_client_that_left(self) -> None:
        """Nobody can tell the two apart; nothing is left behind."""
        async with running() as served:
            async with await served.wire() as wire:
                await wire.send(post("/wait", b""))
                await until(lambda: served.app.begun == 1)
                wire.writer.write_eof()
                assert await wire.ended()
            await until(lambda: not served.server.server_state.connections)


class TestHostility:
    @pytest.mark.parametrize(
        "data",
        [
            b"\x00" * 100,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"GET / HTTP/1.1\r\nA\x00B: x\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\n\r\n",
            b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"CONNECT other:80 HTTP/1.1\r\n\r\n",
            b"hello, is it me you are looking for?\r\n\r\n",
        ],
    )
    async def test_what_is_no_request_is_refused(self, data: bytes) -> None:
        """400 as a problem, then the connection is closed; the app never sees it."""
        async with running() as served, await served.wire() as wire:
            answer = await wire.ask(data)
            assert answer.status == 400
            assert answer.headers["content-type"] == "application/problem+json"
            assert json.loads(answer.body)["code"] == "malformed_body"
            assert await wire.ended()
            assert served.app.begun == 0
            async with await served.wire() as other:
                assert (await other.ask(get("/"))).status == 200

    @pytest.mark.parametrize(
        "head", [b"GET /" + b"x" * 3000, b"GET / HTTP/1.1\r\nA: " + b"x" * 3000]
    )
    async def test_headers_over_the_limit_are_refused(self, head: bytes) -> None:
        """431 with limit and setting, however slowly they come."""
        async with running(max_header_bytes=2000) as served, await served.wire() as wire:
            for start in range(0, 3000, 500):
                await wire.send(head[start : start + 500])
                await asyncio.sleep(0.01)
            answer = await wire.answer()
            assert answer.status == 431
            assert "2000 (max_header_bytes)" in json.loads(answer.body)["detail"]

    @pytest.mark.parametrize(
        "rest", [b"\x00nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 5000]
    )
    async def test_what_follows_a_request_does_not_harm_it(self, rest: bytes) -> None:
        """Garbage behind a request that is under way: the request is answered, the rest is not."""
        async with running(max_header_bytes=2000) as served, await served.wire() as wire:
            await wire.send(post("/wait", b"abc"))
            await until(lambda: served.app.begun == 1)
            for start in range(0, len(rest), 1000):
                await wire.send(rest[start : start + 1000])
                await asyncio.sleep(0.02)
            served.app.go.set()
            answer = await wire.answer()
            assert (answer.status, answer.body) == (200, b"POST /wait abc")
            assert answer.headers["connection"] == "close"
            assert await wire.ended()
            assert served.app.begun == 1

    async def test_bodies_are_no_headers(self) -> None:
        """Only the head counts, for each request anew."""
        async with running(max_header_bytes=2000) as served, await served.wire() as wire:
            for _ in range(30):
                assert (await wire.ask(post("/", b"x" * 5000))).status == 200
                assert (await wire.ask(get("/", "A: " + "x" * 1500))).status == 200
            # The next head begins in the same read as a body ends.
            await wire.send(post("/", b"x" * 5000) + get("/")[:-1])
            assert (await wire.answer()).status == 200
            assert (await wire.ask(b"\n")).status == 200

    async def test_endless_headers_take_no_memory(self) -> None:
        """Whoever sends headers without an end is cut at the limit."""
        async with running(max_header_bytes=100_000) as served, await served.wire() as wire:
            sent = 0
            with suppress(ConnectionError):
                await wire.send(b"GET / HTTP/1.1\r\n")
                while sent < 20 << 20:
                    await wire.send(b"A: " + b"x" * 60_000 + b"\r\n")
                    sent += 60_000
            assert sent < 15 << 20

    async def test_slow_headers_are_cut(self) -> None:
        """However often another byte comes, headers must end in time."""
        async with running(client_timeout_s=0.5) as served, await served.wire() as wire:
            started_s = time.monotonic()
            with suppress(ConnectionError):
                await wire.send(b"GET / HTTP/1.1\r\n")
                while not wire.reader.at_eof() and time.monotonic() - started_s < 20:
                    await wire.send(b"A: b\r\n")
                    await asyncio.sleep(0.05)
            assert time.monotonic() - started_s < 20
            assert served.app.begun == 0

    async def test_a_silent_connection_is_cut(self) -> None:
        """A connection on which nothing was ever asked is closed."""
        async with running(client_timeout_s=0.3) as served, await served.wire() as wire:
            assert await wire.ended()

    @pytest.mark.parametrize("more", [b"", b"\r\n", b"\r\n\r\n"])
    async def test_an_idle_connection_is_closed(self, more: bytes) -> None:
        """Some time after its last answer, also where empty lines follow that."""
        async with running() as served:
            served.server.config.timeout_keep_alive = 1
            async with await served.wire() as wire:
                assert (await wire.ask(post("/a", b"b"))).status == 200
                await wire.send(more)
                assert await wire.ended()

    async def test_a_body_that_nobody_waits_for_is_cut_as_any_other(self) -> None:
        """Its request has been refused long ago."""
        async with running(client_timeout_s=0.3) as served, await served.wire() as wire:
            await wire.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
            assert (await wire.answer()).status == 413
            await wire.send(b"c")
            assert await wire.ended()

    async def test_a_stalled_body_is_cut(self) -> None:
        """A body that does not go on is given up."""
        async with running(client_timeout_s=0.3) as served, await served.wire() as wire:
            await wire.send(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
            assert await wire.ended()
            await until(lambda: len(served.app.errors) == 1)
            assert "hung up" in str(served.app.errors[0])

    async def test_a_client_that_does_not_read_is_cut(self) -> None:
        """An answer that is not taken does not stay in memory for ever."""
        async with running(client_timeout_s=0.5) as served, await served.wire() as wire:
            sock = wire.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            cast(asyncio.Transport, wire.writer.transport).pause_reading()
            wire.writer.write(get("/big"))
            await until(lambda: served.app.begun == 1)
            await until(lambda: not served.server.server_state.connections)

    async def test_a_slow_but_steady_client_is_served(self) -> None:
        """Time is counted between two pieces of a body, not over all of it."""
        async with running(client_timeout_s=2.0) as served, await served.wire() as wire:
            await wire.send(b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):
                await asyncio.sleep(0.4)
                await wire.send(b"x")
            assert (await wire.answer()).body == b"POST / xxxxxxxx"

    async def test_a_slow_answer_is_no_slow_client(self) -> None:
        """A client that waits for us, and one that thinks between requests, is not cut."""
        async with running(client_timeout_s=0.3) as served, await served.wire() as wire:
            rest = get("/next")
            await wire.send(post("/wait", b"abc") + rest[:-2])
            await asyncio.sleep(2.0)
            served.app.go.set()
            assert (await wire.answer()).status == 200
            assert (await wire.ask(rest[-2:])).body == b"GET /next "
            await asyncio.sleep(2.0)
            assert (await wire.ask(get("/"))).status == 200


class TestDrain:
    async def test_what_is_under_way_is_finished(self) -> None:
        """The answer comes, asks to close, and the server waits for it."""
        async with running() as served, await served.wire() as wire:
            await wire.send(post("/wait", b"abc"))
            await until(lambda: served.app.begun == 1)
            served.stop()
            await asyncio.sleep(1.0)
            assert not served.task.done()
            served.app.go.set()
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.ended()
            await asyncio.wait_for(served.task, 30)
            assert not served.server.server_state.connections

    async def test_pipelined_requests_are_all_finished(self) -> None:
        """Only the last answer of a connection closes it."""
        async with running() as served, await served.wire() as wire:
            await wire.send(post("/wait", b"0"))
            await until(lambda: served.app.begun == 1)
            served.stop()
            await until(lambda: served.server._drain.begun)
            await wire.send(post("/", b"1") + post("/", b"2"))
            await asyncio.sleep(0.3)
            served.app.go.set()
            answers = [await wire.answer() for _ in range(3)]
            assert [one.body for one in answers] == [b"POST /wait 0", b"POST / 1", b"POST / 2"]
            assert [one.headers.get("connection") for one in answers] == [None, None, "close"]

    async def test_a_request_that_has_begun_to_arrive_is_answered(self) -> None:
        """Half a head, and half a body, are waited for."""
        async with running() as served, await served.wire() as head, await served.wire() as body:
            await head.send(b"GET /late HTTP/1.1\r\nHost:")
            await body.send(post("/later", b"abc")[:-2])
            await until(lambda: served.app.begun == 1)
            served.stop()
            await asyncio.sleep(0.8)
            assert (await head.ask(b" augury\r\n\r\n")).body == b"GET /late "
            assert (await body.ask(b"bc")).body == b"POST /later abc"
            await asyncio.wait_for(served.task, 30)

    async def test_new_connections_during_the_grace(self) -> None:
        """Balancers need a moment; whoever still comes is answered and asked to close."""
        async with running(grace_s=1.5) as served:
            served.stop()
            await until(lambda: served.server._drain.begun)
            async with await served.wire() as wire:
                answer = await wire.ask(get("/"))
                assert (answer.status, answer.headers["connection"]) == (200, "close")
            await asyncio.wait_for(served.task, 30)
            with pytest.raises(ConnectionRefusedError):
                await served.wire()

    async def test_idle_connections_do_not_hold_it_up(self) -> None:
        """They are closed, without an answer that nobody asked for."""
        async with running() as served, await served.wire() as used, await served.wire() as unused:
            await used.ask(get("/"))
            served.stop()
            assert await used.ended()
            assert await unused.ended()
            await asyncio.wait_for(served.task, 10)

    async def test_connections_in_the_queue_are_answered(self) -> None:
        """Who was connected when the server was told to stop, but not yet accepted, is served."""
        async with running() as served:
            clients = []
            for _ in range(100):  # the loop does not run meanwhile
                client = socket.create_connection(("127.0.0.1", served.port), timeout=30)
                client.sendall(get("/"))
                clients.append(client)
            served.stop()
            await asyncio.wait_for(served.task, 30)
            answers = [client.recv(1000) for client in clients]
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            for client in clients:
                client.close()

    async def test_what_takes_too_long_is_cut(self) -> None:
        """After the timeout tasks are cancelled and connections closed; the server ends."""
        async with running(drain_timeout_s=0.5) as served, await served.wire() as wire:
            await wire.send(post("/wait", b"abc"))
            await until(lambda: served.app.begun == 1)
            served.stop()
            await asyncio.wait_for(served.task, 20)
            assert isinstance(served.app.errors[0], asyncio.CancelledError)

    async def test_a_client_that_does_not_read_does_not_hold_it_up(self) -> None:
        """Its connection is cut after the timeout."""
        async with running(drain_timeout_s=0.5) as served, await served.wire() as wire:
            cast(asyncio.Transport, wire.writer.transport).pause_reading()
            wire.writer.write(get("/big"))
            await until(lambda: served.app.begun == 1)
            served.stop()
            await asyncio.wait_for(served.task, 20)

    async def test_nothing_is_left_open(self) -> None:
        """Listener and connections are closed."""
        async with running() as served, await served.wire() as wire:
            await wire.ask(get("/"))
            served.stop()
            await asyncio.wait_for(served.task, 20)
            assert not served.server.server_state.connections
            assert not served.server.server_state.tasks
            with pytest.raises(ConnectionRefusedError):
                await served.wire()


async def test_messages_of_a_client_that_left_are_dropped() -> None:
    """An app that answers into a closed connection does not bring the server down."""

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        message: Message = {}
        while message.get("type") != "http.disconnect":
            message = await receive()
        await reply(send, 200, b"too late")

    async with running(app=late) as served:
        async with await served.wire() as wire:
            await wire.send(get("/"))
            await asyncio.sleep(0.1)
        await until(lambda: not served.server.server_state.tasks)
