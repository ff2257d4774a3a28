"""A folder of models: ``<root>/<name>/<integer version>/<model file>``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from augury.core.errors import InvalidPackage
from augury.lifecycle.sources.base import Aspired, Wanted
from augury.packages.manifest import VersionsTable
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
        unclear: set[str] = set()
        for root in self._roots:
            for path in _folders(root, warnings):
                if not is_model_name(path.name):
                    warnings.append(f"{path}: ignored, not a model's name")
                elif path.name in versions:
                    warnings.append(f"{path}: ignored, an earlier repository has this model")
                else:
                    try:
                        available = _versions(path, warnings)
                    except OSError as error:
                        warnings.append(f"{path}: {error.strerror}; what is served stays as it is")
                        unclear.add(path.name)
                        continue
                    if not available:
                        continue
                    try:
                        table = read_manifest(path).versions
                    except InvalidPackage as error:
                        # The newest version carries the fault: there people look.
                        newest = max(available)
                        fingerprint = _fingerprint(path, newest)
                        versions[path.name] = {newest: Aspired(None, error.message, fingerprint)}
                        warnings.append(f"{error.message}; what is served stays as it is")
                        unclear.add(path.name)
                        continue
                    found, found_labels = _chosen(path, table, available, warnings)
                    if found:
                        versions[path.name] = found
                        labels[path.name] = found_labels
        return Wanted(versions, labels, tuple(warnings), frozenset(unclear))


def _versions(path: Path, warnings: list[str]) -> list[int]:
    available: list[int] = []
    for folder in _folders(path, warnings):
        version = parse_version(folder.name)
        if version is None:
            warnings.append(f"{folder}: ignored, a version is a plain positive integer")
        else:
            available.append(version)
    if not available:
        warnings.append(f"{path}: ignored, it holds no version")
    return available


def _chosen(
    path: Path, table: VersionsTable, available: list[int], warnings: list[str]
) -> tuple[dict[int, Aspired], dict[str, int]]:
    """The versions and labels that ``[versions]`` chooses among those *available*."""
    aspired = {version: _aspire(path, version) for version in table.choose(available)}
    if not aspired:
        there = ", ".join(map(str, sorted(available)))
        warnings.append(f"{path}: ignored, [versions] chooses none of the versions {there}")
    for label, version in table.labels.items():
        if version not in aspired:
            warnings.append(f"{path}: label {label!r} names version {version}, which is not served")
    return aspired, {name: version for name, version in table.labels.items() if version in aspired}


def _aspire(path: Path, version: int) -> Aspired:
    fingerprint = _fingerprint(path, version)
    try:
        return Aspired(read_package(path, version), "", fingerprint)
    except InvalidPackage as error:
        return Aspired(None, error.message, fingerprint)


def _folders(path: Path, warnings: list[str]) -> list[Path]:
    """Folders in *path*, hidden ones left out, in order.

    Raises:
        OSError: *path* cannot be listed; that is not the same as an empty folder.
    """
    folders = [entry for entry in sorted(path.iterdir()) if entry.is_dir()]
    hidden = [folder for folder in folders if folder.name.startswith(".")]
    warnings += [f"{folder}: ignored, its name starts with a dot" for folder in hidden]
    return [folder for folder in folders if not folder.name.startswith(".")]


def _fingerprint(path: Path, version: int) -> str:
    """Names, sizes and times of the files that make the version."""
    facts = []
    files = [path / MANIFEST_NAME]
    with suppress(OSError):  # a folder that is being removed just now
        files += sorted((path / str(version)).rglob("*"))
    for file in files:
        with suppress(OSError):
            stat = file.stat()
            facts.append(f"{file.relative_to(path)}:{stat.st_size}:{stat.st_mtime_ns}")
    return "|".join(facts)
