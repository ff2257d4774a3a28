"""Feature tables with a real server, a real model and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.server import ServerProcess, clean_environment, serving
from tests.models import write_two_inputs
from tests.redis_server import RedisServer

pytestmark = pytest.mark.e2e

MANIFEST = """
description = "Adds what is known of an author."
[signature.inputs.a]
dtype = "FP32"
shape = [2]
[signature.inputs.author]
dtype = "INT64"
[features.offsets]
entity = { author_id = "author" }
inputs = { offset = "b" }
"""
TABLE = """
name = "offsets"
ttl_s = 86400
[entity]
author_id = "INT64"
[features.offset]
dtype = "FP32"
shape = [2]
default = [0.5, 0.5]
"""


def features(folder: Path, store: str, *words: str) -> str:
    """What `augury features` prints, or an error."""
    command = [sys.executable, "-c", "from augury.app.cli import main; main()", "features", *words]
    done = subprocess.run(
        [*command, "--store", store],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def put(folder: Path, store: str, author: int, offset: list[float], age_s: float = 0) -> None:
    """Write one row, as a nightly job would."""
    when = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    row = {"author_id": author, "event_time": when, "offset": offset}
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    features(folder, store, "write", "offsets", "rows.jsonl")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (write_two_inputs(tmp_path / "models") / "model.toml").write_text(MANIFEST)
    (tmp_path / "offsets.toml").write_text(TABLE)
    return tmp_path


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        yield server.url
    else:
        yield f"sqlite:///{folder / 'store.db'}"


def ask(server: ServerProcess, *authors: object, status: int = 200) -> list[list[float]]:
    """Predictions for a = [1, 1] and each author."""
    rows = [{"a": [1, 1], "author": author} for author in authors]
    with server.client() as client:
        answer = client.post("/api/models/adder/predict", json={"rows": rows})
    assert answer.status_code == status, answer.text
    return [row["sum"] for row in answer.json()["rows"]] if status == 200 else []


def test_features_that_change_change_the_remembered_answer(folder: Path, store: str) -> None:
    """Defined, written and changed by commands while the server answers; older events do nothing."""
    features(folder, store, "define", "offsets.toml")
    put(folder, store, 7, [10, 20], age_s=60)
    with serving(folder, "models", store=store) as server:
        assert ask(server, 7, 8, 7) == [[11, 21], [1.5, 1.5], [11, 21]]
        assert ask(server, 7) == [[11, 21]]
        put(folder, store, 7, [100, 200], age_s=120)
        assert ask(server, 7) == [[11, 21]]

        put(folder, store, 7, [30, 40])

        assert ask(server, 7, 8) == [[31, 41], [1.5, 1.5]]
        with server.client() as client:
            sent = client.post(
                "/api/models/adder/predict", json={"rows": [{"a": [1, 1], "b": [30, 40]}]}
            )
            metrics = client.get("/metrics").text
        assert sent.status_code == 400
        assert 'augury_features_table_lookups_total{result="hit",table="offsets"} 5.0' in metrics
        assert 'augury_features_table_lookups_total{result="miss",table="offsets"} 2.0' in metrics
        server.stop()


def test_the_training_set_is_what_serving_saw(folder: Path, store: str) -> None:
    """Rows with the moments at which requests were answered get the features of these answers."""
    features(folder, store, "define", "offsets.toml")
    seen: list[tuple[str, list[float]]] = []
    with serving(folder, "models", store=store) as server:
        for value in (1, 2, 3):
            put(folder, store, 7, [value, value], age_s=10 - value)
            [answer] = ask(server, 7)
            seen.append((datetime.now(UTC).isoformat(), [part - 1 for part in answer]))
        server.stop()
    lines = ["author_id,timestamp", *(f"7,{when}" for when, _ in seen)]
    (folder / "asked.csv").write_text("\n".join(lines) + "\n")

    features(
        folder,
        store,
        *("history", "offsets", "--entities", "asked.csv", "--output", "train.jsonl", "--as-known"),
    )

    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert [row["offset"] for row in rows] == [offset for _, offset in seen]


def test_a_table_that_is_not_there_is_told(folder: Path, store: str) -> None:
    """The model is ready; its requests get 502 with the table's name, until it is defined."""
    with serving(folder, "models", store=store) as server:
        with server.client() as client:
            answer = client.post(
                "/api/models/adder/predict", json={"rows": [{"a": [1, 1], "author": 7}]}
            )
        assert answer.status_code == 502
        assert "feature table 'offsets'" in answer.json()["detail"]

        features(folder, store, "define", "offsets.toml")

        assert ask(server, 7) == [[1.5, 1.5]]
        server.stop()


@pytest.mark.redis
def test_redis_down_is_not_the_service_down(folder: Path, redis_server: RedisServer) -> None:
    """Defaults stand in while Redis is away, nobody waits long, and the features come back."""
    features(folder, redis_server.url, "define", "offsets.toml")
    put(folder, redis_server.url, 7, [10, 20])
    with serving(folder, "models", store=redis_server.url) as server:
        assert ask(server, 7) == [[11, 21]]
        redis_server.kill()
        for _ in range(5):
            started_s = time.monotonic()
            assert ask(server, 7) == [[1.5, 1.5]]
            assert time.monotonic() - started_s < 5
        with server.client() as client:
            assert 'result="unavailable",table="offsets"} 5.0' in client.get("/metrics").text

        redis_server.start()

        until_s = time.monotonic() + 30
        while ask(server, 7) != [[11, 21]]:
            assert time.monotonic() < until_s
            time.sleep(0.2)
        server.stop()
