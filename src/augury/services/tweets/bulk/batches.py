"""Entries of a file in batches, read by a thread of their own, one batch at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from augury.services.tweets.sources.archive_files import Entry

# Entries that are passed over at once: a tenth of a second, after which Ctrl-C is heard.
_SKIPPED_AT_ONCE: Final = 5_000


async def batches_of(
    entries: Iterator[Entry], *, size: int, skip: int = 0
) -> AsyncGenerator[list[Entry], None]:
    """*Entries*, *size* at a time, but for the first *skip*.

    Raises:
        OperatorError: The file cannot be read on.
    """
    loop = asyncio.get_running_loop()

    def pass_over(number: int) -> int:
        return sum(1 for _ in islice(entries, number))

    with ThreadPoolExecutor(1, thread_name_prefix="augury-tweets-read") as executor:
        while skip > 0:
            passed = await loop.run_in_executor(executor, pass_over, min(skip, _SKIPPED_AT_ONCE))
            if not passed:
                return
            skip -= passed
        while batch := await loop.run_in_executor(executor, lambda: list(islice(entries, size))):
            yield batch
