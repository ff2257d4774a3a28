"""What was chosen, written into ``model.toml``: comments, order and everything else stay as they are.

Nothing is written before it is certain that the new text says what it should and nothing else, and the
file is replaced in one step: a server that looks at it meanwhile reads the old text or the new one.
"""

from __future__ import annotations

import difflib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from augury.core.errors import InvalidPackage, OperatorError
from augury.packages.manifest import Manifest
from augury.packages.reader import (
    MANIFEST_NAME,
    ModelPackage,
    read_manifest,
    read_manifest_files,
)

# Table to key to value, as in `[instances] count = 2`.
Changes = Mapping[str, Mapping[str, int | float]]

_NEW_FILE_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file that has not been made yet.

    Args:
        package: The model.
        file: The ``model.toml`` whose keys win.
        before: Its text; ``None``: there is no such file.
        after: Its text to be.
        changes: What that says.
    """

    package: ModelPackage
    file: Path
    before: str | None
    after: str
    changes: Changes

    @property
    def needed(self) -> bool:
        """Whether the file does not say so already."""
        return self.before != self.after

    def diff(self) -> list[str]:
        """The lines that change, in the unified format, without line ends."""
        lines = difflib.unified_diff(
            (self.before or "").splitlines(),
            self.after.splitlines(),
            "/dev/null" if self.before is None else str(self.file),
            str(self.file),
            lineterm="",
            n=2,
        )
        return list(lines)

    def write(self) -> None:
        """Replace the file, and read it back with the server's own reader.

        Raises:
            OperatorError: It cannot be written, somebody changed it meanwhile, or it does not read
                back; then it is as it was.
        """
        target = self.file.resolve()  # a link stays a link
        if _read(target) != self.before:
            raise OperatorError(f"{self.file} was changed while the model was measured; tune again")
        _replace(target, self.after)
        fault = self._read_back()
        if fault:
            if self.before is None:
                target.unlink()
            else:
                _replace(target, self.before)
            raise OperatorError(f"{self.file} would not read back and is as it was: {fault}")

    def _read_back(self) -> str:
        """What is wrong with what was written, or an empty text."""
        try:
            manifest = read_manifest(self.package.path.parent, self.package.version)
        except InvalidPackage as error:
            return error.message
        return _contradiction(manifest, self.changes)


def plan_edit(package: ModelPackage, changes: Changes) -> Edit:
    """The edit that makes *package* say *changes*.

    It goes into the version's own ``model.toml`` if that one speaks of these tables, since its keys win;
    else into the model's.

    Raises:
        OperatorError: The file cannot be edited so that it says that and all else as before.
    """
    model_path = package.path.parent
    own = package.path / MANIFEST_NAME
    before = _read(own)
    if before is not None and changes.keys() & tomllib.loads(before).keys():
        file = own
    else:
        file = model_path / MANIFEST_NAME
        before = _read(file)
    after = _edited(before or "", changes)
    if after is None:
        wanted = "; ".join(
            f"[{table}] {', '.join(f'{key} = {value}' for key, value in keys.items())}"
            for table, keys in changes.items()
        )
        raise OperatorError(f"{file} is written in a way that cannot be edited; set {wanted}")
    _check(package, changes)
    return Edit(package, file, before, after, changes)


def why_not_writable(file: Path) -> str:
    """Why *file* cannot be replaced, as far as can be told beforehand; else an empty text."""
    target = file.resolve()
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return f"{target.parent} is read-only"
    return f"{target} is read-only" if target.exists() and not os.access(target, os.W_OK) else ""


def _edited(before: str, changes: Changes) -> str | None:
    """*before* with *changes*; ``None`` when that cannot be done without changing more."""
    wanted = tomllib.loads(before)
    try:
        document = tomlkit.parse(before)
        for table, keys in changes.items():
            wanted.setdefault(table, {})
            if table not in document:
                document[table] = tomlkit.table()
            for key, value in keys.items():
                if wanted[table].get(key) != value:
                    document[table][key] = value
                    wanted[table][key] = value
        after = document.as_string()
        if "\r\n" in before and "\n" not in before.replace("\r\n", ""):
            after = after.replace("\r\n", "\n").replace("\n", "\r\n")
        return after if tomllib.loads(after) == wanted else None
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, AttributeError):
        return None


def _check(package: ModelPackage, changes: Changes) -> None:
    """See that the whole manifest, with *changes*, is one that the server takes."""
    files = read_manifest_files(package.path.parent, package.version)
    tables: dict[str, Any] = dict(files.tables)
    for table, keys in changes.items():
        tables[table] = {**tables.get(table, {}), **keys}
    try:
        manifest = Manifest.model_validate(tables)
    except ValidationError as error:
        raise OperatorError(f"{package.name}: {error.errors()[0]['msg']}") from None
    fault = _contradiction(manifest, changes)
    if fault:
        raise OperatorError(f"{package.name}: {fault}")


def _contradiction(manifest: Manifest, changes: Changes) -> str:
    for table, keys in changes.items():
        for key, value in keys.items():
            found = getattr(getattr(manifest, table), key)
            if found != value:
                return f"[{table}] {key} is {found}, not {value}"
    return ""


def _read(file: Path) -> str | None:
    try:
        with file.open(encoding="utf-8", newline="") as opened:  # line ends as they are
            return opened.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"cannot read {str(file)!r}: {error.strerror}") from None


def _replace(target: Path, text: str) -> None:
    """Write *text* beside *target* and put it in its place."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".model.toml-")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        mode = target.stat().st_mode & 0o7777 if target.exists() else _NEW_FILE_MODE
        Path(temporary).chmod(mode)
        Path(temporary).replace(target)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)
        raise OperatorError(f"cannot write {str(target)!r}: {error.strerror}") from None
