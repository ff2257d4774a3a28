"""The routes, over HTTP's own terms, with the edge's error pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from augury.core.caller import SCOPE_KEY, Caller
from augury.core.clock import ManualClock
from augury.core.errors import Overloaded
from augury.edge import errors
from augury.services.tweets.api import schemas
from augury.services.tweets.api.routes import router
from augury.services.tweets.ledger import Ledger
from augury.services.tweets.model import Tweet, id_of_name
from augury.services.tweets.records import PredictionRecord, encode_tweet, tweet_key
from augury.services.tweets.service import TweetService
from augury.services.tweets.sources.chain import open_sources
from augury.services.tweets.sources.x_api import XLimits
from augury.stores.memory import MemoryStore
from tests.services.tweets import x_server as server
from tests.services.tweets.conftest import NOW_S, LexiconPredictor
from tests.services.tweets.ledger.conftest import predicted
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
        ledger = Ledger(store, clock=ManualClock(NOW_S))
        async with (
            open_sources(store, token, base_url=url, limits=limits) as source,
            TweetService(LexiconPredictor(), source, ledger, clock=ledger.clock) as service,
        ):
            app.include_router(router(service))
            app.state.service = service
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


def service_of(client: TestClient) -> TweetService:
    service: TweetService = client.app.state.service  # type: ignore[attr-defined]
    return service


def flush(client: TestClient) -> None:
    """Have what waits written."""
    assert client.portal is not None
    assert client.portal.call(service_of(client).flush, 20.0) == 0


def remember(client: TestClient, *records: PredictionRecord) -> None:
    """Have *records* written."""
    assert client.portal is not None
    for record in records:
        client.portal.call(service_of(client).remember, record)
    flush(client)


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


def test_a_prediction_that_is_wanted_anew(client: TestClient, x_server: XServer) -> None:
    """With no-cache or no-store a remembered prediction will not do; X is not asked for the text."""
    url = f"/v1/inference?tweetUrl={server.OK}"
    assert not client.get(url, headers={"Cache-Control": "No-Cache"}).json()["cached"]
    assert client.get(url, headers={"Cache-Control": "max-age=0"}).json()["cached"]
    for value in ("no-cache", "no-store", "max-age=0, no-cache"):
        assert not client.get(url, headers={"Cache-Control": value}).json()["cached"]
    assert client.get(url).json()["cached"]
    assert x_server.count(server.OK) == 1
    flush(client)
    assert not client.get(url, headers={"Cache-Control": "no-cache"}).json()["cached"]
    assert x_server.count(server.OK) == 1


def test_what_is_not_to_be_remembered(client: TestClient) -> None:
    """After no-store nothing is held of the tweet."""
    url = f"/v1/inference?tweetUrl={server.OK}"
    assert client.get(url, headers={"Cache-Control": "no-store"}).status_code == 200
    flush(client)
    assert client.get("/v1/tweets").json()["total"] == 0
    assert not client.get(url).json()["cached"]


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


async def test_the_answer_does_not_wait_for_the_write(app: FastAPI, store: MemoryStore) -> None:
    """Memory costs the caller nothing: a store that takes for ever to write holds up no answer."""
    writing, gate = asyncio.Event(), asyncio.Event()
    commit = store.commit

    async def slow_commit(changes: Any) -> list[bool]:
        writing.set()
        await gate.wait()
        return await commit(changes)

    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://here") as client,
    ):
        await client.get("/v1/tweets")  # the ledger has begun
        store.commit = slow_commit  # type: ignore[method-assign]
        assert (await client.get(f"/v1/inference?tweetUrl={server.OK}")).status_code == 200
        await writing.wait()
        again = await client.get(f"/v1/inference?tweetUrl={server.OK}")
        assert again.json()["cached"]
        gate.set()
        await app.state.service.flush(20)
        assert (await client.get("/v1/tweets")).json()["total"] == 1


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
    flush(client)
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
        ("/v1/tweets/sentiment?bucket=year", 400),
        ("/v1/authors/1/tweets", 404),
        ("/v1/authors/@nobody/tweets", 404),
        ("/v1/topics/nothing/tweets", 404),
        ("/v1/topics/a%20b/tweets", 400),
        ("/v1/authors?limit=0", 400),
        ("/v1/authors?limit=101", 400),
        ("/v1/authors?offset=-1", 400),
        ("/v1/authors?offset=99999999999999999999", 400),
        ("/v1/authors?order=loud", 400),
        ("/v1/topics?kind=emoji", 400),
        ("/v1/topics?order=rising&window=year", 400),
        ("/v1/topics?order=rising&at=yesterday", 400),
        ("/v1/topics?order=rising&at=0001-01-01T00:00:00%2B14:00", 400),
        ("/v1/topics?order=rising&at=9999-12-31T23:00:00-02:00", 400),
    ],
)
def test_aggregates_that_are_not(client: TestClient, path: str, status: int) -> None:
    """Each with what to do about it."""
    answer = client.get(path)
    assert answer.status_code == status
    assert len(answer.json()["detail"]) > 20


def test_long_histories_keep_their_end(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has a bound; what is left out is counted."""
    monkeypatch.setattr(schemas, "MAX_BUCKETS", 2)
    days = [
        predicted(day, created_at=datetime(2018, 10, day, 12, tzinfo=UTC)) for day in range(1, 6)
    ]
    remember(client, *days)
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
        "/v1/authors",
        "/v1/authors/{id}",
        "/v1/authors/{id}/sentiment",
        "/v1/authors/{id}/tweets",
        "/v1/topics",
        "/v1/topics/{word}/sentiment",
        "/v1/topics/{word}/tweets",
        "/v1/tweets",
        "/v1/tweets/{id}",
        "/v1/tweets/sentiment",
        "/v1/clear",
    }
    for path in paths.values():
        for route in path.values():
            assert route["summary"]
            assert len(route["description"]) > 50
            assert route["responses"]["200"]["content"]["application/json"]["example"]
            assert {"400", "401", "403", "503"} <= set(route["responses"])
            for status, answer in route["responses"].items():
                if status not in ("200", "422"):
                    assert list(answer["content"]) == ["application/problem+json"]
    texts = app.openapi()["components"]["schemas"]["Texts"]["properties"]["texts"]
    assert texts["items"]["type"] == "string"


def test_the_examples_are_what_is_answered(app: FastAPI, client: TestClient) -> None:
    """The documents' examples have exactly the members of real answers."""
    tweet(client, server.OK)
    flush(client)
    author, topic = "/v1/authors/@xdevelopers", "/v1/topics/night"
    real = {
        "/v1/inference": tweet(client, server.OK).json(),
        "/v1/sentiment": client.post("/v1/sentiment", json={"texts": ["good", ""]}).json(),
        "/v1/authors": client.get("/v1/authors").json(),
        "/v1/authors/{id}/sentiment": client.get(f"{author}/sentiment").json(),
        "/v1/authors/{id}/tweets": client.get(f"{author}/tweets").json(),
        "/v1/topics": client.get("/v1/topics?kind=hashtag").json(),
        "/v1/topics/{word}/sentiment": client.get(f"{topic}/sentiment").json(),
        "/v1/topics/{word}/tweets": client.get(f"{topic}/tweets").json(),
        "/v1/tweets": client.get("/v1/tweets").json(),
        "/v1/tweets/sentiment": client.get("/v1/tweets/sentiment").json(),
        "/v1/tweets/{id}": client.delete("/v1/tweets/1").json(),
        "/v1/authors/{id}": client.delete("/v1/authors/1").json(),
        "/v1/clear": client.post("/v1/clear").json(),
    }
    assert set(real) == set(app.openapi()["paths"])
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


def test_lists_in_pages(client: TestClient) -> None:
    """Every row is on one page, in one order; `next` leads through them."""
    remember(
        client,
        *(
            predicted(n, author_id=n % 7, username=f"user{n % 7}", text=f"#tag{n % 5} word{n}x")
            for n in range(1, 31)
        ),
    )
    for path, name, key, rows in (
        ("/v1/authors?", "authors", "id", 7),
        ("/v1/topics?kind=hashtag", "topics", "topic", 5),
        ("/v1/tweets?", "tweets", "tweetId", 30),
        ("/v1/authors/3/tweets?", "tweets", "tweetId", 4),
        ("/v1/topics/%23tag1/tweets?", "tweets", "tweetId", 6),
    ):
        seen: list[str] = []
        offset: int | None = 0
        while offset is not None:
            body = client.get(f"{path}&limit=4&offset={offset}").json()
            assert (body["total"], body["offset"], body["limit"]) == (rows, offset, 4)
            seen += [row[key] for row in body[name]]
            offset = body["next"]
        assert len(seen) == len(set(seen)) == rows


def test_a_listed_author(client: TestClient) -> None:
    """Names, counts and times, as the dashboard draws them."""
    tweet(client, server.OK)
    flush(client)
    assert client.get("/v1/authors").json() == {
        "authors": [
            {
                "id": "2244994945",
                "username": "XDevelopers",
                "name": "Developers",
                "total": 1,
                "labels": {"negative": 0, "neutral": 0, "positive": 1},
                "shares": {"negative": 0.0, "neutral": 0.0, "positive": 1.0},
                "meanScores": client.get("/v1/tweets/sentiment").json()["meanScores"],
                "firstAt": "2018-10-10T20:19:24Z",
                "lastAt": "2018-10-10T20:19:24Z",
            }
        ],
        "total": 1,
        "offset": 0,
        "limit": 20,
        "next": None,
    }


def test_a_remembered_tweet(client: TestClient) -> None:
    """What /v1/inference answered, with its date in place of `cached`."""
    first = tweet(client, server.OK).json()
    flush(client)
    (listed,) = client.get("/v1/tweets").json()["tweets"]
    assert listed.pop("predictedAt") == "2018-10-11T00:00:00Z"
    del first["cached"]
    assert listed == first


def test_rising_topics(client: TestClient) -> None:
    """A topic of today that was quiet before, over one that always is; active ones have no score."""
    day = datetime(2018, 10, 10, 12, tzinfo=UTC)
    remember(
        client,
        *(predicted(n, text="#new", created_at=day) for n in range(1, 6)),
        *(
            predicted(10 * n + m, text="#usual", created_at=day - timedelta(days=n))
            for n in range(1, 8)
            for m in range(5)
        ),
        *(predicted(100 + m, text="#usual", created_at=day) for m in range(5)),
    )
    body = client.get("/v1/topics?order=rising&kind=hashtag").json()
    assert (body["windowStart"], body["windowEnd"]) == (
        "2018-10-10T00:00:00Z",
        "2018-10-11T00:00:00Z",
    )
    (row,) = body["topics"]
    assert (row["topic"], row["recent"], row["expected"], row["score"]) == ("#new", 5, 0.0, 5.0)
    active = client.get("/v1/topics?order=active&kind=hashtag").json()
    assert [(row["topic"], row["score"]) for row in active["topics"]] == [
        ("#usual", None),
        ("#new", None),
    ]
    earlier = client.get("/v1/topics?order=rising&at=2018-10-09T01:00:00").json()
    assert earlier["windowStart"] == "2018-10-09T00:00:00Z"


def test_erasing(client: TestClient, store: MemoryStore) -> None:
    """A tweet, an author, everything; to erase what is not there is no error."""
    remember(client, *(predicted(n, author_id=n % 2) for n in range(1, 10)))
    clock: ManualClock = service_of(client).clock  # type: ignore[assignment]
    clock.advance(1)
    assert client.delete("/v1/tweets/1").json() == {"erased": 1}
    assert client.delete("/v1/tweets/1").json() == {"erased": 0}
    assert client.get("/v1/tweets/sentiment").json()["total"] == 8
    assert client.delete("/v1/authors/1").json() == {"erased": 4}
    assert client.get("/v1/authors/1/sentiment").status_code == 404
    assert client.delete("/v1/authors/@nobody").json() == {"erased": 0}
    assert client.delete("/v1/tweets/x").status_code == 400
    # Of some tweets a file told the name only: they are hers as well, whoever bears the name now.
    by_name = predicted(20, author_id=id_of_name("ada"), username="ada")
    remember(client, by_name, predicted(21, author_id=77, username="ada"))
    clock.advance(1)
    assert client.delete("/v1/authors/@Ada").json() == {"erased": 2}
    asyncio.run(store.set(tweet_key(70), encode_tweet(Tweet(id=70, text="x"))))
    assert client.post("/v1/clear").json() == {"erased": 5}
    assert client.get("/v1/tweets").json()["tweets"] == []
    assert asyncio.run(store.get(tweet_key(70))) is None


class Counter:
    """A quota that only counts, until it is used up."""

    def __init__(self, limit: int) -> None:
        self.charged: list[int] = []
        self._limit = limit

    def charge(self, rows: int) -> None:
        self.charged.append(rows)
        if sum(self.charged) > self._limit:
            raise Overloaded("the quota is used up")


def test_rows_are_charged_before_work_is_done(app: FastAPI, x_server: XServer) -> None:
    """One for a tweet, as many as texts; what is refused costs nothing, and nobody is asked."""
    quota = Counter(4)
    caller = Caller("key:1", frozenset({"predict"}), quota)

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, SCOPE_KEY: caller}, receive, send)

    with TestClient(guarded, raise_server_exceptions=False) as client:
        assert tweet(client, server.OK).status_code == 200
        assert client.post("/v1/sentiment", json={"texts": ["good"] * 3}).status_code == 200
        assert client.post("/v1/sentiment", json={"texts": []}).status_code == 400
        assert client.post("/v1/sentiment", json={"texts": ["a"] * 257}).status_code == 413
        assert tweet(client, server.LONG).status_code == 429
    assert quota.charged == [1, 3, 1]
    assert x_server.count(server.LONG) == 0
