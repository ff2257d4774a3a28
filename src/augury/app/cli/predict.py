"""``augury predict``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augury.app.cli.terminal import (
    Bar,
    InputFormat,
    ModelArgument,
    Pace,
    RepositoryOption,
    bundled_or,
    existing_file,
    quiet_logs,
    tell,
)

if TYPE_CHECKING:
    from augury.app.local.rows import Format
    from augury.app.local.stream import Answers
    from augury.app.settings import Settings
    from augury.packages.reader import ModelPackage

_STANDARD = Path("-")


def predict(
    model: ModelArgument,
    *,
    repository: RepositoryOption = None,
    input: Annotated[
        Path,
        typer.Option(
            "--input",
            "-i",
            help="File of rows; - for standard input.",
            callback=existing_file,
        ),
    ] = _STANDARD,
    format: Annotated[
        InputFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="jsonl: an object of inputs a line; csv, tsv: a record a line; txt: a text a line. "
            "Given as csv or tsv, it is the answers' format too.",
            show_default="told by the input's ending, else jsonl",
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="File for the answers, its ending tells their format; - for standard output.",
            dir_okay=False,
        ),
    ] = _STANDARD,
    text_column: Annotated[
        str | None,
        typer.Option(
            help="Column of the text: a name in the header (or of a JSON member), or a number from "
            "1 for a file without header.",
            show_default="the input's name",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer in JSON lines, whatever the input's format.")
    ] = False,
) -> None:
    """Answer the rows of a file, in their order, with a model that runs in this process.

    A row that fails carries its error and its line number; the others are answered, and the exit
    code is 1.

    Example: `augury predict tweet-sentiment --input tweets.tsv --text-column 3`
    """
    quiet_logs()
    from augury.app.local.rows import WrongColumns, format_of
    from augury.app.local.selection import select_package
    from augury.app.settings import read_settings

    if _STANDARD not in (output, input) and output.exists() and output.samefile(input):
        raise typer.BadParameter("is the input itself", param_hint="--output")
    input_format: Format = format or format_of(input) or "jsonl"
    output_format = "jsonl" if as_json else _output_format(format, output)
    if input == _STANDARD and sys.stdin is not None and sys.stdin.isatty():
        tell(f"reading {input_format} rows from the terminal; Ctrl-D ends them")
    settings = read_settings()
    job = _Job(
        settings,
        select_package(model, bundled_or(repository)),
        (input, input_format),
        (output, output_format),
        text_column,
    )
    try:
        job.run()
    except WrongColumns as error:
        raise typer.BadParameter(error.message, param_hint="--text-column") from None
    except KeyboardInterrupt:
        tell(f"interrupted after {job.pace}")
        raise
    tell(str(job.pace))
    if job.pace.failed:
        tell(f"the first that failed, {job.first_error}")
        raise typer.Exit(1)


def _output_format(format: Format | None, output: Path) -> Format:
    from augury.app.local.rows import format_of

    for told in (format_of(output), format):
        if told in ("jsonl", "csv", "tsv"):
            return told
    return "jsonl"


@dataclass
class _Job:
    """One file's way through the model, and what came of it."""

    settings: Settings
    package: ModelPackage
    source: tuple[Path, Format]
    target: tuple[Path, Format]
    text_column: str | None

    def __post_init__(self) -> None:
        self.pace = Pace()
        self.first_error = ""

    def run(self) -> None:
        """Answer all rows."""
        import asyncio

        asyncio.run(self._run())

    async def _run(self) -> None:
        from augury.app.local.files import open_input, open_output, size_of
        from augury.app.local.layout import layout_for
        from augury.app.local.output import RowWriter
        from augury.app.local.rows import read_rows
        from augury.app.local.stream import open_model

        (path, from_format), (to, to_format) = self.source, self.target
        limit_bytes = self.settings.max_body_bytes
        # Rows that run over the terminal tell enough of the progress.
        hidden = to == _STANDARD and sys.stdout is not None and sys.stdout.isatty()
        with Bar(f"Loading {self.package.name}", hidden=hidden) as bar:
            async with open_model(self.settings, self.package) as local:
                layout = layout_for(local.signature, from_format, self.text_column)
                with open_input(path) as file, open_output(to) as out:
                    writer = RowWriter(out, to_format, local.signature)
                    bar.begin(f"Asking {self.package.name}", size_of(path))
                    self.pace = Pace()

                    def write(answers: Answers) -> None:
                        writer.write(answers.documents(local.package, local.signature))
                        self._count(answers)
                        bar.advance(sum(row.nbytes for row in answers.rows), str(self.pace))

                    rows = read_rows(file, from_format, layout, max_line_bytes=limit_bytes)
                    await local.answer_rows(rows, write)
                    writer.write([])  # a header, if there was no row
                    self.pace.stop()

    def _count(self, answers: Answers) -> None:
        if answers.errors and not self.pace.failed:
            self.first_error = answers.first_error()
        self.pace.rows += len(answers.rows)
        self.pace.failed += len(answers.errors)
