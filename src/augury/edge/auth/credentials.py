"""Find out whose a credential is: the superuser's, the admin token, or an API key.

The slow way, behind :mod:`~augury.edge.auth.recall`: it may take a tenth of a second for a password,
and a round trip to the store for a key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from augury.core.caller import Caller, Scope
from augury.core.clock import Clock
from augury.core.errors import InvalidSetting, Overloaded, Unavailable
from augury.edge.auth.audit import Audit
from augury.edge.auth.key_ring import KeyRing
from augury.edge.auth.keys import SCOPES, KeyRecord, fits, id_of
from augury.edge.auth.passwords import Superuser
from augury.edge.auth.presented import Login, Token
from augury.edge.auth.quota import RowQuota
from augury.edge.auth.recall import Verdict
from augury.edge.auth.throttle import Throttle
from augury.observe.logs import get_logger

# A password or token that was right is taken for right for so long.
REMEMBERED_S: Final = 60.0
# No look-up in the store takes longer.
_STORE_S: Final = 2.0
_MAX_QUOTAS: Final = 100_000

_ALL: Final[frozenset[Scope]] = frozenset(SCOPES)
_WRONG: Final = Verdict(None)

_log = get_logger(__name__)


class Credentials:
    """All credentials that this server accepts.

    Args:
        ring: The API keys.
        read_secret_key: The server's secret key; ``None`` while there is none, hence no key either.
        superuser: The account with a password, if there is one.
        admin_token: A token with all scopes, if there is one.
        audit: Where failed logins are written down.
        clock: Both times of it.
    """

    def __init__(
        self,
        ring: KeyRing,
        read_secret_key: Callable[[], bytes | None],
        *,
        superuser: Superuser | None,
        admin_token: str | None,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._ring = ring
        self._read_secret_key = read_secret_key
        self._superuser = superuser
        self._admin_token = None if admin_token is None else _digest(admin_token)
        self._audit = audit
        self._clock = clock
        self._throttle = Throttle(clock)
        self._quotas: dict[str, RowQuota] = {}
        self._days: dict[str, str] = {}

    @property
    def has_admin(self) -> bool:
        """Whether somebody may do everything, but for API keys."""
        return self._superuser is not None or self._admin_token is not None

    def fault(self, shown: Login | Token) -> str | None:
        """Why *shown* cannot be looked up just now, if that is known."""
        return None if _key_in(shown) is None else self._ring.fault

    async def look_up(
        self, shown: Login | Token, address: str, *, renewal: bool = False
    ) -> Verdict:
        """Whose *shown* is.

        Args:
            shown: The credential.
            address: The client's.
            renewal: It was right a moment ago, hence is no guess: what slows down those who guess
                does not end the session of one who knows.

        Raises:
            Overloaded: *address* has guessed too often, or too many passwords are being checked.
            Unavailable: The store, which knows the keys, cannot be reached.
        """
        key = _key_in(shown)
        if key is not None:
            return await self._look_up_key(key, address)
        wait_s = 0.0 if renewal else self._throttle.try_once(address)
        if wait_s:
            raise Overloaded(
                f"too many failed logins from here; try again in {wait_s:.0f} s",
                retry_after_s=wait_s,
            )
        name = await self._name_of(shown, renewal)
        if name is None:
            kind = "password" if isinstance(shown, Login) else "token"
            await self._audit.login_failed(address, kind)
            return _WRONG
        if not renewal:
            self._throttle.give_back(address)
        return Verdict(Caller(name, _ALL), fixed_s=REMEMBERED_S)

    async def _name_of(self, shown: Login | Token, renewal: bool) -> str | None:
        if isinstance(shown, Login):
            if self._superuser is not None and await self._superuser.check(shown, waits=renewal):
                return f"user:{self._superuser.name}"
        elif self._admin_token is not None and hmac.compare_digest(
            _digest(shown.value), self._admin_token
        ):
            return "admin-token"
        return None

    async def _look_up_key(self, key: str, address: str) -> Verdict:
        key_id = id_of(key)
        try:
            secret_key = self._read_secret_key()
        except InvalidSetting as error:
            _log.error("the secret key cannot be read", reason=error.message)
            raise Unavailable(
                "the API key cannot be checked, since the server cannot read its secret key; the "
                "log tells why"
            ) from error
        if key_id is None or secret_key is None:
            await self._audit.login_failed(address, "key")
            return _WRONG
        try:
            async with asyncio.timeout(_STORE_S):
                record = await self._ring.find(key_id)
        except (Unavailable, TimeoutError) as error:
            raise Unavailable(
                "the API key cannot be checked, since the store that knows it cannot be reached; "
                "retry later",
                retry_after_s=1.0,
            ) from error
        now_s = self._clock.time()
        if record is None or record.id != key_id or not fits(record, key, secret_key):
            await self._audit.login_failed(address, "key")
            return _WRONG
        if record.status(now_s) != "active":
            await self._audit.login_failed(address, f"expired key:{key_id}")
            return _WRONG
        await self._tell_used(key_id, now_s)
        caller = Caller(f"key:{key_id}", frozenset(record.scopes), self._quota(record))
        if record.expires_s is None:
            return Verdict(caller)
        return Verdict(caller, ends_s=self._clock.monotonic() + record.expires_s - now_s)

    def _quota(self, record: KeyRecord) -> RowQuota | None:
        """The key's quota, the same one each time: what is used up stays used up.

        One that is full is kept like any other, since callers that are remembered hold it too: with
        a second one beside it the key would have twice its rows.
        """
        if record.rows_per_minute is None:
            return None
        quota = self._quotas.pop(record.id, None)
        if quota is None or quota.rows_per_minute != record.rows_per_minute:
            quota = RowQuota(record.rows_per_minute, self._clock)
        self._quotas[record.id] = quota
        if len(self._quotas) > _MAX_QUOTAS:
            del self._quotas[next(iter(self._quotas))]
        return quota

    async def _tell_used(self, id: str, now_s: float) -> None:
        """Write down the day; once a day for each key and process, and nothing depends on it."""
        day = datetime.fromtimestamp(now_s, UTC).date().isoformat()
        if self._days.get(id) == day:
            return
        if len(self._days) >= _MAX_QUOTAS:
            self._days.clear()
        self._days[id] = day
        try:
            async with asyncio.timeout(_STORE_S):
                await self._ring.used(id, day)
        except (Unavailable, TimeoutError):
            self._days.pop(id, None)
            _log.debug("the day of a key's use was not written down", id=id)


def _key_in(shown: Login | Token) -> str | None:
    """The API key that was shown, if it looks like one.

    A key may stand in the place of a password, so that a person can open the dashboard with it.
    """
    text = shown.password if isinstance(shown, Login) else shown.value
    return text if id_of(text) is not None else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
