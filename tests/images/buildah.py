"""Builds and runs images where no Docker engine is: buildah, its chroot isolation, and a Debian by debootstrap.

All of it lies in one folder, which :func:`workshop` removes at the end; what others keep in buildah's own store
is never touched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOOLS = ("buildah", "debootstrap", "unshare", "chroot", "mount")
BASE = "localhost/python:3.11-slim"
DEBIAN = "bookworm"  # its Python is 3.11
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"

_STEP = re.compile(r"^(?:\[(\d+)/\d+\] )?STEP (\d+)/\d+: (.*)$")
_SIZE = re.compile(r"([\d.]+) ([kMG]?B)")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


# What a build is made from; .dockerignore lets in no more.
CONTEXT = (
    "Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "scripts", "src",
)  # fmt: skip
_ROOT = Path(__file__).parents[2]


def copy_context(folder: Path) -> None:
    """Copy what a build is made from into *folder*, for tests to change."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CONTEXT:
        if (_ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(_ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(_ROOT / name, folder / name)


def missing() -> list[str]:
    """What this machine lacks to build images; nothing when it can."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        lacking.append("root")
    return lacking


@dataclass
class Step:
    """One line of a Dockerfile as it was built."""

    stage: str
    text: str
    cached: bool = False


@dataclass
class Build:
    """What one build did."""

    image: str
    seconds: float
    steps: list[Step] = field(default_factory=list)
    log: str = field(default="", repr=False)

    def made(self, stage: str | None = None) -> list[str]:
        """The steps that did not come from the cache, of all stages or of one.

        Copies between stages are left out: they wait for another stage, and the log does not say
        for certain whose outcome it tells then.  What they copied shows in the image's layers.
        """
        return [
            step.text
            for step in self.steps
            if not step.cached
            and stage in {None, step.stage}
            and not step.text.startswith("COPY --from=")
        ]


def read_steps(log: str) -> list[Step]:
    """The steps in the output of ``buildah build --layers``.

    A stage that waits for another has its step's outcome told after that other's steps.

    >>> read_steps("[1/2] STEP 1/2: FROM x AS base\\n[1/2] STEP 2/2: USER 1\\n--> Using cache 1a\\n--> 1a\\n")
    [Step(stage='base', text='FROM x AS base', cached=True), Step(stage='base', text='USER 1', cached=True)]
    """
    steps: list[Step] = []
    stages: dict[str, str] = {}
    open_steps: dict[tuple[str, int], Step] = {}  # the latest last
    lines = [line for line in log.splitlines() if line.startswith("-->") or _STEP.match(line)]
    for place, line in enumerate(lines):
        if found := _STEP.match(line):
            stage, number, text = found[1], int(found[2]), found[3]
            if text.startswith("FROM"):
                stages[stage] = text.rsplit(" AS ", 1)[-1] if " AS " in text else "only"
            step = Step(stages[stage], text, cached=text.startswith("FROM"))
            steps.append(step)
            if not step.cached:
                open_steps[stage, number] = step
        elif line.startswith("--> Using cache") and open_steps:
            _told(open_steps, lines[place + 1 :]).cached = True
        elif open_steps:
            told = _told(open_steps, lines[place + 1 :])
            open_steps = {key: step for key, step in open_steps.items() if step is not told}
    return steps


def _told(open_steps: dict[tuple[str, int], Step], rest: list[str]) -> Step:
    """Whose outcome is told: that of the stage that goes on next, else the step that began last."""
    following = next((found for line in rest if (found := _STEP.match(line))), None)
    if following and (step := open_steps.get((following[1], int(following[2]) - 1))):
        return step
    return list(open_steps.values())[-1]


class Workshop:
    """A store of images of its own.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(folder),
            # A file of the user's may name another driver's options, or registries to ask.
            "CONTAINERS_STORAGE_CONF": "/dev/null",
        }
        self.driver = "overlay"
        try:
            self("rm", self("from", "scratch").strip())
        except RuntimeError:  # a kernel without it, or a store on top of an overlay
            self.driver = "vfs"

    def __call__(self, *args: str, timeout_s: float = 900) -> str:
        """The output of ``buildah ARGS``.

        Raises:
            RuntimeError: It failed; with the end of what it said.
        """
        store, run = self.folder / "store", self.folder / "run"
        command = ["buildah", "--root", str(store), "--runroot", str(run)]
        done = subprocess.run(
            [*command, "--storage-driver", self.driver, *args],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"buildah {args[0]}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def make_base(self) -> None:
        """A bare Debian with Python, as :data:`BASE`."""
        root = self.folder / "debian"
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN, str(root)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (root / "usr/bin/python").symlink_to("python3")
        for name in ("cache/apt/archives", "lib/apt/lists"):
            shutil.rmtree(root / "var" / name)
        container = self("from", "scratch").strip()
        self("add", "-q", container, str(root), "/")
        self("config", "--cmd", "python3", container)
        self("commit", "-q", container, BASE)
        self("rm", container)
        shutil.rmtree(root)

    def build(
        self,
        context: Path,
        image: str,
        file: str | Path = "Dockerfile",
        *,
        target: str | None = None,
        **arguments: str,
    ) -> Build:
        """Build *context* with the layers of earlier builds.

        Args:
            context: The folder.
            image: Tag to give.
            file: The Dockerfile; relative to *context* unless absolute.
            target: Stage to stop at; ``None`` for the last.
            **arguments: Build arguments besides ``BASE``.
        """
        command = ["build", "--layers", "--format", "docker", "--pull=never", "--network", "host"]
        # Where the machine reaches its package index through a proxy, the build must as well.
        for path in ("/etc/ssl/certs", "/etc/pip.conf"):
            if Path(path).exists():
                command += ["-v", f"{path}:{path}:ro"]
        for name, value in {"BASE": BASE, **arguments}.items():
            command += ["--build-arg", f"{name}={value}"]
        if target:
            command += ["--target", target]
        command += ["-t", image, "-f", str(context / file), str(context)]
        began_s = time.monotonic()
        log = self(*command)
        return Build(image, time.monotonic() - began_s, read_steps(log), log)

    def size_bytes(self, image: str) -> int:
        """What all layers of *image* take, the base's included."""
        told = json.loads(self("images", "--json", image))[0]["size"]
        found = _SIZE.fullmatch(told)
        assert found, told
        return int(float(found[1]) * _UNITS[found[2]])

    def inspect(self, image: str) -> dict[str, Any]:
        """The image's configuration, as a Docker engine reads it."""
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", image))["Docker"]
        return found

    def layers(self, image: str) -> list[str]:
        """The digests of its layers, the lowest first."""
        found: list[str] = self.inspect(image)["rootfs"]["diff_ids"]
        return found

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The image's files; a fresh container that is removed again."""
        container = self("from", "--pull-never", image).strip()
        try:
            yield Path(self("mount", container).strip())
        finally:
            self("umount", container)
            self("rm", container)

    def forget(self) -> None:
        """Remove every image but the base."""
        for image in json.loads(self("images", "--json")):
            if BASE not in (image.get("names") or []):
                with suppress(RuntimeError):  # gone with another
                    self("rmi", "--force", image["id"])

    def close(self) -> None:
        """Remove every image, container and file."""
        with suppress(RuntimeError):
            self("rm", "--all")
            self("rmi", "--all", "--force")
        for mount in _mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


# The root is mounted read-only, but for two folders in memory, and all rights are given up: as in compose.yaml.
_UNSHARE = ("unshare", "--mount", "--propagation", "private")
_READ_ONLY = """
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --bind /dev "$ROOT/dev"
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs -o "size=64m,mode=0750,uid=${WHO%:*},gid=${WHO#*:}" tmpfs "$ROOT/data"
mount -o remount,bind,ro "$ROOT"
cd "$ROOT"
exec chroot --userspec="$WHO" "$ROOT" /usr/bin/env -i "$@"
"""


def start(
    root: Path, config: dict[str, Any], command: list[str], environment: dict[str, str]
) -> subprocess.Popen[str]:
    """Start *command* in the image mounted at *root*: as its user, in its folder, on a read-only root.

    Args:
        root: From :meth:`Workshop.mounted`.
        config: The ``config`` of :meth:`Workshop.inspect`.
        command: What to run instead of the image's entry point; a signal reaches it directly.
        environment: Variables besides the image's.
    """
    variables = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
    inside = ["/bin/sh", "-c", 'cd "$0"; exec "$@"', config["WorkingDir"], *command]
    return subprocess.Popen(
        [*_UNSHARE, "sh", "-euc", _READ_ONLY, "sh", *variables, *inside],
        env={**os.environ, "ROOT": str(root), "WHO": config["User"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    root: Path, config: dict[str, Any], *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run *command* as :func:`start` does, to its end."""
    process = start(root, config, list(command), environment)
    out, _ = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, out)


@contextmanager
def workshop() -> Iterator[Workshop]:
    """A workshop with its base; everything is removed when the block ends."""
    # On a disk rather than in memory, where /tmp may be; short, since sockets lie below.
    opened = Workshop(Path(tempfile.mkdtemp(prefix="augury-images-", dir="/var/tmp")))
    try:
        opened.make_base()
        yield opened
    finally:
        opened.close()


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    points = [line.split()[1] for line in lines]
    return sorted((one for one in points if one.startswith(f"{folder}/")), reverse=True)
