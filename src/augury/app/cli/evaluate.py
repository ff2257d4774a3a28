"""``augury evaluate``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury.app.cli.terminal import (
    Bar,
    InputFormat,
    ModelArgument,
    Pace,
    RepositoryOption,
    bundled_or,
    count,
    existing_file,
    quiet_logs,
    show,
    show_json,
    tell,
)

if TYPE_CHECKING:
    from rich.table import Table

    from augury.app.local.rows import Format
    from augury.app.local.stream import Answers
    from augury.app.settings import Settings
    from augury.monitor.evaluation import ClassificationReport
    from augury.packages.reader import ModelPackage


def evaluate(
    model: ModelArgument,
    *,
    data: Annotated[
        Path,
        typer.Option("--data", "-d", help="File of rows and their labels.", callback=existing_file),
    ],
    repository: RepositoryOption = None,
    format: Annotated[
        InputFormat | None,
        typer.Option(
            "--format", "-f", help="jsonl, csv or tsv.", show_default="told by the ending"
        ),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option(
            help="Column of the text: a name in the header (or of a JSON member), or a number from "
            "1 for a file without header.",
            show_default="the input's name",
        ),
    ] = None,
    label_column: Annotated[
        str, typer.Option(help="Column of the true label, told in the same way.")
    ] = "label",
    save_predictions: Annotated[
        Path | None,
        typer.Option(
            help="Also write line, true label and answer of each row to this file; its ending "
            "tells the format, JSON lines by default.",
            dir_okay=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as JSON.")] = False,
) -> None:
    """Measure a classifier on labelled rows: recall, F1, confusion, calibration, distribution.

    A row that fails is left out of the measures, and the exit code is 1.

    Example: `augury evaluate tweet-sentiment --data tweets.tsv --text-column 3 --label-column 2`
    """
    quiet_logs()
    from augury.app.local.rows import WrongColumns, format_of
    from augury.app.local.selection import select_package
    from augury.app.settings import read_settings

    if save_predictions and save_predictions.exists() and save_predictions.samefile(data):
        raise typer.BadParameter("is the data itself", param_hint="--save-predictions")
    data_format: Format = format or format_of(data) or "jsonl"
    package = select_package(model, bundled_or(repository))
    job = _Job(
        read_settings(), package, (data, data_format), text_column, label_column, save_predictions
    )
    try:
        report = job.run()
    except WrongColumns as error:
        hint = "--text-column / --label-column"
        raise typer.BadParameter(error.message, param_hint=hint) from None
    if as_json:
        show_json(_document(report, package, job))
    else:
        show(*_tables(report, f"{package.name} {package.version} on {data.name}"))
    tell(str(job.pace))
    if job.pace.failed:
        tell(f"the first that failed, {job.first_error}")
        raise typer.Exit(1)


@dataclass
class _Job:
    """One evaluation, and how long it took."""

    settings: Settings
    package: ModelPackage
    source: tuple[Path, Format]
    text_column: str | None
    label_column: str
    save_predictions: Path | None

    def __post_init__(self) -> None:
        self.pace = Pace()
        self.first_error = ""

    def run(self) -> ClassificationReport:
        """Answer all rows and measure the answers."""
        import asyncio

        return asyncio.run(self._run())

    async def _run(self) -> ClassificationReport:
        from augury.app.local.files import open_input, open_output, size_of
        from augury.app.local.layout import layout_for
        from augury.app.local.measuring import Measurement, PredictionWriter, scores_output
        from augury.app.local.rows import format_of, read_rows
        from augury.app.local.stream import open_model

        path, data_format = self.source
        saved = self.save_predictions
        limit_bytes = self.settings.max_body_bytes
        with ExitStack() as stack:
            bar = stack.enter_context(Bar(f"Loading {self.package.name}"))
            async with open_model(self.settings, self.package) as local:
                measurement = Measurement(scores_output(local.signature))
                layout = layout_for(
                    local.signature, data_format, self.text_column, self.label_column
                )
                file = stack.enter_context(open_input(path))
                writer = None
                if saved is not None:
                    told = format_of(saved)
                    writer = PredictionWriter(
                        stack.enter_context(open_output(saved)),
                        told if told in ("csv", "tsv") else "jsonl",
                        local.signature,
                    )
                bar.begin(f"Asking {self.package.name}", size_of(path))
                self.pace = Pace()

                def write(answers: Answers) -> None:
                    measurement.add(answers)
                    if writer is not None:
                        writer.write(answers, answers.documents(local.package, local.signature))
                    if answers.errors and not self.pace.failed:
                        self.first_error = answers.first_error()
                    self.pace.rows += len(answers.rows)
                    self.pace.failed += len(answers.errors)
                    bar.advance(sum(row.nbytes for row in answers.rows), str(self.pace))

                rows = read_rows(file, data_format, layout, max_line_bytes=limit_bytes)
                await local.answer_rows(rows, write)
                self.pace.stop()
            return measurement.report()


def _document(report: ClassificationReport, package: ModelPackage, job: _Job) -> dict[str, Any]:
    pace = job.pace
    return {
        "model": package.name,
        "version": str(package.version),
        "data": str(job.source[0]),
        **report.to_dict(),
        "failed_rows": pace.failed,
        "seconds": round(pace.seconds, 3),
        "rows_per_s": round(pace.rows_per_s, 1),
    }


def _tables(report: ClassificationReport, title: str) -> list[Table | str]:
    from rich.markup import escape

    overall = (
        f"accuracy [bold]{report.accuracy:.4f}[/]   macro recall [bold]{report.macro_recall:.4f}[/]"
        f"   macro F1 [bold]{report.macro_f1:.4f}[/]   ECE [bold]{report.ece:.4f}[/]"
    )
    return [
        f"[bold]{escape(title)}[/]: {count(report.rows, 'row')}",
        overall,
        "",
        "Classes, and their shares of the rows",
        _classes(report),
        "Confusion: a line for each true class, a column for each predicted one",
        _confusion(report),
        "Calibration: the highest score, and how often it is right",
        _calibration(report),
    ]


def _table(*columns: str) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True)
    for position, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if position else "left")
    return table


def _classes(report: ClassificationReport) -> Table:
    from rich.markup import escape

    table = _table("class", "precision", "recall", "F1", "support", "true", "predicted")
    for position, one in enumerate(report.classes):
        table.add_row(
            escape(one.label),
            f"{one.precision:.4f}",
            f"{one.recall:.4f}",
            f"{one.f1:.4f}",
            f"{one.support:,}",
            f"{report.true_distribution[position]:.1%}",
            f"{report.predicted_distribution[position]:.1%}",
        )
    return table


def _confusion(report: ClassificationReport) -> Table:
    from rich.markup import escape

    table = _table("truth", *report.labels)
    for label, counts in zip(report.labels, report.confusion, strict=True):
        table.add_row(escape(label), *(f"{number:,}" for number in counts))
    return table


def _calibration(report: ClassificationReport) -> Table:
    table = _table("score", "rows", "mean score", "right", "gap")
    for one in report.bins:
        if one.rows:
            table.add_row(
                f"{one.low:.2f} to {one.high:.2f}",
                f"{one.rows:,}",
                f"{one.confidence:.3f}",
                f"{one.accuracy:.3f}",
                f"{one.accuracy - one.confidence:+.3f}",
            )
    return table
