"""How ``augury tune`` tells what it found: a table, bars, notes, a diff, and the same as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import typer

from augury.app.cli.terminal import count, duration, show, tell

if TYPE_CHECKING:
    from rich.table import Table

    from augury.app.local.tuning.edit import Edit
    from augury.app.local.tuning.plan import Point
    from augury.app.local.tuning.sweep import Tuning

# Fewer rows than this are hardly the mixture of lengths that callers send.
_FEW_ROWS: Final = 16
_BAR_CELLS: Final = 28
# Others that take more of the cores than this spoil the numbers.
_OTHERS_PART: Final = 0.1


def show_tuning(tuning: Tuning, edit: Edit | None, *, all_points: bool, written: bool) -> None:
    """Print the table, bars, notes and what changes in ``model.toml``."""
    from augury.app.local.tuning.plan import best_of_each

    points = tuning.points if all_points else best_of_each(tuning.points, tuning.plan.slo_s)
    show(_table(tuning, points), *_curve(tuning))
    for note in tuning_notes(tuning):
        tell(note)
    if edit is None:
        return
    if not edit.needed:
        tell(f"{edit.file} says so already")
        return
    for line in edit.diff():
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        typer.echo(typer.style(line, fg=colour) if colour else line)
    if written:
        tell(
            f"written: {edit.file}; a server that runs already goes on as it was until it is restarted"
        )
    else:
        tell("not written; --write writes it")


def _table(tuning: Tuning, points: list[Point]) -> Table:
    from rich import box
    from rich.table import Table

    from augury.app.local.tuning.chart import told

    plan = tuning.plan
    table = Table(
        title=f"{plan.package.name} {plan.package.version}, answers within {told(plan.slo_s)}; "
        "layout is instances × threads",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in HEAD:
        table.add_column(name, justify="right")
    for point in points:
        chosen = point == tuning.chosen
        style = "bold green" if chosen else "" if point.fits(plan.slo_s) else "dim"
        table.add_row(*tuning_cells(tuning, point), style=style)
    return table


HEAD: Final = (
    "",
    "layout",
    "rows",
    "rows/s",
    "p50",
    "p99",
    "2 × p99",
    "memory",
    "in time",
)


def tuning_cells(tuning: Tuning, point: Point) -> list[str]:
    """The cells of a table's row, below :data:`HEAD`."""
    from augury.app.local.tuning.chart import told

    mark = "▶" if point == tuning.chosen else "now" if point == tuning.now else ""
    return [
        mark,
        str(point.layout),
        str(point.rows),
        f"{point.rows_per_s:,.0f}",
        told(point.p50_s),
        told(point.p99_s),
        told(point.latency_s),
        f"{point.memory_bytes / 2**20:,.0f} MiB",
        _verdict(point, tuning.plan.slo_s),
    ]


def _verdict(point: Point, slo_s: float) -> str:
    if point.failed:
        return "failed"
    if point.fits(slo_s):
        return "yes"
    return f"of {count(point.batches, 'batch')}" if point.promises(slo_s) else "no"


def _curve(tuning: Tuning) -> list[str]:
    """Bars: rows a second of the chosen layout by batch size."""
    from augury.app.local.tuning.chart import told
    from augury.app.local.tuning.plan import fastest

    shown = tuning.chosen or fastest(tuning.points)
    if shown is None:
        return []
    own = [point for point in tuning.points if point.layout == shown.layout]
    most = max(point.rows_per_s for point in own) or 1.0
    lines = [f"{shown.layout} threads, rows/s by rows of a batch"]
    for point in own:
        eighths = max(1, round(point.rows_per_s / most * _BAR_CELLS * 8))
        bar = "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
        verdict = _verdict(point, tuning.plan.slo_s)
        late = "" if verdict == "yes" else "  late" if verdict == "no" else f"  {verdict}"
        colour = "green" if point == tuning.chosen else "cyan" if not late else "red"
        lines.append(
            f"{point.rows:>6} [{colour}]{bar:<{_BAR_CELLS}}[/] {point.rows_per_s:>10,.0f}  "
            f"2 × p99 {told(point.latency_s):>7}{late}"
        )
    return [*lines, ""]


def tuning_notes(tuning: Tuning) -> list[str]:
    """What a reader of the numbers should know, a sentence each."""
    from augury.app.local.tuning.chart import told

    sample, plan, chosen, now = tuning.sample, tuning.plan, tuning.chosen, tuning.now
    rows = count(len(sample.pieces), "row")
    notes = [f"measured {rows} of {sample.source} in {tuning.seconds:.1f} s"]
    if sample.steps_row_s >= 1e-6 and plan.package.manifest.preprocess:
        notes[0] += (
            f"; the steps before the model take {told(sample.steps_row_s)} a row more, on the event loop"
        )
    if len(sample.pieces) < _FEW_ROWS:
        notes.append(
            f"{rows} repeated again and again: rows as callers send them (--data) would tell more"
        )
    if tuning.others_cores > _OTHERS_PART * plan.cores:
        notes.append(
            f"other programs took {tuning.others_cores:.1f} of {count(plan.cores, 'core')} meanwhile: "
            "tune again when the machine is quiet"
        )
    if sample.refused:
        notes.append(f"left out {count(sample.refused, 'row')}; the first, {sample.first_error}")
    if tuning.first_error:
        notes.append(f"some batches failed; the first: {tuning.first_error}")
    if tuning.skipped and not tuning.interrupted:
        notes.append(
            f"the budget of {duration(plan.budget_s)} ended before {', '.join(tuning.skipped)}"
        )
    if chosen is not None and now is not None and now != chosen:
        told_now = f"{now.rows_per_s:,.0f} rows/s, 2 × p99 {told(now.latency_s)}"
        notes.append(
            f"now {now.layout} threads and {count(now.rows, 'row')} a batch: {told_now}; "
            f"chosen: {chosen.rows_per_s:,.0f} rows/s, 2 × p99 {told(chosen.latency_s)}"
        )
    return notes


def nothing_fits(tuning: Tuning) -> str:
    """What is told when nothing was chosen."""
    from augury.app.local.tuning.chart import told
    from augury.app.local.tuning.plan import LEAST_BATCHES, fastest

    slo = told(tuning.plan.slo_s)
    quickest = fastest(tuning.points)
    if quickest is None:
        return f"nothing fits {slo}: batches of every setting failed"
    if few := [point for point in tuning.points if point.promises(tuning.plan.slo_s)]:
        most = max(point.batches for point in few)
        return (
            f"nothing is known to fit {slo}: {LEAST_BATCHES} batches of a setting are needed to tell, and the budget of "
            f"{tuning.plan.budget_s:g} s was enough for {most}; give more with --budget"
        )
    return (
        f"nothing fits {slo}; the fastest is {quickest.layout} threads with "
        f"{count(quickest.rows, 'row')} a batch: 2 × p99 is {told(quickest.latency_s)}"
    )


def tuning_document(tuning: Tuning, edit: Edit | None, *, written: bool) -> dict[str, Any]:
    """The same for programs."""
    from augury.app.local.tuning.plan import WAIT_FACTOR

    plan, sample = tuning.plan, tuning.sample
    chosen, now = tuning.chosen, tuning.now
    layout, rows = plan.current
    return {
        "model": plan.package.name,
        "version": plan.package.version,
        "slo_s": plan.slo_s,
        "rule": f"{WAIT_FACTOR:g} * p99_s <= slo_s",
        "cores": plan.cores,
        "budget_s": plan.budget_s,
        "seconds": tuning.seconds,
        "others_cores": None if math.isnan(tuning.others_cores) else tuning.others_cores,
        "complete": not (tuning.interrupted or tuning.skipped),
        "data": {
            "source": sample.source,
            "rows": len(sample.pieces),
            "refused": sample.refused,
            "first_error": sample.first_error or None,
            "steps_row_s": sample.steps_row_s,
        },
        "current": {"count": layout.count, "threads": layout.threads, "rows": rows},
        "current_point": None if now is None else _point(now, plan.slo_s),
        "chosen": None if chosen is None else _point(chosen, plan.slo_s),
        "points": [_point(point, plan.slo_s) for point in tuning.points],
        "skipped": tuning.skipped,
        "file": None if edit is None else str(edit.file),
        "changes": None if edit is None else edit.changes,
        "diff": None if edit is None else edit.diff(),
        "written": written,
    }


def _point(point: Point, slo_s: float) -> dict[str, Any]:
    return {
        "count": point.layout.count,
        "threads": point.layout.threads,
        "rows": point.rows,
        "batches": point.batches,
        "failed": point.failed,
        "rows_per_s": point.rows_per_s,
        "p50_s": point.p50_s,
        "p99_s": point.p99_s,
        "memory_bytes": point.memory_bytes,
        "fits": point.fits(slo_s),
    }
