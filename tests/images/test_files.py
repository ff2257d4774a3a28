"""What the image is made of, looked at without building it: Dockerfile, compose file, scripts, context."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from augury.app.environment import names_of
from augury.app.settings import Settings

_ROOT = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_DOCKERFILE = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
_LINES = [line.strip() for line in _DOCKERFILE.splitlines()]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "compose.yaml").read_text(encoding="utf-8"))


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run in the repository's folder."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


class TestDockerfile:
    @pytest.mark.parametrize("name", ["Dockerfile", "benchmarks/images/Dockerfile.single"])
    def test_hadolint_has_nothing_to_say(self, name: str) -> None:
        """All rules, none left out but what the file itself gives a reason for."""
        done = run(_BIN / "hadolint", "--no-color", name)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_base_is_an_argument_and_so_is_its_digest(self) -> None:
        """One base, never `latest`, pinned by whoever builds; no digest is made up here."""
        bases = [line for line in _LINES if line.startswith("FROM") and "$" in line]
        assert bases == ["FROM ${BASE}${BASE_DIGEST:+@${BASE_DIGEST}} AS base"]
        assert "ARG BASE=python:3.11-slim" in _LINES
        assert "sha256:" not in _DOCKERFILE
        assert "latest" not in _DOCKERFILE

    def test_the_stages_are_what_the_scripts_build(self) -> None:
        """deps, model, app and runtime, which is last."""
        stages = re.findall(r"^FROM \S+ AS (\w+)$", _DOCKERFILE, re.MULTILINE)
        assert stages == ["base", "sieve", "deps", "app", "model", "runtime"]
        script = (_ROOT / "scripts/images.sh").read_text(encoding="utf-8")
        assert "STAGES=(deps model app runtime)" in script

    def test_the_last_stage_runs_nothing(self) -> None:
        """It only copies: nothing can be installed into it, and each copy is a layer of its own."""
        last = _DOCKERFILE.split(" AS runtime")[1]
        assert "RUN" not in re.findall(r"^[A-Z]+", last, re.MULTILINE)
        copies = [line for line in last.splitlines() if line.startswith("COPY")]
        assert [line.split()[1] for line in copies] == ["--from=app", "--from=model"]

    def test_it_has_no_rights_and_stops_when_told(self) -> None:
        """A numeric user, a signal, a health check, exec form."""
        for line in (
            "USER 10001:10001",
            "STOPSIGNAL SIGTERM",
            'ENTRYPOINT ["augury"]',
            'CMD ["serve", "--host", "0.0.0.0"]',
        ):
            assert line in _LINES, line
        assert re.search(r"^HEALTHCHECK .*\\\n +CMD \[", _DOCKERFILE, re.MULTILINE)

    def test_no_stage_installs_a_compiler_or_keeps_a_cache(self) -> None:
        """No system packages at all; wheels only; no cache of pip's."""
        assert "apt" not in re.findall(r"\w+", _DOCKERFILE.lower())
        installs = re.findall(r"python install (.*?);", _DOCKERFILE, re.DOTALL)
        assert len(installs) == 2
        assert all("--no-cache-dir" in one for one in installs)
        assert "--only-binary :all:" in installs[0]

    def test_no_secret_is_an_argument(self) -> None:
        """What is a build argument or variable can be read from the image."""
        names = re.findall(r"^(?:ARG|ENV) (\w+)", _DOCKERFILE, re.MULTILINE)
        assert not [name for name in names if re.search("KEY|TOKEN|PASSWORD|SECRET", name)]


class TestContext:
    def test_only_what_is_named_goes_in(self) -> None:
        """The first pattern shuts everything out."""
        patterns = _patterns(".dockerignore")
        assert patterns[0] == "*"
        assert "**/.env" in patterns

    def test_what_is_copied_is_let_in(self) -> None:
        """Each COPY from the context is of something that .dockerignore names."""
        named = [one.removeprefix("!") for one in _patterns(".dockerignore") if one.startswith("!")]
        for line in _LINES:
            if line.startswith("COPY") and "--from" not in line and "$" not in line:
                for source in line.split()[1:-1]:
                    assert any(one.startswith(source) for one in named), source
        for source in named:
            assert (_ROOT / source).exists() or source == "models", source

    def test_requirements_are_those_of_the_project(self) -> None:
        """The sieve reads pyproject's own lists."""
        made = run(sys.executable, "scripts/requirements.py", "tweets", "redis")
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = project["optional-dependencies"]
        wanted = {*project["dependencies"], *extras["tweets"], *extras["redis"]}
        assert made.stdout.splitlines() == sorted(wanted)

    def test_an_unknown_extra_is_told(self) -> None:
        """By name, with those that there are."""
        requirements: Callable[..., list[str]] = runpy.run_path(
            str(_ROOT / "scripts/requirements.py")
        )["requirements"]
        with pytest.raises(SystemExit, match=r"no extra 'nope'; there are: .*redis"):
            requirements(_ROOT / "pyproject.toml", ["nope"])


class TestCompose:
    def test_it_follows_the_schema(self) -> None:
        """Of the Compose specification."""
        done = run(
            _BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("name", ["server", "redis"])
    def test_no_service_has_more_rights_than_it_needs(self, name: str) -> None:
        """Read-only, no capabilities, no new privileges, bounded, healthy, and not root."""
        service = _COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert {"mem_limit", "cpus", "pids_limit", "healthcheck", "tmpfs"} <= service.keys()
        assert name == "server" or service["user"] != "root"

    def test_only_loopback_and_only_the_server(self) -> None:
        """Redis is reached by the server alone."""
        assert _COMPOSE["services"]["server"]["ports"] == ["${SERVER_PUBLISH:-127.0.0.1:8000}:8000"]
        assert "ports" not in _COMPOSE["services"]["redis"]
        assert _COMPOSE["services"]["redis"]["networks"] == ["back"]
        assert _COMPOSE["networks"]["back"]["internal"] is True

    def test_redis_forgets_nothing_that_counts(self) -> None:
        """Append-only, on a volume, and evicting only what may be forgotten; a major version is pinned."""
        service = _COMPOSE["services"]["redis"]
        given = dict(zip(service["command"][1::2], service["command"][2::2], strict=True))
        assert given["--appendonly"] == "yes"
        assert given["--maxmemory-policy"] == "volatile-lru"
        assert "--maxmemory" in given
        assert re.search(r"redis:\d+", service["image"])
        assert service["volumes"] == ["redis-data:/data"]

    def test_secrets_must_be_set(self) -> None:
        """Each is taken from .env, and its absence ends the start with its name and what to do."""
        environment = _COMPOSE["services"]["server"]["environment"]
        for name in ("AUGURY_SECRET_KEY", "FIRST_SUPERUSER", "FIRST_SUPERUSER_PASSWORD"):
            assert re.fullmatch(rf"\$\{{{name}:\?set it in \.env\b.+\}}", environment[name]), name

    def test_its_variables_are_settings(self) -> None:
        """Each name is one that the server reads."""
        known = {name for setting in Settings.model_fields for name in names_of(setting)}
        assert set(_COMPOSE["services"]["server"]["environment"]) <= known

    def test_a_variable_of_compose_alone_looks_like_no_setting(self) -> None:
        """.env reaches the server, too, which warns of AUGURY_ names that it does not know."""
        known = {name for setting in Settings.model_fields for name in names_of(setting)}
        used = set(re.findall(r"\$\{(\w+)", (_ROOT / "compose.yaml").read_text(encoding="utf-8")))
        assert {name for name in used if name.startswith("AUGURY_")} <= known

    def test_compose_waits_longer_than_the_server_drains(self) -> None:
        """Else requests under way would be cut."""
        settings = Settings.model_fields
        drain_s = settings["drain_grace_s"].default + settings["drain_timeout_s"].default
        wait = _COMPOSE["services"]["server"]["stop_grace_period"]
        assert float(wait.removesuffix("s")) > drain_s


class TestScripts:
    def test_shellcheck_has_nothing_to_say(self) -> None:
        """Of both scripts and of what they share."""
        names = ("scripts/build-images", "scripts/push-images", "scripts/images.sh")
        done = run(_BIN / "shellcheck", "--external-sources", *names)
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("name", ["build-images", "push-images"])
    def test_help_tells_every_option(self, name: str) -> None:
        """And exits with 0."""
        done = run(f"scripts/{name}", "--help")
        assert done.returncode == 0
        script = (_ROOT / "scripts/images.sh").read_text(encoding="utf-8")
        for option in re.findall(r"^      (--[a-z-]+)\)", script, re.MULTILINE):
            assert option in done.stdout
        assert "Example: scripts/" in done.stdout

    def test_a_dry_run_shows_each_stage(self) -> None:
        """Each is built with its own target and tag, the caches of all, and a base pinned by digest."""
        digest = f"sha256:{'a' * 64}"
        done = run(
            "scripts/build-images", "--dry-run", "--image", "registry.example/a/augury",
            "--tag", "1.0", "--base-digest", digest,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        builds = [line for line in done.stdout.splitlines() if "buildx build" in line]
        assert [re.findall(r"--target (\w+)", one)[0] for one in builds] == [
            "deps", "model", "app", "runtime",
        ]  # fmt: skip
        assert all(f"BASE_DIGEST={digest}" in one for one in builds)
        assert all(one.count("--cache-from") == 4 for one in builds)
        assert "--tag registry.example/a/augury:1.0 " in builds[-1]
        assert "--push" not in done.stdout

    def test_pushing_writes_each_cache_under_its_own_name(self) -> None:
        """So that a change of one stage does not forget the others."""
        done = run("scripts/push-images", "--dry-run", "--image", "registry.example/a/augury")
        assert done.returncode == 0, done.stderr
        for stage in ("deps", "model", "app", "runtime"):
            assert f"ref=registry.example/a/augury-cache:{stage}\\,mode=max" in done.stdout
        assert done.stdout.count("--push") == 4

    def test_the_digest_is_asked_for_when_it_is_not_given(self) -> None:
        """Of the base's registry."""
        done = run("scripts/build-images", "--dry-run", "--stage", "deps")
        assert done.stdout.startswith("+ docker buildx imagetools inspect python:3.11-slim")

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--nope"], "unknown option --nope"),
            (["--tag"], "--tag needs a value"),
            (["--stage", "nope"], "no stage nope; there are: deps model app runtime"),
            (["--base-digest", "sha256:12"], "is not sha256: and 64 hex digits"),
            (["--models", "nowhere"], "no folder nowhere"),
        ],
    )
    def test_a_wrong_use_is_told(self, arguments: list[str], told: str) -> None:
        """In one line, with exit code 2, and nothing is built."""
        done = run("scripts/build-images", "--dry-run", *arguments)
        assert done.returncode == 2
        assert told in done.stderr
        assert "buildx build" not in done.stdout

    def test_nothing_is_pushed_without_a_registry(self) -> None:
        """A bare name would go to Docker Hub."""
        done = run("scripts/push-images", "--dry-run")
        assert done.returncode == 2
        assert "names no registry" in done.stderr


def _patterns(name: str) -> list[str]:
    lines = (_ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]
