"""From a folder to a :class:`ModelPackage`: which files, which runtime, which manifest.

A package is ``<repository>/<name>/<integer version>/<model file>``; ``model.toml`` may lie beside
the versions, inside one, or both: then the version's wins, key by key.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from augury.core.errors import InvalidPackage
from augury.packages.manifest import Manifest
from augury.packages.positions import key_lines
from augury.runtimes.registry import RUNTIMES

MANIFEST_NAME: Final = "model.toml"
PROVENANCE_NAME: Final = "provenance.json"
MAX_MANIFEST_BYTES: Final = 1 << 20

# File name to runtime; the first file of this order that lies in the folder decides.
MODEL_FILES: Final[dict[str, str]] = {
    "model.onnx": "onnx",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """One version of one model, as it lies on disk.

    Args:
        name: The model's name, from its folder.
        version: The version, from its folder.
        path: The version's folder.
        model_file: The file that the runtime loads.
        runtime: Name of the runtime.
        manifest: What ``model.toml`` says, defaults filled in.
        provenance: The training's record (``provenance.json``), empty when there is none.
    """

    name: str
    version: int
    path: Path
    model_file: Path
    runtime: str
    manifest: Manifest = field(default_factory=Manifest)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def is_model_name(name: str) -> bool:
    """Whether a folder of this name can be a model."""
    return _NAME.fullmatch(name) is not None


def parse_version(name: str) -> int | None:
    """The version that a folder's name stands for: a plain positive integer of up to 18 digits."""
    return int(name) if _VERSION.fullmatch(name) else None


def available_versions(model_path: Path) -> list[int]:
    """The versions that lie in a model's folder, in rising order; empty when it cannot be read."""
    try:
        folders = [entry.name for entry in model_path.iterdir() if entry.is_dir()]
    except OSError:
        return []
    return sorted(version for name in folders if (version := parse_version(name)) is not None)


def read_package(model_path: Path, version: int) -> ModelPackage:
    """Read the package of *version* under the model's folder *model_path*.

    Raises:
        InvalidPackage: No model file, or a manifest with a fault; tells file and line.
    """
    path = model_path / str(version)
    manifest = read_manifest(model_path, version)
    model_file, runtime = find_model_file(path, manifest)
    return ModelPackage(
        name=model_path.name,
        version=version,
        path=path,
        model_file=model_file,
        runtime=runtime,
        manifest=manifest,
        provenance=read_provenance(path),
    )


def read_manifest(model_path: Path, version: int | None = None) -> Manifest:
    """The manifest of a model; with *version*, that version's keys win over the model's.

    Raises:
        InvalidPackage: Broken TOML, an unknown key or an impossible value; the first fault only.
    """
    return read_manifest_files(model_path, version).manifest()


@dataclass(frozen=True, slots=True)
class ManifestFiles:
    """The texts that a manifest comes from; tells every fault, and where each key stands.

    Args:
        path: The model's folder.
        texts: Each ``model.toml`` that there is, the one that wins last.
        tables: Their keys, merged.
        broken: Files that are not even TOML.
    """

    path: Path
    texts: tuple[tuple[Path, str], ...]
    tables: Mapping[str, Any]
    broken: tuple[InvalidPackage, ...] = ()

    def manifest(self) -> Manifest:
        """The manifest.

        Raises:
            InvalidPackage: The first of :meth:`faults`.
        """
        if self.broken:
            raise self.broken[0]
        try:
            return Manifest.model_validate(self.tables)
        except ValidationError as error:
            raise self._faults(error)[0] from None

    def faults(self) -> list[InvalidPackage]:
        """Everything that is wrong; empty when :meth:`manifest` answers."""
        if self.broken:
            return list(self.broken)
        try:
            Manifest.model_validate(self.tables)
        except ValidationError as error:
            return self._faults(error)
        return []

    def locate(self, key: tuple[str | int, ...]) -> tuple[Path, int | None]:
        """File and line of *key*, or of the nearest that is written down: below it, then around it."""
        # The version's file is looked at first: its keys win, so its faults do too.
        files = [(file, key_lines(text)) for file, text in reversed(self.texts)]
        while key:
            for file, lines in files:
                found = [line for path, line in lines.items() if path[: len(key)] == key]
                if found:
                    return file, lines.get(key, found[0])
            key = key[:-1]
        return (self.texts[-1][0] if self.texts else self.path / MANIFEST_NAME), None

    def fault(self, key: tuple[str | int, ...], message: str) -> InvalidPackage:
        """*message* about *key*, with the place where it is written."""
        file, line = self.locate(key)
        name = ".".join(str(part) for part in key)
        return InvalidPackage(f"{name}: {message}" if name else message, path=str(file), line=line)

    def _faults(self, error: ValidationError) -> list[InvalidPackage]:
        faults = []
        for detail in error.errors():
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                message = "unknown key; see docs/reference/model-toml.md for those there are"
            faults.append(self.fault(detail["loc"], message))
        return faults


def read_manifest_files(model_path: Path, version: int | None = None) -> ManifestFiles:
    """The ``model.toml`` of a model and, with *version*, that version's; raises nothing."""
    files = [model_path / MANIFEST_NAME]
    if version is not None:
        files.append(model_path / str(version) / MANIFEST_NAME)
    merged: dict[str, Any] = {}
    texts: list[tuple[Path, str]] = []
    broken: list[InvalidPackage] = []
    for file in files:
        try:
            text = _read_text(file)
            if text is not None:
                texts.append((file, text))
                merged = _merge(merged, _parse_toml(file, text))
        except InvalidPackage as error:
            broken.append(error)
    return ManifestFiles(model_path, tuple(texts), merged, tuple(broken))


def _parse_toml(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        # At the end of the file there is no number; the last line is where to look.
        number = int(line[1]) if line else max(1, len(text.splitlines()))
        raise InvalidPackage(f"not valid TOML: {error}", path=str(file), line=number) from None
    except RecursionError:
        raise InvalidPackage("not acceptable TOML: nested too deeply", path=str(file)) from None


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both_tables = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both_tables else value  # type: ignore[arg-type]
    return merged


def find_model_file(path: Path, manifest: Manifest) -> tuple[Path, str]:
    """The model file in a version's folder *path*, and the name of its runtime.

    Raises:
        InvalidPackage: No such folder, no model file, or an unknown runtime.
    """
    if not path.is_dir():
        raise InvalidPackage("no such folder", path=str(path))
    names = [name for name, runtime in MODEL_FILES.items() if manifest.runtime in (None, runtime)]
    for name in names:
        if (path / name).is_file():
            return path / name, MODEL_FILES[name]
    if not names and manifest.runtime is not None:
        if manifest.runtime not in RUNTIMES.names():
            known = ", ".join(RUNTIMES.names())
            raise InvalidPackage(
                f"unknown runtime {manifest.runtime!r}; here are: {known}", path=str(path)
            )
        # A runtime of another package: its file is the one that is called model, whatever its ending.
        files = sorted(file for file in path.glob("model.*") if file.name != MANIFEST_NAME)
        if len(files) == 1:
            return files[0], manifest.runtime
        names = [f"exactly one model.* (here are {len(files)})"]
    raise InvalidPackage(f"no model file; expected one of: {', '.join(names)}", path=str(path))


def _read_text(file: Path) -> str | None:
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES:
            raise InvalidPackage(
                f"larger than {MAX_MANIFEST_BYTES} bytes, the limit for such a file", path=str(file)
            )
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise InvalidPackage(f"not UTF-8 text: {error}", path=str(file)) from None
    except OSError as error:
        raise InvalidPackage(f"cannot be read: {error.strerror}", path=str(file)) from None


def read_provenance(path: Path) -> dict[str, Any]:
    """The training's record in a version's folder *path*; empty when there is none.

    Raises:
        InvalidPackage: Not a JSON object.
    """
    file = path / PROVENANCE_NAME
    text = _read_text(file)
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPackage(f"not valid JSON: {error}", path=str(file)) from None
    if not isinstance(value, dict):
        raise InvalidPackage("must hold a JSON object", path=str(file))
    return value
