"""The predict route: targets, headers, limits, clients that leave, what is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from augury.core.caller import SCOPE_KEY, Caller
from augury.core.clock import SystemClock
from augury.core.errors import Overloaded
from augury.core.request import InferRequest, Priority
from augury.observe.metrics import Metrics
from augury.protocols.asgi import Message, Scope
from augury.protocols.native.routes import PredictRoute, Target, parse_path
from tests.application import InProcess

GOOD = {"text": "a good day"}


def scope(path: str, *headers: tuple[bytes, bytes], method: str = "POST") -> Scope:
    """A request as the server hands it over."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
        "state": {},
    }


class Conversation:
    """A client that sends *messages* and keeps what is answered."""

    def __init__(self, *messages: Message) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.inbox.put_nowait(message)
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return await self.inbox.get()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def problem(self) -> Any:
        return json.loads(self.sent[1]["body"])


def body(*rows: Any, more: bool = False) -> Message:
    """The message that carries *rows*."""
    content = json.dumps({"rows": list(rows)}).encode()
    return {"type": "http.request", "body": content, "more_body": more}


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a state of others, without an event to wait for
            await asyncio.sleep(0.005)


def code(response: httpx2.Response) -> str:
    """The problem's code; the response must be a whole problem document."""
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:augury:error:{document['code']}"
    assert document["title"]
    assert document["detail"]
    return str(document["code"])


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("/api/models/m/predict", Target("m")),
            ("/api/models/m/versions/3/predict", Target("m", version="3")),
            ("/api/models/m/labels/stable/predict", Target("m", label="stable")),
            ("/api/models/predict/predict", Target("predict")),
            ("/api/models//predict", None),
            ("/api/models/predict", None),
            ("/api/models/m/predict/", None),
            ("/api/models/m/versions//predict", None),
            ("/api/models/m/labels//predict", None),
            ("/api/models//versions/1/predict", None),
            ("/api/models/m/other/1/predict", None),
            ("/api/models/m/versions/1/more/predict", None),
            ("/api/models/m/n/predict", None),
            ("/API/models/m/predict", None),
            ("/api/models/mpredict", None),
            ("", None),
        ],
    )
    def test_paths(self, path: str, target: Target | None) -> None:
        """Only the three forms of the route are targets."""
        assert parse_path(path) == target


class TestTargets:
    async def test_the_newest_version_answers(self, served: InProcess) -> None:
        """Without a version the newest answers, and says which it is."""
        answer = (await served.predict("mood", GOOD)).json()
        assert (answer["model"], answer["version"]) == ("mood", "2")
        assert answer["rows"][0]["label"] == "good"
        assert set(answer["timing"]) == {"preprocess_ms", "queue_ms", "runtime_ms", "total_ms"}

    @pytest.mark.parametrize(
        ("path", "version"),
        [
            ("/versions/1", "1"),
            ("/versions/2", "2"),
            ("/labels/stable", "1"),
            ("/labels/tr%C3%A8s%20new", "2"),
            ("/labels/50%2525", "2"),
            ("/labels/%73table", "1"),
        ],
    )
    async def test_versions_and_labels(self, served: InProcess, path: str, version: str) -> None:
        """A version or label answers by its name, which is decoded once."""
        response = await served.predict("mood", GOOD, path=path)
        assert response.json()["version"] == version

    @pytest.mark.parametrize(
        "path",
        [
            *("/versions/3", "/versions/0", "/versions/-1", "/versions/x", "/versions/1.0"),
            *("/versions/" + "9" * 30, "/versions/%D9%A1", "/versions/²", "/versions/01"),
            *("/labels/none", "/labels/1", "/labels/50%25", "/labels/" + "x" * 1000),
        ],
    )
    async def test_unknown_versions_and_labels(self, served: InProcess, path: str) -> None:
        """What the model does not have is 404, whatever it looks like."""
        response = await served.predict("mood", GOOD, path=path)
        assert (response.status_code, code(response)) == (404, "version_not_found")

    @pytest.mark.parametrize(
        "name", ["none", "MOOD", "mood%20", "%00", "..", "%F0%9F%98%80", "%ED%A0%80"]
    )
    async def test_unknown_models(self, served: InProcess, name: str) -> None:
        """An unknown name is 404 and the message lists what is there."""
        response = await served.client.post(f"/api/models/{name}/predict", json={"rows": [GOOD]})
        assert response.status_code == 404
        assert code(response) in ("model_not_found", "not_found")

    async def test_a_model_that_failed_is_not_ready(self, served: InProcess) -> None:
        """A model that could not be loaded is 503 and says why."""
        response = await served.predict("broken", GOOD)
        assert (response.status_code, code(response)) == (503, "model_not_ready")
        assert "failed" in response.json()["detail"]


class TestRows:
    async def test_rows_fail_alone(self, served: InProcess) -> None:
        """Bad rows carry their own errors, the others answer, the request is 200."""
        response = await served.predict(
            "picky", {"x": [1, 2]}, {"x": [-1, 2]}, {"x": 3}, {"x": [5, 6]}
        )
        rows = response.json()["rows"]
        assert response.status_code == 200
        assert [row.get("y") for row in rows] == [[1, 1], None, None, [1, 1]]
        assert [row["error"]["code"] for row in rows[1:3]] == ["runtime_failed", "wrong_type"]

    @pytest.mark.parametrize(
        ("rows", "status"),
        [
            ([{"x": 3}, {"x": [-1, 2]}], 400),
            ([{"x": [-1, 2]}, {"x": 3}], 500),
            ([{"x": [1, 2], "z": 1}, {"z": 1}], 400),
        ],
    )
    async def test_all_rows_failing_is_the_first_row_s_failure(
        self, served: InProcess, rows: list[Any], status: int
    ) -> None:
        """When no row has an answer, status and problem are the first row's; all rows are told."""
        response = await served.predict("picky", *rows)
        assert response.status_code == status
        assert code(response) == response.json()["rows"][0]["error"]["code"]
        assert len(response.json()["rows"]) == len(rows)

    async def test_the_limit_of_rows_holds_for_bad_rows_too(self, served: InProcess) -> None:
        """Too many rows are refused before they are looked at."""
        edge = served.application
        route = PredictRoute(
            edge.core.engine, edge.core.metrics, edge.core.clock, max_body_bytes=4096, max_rows=8
        )
        talk = Conversation(body(*[{}] * 9))
        await route(Target("picky"), scope("/"), talk.receive, talk.send)
        assert talk.status == 413
        assert "max_request_rows" in talk.problem["detail"]

    async def test_deep_parameters_are_refused(self, served: InProcess) -> None:
        """Parameters that are nested too deeply are the caller's fault, not ours."""
        for depth in range(200, 1000, 50):
            nested = "[" * depth + "]" * depth
            content = f'{{"rows": [{{"text": "good"}}], "parameters": {{"a": {nested}}}}}'
            response = await served.client.post("/api/models/mood/predict", content=content)
            assert response.status_code in (200, 400), response.text


class TestTimeouts:
    @pytest.mark.parametrize("value", ["10", "0.5e2", "1e308", "+3", " 5 ", "1e18"])
    async def test_seconds(self, served: InProcess, value: str) -> None:
        """Any positive number of seconds is taken, however large."""
        response = await served.predict("mood", GOOD, headers={"X-Request-Timeout": value})
        assert response.status_code == 200

    @pytest.mark.parametrize("value", ["", "0", "-1", "nan", "inf", "1e400", "five", "1s", "1,5"])
    async def test_what_is_no_time_is_refused(self, served: InProcess, value: str) -> None:
        """Anything else is told what to send."""
        response = await served.predict("mood", GOOD, headers={"X-Request-Timeout": value})
        assert (response.status_code, code(response)) == (400, "invalid_input")
        assert "seconds above 0" in response.json()["detail"]

    async def test_a_deadline_that_passes_is_504(self, served: InProcess) -> None:
        """The caller is answered when its time is up, though the model still computes."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        response = await served.predict(
            "spin", {"turns": [300_000]}, headers={"X-Request-Timeout": "0.05"}
        )
        assert (response.status_code, code(response)) == (504, "deadline_exceeded")
        assert response.json()["retryable"] is True
        assert loop.time() - started_s < 30
        assert served.count(
            "augury_requests_total", model="spin", version="", protocol="native", code="504"
        )


class TestPriority:
    @pytest.mark.parametrize(
        ("value", "priority"),
        [(None, Priority.NORMAL), ("high", Priority.HIGH), ("Low", Priority.LOW)],
    )
    async def test_it_reaches_the_engine(
        self,
        served: InProcess,
        monkeypatch: pytest.MonkeyPatch,
        value: str | None,
        priority: Priority,
    ) -> None:
        """By its name, in upper or lower case; normal when there is none."""
        asked: list[InferRequest] = []
        engine = served.application.core.engine
        infer_now = engine.infer_now

        def noted(servable: Any, request: InferRequest, keys: Any) -> Any:
            asked.append(request)
            return infer_now(servable, request, keys)

        monkeypatch.setattr(engine, "infer_now", noted)
        headers = {} if value is None else {"X-Request-Priority": value}
        assert (await served.predict("mood", GOOD, headers=headers)).status_code == 200
        assert [request.priority for request in asked] == [priority]

    @pytest.mark.parametrize("value", ["urgent", "", "1", "x" * 500])
    async def test_any_other_is_refused(self, served: InProcess, value: str) -> None:
        """400, with the names that there are, remembered or not."""
        await served.predict("mood", GOOD)
        response = await served.predict("mood", GOOD, headers={"X-Request-Priority": value})
        assert response.status_code == 400
        assert code(response) == "invalid_input"
        assert "send one of: high, normal, low" in response.json()["detail"]
        assert len(response.json()["detail"]) < 200


class TestCaching:
    @pytest.mark.parametrize("value", ["no-cache", "No-Cache", "max-age=0, no-cache"])
    async def test_no_cache_computes_anew(self, served: InProcess, value: str) -> None:
        """With no-cache a remembered answer will not do."""
        for headers in ({}, {}, {"Cache-Control": value}):
            assert (await served.predict("mood", GOOD, headers=headers)).status_code == 200
        assert served.count("augury_batch_rows_count", model="mood", version="2") == 2

    async def test_other_directives_do_not(self, served: InProcess) -> None:
        """max-age is for caches on the way."""
        for headers in ({}, {"Cache-Control": "max-age=0"}):
            await served.predict("mood", GOOD, headers=headers)
        assert served.count("augury_batch_rows_count", model="mood", version="2") == 1

    async def test_no_cache_refreshes_what_is_remembered(self, served: InProcess) -> None:
        """What was computed anew is remembered: the next who asks gets that."""
        for headers in ({"Cache-Control": "no-cache"}, {}, {}):
            assert (await served.predict("mood", GOOD, headers=headers)).status_code == 200
        assert served.count("augury_batch_rows_count", model="mood", version="2") == 1

    @pytest.mark.parametrize("value", ["no-store", "No-Store, no-cache"])
    async def test_no_store_leaves_nothing_behind(self, served: InProcess, value: str) -> None:
        """It is computed, and not remembered, however often it is asked."""
        for _ in range(2):
            await served.predict("mood", GOOD, headers={"Cache-Control": value})
        assert served.count("augury_batch_rows_count", model="mood", version="2") == 2
        assert not served.count("augury_cache_entries", model="mood", version="2")

    async def test_a_remembered_answer_is_the_computed_one(self, served: InProcess) -> None:
        """Byte for byte but for its times, which are none: the first, the second, and later ones."""
        answers = [
            (await served.predict("mood", GOOD, {"text": "bad"}, GOOD)).content for _ in range(4)
        ]
        rows = {answer.partition(b',"timing"')[0] for answer in answers}
        assert len(rows) == 1
        for answer in answers[1:]:
            timing = json.loads(answer)["timing"]
            assert timing.pop("total_ms") < 1000
            assert timing == {"preprocess_ms": 0, "queue_ms": 0, "runtime_ms": 0}
        labels = {"model": "mood", "level": "process"}
        assert served.count("augury_cache_lookups_total", result="hit", **labels) == 9
        assert served.count(
            "augury_requests_total", model="mood", version="2", protocol="native", code="200"
        )

    async def test_the_same_bytes_ask_each_version_for_its_own(self, served: InProcess) -> None:
        """What is remembered of one version answers for no other, nor for another model."""
        for _ in range(3):
            for path, version in (("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")):
                answer = (await served.predict("mood", GOOD, path=path)).json()
                assert answer["version"] == version
            assert (await served.predict("picky", GOOD)).status_code == 400
        assert served.count("augury_batch_rows_count", model="mood", version="1") == 1
        assert served.count("augury_batch_rows_count", model="mood", version="2") == 1

    async def test_headers_count_for_remembered_answers_too(self, served: InProcess) -> None:
        """A timeout that is none is refused, whatever is remembered."""
        for _ in range(3):
            assert (await served.predict("mood", GOOD)).status_code == 200
            response = await served.predict("mood", GOOD, headers={"X-Request-Timeout": "soon"})
            assert (response.status_code, code(response)) == (400, "invalid_input")

    async def test_parameters_are_part_of_the_question(self, served: InProcess) -> None:
        """Other parameters are another row; other spellings of the same row are not."""
        for content, computed in (
            (b'{"rows": [{"text": "a good day"}]}', 1),
            (b'{"rows":[{"text":"a good\\u0020day"}]}', 1),
            (b'{"rows": [{"text": "a good day"}], "parameters": {"a": 1}}', 2),
            (b'{"parameters": {"a": 1}, "rows": [{"text": "a good day"}]}', 2),
            (b'{"rows": [{"text": "a good day"}], "parameters": {"a": 2}}', 3),
        ):
            for _ in range(3):
                response = await served.client.post("/api/models/mood/predict", content=content)
                assert response.json()["rows"][0]["label"] == "good"
            assert served.count("augury_batch_rows_count", model="mood", version="2") == computed

    async def test_errors_are_told_anew_each_time(self, served: InProcess) -> None:
        """A row that fails is asked of the model again, among remembered ones too."""
        for _ in range(3):
            rows = (await served.predict("picky", {"x": [1, 2]}, {"x": [-1, 2]})).json()["rows"]
            assert rows[0] == {"y": [1, 1]}
            assert rows[1]["error"]["code"] == "runtime_failed"


class TestQuotas:
    class Purse:
        """A quota of so many rows."""

        def __init__(self, rows: int) -> None:
            self.rows = rows

        def charge(self, rows: int) -> None:
            if rows > self.rows:
                raise Overloaded("the quota is used up", retry_after_s=3)
            self.rows -= rows

    async def ask(self, served: InProcess, purse: Purse, *rows: Any, model: str = "mood") -> int:
        """The status of a request by the owner of *purse*."""
        application = served.application
        core = application.core
        route = PredictRoute(core.engine, core.metrics, core.clock, max_body_bytes=4096)
        asked = scope("/")
        asked[SCOPE_KEY] = Caller("key:test", frozenset({"predict"}), purse)
        talk = Conversation(body(*rows))
        await route(Target(model), asked, talk.receive, talk.send)
        if talk.status == 429:
            assert (b"retry-after", b"3") in talk.sent[0]["headers"]
        return talk.status

    async def test_each_row_is_charged(self, served: InProcess) -> None:
        """Remembered or computed, good or bad; over the quota nothing is computed."""
        purse = self.Purse(9)
        for _ in range(3):
            assert await self.ask(served, purse, GOOD, {"text": 7}, GOOD) == 200
        assert purse.rows == 0
        assert await self.ask(served, purse, {"text": "something new"}) == 429
        assert await self.ask(served, purse, GOOD) == 429
        assert served.count("augury_batch_rows_count", model="mood", version="2") == 1

    async def test_remembered_rows_are_charged_too(self, served: InProcess) -> None:
        """However they are found."""
        purse = self.Purse(4)
        statuses = [await self.ask(served, purse, GOOD) for _ in range(6)]
        assert statuses == [200] * 4 + [429] * 2

    async def test_what_asks_nobody_is_not_charged(self, served: InProcess) -> None:
        """A model that there is not."""
        purse = self.Purse(1)
        assert await self.ask(served, purse, GOOD, model="none") == 404
        assert purse.rows == 1


class TestBodies:
    async def test_an_announced_body_over_the_limit(self, served: InProcess) -> None:
        """Refused by its announcement, with the limit and its setting."""
        response = await served.predict("mood", {"text": "x" * 5000})
        assert (response.status_code, code(response)) == (413, "too_large")
        assert "4096 (max_body_bytes)" in response.json()["detail"]
        assert response.json()["limit_bytes"] == 4096

    async def test_a_chunked_body_over_the_limit(self, served: InProcess) -> None:
        """Refused as soon as it has grown too large, without waiting for its end."""

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 1000

        response = await served.client.post("/api/models/mood/predict", content=endless())
        assert (response.status_code, code(response)) == (413, "too_large")

    async def test_a_chunked_body_within_the_limit(self, served: InProcess) -> None:
        """Chunks are put together."""

        async def chunks() -> AsyncIterator[bytes]:
            for piece in ('{"rows": [{"te', 'xt": "go', "", 'od"}]}'):
                yield piece.encode()

        response = await served.client.post("/api/models/mood/predict", content=chunks())
        assert response.json()["rows"][0]["label"] == "good"

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity", "x" * 99])
    async def test_encoded_bodies_are_refused(self, served: InProcess, encoding: str) -> None:
        """A body that is compressed is not taken for JSON."""
        response = await served.predict("mood", GOOD, headers={"Content-Encoding": encoding})
        assert (response.status_code, code(response)) == (400, "invalid_input")
        assert len(response.json()["detail"]) < 150

    @pytest.mark.parametrize("encoding", ["identity", "Identity"])
    async def test_identity_is_no_encoding(self, served: InProcess, encoding: str) -> None:
        """identity means that nothing was done."""
        response = await served.predict("mood", GOOD, headers={"Content-Encoding": encoding})
        assert response.status_code == 200

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
    async def test_the_content_type_does_not_matter(self, served: InProcess, kind: str) -> None:
        """The body is JSON, whatever curl says of it."""
        response = await served.predict("mood", GOOD, headers={"Content-Type": kind})
        assert response.status_code == 200

    async def test_malformed_bodies(self, served: InProcess) -> None:
        """What is no JSON is 400."""
        response = await served.client.post("/api/models/mood/predict", content=b"\xff")
        assert (response.status_code, code(response)) == (400, "malformed_body")


class TestLeaving:
    async def test_a_client_that_leaves_while_it_waits(self, served: InProcess) -> None:
        """Its row leaves the queue: the model never sees it, and nobody is answered 200."""
        edge = served.application.edge
        busy = asyncio.create_task(served.predict("spin", {"turns": [200_000]}))
        await until(lambda: served.count("augury_queue_rows", model="spin", version="1") == 0)
        await asyncio.sleep(0.05)
        talk = Conversation(body({"turns": [1]}))
        waiting = asyncio.create_task(
            edge(scope("/api/models/spin/predict"), talk.receive, talk.send)
        )
        await until(lambda: served.count("augury_queue_rows", model="spin", version="1") == 1)
        talk.inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(waiting, 30)
        assert talk.status == 499
        assert (await busy).status_code == 200
        assert (await served.predict("spin", {"turns": [2]})).status_code == 200
        assert served.count("augury_batch_rows_count", model="spin", version="1") == 2
        assert served.count(
            "augury_requests_total", model="spin", version="", protocol="native", code="499"
        )

    async def test_a_client_that_leaves_while_it_sends(self, served: InProcess) -> None:
        """Half a request is dropped."""
        talk = Conversation(body(GOOD, more=True), {"type": "http.disconnect"})
        await served.application.edge(scope("/api/models/mood/predict"), talk.receive, talk.send)
        assert talk.status == 499

    async def test_a_client_that_stays_is_answered(self, served: InProcess) -> None:
        """Watching the connection does not disturb a slow answer."""
        talk = Conversation(body({"turns": [40_000]}), {"type": "http.request", "body": b""})
        await served.application.edge(scope("/api/models/spin/predict"), talk.receive, talk.send)
        assert talk.status == 200

    async def test_a_task_that_others_cancel_is_cancelled(self, served: InProcess) -> None:
        """Only a client that left is told as such; any other cancellation goes through."""
        talk = Conversation(body({"turns": [100_000]}))
        edge = served.application.edge
        task = asyncio.create_task(edge(scope("/api/models/spin/predict"), talk.receive, talk.send))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert talk.sent == []


class TestMethods:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
    async def test_only_post_predicts(self, served: InProcess, method: str) -> None:
        """Any other method is 405 and is told what is allowed."""
        response = await served.client.request(method, "/api/models/mood/predict")
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"

    async def test_a_trailing_slash_is_another_path(self, served: InProcess) -> None:
        """It is 404 and never a redirect, which would name a host that the client chose."""
        response = await served.client.post("/api/models/mood/predict/", json={"rows": [GOOD]})
        assert (response.status_code, code(response)) == (404, "not_found")


class TestCounting:
    async def test_answers_are_counted(self, served: InProcess) -> None:
        """By model, version and code."""
        await served.predict("mood", GOOD, path="/versions/1")
        assert served.count(
            "augury_requests_total", model="mood", version="1", protocol="native", code="200"
        )
        assert served.count("augury_request_seconds_count", model="mood", protocol="native")

    async def test_inventions_are_no_label_values(self, served: InProcess) -> None:
        """Names that a caller makes up are counted under no name, whatever is wrong beside them."""
        send = served.client.post
        for number in range(3):
            path = f"/api/models/invented-{number}/predict"
            await send(path, json={"rows": [GOOD]})
            await send(path, content=b"no json")
            await send(path, content=b"x" * 5000)
            await send(path, json={"rows": [GOOD]}, headers={"X-Request-Timeout": "no"})
            await send(path, json={"rows": [GOOD]}, headers={"Content-Encoding": "gzip"})
            await served.predict(f"invented-{number}", GOOD, path="/versions/x")
            await served.predict("mood", GOOD, path=f"/versions/{number + 100}")
            await served.client.get(f"/invented/{number}")
            await served.client.request("GET", path)
            await served.client.get(f"/api/models/invented-{number}")
        assert served.label_values("model") <= {"", "mood"}
        assert served.label_values("version") == {""}
        assert served.label_values("protocol") <= {"native", "unknown", "/api/models/{name}"}

    async def test_faults_of_known_models_are_counted_as_theirs(self, served: InProcess) -> None:
        """A bad body for a model is that model's 400; a model that failed has its 503."""
        await served.client.post("/api/models/mood/predict", content=b"no json")
        await served.predict("broken", GOOD)
        labels = {"version": "", "protocol": "native"}
        assert served.count("augury_requests_total", model="mood", code="400", **labels)
        assert served.count("augury_requests_total", model="broken", code="503", **labels)


class TestFaults:
    async def test_a_fault_of_ours_tells_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        """An exception becomes a 500 without its words; nothing is left unanswered."""

        class Broken:
            def lease(self, *_: Any) -> Any:
                raise RuntimeError("my secret")

            def version(self, _: str) -> int:
                return 1

        route = PredictRoute(
            Broken(),  # type: ignore[arg-type]
            Metrics(),
            SystemClock(),
            max_body_bytes=1000,
        )
        talk = Conversation(body(GOOD))
        await route(Target("m"), scope("/"), talk.receive, talk.send)
        assert talk.status == 500
        assert "secret" not in json.dumps(talk.problem)

    async def test_a_full_queue_is_429_and_says_when_to_come_back(self, served: InProcess) -> None:
        """More rows than may wait are refused with Retry-After; those that wait are answered."""
        first = asyncio.create_task(served.predict("spin", {"turns": [100_000]}))
        await asyncio.sleep(0.1)
        waiting = [
            asyncio.create_task(served.predict("spin", *[{"turns": [1]}] * 32)) for _ in range(2)
        ]
        await until(lambda: served.count("augury_queue_rows", model="spin", version="1") == 64)
        response = await served.predict("spin", {"turns": [1]})
        assert (response.status_code, code(response)) == (429, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
        answers: list[Awaitable[httpx2.Response]] = [first, *waiting]
        assert [one.status_code for one in await asyncio.gather(*answers)] == [200, 200, 200]
