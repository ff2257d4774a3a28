"""How a server starts, and what it says when it cannot."""

from __future__ import annotations

import re
import signal
import socket
import time
from pathlib import Path

import pytest

from augury.app.build import TWEET_MODEL, bundled_repository
from tests.e2e.server import ServerProcess, run_serve, serve_command, serving
from tests.models import write_identity

pytestmark = pytest.mark.e2e

SECRET = "AAAA-very-secret-bearer"

needs_bundle = pytest.mark.skipif(
    not (bundled_repository() / TWEET_MODEL / "model.toml").is_file(),
    reason="the bundled model has not been trained yet",
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """identity."""
    path = tmp_path / "models"
    write_identity(path)
    return path


@needs_bundle
def test_without_a_repository_the_bundled_application_is_served(tmp_path: Path) -> None:
    """Ready soon, in little memory (the benchmark measures both; here only what is absurd fails)."""
    started_s = time.monotonic()
    with serving(tmp_path, store="memory://") as server:
        assert time.monotonic() - started_s < 20
        assert server.rss_mib() < 500
        with server.client() as client:
            answer = client.post(
                f"/api/models/{TWEET_MODEL}/predict", json={"rows": [{"text": "Good night"}]}
            )
            assert answer.json()["rows"][0]["label"] == "positive"
            assert client.get("/").status_code == 200
        server.stop()


def test_idle_it_takes_no_cpu(repository: Path, tmp_path: Path) -> None:
    """Nothing is asked, nothing is done: under 2 % of a core, polling included."""
    with serving(tmp_path, str(repository)) as server:
        with server.client() as client:
            client.get("/livez")
        time.sleep(0.5)
        used_s = server.cpu_s()
        time.sleep(3)
        assert server.cpu_s() - used_s < 0.06
        server.stop()


def test_it_listens_where_the_log_says_and_nowhere_else(repository: Path, tmp_path: Path) -> None:
    """On loopback unless told otherwise; the log names URL and models."""
    with serving(tmp_path, str(repository)) as server:
        ready = next(event for event in server.events() if event["event"] == "ready")
        assert ready["models"] == ["identity"]
        assert server.host == "127.0.0.1"
        table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        listening = re.findall(rf"([0-9A-F]+):{server.port:04X} [0-9A-F]+:0000 0A", table)
        assert listening == ["0100007F"]
        server.stop()


def test_ipv6(repository: Path, tmp_path: Path) -> None:
    """A URL with IPv6 in it can be used as it is."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
    server = ServerProcess(
        serve_command(str(repository), "--host", "::1", "--http-port", "0"),
        tmp_path,
        {"AUGURY_LOG_FORMAT": "json", "AUGURY_DRAIN_GRACE_S": "0", "PATH": "/usr/bin:/bin"},
    )
    try:
        server.wait_until_listening()
        assert server.host == "::1"
        assert f'"http://[::1]:{server.port}"' in server.log
        with socket.create_connection(("::1", server.port), timeout=5):
            pass
        server.stop()
    finally:
        server.kill()


class TestFaults:
    def test_a_port_in_use(self, repository: Path, tmp_path: Path) -> None:
        """One line that names the port, exit code 1, and before any model is loaded."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ended = run_serve(tmp_path, str(repository), "--http-port", str(port))
        assert ended.returncode == 1
        assert ended.stderr == (
            f"augury: port {port} on 127.0.0.1 is in use by another process; "
            "choose another with --http-port\n"
        )

    @pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
    def test_a_host_that_is_not_ours(self, repository: Path, tmp_path: Path, host: str) -> None:
        """One line that names the host."""
        ended = run_serve(tmp_path, str(repository), "--host", host, "--http-port", "0")
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
        assert host in ended.stderr

    def test_a_repository_that_is_not_there(self, tmp_path: Path) -> None:
        """One line that names the folder."""
        ended = run_serve(tmp_path, "nowhere", "--http-port", "0")
        assert (ended.returncode, ended.stderr) == (
            1,
            "augury: no folder 'nowhere'; give a model repository\n",
        )

    def test_a_setting_that_cannot_be(self, repository: Path, tmp_path: Path) -> None:
        """One line that names the setting, wherever it came from."""
        ended = run_serve(tmp_path, str(repository), http_port="many")
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
        assert ended.stderr.startswith("augury: setting http_port: ")

    @pytest.mark.parametrize(
        "option",
        [("--http-port", "65536"), ("--model-control", "explicit"), ("--app", "x"), ("--nope",)],
    )
    def test_a_wrong_use(self, tmp_path: Path, option: tuple[str, ...]) -> None:
        """Exit code 2 and a word on how it is used."""
        ended = run_serve(tmp_path, *option)
        assert ended.returncode == 2
        assert option[0] in ended.stderr
        assert "Traceback" not in ended.stderr

    @needs_bundle
    @pytest.mark.parametrize(
        "store", [f"redis://augury:{SECRET}@cache/0?nope=1", f"nonsense{SECRET}", "sqlite:///"]
    )
    def test_a_store_that_cannot_be(self, tmp_path: Path, store: str) -> None:
        """One line, without the password."""
        ended = run_serve(tmp_path, "--store", store, "--http-port", "0")
        assert ended.returncode == 1
        told = [line for line in ended.stderr.splitlines() if line.startswith("augury: ")]
        assert len(told) == 1
        assert f":{SECRET}@" not in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_a_model_that_fails_does_not_stop_the_others(
        self, repository: Path, tmp_path: Path
    ) -> None:
        """The server listens, is not ready, and says why."""
        (repository / "broken" / "1").mkdir(parents=True)
        (repository / "broken" / "1" / "model.onnx").write_bytes(b"nonsense")
        with serving(tmp_path, str(repository), ready=False) as server, server.client() as client:
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert "broken version 1 is failed" in answer.json()["reasons"][0]
            rows = {"rows": [{"x": [1, 2]}]}
            assert client.post("/api/models/identity/predict", json=rows).status_code == 200
            server.stop()


class TestSecrets:
    def test_a_token_is_in_no_log_and_no_answer(self, repository: Path, tmp_path: Path) -> None:
        """Neither the log at its most talkative nor any page tells it."""
        settings = {"x_bearer_token": SECRET, "log_level": "debug", "store": "memory://"}
        apps = ["--app", "tweets"] if (bundled_repository() / TWEET_MODEL).is_dir() else []
        with serving(tmp_path, str(repository), *apps, ready=False, **settings) as server:
            with server.client() as client:
                for path in ("/metrics", "/openapi.json", "/api/models", "/readyz", "/nope"):
                    assert SECRET not in client.get(path).text
                client.get("/nope", headers={"Authorization": f"Bearer {SECRET}"})
            server.stop()
            assert SECRET not in server.log


class TestSignalsBeforeReadiness:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_can_be_stopped_at_any_moment(
        self, repository: Path, tmp_path: Path, number: int
    ) -> None:
        """While it starts, a signal ends it: no traceback of ours, no long wait."""
        for wait_s in (0.25, 0.35, 0.5):
            server = ServerProcess(
                serve_command(str(repository), "--http-port", "0"),
                tmp_path,
                {"AUGURY_LOG_FORMAT": "json", "AUGURY_DRAIN_GRACE_S": "0", "PATH": "/usr/bin:/bin"},
            )
            try:
                time.sleep(wait_s)
                server.send(number)
                assert server.wait(20) in (0, 128 + number, -number)
                if "augury" in server.log:  # Python itself may still have been importing
                    assert "Traceback" not in server.log or "import" in server.log
            finally:
                server.kill()
