"""``augury tweets import``: tweets that need not be asked of X."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from augury.app.cli.terminal import Bar, ConfigOption, count, quiet_logs, show_json, tell

if TYPE_CHECKING:
    from augury.app.settings import Settings
    from augury.services.tweets.sources.archive import ImportReport

# Faults that are shown one by one; the others are only counted.
_SHOWN_FAULTS = 10

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def root() -> None:
    """Tweets that are kept in the store, so that X need not be asked for them."""


@app.command("import")
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
    store: Annotated[
        str | None,
        typer.Option(
            help="The store to write to; the server's must be the same.",
            show_default="sqlite:///augury-data/store.sqlite3",
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as JSON.")] = False,
) -> None:
    """Import tweets that you downloaded from X, so that their sentiment can be asked for.

    Entries that cannot be read are told with their line, and the exit code is 1; the others are kept.

    Example: `augury tweets import twitter-archive.zip`
    """
    quiet_logs()
    from augury.app.settings import read_settings
    from augury.core.errors import InvalidSetting

    settings = read_settings(config, store=store)
    if settings.store.startswith("memory:"):
        raise InvalidSetting(
            f"{settings.store} is forgotten when this command ends; "
            "import into a store that stays, like sqlite:///augury-data/store.sqlite3 (--store)"
        )
    report = asyncio.run(_import(file, settings))
    if as_json:
        faults = [{"line": fault.line, "message": fault.message} for fault in report.faults]
        show_json(
            {
                "imported": report.imported,
                "skipped": report.skipped,
                "faulty": report.faulty,
                "faults": faults,
                "store": settings.store,
            }
        )
    else:
        for fault in report.faults[:_SHOWN_FAULTS]:
            tell(f"{fault.file}:{fault.line}: {fault.message}")
        if report.faulty > _SHOWN_FAULTS:
            tell(f"and {count(report.faulty - _SHOWN_FAULTS, 'more fault')}")
        skipped = f", {count(report.skipped, 'entry', 'entries')} skipped" if report.skipped else ""
        typer.echo(f"{count(report.imported, 'tweet')} imported into {settings.store}{skipped}")
    if report.faulty:
        raise typer.Exit(1)


async def _import(file: Path, settings: Settings) -> ImportReport:
    from augury.core.clock import SystemClock
    from augury.services.tweets.sources.archive import import_tweets
    from augury.services.tweets.sources.archive_files import read_archive
    from augury.stores.registry import open_store

    def corrupt(kept: Path, fault: str) -> None:
        tell(f"the store was damaged ({fault}); it is kept aside as {kept}, a fresh one was begun")

    store = await open_store(settings.store, clock=SystemClock(), on_corrupt=corrupt)
    try:
        with Bar("importing") as bar:
            return await import_tweets(read_archive(file), store, bar.advance)
    finally:
        await store.close()
