"""The store of a command: one that outlives it, and that the server uses too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from augury.app.settings import Settings, read_settings
from augury.core.clock import SystemClock
from augury.core.errors import InvalidSetting
from augury.stores.base import KeyValueStore
from augury.stores.registry import masked, open_store

# A person waits longer than a request does, and a bulk job's machine is busy.
LEAST_TIMEOUT_S: Final = 5.0


def lasting_settings(config: Path | None, **flags: Any) -> Settings:
    """All settings; the store is one that stays.

    Args:
        config: As :func:`read_settings` takes it.
        **flags: Likewise.

    Raises:
        InvalidSetting: The store is in memory, or a setting is impossible.
    """
    settings = read_settings(config, **flags)
    if settings.store.lower().startswith("memory:"):
        raise InvalidSetting(
            f"{masked(settings.store)} is forgotten when this command ends; use a store that stays "
            "and that the server uses too, like sqlite:///augury-data/store.sqlite3 (--store)"
        )
    return settings


@asynccontextmanager
async def open_lasting(
    settings: Settings, tell: Callable[[str], None]
) -> AsyncIterator[KeyValueStore]:
    """The settings' store, closed when the block ends; *tell* is told if it was damaged.

    Raises:
        OperatorError: It cannot be opened.
    """

    def corrupt(kept: Path, fault: str) -> None:
        tell(f"the store was damaged ({fault}); it is kept aside as {kept}, a fresh one was begun")

    store = await open_store(
        settings.store,
        clock=SystemClock(),
        on_corrupt=corrupt,
        timeout_s=max(settings.store_timeout_s, LEAST_TIMEOUT_S),
    )
    try:
        yield store
    finally:
        await store.close()
