"""What the verbs share of the terminal: options, a progress bar, tables, JSON, quiet logs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import typer

if TYPE_CHECKING:  # Rich costs a fifth of a second, which `--help` need not pay
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

# What is over sooner needs no bar.
BAR_AFTER_S: Final = 1.0
# The speed that is shown is of so long: shorter jumps with each batch, longer hides a change.
SPEED_OVER_S: Final = 30.0

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="A model of the repository: NAME, NAME@VERSION or NAME@LABEL; or the path of a "
        "model's folder.",
        show_default=False,
    ),
]
RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of models: NAME/VERSION/model.onnx.",
        show_default="the bundled models",
        exists=True,
        file_okay=False,
    ),
]


def existing_file(path: Path) -> Path:
    """For options: *path* is a file, a pipe, or ``-`` (which Typer's own check does not know)."""
    if str(path) != "-" and not path.exists():
        raise typer.BadParameter(f"no file {str(path)!r}")
    if path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a folder")
    return path


ConfigOption = Annotated[
    Path | None,
    typer.Option(help="Settings file.", show_default="augury.toml, if there is one"),
]
InputFormat = Literal["jsonl", "csv", "tsv", "txt"]


def quiet_logs() -> None:
    """Log warnings and errors only; what a verb tells itself is not logged as well."""
    import logging

    from augury.observe.logs import configure_logging

    configure_logging(format="console", level="warning", file=None)
    # Why a model cannot be loaded is the verb's own last line.
    logging.getLogger("augury.lifecycle.manager").setLevel(logging.CRITICAL)


def bundled_or(repository: Path | None) -> Path:
    """*repository*, or the models that ship with Augury."""
    from augury.app.build import bundled_repository

    return bundled_repository() if repository is None else repository


def show(*parts: Table | str) -> None:
    """Print tables and lines on stdout, in colour on a terminal."""
    console = _console()
    for part in parts:
        console.print(part, highlight=False)
        if not isinstance(part, str):
            console.print()


def show_json(value: Any) -> None:
    """Print *value* on stdout as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def tell(message: str) -> None:
    """Print a line on stderr."""
    typer.echo(message, err=True)


def count(number: int, thing: str, things: str = "") -> str:
    """*number* of a thing, in words.

    >>> count(1, "row"), count(2000, "row"), count(2, "class", "classes")
    ('1 row', '2,000 rows', '2 classes')
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


class Bar:
    """A progress bar on stderr: on a terminal only, and only once it has lasted a second.

    Args:
        description: What is being done.
        total: How many steps that takes; ``None`` when nobody knows.
        hidden: Never show it, as when the output itself runs over the terminal.
    """

    def __init__(self, description: str, total: int | None = None, *, hidden: bool = False) -> None:
        self._description = description
        self._total = total
        self._done = 0
        self._notes = ""
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._closed = False
        self._timer: threading.Timer | None = None
        if not hidden and sys.stderr.isatty():
            self._timer = threading.Timer(BAR_AFTER_S, self._show)
            self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            if self._progress is not None:
                self._progress.stop()

    def begin(self, description: str, total: int | None = None) -> None:
        """Go over to the next thing, from 0 of *total* steps."""
        with self._lock:
            self._description, self._total, self._done, self._notes = description, total, 0, ""
            self._update()

    def advance(self, steps: int, notes: str = "") -> None:
        """*steps* more are done; *notes* stand beside the bar."""
        with self._lock:
            self._done += steps
            self._notes = notes
            self._update()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._closed:
                return
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[notes]}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(self._description, notes="")
            self._update()
            self._progress.start()

    def _update(self) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task,
                description=self._description,
                completed=self._done,
                total=self._total,
                notes=self._notes,
            )


class Pace:
    """Rows and the time that they take."""

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self._stopped_s: float | None = None
        self.rows = 0
        self.failed = 0

    def stop(self) -> None:
        """What comes now (unloading the model) is not part of it."""
        self._stopped_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return (self._stopped_s or time.monotonic()) - self._started_s

    @property
    def rows_per_s(self) -> float:
        """So far."""
        return self.rows / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        pace = f"{count(self.rows, 'row')} in {self.seconds:.1f} s ({self.rows_per_s:,.0f} rows/s)"
        return f"{pace}, {self.failed:,} failed" if self.failed else pace


class Speed:
    """How fast it goes of late, and how long the rest takes at that speed.

    Args:
        things: What is counted ("tweets").
        total: How many there are; ``None`` when nobody knows.
        done: How many are done already.
    """

    def __init__(self, things: str, total: int | None = None, done: int = 0) -> None:
        self._things = things
        self._total = total
        self._done = done
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), done)])

    def advance(self, steps: int) -> None:
        """*steps* more are done."""
        now_s = time.monotonic()
        self._done += steps
        self._marks.append((now_s, self._done))
        while len(self._marks) > 2 and self._marks[1][0] < now_s - SPEED_OVER_S:
            self._marks.popleft()

    @property
    def per_s(self) -> float:
        """Things a second, of the last half minute."""
        (since_s, before), (until_s, done) = self._marks[0], self._marks[-1]
        return (done - before) / max(until_s - since_s, 1e-9)

    def __str__(self) -> str:
        of = "" if self._total is None else f" of {self._total:,}"
        told = f"{self._done:,}{of} {self._things}"
        if len(self._marks) < 2 or not self.per_s:
            return told
        told += f", {self.per_s:,.0f}/s"
        if self._total is None or self._total < self._done:
            return told
        return f"{told}, {duration((self._total - self._done) / self.per_s)} left"


def duration(seconds: float) -> str:
    """*seconds* for people.

    >>> duration(7.4), duration(85), duration(7380)
    ('7 s', '1 min 25 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _console() -> Console:
    from rich.console import Console

    class PipedConsole(Console):
        """Leaves it to ``main`` what a reader that goes away means."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipedConsole()
