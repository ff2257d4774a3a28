"""Writes docs/reference/, docs/settings.md and .env.example from the code, so that nothing stays untold.

`python docs/reference.py` writes the pages; tests/docs/test_reference.py fails when they are not what is committed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
MADE = (
    "<!-- Made by docs/reference.py from the code; change the code, then run `make docs`. -->\n\n"
)


# The settings by what a person looks for; a name or the beginning of one. The first that fits takes it.
GROUPS = (
    ("Where it listens", ("host", "http_port", "admin_port", "grpc_port", "client_", "allowed_")),
    (
        "Who may do what",
        ("first_superuser", "admin_token", "secret_key", "anonymous_", "audit_", "keys_", "auth_"),
    ),
    ("Models", ("model_", "ready_", "costs")),
    ("Store", ("store", "redis_", "features_", "feature_")),
    ("Prediction cache", ("cache_",)),
    ("Tweets", ("x_", "tweets_", "tweet_", "topics_", "authors_", "ledger_")),
    ("Dashboard", ("ui_", "dashboard_")),
    ("Bounds", ("max_",)),
    ("Logs", ("app_env", "log_")),
    ("Stopping", ("drain_",)),
    ("Other", ("",)),
)


def grouped() -> list[tuple[str, list[str]]]:
    """Every setting, once, in its group."""
    from augury.app.settings import Settings

    found: dict[str, list[str]] = {title: [] for title, _ in GROUPS}
    for name in Settings.model_fields:
        for title, starts in GROUPS:
            if any(_fits(name, start) for start in starts):
                found[title].append(name)
                break
    return [(title, names) for title, names in found.items() if names]


def _fits(name: str, start: str) -> bool:
    """Whether *name* is *start*, or begins with its words.

    >>> _fits("store", "store"), _fits("storeys", "store"), _fits("cache_bytes", "cache_")
    (True, False, True)
    """
    return name == start or name.startswith(
        start if start.endswith("_") or not start else f"{start}_"
    )


def bounds(name: str) -> str:
    """What *name* may be: its choices, or its kind with least and most."""
    from typing import Literal, get_args, get_origin

    from augury.app.settings import Settings

    field = Settings.model_fields[name]
    kind = field.annotation
    if get_origin(kind) is Literal:
        return " or ".join(str(one) for one in get_args(kind))
    parts = [one for one in get_args(kind) if one is not type(None)] or [kind]
    plain = {"SecretStr": "secret", "str": "text", "Path": "path", "bool": "true or false"}
    plain |= {"int": "whole number", "float": "number"}
    first = parts[0]
    shown = (
        plain.get(getattr(first, "__name__", ""), "list") if get_origin(first) is None else "list"
    )
    if get_origin(kind) is tuple:
        shown = "list"
    limits = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
    limits |= {"min_length": "{} characters or more", "max_length": "{} characters at most"}
    told = [
        text.format(f"{limit:g}" if isinstance(limit, float) else limit)
        for one in field.metadata
        for word, text in limits.items()
        if (limit := getattr(one, word, None)) is not None
    ]
    return ", ".join([shown, *told])


def default_of(name: str) -> str:
    """The default as it is written in the environment; empty when there is none."""
    from augury.app.settings import Settings

    default = Settings.model_fields[name].get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, (tuple, list, set, frozenset)):
        return ",".join(str(one) for one in default)
    return str(default)


def settings() -> str:
    """Every setting with its names, bounds, default and meaning."""
    from augury.app.environment import UNUSED, names_of
    from augury.app.settings import Settings

    parts = [
        "# Settings\n\n"
        + MADE
        + "They come, in this order, from flags, the environment, `.env`, `augury.toml` and the defaults. "
        "`.env.example` has all of them, to be copied to `.env`. A file may say, for example:\n\n"
        '```toml\nhttp_port = 8080\nlog_format = "json"\n```\n\n'
        "A variable that begins with `AUGURY_` and is none of these is told in the log when the server starts, with "
        "the nearest name.\n"
    ]
    for title, names in grouped():
        rows = [
            f"## {title}\n",
            "| setting | environment | may be | default | meaning |",
            "|---|---|---|---|---|",
        ]
        for name in names:
            shown = default_of(name)
            cells = (
                f"`{name}`",
                ", ".join(f"`{one}`" for one in names_of(name)),
                bounds(name),
                f"`{shown}`" if shown else "—",
                (Settings.model_fields[name].description or "").replace("|", "\\|"),
            )
            rows.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(rows) + "\n")
    parts.append(
        "## Names that are not used\n\nThe X API signed with them once. When one is set, the log says so at start.\n\n"
        "| variable | instead |\n|---|---|\n"
        + "\n".join(f"| `{name}` | `{instead}` |" for name, instead in UNUSED.items())
        + "\n"
    )
    return "\n".join(parts)


def environment() -> str:
    """Every setting as a line of `.env`, commented out, below its meaning."""
    from augury.app.environment import UNUSED, names_of
    from augury.app.settings import Settings

    lines = [
        "# Every setting of Augury, with its default. Copy this to `.env` and uncomment what shall differ.",
        "# Flags and the environment win over .env, and .env over augury.toml. Keep .env out of version control.",
        "# Made by docs/reference.py from src/augury/app/settings.py; change that, then run `make docs`.",
    ]
    for title, names in grouped():
        lines += ["", "", f"# --- {title}"]
        for name in names:
            own, *others = names_of(name)
            meaning = Settings.model_fields[name].description or ""
            lines += ["", *textwrap.wrap(meaning, 110, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"# ({bounds(name)})")
            if others:
                lines.append(f"# Or, by its other name: {', '.join(others)}")
            lines.append(f"#{own}={default_of(name)}")
    lines += [
        "",
        "",
        "# --- Names that are not used any more; when one is set, the log says so at start",
        "",
    ]
    lines += [f"# {name}: set {instead} instead" for name, instead in UNUSED.items()]
    return "\n".join(lines) + "\n"


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
    from augury.packages.manifest import (
        ExampleTable,
        FeaturesTable,
        TensorTable,
        TransformTable,
    )

    tables += [
        ("[signature.inputs.NAME], [signature.outputs.NAME]", TensorTable),
        ("[[preprocess]], [[postprocess]]", TransformTable),
        ("[features.TABLE]", FeaturesTable),
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


# Paths from this folder.
PAGES = {
    "reference/commands.md": commands,
    "reference/errors.md": errors,
    "reference/metrics.md": metrics,
    "reference/model-toml.md": model_toml,
    "reference/routes.md": routes,
    "settings.md": settings,
    "../.env.example": environment,
}


def main() -> None:
    """Write all pages, or those whose names hold a word of the command line."""
    (DOCS / "reference").mkdir(exist_ok=True)
    words = sys.argv[1:]
    for name, make in PAGES.items():
        if not words or any(word in name for word in words):
            (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
