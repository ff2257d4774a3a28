"""From a URL to a store, and what a wrong URL is told."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from augury.core import registry as core_registry
from augury.core.clock import ManualClock
from augury.core.errors import InvalidSetting, OperatorError
from augury.stores import memory, sqlite
from augury.stores.base import KeyValueStore
from augury.stores.memory import MemoryStore
from augury.stores.redis import url as redis_url
from augury.stores.registry import STORES, StoreOpener, masked, open_store
from augury.stores.sqlite import SqliteStore


async def _open(url: str) -> KeyValueStore:
    return await open_store(url, clock=ManualClock(), on_corrupt=lambda _path, _reason: None)


def test_ours_are_what_is_asked_for() -> None:
    """Each of our openers, and so its store, fits the Protocol (mypy sees to it)."""
    ours: dict[str, StoreOpener] = {
        "memory": memory.open_url,
        "sqlite": sqlite.open_url,
        "redis": redis_url.open_url,
        "rediss": redis_url.open_url,
    }

    assert {name: STORES.get(name) for name in ours} == ours


async def test_memory_takes_its_bounds_from_the_url() -> None:
    """The parameters of memory:// are the store's bounds."""
    store = await _open("memory://?max_bytes=1000&max_entries=2")

    assert isinstance(store, MemoryStore)
    await store.set_many({"a": b"", "b": b""})
    await store.set("c", b"")
    assert await store.count() == 2


async def test_three_slashes_are_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sqlite:///x lies in the working folder, sqlite:////x at the root; escapes are understood."""
    monkeypatch.chdir(tmp_path)
    for url, path in (
        ("sqlite:///data/a%20b.db", tmp_path / "data" / "a b.db"),
        (f"sqlite:///{tmp_path}/absolute.db", tmp_path / "absolute.db"),
        ("SQLITE:///upper.db", tmp_path / "upper.db"),
    ):
        store = await _open(url)
        assert isinstance(store, SqliteStore)
        await store.close()
        assert store.path == path.resolve()
        assert path.is_file()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not a URL"),
        ("memory", "not a URL"),
        ("sqlite:/x.db", "not a URL"),
        ("etcd://host", "unknown scheme"),
        ("://x", "unknown scheme"),
        ("memory://host", "nothing but parameters"),
        ("memory:///x", "nothing but parameters"),
        ("memory://?max_bytes=64MiB", "max_bytes is '64MiB'"),
        ("memory://?max_bytes=0", "max_bytes is '0'"),
        ("memory://?max_entries=²", "max_entries is '²'"),
        ("memory://?entries=5", "unknown parameter 'entries'"),
        ("memory://?max_bytes", "memory://"),
        ("sqlite://", "sqlite:///relative/path"),
        ("sqlite:///", "sqlite:///relative/path"),
        ("sqlite://x.db", "sqlite:///relative/path"),
        ("sqlite:///x.db?mode=ro", "no parameters"),
        ("sqlite:///x.db#y", "no parameters"),
        ("sqlite:///:memory:", "write memory://"),
        ("sqlite:///x%00.db", "NUL"),
        ("redis://[broken", "redis"),
    ],
)
async def test_a_wrong_url_is_told(url: str, why: str) -> None:
    """The message names the URL, what is wrong with it, and what is known."""
    with pytest.raises(InvalidSetting) as caught:
        await _open(url)

    assert why in caught.value.message
    assert repr(url) in caught.value.message
    assert "memory://, sqlite://" in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "nosql://user:hunter2@host/0",
        "nosql://:hunter2@host",
        "nosql://hunter2@host",
        "nosql://user:a/hunter2?b#@c@host",
        "nosql://host/0?password=hunter2&db=1",
        "nosql://host/0?db=1&auth_token=hunter2",
        "memory://user:hunter2@host",
        "sqlite://user:hunter2@[broken/x.db",
        "sqlite://user:hunter2@ho℀st/x.db",
    ],
)
async def test_a_password_is_never_shown(url: str) -> None:
    """Neither message, details nor cause hold the password, wherever it stood."""
    with pytest.raises(InvalidSetting) as caught:
        await _open(url)

    assert "***" in caught.value.message
    told = (caught.value.message, caught.value.details)
    assert "hunter2" not in repr(told)


def test_the_rest_of_a_url_is_shown() -> None:
    """Masking leaves user, host, path and harmless parameters."""
    assert masked("redis://user:pw@host:1/2?db=3") == "redis://user:***@host:1/2?db=3"
    assert masked("sqlite:///a/b.db") == "sqlite:///a/b.db"
    assert masked("memory://?max_bytes=5") == "memory://?max_bytes=5"


async def test_an_operators_error_passes(tmp_path: Path) -> None:
    """What the store itself says about its file is not dressed up as a bad URL."""
    with pytest.raises(OperatorError, match="is a folder"):
        await _open(f"sqlite:///{tmp_path}")


async def test_others_add_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point adds a scheme; one whose package is missing is told; ours stay ours."""
    points = [
        EntryPoint("copy", "augury.stores.memory:open_url", STORES.group),
        EntryPoint("lost", "no_such_package:open_url", STORES.group),
        EntryPoint("sqlite", "augury.stores.memory:open_url", STORES.group),
    ]

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [p for p in points if p.group == group and name in (None, p.name)]

    monkeypatch.setattr(core_registry, "entry_points", entry_points)
    monkeypatch.setattr(STORES, "_loaded", {})

    assert isinstance(await _open("copy://"), MemoryStore)
    with pytest.raises(InvalidSetting, match=r"lost://.*no_such_package"):
        await _open("lost://")
    with pytest.raises(InvalidSetting, match="sqlite:///relative"):
        await _open("sqlite://")
    with pytest.raises(
        InvalidSetting, match="memory://, sqlite://, redis://, rediss://, copy://, lost://"
    ):
        await _open("etcd://")
