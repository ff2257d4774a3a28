"""``augury tune``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from augury.app.cli.bench.options import unit_hint
from augury.app.cli.terminal import (
    Bar,
    InputFormat,
    ModelArgument,
    RepositoryOption,
    bundled_or,
    count,
    duration,
    existing_file,
    quiet_logs,
    show_json,
    tell,
)
from augury.app.cli.tune_report import (
    HEAD,
    nothing_fits,
    show_tuning,
    tuning_cells,
    tuning_document,
    tuning_notes,
)

if TYPE_CHECKING:
    from augury.app.local.rows import Format
    from augury.app.local.tuning.edit import Edit
    from augury.app.local.tuning.plan import Point
    from augury.app.local.tuning.sample import Sample
    from augury.app.local.tuning.sweep import Plan, Tuning
    from augury.app.settings import Settings
    from augury.packages.reader import ModelPackage
    from augury.pipeline.servable import ModelServable

_TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s|min|m)?")
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0}
_BUDGET_S: Final = (0.5, 3600.0)
_SLO_S: Final = (1e-6, 3600.0)


def tune(
    model: ModelArgument,
    *,
    slo: Annotated[
        str,
        typer.Option(
            help="Time within which 99 of 100 answers are wanted, such as 50ms or 0.5s.",
            show_default=False,
            metavar="TIME",
        ),
    ],
    repository: RepositoryOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-d",
            help="File of rows to measure with, - for standard input; its first 2,048 are used.",
            show_default="the model's examples",
            callback=lambda path: None if path is None else existing_file(path),
        ),
    ] = None,
    format: Annotated[
        InputFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="jsonl, csv, tsv or txt, as for `augury predict`.",
            show_default="told by the ending, else jsonl",
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
    max_rows: Annotated[
        int, typer.Option(help="Rows of a batch to try at most.", min=1, max=65536)
    ] = 64,
    budget: Annotated[
        str, typer.Option(help="Time that measuring may take.", metavar="TIME")
    ] = "60s",
    write: Annotated[
        bool, typer.Option("--write", help="Write what was chosen into model.toml.")
    ] = False,
    deadline: Annotated[
        bool,
        typer.Option(
            "--deadline",
            help="Also make the SLO the deadline of requests that bring none.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Also draw it into this file: .svg, or .html with the table.",
            dir_okay=False,
            show_default="none",
        ),
    ] = None,
    all_points: Annotated[
        bool, typer.Option("--all", help="Show all that was measured, not the best of each layout.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as JSON.")] = False,
) -> None:
    """Find the instances, threads and batch size that answer most rows in time on this machine.

    Measures them with the model's own examples or the rows of a file, and shows what it would write
    into model.toml; --write writes it. Exit code 1 when nothing fits the SLO.

    Example: `augury tune tweet-sentiment --slo 50ms --data tweets.tsv --text-column 3`
    """
    slo_s = _seconds(slo, "--slo", _SLO_S)
    if hint := unit_hint("--slo", slo):
        tell(hint)
    budget_s = _seconds(budget, "--budget", _BUDGET_S)
    if plot is not None and plot.suffix.lower() not in (".svg", ".html"):
        raise typer.BadParameter(
            f"{str(plot)!r} ends neither in .svg nor in .html", param_hint="--plot"
        )
    if plot is not None:
        _check_plot(plot)
    if hint := unit_hint("--slo", slo):
        tell(hint)
    quiet_logs()
    from augury.app.local.rows import WrongColumns
    from augury.app.local.selection import select_package
    from augury.app.local.tuning.edit import plan_edit
    from augury.app.local.tuning.sweep import plan_sweep
    from augury.app.settings import read_settings
    from augury.core.errors import OperatorError

    package = select_package(model, bundled_or(repository))
    # A file that cannot be edited is told before a minute is spent on measuring, not after.
    plan_edit(package, {"instances": {"count": 1, "threads": 1}, "batching": {"max_rows": 1}})
    if write:
        _check_writable(package, named=repository is not None or "/" in model)
    source = _Source(read_settings(), data, format, text_column)
    plan = plan_sweep(package, slo_s=slo_s, budget_s=budget_s, max_rows=max_rows)
    try:
        tuning = _sweep(plan, source)
    except WrongColumns as error:
        raise typer.BadParameter(error.message, param_hint="--text-column") from None
    edit = _edit(tuning, deadline=deadline)
    written, failure = False, None
    if write and edit is not None and edit.needed and not tuning.interrupted:
        try:
            edit.write()
            written = True
        except OperatorError as error:
            failure = error  # once what was measured has been shown
    if as_json:
        show_json(tuning_document(tuning, edit, written=written))
    else:
        show_tuning(tuning, edit, all_points=all_points, written=written)
    if plot is not None:
        _draw(tuning, plot)
    if failure is not None:
        raise failure
    if tuning.interrupted:
        tell("interrupted: this is what was measured by then, and nothing was written")
        raise typer.Exit(130)
    if tuning.chosen is None:
        tell(f"augury: {nothing_fits(tuning)}")
        raise typer.Exit(1)


@dataclass
class _Source:
    """Where the rows come from."""

    settings: Settings
    data: Path | None
    format: Format | None
    text_column: str | None

    def read(self, servable: ModelServable) -> Sample:
        from augury.app.local.rows import format_of
        from augury.app.local.tuning.sample import read_examples, read_file

        if self.data is None:
            return read_examples(servable)
        return read_file(
            servable,
            self.data,
            self.format or format_of(self.data) or "jsonl",
            self.text_column,
            max_line_bytes=self.settings.max_body_bytes,
        )


def _seconds(text: str, option: str, bounds: tuple[float, float]) -> float:
    match = _TIME.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(
            f"{text[:40]!r} is no time; say 50ms, 0.5s or 2min", param_hint=option
        )
    seconds = float(match[1]) * _UNITS[match[2] or "s"]
    low, high = bounds
    if not low <= seconds <= high:
        raise typer.BadParameter(
            f"{text[:40]!r} is not between {low:g} s and {high:g} s", param_hint=option
        )
    return seconds


def _check_plot(file: Path) -> None:
    """Refuse before a minute is spent on measuring; a file that is there stays as it is."""
    try:
        there = file.exists()
        with file.open("ab"):
            pass
        if not there:
            file.unlink()
    except OSError as error:
        raise typer.BadParameter(
            f"cannot write {str(file)!r}: {error.strerror}", param_hint="--plot"
        ) from None


def _check_writable(package: ModelPackage, *, named: bool) -> None:
    """Refuse before anything is measured."""
    from augury.app.build import bundled_repository
    from augury.app.local.tuning.edit import plan_edit, why_not_writable
    from augury.core.errors import OperatorError

    file = plan_edit(package, {"instances": {}, "batching": {}}).file
    if not named and package.path.is_relative_to(bundled_repository()):
        raise OperatorError(
            f"{package.name} is part of the installed package, where an update would overwrite it; copy "
            f"its folder into a repository of your own, or name it: augury tune {file.parent} --write"
        )
    reason = why_not_writable(file)
    if reason:
        raise OperatorError(f"{reason}; without --write it is shown what would be written")


def _sweep(plan: Plan, source: _Source) -> Tuning:
    from augury.app.local.tuning.chart import told
    from augury.app.local.tuning.sweep import Sweep

    points = len(plan.layouts) * len(plan.rows)
    tell(
        f"{plan.package.name} {plan.package.version} on {count(plan.cores, 'core')}: up to "
        f"{count(points, 'setting')} ({count(len(plan.layouts), 'layout')} × "
        f"{count(len(plan.rows), 'batch size')}), {duration(plan.budget_s)} at most; "
        f"answers within {told(plan.slo_s)}"
    )
    with Bar(f"Loading {plan.package.name}", points) as bar:
        done_so_far = 0

        def on_done(done: int, best: Point | None) -> None:
            nonlocal done_so_far
            bar.advance(done - done_so_far, _best_told(best))
            done_so_far = done

        def on_begin(what: str) -> None:
            nonlocal done_so_far
            done, done_so_far = done_so_far, 0
            bar.begin(f"Measuring {what}", points)
            on_done(done, None)

        return Sweep(plan, source.read, on_begin, on_done).run()


def _best_told(best: Point | None) -> str:
    if best is None:
        return ""
    return f"{best.layout}, {count(best.rows, 'row')}: {best.rows_per_s:,.0f} rows/s"


def _edit(tuning: Tuning, *, deadline: bool) -> Edit | None:
    """What is to be written; ``None`` when nothing was chosen."""
    from augury.app.local.tuning.edit import plan_edit
    from augury.app.local.tuning.plan import changes_for

    chosen = tuning.chosen
    if chosen is None:
        return None
    plan = tuning.plan
    fixed = plan.fixed_rows is not None
    changes = changes_for(
        chosen, plan.slo_s, plan.package.manifest.batching, fixed=fixed, deadline=deadline
    )
    return plan_edit(plan.package, changes)


def _draw(tuning: Tuning, file: Path) -> None:
    from augury.app.local.tuning.chart import draw_html, draw_svg, told
    from augury.core.errors import OperatorError

    plan = tuning.plan
    title = f"{plan.package.name} {plan.package.version}: answers within {told(plan.slo_s)}"
    about = (
        f"{count(plan.cores, 'core')}, {count(len(tuning.sample.pieces), 'row')} of "
        f"{tuning.sample.source}; a line for each instances × threads, the numbers are rows of a batch"
    )
    text = draw_svg(tuning.points, slo_s=plan.slo_s, chosen=tuning.chosen, title=title, about=about)
    if file.suffix.lower() == ".html":
        table = [HEAD, *(tuning_cells(tuning, point) for point in tuning.points)]
        text = draw_html(text, title=title, table=table, notes=tuning_notes(tuning))
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"cannot write {str(file)!r}: {error.strerror}") from None
