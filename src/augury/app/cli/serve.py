"""``augury serve``."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from augury.app.cli.terminal import ConfigOption

_started_s = time.monotonic()


class App(StrEnum):
    """The applications that ship in the package."""

    TWEETS = "tweets"


class ModelControl(StrEnum):
    """How the repository's changes are taken over."""

    POLL = "poll"
    NONE = "none"


def serve(
    repository: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of models: NAME/VERSION/model.onnx. Without it, the bundled tweet "
            "application is served.",
            show_default=False,
        ),
    ] = None,
    *,
    app: Annotated[list[App] | None, typer.Option(help="Add a bundled application.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(help="Port for HTTP; 0: any free one.", show_default="8000", min=0, max=65535),
    ] = None,
    model_control: Annotated[
        ModelControl | None,
        typer.Option(
            help="poll: take over what changes in the repository; none: load it once.",
            show_default="poll",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where predictions are remembered: memory:// or sqlite:///path.",
            show_default="sqlite:///augury-data/store.sqlite3",
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Serve a model repository, or the bundled tweet application, until told to stop.

    Example: `augury serve ./models --http-port 8080`
    """
    # What only the server needs is imported here, so that the other verbs start quickly.
    import uvloop

    from augury.app.environment import given_names, unread
    from augury.app.settings import read_settings

    settings = read_settings(
        config, host=host, http_port=http_port, model_control=model_control, store=store
    )
    from augury.app.listen import listen

    passed_over = unread(given_names())
    uvloop.run(listen(settings, repository, tuple(app or ()), _started_s, passed_over))
