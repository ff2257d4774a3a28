"""``augury tweets score``: the sentiment of all tweets of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

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
    from augury.app.cli.tweets.tables import Columns
    from augury.app.settings import Settings
    from augury.services.tweets.bulk.checkpoints import Checkpoint, Done
    from augury.services.tweets.bulk.patience import Patience
    from augury.services.tweets.bulk.scorer import BulkScorer
    from augury.services.tweets.ledger import Ledger
    from augury.services.tweets.sources.archive_files import Entry

_NO_HEADER: Final = "; a number from 1 for a file without header."


def _resumable(path: Path) -> Path:
    if str(path) == "-":
        raise typer.BadParameter(
            "standard input cannot be gone on with after an interruption; save it to a file first"
        )
    if not path.exists():
        raise typer.BadParameter(f"no file or folder {str(path)!r}")
    if not (path.is_file() or path.is_dir()):
        raise typer.BadParameter(f"{str(path)!r} is a pipe or device; save it to a file first")
    return path


def score(
    file: Annotated[
        Path,
        typer.Argument(
            help="tweets.js from X's archive, the archive itself (folder or .zip), JSON lines, "
            "CSV or TSV.",
            callback=_resumable,
            show_default=False,
        ),
    ],
    *,
    id_column: Annotated[
        str | None,
        typer.Option(help=f"CSV, TSV: column of the tweet's id{_NO_HEADER}", show_default="id"),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="CSV, TSV: column of the text.", show_default="text")
    ] = None,
    author_column: Annotated[
        str | None,
        typer.Option(
            help="CSV, TSV: column of the author, by id or name.",
            show_default="author_id, username",
        ),
    ] = None,
    time_column: Annotated[
        str | None,
        typer.Option(
            help="CSV, TSV: column of when it was written: ISO 8601, or seconds since 1970.",
            show_default="created_at, else told by the id",
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew instead of going on.")
    ] = False,
    repository: RepositoryOption = None,
    store: StoreOption = None,
    store_wait: StoreWaitOption = 300.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the tweets of a file, and add them to the sentiment of their authors and topics.

    Tweets whose prediction is known are not judged again. After an interruption, whatever its cause,
    the same command goes on where it was; each tweet is counted once. Entries that are refused or
    faulty are told with their line, and the exit code is 1; the others are scored.

    Example: `augury tweets score tweets.jsonl --store redis://localhost:6379/0`
    """
    quiet_logs()
    from augury.app.cli.tweets.tables import Columns
    from augury.app.local.rows import WrongColumns
    from augury.core.errors import AuguryError

    settings = lasting_settings(config, store)
    columns = Columns(id_column, text_column, author_column, time_column)
    job = _Job(
        settings, file, columns, repository=repository, restart=restart, store_wait_s=store_wait
    )
    try:
        asyncio.run(job.run())
    except WrongColumns as error:
        raise typer.BadParameter(error.message, param_hint="FILE") from None
    except AuguryError as error:
        if job.done.entries and not job.lost:
            tell(f"{job.position()} are done; the same command goes on from there")
        if job.interrupted:
            tell(f"interrupted: {error.message}")
            raise typer.Exit(job.interrupted) from None
        raise
    _show(job, as_json=as_json)
    if job.interrupted:
        tell(f"interrupted after {job.position()}; the same command goes on from there")
        raise typer.Exit(job.interrupted)
    if job.done.failed:
        raise typer.Exit(1)


def _show(job: _Job, *, as_json: bool) -> None:
    done = job.done
    model = {"model": job.model[0], "version": job.model[1]}
    store = shown_store(job.settings)
    if as_json:
        show_json(
            {
                **done_as_json(done, job.pace),
                "resumed_from": job.resumed_from,
                "interrupted": bool(job.interrupted),
                **model,
                "store": store,
            }
        )
        return
    tell_faults(done.faults, done.failed)
    typer.echo(
        f"{count(done.scored, 'tweet')} scored by {model['model']} {model['version']}"
        f"{in_words(done)} into {store}; {job.pace}"
    )


def _no_entries() -> Done:
    from augury.services.tweets.bulk.checkpoints import Done

    return Done()


@dataclass
class _Job:
    """One file's way into the ledger."""

    settings: Settings
    path: Path
    columns: Columns
    _: KW_ONLY
    repository: Path | None
    restart: bool
    store_wait_s: float
    done: Done = field(default_factory=_no_entries)
    pace: Pace = field(default_factory=Pace)
    model: tuple[str, int] = ("", 0)
    total: int | None = None
    resumed_from: int = 0
    interrupted: int = 0
    lost: bool = False

    def position(self) -> str:
        """How far it is, in words."""
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.done.entries:,}{of} entries of {self.path.name}"

    async def run(self) -> None:
        """Score the file, or the rest of it."""
        from augury.app.build import TWEET_MODEL
        from augury.services.tweets.bulk.batches import batches_of
        from augury.services.tweets.bulk.patience import Patience
        from augury.services.tweets.bulk.scorer import BATCH_TWEETS, BulkScorer

        identity, self.total, read = await asyncio.to_thread(self._look)
        with Bar(f"Loading {TWEET_MODEL}") as bar:
            waiting = Waiting(bar, self.store_wait_s)
            async with (
                open_ledger(self.settings) as ledger,
                open_tweet_model(self.settings, self.repository) as core,
            ):
                patience = Patience(
                    self.store_wait_s,
                    core.clock,
                    on_gone=waiting.store_gone,
                    on_back=waiting.store_back,
                )
                scorer = BulkScorer(
                    core.engine, ledger, model=TWEET_MODEL, patience=patience, clock=core.clock
                )
                self.model = (scorer.model, scorer.version)
                interruption = Interruption(patience)
                with interruption.heard():
                    course = _Course(self, ledger, patience, scorer, identity)
                    await course.begin()
                    bar.begin(f"Scoring {self.path.name}", self.total)
                    speed = Speed("entries", self.total, self.done.entries)
                    bar.advance(self.done.entries)
                    self.pace = Pace()
                    entries = batches_of(read(), size=BATCH_TWEETS, skip=self.done.entries)

                    async def committed(done: Done, steps: int) -> None:
                        self.pace.rows += steps
                        await course.save()
                        show_speed(bar, speed, steps)

                    try:
                        async with aclosing(entries):
                            await scorer.score(entries, self.done, committed, interruption.stop)
                    finally:
                        self.pace.stop()
                        self.interrupted = interruption.exit_code if interruption.number else 0
                    if not self.interrupted:
                        await course.end()

    def _look(self) -> tuple[str, int | None, Callable[[], Iterator[Entry]]]:
        """What the file is, how many entries it has if that is cheap to tell, and how to read it."""
        from augury.app.cli.tweets.tables import read_table, table_layout
        from augury.app.local.rows import WrongColumns, format_of
        from augury.services.tweets.bulk.checkpoints import identity_of
        from augury.services.tweets.sources.archive_files import count_lines, read_entries

        path, identity = self.path, identity_of(self.path)
        told = format_of(path) if path.is_file() else None
        if told == "csv" or told == "tsv":  # noqa: PLR1714 - mypy narrows no `in`
            layout, table = table_layout(path, told, self.columns), told
            # The same file read by other columns is another file.
            identity += f" {sorted(layout.inputs.items())}"
            return identity, None, lambda: read_table(path, table, layout)
        if self.columns.given:
            raise WrongColumns(f"{path.name} is neither .csv nor .tsv: it has no columns to name")
        return identity, count_lines(path), lambda: read_entries(path)


class _Course:
    """The checkpoints of a job."""

    def __init__(
        self, job: _Job, ledger: Ledger, patience: Patience, scorer: BulkScorer, identity: str
    ) -> None:
        from augury.services.tweets.bulk.checkpoints import checkpoint_key

        self._job = job
        self._ledger = ledger
        self._patience = patience
        self._identity = identity
        self._key = checkpoint_key(job.path, scorer.model, scorer.version)
        self._saved: Checkpoint | None = None

    async def begin(self) -> None:
        """Take up what an earlier run has left, if the file is the same and nothing was erased."""
        from augury.services.tweets.bulk.checkpoints import load_checkpoint

        job, store = self._job, self._ledger.store
        found = await self._patience(lambda: load_checkpoint(store, self._key))
        if found is None or job.restart:
            return
        name, before = job.path.name, f"{found.done.entries:,} entries"
        if found.identity != self._identity:
            tell(f"{name} has changed since {before} of it were scored; beginning anew")
            return
        last_id = found.done.last_id
        if last_id and not await self._patience(lambda: self._ledger.record(last_id)):
            tell(f"the store has lost what was scored of {name} ({before}); beginning anew")
            return
        tell(f"going on after {before} of {name} (--restart begins anew)")
        self._saved = found
        job.done, job.resumed_from = _as_is(found.done), found.done.entries

    async def save(self) -> None:
        """Write down how far the job is.

        Raises:
            OperatorError: The store has lost what was written.
        """
        from augury.services.tweets.bulk.checkpoints import Checkpoint, save_checkpoint

        checkpoint = Checkpoint(identity=self._identity, done=_as_is(self._job.done))

        async def look_and_save() -> None:
            await self._look_for_loss(checkpoint)
            await save_checkpoint(self._ledger.store, self._key, checkpoint)

        # As one question: after each absence it is looked again.
        await self._patience(look_and_save)
        self._saved = checkpoint

    async def end(self) -> None:
        """All is done: another run begins anew, and finds what is known.

        Raises:
            OperatorError: The store has lost what was written.
        """

        async def look_and_delete() -> None:
            await self._look_for_loss(self._saved)
            await self._ledger.store.delete(self._key)

        await self._patience(look_and_delete)

    async def _look_for_loss(self, next_one: Checkpoint | None) -> None:
        """See that the store holds what the last checkpoint promises.

        A store that keeps nothing, or not all, on a disk comes back from a crash without it.  The
        checkpoint went with the predictions then, so it is the right place to go on from: nothing
        is written any more.  Another run of the same file writes checkpoints as well, or has
        removed them; then the predictions are there.
        """
        from augury.core.errors import OperatorError
        from augury.services.tweets.bulk.checkpoints import load_checkpoint

        found = await load_checkpoint(self._ledger.store, self._key)
        if found is not None and found in (self._saved, next_one):
            return
        promised = {one.done.last_id for one in (self._saved, next_one) if one is not None} - {0}
        if promised and None in await self._ledger.records(list(promised)):
            job = self._job
            job.lost = True
            raise OperatorError(
                f"the store has lost what was scored of {job.path.name}; run the same command again"
            )


def _as_is(done: Done) -> Done:
    """A copy that does not count on."""
    import msgspec

    return msgspec.structs.replace(done, faults=list(done.faults))
