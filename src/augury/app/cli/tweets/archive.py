"""``augury tweets import``: tweets that need not be asked of X."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augury.app.cli.terminal import Bar, ConfigOption, count, quiet_logs, show_json
from augury.app.cli.tweets.session import (
    JsonOption,
    StoreOption,
    faults_as_json,
    lasting_settings,
    open_lasting,
    shown_store,
    tell_faults,
)

if TYPE_CHECKING:
    from augury.app.settings import Settings
    from augury.services.tweets.sources.archive import ImportReport


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="tweets.js from X's archive, the archive itself (folder or .zip), or JSON lines.",
            exists=True,
            show_default=False,
        ),
    ],
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import tweets that you downloaded from X, so that their sentiment can be asked for.

    Entries that cannot be read are told with their line, and the exit code is 1; the others are kept.

    Example: `augury tweets import twitter-archive.zip`
    """
    quiet_logs()
    settings = lasting_settings(config, store)
    report = asyncio.run(_import(file, settings))
    if as_json:
        show_json(
            {
                "imported": report.imported,
                "skipped": report.skipped,
                "faulty": report.faulty,
                "faults": faults_as_json(report.faults),
                "store": shown_store(settings),
            }
        )
    else:
        tell_faults(report.faults, report.faulty)
        skipped = f", {count(report.skipped, 'entry', 'entries')} skipped" if report.skipped else ""
        typer.echo(
            f"{count(report.imported, 'tweet')} imported into {shown_store(settings)}{skipped}"
        )
    if report.faulty:
        raise typer.Exit(1)


async def _import(file: Path, settings: Settings) -> ImportReport:
    from augury.services.tweets.sources.archive import import_tweets
    from augury.services.tweets.sources.archive_files import read_archive

    async with open_lasting(settings) as store:
        with Bar("importing") as bar:
            return await import_tweets(read_archive(file), store, bar.advance)
