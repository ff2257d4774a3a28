"""The ASGI application: what goes where, and that whatever goes wrong is told in one form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict

from augury.core.errors import Overloaded, Unauthenticated
from augury.protocols.asgi import Message, Receive, Scope, Send, reply
from tests.application import InProcess


class Item(BaseModel):
    """What ``/test/items`` takes."""

    model_config = ConfigDict(extra="forbid")

    size: int


@pytest.fixture
def more(served: InProcess) -> InProcess:
    """The application with routes that fail in every way that a service may."""
    api = served.application.api

    @api.post("/test/items")
    async def items(item: Item) -> dict[str, int]:
        return {"size": item.size}

    @api.get("/test/broken")
    async def broken() -> None:
        raise RuntimeError("my secret")

    @api.get("/test/full")
    async def full() -> None:
        raise Overloaded("full", retry_after_s=2.5)

    @api.get("/test/closed")
    async def closed() -> None:
        raise Unauthenticated("who are you?")

    @api.get("/test/http/{status}")
    async def http(status: int) -> None:
        raise HTTPException(status, "my words", headers={"X-More": "yes"})

    return served


def problem(response: httpx2.Response, status: int) -> Any:
    """The problem document of a response that must have *status*."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert {"type", "title", "detail", "code", "retryable"} <= set(document)
    assert "Traceback" not in response.text
    return document


class TestProblems:
    async def test_an_unknown_path(self, served: InProcess) -> None:
        """404, cut to a sensible length."""
        assert problem(await served.client.get("/nope"), 404)["code"] == "not_found"
        told = problem(await served.client.get("/" + "x" * 5000), 404)
        assert len(told["detail"]) < 300

    async def test_another_method(self, served: InProcess) -> None:
        """405 with what is allowed."""
        response = await served.client.post("/livez")
        assert problem(response, 405)["code"] == "method_not_allowed"
        assert response.headers["allow"] == "GET"

    async def test_a_strange_method(self, served: InProcess) -> None:
        """A method that nobody has heard of is 405, too."""
        problem(await served.client.request("PROPFIND", "/livez"), 405)

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (b"{}", "body.size: Field required"),
            (b'{"size": "x"}', "body.size: "),
            (b'{"size": 1, "extra": 2}', "body.extra: "),
            (b"[1]", "body: "),
            (b"{", "body.1: JSON decode error"),
            (b"\xff\xfe", "JSON decode error"),
            (b"[" * 4000, ""),
        ],
    )
    async def test_an_invalid_body_is_400(self, more: InProcess, body: bytes, told: str) -> None:
        """What FastAPI would answer 422 in a form of its own is our 400."""
        response = await more.client.post(
            "/test/items", content=body, headers={"content-type": "application/json"}
        )
        assert told in problem(response, 400)["detail"]

    async def test_a_long_or_strange_key_can_be_told(self, more: InProcess) -> None:
        """Keys are the client's: they are cut, and half a surrogate pair does no harm."""
        content = b'{"size": 1, "\\ud800": 2, "' + b"k" * 3000 + b'": 3}'
        response = await more.client.post(
            "/test/items", content=content, headers={"content-type": "application/json"}
        )
        assert len(problem(response, 400)["detail"]) < 1000

    async def test_errors_of_ours_keep_status_and_headers(self, more: InProcess) -> None:
        """Services raise what they mean."""
        response = await more.client.get("/test/full")
        assert problem(response, 429)["retry_after_s"] == 2.5
        assert response.headers["retry-after"] == "3"
        assert problem(await more.client.get("/test/closed"), 401)["code"] == "unauthenticated"

    async def test_a_fault_of_ours_tells_nothing(self, more: InProcess) -> None:
        """500 without the exception's words, counted once."""
        response = await more.client.get("/test/broken")
        assert problem(response, 500)["code"] == "internal"
        assert "secret" not in response.text
        assert more.count(
            "augury_requests_total", model="", version="", protocol="/test/broken", code="500"
        )

    @pytest.mark.parametrize(("raised", "status"), [(404, 404), (405, 405), (418, 400), (503, 500)])
    async def test_framework_errors_become_ours(
        self, more: InProcess, raised: int, status: int
    ) -> None:
        """FastAPI's own errors have our form; those of the server do not tell details."""
        response = await more.client.get(f"/test/http/{raised}")
        told = problem(response, status)
        assert ("my words" in told["detail"]) == (raised == 418)

    async def test_a_nul_in_a_path(self, served: InProcess) -> None:
        """400, before it reaches a file or a database."""
        problem(await served.client.get("/api/models/a%00b"), 400)


class TestBrokenFramework:
    @pytest.mark.parametrize("begun", [False, True])
    @pytest.mark.parametrize(
        ("raised", "status"), [(RuntimeError("my secret"), 500), (Overloaded("full"), 429)]
    )
    async def test_what_nobody_has_answered_is_answered(
        self,
        served: InProcess,
        monkeypatch: pytest.MonkeyPatch,
        raised: Exception,
        status: int,
        begun: bool,
    ) -> None:
        """Whatever comes out of the FastAPI side; an answer that has begun is left as it is."""

        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            if begun:
                await reply(send, 200, b"{}")
            raise raised

        monkeypatch.setattr(served.application.edge, "_api", broken)
        response = await served.client.get("/livez")
        if begun:
            assert (response.status_code, response.text) == (200, "{}")
        else:
            assert "secret" not in problem(response, status)["detail"]


class TestBodies:
    async def test_announced_too_large(self, more: InProcess) -> None:
        """The limit holds on this side too."""
        response = await more.client.post("/test/items", json={"size": "x" * 5000})
        assert "max_body_bytes" in problem(response, 413)["detail"]

    async def test_grown_too_large(self, more: InProcess) -> None:
        """A body of unknown length is cut when it is too long, and it is 413 all the same."""

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 1000

        response = await more.client.post("/test/items", content=endless())
        assert "max_body_bytes" in problem(response, 413)["detail"]

    async def test_within_the_limit(self, more: InProcess) -> None:
        """Other bodies pass, chunked or not."""

        async def chunks() -> AsyncIterator[bytes]:
            yield b'{"size"'
            yield b": 3}"

        kind = {"content-type": "application/json"}
        response = await more.client.post("/test/items", content=chunks(), headers=kind)
        assert response.json() == {"size": 3}


class TestMethods:
    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/api/models", "/metrics", "/docs"])
    async def test_what_answers_get_answers_head(self, served: InProcess, path: str) -> None:
        """Balancers ask with HEAD."""
        assert (await served.client.head(path)).status_code == 200

    @pytest.mark.parametrize("path", ["/livez/", "/docs/", "/api/models/", "//livez"])
    async def test_no_redirects(self, served: InProcess, path: str) -> None:
        """A redirect would name whatever host the client wrote."""
        response = await served.client.get(path, headers={"Host": "evil.example"})
        assert response.status_code == 404
        assert "location" not in response.headers

    async def test_no_page_of_another_origin_may_read(self, served: InProcess) -> None:
        """There are no CORS headers unless somebody asks for them one day."""
        origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        for method, path in (
            ("OPTIONS", "/api/models/mood/predict"),
            ("OPTIONS", "/api/models"),
            ("GET", "/api/models"),
        ):
            response = await served.client.request(method, path, headers=origin)
            assert not [name for name in response.headers if name.startswith("access-control")]


class TestCounting:
    async def test_routes_are_counted_by_their_template(self, served: InProcess) -> None:
        """Not by what stands in the path."""
        for name in ("mood", "identity", "none"):
            await served.client.get(f"/api/models/{name}")
        for path in ("/a", "/b/c", "/docs", "/metrics"):
            await served.client.get(path)
        counted = served.label_values("protocol")
        assert counted == {"/api/models/{name}", "unknown", "/docs", "/metrics"}

    async def test_the_metrics_are_prometheus_text(self, served: InProcess) -> None:
        """All of ours are named augury_."""
        response = await served.client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain; version=")
        names = {line.split("{")[0].split(" ")[0] for line in response.text.splitlines()}
        assert {name for name in names if name.startswith("augury_")}


class TestCutting:
    async def test_a_request_that_outlasts_the_drain_is_told(self, more: InProcess) -> None:
        """Cancelled by the server, it is 503 and no traceback."""
        started = asyncio.Event()

        @more.application.api.get("/test/slow")
        async def slow() -> None:
            started.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(more.client.get("/test/slow"))
        await started.wait()
        more.application.drain.begun = True
        cutting = [one for one in asyncio.all_tasks() if one is task]
        for one in cutting:
            one.cancel()
        assert problem(await task, 503)["code"] == "unavailable"

    async def test_an_answer_that_has_begun_is_left(self, more: InProcess) -> None:
        """There is no second head."""
        more.application.drain.begun = True
        sent: list[Message] = []

        async def send(message: Message) -> None:
            if sent:
                raise RuntimeError("Unexpected ASGI message")
            sent.append(message)
            raise asyncio.CancelledError

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        await more.application.edge(
            {
                "type": "http",
                "method": "GET",
                "path": "/nope",
                "raw_path": b"/nope",
                "query_string": b"",
                "headers": [],
                "root_path": "",
                "scheme": "http",
                "server": None,
                "client": None,
                "http_version": "1.1",
            },
            receive,
            send,
        )
        assert len(sent) == 1
