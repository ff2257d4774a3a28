"""The image, built for real: small, without rights, remade only where something changed, and it serves."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.images.buildah import Build, Workshop, copy_context, missing, run, start, workshop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

_MOST_BYTES = 450 * 10**6
_START_S = 60.0
_COMPILERS = ("gcc", "cc", "c99", "g++", "c++", "clang", "tcc", "make", "ld", "as", "cargo", "go")

_USER, _PASSWORD = "ada", secrets.token_urlsafe(24)
_SECRETS = {
    "FIRST_SUPERUSER": _USER,
    "FIRST_SUPERUSER_PASSWORD": _PASSWORD,
    "AUGURY_SECRET_KEY": secrets.token_hex(32),
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build is made from, for the tests to change."""
    folder = tmp_path_factory.mktemp("context")
    copy_context(folder)
    return folder


@pytest.fixture(scope="module")
def images() -> Iterator[Workshop]:
    """A store of images, empty but for the base."""
    if lacking := missing():
        told = f"building images needs {', '.join(lacking)}"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    with workshop() as opened:
        yield opened


@pytest.fixture(scope="module")
def first(images: Workshop, context: Path) -> Build:
    """The first build: nothing is remembered."""
    return images.build(context, "augury:first")


@pytest.fixture(scope="module")
def remade(images: Workshop, context: Path, first: Build) -> Build:
    """The build after a new version of the model came in place of the old."""
    versions = context / "src/augury/bundled/tweet-sentiment"
    (versions / "1").rename(versions / "2")
    return images.build(context, "augury:remade")


@pytest.fixture(scope="module")
def root(images: Workshop, remade: Build) -> Iterator[Path]:
    """The files of the image with the new model."""
    with images.mounted(remade.image) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def config(images: Workshop, remade: Build) -> dict[str, Any]:
    """Its configuration."""
    found: dict[str, Any] = images.inspect(remade.image)["config"]
    return found


class TestImage:
    def test_it_is_small(self, images: Workshop, first: Build) -> None:
        """At most 450 MB with the bundled model, the base included."""
        assert images.size_bytes(first.image) <= _MOST_BYTES

    def test_it_has_no_compiler(self, root: Path) -> None:
        """Nothing that turns source into machine code, and no pip beside the installed packages."""
        folders = [
            root / one for one in ("bin", "usr/bin", "usr/local/bin", "opt/augury/bin", "app/bin")
        ]
        found = [
            folder / name for folder in folders for name in _COMPILERS if (folder / name).exists()
        ]
        assert found == []
        assert list(root.glob("usr/lib/gcc*/**/cc1*")) == []
        assert list(root.glob("opt/augury/lib/python*/site-packages/pip")) == []

    def test_it_runs_without_rights(self, config: dict[str, Any]) -> None:
        """A fixed user id that is not root's; SIGTERM stops; the health is asked without curl."""
        user, _, group = config["User"].partition(":")
        assert int(user) == int(group) == 10001
        assert config["StopSignal"] == "SIGTERM"
        assert config["Healthcheck"]["Test"][:2] == ["CMD", "python"]
        assert config["Entrypoint"] == ["augury"]
        assert "/data" in config["Volumes"]
        assert "8000/tcp" in config["ExposedPorts"]

    def test_its_user_owns_only_the_data(self, root: Path) -> None:
        """What the image's user may write is /data and what everybody may: /tmp and the like."""
        writable = []
        for folder, names, files in os.walk(root):
            for name in [*names, *files]:
                path = Path(folder, name)
                stat = path.lstat()
                if not path.is_symlink() and (stat.st_uid == 10001 or stat.st_mode & 0o002):
                    writable.append("/" + str(path.relative_to(root)))
        shared = {"/tmp", "/var/tmp", "/run/lock", "/data"}
        assert {one for one in writable if not one.startswith("/dev/")} <= shared

    def test_everything_is_compiled(self, root: Path) -> None:
        """Each module of Augury has its byte code, which a read-only image cannot write later."""
        sources = list(root.glob("app/augury/**/*.py"))
        assert len(sources) > 50
        bare = [
            one
            for one in sources
            if not list(one.parent.glob(f"__pycache__/{one.stem}.cpython-*.pyc"))
        ]
        assert bare == []

    def test_no_build_leftovers(self, root: Path) -> None:
        """No caches, no context, no secrets."""
        for name in ("root/.cache", "sieve", "build", "app/augury/bundled/.env"):
            assert not (root / name).exists(), name
        assert list(root.glob("app/**/.git*")) == []


class TestRebuild:
    def test_the_first_build_makes_everything(self, first: Build) -> None:
        """The reading of the log is right: nothing came from a cache."""
        assert {step.stage for step in first.steps} == {
            "base",
            "sieve",
            "deps",
            "app",
            "model",
            "runtime",
        }
        assert all(first.made(stage) for stage in ("deps", "app", "model", "runtime"))

    def test_the_same_again_makes_nothing(
        self, images: Workshop, context: Path, remade: Build
    ) -> None:
        """All steps come from the cache."""
        assert images.build(context, "augury:same").made() == []

    def test_a_new_model_makes_its_layers_only(
        self, images: Workshop, first: Build, remade: Build
    ) -> None:
        """Dependencies and code are neither installed nor copied anew."""
        assert remade.made("deps") == remade.made("app") == remade.made("base") == []
        # An installation that ran again would have other times in it, and so another layer.
        old, new = images.layers(first.image), images.layers(remade.image)
        same = [one == other for one, other in zip(old, new, strict=True)]
        assert same.count(False) == 1, "one layer to be pushed: the model's"

    def test_a_new_model_takes_a_quarter_of_the_time(self, first: Build, remade: Build) -> None:
        """At most: it copies two dozen megabytes where the first build downloads and installs."""
        assert remade.seconds < first.seconds / 4, f"{remade.seconds:.1f} of {first.seconds:.1f} s"

    def test_new_code_reinstalls_nothing(
        self, images: Workshop, context: Path, remade: Build
    ) -> None:
        """Neither dependencies nor model are made anew for a change of the code."""
        module = context / "src/augury/__init__.py"
        before = module.read_text(encoding="utf-8")
        try:
            module.write_text(f"{before}\n# changed\n", encoding="utf-8")
            changed = images.build(context, "augury:code")
        finally:
            module.write_text(before, encoding="utf-8")
        assert changed.made("deps") == changed.made("model") == [], changed.log
        assert changed.made("app")

    def test_other_words_in_pyproject_reinstall_nothing(
        self, images: Workshop, context: Path, remade: Build
    ) -> None:
        """What is installed hangs on the lists of dependencies alone, not on the file."""
        project = context / "pyproject.toml"
        before = project.read_text(encoding="utf-8")
        try:
            project.write_text(f"{before}\n[tool.something]\nelse = 1\n", encoding="utf-8")
            changed = images.build(context, "augury:words")
        finally:
            project.write_text(before, encoding="utf-8")
        # An installation that ran again would have other times in it, and so another layer.
        assert images.layers(changed.image) == images.layers(remade.image)

    def test_new_dependencies_leave_the_model_alone(
        self, images: Workshop, context: Path, remade: Build
    ) -> None:
        """A dependency more: the model's stage comes from the cache."""
        project = context / "pyproject.toml"
        before = project.read_text(encoding="utf-8")
        try:
            project.write_text(
                before.replace("\ndependencies = [\n", '\ndependencies = [\n  "iniconfig>=2",\n'),
                encoding="utf-8",
            )
            changed = images.build(context, "augury:deps")
        finally:
            project.write_text(before, encoding="utf-8")
        assert changed.made("deps")
        assert changed.made("model") == []


class TestServing:
    def test_it_answers_and_stops(self, root: Path, config: dict[str, Any]) -> None:
        """On a read-only root, as its user: ready, healthy, right about a text, and gone in good order."""
        port = _free_port()
        environment = {**_SECRETS, "AUGURY_HTTP_PORT": str(port), "AUGURY_DRAIN_GRACE_S": "0"}
        health = config["Healthcheck"]["Test"][1:]
        assert run(root, config, *health, **environment).returncode != 0, "nobody serves yet"
        with _serving(root, config, environment, port) as (process, client):
            assert run(root, config, *health, **environment).returncode == 0
            answer = client.post("/v1/sentiment", json={"texts": ["What a lovely morning!"]})
            assert answer.status_code == 200, answer.text
            assert "positive" in answer.text
            models = client.get("/api/models")
            assert '"2"' in models.text or ":2" in models.text, "the new version is served"
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
        assert '"event":"stopped"' in out.replace(" ", ""), "JSON, since APP_ENV is production"
        assert _PASSWORD not in out

    def test_nothing_can_be_written_but_data_and_tmp(
        self, root: Path, config: dict[str, Any]
    ) -> None:
        """As compose.yaml runs it."""
        tried = "touch /data/a /tmp/a && ! touch /app/a && ! touch /models/a && ! touch /opt/augury/a && id -u"
        done = run(root, config, "sh", "-c", tried)
        assert done.returncode == 0, done.stdout
        assert done.stdout.strip().endswith("10001")

    def test_it_refuses_to_serve_without_secrets(self, root: Path, config: dict[str, Any]) -> None:
        """Outside loopback unset secrets end the start, and what is missing is named."""
        done = run(root, config, *config["Entrypoint"], *config["Cmd"])
        assert done.returncode == 1, done.stdout
        assert "FIRST_SUPERUSER" in done.stdout or "AUGURY_ADMIN_TOKEN" in done.stdout

    def test_its_models_are_sound(self, root: Path, config: dict[str, Any]) -> None:
        """`augury check /models`, inside."""
        done = run(root, config, "augury", "check", "/models")
        assert done.returncode == 0, done.stdout


@contextmanager
def _serving(
    root: Path, config: dict[str, Any], environment: dict[str, str], port: int
) -> Iterator[tuple[subprocess.Popen[str], httpx2.Client]]:
    process = start(root, config, [*config["Entrypoint"], *config["Cmd"]], environment)
    basic = base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
    try:
        with httpx2.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=30,
            headers={"authorization": f"Basic {basic}"},
        ) as client:
            _wait_until_ready(client, process)
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=60)


def _wait_until_ready(client: httpx2.Client, process: subprocess.Popen[str]) -> None:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the server did not become ready: {process.communicate()[0]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
