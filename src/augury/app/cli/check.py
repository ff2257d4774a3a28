"""``augury check``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury.app.cli.terminal import Bar, count, quiet_logs, show_json, tell

if TYPE_CHECKING:
    from augury.app.local.inspection import ModelReport
    from augury.features.tables import FeatureTable


def check(
    path: Annotated[
        Path,
        typer.Argument(
            help="A repository, a model's folder, or one version's folder.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ],
    *,
    store: Annotated[
        str | None,
        typer.Option(
            help="A store, to compare [features] with the feature tables there.",
            show_default="none",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as JSON.")] = False,
) -> None:
    """Load models as the server would, run their examples, and tell every fault with file and line.

    Exit code 1 when there is a fault; warnings do not count.

    Example: `augury check ./models`
    """
    quiet_logs()
    from augury.app.local.inspection import inspect_path

    tables = None if store is None else asyncio.run(_tables(store))
    with Bar("Checking") as bar:
        reports = list(inspect_path(path, lambda what: bar.begin(f"Checking {what}"), tables))
    if as_json:
        show_json(_document(path, reports))
    else:
        _print(reports)
    if any(report.faults for report in reports):
        raise typer.Exit(1)


async def _tables(url: str) -> dict[str, FeatureTable]:
    from augury.app.local.lasting import lasting_settings, open_lasting
    from augury.features.catalogue import Catalogue

    async with open_lasting(lasting_settings(None, store=url), tell) as store:
        return {table.name: table for table in await Catalogue(store).all()}


def _document(path: Path, reports: list[ModelReport]) -> dict[str, Any]:
    return {
        "path": str(path),
        "ok": not any(report.faults for report in reports),
        "models": [
            {
                "name": report.name or None,
                "path": str(report.path),
                "versions": report.versions,
                "examples": report.examples,
                "faults": [
                    {
                        "path": fault.details["path"],
                        "line": fault.details["line"],
                        "message": fault.fault,
                    }
                    for fault in report.faults
                ],
                "warnings": report.warnings,
            }
            for report in reports
        ],
    }


def _print(reports: list[ModelReport]) -> None:
    for report in reports:
        mark = typer.style("✗", fg="red") if report.faults else typer.style("✓", fg="green")
        facts = []
        if report.versions:
            facts.append(f"version {', '.join(map(str, report.versions))}")
        if report.examples:
            facts.append(count(report.examples, "example"))
        name = typer.style(report.name or str(report.path), bold=True)
        typer.echo(f"{mark} {name}  {' · '.join(facts)}".rstrip())
        for fault in report.faults:
            typer.echo(f"  {typer.style('fault', fg='red')}    {fault.message}")
        for warning in report.warnings:
            typer.echo(f"  {typer.style('warning', fg='yellow')}  {warning}")
    models = sum(bool(report.name) for report in reports)
    faults = sum(len(report.faults) for report in reports)
    warnings = sum(len(report.warnings) for report in reports)
    typer.echo(f"{count(models, 'model')}: {count(faults, 'fault')}, {count(warnings, 'warning')}")
