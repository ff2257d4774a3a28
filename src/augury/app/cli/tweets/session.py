"""What the verbs of ``augury tweets`` share: options, the store, and ending early in good order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from augury.app.cli.terminal import Bar, Pace, Speed, bundled_or, count, duration, tell

if TYPE_CHECKING:
    from augury.app.build import Core
    from augury.app.settings import Settings
    from augury.services.tweets.bulk.checkpoints import Done
    from augury.services.tweets.bulk.patience import Patience
    from augury.services.tweets.ledger import Ledger
    from augury.services.tweets.sources.archive_files import ArchiveFault
    from augury.stores.base import KeyValueStore

# Faults that are shown one by one; the others are only counted.
SHOWN_FAULTS: Final = 10

StoreOption = Annotated[
    str | None,
    typer.Option(
        help="The store to write to; the server's must be the same.",
        show_default="sqlite:///augury-data/store.sqlite3",
    ),
]
StoreWaitOption = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds to wait for a store that went away, before giving up."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]


def lasting_settings(config: Path | None, store: str | None) -> Settings:
    """All settings; the store is one that outlives the command.

    Raises:
        InvalidSetting: It is not.
    """
    from augury.app.local import lasting

    return lasting.lasting_settings(config, store=store)


def shown_store(settings: Settings) -> str:
    """The store's URL without its password."""
    from augury.stores.registry import masked

    return masked(settings.store)


@asynccontextmanager
async def open_lasting(settings: Settings) -> AsyncIterator[KeyValueStore]:
    """The settings' store, closed when the block ends."""
    from augury.app.local import lasting

    async with lasting.open_lasting(settings, tell) as store:
        yield store


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """The ledger in the settings' store, closed when the block ends.

    Raises:
        InvalidSetting: The store cannot add up.
    """
    import logging

    from augury.core.clock import SystemClock
    from augury.services.tweets.ledger import ledger_over

    # That the store is away is the verb's own line, or its last.
    link = logging.getLogger("augury.stores.redis.link")
    before = link.level
    link.setLevel(logging.CRITICAL)
    try:
        async with open_lasting(settings) as store:
            yield ledger_over(store, SystemClock())
    finally:
        link.setLevel(before)


@asynccontextmanager
async def open_tweet_model(settings: Settings, repository: Path | None) -> AsyncIterator[Core]:
    """The model that the tweet service asks, loaded: the repository's, else the bundled one.

    Raises:
        OperatorError: It cannot be loaded.
        ModelNotFound: The repository has none of that name.
    """
    from augury.app.build import TWEET_MODEL, open_source
    from augury.app.local.selection import OnePackage, select_package
    from augury.core.errors import OperatorError

    package = select_package(TWEET_MODEL, bundled_or(repository))
    async with open_source(settings, OnePackage(package), poll=False) as core:
        for harness in core.manager.unready():
            raise OperatorError(harness.reason)
        yield core


class Interruption:
    """Ctrl-C and SIGTERM: the first ends in good order, the second at once.

    Args:
        patience: Ended with the first, so that nobody waits for a store that is away.
    """

    def __init__(self, patience: Patience) -> None:
        self.stop = asyncio.Event()
        self.number = 0
        self._patience = patience

    @property
    def exit_code(self) -> int:
        """As a shell tells the end by a signal: 130, or 143."""
        return 128 + self.number

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Signals are heard inside the block; to be entered on the loop."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._begin, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _begin(self, number: signal.Signals) -> None:
        asyncio.get_running_loop().remove_signal_handler(number)
        self.number = number
        self.stop.set()
        self._patience.end()
        tell("finishing the batch that is under way; once more ends at once")


class Waiting:
    """Tells of waits: beside the bar on a terminal, and as lines of stderr."""

    def __init__(self, bar: Bar, store_wait_s: float) -> None:
        self._bar = bar
        self._store_wait_s = store_wait_s

    def store_gone(self, why: str) -> None:
        """The store went away."""
        tell(f"{why}; waiting for the store for up to {duration(self._store_wait_s)}")
        self._bar.advance(0, "waiting for the store")

    def store_back(self, away_s: float) -> None:
        """The store is back."""
        tell(f"the store is back after {duration(away_s)}; going on")

    def x(self, seconds: float, why: str) -> None:
        """X wants to be left alone for a while."""
        if seconds >= 1:
            tell(f"{why}; asking again in {duration(seconds)}")
            self._bar.advance(0, f"waiting for X for {duration(seconds)}")


def show_speed(bar: Bar, speed: Speed, steps: int) -> None:
    """*Steps* more are done; the bar tells how fast it goes."""
    speed.advance(steps)
    bar.advance(steps, str(speed))


def tell_faults(faults: Sequence[ArchiveFault], failed: int) -> None:
    """Tell the first of *failed* faults on stderr."""
    for fault in faults[:SHOWN_FAULTS]:
        tell(str(fault))
    if failed > SHOWN_FAULTS:
        tell(f"and {count(failed - SHOWN_FAULTS, 'more fault')}")


def faults_as_json(faults: Sequence[ArchiveFault]) -> list[dict[str, Any]]:
    """Faults for programs."""
    return [{"file": fault.file, "line": fault.line, "message": fault.message} for fault in faults]


def done_as_json(done: Done, pace: Pace) -> dict[str, Any]:
    """What was done, for programs."""
    return {
        "entries": done.entries,
        "scored": done.scored,
        "known": done.known,
        "refused": done.refused,
        "faulty": done.faulty,
        "faults": faults_as_json(done.faults),
        "seconds": round(pace.seconds, 3),
        "entries_per_s": round(pace.rows_per_s, 1),
    }


def in_words(done: Done) -> str:
    """What was done besides scoring; empty when there was nothing."""
    parts = [
        f"{done.known:,} known before" if done.known else "",
        f"{done.refused:,} refused" if done.refused else "",
        f"{done.faulty:,} faulty" if done.faulty else "",
    ]
    said = ", ".join(part for part in parts if part)
    return f" ({said})" if said else ""
