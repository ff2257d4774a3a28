"""What models there are: in a repository, by its files alone, or on a running server."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from augury.core.errors import InvalidPackage, InvalidSetting, UpstreamFailed
from augury.packages.reader import (
    available_versions,
    is_model_name,
    read_manifest,
    read_package,
)

ANSWER_TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version as it lies on disk.

    Args:
        version: The version.
        served: Whether the model's policy chooses it.
        labels: Its labels.
        size_bytes: All files in its folder.
        fault: Why it cannot be read; what follows is empty then.
        runtime: What loads it.
        description: From the manifest.
        examples: Examples in the manifest.
        macro_recall: From the provenance: measurement to value, 0 to 1.
    """

    version: int
    served: bool
    labels: list[str]
    size_bytes: int
    fault: str = ""
    runtime: str | None = None
    description: str = ""
    examples: int = 0
    macro_recall: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model and its versions, the newest first."""

    name: str
    path: str
    versions: list[ListedVersion]


def list_models(repository: Path) -> tuple[list[ListedModel], list[str]]:
    """The models of *repository* and what in it is ignored; no model file is loaded.

    Raises:
        InvalidSetting: The folder cannot be read.
    """
    try:
        folders = [entry for entry in sorted(repository.iterdir()) if entry.is_dir()]
    except OSError as error:
        raise InvalidSetting(f"cannot read {str(repository)!r}: {error.strerror}") from None
    models, warnings = [], []
    for path in folders:
        if not is_model_name(path.name):
            warnings.append(f"{path}: ignored, not a model's name")
        elif available_versions(path):
            models.append(ListedModel(path.name, str(path), _versions(path)))
        else:
            warnings.append(f"{path}: ignored, it holds no version")
    return models, warnings


def _versions(path: Path) -> list[ListedVersion]:
    available = available_versions(path)
    chosen: tuple[int, ...] = ()
    labels: Mapping[str, int] = {}
    try:
        table = read_manifest(path).versions
        chosen, labels = table.choose(available), table.labels
    except InvalidPackage:
        pass  # each version tells it
    listed = []
    for version in reversed(available):
        named = sorted(label for label, wanted in labels.items() if wanted == version)
        facts = (version, version in chosen, named, _size_bytes(path / str(version)))
        try:
            package = read_package(path, version)
        except InvalidPackage as error:
            listed.append(ListedVersion(*facts, fault=error.message))
            continue
        listed.append(
            ListedVersion(
                *facts,
                runtime=package.runtime,
                description=package.manifest.description,
                examples=len(package.manifest.examples),
                macro_recall=macro_recalls(package.provenance),
            )
        )
    return listed


def macro_recalls(provenance: Mapping[str, Any]) -> dict[str, float]:
    """Each ``macro_recall`` below the record's ``metrics``, by the path to it.

    >>> macro_recalls({"metrics": {"val": {"int8": {"macro_recall": 0.75}}}})
    {'val.int8': 0.75}
    """
    found: dict[str, float] = {}

    def walk(table: Any, path: tuple[str, ...]) -> None:
        if not isinstance(table, Mapping) or len(path) > 4:
            return
        value = table.get("macro_recall")
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[".".join(path)] = float(value)
        for name, below in table.items():
            walk(below, (*path, str(name)))

    walk(provenance.get("metrics"), ())
    return found


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def ask_server(url: str) -> dict[str, Any]:
    """What the server at *url* tells at ``GET /api/models``.

    Raises:
        InvalidSetting: Not an ``http://`` or ``https://`` URL.
        UpstreamFailed: Nobody answers, or it is not an Augury server.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"{url!r} is no server's URL; give one like http://127.0.0.1:8000")
    target = f"{url.rstrip('/')}/api/models"
    try:
        with urllib.request.urlopen(target, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310 - the scheme is checked above
            body = answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        raise UpstreamFailed(f"{target} answered {error.code}; is it an Augury server?") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UpstreamFailed(f"no answer from {target}: {reason}") from None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not isinstance(document.get("models"), list):
        raise UpstreamFailed(f"{target} did not answer with models; is it an Augury server?")
    return document
