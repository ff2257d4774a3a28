"""``augury keys``: make, list and revoke API keys, and hash the superuser's password."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury.app.cli.terminal import ConfigOption, quiet_logs, show, show_json, tell

if TYPE_CHECKING:
    from augury.app.settings import Settings
    from augury.edge.auth.key_ring import KeyRing
    from augury.edge.auth.keys import NewKey

# Longer than any password that a person has.
_MAX_PASSWORD_CHARACTERS = 512

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

StoreOption = Annotated[
    str | None,
    typer.Option(
        help="The store that knows the keys; the server's must be the same.",
        show_default="sqlite:///augury-data/store.sqlite3",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]


@app.callback()
def root() -> None:
    """API keys: what a program shows to be let in, with scopes, an end and a quota."""


@app.command()
def create(
    *,
    scope: Annotated[
        str,
        typer.Option(
            help="What it may do: predict, read, admin, with commas; admin includes the others.",
            show_default=False,
        ),
    ],
    expires: Annotated[
        str, typer.Option(help="When it ends: 30m, 12h, 90d, 52w, 2y or never.")
    ] = "90d",
    name: Annotated[str, typer.Option(help="What it is for.", show_default=False)] = "",
    rows_per_minute: Annotated[
        int | None,
        typer.Option(
            help="Rows that it may ask for in a minute, of each server.",
            show_default="no limit",
            min=1,
        ),
    ] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, this once: only a seal of it is kept.

    Example: `augury keys create --scope predict,read --expires 90d --name ci`
    """
    from augury.core.errors import InvalidInput
    from augury.edge.auth.keys import scopes_of, seconds_of, shown

    try:
        scopes = scopes_of([word.strip() for word in scope.split(",") if word.strip()])
        life_s = seconds_of(expires)
    except InvalidInput as error:
        raise typer.BadParameter(error.message) from None
    settings = _settings(store, config)

    async def make() -> NewKey:
        from augury.app.access import secret_key_of
        from augury.app.local.audit import write_down

        secret_key = secret_key_of(settings).read_or_make()
        async with _ring(settings) as ring:
            made = await ring.create(
                secret_key, scopes=scopes, name=name, life_s=life_s, rows_per_minute=rows_per_minute
            )
            try:
                write_down(
                    settings,
                    "key created",
                    targets={"id": made.record.id},
                    scopes=",".join(scopes),
                )
            except BaseException:
                await ring.revoke(made.record.id)  # what is not written down has not happened
                raise
            return made

    made = asyncio.run(make())
    facts = shown(made.record, made.record.created_s, None)
    if as_json:
        show_json({"key": made.text, **facts})
        return
    typer.echo(made.text)
    until = f"until {facts['expires']}" if facts["expires"] else "without an end"
    quota = f", {rows_per_minute:,} rows a minute" if rows_per_minute else ""
    tell(f"key {made.record.id} ({', '.join(scopes)}{quota}) {until}; it is not shown again")


@app.command("list")
def list_(
    *, store: StoreOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List all keys: who may do what, until when, and when each was used last.

    Example: `augury keys list --json`
    """
    from augury.core.clock import SystemClock
    from augury.edge.auth.keys import shown

    settings = _settings(store, config)

    async def read() -> list[Any]:
        async with _ring(settings) as ring:
            return await ring.list()

    now_s = SystemClock().time()
    keys = [shown(record, now_s, used) for record, used in asyncio.run(read())]
    if as_json:
        show_json({"keys": keys})
        return
    if not keys:
        tell("no key; make one with: augury keys create --scope predict,read")
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "name", "scopes", "created", "expires", "rows/min", "last used", box=None)
    for key in keys:
        expires = (key["expires"] or "never")[:10]
        table.add_row(
            key["id"],
            escape(key["name"]),
            ",".join(key["scopes"]),
            key["created"][:10],
            expires if key["status"] == "active" else f"[red]{expires} expired[/]",
            str(key["rows_per_minute"] or "—"),
            key["last_used"] or "—",
        )
    show(table)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="Of the key, as `list` shows it.", show_default=False)],
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: every server refuses it within 5 seconds.

    Example: `augury keys revoke 3f9a0c51d2e4`
    """
    settings = _settings(store, config)

    async def remove() -> None:
        from augury.app.local.audit import written_down

        async with _ring(settings) as ring:
            await ring.expect(id)
            with written_down(settings, "keys revoke", {"id": id}):
                await ring.revoke(id)

    asyncio.run(remove())
    if as_json:
        show_json({"id": id, "revoked": True})
    else:
        typer.echo(f"key {id} is revoked")


@app.command("hash-password")
def hash_password_(*, as_json: JsonOption = False) -> None:
    """Hash the superuser's password, read from the terminal or from a pipe, never from arguments.

    The hash goes where the password would: FIRST_SUPERUSER_PASSWORD, in single quotes.

    Example: `augury keys hash-password`
    """
    from augury.app.access import weakness
    from augury.core.errors import InvalidInput
    from augury.edge.auth.passwords import hash_password, is_hash

    password = _read_password()
    if not password or is_hash(password) or not password.isprintable():
        raise InvalidInput("a password has printable characters, and is not a hash already")
    if (why := weakness(password)) is not None:
        raise InvalidInput(f"this password {why}")
    hashed = hash_password(password)
    if as_json:
        show_json({"hash": hashed})
    else:
        typer.echo(hashed)


def _settings(store: str | None, config: Path | None) -> Settings:
    quiet_logs()
    from augury.app.local.lasting import lasting_settings

    return lasting_settings(config, store=store)


@asynccontextmanager
async def _ring(settings: Settings) -> AsyncIterator[KeyRing]:
    from augury.app.local.lasting import open_lasting
    from augury.core.clock import SystemClock
    from augury.edge.auth.key_ring import KeyRing

    async with open_lasting(settings, tell) as store:
        yield KeyRing(store, SystemClock())


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(_MAX_PASSWORD_CHARACTERS + 1).rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != first:
        from augury.core.errors import InvalidInput

        raise InvalidInput("the two are not the same")
    return first
