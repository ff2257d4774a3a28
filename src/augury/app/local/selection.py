"""From what a person calls a model to the package on disk.

A model is called by its name in a repository, with ``@`` and a version or label where the policy's
choice is not wanted, or by the path of its folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from augury.core.errors import InvalidPackage, ModelNotFound, VersionNotFound
from augury.lifecycle.sources.base import Aspired, Wanted
from augury.packages.reader import (
    ModelPackage,
    available_versions,
    is_model_name,
    parse_version,
    read_manifest,
    read_package,
)

NO_VERSION: Final = "holds no version; put the model file into a folder named 1"


class OnePackage:
    """A source that wants one package, for good."""

    def __init__(self, package: ModelPackage) -> None:
        self._package = package

    def wanted(self) -> Wanted:
        package = self._package
        aspired: Mapping[int, Aspired] = {package.version: Aspired(package, "", "")}
        return Wanted({package.name: aspired})


def select_package(model: str, repository: Path) -> ModelPackage:
    """The package that *model* calls.

    Args:
        model: ``name``, ``name@version`` or ``name@label`` in *repository*; or the path of a model's
            folder, with the same endings, or of a version's folder.  What holds a slash is a path; a
            name that the repository has goes before a folder of that name.
        repository: Folder of models.

    Raises:
        ModelNotFound: Neither a model nor a folder.
        VersionNotFound: The model has no such version or label.
        InvalidPackage: The package cannot be read.
    """
    name, _, wanted = model.partition("@")
    if is_model_name(name) and (repository / name).is_dir():
        return _select_version(repository / name, wanted)
    path, wanted = Path(model), ""
    if not path.is_dir() and "@" in path.name:
        before, _, wanted = path.name.rpartition("@")
        path = path.with_name(before) if before else path
    if not model or not path.is_dir():
        raise ModelNotFound(model, _models(repository))
    path = path.resolve()
    version = parse_version(path.name)
    if version is not None and not available_versions(path):
        return read_package(path.parent, version)
    return _select_version(path, wanted)


def _select_version(path: Path, wanted: str) -> ModelPackage:
    available = available_versions(path)
    if not available:
        raise InvalidPackage(NO_VERSION, path=str(path))
    table = read_manifest(path).versions
    if wanted:
        version = table.labels.get(wanted, parse_version(wanted))
        if version not in available:
            known = (*map(str, available), *table.labels)
            raise VersionNotFound(path.name, f"version or label {wanted!r}", known)
        assert version is not None  # noqa: S101 - it is among those available
        return read_package(path, version)
    chosen = table.choose(available)
    if not chosen:
        raise InvalidPackage(
            f"[versions] chooses none of the versions {', '.join(map(str, available))}",
            path=str(path),
        )
    return read_package(path, chosen[-1])


def _models(repository: Path) -> tuple[str, ...]:
    try:
        entries = sorted(repository.iterdir())
    except OSError:
        return ()
    return tuple(one.name for one in entries if is_model_name(one.name) and one.is_dir())
