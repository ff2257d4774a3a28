"""``augury tweets``: tweets in bulk, and the upkeep of what is known of them.

``archive`` imports tweets, ``fetch`` searches X for them, ``score`` judges those of a file, ``upkeep``
counts anew and erases.  ``session`` is what they share.
"""

from __future__ import annotations

import typer

from augury.app.cli.tweets import archive, fetch, score, upkeep

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def root() -> None:
    """Tweets in bulk: import, fetch and score them; count them anew, or forget them."""


app.command("import")(archive.import_)
app.command("fetch")(fetch.fetch)
app.command("score")(score.score)
app.command("rebuild")(upkeep.rebuild)
app.command("forget")(upkeep.forget)
app.command("clear")(upkeep.clear)
