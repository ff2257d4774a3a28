"""The gate: quick where it knows, right where it must ask."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from augury.core.caller import Caller
from augury.core.clock import ManualClock
from augury.core.errors import AuguryError, NotAllowed, Overloaded, Unauthenticated, Unavailable
from augury.edge.auth.audit import Audit
from augury.edge.auth.browsers import Browsers, Misdirected
from augury.edge.auth.credentials import Credentials
from augury.edge.auth.gate import Gate
from augury.edge.auth.key_ring import KeyRing
from augury.edge.auth.keys import NewKey
from augury.edge.auth.passwords import Superuser
from augury.edge.auth.recall import Recall
from tests.edge.auth.conftest import SECRET_KEY, FickleStore

PASSWORD = "correct horse battery"
TOKEN = "a-token-for-administrators"


class House:
    """A gate and what is behind it."""

    def __init__(self, store: FickleStore, clock: ManualClock, audit_file: Path) -> None:
        self.clock = clock
        self.store = store
        self.ring = KeyRing(store, clock)
        self.audit_file = audit_file
        self.audit = Audit(clock, file=audit_file, max_bytes=1_000_000)
        self.superuser = Superuser("ada", PASSWORD)
        self.recall = Recall(clock)
        self.credentials = Credentials(
            self.ring,
            lambda: SECRET_KEY,
            superuser=self.superuser,
            admin_token=TOKEN,
            audit=self.audit,
            clock=clock,
        )
        self.gate = Gate(
            self.credentials,
            self.recall,
            Browsers(on_loopback=True),
            anonymous=frozenset({"predict"}),
        )

    async def enter(
        self,
        *headers: tuple[str, str],
        method: str = "GET",
        address: str = "192.0.2.1",
        path: str = "/",
    ) -> Caller:
        """Who a request with *headers* comes from."""
        scope = request(*headers, method=method, address=address, path=path)
        return self.gate.identify(scope) or await self.gate.ask(scope)

    async def key(self, **options: Any) -> NewKey:
        """A new key."""
        chosen: dict[str, Any] = {"scopes": ("read",), "life_s": 3600.0, **options}
        return await self.ring.create(SECRET_KEY, **chosen)

    async def close(self) -> None:
        """End its threads."""
        await self.recall.close()
        self.superuser.close()
        self.audit.close()


def request(
    *headers: tuple[str, str], method: str = "GET", address: str = "192.0.2.1", path: str = "/"
) -> dict[str, Any]:
    """The scope of a request."""
    return {
        "method": method,
        "path": path,
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in (("host", "localhost"), *headers)
        ],
        "client": (address, 1234),
    }


def bearer(text: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {text}")


def basic(user: str, password: str) -> tuple[str, str]:
    return ("authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}")


@pytest.fixture
async def house(store: FickleStore, clock: ManualClock, tmp_path: Path) -> AsyncIterator[House]:
    """With a superuser, a token, and anonymous predictions."""
    made = House(store, clock, tmp_path / "audit.jsonl")
    yield made
    await made.close()


@contextmanager
def refused_with(kind: type[AuguryError], *without: str) -> Iterator[None]:
    """The block raises *kind*, whose message holds none of *without*."""
    with pytest.raises(kind) as refused:
        yield
    assert not [word for word in without if word and word in refused.value.message]


async def test_every_kind_of_credential(house: House) -> None:
    """Basic, token, and a key in each of its three places."""
    key = await house.key(scopes=("read", "predict"))
    assert (await house.enter()).name == "anonymous"
    for header in (basic("ada", PASSWORD), bearer(TOKEN)):
        assert (await house.enter(header)).scopes == {"predict", "read", "admin"}
    for header in (bearer(key.text), ("x-api-key", key.text), basic("any", key.text)):
        caller = await house.enter(header)
        assert caller.name == f"key:{key.record.id}"
        assert caller.scopes == {"read", "predict"}


async def test_what_is_known_needs_no_waiting(house: House) -> None:
    """The second request is told at once, without the store or a hash."""
    key = await house.key()
    for header in (bearer(key.text), basic("ada", PASSWORD)):
        first = await house.enter(header)
        asked = house.store.asked
        assert house.gate.identify(request(header)) is first
        assert house.store.asked == asked


WRONG = [
    bearer("x"),
    bearer(""),
    bearer(TOKEN + "x"),
    bearer(TOKEN[:-1]),
    bearer("aug_0123456789ab_" + "x" * 43),
    ("x-api-key", TOKEN[:-1]),
    ("x-api-key", ""),
    ("authorization", ""),
    ("authorization", "Basic"),
    ("authorization", "Basic !"),
    ("authorization", "Digest x"),
    ("authorization", TOKEN),
    ("authorization", "Bearer ä"),
    ("authorization", "Bearer \0"),
    ("authorization", "Bearer " + "x" * 5000),
    basic("ada", "wrong"),
    basic("bob", PASSWORD),
    basic("ada", ""),
    basic("ada", "aug_0123456789ab_" + "x" * 43),
]


async def test_wrong_credentials_are_all_told_alike(house: House) -> None:
    """Nobody learns what was wrong, nor gets what the anonymous get."""
    told = set()
    for number, header in enumerate(WRONG):
        with pytest.raises(Unauthenticated) as refused:
            await house.enter(header, address=f"192.0.2.{number}")
        told.add(refused.value.message)
        assert refused.value.details == {}
    assert len(told) == 1


async def test_a_second_credential_is_refused(house: House) -> None:
    """Two headers, or one twice: somebody could read another one than we do."""
    key = await house.key()
    for headers in (
        [bearer(key.text), ("x-api-key", key.text)],
        [bearer(key.text), bearer(key.text)],
        [bearer("x"), bearer(key.text)],
        [("x-api-key", key.text), ("x-api-key", key.text)],
    ):
        with refused_with(Unauthenticated, key.text):
            await house.enter(*headers)


async def test_two_hosts_are_refused(house: House) -> None:
    """Whichever of them is ours; other headers may be there twice."""
    with refused_with(Misdirected):
        await house.enter(("host", "localhost"))
    with refused_with(NotAllowed):
        await house.enter(("origin", "http://localhost"), ("origin", "http://localhost"))
    await house.enter(("accept", "a"), ("accept", "b"))


async def test_an_expired_key(house: House) -> None:
    """It ends to the second, known or not."""
    key = await house.key(life_s=60.0)
    await house.enter(bearer(key.text))
    house.clock.advance(59)
    await house.enter(bearer(key.text))
    house.clock.advance(1.1)
    with refused_with(Unauthenticated):
        await house.enter(bearer(key.text))


async def test_a_revoked_key_ends_within_five_seconds(house: House) -> None:
    """With other requests coming all the time."""
    key = await house.key()
    await house.enter(bearer(key.text))
    await house.ring.revoke(key.record.id)
    house.clock.advance(5.0)
    with refused_with(Unauthenticated):
        await house.enter(bearer(key.text))


async def test_a_key_under_another_id_is_wrong(house: House) -> None:
    """A record that was copied to another name in the store opens nothing."""
    key = await house.key(scopes=("admin",))
    data = await house.store.get(f"auth:key:{key.record.id}")
    assert data is not None
    await house.store.set("auth:key:aaaaaaaaaaaa", data)
    with refused_with(Unauthenticated):
        await house.enter(bearer(key.text.replace(key.record.id, "aaaaaaaaaaaa")))


async def test_with_the_store_down(house: House) -> None:
    """Known keys go on, others get 503, passwords and tokens do not care."""
    known, other = await house.key(), await house.key()
    await house.enter(bearer(known.text))
    house.store.down = True
    house.clock.advance(290)
    assert (await house.enter(bearer(known.text))).name == f"key:{known.record.id}"
    with pytest.raises(Unavailable, match="the store that knows it cannot be reached"):
        await house.enter(bearer(other.text))
    await house.enter(bearer(TOKEN))
    await house.enter(basic("ada", PASSWORD))
    house.store.down = False
    await house.enter(bearer(other.text))


async def test_guessing_is_slowed_down(house: House) -> None:
    """Five guesses, then 429, for the right password too; not for what is remembered or for keys."""
    key = await house.key()
    await house.enter(bearer(TOKEN))
    for number in range(5):
        with refused_with(Unauthenticated):
            await house.enter(basic("ada", f"guess {number}"))
    with pytest.raises(Overloaded, match="too many failed logins") as refused:
        await house.enter(basic("ada", PASSWORD))
    assert refused.value.retry_after_s == pytest.approx(6.0)
    await house.enter(basic("ada", PASSWORD), address="192.0.2.2")
    await house.enter(bearer(TOKEN))
    await house.enter(bearer(key.text))
    house.clock.advance(6.0)
    await house.enter(basic("ada", PASSWORD))


async def test_guesses_of_others_end_no_running_session(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind a proxy all have one address; whoever was let in stays, and nothing is logged of it."""
    await house.enter(basic("ada", PASSWORD))
    await house.enter(bearer(TOKEN))
    for second in range(120):
        house.clock.advance(1.0)
        with pytest.raises((Unauthenticated, Overloaded)):
            await house.enter(basic("ada", f"guess {second}"))
        for header in (basic("ada", PASSWORD), bearer(TOKEN)):
            assert house.gate.identify(request(header)) is not None
        await asyncio.gather(*house.recall._lookups.values())
    assert "could not be looked up" not in caplog.text


async def test_right_logins_are_no_guesses(house: House) -> None:
    """Eight at once from one address, each hashed anew since each is spelled anew."""
    _, login = basic("ada", PASSWORD)
    for scheme in ("basic", "Basic", "bAsic", "baSic", "basIc", "basiC", "BASIC", "BAsic"):
        await house.enter(("authorization", scheme + login[5:]))


async def test_failed_logins_are_written_down(house: House) -> None:
    """From where and what kind; not what was tried."""
    with refused_with(Unauthenticated):
        await house.enter(basic("ada", "hunter2"))
    with refused_with(Unauthenticated):
        await house.enter(bearer("aug_0123456789ab_" + "s" * 43))
    text = house.audit_file.read_text()
    assert text.count('"event": "login failed"') == 2
    assert '"address": "192.0.2.1"' in text
    assert "hunter2" not in text
    assert "sss" not in text


async def test_the_quota_stays_with_the_key(house: House) -> None:
    """Looked up anew, it is not filled up; neither through another header."""
    key = await house.key(rows_per_minute=10)
    (await house.enter(bearer(key.text))).charge(10)
    house.clock.advance(5.5)
    for header in (bearer(key.text), ("x-api-key", key.text)):
        with pytest.raises(Overloaded):
            (await house.enter(header)).charge(5)


async def test_no_spelling_of_a_key_has_a_quota_of_its_own(house: House) -> None:
    """Two keys, in turns, each as the password of fifty users: together not a row more."""
    keys = [await house.key(rows_per_minute=60) for _ in range(2)]
    charged = [0, 0]
    callers = [
        (number, await house.enter(basic(f"u{user}", key.text)))
        for user in range(50)
        for number, key in enumerate(keys)
    ]
    for number, caller in callers:
        for _ in range(4):
            with suppress(Overloaded):
                caller.charge(15)
                charged[number] += 15
    assert charged == [60, 60]


async def test_quotas_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that was looked up least lately makes room."""
    monkeypatch.setattr("augury.edge.auth.credentials._MAX_QUOTAS", 3)
    keys = [await house.key(rows_per_minute=10) for _ in range(3)]
    first = await house.enter(bearer(keys[0].text))
    first.charge(10)
    for key in keys[1:]:
        await house.enter(bearer(key.text))
    house.clock.advance(5.5)
    await house.enter(bearer(keys[0].text))
    await house.enter(bearer((await house.key(rows_per_minute=10)).text))
    assert len(house.credentials._quotas) == 3
    with pytest.raises(Overloaded):
        (await house.enter(("x-api-key", keys[0].text))).charge(5)


async def test_the_day_of_use_is_written_down(house: House) -> None:
    """Once a day."""
    key = await house.key()
    await house.enter(bearer(key.text))
    assert [used for _, used in await house.ring.list()] == ["2026-11-18"]


FOREIGN = [
    (("origin", "https://evil.example"),),
    (("sec-fetch-site", "cross-site"),),
    (("sec-fetch-site", "same-site"), ("origin", "http://localhost:3000")),
]


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_foreign_pages_change_nothing(
    house: House, foreign: tuple[tuple[str, str], ...]
) -> None:
    """Nor with a password that the browser adds, nor with none; reading is what it always is."""
    key = await house.key()
    await house.enter(basic("ada", PASSWORD))
    for header in ([], [basic("ada", PASSWORD)], [basic("ada", "wrong")], [basic("x", key.text)]):
        for method in ("POST", "DELETE", "PUT"):
            with refused_with(NotAllowed):
                await house.enter(*header, *foreign, method=method)
    await house.enter(*foreign)
    await house.enter(basic("ada", PASSWORD), *foreign)
    # No browser adds these by itself.
    await house.enter(bearer(TOKEN), *foreign, method="POST")
    await house.enter(("x-api-key", key.text), *foreign, method="POST")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("foreign", FOREIGN)
async def test_foreign_pages_fetch_no_tweets(
    house: House, foreign: tuple[tuple[str, str], ...], method: str
) -> None:
    """/v1/inference asks X and keeps the answer; an address that was typed is no page's."""
    key = await house.key()
    path = "/v1/inference"
    for header in ([], [basic("ada", PASSWORD)], [basic("x", key.text)]):
        for _ in range(2):  # looked up, and remembered
            with refused_with(NotAllowed):
                await house.enter(*header, *foreign, method=method, path=path)
            await house.enter(*header, ("sec-fetch-site", "none"), method=method, path=path)
            await house.enter(*header, ("sec-fetch-site", "same-origin"), method=method, path=path)
            await house.enter(*header, method=method, path=path)
            await house.enter(*header, *foreign, method=method, path="/v1/tweets/1")
    await house.enter(bearer(TOKEN), *foreign, method=method, path=path)


async def test_foreign_hosts_are_refused_even_where_all_may(house: House) -> None:
    """The open routes as well: their answers are nobody's business."""
    scope = {**request(), "headers": [(b"host", b"evil.example")]}
    for ask in (house.gate.welcome, house.gate.identify):
        with refused_with(Misdirected):
            ask(scope)


async def test_the_missing_scope_is_named(house: House) -> None:
    """403 to who is known, 401 to who is not."""
    key = await house.key(scopes=("read",))
    caller = await house.enter(bearer(key.text))
    house.gate.check(caller, "read")
    with pytest.raises(NotAllowed, match=r"needs the scope .predict., and key:\w+ has read"):
        house.gate.check(caller, "predict")
    with pytest.raises(Unauthenticated, match="needs the scope 'admin'; send an API key"):
        house.gate.check(house.gate.anonymous, "admin")
    house.gate.check(await house.enter(bearer(TOKEN)), "predict")
