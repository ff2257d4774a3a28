"""A folder of models: ``<root>/<name>/<integer version>/<model file>``."""

from __future__ import annotations

from pathlib import Path

from augury.core.errors import InvalidPackage
from augury.lifecycle.sources.base import Aspired, Wanted
from augury.packages.reader import (
    MANIFEST_NAME,
    is_model_name,
    parse_version,
    read_manifest,
    read_package,
)


class DirectorySource:
    """Reads the folder anew each time it is asked.

    Args:
        roots: Repositories; of two models with one name, the one in the earlier root is served.
    """

    def __init__(self, *roots: Path) -> None:
        self._roots = roots

    def wanted(self) -> Wanted:
        versions: dict[str, dict[int, Aspired]] = {}
        labels: dict[str, dict[str, int]] = {}
        warnings: list[str] = []
        for root in self._roots:
            for path in _folders(root, warnings):
                if not is_model_name(path.name):
                    warnings.append(f"{path}: ignored, not a model's name")
                elif path.name in versions:
                    warnings.append(f"{path}: ignored, an earlier repository has this model")
                else:
                    found, found_labels = _model(path, warnings)
                    if found:
                        versions[path.name] = found
                        labels[path.name] = found_labels
        return Wanted(versions, labels, tuple(warnings))


def _model(path: Path, warnings: list[str]) -> tuple[dict[int, Aspired], dict[str, int]]:
    available: list[int] = []
    for folder in _folders(path, warnings):
        version = parse_version(folder.name)
        if version is None:
            warnings.append(f"{folder}: ignored, a version is a plain positive integer")
        else:
            available.append(version)
    if not available:
        warnings.append(f"{path}: ignored, it holds no version")
        return {}, {}
    try:
        table = read_manifest(path).versions
        chosen, labels = table.choose(available), table.labels
        fault = ""
    except InvalidPackage as error:
        # The newest version carries the fault, so that it can be seen where people look.
        chosen, labels, fault = (max(available),), {}, error.message
    aspired = {version: _aspire(path, version, fault) for version in chosen}
    for label, version in labels.items():
        if version not in aspired:
            warnings.append(f"{path}: label {label!r} names version {version}, which is not there")
    return aspired, {name: version for name, version in labels.items() if version in aspired}


def _aspire(path: Path, version: int, fault: str) -> Aspired:
    fingerprint = _fingerprint(path, version)
    if fault:
        return Aspired(None, fault, fingerprint)
    try:
        return Aspired(read_package(path, version), "", fingerprint)
    except InvalidPackage as error:
        return Aspired(None, error.message, fingerprint)


def _folders(path: Path, warnings: list[str]) -> list[Path]:
    """Folders in *path*, hidden ones left out, in order."""
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        warnings.append(f"{path}: cannot be read: {error.strerror}")
        return []
    folders = [entry for entry in entries if entry.is_dir()]
    hidden = [folder for folder in folders if folder.name.startswith(".")]
    warnings += [f"{folder}: ignored, its name starts with a dot" for folder in hidden]
    return [folder for folder in folders if not folder.name.startswith(".")]


def _fingerprint(path: Path, version: int) -> str:
    """Names, sizes and times of the files that make the version."""
    facts = []
    files = [path / MANIFEST_NAME, *sorted((path / str(version)).rglob("*"))]
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            continue
        facts.append(f"{file.name}:{stat.st_size}:{stat.st_mtime_ns}")
    return "|".join(facts)
