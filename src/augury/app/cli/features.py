"""``augury features``: feature tables, from definition to training set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury.app.cli.terminal import Bar, ConfigOption, count, quiet_logs, show_json, tell

if TYPE_CHECKING:
    from augury.app.settings import Settings
    from augury.features.tables import FeatureTable
    from augury.features.writing import WriteReport

# Faults that are shown one by one; the others are only counted.
_SHOWN_FAULTS = 10

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

TableArgument = Annotated[
    str, typer.Argument(help="The table's name.", show_default=False, metavar="TABLE")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        help="The store; the server's must be the same.",
        show_default="sqlite:///augury-data/store.sqlite3",
    ),
]
HistoryOption = Annotated[
    Path | None,
    typer.Option(
        "--history-folder",
        help="Folder of the history.",
        show_default="augury-data/features",
        file_okay=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]


@app.callback()
def root() -> None:
    """Feature tables: what is known of an entity at a moment, for serving and for training."""


@app.command("define")
def define(
    file: Annotated[
        Path,
        typer.Argument(
            help="The definition, TOML.", exists=True, dir_okay=False, show_default=False
        ),
    ],
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Define a feature table, or add features to one.

    What is already defined keeps its entity, datatypes and shapes; another table needs another name.

    Example: `augury features define author_stats.toml`
    """
    from augury.app.local.lasting import open_lasting
    from augury.features.catalogue import Catalogue, describe
    from augury.features.tables import read_definition

    definition = read_definition(file)
    settings = _settings(config, store)

    async def work() -> tuple[FeatureTable, bool]:
        async with open_lasting(settings, tell) as opened:
            return await Catalogue(opened).define(definition)

    table, changed = asyncio.run(work())
    if as_json:
        show_json({**describe(table), "changed": changed})
    else:
        done = "defined" if changed else "is defined so already"
        typer.echo(f"{table.name} {done}: {count(len(table.features), 'feature')}")


@app.command("write")
def write(
    name: TableArgument,
    file: Annotated[
        Path,
        typer.Argument(
            help="Rows: .csv, .tsv, .jsonl or .parquet, with the key columns, event_time and features.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    *,
    utc: Annotated[bool, typer.Option("--utc", help="Times without an offset are UTC.")] = False,
    online_only: Annotated[
        bool, typer.Option("--online-only", help="Keep no history (needs no extra).")
    ] = False,
    store: StoreOption = None,
    history_folder: HistoryOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write rows to a table: into the history, and the newest of each entity into the store.

    An older event never replaces a newer one, in whatever order they come; the same file may be
    written again.  Rows that do not fit are told with their line and the exit code is 1; the others
    are written.

    Example: `augury features write author_stats stats.csv`
    """
    from augury.app.local.feature_rows import count_rows
    from augury.app.local.features import write_file
    from augury.app.local.lasting import open_lasting

    settings = _settings(config, store, history_folder)

    async def work() -> WriteReport:
        async with open_lasting(settings, tell) as opened:
            with Bar(f"writing {name}", count_rows(file)) as bar:
                return await write_file(
                    opened,
                    name,
                    file,
                    settings,
                    utc=utc,
                    online_only=online_only,
                    on_progress=bar.advance,
                )

    report = asyncio.run(work())
    if as_json:
        faults = [
            {"row": one.row, "column": one.column or None, "message": one.message}
            for one in report.faults
        ]
        show_json(
            {
                "rows": report.rows,
                "written": report.written,
                "changed": report.changed,
                "faulty": report.faulty,
                "faults": faults,
            }
        )
    else:
        for fault in report.faults[:_SHOWN_FAULTS]:
            column = f"{fault.column}: " if fault.column else ""
            tell(f"{file}:{fault.row}: {column}{fault.message}")
        if report.faulty > _SHOWN_FAULTS:
            tell(f"and {count(report.faulty - _SHOWN_FAULTS, 'more fault')}")
        typer.echo(
            f"{count(report.written, 'row')} written to {name}, "
            f"{count(report.changed, 'online value')} new"
        )
    if report.faulty:
        raise typer.Exit(1)


@app.command("read")
def read(
    name: TableArgument,
    *,
    entity: Annotated[
        list[str],
        typer.Option(help="KEY=VALUE, one for each key column of the table.", show_default=False),
    ],
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what the table has of an entity, as a request would get it.

    Exit code 1 when it has nothing; the defaults are told all the same.

    Example: `augury features read author_stats --entity author_id=7`
    """
    from augury.app.local.features import WrongUse, read_entity
    from augury.app.local.lasting import open_lasting

    settings = _settings(config, store)
    given = _pairs(entity, "--entity")

    async def work() -> dict[str, Any]:
        async with open_lasting(settings, tell) as opened:
            return await read_entity(opened, name, given)

    try:
        found = asyncio.run(work())
    except WrongUse as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        show_json(found)
    else:
        from augury.app.cli.terminal import show

        show(_table_of_values(found))
        if not found["found"]:
            tell(f"{name} has nothing of this entity, or it has expired; these are the defaults")
    if not found["found"]:
        raise typer.Exit(1)


@app.command("history")
def history(
    tables: Annotated[
        list[str],
        typer.Argument(
            help="TABLE, or TABLE:FEATURE,FEATURE for some of its features.",
            show_default=False,
            metavar="TABLE…",
        ),
    ],
    *,
    entities: Annotated[
        Path,
        typer.Option(
            help="Rows to which the features are joined: .parquet, .csv, .tsv or .jsonl.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help=".parquet, .csv or .jsonl.", dir_okay=False, show_default=False
        ),
    ],
    timestamp: Annotated[str, typer.Option(help="Their column of moments.")] = "timestamp",
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=COLUMN or TABLE.KEY=COLUMN, where a key column is called otherwise.",
            show_default=False,
        ),
    ] = None,
    as_known: Annotated[
        bool,
        typer.Option("--as-known", help="Leave out what was written later than the moment."),
    ] = False,
    utc: Annotated[bool, typer.Option("--utc", help="Times without an offset are UTC.")] = False,
    no_defaults: Annotated[
        bool, typer.Option("--no-defaults", help="Leave empty what is missing.")
    ] = False,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="Call the new columns TABLE__FEATURE.")
    ] = False,
    event_times: Annotated[
        bool, typer.Option("--event-times", help="Also tell when it was so: TABLE__event_time.")
    ] = False,
    store: StoreOption = None,
    history_folder: HistoryOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Join features to rows as they were at each row's moment, for training.

    For each row the latest event at or before its moment counts, to the microsecond, if it has not
    expired by then: never a value from the future.  The rows keep their order.

    Example: `augury features history author_stats --entities labels.parquet --output train.parquet`
    """
    from augury.app.local.features import WrongUse, find_tables, join_file
    from augury.app.local.lasting import open_lasting
    from augury.features.asof import JoinOptions

    settings = _settings(config, store, history_folder)
    options = JoinOptions(
        timestamp=timestamp,
        as_known=as_known,
        assume_utc=utc,
        defaults=not no_defaults,
        prefix=prefix,
        event_times=event_times,
    )
    columns = _pairs(key or [], "--key")

    async def work() -> int:
        async with open_lasting(settings, tell) as opened:
            found = await find_tables(opened, tables)
        with Bar("joining"):
            how = (settings.features_history, options)
            return await join_file(found, columns, entities, output, how)

    try:
        rows = asyncio.run(work())
    except WrongUse as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        show_json({"rows": rows, "output": str(output)})
    else:
        typer.echo(f"{count(rows, 'row')} written to {output}")


@app.command("list")
def list_(
    *, store: StoreOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List the feature tables of a store.

    Example: `augury features list`
    """
    from augury.app.local.lasting import open_lasting
    from augury.features.catalogue import Catalogue, describe

    async def work() -> list[FeatureTable]:
        async with open_lasting(settings, tell) as opened:
            return await Catalogue(opened).all()

    settings = _settings(config, store)
    tables = asyncio.run(work())
    if as_json:
        show_json({"tables": [describe(table) for table in tables]})
    elif not tables:
        typer.echo("no feature table is defined in this store")
    for table in [] if as_json else tables:
        keys = ", ".join(table.entity)
        facts = f"{count(len(table.features), 'feature')} by {keys}"
        typer.echo(f"{table.name}  {facts}  {table.description}".rstrip())


@app.command("show")
def show_table(
    name: TableArgument,
    *,
    store: StoreOption = None,
    history_folder: HistoryOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a table holds, and how much of it.

    Example: `augury features show author_stats`
    """
    from augury.app.local.lasting import open_lasting
    from augury.features.catalogue import Catalogue, describe
    from augury.features.history import history_files

    settings = _settings(config, store, history_folder)

    async def work() -> tuple[FeatureTable, int]:
        async with open_lasting(settings, tell) as opened:
            catalogue = Catalogue(opened)
            table = await catalogue.get(name)
            return table, await catalogue.count_rows(table)

    table, rows = asyncio.run(work())
    files = history_files(settings.features_history, table)
    document = {**describe(table), "online_rows": rows, "history_files": len(files),
                "history_bytes": sum(one.stat().st_size for one in files)}  # fmt: skip
    if as_json:
        show_json(document)
        return
    typer.echo(f"{table.name}  {table.description}".rstrip())
    for key, datatype in table.entity.items():
        typer.echo(f"  key      {key}  {datatype}")
    for spec in table.features.values():
        default = document["features"][spec.name]["default"]
        told = "" if default is None else f"  default {default!r}"
        typer.echo(f"  feature  {spec.name}  {spec.told}{told}  {spec.description}".rstrip())
    expiry = "never" if table.ttl_s is None else f"{table.ttl_s:,.15g} s after the event"
    typer.echo(f"  expires  {expiry}")
    typer.echo(f"  online   {count(rows, 'row')}")
    typer.echo(f"  history  {count(len(files), 'file')}, {document['history_bytes']:,} bytes")


@app.command("drop")
def drop(
    name: TableArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; nothing is asked.")] = False,
    keep_history: Annotated[
        bool, typer.Option("--keep-history", help="Leave the files of the history.")
    ] = False,
    store: StoreOption = None,
    history_folder: HistoryOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove a table: its definition, its online rows and its history.

    Example: `augury features drop author_stats --yes`
    """
    from augury.app.local.audit import written_down
    from augury.app.local.lasting import open_lasting
    from augury.features.catalogue import Catalogue
    from augury.features.history import drop_history

    settings = _settings(config, store, history_folder)
    if not yes:
        raise typer.BadParameter(
            f"this removes {name} with all its rows and cannot be undone; say --yes"
        )

    async def work() -> int:
        async with open_lasting(settings, tell) as opened:
            catalogue = Catalogue(opened)
            table = await catalogue.get(name)
            with written_down(settings, "features drop", {"table": name}):
                rows = await catalogue.drop(table)
                if not keep_history:
                    drop_history(settings.features_history, table)
            return rows

    typer.echo(f"{name} dropped, {count(asyncio.run(work()), 'online row')} removed")


@app.command("purge")
def purge(
    name: TableArgument,
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove the online rows of a table that have expired; requests do not see them anyway.

    Example: `augury features purge author_stats`
    """
    from augury.app.local.audit import written_down
    from augury.app.local.lasting import open_lasting
    from augury.core.clock import SystemClock
    from augury.features.catalogue import Catalogue, as_feature_store
    from augury.features.writing import purge as purge_table

    settings = _settings(config, store)

    async def work() -> int:
        async with open_lasting(settings, tell) as opened:
            table = await Catalogue(opened).get(name)
            with written_down(settings, "features purge", {"table": name}), Bar("purging") as bar:
                return await purge_table(
                    as_feature_store(opened), table, SystemClock(), bar.advance
                )

    typer.echo(f"{count(asyncio.run(work()), 'expired row')} of {name} removed")


def _settings(
    config: Path | None, store: str | None, history_folder: Path | None = None
) -> Settings:
    quiet_logs()
    from augury.app.local.lasting import lasting_settings

    return lasting_settings(config, store=store, features_history=history_folder)


def _pairs(given: Sequence[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"{option} {one[:80]!r}: write NAME=VALUE")
        if name in pairs:
            raise typer.BadParameter(f"{option}: {name} is given twice")
        pairs[name] = value
    return pairs


def _table_of_values(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table(title=None if found["event_time"] is None else f"as of {found['event_time']}")
    for name in ("feature", "value", ""):
        table.add_column(name)
    for name, value in found["values"].items():
        note = "default" if name in found["defaults"] else "missing" if value is None else ""
        table.add_row(name, "" if value is None else str(value), note)
    return table
