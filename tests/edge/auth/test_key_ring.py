"""Keys in the store."""

from __future__ import annotations

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import NotFound
from augury.edge.auth.key_ring import KeyRing
from augury.edge.auth.keys import fits
from tests.edge.auth.conftest import SECRET_KEY, FickleStore


async def test_keys_are_made_found_listed_and_revoked(
    store: FickleStore, clock: ManualClock
) -> None:
    """The newest comes first; a revoked one is gone."""
    ring = KeyRing(store, clock)
    first = await ring.create(SECRET_KEY, scopes=("read",), name="first", life_s=60.0)
    clock.advance(1)
    second = await ring.create(SECRET_KEY, scopes=("admin",), life_s=None)
    found = await ring.find(first.record.id)
    assert found is not None
    assert fits(found, first.text, SECRET_KEY)
    await ring.used(first.record.id, "2026-11-18")
    listed = await ring.list()
    assert [(record.id, used) for record, used in listed] == [
        (second.record.id, None),
        (first.record.id, "2026-11-18"),
    ]
    assert await ring.revoke(first.record.id) == first.record
    assert await ring.find(first.record.id) is None
    assert [record.id for record, _ in await ring.list()] == [second.record.id]


async def test_a_key_that_is_not_there_cannot_be_revoked(
    store: FickleStore, clock: ManualClock
) -> None:
    """The message names it, and what to do."""
    with pytest.raises(NotFound, match="no key 'abc'"):
        await KeyRing(store, clock).expect("abc")
    with pytest.raises(NotFound, match="no key 'abc'; `augury keys list` shows all"):
        await KeyRing(store, clock).revoke("abc")


async def test_a_record_that_cannot_be_read_can_be_revoked(
    store: FickleStore, clock: ManualClock
) -> None:
    """It is not listed, and harms no other."""
    ring = KeyRing(store, clock)
    await store.set("auth:key:000000000000", b"nonsense")
    key = await ring.create(SECRET_KEY, scopes=("read",), life_s=None)
    assert [record.id for record, _ in await ring.list()] == [key.record.id]
    assert await ring.revoke("000000000000") is None


async def test_an_expired_key_is_listed_for_a_month(store: FickleStore, clock: ManualClock) -> None:
    """Then the store forgets it."""
    ring = KeyRing(store, clock)
    await ring.create(SECRET_KEY, scopes=("read",), life_s=60.0)
    clock.advance(29 * 86_400)
    assert len(await ring.list()) == 1
    clock.advance(2 * 86_400)
    assert await ring.list() == []


async def test_the_store_holds_no_secret(store: FickleStore, clock: ManualClock) -> None:
    """Whoever reads all of it can make no key of it."""
    key = await KeyRing(store, clock).create(SECRET_KEY, scopes=("read",), life_s=None)
    secret = key.text.rsplit("_", 1)[1].encode()
    async for name, value in store.scan(""):
        assert secret not in name.encode() + value
        assert SECRET_KEY not in value
