"""The short cut of a connection: whatever it answers, the long way would have answered the same."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from augury.edge.connection import AT_ONCE
from augury.edge.http import Edge
from augury.edge.listener import bind
from augury.edge.server import Server
from augury.protocols.asgi import Receive, Scope, Send
from augury.protocols.native.routes import Pending
from tests.application import InProcess, in_process
from tests.models import CLASSIFIER_MANIFEST, write_classifier, write_identity
from tests.wire import Answer, Wire, get, post

PREDICT = "/api/models/identity/predict"
MOOD = "/api/models/mood/predict"
TOKEN = "the-token-of-these-tests"
INLINE = "[batching]\ninline = true\n"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[InProcess]:
    """identity, which is computed at once, and mood, which is not; bodies of 4 KiB at most."""
    write_classifier(tmp_path, manifest=CLASSIFIER_MANIFEST + "[batching]\ninline = false\n")
    write_identity(tmp_path)
    (tmp_path / "identity" / "model.toml").write_text(INLINE, encoding="utf-8")
    async with in_process(tmp_path, admin_token=TOKEN, max_body_bytes=4096) as application:
        yield application


@asynccontextmanager
async def listening(edge: Any, served: InProcess) -> AsyncIterator[int]:
    """The port of a server with *edge* behind it."""
    server = Server(cast(Edge, edge), served.application.drain, grace_s=0, drain_timeout_s=30)
    listener = bind("127.0.0.1", 0)
    task = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - a state of uvicorn's, without an event
            await asyncio.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 60)


class BothWays:
    """The same application behind a connection that knows the short cut, and one that does not."""

    def __init__(self, served: InProcess, short: int, long: int) -> None:
        self.served = served
        self._ports = {"short": short, "long": long}
        self.at_once = 0
        self.put_off = 0

    async def wire(self, way: str = "short") -> Wire:
        """A new connection."""
        return await Wire.open("127.0.0.1", self._ports[way])

    async def ask(self, *parts: bytes, answers: int = 1) -> list[Answer]:
        """What both ways answer, which must be the same; *parts* are sent apart.

        The times within an answer are cut out.
        """
        told = {}
        for way in self._ports:
            async with await self.wire(way) as wire:
                for number, part in enumerate(parts):
                    await asyncio.sleep(0.05 * (number > 0))
                    await wire.send(part)
                told[way] = [_untimed(await wire.answer()) for _ in range(answers)]
                if "close" in told[way][-1].headers.get("connection", ""):
                    assert await wire.ended()
                else:
                    assert (await wire.ask(get("/livez"))).status == 200
        assert told["short"] == told["long"]
        return told["short"]


@pytest.fixture
async def both(served: InProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BothWays]:
    """The application both ways."""
    edge = served.application.edge

    async def long_way(scope: Scope, receive: Receive, send: Send) -> None:
        await edge(scope, receive, send)

    async with AsyncExitStack() as stack:
        short = await stack.enter_async_context(listening(edge, served))
        long = await stack.enter_async_context(listening(long_way, served))
        ways = BothWays(served, short, long)
        answer_now = edge.answer_now

        def watched(scope: Scope, body: bytes) -> Any:
            answer = answer_now(scope, body)
            ways.put_off += isinstance(answer, Pending)
            ways.at_once += answer is not None and not isinstance(answer, Pending)
            return answer

        monkeypatch.setattr(edge, "answer_now", watched)
        yield ways


def _untimed(answer: Answer) -> Answer:
    body = re.sub(rb'("\w+_ms"):[0-9.e-]+', rb"\1:0", answer.body)
    headers = dict(answer.headers)
    if body != answer.body:
        del headers["content-length"]  # of the times as well
    return Answer(answer.status, headers, body)


def rows(*values: Any, name: str = "x") -> bytes:
    """A body with a row for each value."""
    return json.dumps({"rows": [{name: value} for value in values]}).encode()


GOOD = rows([1, 2])


def counted(model: str) -> dict[str, str]:
    """The labels of what *model* has answered."""
    return {"model": model, "version": "1", "protocol": "native", "code": "200"}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(PREDICT, GOOD), 200),
        (post(PREDICT, rows([1, 2], [3, 4], [1, 2])), 200),
        (post(PREDICT, rows([1, 2], [3])), 200),
        (post(PREDICT, rows([1, 2], [3]), "Cache-Control: no-store"), 200),
        (post(PREDICT, GOOD, "Cache-Control: no-store"), 200),
        (post(PREDICT, GOOD, "Cache-Control: no-cache"), 200),
        (post(PREDICT, GOOD, "X-Request-Timeout: 30", "X-Request-Priority: LOW"), 200),
        (post(PREDICT, GOOD, f"Authorization: Bearer {TOKEN}"), 200),
        (post(PREDICT, GOOD, "Connection: close"), 200),
        (post(PREDICT, GOOD, version="1.0"), 200),
        (post("/api/models/identity/versions/1/predict?a=b", GOOD), 200),
        (post("/api/models/%69dentity/predict", GOOD), 200),
        (post(f"{PREDICT}?{'q' * 500}", GOOD), 200),
        (post(f"http://localhost{PREDICT}#a", GOOD), 200),
        (post("*", GOOD), 404),
        (post(f"/{'a' * 500}{PREDICT}", GOOD), 404),
        (post("/api/models", GOOD), 405),
        (post(MOOD, rows("a good day", name="text")), 200),
        (post(MOOD, rows("a good day", 3, name="text")), 200),
        (post(PREDICT, rows([1], [2])), 400),
        (post(PREDICT, b"{"), 400),
        (post(PREDICT, b""), 400),
        (post(PREDICT, rows()), 400),
        (post(PREDICT, rows([1, "half \\ud83d"])), 400),
        (post(PREDICT, GOOD, "X-Request-Timeout: soon"), 400),
        (post(PREDICT, GOOD, "X-Request-Priority: urgent"), 400),
        (post(PREDICT, GOOD, "Content-Encoding: gzip"), 400),
        (post(PREDICT, b"x" * 5000), 413),
        (post("/api/models/nobody/predict", GOOD), 404),
        (post("/api/models/identity/versions/7/predict", GOOD), 404),
        (post("/api/models/identity/labels/none/predict", GOOD), 404),
        (post("/api/models/identity/nothing/predict", GOOD), 404),
        (get(PREDICT), 405),
        (get("/livez"), 200),
        (post(PREDICT, GOOD, "Authorization: Bearer wrong"), 401),
        (post(PREDICT, GOOD, "X-API-Key: a", "Authorization: Bearer b"), 401),
        (post(PREDICT, GOOD, "Origin: http://evil.example"), 403),
        (post(PREDICT, GOOD).replace(b"Host: localhost", b"Host: evil.example"), 421),
    ],
    ids=lambda value: value if isinstance(value, int) else value.split(b"\r\n")[0].decode(),
)
async def test_both_ways_answer_the_same(both: BothWays, request_: bytes, status: int) -> None:
    """Status, headers, body, and whether the connection goes on; asked once, and once more."""
    for _ in range(2):
        (answer,) = await both.ask(request_)
        assert answer.status == status


async def test_predictions_of_a_cheap_model_are_answered_at_once(both: BothWays) -> None:
    """And remembered ones, and refusals; what a model has to compute is not."""
    await both.ask(post(PREDICT, GOOD, "Cache-Control: no-store"))
    assert (both.at_once, both.put_off) == (1, 0)
    await both.ask(post(MOOD, rows("a good day", name="text"), "Cache-Control: no-store"))
    assert (both.at_once, both.put_off) == (1, 1)
    for at_once in (1, 2):  # from then on it is remembered
        await both.ask(post(MOOD, rows("a bad day", name="text")))
        assert both.at_once == at_once
    await both.ask(post("/api/models/nobody/predict", GOOD))
    assert both.at_once == 3


async def test_requests_in_pieces(both: BothWays) -> None:
    """Head and body apart, in whatever pieces, and with leave to send the body."""
    request = post(PREDICT, GOOD)
    for cut in (10, len(request) - len(GOOD), len(request) - 3):
        (answer,) = await both.ask(request[:cut], request[cut:])
        assert answer.status == 200
    chunked = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % (
        PREDICT.encode()
    )
    (answer,) = await both.ask(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD))
    assert answer.status == 200
    bytewise = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\n\r\n"
    for cut in (len(bytewise), 100):
        (answer,) = await both.ask(chunked + bytewise[:cut], bytewise[cut:])
        assert answer.status == 200
    slow = post(MOOD, rows("a good day", name="text"), "Cache-Control: no-store")
    for cut in (len(slow), len(slow) - 3):
        (answer,) = await both.ask(slow[:cut], slow[cut:])
        assert answer.status == 200
    answers = await both.ask(post(PREDICT, GOOD, "Expect: 100-continue"), answers=2)
    assert [answer.status for answer in answers] == [100, 200]


async def test_pipelined_requests_are_answered_in_their_order(both: BothWays) -> None:
    """Those that are answered at once never overtake one that has to wait."""
    requests = [
        post(MOOD, rows(f"a good day {number}", name="text"), "Cache-Control: no-store")
        if number % 3 == 0
        else post(PREDICT, rows([number, 0]))
        for number in range(12)
    ]
    answers = await both.ask(b"".join(requests), answers=len(requests))
    for number, answer in enumerate(answers):
        (row,) = json.loads(answer.body)["rows"]
        assert number % 3 == 0 or row == {"y": [number, 0]}


async def test_any_mix_in_any_pieces(both: BothWays) -> None:
    """Requests of all kinds behind each other, cut anywhere."""
    chunked = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % (
        PREDICT.encode()
    )
    kinds = [
        post(PREDICT, GOOD),
        post(PREDICT, rows([1, 2], [3, 4]), "Cache-Control: no-store"),
        post(MOOD, rows("a good day", name="text")),
        post(MOOD, rows("a bad day", name="text"), "Cache-Control: no-store"),
        post(PREDICT, b"{"),
        post(PREDICT, b"x" * 5000),
        post("/api/models/nobody/predict", GOOD),
        get("/livez"),
        get(PREDICT),
        chunked + b"%x\r\n%b\r\n0\r\nX-Request-Timeout: soon\r\n\r\n" % (len(GOOD), GOOD),
        b"\r\n" + post(PREDICT, rows([5, 6])),
    ]
    rng = random.Random(1)
    for _ in range(25):
        mix = rng.choices(kinds, k=6)
        data = b"".join(mix)
        cuts = sorted(rng.sample(range(1, len(data)), rng.randrange(3)))
        parts = [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]
        answers = await both.ask(*parts, answers=len(mix))
        assert not [answer.status for answer in answers if answer.status >= 500]
    assert both.at_once > 25
    assert both.put_off > 0


async def test_an_offer_of_another_protocol(both: BothWays) -> None:
    """As Java's client makes it with each request."""
    offer = post(PREDICT, GOOD, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
    (answer,) = await both.ask(offer)
    assert answer.status == 200


async def test_what_is_not_http_after_a_good_head(both: BothWays) -> None:
    """400, and the end."""
    request = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"
    (answer,) = await both.ask(request.encode())
    assert (answer.status, answer.headers["connection"]) == (400, "close")


async def test_each_request_is_counted_once(both: BothWays) -> None:
    """Both ways under the same labels."""
    for number in range(1, 4):
        await both.ask(post(PREDICT, GOOD))
        assert both.served.count("augury_requests_total", **counted("identity")) == 2 * number
    await both.ask(post(PREDICT, GOOD, "Authorization: Bearer wrong"))
    refused = {"model": "", "version": "", "protocol": "native", "code": "401"}
    assert both.served.count("augury_requests_total", **refused) == 2


async def test_the_last_answer_of_a_draining_server_says_so(both: BothWays) -> None:
    """Whatever has come by then is answered, and only the last answer ends the connection."""
    async with await both.wire() as wire:
        assert "connection" not in (await wire.ask(post(PREDICT, GOOD))).headers
        both.served.application.drain.begun = True
        answer = await wire.ask(post(PREDICT, GOOD))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await wire.ended()


@pytest.mark.parametrize("path", [PREDICT, MOOD])
async def test_pipelined_requests_of_a_draining_server(both: BothWays, path: str) -> None:
    """All that have come are answered, each once, and counted as often."""
    both.served.application.drain.begun = True
    name = "x" if path == PREDICT else "text"
    values: list[Any] = [[1, 2], [3, 4], [5, 6]] if path == PREDICT else ["a", "b", "c"]
    requests = [post(path, rows(value, name=name)) for value in values]
    answers = await both.ask(b"".join(requests), answers=3)
    assert [answer.status for answer in answers] == [200] * 3
    assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]
    model = path.split("/")[3]
    assert both.served.count("augury_requests_total", **counted(model)) == 6


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_what_follows_a_request_that_was_the_last(
    both: BothWays, version: str, draining: bool
) -> None:
    """Its client said so: nothing more is computed."""
    both.served.application.drain.begun = draining
    last = post(PREDICT, GOOD, "Connection: close", version=version)
    await both.ask(last + post(PREDICT, GOOD))
    assert both.served.count("augury_requests_total", **counted("identity")) == 2


async def test_one_read_does_not_hold_up_the_others(both: BothWays) -> None:
    """Of very many requests in one read only the first are answered before anybody else's turn."""
    requests = [post(PREDICT, rows([number, 0])) for number in range(100)]
    answers = await both.ask(b"".join(requests), answers=len(requests))
    told = [json.loads(answer.body)["rows"] for answer in answers]
    assert told == [[{"y": [number, 0]}] for number in range(100)]
    assert 1 <= both.at_once <= AT_ONCE


async def test_a_slow_answer_is_the_only_one_of_its_read(
    both: BothWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one takes long, the others have had to wait for long enough."""
    edge = both.served.application.edge
    answer_now = edge.answer_now

    def slow(scope: Scope, body: bytes) -> Any:
        answer = answer_now(scope, body)
        time.sleep(0.005)
        return answer

    monkeypatch.setattr(edge, "answer_now", slow)
    await both.ask(post(PREDICT, GOOD) * 5, answers=5)
    assert both.at_once == 1


async def test_a_fault_of_ours_is_not_the_client_s(
    both: BothWays, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the request answered the long way."""

    def broken(scope: Scope, body: bytes) -> None:
        raise RuntimeError("what may never happen")

    monkeypatch.setattr(both.served.application.edge, "answer_now", broken)
    answers = await both.ask(post(PREDICT, GOOD) * 2, answers=2)
    assert [answer.status for answer in answers] == [200, 200]
    assert "RuntimeError: what may never happen" in caplog.text


async def test_what_follows_a_body_is_no_header(both: BothWays) -> None:
    """Nobody may add a credential, or wishes, after the head."""
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" % (
        PREDICT.encode()
    )
    body = b"%x\r\n%b\r\n0\r\n" % (len(GOOD), GOOD)
    (answer,) = await both.ask(head + body + b"X-Request-Timeout: soon\r\n\r\n")
    assert answer.status == 200


async def test_a_client_that_leaves_gives_its_version_back(both: BothWays) -> None:
    """Before its answer is ready, whatever has been done of it by then."""
    (harness,) = both.served.application.core.manager.versions("mood")
    for _ in range(20):
        async with await both.wire() as wire:
            request = post(MOOD, rows("a good day", name="text"), "Cache-Control: no-store")
            await wire.send(request)
    async with asyncio.timeout(30):
        while harness.leases:  # noqa: ASYNC110 - a count, without an event
            await asyncio.sleep(0.01)


async def test_a_task_that_is_cancelled_before_it_begins_holds_nothing(
    both: BothWays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never runs, so that what was done before it is given back without its help."""
    edge = both.served.application.edge
    (harness,) = both.served.application.core.manager.versions("mood")
    answer_now = edge.answer_now
    seen: list[tuple[int, int]] = []

    def cut() -> None:
        tasks = [task for task in asyncio.all_tasks() if "run_asgi" in repr(task.get_coro())]
        seen.append((len(tasks), harness.leases))
        for task in tasks:
            task.cancel()

    def answered(scope: Scope, body: bytes) -> Any:
        asyncio.get_running_loop().call_soon(cut)  # before the task, which is yet to be made
        return answer_now(scope, body)

    monkeypatch.setattr(edge, "answer_now", answered)
    async with await both.wire() as wire:
        await wire.send(post(MOOD, rows("a good day", name="text"), "Cache-Control: no-store"))
        async with asyncio.timeout(30):
            while harness.leases or not seen:  # noqa: ASYNC110 - counts, without an event
                await asyncio.sleep(0.01)
    assert seen == [(1, 1)]


async def test_what_was_begun_may_be_given_back_twice(both: BothWays) -> None:
    """By its task, and by whoever looks after that."""
    edge = both.served.application.edge
    (harness,) = both.served.application.core.manager.versions("mood")
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": MOOD,
        "headers": [(b"cache-control", b"no-store")],
    }
    pending = edge.answer_now(scope, rows("a good day", name="text"))
    assert isinstance(pending, Pending)
    assert harness.leases == 1
    pending.close()
    pending.close()
    assert harness.leases == 0
