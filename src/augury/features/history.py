"""Every row ever written, in Parquet files: what the point-in-time join reads.

One folder for each table, ``<root>/<table>.<uid>/``, holds one file for each chunk that was written.  A
file appears whole or not at all (written aside, flushed to the disk, then renamed) and is never changed.
The same event may be in several files; readers take what was written last.  When there are many small
files they are merged into one; a crash in between leaves rows twice, which readers do not notice.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from augury.core.errors import InvalidSetting
from augury.features.tables import EVENT_TIME, WRITTEN_TIME, FeatureTable
from augury.features.values import FeatureSpec, from_wire

if TYPE_CHECKING:  # of the extra "batch", and slow to import
    import pyarrow as pa

    from augury.features.writing import Row

ENDING: Final = ".parquet"
_LOCK: Final = ".lock"
# Over so many small files a reader spends more time on opening them than on reading.
COMPACT_FILES: Final = 64
SMALL_BYTES: Final = 64 * 1024 * 1024
# Files that are merged at once: a bound for the files that are open.
MERGE_FILES: Final = 512
# Leftovers of processes that were killed are removed after this.
_STALE_S: Final = 86_400.0


def require_batch() -> None:
    """Make sure that PyArrow and DuckDB are installed.

    Raises:
        InvalidSetting: They are not.
    """
    try:
        import duckdb  # noqa: F401 - only whether it is there
        import pyarrow as pa  # noqa: F401
    except ImportError as error:
        raise InvalidSetting(
            f"the history of feature tables needs PyArrow and DuckDB ({error}); "
            "install them with: pip install 'augury[batch]'"
        ) from None


def history_folder(root: Path, table: FeatureTable) -> Path:
    """Where the files of *table* lie under *root*."""
    return root / f"{table.name}.{table.uid}"


def history_files(root: Path, table: FeatureTable) -> list[Path]:
    """The files of *table* under *root*, in the order of writing."""
    try:
        entries = list(history_folder(root, table).iterdir())
    except FileNotFoundError:
        return []
    return sorted(
        file for file in entries if file.name.endswith(ENDING) and not file.name.startswith(".")
    )


def drop_history(root: Path, table: FeatureTable) -> None:
    """Remove the history of *table* under *root*, if there is one."""
    with suppress(FileNotFoundError):
        shutil.rmtree(history_folder(root, table))


class History:
    """The history of all tables under one folder.

    Every method may block on the disk; several threads and processes may use one folder at once.

    Args:
        root: The folder; made when something is written.

    Raises:
        InvalidSetting: PyArrow or DuckDB is not installed.
    """

    def __init__(self, root: Path) -> None:
        require_batch()
        self._root = root

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def folder(self, table: FeatureTable) -> Path:
        """Where the files of *table* lie."""
        return history_folder(self._root, table)

    def files(self, table: FeatureTable) -> list[Path]:
        """The files of *table*, in the order of writing."""
        return history_files(self._root, table)

    @contextmanager
    def reading(self, tables: Iterable[FeatureTable]) -> Iterator[None]:
        """Keep the files of *tables* from being merged away; waits while they are being merged."""
        import fcntl

        with ExitStack() as stack:
            # In one order for everybody, so that no two readers and mergers wait for each other.
            for folder in sorted({self.folder(table) for table in tables}):
                with suppress(FileNotFoundError):
                    file = stack.enter_context((folder / _LOCK).open("rb"))
                    fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def append(self, table: FeatureTable, rows: Sequence[Row], written_us: int) -> Path:
        """Keep *rows*, written at *written_us*; they are on the disk when this returns.

        Raises:
            OSError: The folder cannot be written to.
        """
        import pyarrow.parquet as pq

        folder = self.folder(table)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _LOCK).touch()
        with _new_file(folder, f"{written_us:020d}-{secrets.token_hex(4)}{ENDING}") as (
            aside,
            file,
        ):
            pq.write_table(arrow_table(table, rows, written_us), str(aside), compression="zstd")
        return file

    def compact(self, table: FeatureTable, *, force: bool = False) -> int:
        """Merge small files when there are more than :data:`COMPACT_FILES`; returns how many went.

        Does nothing while another process merges, or anybody reads.

        Args:
            table: The table.
            force: Merge whatever small files there are.

        Raises:
            OSError: The folder cannot be written to.
        """
        folder = self.folder(table)
        small = [file for file in self.files(table) if _size(file) < SMALL_BYTES]
        if len(small) < 2 or (len(small) <= COMPACT_FILES and not force):
            return 0
        with _lock(folder) as locked:
            if not locked:
                return 0
            _remove_leftovers(folder)
            # Anew: another process may have merged them before it gave the lock away.
            small = [file for file in self.files(table) if _size(file) < SMALL_BYTES][:MERGE_FILES]
            if len(small) < 2:
                return 0
            from augury.features.asof import merge_files

            # Named after the oldest: it takes that one's place in the order of writing.
            name = f"{small[0].name.split('-')[0]}-{secrets.token_hex(4)}{ENDING}"
            with _new_file(folder, name) as (aside, _):
                merge_files(table, small, aside)
            for file in small:
                file.unlink(missing_ok=True)
            return len(small)


def arrow_table(table: FeatureTable, rows: Sequence[Row], written_us: int) -> pa.Table:
    """*rows* as they are kept: key columns, features, event and written time."""
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    columns: dict[str, Any] = {}
    for position, (name, datatype) in enumerate(table.entity.items()):
        kind = arrow_type(FeatureSpec(name, datatype))
        columns[name] = pa.array([row.entity[position] for row in rows], kind)
    for name, spec in table.features.items():
        values = [None if (wire := row.values.get(name)) is None else from_wire(spec, wire)
                  for row in rows]  # fmt: skip
        columns[name] = pa.array(values, arrow_type(spec))
    columns[EVENT_TIME] = pa.array([row.event_us for row in rows], pa.int64()).cast(moment)
    columns[WRITTEN_TIME] = pa.array([written_us] * len(rows), pa.int64()).cast(moment)
    return pa.table(columns)


def arrow_type(spec: FeatureSpec) -> pa.DataType:
    """The Arrow type of one value; FP16 is kept as FP32, which holds it exactly."""
    import pyarrow as pa

    scalars = {
        "BOOL": pa.bool_(),
        "FP16": pa.float32(),
        "FP32": pa.float32(),
        "FP64": pa.float64(),
        "BYTES": pa.binary(),
    }
    kind = scalars.get(spec.datatype)
    if kind is None:
        kind = getattr(pa, spec.datatype.lower())()
    for _ in spec.shape:
        kind = pa.list_(kind)
    return kind


@contextmanager
def _new_file(folder: Path, name: str) -> Iterator[tuple[Path, Path]]:
    """Yield a path to write to, and the path under which it will be; all or nothing."""
    aside, file = folder / f".{name}.part", folder / name
    try:
        yield aside, file
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.rename(file)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Yield whether this process alone may merge; the lock ends with the process."""
    import fcntl

    with (folder / _LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _remove_leftovers(folder: Path) -> None:
    import time

    for file in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > _STALE_S:
                file.unlink()


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # merged just now
        return SMALL_BYTES
