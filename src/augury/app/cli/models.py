"""``augury models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury.app.cli.terminal import (
    Bar,
    RepositoryOption,
    bundled_or,
    count,
    quiet_logs,
    show_json,
    tell,
)

if TYPE_CHECKING:
    from augury.app.local.listing import ListedModel, ListedVersion

_STATE_COLOURS = {"ready": "green", "failed": "red"}


def models(
    *,
    repository: RepositoryOption = None,
    url: Annotated[
        str | None,
        typer.Option(help="Ask a running server instead, like http://127.0.0.1:8000."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell it as JSON.")] = False,
) -> None:
    """List the models of a repository, without loading them, or those of a running server.

    Example: `augury models --repository ./models`
    """
    quiet_logs()
    if url is not None:
        if repository is not None:
            raise typer.BadParameter("is not for a server's models", param_hint="--repository")
        _show_served(url, as_json=as_json)
        return
    from dataclasses import asdict

    from augury.app.local.listing import list_models

    root = bundled_or(repository)
    with Bar("Reading"):
        listed, warnings = list_models(root)
    if as_json:
        show_json({"repository": str(root), "models": [asdict(model) for model in listed]})
    elif listed:
        for model in listed:
            _show_model(model)
        typer.echo("● served  ○ on disk, but not chosen by [versions]")
    else:
        tell(f"no models in {root}")
    for warning in warnings:
        tell(f"warning: {warning}")


def _show_model(model: ListedModel) -> None:
    newest = model.versions[0]
    typer.echo(f"{typer.style(model.name, bold=True)}  {newest.description}".rstrip())
    for version in model.versions:
        facts = [typer.style(version.fault, fg="red")] if version.fault else _facts(version)
        name = " ".join([str(version.version), *version.labels])
        typer.echo(f"  {'●' if version.served else '○'} {name}  {'  '.join(facts)}")


def _facts(version: ListedVersion) -> list[str]:
    facts = [
        version.runtime or "",
        size_text(version.size_bytes),
        count(version.examples, "example"),
    ]
    if version.macro_recall:
        # One is enough here, the last that the record has; --json tells all.
        name, value = list(version.macro_recall.items())[-1]
        facts.append(f"macro recall {value:.3f} ({name})")
    return facts


def size_text(size_bytes: int) -> str:
    """Bytes as people read them.

    >>> size_text(0), size_text(23_491_568)
    ('0 B', '22.4 MiB')
    """
    size, units = float(size_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.1f} {units[0]}"


def _show_served(url: str, *, as_json: bool) -> None:
    from augury.app.local.listing import ask_server

    with Bar(f"Asking {url}"):
        document = ask_server(url)
    if as_json:
        show_json(document)
    elif document["models"]:
        for model in document["models"]:
            _show_served_model(model)
        typer.echo("● answers when no version is named")
    else:
        tell(f"{url} serves no models")


def _show_served_model(model: dict[str, Any]) -> None:
    typer.echo(f"{typer.style(model['name'], bold=True)}  {model['description']}".rstrip())
    for version in model["versions"]:
        mark = "●" if version["version"] == model["default_version"] else " "
        name = " ".join([version["version"], *version["labels"]])
        state = typer.style(version["state"], fg=_STATE_COLOURS.get(version["state"], "yellow"))
        facts = [state, version["runtime"] or ""]
        if version["instances"]:
            facts.append("{count} × {threads} threads".format(**version["instances"]))
        if version["reason"]:
            facts.append(version["reason"])
        typer.echo(f"  {mark} {name}  {'  '.join(fact for fact in facts if fact)}")
