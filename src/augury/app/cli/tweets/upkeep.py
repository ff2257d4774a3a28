"""``augury tweets rebuild``, ``forget`` and ``clear``: what is counted, and what is no longer."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from augury.app.cli.terminal import Bar, ConfigOption, Pace, Speed, count, quiet_logs, show_json
from augury.app.cli.tweets.session import (
    JsonOption,
    StoreOption,
    lasting_settings,
    open_ledger,
    shown_store,
)

if TYPE_CHECKING:
    from augury.app.settings import Settings
    from augury.services.tweets.ledger import Ledger


def rebuild(
    *, store: StoreOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Count the predictions of all authors and topics anew.

    Not needed in daily life: the counts are kept right as predictions are written. A server may go
    on meanwhile; the new counts replace the old ones in one moment.

    Example: `augury tweets rebuild --store redis://localhost:6379/0`
    """
    quiet_logs()
    settings = lasting_settings(config, store)
    records, pace = asyncio.run(_rebuild(settings))
    if as_json:
        show_json(
            {
                "records": records,
                "seconds": round(pace.seconds, 3),
                "store": shown_store(settings),
            }
        )
    else:
        typer.echo(
            f"{count(records, 'prediction')} counted anew in {shown_store(settings)}, "
            f"in {pace.seconds:.1f} s"
        )


async def _rebuild(settings: Settings) -> tuple[int, Pace]:
    async with open_ledger(settings) as ledger:
        with Bar("Counting") as bar:
            pace, speed = Pace(), Speed("predictions")
            counted = 0

            def progress(done: int, total: int) -> None:
                nonlocal counted, speed
                if counted == 0:
                    bar.begin("Counting", total)
                    speed = Speed("predictions", total)
                speed.advance(done - counted)
                bar.advance(done - counted, str(speed))
                counted = done

            report = await ledger.rebuild(progress)
            pace.stop()
            return report.records, pace


def forget(
    *,
    tweet: Annotated[
        list[str] | None, typer.Option(help="A tweet, by id or address; may be repeated.")
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(help="An author, by id or @name; may be repeated.")
    ] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase tweets, or all tweets of an author: predictions, counts, and the archive's copies.

    Example: `augury tweets forget --author @ada`
    """
    quiet_logs()
    from augury.core.errors import InvalidInput
    from augury.services.tweets.urls import parse_tweet_id

    if not tweet and not author:
        raise typer.BadParameter("name a --tweet or an --author")
    try:
        tweets = [parse_tweet_id(one) for one in tweet or ()]
    except InvalidInput as error:
        raise typer.BadParameter(error.message, param_hint="--tweet") from None
    settings = lasting_settings(config, store)
    erased = asyncio.run(_forget(settings, tweets, author or []))
    if as_json:
        show_json({"tweets": erased, "store": shown_store(settings)})
    else:
        typer.echo(f"{count(erased, 'tweet')} erased from {shown_store(settings)}")


async def _forget(settings: Settings, tweets: list[int], authors: list[str]) -> int:
    from augury.app.local.audit import written_down

    async with open_ledger(settings) as ledger:
        ids = [one for author in authors for one in await _author_ids(ledger, author)]
        with written_down(settings, "tweets forget", _targets(tweets, ids)):
            erased = await ledger.erase(tweets) if tweets else 0
            for author_id in ids:
                erased += await ledger.erase_author(author_id)
        return erased


def _targets(tweets: list[int], authors: list[int]) -> dict[str, str]:
    """What is erased, for the audit file; a list that is cut there still tells its length."""
    targets = {}
    for name, ids in (("tweets", tweets), ("authors", authors)):
        if ids:
            targets[name] = f"{len(ids)}: {' '.join(map(str, ids))}"
    return targets


async def _author_ids(ledger: Ledger, author: str) -> list[int]:
    """X's id and, for a name, the one under which tweets are that tell the name only."""
    from augury.services.tweets.model import id_of_name
    from augury.services.tweets.records import author_id_key
    from augury.services.tweets.urls import MAX_TWEET_ID, shown

    name = author.strip()
    if name.isascii() and name.isdigit() and len(name) <= 19 and 1 <= int(name) <= MAX_TWEET_ID:
        return [int(name)]
    key = author_id_key(name.removeprefix("@"))
    value = None if key is None else await ledger.store.get(key)
    if value is None or not value.isdigit():
        raise typer.BadParameter(
            f"nothing is known of an author {shown(author)}; give an id, or the @name of one whose "
            "tweets were scored",
            param_hint="--author",
        )
    return sorted({int(value), id_of_name(name)})


def clear(
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase everything that is known of tweets: predictions, counts, names, and the archive.

    Example: `augury tweets clear --yes`
    """
    quiet_logs()
    settings = lasting_settings(config, store)
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise typer.BadParameter("there is nobody to ask; confirm it", param_hint="--yes")
        typer.confirm(
            f"Erase all predictions, counts and imported tweets in {shown_store(settings)}?",
            abort=True,
            err=True,
        )
    erased = asyncio.run(_clear(settings))
    if as_json:
        show_json({"tweets": erased, "store": shown_store(settings)})
    else:
        typer.echo(f"{count(erased, 'tweet')} erased from {shown_store(settings)}")


async def _clear(settings: Settings) -> int:
    from augury.app.local.audit import written_down
    from augury.services.tweets.bulk.checkpoints import PREFIX

    async with open_ledger(settings) as ledger:
        with written_down(settings, "tweets clear", {}), Bar("Erasing"):
            erased = await ledger.clear()
            # No run may go on from where its predictions have gone.
            checkpoints = [key async for key, _ in ledger.store.scan(PREFIX)]
            if checkpoints:
                await ledger.store.delete(*checkpoints)
            return erased
