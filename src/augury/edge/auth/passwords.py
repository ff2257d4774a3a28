"""The superuser's password: hashed with argon2id, verified off the event loop, few at a time.

A verification takes some 100 ms and 64 MiB, by intent.  One thread does them, at a lower priority than
whatever answers predictions; some may wait, and any more are refused with 429.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from augury.core.errors import InvalidSetting, Overloaded
from augury.edge.auth.presented import Login

# RFC 9106 asks for 64 MiB where memory is scarce; one lane, since one core is all that it shall take.
TIME_COST: Final = 2
MEMORY_KIB: Final = 65_536
LANES: Final = 1

# A hash that is given may ask for so much.
_MAX_MEMORY_KIB: Final = 1_048_576
_MAX_TIME_COST: Final = 20

_MAX_WAITING: Final = 8
_NICENESS: Final = 10
_HASH_PREFIX: Final = "$argon2"


def is_hash(password: str) -> bool:
    """Whether *password* is a hash already."""
    return password.startswith(_HASH_PREFIX)


def hash_password(password: str) -> str:
    """*password* as ``$argon2id$…``; takes some 100 ms."""
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES)
    return hasher.hash(_bytes(password))


def check_hash(hashed: str) -> None:
    """Accept a hash that :class:`Superuser` can work with.

    Raises:
        InvalidSetting: It is not argon2id's, or asks for more than this server gives.
    """
    from argon2 import Type, extract_parameters
    from argon2.exceptions import InvalidHashError

    advice = "; make one with: augury keys hash-password"
    try:
        asked = extract_parameters(hashed)
    except (InvalidHashError, ValueError, IndexError):
        raise InvalidSetting(f"first_superuser_password is no argon2 hash{advice}") from None
    if asked.type is not Type.ID:
        raise InvalidSetting(
            f"first_superuser_password is a hash of argon2{asked.type.name.lower()}, not argon2id{advice}"
        )
    if asked.memory_cost > _MAX_MEMORY_KIB or asked.time_cost > _MAX_TIME_COST:
        raise InvalidSetting(
            f"first_superuser_password asks for {asked.memory_cost} KiB and {asked.time_cost} passes, the "
            f"limits are {_MAX_MEMORY_KIB} and {_MAX_TIME_COST}{advice}"
        )


class Superuser:
    """The one account that has a password.

    Args:
        name: User name.
        password: In the clear, or as ``$argon2id$…``.
        max_waiting: Verifications that may wait for the one under way.

    Raises:
        InvalidSetting: A hash that cannot be used.
    """

    def __init__(self, name: str, password: str, *, max_waiting: int = _MAX_WAITING) -> None:
        self.name = name
        self._name_digest = _digest(name)
        self._max_waiting = max_waiting
        self._under_way = 0
        if is_hash(password):
            check_hash(password)
        self._executor = ThreadPoolExecutor(
            1, thread_name_prefix="augury-password", initializer=_give_way
        )
        # While the models load, nobody waits for this.
        self._hashed: Future[str] = (
            self._executor.submit(str, password)
            if is_hash(password)
            else self._executor.submit(hash_password, password)
        )

    async def check(self, login: Login, *, waits: bool = False) -> bool:
        """Whether *login* is this account's; takes as long for a wrong name as for a wrong password.

        Args:
            login: What was shown.
            waits: It waits however many do; for those whose number the caller bounds.

        Raises:
            Overloaded: Too many wait already.
        """
        if self._under_way > self._max_waiting and not waits:
            raise Overloaded(
                f"{self._under_way} logins are being checked, {self._max_waiting} may wait; "
                "retry later",
                retry_after_s=1.0,
            )
        self._under_way += 1
        try:
            right = await asyncio.wrap_future(self._executor.submit(self._verify, login.password))
        finally:
            self._under_way -= 1
        return right and hmac.compare_digest(_digest(login.user), self._name_digest)

    def close(self) -> None:
        """End the thread."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _verify(self, password: str) -> bool:
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        try:
            return PasswordHasher().verify(self._hashed.result(), _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False


def _bytes(text: str) -> bytes:
    # What is no UTF-8 in the environment comes as half a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _digest(text: str) -> bytes:
    # Of one length, so that comparing takes the same time whatever the names.
    return hashlib.sha256(_bytes(text)).digest()


def _give_way() -> None:
    """Lower the priority of this thread, where a thread has one of its own."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
