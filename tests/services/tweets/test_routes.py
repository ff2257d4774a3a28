"""The routes, over HTTP's own terms, with the edge's error pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from augury.edge import errors
from augury.services.tweets import schemas
from augury.services.tweets.records import remember
from augury.services.tweets.routes import router
from augury.services.tweets.service import TweetService
from augury.services.tweets.sources.chain import open_sources
from augury.services.tweets.sources.x_api import XLimits
from augury.stores.memory import MemoryStore
from tests.services.tweets import x_server as server
from tests.services.tweets.conftest import LexiconPredictor
from tests.services.tweets.test_records import make_record
from tests.services.tweets.x_server import TOKEN, XServer

CODES = {
    400: "invalid_input",
    403: "not_allowed",
    404: "not_found",
    429: "overloaded",
    502: "upstream_failed",
}


def make_app(store: MemoryStore, url: str, token: str | None = TOKEN) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits = XLimits(budget_s=1.0, read_s=0.2, attempts=2, backoff_s=0.01)
        async with open_sources(store, token, base_url=url, limits=limits) as source:
            app.include_router(router(TweetService(LexiconPredictor(), source, store)))
            yield

    app = FastAPI(lifespan=lifespan)
    errors.install(app)
    return app


@pytest.fixture
def app(store: MemoryStore, x_server: XServer) -> FastAPI:
    return make_app(store, x_server.url)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def tweet(client: TestClient, tweet_id: int | str) -> Any:
    return client.get("/v1/inference", params={"tweetUrl": f"https://x.com/a/status/{tweet_id}"})


def test_inference(client: TestClient, x_server: XServer) -> None:
    """The seed's names, text for ids, and memory the second time."""
    first = tweet(client, server.OK)
    assert first.status_code == 200
    body = first.json()
    assert sum(body.pop("scores").values()) == pytest.approx(1, abs=1e-5)
    assert body == {
        "sentimentAnalyst": "positive",
        "textInput": "Good night 😊 #sleep",
        "tweetId": str(server.OK),
        "author": {"id": "2244994945", "username": "XDevelopers", "name": "Developers"},
        "createdAt": "2018-10-10T20:19:24Z",
        "cached": False,
        "model": "tweet-sentiment",
        "version": "1",
    }
    second = tweet(client, server.OK).json()
    assert second == {**first.json(), "cached": True}
    assert x_server.count(server.OK) == 1


@pytest.mark.parametrize(
    ("tweet_id", "status", "words"),
    [
        ("abc", 400, "not the address of a tweet"),
        (server.BAD_ID, 400, "no tweet id"),
        (server.PROTECTED, 403, "protected"),
        (server.DELETED, 404, "deleted"),
        (server.SUSPENDED, 404, "suspended"),
        (server.LIMITED_LONG, 429, "answers again in"),
        (server.DOWN, 502, "X answered 500"),
        (server.HANGS, 502, "silent"),
        (server.TRUNCATED_JSON, 502, "JSON"),
        (server.RESETS, 502, "X failed"),
    ],
)
def test_each_failure_has_its_status(
    client: TestClient, x_server: XServer, tweet_id: int | str, status: int, words: str
) -> None:
    """Told as RFC 9457, with a code for programs and a sentence for people."""
    x_server.reset_in_s = 900
    answer = tweet(client, tweet_id)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == CODES[status]
    assert words in answer.json()["detail"]
    assert ("retry-after" in answer.headers) == (status == 429)


def test_an_expired_token(store: MemoryStore, x_server: XServer) -> None:
    """502, and the operator's setting by name; not the token."""
    with TestClient(make_app(store, x_server.url, "AAAA-expired")) as client:
        answer = tweet(client, server.OK)
    assert answer.status_code == 502
    assert "AUGURY_X_BEARER_TOKEN" in answer.json()["detail"]
    assert "AAAA" not in answer.text


def test_without_token(store: MemoryStore, x_server: XServer) -> None:
    """404 that shows both ways out."""
    with TestClient(make_app(store, x_server.url, None)) as client:
        answer = tweet(client, server.OK)
    assert answer.status_code == 404
    assert "augury tweets import" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", ["", "?tweetUrl=", "?tweetUrl=%00", "?tweetUrl=%ff%fe", "?tweeturl=7"]
)
def test_a_query_that_names_no_tweet(client: TestClient, query: str) -> None:
    """400, whatever the bytes."""
    answer = client.get(f"/v1/inference{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_input"


async def test_the_write_follows_the_answer(app: FastAPI, store: MemoryStore) -> None:
    """Memory costs the caller nothing: the body has left before the store is asked to write."""
    order: list[str] = []
    write = store.set_many

    async def set_many(*args: Any, **kwargs: Any) -> None:
        order.append("written")
        await write(*args, **kwargs)

    store.set_many = set_many  # type: ignore[method-assign]

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def watched_send(message: Any) -> None:
            if message["type"] == "http.response.body":
                order.append("sent")
            await send(message)

        await app(scope, receive, watched_send)

    transport = httpx2.ASGITransport(watched)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://here") as client,
    ):
        assert (await client.get(f"/v1/inference?tweetUrl={server.OK}")).status_code == 200
    assert order == ["sent", "written"]


def test_sentiment(client: TestClient) -> None:
    """One result for each text, in order; times in the native API's names."""
    answer = client.post("/v1/sentiment", json={"texts": ["good night", "awful"]})
    body = answer.json()
    assert [result["label"] for result in body["results"]] == ["positive", "negative"]
    assert (body["model"], body["version"]) == ("tweet-sentiment", "1")
    assert set(body["timing"]) == {"preprocess_ms", "queue_ms", "runtime_ms", "total_ms"}


def test_bad_rows_fail_alone(client: TestClient) -> None:
    r"""``"\ud800"`` is JSON but no text; it, the empty and the endless carry their own errors."""
    long = json.dumps("a" * 100_000)
    body = f'{{"texts": ["good", "\\ud800", "", {long}, "\\u0000", "bad"]}}'
    answer = client.post(
        "/v1/sentiment", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result.get("label") for result in results[::5]] == ["positive", "negative"]
    assert [result["error"]["code"] for result in results[1:5]] == [
        "invalid_input",
        "invalid_input",
        "too_large",
        "invalid_input",
    ]
    assert set(results[1]["error"]) == {"code", "title", "detail"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"text"', 400),
        (b"{}", 400),
        (b'{"texts": []}', 400),
        (b'{"texts": "good"}', 400),
        (b'{"texts": [5]}', 400),
        (b'{"texts": [null]}', 400),
        (b'{"texts": [["good"]]}', 400),
        (b'{"texts": ["good"], "txets": []}', 400),
        (b'{"texts": ["\xff"]}', 400),
        (b'{"texts": [' + b"[" * 100_000, 400),
        (json.dumps({"texts": ["a"] * 257}).encode(), 413),
    ],
)
def test_a_body_that_is_none(client: TestClient, body: bytes, status: int) -> None:
    """The client's fault is told as such, never as 500."""
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/sentiment", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_aggregates(client: TestClient) -> None:
    """What was asked for adds up, by author and by topic, over time."""
    tweet(client, server.OK)
    tweet(client, server.LONG)
    author = client.get("/v1/authors/@xdevelopers/sentiment?bucket=week").json()
    assert author["authorId"] == "2244994945"
    assert author["labels"] == {"negative": 0, "neutral": 0, "positive": 2}
    assert author["shares"]["positive"] == 1
    (week,) = author["buckets"]
    assert (week["start"], week["total"]) == ("2018-10-08T00:00:00Z", 2)
    assert author["firstAt"] == author["lastAt"] == "2018-10-10T20:19:24Z"
    assert client.get("/v1/authors/2244994945/sentiment?bucket=week").json() == author

    tagged = client.get("/v1/topics/%23Sleep/sentiment").json()
    assert (tagged["topic"], tagged["total"], tagged["bucket"]) == ("#sleep", 1, "day")
    assert client.get("/v1/topics/night/sentiment").json()["total"] == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/authors/1/sentiment", 404),
        ("/v1/authors/@nobody/sentiment", 404),
        ("/v1/topics/nothing/sentiment", 404),
        ("/v1/topics/a%20b/sentiment", 400),
        ("/v1/topics/a:b/sentiment", 400),
        ("/v1/topics/x*/sentiment", 400),
        ("/v1/authors/1/sentiment?bucket=year", 400),
    ],
)
def test_aggregates_that_are_not(client: TestClient, path: str, status: int) -> None:
    """Each with what to do about it."""
    answer = client.get(path)
    assert answer.status_code == status
    assert len(answer.json()["detail"]) > 20


def test_long_histories_keep_their_end(
    client: TestClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer has a bound; what is left out is counted."""
    monkeypatch.setattr(schemas, "MAX_BUCKETS", 2)
    for day in (1, 2, 3, 4, 5):
        at = datetime(2018, 10, day, 12, tzinfo=UTC)
        asyncio.run(remember(store, make_record(day, created_at=at)))
    body = client.get("/v1/topics/night/sentiment").json()
    starts = [bucket["start"] for bucket in body["buckets"]]
    assert starts == ["2018-10-04T00:00:00Z", "2018-10-05T00:00:00Z"]
    assert (body["bucketsOmitted"], body["total"]) == (3, 5)


def test_every_route_is_documented(app: FastAPI, client: TestClient) -> None:
    """Summary, description, examples, and the errors with their content type."""
    paths = app.openapi()["paths"]
    assert set(paths) == {
        "/v1/inference",
        "/v1/sentiment",
        "/v1/authors/{id}/sentiment",
        "/v1/topics/{word}/sentiment",
    }
    for path in paths.values():
        for route in path.values():
            assert route["summary"]
            assert len(route["description"]) > 50
            assert route["responses"]["200"]["content"]["application/json"]["example"]
            assert "400" in route["responses"]
            for status, answer in route["responses"].items():
                if status not in ("200", "422"):
                    assert list(answer["content"]) == ["application/problem+json"]
    texts = app.openapi()["components"]["schemas"]["Texts"]["properties"]["texts"]
    assert texts["items"]["type"] == "string"


def test_the_examples_are_what_is_answered(app: FastAPI, client: TestClient) -> None:
    """The documents' examples have exactly the members of real answers."""
    tweet(client, server.OK)
    real = {
        "/v1/inference": tweet(client, server.OK).json(),
        "/v1/sentiment": client.post("/v1/sentiment", json={"texts": ["good", ""]}).json(),
        "/v1/authors/{id}/sentiment": client.get("/v1/authors/@xdevelopers/sentiment").json(),
        "/v1/topics/{word}/sentiment": client.get("/v1/topics/night/sentiment").json(),
    }
    for path, body in real.items():
        (route,) = app.openapi()["paths"][path].values()
        example = route["responses"]["200"]["content"]["application/json"]["example"]
        assert shape(example) == shape(body)


def shape(value: Any) -> Any:
    """The names of *value*, without its values."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(member) for member in value]
    return None


def test_when_no_text_has_an_answer_the_status_tells_so(client: TestClient) -> None:
    """A request of one bad text is an ordinary HTTP error; the texts' own errors stand beside it."""
    answer = client.post("/v1/sentiment", json={"texts": ["", ""]})

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid_input"
    assert [result["error"]["code"] for result in problem["results"]] == ["invalid_input"] * 2


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b'{"texts": ["a"]}', "text/plain", "content-type: application/json"),
        (b'{"texts": ["\xff"]}', "application/json", "not valid JSON in UTF-8"),
    ],
)
def test_a_body_that_cannot_be_read_tells_what_to_send(
    client: TestClient, body: bytes, kind: str, words: str
) -> None:
    """Neither FastAPI's words nor pydantic's, but what to do."""
    answer = client.post("/v1/sentiment", content=body, headers={"content-type": kind})

    assert answer.status_code == 400
    assert words in answer.json()["detail"]
