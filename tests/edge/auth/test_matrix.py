"""Every route of the real application, with every kind of credential."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import Request

from augury.core.caller import SCOPE_KEY, Scope
from augury.core.clock import SystemClock
from augury.edge.auth.key_ring import KeyRing
from augury.edge.auth.keys import NewKey
from augury.edge.auth.scopes import required_scope
from augury.stores.registry import open_store
from tests.application import InProcess, in_process
from tests.edge.auth.test_scopes import routes_of
from tests.models import write_classifier

PASSWORD = "correct horse battery"
TOKEN = "a-token-for-administrators"
SECRET_KEY = "thirty-two characters or even more"
KINDS = ("nothing", "read", "predict", "admin", "expired", "revoked", "forged", "token", "password")
SCOPES: dict[str, set[Scope]] = {
    "read": {"read"},
    "predict": {"predict"},
    "admin": {"admin", "read", "predict"},
    "token": {"admin", "read", "predict"},
    "password": {"admin", "read", "predict"},
}


# Routes whose answers do not end.
ENDLESS = ("/api/ui/live",)


class Guarded:
    """The application, and credentials for it."""

    def __init__(self, served: InProcess, headers: dict[str, dict[str, str]], audit: Path) -> None:
        self.client = served.client
        self.served = served
        self.headers = headers
        self._audit = audit

    async def ask(self, method: str, path: str, kind: str, **options: Any) -> httpx2.Response:
        """Send a request with a credential of *kind*."""
        headers = {**self.headers[kind], **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    def audited(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        if not self._audit.exists():
            return []
        return [json.loads(line) for line in self._audit.read_text().splitlines()]


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    """As if outside loopback: nothing is anonymous. ``/test`` has routes of every method."""
    write_classifier(tmp_path / "models")
    url = f"sqlite:///{tmp_path}/store.sqlite3"
    clock = SystemClock()
    store = await open_store(url, clock=clock, on_corrupt=lambda *_: None)
    ring = KeyRing(store, clock)
    secret_key = SECRET_KEY.encode()

    async def make(*scopes: Scope, life_s: float = 3600.0, **options: Any) -> NewKey:
        return await ring.create(secret_key, scopes=scopes, life_s=life_s, **options)

    keys = {
        "read": await make("read"),
        "predict": await make("predict"),
        "admin": await make("admin"),
        "expired": await make("admin", life_s=0.001),
        "revoked": await make("admin"),
        "forged": await ring.create(
            b"another secret key of some length", scopes=("admin",), life_s=60
        ),
        "limited": await make("predict", "read", rows_per_minute=3),
    }
    await ring.revoke(keys["revoked"].record.id)
    await store.close()
    login = base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
    headers = {kind: {"authorization": f"Bearer {key.text}"} for kind, key in keys.items()}
    headers["nothing"] = {}
    headers["token"] = {"authorization": f"Bearer {TOKEN}"}
    headers["password"] = {"authorization": f"Basic {login}"}
    audit = tmp_path / "audit.jsonl"
    async with in_process(
        tmp_path / "models",
        store=url,
        anonymous_scopes="none",
        secret_key=SECRET_KEY,
        admin_token=TOKEN,
        first_superuser="ada",
        first_superuser_password=PASSWORD,
        audit_file=audit,
    ) as served:
        api = served.application.api

        @api.delete("/v1/documented/{id}")
        async def documented(id: str) -> str:
            return id

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]

        @api.api_route("/v1/test/{id}", methods=methods, include_in_schema=False)
        async def everything(id: str, request: Request) -> dict[str, str]:
            return {"caller": request.scope[SCOPE_KEY].name, "body": str(len(await request.body()))}

        yield Guarded(served, headers, audit)


@pytest.mark.parametrize("kind", KINDS)
async def test_every_route_with_every_credential(guarded: Guarded, kind: str) -> None:
    """401 without a right one, 403 with one that does not reach so far, else neither."""
    routes = set(routes_of(guarded.served.application.api))
    routes |= {
        ("POST", "/api/models/mood/predict"),
        ("POST", "/api/models/mood/versions/1/predict"),
        ("POST", "/api/models/mood/labels/x/predict"),
        ("HEAD", "/api/models"),
    }
    assert len(routes) > 15
    for method, template in sorted(routes):
        path = template.replace("{name}", "mood").replace("{id}", "1")
        need = required_scope(method, path)
        if template in ENDLESS and need in SCOPES.get(kind, set()):
            continue  # see the server's own tests
        response = await guarded.ask(method, path, kind)
        told = f"{method} {path} with {kind}: {response.status_code} {response.text[:200]}"
        if need is None:
            assert response.status_code not in (401, 403), told
        elif kind not in SCOPES:
            assert response.status_code == 401, told
            assert response.headers["www-authenticate"] == 'Basic realm="augury", Bearer', told
            assert response.headers["content-type"] == "application/problem+json"
        elif need not in SCOPES[kind]:
            assert response.status_code == 403, told
            if method != "HEAD":
                assert response.json()["scope"] == need, told
                assert f"needs the scope {need!r}" in response.json()["detail"]
        else:
            assert response.status_code not in (401, 403), told


@pytest.mark.parametrize("kind", KINDS)
async def test_foreign_pages_with_every_credential(guarded: Guarded, kind: str) -> None:
    """What changes or fetches something is refused where the browser adds the credential itself."""
    by_itself = kind in ("nothing", "password")
    for method, path in (
        ("GET", "/v1/inference"),
        ("POST", "/v1/test/1"),
        ("DELETE", "/v1/test/1"),
    ):
        for page in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
            response = await guarded.ask(method, path, kind, headers=page)
            told = f"{method} {path} with {kind}: {response.status_code} {response.text[:200]}"
            assert ("page of another origin" in response.text) == by_itself, told
            assert not by_itself or response.status_code == 403, told
        typed = await guarded.ask(method, path, kind, headers={"sec-fetch-site": "none"})
        assert "page of another origin" not in typed.text
    look = await guarded.ask("GET", "/v1/test/1", kind, headers={"sec-fetch-site": "cross-site"})
    assert "page of another origin" not in look.text


BYPASSES = [
    ("GET", "/v1/test/../test/1"),
    ("POST", "/v1/test/1"),
    ("POST", "/v1//test/1"),
    ("POST", "//v1/test/1"),
    ("POST", "/v1/test%2F1"),
    ("POST", "/v1%2Ftest/1"),
    ("POST", "/%76%31/test/1"),
    ("POST", "/livez/../v1/test/1"),
    ("POST", "/assets/..%2Fv1/test/1"),
    ("POST", "/api/models/x/predict/../../../../v1/test/1"),
    ("POST", "/V1/test/1"),
    ("POST", "/v1/test/1/"),
    ("POST", "/v1/test/1%00"),
    ("POST", "/v1/test/1;x=/predict"),
    ("POST", "/v1/test/1?path=/api/models/x/predict"),
    ("POST", "/v1/test/predict"),
    ("DELETE", "/v1/test/1"),
    ("PATCH", "/v1/test/1"),
    ("PUT", "/v1/test/1"),
    ("post", "/v1/test/1"),
    ("Delete", "/v1/test/1"),
]


TRICKS: list[dict[str, str]] = [
    {},
    {"x-http-method-override": "GET", "x-original-url": "/livez", "x-rewrite-url": "/livez"},
    {"x-forwarded-for": "127.0.0.1", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"},
]


@pytest.mark.parametrize("kind", ["nothing", "read", "predict", "forged"])
async def test_no_way_around(guarded: Guarded, kind: str) -> None:
    """Encoded slashes, dots, case and methods: the route behind is never reached."""
    for method, path in BYPASSES:
        for trick in TRICKS:
            response = await guarded.ask(method, path, kind, headers=trick)
            told = f"{method} {path} with {kind}: {response.status_code} {response.text[:200]}"
            if (method, kind) != ("GET", "read"):
                assert response.status_code in (401, 403, 404, 405), told
                assert "caller" not in response.text, told


async def test_a_refused_body_is_not_read(guarded: Guarded) -> None:
    """The answer comes before any of it; nobody without a credential sends us gigabytes."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/api/models/mood/predict", "/v1/test/1"):
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")],
            "client": ("192.0.2.1", 1),
        }
        sent.clear()
        await guarded.served.application.edge(scope, receive, send)
        assert sent[0]["status"] == 401


async def test_the_caller_reaches_the_route(guarded: Guarded) -> None:
    """So that it can charge rows, or tell who it was."""
    response = await guarded.ask("POST", "/v1/test/7", "password", content=b"abc")
    assert response.json() == {"caller": "user:ada", "body": "3"}
    response = await guarded.ask("GET", "/v1/test/7", "read")
    assert response.json()["caller"].startswith("key:")


async def test_changes_are_written_down(guarded: Guarded) -> None:
    """Before and after, refused ones too; reading and predicting are not, nor are bodies."""
    await guarded.ask("GET", "/v1/test/1", "read")
    await guarded.ask("POST", "/api/models/mood/predict", "predict", json={"rows": [{"text": "x"}]})
    assert guarded.audited() == []
    await guarded.ask("DELETE", "/v1/test/7?q=my-query", "token", headers={"x-request-id": "r1"})
    begun, ended = guarded.audited()
    assert (begun["event"], begun["action"], begun["targets"]) == (
        "call begun",
        "DELETE /v1/test/{id}",
        {"id": "7"},
    )
    assert (begun["caller"], begun["address"], begun["request_id"]) == (
        "admin-token",
        "127.0.0.1",
        "r1",
    )
    assert (ended["event"], ended["status"], ended["call"]) == ("call ended", 200, begun["call"])
    await guarded.ask("DELETE", "/v1/test/7", "read", content=b"my-body")
    refused = guarded.audited()[-1]
    assert (refused["event"], refused["status"]) == ("call refused", 403)
    assert refused["caller"].startswith("key:")
    await guarded.ask("DELETE", "/v1/test/7", "nothing")
    assert guarded.audited()[-1]["caller"] == "nobody" or (
        guarded.audited()[-1]["caller"] == "anonymous"
    )
    text = json.dumps(guarded.audited())
    for secret in (TOKEN, "my-query", "my-body", guarded.headers["read"]["authorization"][7:]):
        assert secret not in text


async def test_what_cannot_be_written_down_is_not_done(guarded: Guarded) -> None:
    """503 for changes; everything else goes on."""
    guarded._audit.with_name(guarded._audit.name + ".lock").mkdir()
    response = await guarded.ask("DELETE", "/v1/test/7", "token")
    assert response.status_code == 503
    assert "audit log cannot be written" in response.json()["detail"]
    assert "caller" not in response.json()
    assert (await guarded.ask("GET", "/v1/test/7", "read")).status_code == 200


async def test_rows_are_charged_to_the_key(guarded: Guarded) -> None:
    """429 with Retry-After when they are used up, 413 for more than a minute's; refusals are free."""

    async def predict(rows: int) -> httpx2.Response:
        body = {"rows": [{"text": f"row {row}"} for row in range(rows)]}
        return await guarded.ask("POST", "/api/models/mood/predict", "limited", json=body)

    assert (await predict(4)).status_code == 413
    assert (await predict(2)).status_code == 200
    refused = await predict(2)
    assert refused.status_code == 429
    assert refused.json()["code"] == "overloaded"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert (await predict(1)).status_code == 200


async def test_others_learn_of_no_route(guarded: Guarded) -> None:
    """Without a credential every address looks alike; with one, a wrong address is 404."""
    for path in ("/nothing", "/v1/test/1", "/v1/nothing", "/api/models/none"):
        assert (await guarded.ask("POST", path, "nothing")).status_code == 401
    assert (await guarded.ask("POST", "/nothing", "read")).status_code == 404
    assert (await guarded.ask("POST", "/livez", "read")).status_code == 405


async def test_many_wrong_logins_leave_the_loop_free(guarded: Guarded) -> None:
    """Predictions are answered while passwords are being hashed."""

    async def guess(number: int) -> int:
        login = base64.b64encode(f"ada:guess {number}".encode()).decode()
        headers = {"authorization": f"Basic {login}"}
        return (await guarded.client.get("/api/models", headers=headers)).status_code

    guesses = [asyncio.create_task(guess(number)) for number in range(50)]
    answered = 0
    while not all(task.done() for task in guesses):
        body = {"rows": [{"text": "x"}]}
        response = await guarded.ask("POST", "/api/models/mood/predict", "predict", json=body)
        assert response.status_code == 200
        answered += 1
    statuses = [await task for task in guesses]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) == 5
    assert answered >= 5


async def test_the_document_tells_what_each_operation_needs(guarded: Guarded) -> None:
    """Schemes, scopes, and how a lack of them is answered."""
    document = (await guarded.ask("GET", "/openapi.json", "read")).json()
    assert set(document["components"]["securitySchemes"]) == {"password", "bearer", "apiKey"}
    predict = document["paths"]["/api/models/mood/predict"]["post"]
    assert predict["security"] == [
        {"password": ["predict"]},
        {"bearer": ["predict"]},
        {"apiKey": ["predict"]},
    ]
    assert {"401", "403"} <= set(predict["responses"])
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert document["paths"]["/v1/documented/{id}"]["delete"]["security"][0] == {
        "password": ["admin"]
    }


async def test_the_document_tells_what_needs_none(tmp_path: Path) -> None:
    """On loopback, reading and predicting may be done without."""
    write_classifier(tmp_path)
    async with in_process(tmp_path) as served:
        paths = (await served.client.get("/openapi.json")).json()["paths"]
        assert paths["/api/models"]["get"]["security"][0] == {}
        assert (await served.client.get("/api/models")).status_code == 200
        assert (await served.predict("mood", {"text": "x"})).status_code == 200
        refused = await served.client.delete("/docs/assets/x")
        assert refused.status_code == 401
        assert "AUGURY_ADMIN_TOKEN" in refused.json()["detail"]
