"""A Redis with the eviction policy of compose.yaml, filled up by the answers of models."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from augury.cache.stored import StoredRows
from augury.core.clock import SystemClock
from augury.stores.base import Change
from augury.stores.redis.store import RedisStore
from augury.stores.registry import open_store
from tests.redis_server import RedisServer, require_redis

pytestmark = pytest.mark.redis

_COMPOSE = Path(__file__).parents[2] / "compose.yaml"
SIXTY_DAYS_S = 60 * 86_400.0
RECORDS = 500


def _policy() -> str:
    command = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))["services"]["redis"]["command"]
    return str(command[command.index("--maxmemory-policy") + 1])


async def test_remembered_answers_make_room_for_records(tmp_path: Path) -> None:
    """Many times what fits: all of them are taken, and every record, sum and rank stays."""
    require_redis()
    clock = SystemClock()
    with RedisServer(
        tmp_path, appendonly=False, maxmemory="6mb", maxmemory_policy=_policy()
    ) as server:
        store = await open_store(
            f"{server.url}?timeout_s=10", clock=clock, on_corrupt=lambda *_: None
        )
        assert isinstance(store, RedisStore)
        async with store:
            records = {f"record:{i}": bytes(500) for i in range(RECORDS)}
            count = Change(sums={"t": {"m": (1,)}}, ranks={"t": {"m": 1}})
            changes = [Change(values={name: value}) for name, value in records.items()]
            await store.commit([*changes, count])
            await store.set("kept", b"1")
            async with StoredRows(store, clock) as rows:
                for i in range(20_000):
                    rows.put(f"answer:{i}", bytes(1000), SIXTY_DAYS_S)
            assert store.fault is None
            assert 0 < await store.count("answer:") < 10_000

            assert all(await store.commit([Change(values={"record:0": b"new"}), count]))
            assert await store.get_many(list(records)) == [b"new", *list(records.values())[1:]]
            assert await store.get("kept") == b"1"
            assert await store.sums("t") == {"m": (2,)}
            assert await store.top("t", limit=2) == [("m", 2)]
            assert await store.delete(*records) == RECORDS
