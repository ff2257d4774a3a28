"""Writes docs/reference/ from the code, so that no setting, metric, error, route or command stays untold.

`python docs/reference.py` writes the pages; tests/docs/test_reference.py fails when they are not what is committed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).with_name("reference")
MADE = (
    "<!-- Made by docs/reference.py from the code; change the code, then run `make docs`. -->\n\n"
)


def settings() -> str:
    """Every setting with its names, default and meaning."""
    from augury.app.settings import Settings

    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "—" if default is None else f"`{default}`"
        names = [f"AUGURY_{name.upper()}"]
        alias = field.validation_alias
        for choice in getattr(alias, "choices", []):
            if str(choice).isupper() and choice not in names:
                names.append(str(choice))
        rows.append(
            f"| `{name}` | {', '.join(f'`{one}`' for one in names)} | {shown} | {field.description} |"
        )
    return (
        "# Settings\n\n"
        + MADE
        + "They come, in this order, from flags, the environment, `.env`, `augury.toml` "
        'and the defaults. A file may say, for example:\n\n```toml\nhttp_port = 8080\nlog_format = "json"\n```\n\n'
        "| setting | environment | default | meaning |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def metrics() -> str:
    """Every metric with its labels and meaning."""
    from augury.observe.metrics import Metrics

    made = Metrics()
    rows = []
    for value in vars(made).values():
        name, kind = getattr(value, "_name", None), getattr(value, "_type", None)
        if name is None or kind is None:
            continue
        full = f"{name}_total" if kind == "counter" else name
        labels = ", ".join(f"`{label}`" for label in value._labelnames) or "—"
        rows.append(f"| `{full}` | {kind} | {labels} | {value._documentation} |")
    process = sorted(
        {
            metric.name
            for metric in made.registry.collect()
            if metric.name.startswith("augury_process_")
        }
    )
    return (
        "# Metrics\n\n"
        + MADE
        + "At `GET /metrics`, in base units.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n"
        + "\n".join(sorted(rows))
        + "\n\nOf the process: "
        + ", ".join(f"`{name}`" for name in process)
        + ".\n"
    )


def errors() -> str:
    """Every error code with its status and meaning."""
    from augury.core import errors as tree

    rows = []
    for _, kind in inspect.getmembers(tree, inspect.isclass):
        if issubclass(kind, tree.AuguryError) and kind is not tree.AuguryError:
            if issubclass(kind, tree.OperatorError):
                continue
            first = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
            retry = "yes" if kind.retryable else "no"
            rows.append((kind.status, f"| {kind.status} | `{kind.code}` | {retry} | {first} |"))
    return (
        "# Errors\n\n"
        + MADE
        + "Errors are `application/problem+json` (RFC 9457): `type` (a URN of the code), `title`, "
        "`status`, `detail` (what is wrong and what to do), `code` (stable), `retryable`, and the facts beside them. A row "
        "that fails alone carries the same in `error`.\n\n| status | code | retry helps | meaning |\n|---|---|---|---|\n"
        + "\n".join(row for _, row in sorted(set(rows)))
        + "\n"
    )


def commands() -> str:
    """The help of every command, as it is printed."""
    parts = ["# Commands\n\n" + MADE]
    parts += [
        f"## `{' '.join(['augury', *words])}`\n\n```text\n{_help(words)}\n```\n"
        for words in _verbs()
    ]
    return "\n".join(parts)


def _verbs() -> list[list[str]]:
    from typer.main import get_command

    from augury.app.cli import app

    found: list[list[str]] = [[]]

    def walk(command: Any, words: list[str]) -> None:
        for name, child in sorted(getattr(command, "commands", {}).items()):
            found.append([*words, name])
            walk(child, [*words, name])

    walk(get_command(app), [])
    return found


def _help(words: list[str]) -> str:
    command = [sys.executable, "-c", "from augury.app.cli import main; main()", *words, "--help"]
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "TERMINAL_WIDTH": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    for unwanted in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        environment.pop(unwanted, None)
    out = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout
    lines = [
        line.rstrip().replace("Usage: -c", "Usage: augury") for line in out.strip().splitlines()
    ]
    return "\n".join(lines).strip()


def model_toml() -> str:
    """Every table and key of model.toml, and every transform."""
    from augury.app.build import TWEET_MODEL, bundled_repository
    from augury.packages.manifest import Manifest
    from augury.pipeline.transforms.registry import TRANSFORMS

    example = (bundled_repository() / TWEET_MODEL / "model.toml").read_text(encoding="utf-8")
    parts = [
        "# model.toml\n\n"
        + MADE
        + "Every key may be left out, and so may the file. It lies beside the versions, or in a "
        "version's folder, whose keys win. The bundled model's:\n\n```toml\n" + example + "```\n"
    ]
    tables: list[tuple[str, Any]] = [("", Manifest)]
    for name, field in Manifest.model_fields.items():
        kind = field.annotation
        if inspect.isclass(kind) and hasattr(kind, "model_fields"):
            tables.append((f"[{name}]", kind))
    from augury.packages.manifest import ExampleTable, TensorTable, TransformTable

    tables += [
        ("[signature.inputs.NAME], [signature.outputs.NAME]", TensorTable),
        ("[[preprocess]], [[postprocess]]", TransformTable),
        ("[[examples]]", ExampleTable),
    ]
    for title, kind in tables:
        parts.append(f"## {'Top level' if not title else f'`{title}`'}\n")
        parts.append(" ".join((inspect.getdoc(kind) or "").replace("``", "`").split()) + "\n")
        parts.append(_keys(kind))
    parts.append("## Transforms\n")
    for name in TRANSFORMS.names():
        kind = TRANSFORMS.get(name)
        parts.append(f'### `use = "{name}"`\n')
        parts.append(" ".join((inspect.getdoc(kind) or "").replace("``", "`").split()) + "\n")
        parts.append(_keys(kind.Options))
    return "\n".join(parts)


def _keys(kind: Any) -> str:
    rows = ["| key | default | |", "|---|---|---|"]
    for name, field in kind.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default!r}`"
        if len(default) > 60 or "Table(" in default:
            default = "see its table"
        rows.append(f"| `{name}` | {default} | {field.description or ''} |")
    return "\n".join(rows) + "\n"


def routes() -> str:
    """Every HTTP route with what it does."""
    from augury.app.build import open_application
    from augury.app.settings import Settings

    async def document() -> dict[str, Any]:
        settings = Settings(store="memory://", x_bearer_token=None)
        async with open_application(settings, None, ()) as application:
            return application.api.openapi()

    rows = []
    for path, methods in sorted(asyncio.run(document())["paths"].items()):
        for method, operation in methods.items():
            rows.append(f"| `{method.upper()} {path}` | {operation.get('summary', '')} |")
    rows.append("| `GET /` | The page: type a text or a tweet's address |")
    rows.append("| `GET /docs`, `GET /openapi.json` | This API, typed |")
    return (
        "# Routes\n\n"
        + MADE
        + "As served with the bundled application; each model adds its own predict routes.\n\n"
        "| route | what it does |\n|---|---|\n" + "\n".join(dict.fromkeys(rows)) + "\n"
    )


PAGES = {
    "commands.md": commands,
    "errors.md": errors,
    "metrics.md": metrics,
    "model-toml.md": model_toml,
    "routes.md": routes,
    "settings.md": settings,
}


def main() -> None:
    """Write all pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
