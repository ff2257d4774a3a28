"""The API keys in the store: made, found, listed, revoked.

Any server process on the same store, with the same secret key, knows them.
"""

from __future__ import annotations

from typing import Final

from augury.core.caller import Scope
from augury.core.clock import Clock
from augury.core.errors import Internal, NotFound
from augury.edge.auth.keys import KeyRecord, NewKey, make_key
from augury.stores.base import KeyValueStore

_RECORDS: Final = "auth:key:"
_USED: Final = "auth:key-used:"

# An expired key is still listed for so long.
_AFTERLIFE_S: Final = 30 * 86_400.0
_USED_TTL_S: Final = 400 * 86_400.0


class KeyRing:
    """The keys of one store.

    All methods raise ``Unavailable`` when the store cannot be reached.
    """

    def __init__(self, store: KeyValueStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def fault(self) -> str | None:
        """Why the store cannot be reached just now, if that is known."""
        return self._store.fault

    async def create(
        self,
        secret_key: bytes,
        *,
        scopes: tuple[Scope, ...],
        name: str = "",
        life_s: float | None,
        rows_per_minute: int | None = None,
    ) -> NewKey:
        """Make a key and keep its record.

        Raises:
            InvalidInput: See :func:`make_key`.
        """
        for _ in range(3):
            made = make_key(
                secret_key,
                scopes=scopes,
                name=name,
                now_s=self._clock.time(),
                life_s=life_s,
                rows_per_minute=rows_per_minute,
            )
            ttl_s = None if life_s is None else life_s + _AFTERLIFE_S
            if await self._store.put_if_absent(
                _RECORDS + made.record.id, made.record.encode(), ttl_s=ttl_s
            ):
                return made
        raise Internal("no free id was found for the key in three tries")

    async def find(self, id: str) -> KeyRecord | None:
        """The record of the key *id*, or ``None``."""
        data = await self._store.get(_RECORDS + id)
        return None if data is None else KeyRecord.decode(data)

    async def list(self) -> list[tuple[KeyRecord, str | None]]:
        """All keys and the day on which each was used last, the newest first."""
        records = []
        async for _, data in self._store.scan(_RECORDS):
            record = KeyRecord.decode(data)
            if record is not None:
                records.append(record)
        records.sort(key=lambda record: (record.created_s, record.id), reverse=True)
        days = await self._store.get_many([_USED + record.id for record in records])
        return [
            (record, None if day is None else day.decode("ascii", "replace"))
            for record, day in zip(records, days, strict=True)
        ]

    async def expect(self, id: str) -> None:
        """Go on if there is a key *id*, readable or not.

        Raises:
            NotFound: There is none.
        """
        if await self._store.get(_RECORDS + id) is None:
            raise _no_key(id)

    async def revoke(self, id: str) -> KeyRecord | None:
        """Remove the key *id*; other processes refuse it within :data:`recall.REVOKED_WITHIN_S`.

        Returns:
            Its record, if that could be read.

        Raises:
            NotFound: There is no such key.
        """
        record = await self.find(id)
        if not await self._store.delete(_RECORDS + id):
            raise _no_key(id)
        await self._store.delete(_USED + id)
        return record

    async def used(self, id: str, day: str) -> None:
        """Write down that the key *id* was used on *day*."""
        await self._store.set(_USED + id, day.encode(), ttl_s=_USED_TTL_S)


def _no_key(id: str) -> NotFound:
    return NotFound(f"no key {id[:40]!r}; `augury keys list` shows all", id=id[:40])
