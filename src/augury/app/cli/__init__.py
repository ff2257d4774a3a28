"""The command ``augury``: one file for each verb.

A failure that a person can act on is one line on stderr and exit code 1; a wrong use is exit code 2.
"""

from __future__ import annotations

import sys

import typer

import augury
from augury.app.cli import serve
from augury.core.errors import AuguryError

app = typer.Typer(
    name="augury",
    help="Put a trained model into production and keep it healthy there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("serve")(serve.serve)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(augury.__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Put a trained model into production and keep it healthy there."""


def main() -> None:
    """Run the command line; what it raises becomes an exit code and one line."""
    try:
        app()
    except AuguryError as error:
        typer.echo(f"augury: {error.message}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`augury predict … | head`); that is no failure.
        sys.stderr.close()
        sys.exit(0)
