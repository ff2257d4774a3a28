"""``augury tweets fetch``: tweets that X finds, kept and scored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augury.app.cli.terminal import (
    Bar,
    ConfigOption,
    Pace,
    RepositoryOption,
    Speed,
    count,
    quiet_logs,
    show_json,
    tell,
)
from augury.app.cli.tweets.session import (
    Interruption,
    JsonOption,
    StoreOption,
    StoreWaitOption,
    Waiting,
    done_as_json,
    in_words,
    lasting_settings,
    open_ledger,
    open_tweet_model,
    show_speed,
    shown_store,
    tell_faults,
)

if TYPE_CHECKING:
    from augury.app.settings import Settings
    from augury.services.tweets.bulk.checkpoints import Done
    from augury.services.tweets.bulk.patience import Patience
    from augury.services.tweets.ledger import Ledger
    from augury.services.tweets.sources.archive_files import Entry
    from augury.services.tweets.sources.x_client import XClient


def fetch(
    *,
    query: Annotated[
        str,
        typer.Option(
            help="What to search for, in X's own language: '#bitcoin lang:en -is:retweet'.",
            show_default=False,
        ),
    ],
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Tweets at most; X bills each of them.")
    ] = 100,
    no_score: Annotated[
        bool, typer.Option("--no-score", help="Keep the tweets, but do not judge them.")
    ] = False,
    repository: RepositoryOption = None,
    store: StoreOption = None,
    store_wait: StoreWaitOption = 300.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search X for tweets of the last seven days, keep them in the archive, and score them.

    Needs the bearer token of an X app (AUGURY_X_BEARER_TOKEN). X's rate limits are sat out. What was
    fetched before a failure is kept and scored.

    Example: `augury tweets fetch --query '#bitcoin' --limit 1000`
    """
    quiet_logs()
    from augury.core.errors import AuguryError, InvalidInput, InvalidSetting

    settings = lasting_settings(config, store)
    if settings.x_bearer_token is None:
        raise InvalidSetting(
            "AUGURY_X_BEARER_TOKEN is not set: searching X needs the bearer token of an X app "
            "(https://developer.x.com); without one, score a file with `augury tweets score FILE`"
        )
    job = _Job(
        settings,
        query,
        limit,
        repository=repository,
        scoring=not no_score,
        store_wait_s=store_wait,
    )
    failure: AuguryError | None = None
    try:
        asyncio.run(job.run())
    except InvalidInput as error:
        raise typer.BadParameter(error.message, param_hint="--query") from None
    except AuguryError as error:
        if not job.found:
            raise
        failure = error
    _show(job, as_json=as_json)
    if failure is not None:
        raise failure
    if job.interrupted:
        tell("interrupted; what was fetched is kept")
        raise typer.Exit(job.interrupted)
    if job.done.failed:
        raise typer.Exit(1)


def _show(job: _Job, *, as_json: bool) -> None:
    store = shown_store(job.settings)
    if as_json:
        report: dict[str, Any] = {"query": job.query, "found": job.found, "new": job.new}
        if job.scoring:
            report |= {**done_as_json(job.done, job.pace)}
            report |= {"model": job.model[0], "version": job.model[1]}
        show_json({**report, "interrupted": bool(job.interrupted), "store": store})
        return
    tell_faults(job.done.faults, job.done.failed)
    scored = ""
    if job.scoring and job.model[0]:
        scored = (
            f"; {job.done.scored:,} scored by {job.model[0]} {job.model[1]}{in_words(job.done)}"
        )
    typer.echo(f"{count(job.found, 'tweet')} found, {job.new:,} new in {store}{scored}")


def _no_entries() -> Done:
    from augury.services.tweets.bulk.checkpoints import Done

    return Done()


@dataclass
class _Job:
    """One search's way into archive and ledger."""

    settings: Settings
    query: str
    limit: int
    _: KW_ONLY
    repository: Path | None
    scoring: bool
    store_wait_s: float
    done: Done = field(default_factory=_no_entries)
    pace: Pace = field(default_factory=Pace)
    model: tuple[str, int] = ("", 0)
    found: int = 0
    new: int = 0
    interrupted: int = 0

    async def run(self) -> None:
        """Search, keep and score."""
        from augury.core.clock import SystemClock
        from augury.services.tweets.bulk.patience import Patience
        from augury.services.tweets.sources.x_client import XClient
        from augury.services.tweets.sources.x_search import SEARCH_LIMITS

        token = self.settings.x_bearer_token
        assert token is not None  # noqa: S101 - the verb refuses to begin without one
        async with AsyncExitStack() as stack:
            bar = stack.enter_context(Bar("Asking X", self.limit))
            waiting = Waiting(bar, self.store_wait_s)
            ledger = await stack.enter_async_context(open_ledger(self.settings))
            patience = Patience(
                self.store_wait_s,
                SystemClock(),
                on_gone=waiting.store_gone,
                on_back=waiting.store_back,
            )
            interruption = Interruption(patience)
            stack.enter_context(interruption.heard())
            x = XClient(
                token.get_secret_value(),
                base_url=self.settings.x_base_url,
                limits=SEARCH_LIMITS,
                on_wait=waiting.x,
            )
            await stack.enter_async_context(x)
            pages = await stack.enter_async_context(aclosing(self._pages(x, ledger, patience)))
            try:
                await self._work(stack, ledger, patience, pages, interruption, bar=bar)
            finally:
                self.pace.stop()
                self.interrupted = interruption.exit_code if interruption.number else 0

    async def _work(
        self,
        stack: AsyncExitStack,
        ledger: Ledger,
        patience: Patience,
        pages: AsyncGenerator[list[Entry], None],
        interruption: Interruption,
        *,
        bar: Bar,
    ) -> None:
        from augury.app.build import TWEET_MODEL
        from augury.services.tweets.bulk.scorer import BulkScorer, until

        speed = Speed("tweets", self.limit)

        async def committed(_: Done, steps: int) -> None:
            self.pace.rows += steps
            show_speed(bar, speed, steps)

        if not self.scoring:
            async with aclosing(until(interruption.stop, pages)) as wanted:
                async for page in wanted:
                    await committed(self.done, len(page))
            return
        core = await stack.enter_async_context(open_tweet_model(self.settings, self.repository))
        scorer = BulkScorer(
            core.engine, ledger, model=TWEET_MODEL, patience=patience, clock=core.clock
        )
        self.model = (scorer.model, scorer.version)
        await scorer.score(pages, self.done, committed, interruption.stop)

    async def _pages(
        self, x: XClient, ledger: Ledger, patience: Patience
    ) -> AsyncGenerator[list[Entry], None]:
        """The pages that X finds, kept in the archive."""
        from augury.services.tweets.sources.archive import keep
        from augury.services.tweets.sources.archive_files import Placed
        from augury.services.tweets.sources.x_search import search

        async with aclosing(search(x, self.query, self.limit)) as pages:
            async for page in pages:
                self.new += await patience(partial(keep, ledger.store, page))
                self.found += len(page)
                begin = self.found - len(page) + 1
                yield [Placed("x", begin + place, tweet) for place, tweet in enumerate(page)]
