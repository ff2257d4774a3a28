"""The command ``augury``: one file for each verb.

A failure that a person can act on is one line on stderr and exit code 1; a wrong use is exit code 2.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

import augury
from augury.app.cli import (
    bench,
    check,
    evaluate,
    features,
    keys,
    models,
    predict,
    serve,
    tune,
    tweets,
)
from augury.core.errors import AuguryError


class _ReaderGoneError(Exception):
    """Whoever read our output has left; Typer would make exit code 1 of a BrokenPipeError."""


class _Verbs(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise _ReaderGoneError from None


app = typer.Typer(
    name="augury",
    cls=_Verbs,
    help="Put a trained model into production and keep it healthy there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("serve")(serve.serve)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("check")(check.check)
app.command("models")(models.models)
app.command("bench")(bench.bench)
app.command("tune")(tune.tune)
app.add_typer(features.app, name="features")
app.add_typer(keys.app, name="keys")
app.add_typer(tweets.app, name="tweets")


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
    except _ReaderGoneError:
        # `augury predict … | head` is no failure.  What is still buffered goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except OSError as error:
        # A disk that is full, a file that cannot be read to its end: nothing that a traceback helps.
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"augury: {where}{error.strerror or error}", err=True)
        sys.exit(1)
