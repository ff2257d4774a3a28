"""The tweets that people imported, kept in the store; free to ask, unlike X.

``augury tweets import`` writes them with :func:`import_tweets`; they have no expiry, because the
person who imported them decided to keep them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from augury.core.errors import NotFound
from augury.services.tweets.model import Tweet
from augury.services.tweets.records import decode_tweet, encode_tweet, tweet_key
from augury.services.tweets.sources.archive_files import ArchiveFault
from augury.stores.base import KeyValueStore

# Of one write: about 200 KiB, and a few milliseconds for SQLite.
_BATCH_TWEETS: Final = 500
# A file of nonsense is told by its first faults; the rest is a number.
_KEPT_FAULTS: Final = 100


class ArchiveSource:
    """A ``TweetSource`` over imported tweets.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store

    async def fetch(self, tweet_id: int) -> Tweet:
        value = await self._store.get(tweet_key(tweet_id))
        tweet = None if value is None else decode_tweet(value)
        if tweet is None:
            raise NotFound(f"tweet {tweet_id} is not in the archive", tweet=str(tweet_id))
        return tweet


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did.

    Args:
        imported: Tweets written, new or changed.
        skipped: Tweets that were in the store already, exactly so.
        faulty: Entries that are no tweet.
        faults: The first 100 of them.
    """

    imported: int
    skipped: int
    faulty: int
    faults: tuple[ArchiveFault, ...]


async def import_tweets(
    tweets: Iterable[Tweet | ArchiveFault],
    store: KeyValueStore,
    progress: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Write *tweets* to *store*.

    Args:
        tweets: From ``archive_files.read_archive``; read in a thread, since it reads files.
        store: Where they go.
        progress: Told, on the event loop, how many more entries are done.

    Raises:
        OperatorError: The file cannot be read on; what came before is written.
        Unavailable: The store cannot be reached.
    """
    loop = asyncio.get_running_loop()
    entries = iter(tweets)
    imported = skipped = faulty = 0
    faults: list[ArchiveFault] = []
    with ThreadPoolExecutor(1, thread_name_prefix="augury-tweets-import") as executor:
        while batch := await loop.run_in_executor(
            executor, lambda: list(islice(entries, _BATCH_TWEETS))
        ):
            bad = [entry for entry in batch if isinstance(entry, ArchiveFault)]
            faulty += len(bad)
            faults += bad[: _KEPT_FAULTS - len(faults)]
            changed = await keep(store, [entry for entry in batch if isinstance(entry, Tweet)])
            imported += changed
            skipped += len(batch) - len(bad) - changed
            progress(len(batch))
    return ImportReport(imported, skipped, faulty, tuple(faults))


async def keep(store: KeyValueStore, tweets: Sequence[Tweet]) -> int:
    """Write *tweets* to the archive in *store*, in one round trip each way.

    Returns:
        How many were not there, or not exactly so.

    Raises:
        Unavailable: The store cannot be reached.
        UnicodeEncodeError: A text has lone surrogates.
    """
    good = {tweet_key(tweet.id): encode_tweet(tweet) for tweet in tweets}
    there = await store.get_many(list(good))
    changed = {
        key: value for (key, value), old in zip(good.items(), there, strict=True) if value != old
    }
    if changed:
        await store.set_many(changed)
    return len(changed)
