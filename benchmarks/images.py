"""How long an image takes to build, first and after a change, and what it weighs: ours against a single stage.

    python -m benchmarks.images

Needs root, buildah and debootstrap (Debian), and a package index. Each kind is built from nothing, over the same
base; then the model is exchanged for another version, the code is changed, and a dependency is added, one after
another, with everything else back as it was. A rebuild is measured `--rounds` times and its median is shown.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.images.buildah import Workshop, copy_context, missing, workshop

SINGLE = Path(__file__).parent / "images" / "Dockerfile.single"
OURS, ONE = "multi-stage", "single stage"


@contextmanager
def changed(file: Path, before: str, after: str) -> Iterator[None]:
    """*before* in *file* is *after* while the block runs."""
    text = file.read_text(encoding="utf-8")
    assert before in text, file
    file.write_text(text.replace(before, after, 1), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


@contextmanager
def another_model(context: Path, number: int) -> Iterator[None]:
    """Version *number* of the bundled model in place of version 1."""
    versions = context / "src/augury/bundled/tweet-sentiment"
    (versions / "1").rename(versions / str(number))
    try:
        yield
    finally:
        (versions / str(number)).rename(versions / "1")


def measure(images: Workshop, context: Path, kind: str, rounds: int) -> dict[str, float]:
    """Seconds of each build of *kind*, and bytes of the image and of what a new model uploads."""
    file = SINGLE if kind == ONE else "Dockerfile"

    def build(tag: str) -> float:
        return images.build(context, f"bench:{tag}", file).seconds

    found = {"first build, s": build("first"), "size, MB": images.size_bytes("bench:first") / 1e6}
    times: dict[str, list[float]] = {"model": [], "code": [], "dependency": []}
    for number in range(rounds):
        with another_model(context, 2 + number):
            times["model"].append(build("model"))
        source = context / "src/augury/__init__.py"
        with changed(source, "__version__ =", f"# {number}\n__version__ ="):
            times["code"].append(build("code"))
    with changed(
        context / "pyproject.toml", "\ndependencies = [", '\ndependencies = [\n  "iniconfig>=2",'
    ):
        times["dependency"].append(build("dependency"))
    for what, seconds in times.items():
        found[f"after a change of {what}, s"] = statistics.median(seconds)
    return found


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rebuilds of each sort")
    rounds: int = parser.parse_args().rounds
    if lacking := missing():
        raise SystemExit(f"needs {', '.join(lacking)}")
    found = {}
    with workshop() as images, TemporaryDirectory(dir="/var/tmp") as folder:
        context = Path(folder) / "context"
        copy_context(context)
        base = images.size_bytes("localhost/python:3.11-slim") / 1e6
        print(f"base {base:.0f} MB, storage driver {images.driver}", flush=True)
        for kind in (ONE, OURS):
            found[kind] = measure(images, context, kind, rounds)
            print(kind, {what: round(value, 1) for what, value in found[kind].items()}, flush=True)
            images.forget()
    width = shutil.get_terminal_size().columns
    print("-" * min(width, 72))
    print(f"| | {OURS} | {ONE} | saved |\n|---|---|---|---|")
    for what, ours in found[OURS].items():
        one = found[ONE][what]
        print(f"| {what} | {ours:.1f} | {one:.1f} | {1 - ours / one:.0%} |")


if __name__ == "__main__":
    main()
