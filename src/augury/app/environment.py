"""What the environment and ``.env`` name that no setting reads: a typo, or a name of another time.

A name that nobody reads would otherwise be passed over in silence.  Names only: values may be secrets.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import AliasChoices

from augury.app.settings import Settings

PREFIX: Final = "AUGURY_"

# Read by programs beside the server: the notebook in examples/, the benchmarks.
OTHERS: Final = frozenset({"AUGURY_URL", "AUGURY_API_KEY", "AUGURY_BENCH_TWEETS"})

# The X API of old signed with these four; reading tweets needs none of them any more.
UNUSED: Final = {
    "TWITTER_CONSUMER_KEY": "TWITTER_BEARER_TOKEN",
    "TWITTER_CONSUMER_SECRET": "TWITTER_BEARER_TOKEN",
    "TWITTER_ACCESS_TOKEN_KEY": "TWITTER_BEARER_TOKEN",
    "TWITTER_ACCESS_TOKEN_SECRET": "TWITTER_BEARER_TOKEN",
}

# An environment of thousands of such names is no typo; telling some of them is enough.
_MOST: Final = 20


def names_of(setting: str) -> tuple[str, ...]:
    """The names by which the environment sets *setting*, the ``AUGURY_`` one first.

    >>> names_of("x_bearer_token")
    ('AUGURY_X_BEARER_TOKEN', 'TWITTER_BEARER_TOKEN')
    """
    own = f"{PREFIX}{setting.upper()}"
    alias = Settings.model_fields[setting].validation_alias
    if alias is None:
        return (own,)
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    others = (str(name) for name in choices if str(name).isupper())
    return tuple(dict.fromkeys((own, *others)))


def given_names(dotenv: Path = Path(".env")) -> list[str]:
    """Every name in the environment and in *dotenv* that has a value, once, sorted."""
    from dotenv import dotenv_values

    values: dict[str, str | None] = dict(os.environ)
    if dotenv.is_file():
        values |= dotenv_values(dotenv, encoding="utf-8", interpolate=False)
    return sorted(name for name, value in values.items() if value)


def unread(names: Iterable[str]) -> list[tuple[str, str]]:
    """Those of *names* that look as if they were meant for us and are not read, each with advice.

    >>> unread(["AUGURY_HTP_PORT", "PATH", "TWITTER_CONSUMER_KEY"])[0]
    ('AUGURY_HTP_PORT', 'no such setting; did you mean AUGURY_HTTP_PORT?')
    """
    known = {name for setting in Settings.model_fields for name in names_of(setting)} | OTHERS
    found = []
    for name in names:
        upper = name.upper()  # as settings are looked up
        if upper in known:
            continue
        if instead := UNUSED.get(upper):
            found.append((name, f"not used; the X API is asked with {instead} alone"))
        elif upper.startswith(PREFIX):
            nearest = difflib.get_close_matches(upper, known, n=1, cutoff=0.6)
            meant = f"did you mean {nearest[0]}?" if nearest else "see docs/settings.md"
            found.append((name, f"no such setting; {meant}"))
    return found[:_MOST]
