"""``augury models``, on folders and on a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.app.cli.conftest import RunCli
from tests.models import CLASSIFIER_MANIFEST, write_classifier, write_identity

SERVED = {
    "models": [
        {
            "name": "mood",
            "description": "Says whether a text is good.",
            "ready": True,
            "default_version": "2",
            "versions": [
                {
                    "version": "1",
                    "state": "failed",
                    "reason": "model.onnx is broken",
                    "labels": [],
                    "runtime": None,
                    "instances": None,
                },
                {
                    "version": "2",
                    "state": "ready",
                    "reason": "",
                    "labels": ["stable"],
                    "runtime": "onnx",
                    "instances": {"count": 2, "threads": 1},
                },
            ],
        }
    ]
}


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a server that answers like Augury's, but below /broken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(SERVED).encode() if self.path == "/api/models" else b"<html>"
            self.send_response(404 if self.path.startswith("/nothing") else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_bundled_models(cli: RunCli) -> None:
    """Without a repository the bundled model is listed, with its measured recall."""
    run = cli("models")

    assert run.code == 0
    assert run.out.startswith("tweet-sentiment  Sentiment of a tweet")
    assert "● 1  onnx" in run.out
    assert "macro recall 0." in run.out


def test_versions_that_the_policy_chooses(cli: RunCli, tmp_path: Path) -> None:
    """Each version tells whether it is served, and by which labels; no model file is loaded."""
    for version in (1, 2, 10):
        write_classifier(tmp_path, version=version)
        (tmp_path / "mood" / str(version) / "model.onnx").write_bytes(b"not even a model")
    (tmp_path / "mood" / "model.toml").write_text(
        CLASSIFIER_MANIFEST + "[versions.labels]\nold = 1\n"
    )
    run = cli("models", "--repository", tmp_path, "--json")
    (model,) = json.loads(run.out)["models"]

    facts = [(one["version"], one["served"], one["labels"]) for one in model["versions"]]
    assert facts == [(10, True, []), (2, False, []), (1, True, ["old"])]
    assert model["versions"][0]["runtime"] == "onnx"
    assert model["versions"][0]["size_bytes"] == len(b"not even a model")
    assert model["versions"][0]["examples"] == 1


def test_a_faulty_model_is_listed(cli: RunCli, tmp_path: Path) -> None:
    """A model that cannot be read is listed with its fault, the others as ever."""
    write_identity(tmp_path)
    write_classifier(tmp_path, manifest="descripton = 1\n")
    (tmp_path / "-odd").mkdir()
    run = cli("models", "--repository", tmp_path)

    assert "model.toml:1: descripton: unknown key" in run.out
    assert "identity\n  ● 1  onnx" in run.out
    assert "-odd: ignored, not a model's name" in run.err


def test_empty_repository(cli: RunCli, tmp_path: Path) -> None:
    """A folder without models is told, and is no failure."""
    run = cli("models", "--repository", tmp_path)

    assert run.code == 0
    assert run.out == ""
    assert run.err == f"no models in {tmp_path}\n"


def test_models_of_a_server(cli: RunCli, server: str) -> None:
    """A running server's models are listed with their states and what failed."""
    run = cli("models", "--url", server)

    assert run.code == 0
    assert "● 2 stable  ready  onnx  2 × 1 threads" in run.out
    assert "1  failed  model.onnx is broken" in run.out
    assert json.loads(cli("models", "--url", server, "--json").out) == SERVED


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nothing", "answered 404; is it an Augury server?"),
        ("/page", "did not answer with models"),
    ],
)
def test_other_servers(cli: RunCli, server: str, path: str, message: str) -> None:
    """A server that is not Augury's is told as such."""
    run = cli("models", "--url", server + path)

    assert run.code == 1
    assert message in run.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://here", "8000"])
def test_no_server(cli: RunCli, url: str) -> None:
    """A URL where nobody answers, or that is none, is one line and exit code 1."""
    run = cli("models", "--url", url)

    assert run.code == 1
    assert run.err.count("\n") == 1
    assert url in run.err


def test_repository_or_server(cli: RunCli, tmp_path: Path) -> None:
    """Both a repository and a server is a wrong use."""
    assert cli("models", "--url", "http://localhost", "--repository", tmp_path).code == 2
