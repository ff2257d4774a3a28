"""The superuser's password."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from augury.core.errors import InvalidSetting, Overloaded
from augury.edge.auth.passwords import Superuser, check_hash, hash_password, is_hash
from augury.edge.auth.presented import Login

PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD)


@pytest.fixture(params=["clear", "hashed"])
def ada(request: pytest.FixtureRequest) -> Iterator[Superuser]:
    """Made either way."""
    made = Superuser("ada", PASSWORD if request.param == "clear" else HASHED)
    yield made
    made.close()


async def test_only_the_right_pair_is_right(ada: Superuser) -> None:
    """A wrong name is wrong with the right password, too."""
    assert await ada.check(Login("ada", PASSWORD))
    for user, password in (
        ("ada", "wrong"),
        ("ada", ""),
        ("Ada", PASSWORD),
        ("bob", PASSWORD),
        ("ada", PASSWORD + " "),
        ("ada", HASHED),
        ("ada", "\ud800"),
    ):
        assert not await ada.check(Login(user, password))


def test_the_hash_is_argon2id_with_64_mib() -> None:
    """And no two are alike."""
    assert HASHED.startswith("$argon2id$v=19$m=65536,t=2,p=1$")
    assert is_hash(HASHED)
    assert hash_password(PASSWORD) != HASHED


@pytest.mark.parametrize(
    ("hashed", "told"),
    [
        ("$argon2", "no argon2 hash"),
        ("$argon2id$v=19$m=65536,t=2,p=1$", "no argon2 hash"),
        (HASHED.replace("argon2id", "argon2i"), "argon2i, not argon2id"),
        (HASHED.replace("m=65536", "m=99999999"), "99999999 KiB"),
        (HASHED.replace("t=2", "t=999"), "999 passes"),
    ],
    ids=["empty", "no hash", "argon2i", "memory", "passes"],  # the salt is another each time
)
def test_hashes_that_cannot_be_used(hashed: str, told: str) -> None:
    """They are told at the start, and how to make one; never the hash."""
    with pytest.raises(InvalidSetting, match=told) as refused:
        Superuser("ada", hashed)
    assert "augury keys hash-password" in refused.value.message
    assert "$argon2id$v" not in refused.value.message
    check_hash(HASHED)


async def test_it_is_verified_off_the_loop(ada: Superuser, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread of its own, whose priority is low."""
    seen: list[tuple[str, int]] = []
    verify = ada._verify

    def watched(password: str) -> bool:
        niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        seen.append((threading.current_thread().name, niceness))
        return verify(password)

    monkeypatch.setattr(ada, "_verify", watched)
    assert await ada.check(Login("ada", PASSWORD))
    [(name, niceness)] = seen
    assert name.startswith("augury-password")
    if sys.platform == "linux":
        assert niceness >= 10


async def test_one_at_a_time_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are told to come again; the loop is never held up."""
    ada = Superuser("ada", HASHED, max_waiting=3)
    at_once = most = 0

    def slowly(_: str) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.05)
        at_once -= 1
        return True

    monkeypatch.setattr(ada, "_verify", slowly)
    tried = await asyncio.gather(
        *(ada.check(Login("ada", "x")) for _ in range(20)), return_exceptions=True
    )
    ada.close()
    refused = [one for one in tried if isinstance(one, Overloaded)]
    assert len(refused) == 16
    assert all(one.retry_after_s for one in refused)
    assert tried.count(True) == 4
    assert most == 1


async def test_who_was_right_before_waits_in_any_queue() -> None:
    """A flood of guesses does not end a session."""
    ada = Superuser("ada", PASSWORD, max_waiting=0)
    guess = asyncio.create_task(ada.check(Login("ada", "x")))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ada.check(Login("ada", PASSWORD))
    assert await ada.check(Login("ada", PASSWORD), waits=True)
    assert not await guess
    ada.close()
