"""A process that works on a store beside others: ``store_worker.py URL ROUNDS NAME``.

It waits for a line on stdin, so that all begin together, and prints what it did as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from augury.core.clock import SystemClock
from augury.stores.base import Change
from augury.stores.registry import open_store


async def main(url: str, rounds: int, name: str) -> None:
    store: Any = await open_store(url, clock=SystemClock(), on_corrupt=lambda *_: None)
    _tell("ready")
    await asyncio.to_thread(sys.stdin.readline)
    won, claimed = 0, 0
    for i in range(rounds):
        won += await store.put_if_absent(f"key:{i}", name.encode())
        claim = Change(
            expected={f"claim:{i}": None},
            values={f"claim:{i}": name.encode()},
            sums={"claims": {"all": (1, i)}},
            ranks={"claims": {name: 1}},
        )
        more = Change(sums={"sums": {"all": (1, i, -1), f"m{i % 7}": (1,)}}, ranks={"r": {"m": 2}})
        done = await store.commit([claim, more])
        claimed += done[0]
        assert done[1]
    await store.close()
    _tell(json.dumps({"won": won, "claimed": claimed}))


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
