"""A real server and its credentials: where it starts, whom it lets in, and what goes on without the store."""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.server import ServerProcess, clean_environment, run_serve, serving
from tests.models import write_classifier
from tests.redis_server import RedisServer
from tests.wire import Wire

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"
TOKEN = "a-token-for-administrators"
SECRET_KEY = "0123456789abcdef" * 2
SECRETS: dict[str, Any] = {
    "secret_key": SECRET_KEY,
    "admin_token": TOKEN,
    "store": "sqlite:///store.sqlite3",
}
ROW = {"rows": [{"text": "x"}]}
PREDICT = "/api/models/mood/predict"


def keys(folder: Path, *words: str, **settings: str) -> str:
    """What `augury keys` with *words* prints."""
    command = [sys.executable, "-c", "from augury.app.cli import main; main()", "keys", *words]
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def basic(user: str, password: str) -> dict[str, str]:
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {login}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a model."""
    write_classifier(tmp_path / "models")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[ServerProcess]:
    """As outside loopback: nothing is anonymous."""
    with serving(
        folder,
        "models",
        "--host",
        "0.0.0.0",
        first_superuser="ada",
        first_superuser_password=PASSWORD,
        **SECRETS,
    ) as running:
        yield running


class TestStart:
    def test_outside_loopback_it_needs_secrets(self, folder: Path) -> None:
        """One line that names all of them, exit code 1, and no port is left open."""
        done = run_serve(folder, "models", "--host", "0.0.0.0", "--http-port", "0")
        assert done.returncode == 1
        for name in ("FIRST_SUPERUSER_PASSWORD", "AUGURY_ADMIN_TOKEN", "AUGURY_SECRET_KEY"):
            assert name in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("weak", ["changethis", "letmein", "password1234"])
    def test_weak_secrets_are_refused(self, folder: Path, weak: str) -> None:
        """Named, not told."""
        done = run_serve(
            folder, "models", "--host", "0.0.0.0", admin_token=weak, secret_key=SECRET_KEY
        )
        assert done.returncode == 1
        assert "admin_token" in done.stderr
        assert weak not in done.stderr

    def test_with_secrets_it_starts_closed(self, server: ServerProcess) -> None:
        """Health and the page are open, everything else asks for a credential."""
        with server.client() as client:
            assert client.get("/livez").status_code == 200
            for path in ("/metrics", "/docs", "/openapi.json", "/api/models", "/ui"):
                refused = client.get(path)
                assert refused.status_code == 401, path
                assert refused.headers["www-authenticate"] == 'Basic realm="augury", Bearer'
                assert client.get(path, headers=basic("ada", PASSWORD)).status_code == 200, path
            assert client.post(PREDICT, json=ROW).status_code == 401
            assert client.post(PREDICT, json=ROW, headers=bearer(TOKEN)).status_code == 200
        for secret in (PASSWORD, TOKEN, SECRET_KEY):
            assert secret not in server.log

    def test_the_operator_may_open_it(self, folder: Path) -> None:
        """Predictions for everybody, and nothing else."""
        with (
            serving(
                folder, "models", "--host", "0.0.0.0", anonymous_scopes="predict", **SECRETS
            ) as server,
            server.client() as client,
        ):
            assert client.post(PREDICT, json=ROW).status_code == 200
            assert client.get("/metrics").status_code == 401

    def test_on_loopback_it_starts_without(self, folder: Path) -> None:
        """Reading and predicting are free, and no file is made for it."""
        with serving(folder, "models", store="memory://") as server, server.client() as client:
            assert client.post(PREDICT, json=ROW).status_code == 200
            assert client.get("/metrics").status_code == 200
            assert not (folder / "augury-data").exists()


class TestKeys:
    def test_a_key_works_until_it_is_revoked(self, folder: Path, server: ServerProcess) -> None:
        """Made while the server runs; gone within five seconds."""
        key = keys(folder, "create", "--scope", "predict", **SECRETS)
        with server.client() as client:
            for headers in (bearer(key), {"x-api-key": key}, basic("any", key)):
                assert client.post(PREDICT, json=ROW, headers=headers).status_code == 200
            assert client.get("/api/models", headers=bearer(key)).status_code == 403
            keys(folder, "revoke", key.split("_")[1], **SECRETS)
            revoked_s = time.monotonic()
            while client.post(PREDICT, json=ROW, headers=bearer(key)).status_code != 401:
                assert time.monotonic() - revoked_s < 6.0
                time.sleep(0.05)
        assert key not in server.log

    def test_a_key_expires(self, folder: Path, server: ServerProcess) -> None:
        """Though it was right a moment ago."""
        key = keys(folder, "create", "--scope", "predict", "--expires", "3s", **SECRETS)
        with server.client() as client:
            statuses = []
            until_s = time.monotonic() + 6
            while time.monotonic() < until_s:
                statuses.append(client.post(PREDICT, json=ROW, headers=bearer(key)).status_code)
                time.sleep(0.1)
        assert set(statuses) == {200, 401}
        assert statuses == sorted(statuses)

    def test_the_day_of_use_is_listed(self, folder: Path, server: ServerProcess) -> None:
        """Across processes."""
        key = keys(folder, "create", "--scope", "predict", **SECRETS)
        assert '"last_used": null' in keys(folder, "list", "--json", **SECRETS)
        with server.client() as client:
            client.post(PREDICT, json=ROW, headers=bearer(key))
        assert '"last_used": null' not in keys(folder, "list", "--json", **SECRETS)

    def test_a_live_stream_needs_its_scope(self, folder: Path, server: ServerProcess) -> None:
        """Streams are guarded like everything else."""
        reader = keys(folder, "create", "--scope", "read", **SECRETS)
        predictor = keys(folder, "create", "--scope", "predict", **SECRETS)
        with server.client() as client:
            assert client.get("/api/ui/live").status_code == 401
            assert client.get("/api/ui/live", headers=bearer(predictor)).status_code == 403
            with client.stream("GET", "/api/ui/live", headers=bearer(reader)) as live:
                assert live.status_code == 200
                assert next(live.iter_bytes())


@pytest.mark.redis
class TestSharedStore:
    def test_known_keys_go_on_without_the_store(
        self, folder: Path, redis_server: RedisServer
    ) -> None:
        """Redis is killed: a known key predicts on, a new one gets 503; then both work again."""
        shared = {**SECRETS, "store": redis_server.url}
        known = keys(folder, "create", "--scope", "predict", **shared)
        new = keys(folder, "create", "--scope", "predict", **shared)
        with (
            serving(folder, "models", "--host", "0.0.0.0", **shared) as server,
            server.client() as client,
        ):

            def predict(key: str) -> httpx2.Response:
                return client.post(PREDICT, json=ROW, headers=bearer(key))

            assert predict(known).status_code == 200
            redis_server.kill()
            until_s = time.monotonic() + 8  # longer than a key is believed without a look-up
            longest_s = 0.0
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                assert predict(known).status_code == 200
                longest_s = max(longest_s, time.monotonic() - began_s)
            refused = predict(new)
            assert refused.status_code == 503
            assert "store" in refused.json()["detail"]
            assert refused.headers["retry-after"]
            assert predict("aug_0123456789ab_" + "x" * 43).status_code == 503
            assert client.post(PREDICT, json=ROW, headers=bearer(TOKEN)).status_code == 200
            # The store's own timeout, and then some for a busy machine.
            assert longest_s < 4.0, longest_s
            redis_server.start()
            until_s = time.monotonic() + 20
            while predict(new).status_code != 200:
                assert time.monotonic() < until_s
                time.sleep(0.1)
            keys(folder, "revoke", known.split("_")[1], **shared)
            until_s = time.monotonic() + 6
            while predict(known).status_code != 401:
                assert time.monotonic() < until_s
                time.sleep(0.05)

    def test_a_store_that_hangs_holds_up_nobody_for_long(
        self, folder: Path, redis_server: RedisServer
    ) -> None:
        """Redis takes connections and does not answer: a known key waits for no more than a timeout."""
        shared = {**SECRETS, "store": redis_server.url}
        key = keys(folder, "create", "--scope", "predict", **shared)
        with (
            serving(folder, "models", "--host", "0.0.0.0", **shared) as server,
            server.client() as client,
        ):
            assert client.post(PREDICT, json=ROW, headers=bearer(key)).status_code == 200
            redis_server.pause()
            waits_s = []
            until_s = time.monotonic() + 8
            while time.monotonic() < until_s:
                began_s = time.monotonic()
                assert client.post(PREDICT, json=ROW, headers=bearer(key)).status_code == 200
                waits_s.append(time.monotonic() - began_s)
            redis_server.resume()
            assert max(waits_s) < 4.0, max(waits_s)  # the look-up's timeout is 2 s
            assert sorted(waits_s)[len(waits_s) // 2] < 0.5

    def test_two_servers_know_the_same_keys(self, folder: Path, redis_server: RedisServer) -> None:
        """With the same secret key; with another one, a key is worth nothing."""
        shared = {**SECRETS, "store": redis_server.url}
        key = keys(folder, "create", "--scope", "predict", **shared)
        other = {**shared, "secret_key": "fedcba9876543210" * 2}
        for settings, status in ((shared, 200), (shared, 200), (other, 401)):
            with (
                serving(folder, "models", "--host", "0.0.0.0", **settings) as server,
                server.client() as client,
            ):
                assert client.post(PREDICT, json=ROW, headers=bearer(key)).status_code == status


class TestHostile:
    def test_guessing_does_not_hold_up_predictions(
        self, folder: Path, server: ServerProcess
    ) -> None:
        """Fifty wrong logins at once: some are refused, and predictions go on meanwhile."""
        key = keys(folder, "create", "--scope", "predict", **SECRETS)
        statuses: list[int] = []

        def guess(number: int) -> None:
            with server.client() as client:
                answer = client.get("/api/models", headers=basic("ada", f"guess {number}"))
                statuses.append(answer.status_code)

        with server.client() as client:
            client.post(PREDICT, json=ROW, headers=bearer(key))
            guessing = [threading.Thread(target=guess, args=(number,)) for number in range(50)]
            for thread in guessing:
                thread.start()
            answered = 0
            while any(thread.is_alive() for thread in guessing):
                assert client.post(PREDICT, json=ROW, headers=bearer(key)).status_code == 200
                answered += 1
            for thread in guessing:
                thread.join()
            # On a slow machine the guesses took so long that a try is free again, or will be at once.
            for number in range(20):
                answer = client.get("/api/models", headers=basic("ada", f"one more {number}"))
                if int(answer.headers.get("retry-after", 0)) >= 3:
                    break
            # The right password is slowed down as well, but not for long.
            refused = client.get("/api/models", headers=basic("ada", PASSWORD))
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 6
        assert statuses.count(401) <= 12  # five, and one more every 6 s
        assert statuses.count(401) + statuses.count(429) == 50
        assert answered > 0

    async def test_what_no_client_would_send(self, server: ServerProcess) -> None:
        """401 or 400, one like the other, and the server goes on."""
        login = base64.b64encode(f"ada:{PASSWORD}".encode())
        hostile: list[Any] = [
            b"Authorization:",
            b"Authorization: ",
            b"Authorization: Basic",
            b"Authorization: Basic \xff\xfe",
            b"Authorization: Basic " + login + b" x",
            b"Authorization: Basic " + login + b"\r\nAuthorization: Basic " + login,
            b"Authorization: Bearer " + TOKEN.encode() + b"\r\nX-API-Key: x",
            b"Authorization: Bearer " + TOKEN.encode() + b"\x00",
            b"Authorization : Bearer " + TOKEN.encode(),
            b"Authorization: Bearer\t" + TOKEN.encode(),
            b"Authorization: Bearer " + b"x" * 30_000,
            b"Authorization\x00: Bearer " + TOKEN.encode(),
            b"X-API-Key: \xc3\xa4",
            b"X_API_Key: " + TOKEN.encode(),
            b"Cookie: authorization=" + login,
        ]
        for line in hostile:
            async with await Wire.open(server.host, server.port) as wire:
                answer = await wire.ask(
                    b"GET /api/models HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n"
                )
                assert answer.status in (400, 401), (line[:60], answer)
        with server.client() as client:
            assert client.get("/api/models", headers=bearer(TOKEN)).status_code == 200

    async def test_paths_as_they_are_sent(self, server: ServerProcess) -> None:
        """What a client library would tidy up goes over the wire as it is."""
        for target in (
            "/livez/../api/models",
            "//api/models",
            "/./api/models",
            "/api%2Fmodels",
            "/%61pi/models",
            "/api/models?/livez",
            "/assets/../api/models",
            "/assets/%2e%2e/api/models",
            "/api/models#/livez",
            "http://localhost/api/models",
            "/API/models",
            "/api/models;/livez",
            "/livez%2f..%2fapi/models",
        ):
            async with await Wire.open(server.host, server.port) as wire:
                answer = await wire.ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert answer.status in (400, 401, 404), (target, answer)
                assert b'"models"' not in answer.body

    async def test_rebinding_and_foreign_pages(self, folder: Path) -> None:
        """On loopback: a page under another name gets 421, one of another origin 403."""
        with serving(folder, "models", store="memory://") as server:
            body = b'{"rows": [{"text": "x"}]}'

            async def ask(*lines: str) -> int:
                head = "\r\n".join(
                    [f"POST {PREDICT} HTTP/1.1", f"Content-Length: {len(body)}", *lines, "", ""]
                )
                async with await Wire.open(server.host, server.port) as wire:
                    return (await wire.ask(head.encode() + body)).status

            own = f"Host: localhost:{server.port}"
            assert await ask(own) == 200
            assert await ask(f"Host: [::1]:{server.port}") == 200
            assert await ask() == 200  # no browser leaves it out
            assert await ask(own, f"Origin: http://localhost:{server.port}") == 200
            assert await ask("Host: evil.example") == 421
            assert await ask(f"Host: evil.example:{server.port}") == 421
            assert await ask(own, "Host: evil.example") == 421
            assert await ask(own, "Origin: https://evil.example") == 403
            assert await ask(own, "Origin: null") == 403
            assert await ask(own, "Sec-Fetch-Site: cross-site") == 403
