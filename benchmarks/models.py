"""Models for the benchmarks that the project does not ship, made on the spot and kept in a folder.

- ``roberta``: a RoBERTa-base classifier with three labels and random weights, INT8, and its TorchScript in FP32. Random
  weights cost as much as trained ones, and nothing needs to be fetched.
- ``long``: the bundled classifier for texts of up to 512 tokens (as bundled it cuts at 128).
- ``bundled``: a copy of the bundled one.

All three say ``[cache] enabled = false``.

Each is a package that ``augury serve FOLDER/repository`` serves.  PyTorch and transformers live in an environment of their
own (``peers/models-requirements.txt``), which is made when it is missing.

    python -m benchmarks.models [--cache ~/.cache/augury-bench]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from augury.app.build import TWEET_MODEL, bundled_repository

HERE = Path(__file__).parent
# Raise it when `peers/export.py` writes something else: models are then made anew.
_EXPORT = "1"
# At the end of a model.toml: what a model costs is measured, not what is remembered of it.
NO_CACHE = "[cache]\nenabled = false\n"
LABELS = ("negative", "neutral", "positive")
_TOML = """description = "{description}"
runtime = "onnx"

[signature.inputs.text]
dtype = "BYTES"
shape = []

[signature.outputs.label]
dtype = "BYTES"
shape = []

[signature.outputs.scores]
dtype = "FP32"
shape = [3]
labels = ["negative", "neutral", "positive"]

[[preprocess]]
use = "tokenize"
tokenizer = "tokenizer.json"
max_tokens = {max_tokens}

[[postprocess]]
use = "softmax"

[[postprocess]]
use = "label"
labels = ["negative", "neutral", "positive"]

[cache]
enabled = false

[[examples]]
inputs.text = ["Good night 😊"]

[[examples]]
inputs.text = ["The council meets on Tuesday to vote on the new bus lanes, and the mayor will be there as well."]
"""


def default_cache() -> Path:
    """Where models and environments are kept."""
    return Path(os.environ.get("AUGURY_BENCH_CACHE", "~/.cache/augury-bench")).expanduser()


def bundled_version() -> Path:
    """The folder with the bundled classifier's ``model.onnx`` and ``tokenizer.json``."""
    return bundled_repository() / TWEET_MODEL / "1"


def environment(folder: Path, requirements: Path) -> Path:
    """The interpreter of a virtual environment with what *requirements* lists; made when it is missing.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    python, mark = folder / "bin" / "python", folder / ".installed"
    wanted = requirements.read_text(encoding="utf-8")
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return python
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    if not python.exists():
        subprocess.run([str(base), "-m", "venv", str(folder)], check=True)
    print(f"installing {requirements.parent.name}/{requirements.name} into {folder}", flush=True)
    # --only-binary: nothing is compiled here, and a build of PyTorch for GPUs is never fetched by mistake,
    # since its version is pinned to the CPU's.
    subprocess.run(
        [
            str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-cache-dir", "--only-binary", ":all:", "-r", str(requirements),
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    mark.write_text(wanted, encoding="utf-8")
    return python


def export(cache: Path, what: str, *args: str) -> Path:
    """Run ``peers/export.py`` once; the folder with what it wrote."""
    folder = cache / "models" / what
    mark = folder / ".made"
    script = HERE / "peers" / "export.py"
    if not mark.exists() or mark.read_text(encoding="utf-8") != _EXPORT:
        python = environment(cache / "models" / "venv", HERE / "peers" / "models-requirements.txt")
        print(f"making {folder}", flush=True)
        subprocess.run([str(python), str(script), what, str(folder), *args], check=True)
        mark.write_text(_EXPORT, encoding="utf-8")
    return folder


def roberta(cache: Path) -> Path:
    """The package of the RoBERTa-base classifier, in ``cache/models/roberta/repository``."""
    tokenizer = bundled_version() / "tokenizer.json"
    folder = export(cache, "roberta", "--tokenizer", str(tokenizer))
    return _package(
        folder / "repository" / "roberta",
        folder / "model.onnx",
        description="A RoBERTa-base classifier with random weights, INT8",
        max_tokens=128,
    )


def long(cache: Path) -> Path:
    """The package of the bundled classifier for long texts, in ``cache/models/long/repository``."""
    return _package(
        cache / "models" / "long" / "repository" / "long",
        bundled_version() / "model.onnx",
        description="The bundled classifier for up to 512 tokens",
        max_tokens=512,
    )


def uncached(cache: Path) -> Path:
    """The bundled classifier without a cache, in ``cache/models/bundled/repository``."""
    source = bundled_repository() / TWEET_MODEL
    target = cache / "models" / "bundled" / "repository" / TWEET_MODEL
    shutil.copytree(source, target, dirs_exist_ok=True)
    text = (source / "model.toml").read_text(encoding="utf-8")
    (target / "model.toml").write_text(f"{text.rstrip()}\n\n{NO_CACHE}", encoding="utf-8")
    return target


def _package(folder: Path, model: Path, *, description: str, max_tokens: int) -> Path:
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(
        _TOML.format(description=description, max_tokens=max_tokens), encoding="utf-8"
    )
    for source, name in ((model, "model.onnx"), (bundled_version() / "tokenizer.json", None)):
        target = version / (name or source.name)
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            shutil.copyfile(source, target)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=default_cache())
    args = parser.parse_args()
    print(roberta(args.cache))
    print(long(args.cache))


if __name__ == "__main__":
    main()
