"""What is the SQLite store's own: its file, and what may happen to it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from augury.core.clock import ManualClock
from augury.core.errors import InvalidSetting, StoreCorrupt, TooLarge, Unavailable
from augury.stores import sqlite, sqlite_file
from augury.stores.base import Change
from augury.stores.sqlite import SqliteStore

START_S = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
STAMP = "20231114T221320Z"

Told = list[tuple[Path, str]]
Opener = Callable[[], Awaitable[SqliteStore]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_s=START_S)


@pytest.fixture
def told() -> Told:
    """What on_corrupt was told."""
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def open_it(path: Path, clock: ManualClock, told: Told) -> AsyncIterator[Opener]:
    opened: list[SqliteStore] = []

    async def opener() -> SqliteStore:
        store = await SqliteStore.open(
            path, clock=clock, on_corrupt=lambda kept, reason: told.append((kept, reason))
        )
        opened.append(store)
        return store

    yield opener
    for store in opened:
        await store.close()


def _kept(path: Path) -> list[str]:
    """Files kept aside, without their companions."""
    return sorted(
        p.name
        for p in path.parent.iterdir()
        if ".corrupt-" in p.name and not p.name.endswith(("-wal", "-shm"))
    )


async def _fill(open_it: Opener, rows: int = 2000) -> None:
    """Write a file of many pages, and close it."""
    store = await open_it()
    await store.set_many({f"{i:05}": b"x" * 100 for i in range(rows)})
    await store.close()


async def test_a_restart_loses_nothing(open_it: Opener, clock: ManualClock) -> None:
    """What was written is there when the file is opened again, and expires when it should."""
    async with await open_it() as store:
        await store.set("kept", b"1")
        await store.set("short", b"2", ttl_s=60)
    clock.advance(59)
    async with await open_it() as store:
        assert await store.get_many(["kept", "short"]) == [b"1", b"2"]
        clock.advance(1)
        assert await store.get_many(["kept", "short"]) == [b"1", None]


async def test_folders_are_made(tmp_path: Path, clock: ManualClock) -> None:
    """Missing folders above the file are no error."""
    path = tmp_path / "a" / "b" / "store.db"
    async with await SqliteStore.open(path, clock=clock, on_corrupt=lambda *_: None) as store:
        await store.set("key", b"")

    assert path.is_file()


async def test_an_empty_file_is_a_fresh_one(open_it: Opener, path: Path, told: Told) -> None:
    """A file of no bytes holds nothing to lose."""
    path.touch()
    store = await open_it()
    await store.set("key", b"1")

    assert await store.get("key") == b"1"
    assert not told


async def test_the_file_says_whose_it_is(open_it: Opener, path: Path) -> None:
    """Header, journal and table are as the documentation has them."""
    store = await open_it()

    def look(connection: sqlite3.Connection) -> list[object]:
        return [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "journal_mode", "synchronous")
        ]

    assert await store._run(look) == [sqlite_file.APPLICATION_ID, 2, "wal", 1]
    assert path.read_bytes()[68:72] == b"Augy"


async def test_the_loop_goes_on_while_the_file_is_locked(open_it: Opener, path: Path) -> None:
    """A write that waits for another process holds up nobody else.

    The lock is released from the event loop: were the loop blocked, the write would fail.
    """
    store = await open_it()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(store.set("key", b"1"))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not write.done()

    other.execute("ROLLBACK")
    other.close()
    await write
    assert await store.get("key") == b"1"


async def test_the_file_is_touched_by_one_thread(open_it: Opener) -> None:
    """All work runs on the store's own thread, which goes when the store is closed."""
    store = await open_it()
    names = await asyncio.gather(
        *(store._run(lambda _: threading.current_thread().name) for _ in range(10))
    )
    assert set(names) == {"sqlite-store.db_0"}

    await store.close()
    store._executor.shutdown(wait=True)
    assert "sqlite-store.db_0" not in {thread.name for thread in threading.enumerate()}


async def test_a_lock_held_too_long_is_told(
    open_it: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the busy timeout the caller is told to retry, with the file's name."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_S", 0.05)
    store = await open_it()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=r"store\.db: another process has held it") as caught:
        await store.set("key", b"1")
    other.close()

    assert caught.value.retryable
    await store.set("key", b"1")


async def test_a_cancelled_open_leaves_nothing_open(path: Path, clock: ManualClock) -> None:
    """Whoever stops waiting for open() leaves no thread and no file behind (warnings are errors)."""
    task = asyncio.create_task(SqliteStore.open(path, clock=clock, on_corrupt=lambda *_: None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_expired_rows_are_purged_a_few_at_a_time(
    open_it: Opener, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes remove expired rows, within a bound for each, and then leave it for a minute."""
    monkeypatch.setattr(sqlite, "PURGE_ROWS", 10)
    store = await open_it()

    async def rows() -> int:
        return await store._run(lambda c: int(c.execute("SELECT count(*) FROM kv").fetchone()[0]))

    await store.set_many({f"{i}": b"" for i in range(25)}, ttl_s=1)
    await store.set("forever", b"")
    clock.advance(60)
    left = []
    for _ in range(4):
        await store.delete("no such key")
        left.append(await rows())
    assert left == [16, 6, 1, 1]

    await store.set("late", b"", ttl_s=1)
    clock.advance(59)
    await store.delete("no such key")
    assert await rows() == 2
    clock.advance(1)
    await store.put_if_absent("forever", b"")
    assert await rows() == 1


async def test_a_page_is_bounded_in_bytes(open_it: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large values make pages shorter, and none is lost between them."""
    monkeypatch.setattr(sqlite, "PAGE_BYTES", 1000)
    store = await open_it()
    items = {f"{i:02}": bytes([i]) * 300 for i in range(20)}
    await store.set_many(items)

    assert len(await store._run(lambda c: store._page("", None, 500, c))) == 4
    assert dict([item async for item in store.scan("")]) == items


async def test_a_prefix_is_looked_up_in_the_index(open_it: Opener) -> None:
    """A scan reads the range of its prefix, not the table."""
    store = await open_it()
    where, bounds = sqlite_file.range_of("user:", "key")
    plan = await store._run(
        lambda c: c.execute(
            f"EXPLAIN QUERY PLAN SELECT key FROM kv WHERE {where}", bounds
        ).fetchall()
    )

    assert "SEARCH kv USING PRIMARY KEY" in plan[0][-1]


async def test_a_mistake_of_the_caller_is_not_blamed_on_the_file(open_it: Opener) -> None:
    """A value of a wrong type is the caller's error, and no reason to set the file aside."""
    store = await open_it()
    with pytest.raises(sqlite3.ProgrammingError):
        await store.set("key", object())  # type: ignore[arg-type]
    await store.set("key", b"1")

    with pytest.raises(TooLarge, match="too big"):
        await store._run(lambda c: c.execute("SELECT zeroblob(2000000000)").fetchone())


WRITER = """
import asyncio, sys
from pathlib import Path
from augury.core.clock import SystemClock
from augury.stores.sqlite import SqliteStore

async def main(path, me):
    told = []
    sys.stdin.readline()
    async with await SqliteStore.open(
        Path(path), clock=SystemClock(), on_corrupt=lambda *args: told.append(args)
    ) as store:
        won = 0
        for i in range(100):
            await store.set(f"{me}:{i}", me.encode())
            won += await store.put_if_absent(f"shared:{i}", me.encode())
        print(won, len(told))

asyncio.run(main(*sys.argv[1:]))
"""


def _run_two(path: Path) -> list[tuple[int, int]]:
    """Two processes write at once; returns the puts that each won, and the damage it was told."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITER, str(path), me],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in "ab"
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        won, told = out.split()
        results.append((int(won), int(told)))
    return results


@pytest.mark.parametrize("start", ["no file", "garbage"])
async def test_two_processes_share_the_file(open_it: Opener, path: Path, start: str) -> None:
    """Both make or mend the file at the same time; no write is lost, no put is won twice."""
    if start == "garbage":
        path.write_bytes(os.urandom(8192))
    results = await asyncio.to_thread(_run_two, path)

    store = await open_it()
    assert [await store.count(prefix) for prefix in ("a:", "b:", "shared:")] == [100, 100, 100]
    assert sum(won for won, _ in results) == 100
    assert sum(told for _, told in results) == (start == "garbage") == len(_kept(path))


@pytest.mark.parametrize("size_bytes", [2, 15, 99, 512, 4096, 100_000])
async def test_garbage_is_kept_aside(
    open_it: Opener, path: Path, told: Told, size_bytes: int
) -> None:
    """A file that is no database is renamed, told and replaced by an empty one."""
    garbage = b"\xa5" * size_bytes
    path.write_bytes(garbage)
    store = await open_it()
    await store.set("key", b"1")

    kept = path.with_name(f"store.db.corrupt-{STAMP}")
    assert [where for where, _ in told] == [kept]
    assert "not a database" in told[0][1]
    assert kept.read_bytes() == garbage
    assert await store.get("key") == b"1"


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
async def test_a_cut_off_file_is_kept_aside(
    open_it: Opener, path: Path, told: Told, share: float
) -> None:
    """A database that lost its end is found when it is opened."""
    await _fill(open_it)
    os.truncate(path, int(path.stat().st_size * share))
    store = await open_it()

    assert len(told) == 1
    assert "malformed" in told[0][1]
    assert await store.count() == 0
    await store.set("key", b"1")


async def test_the_companions_go_along(open_it: Opener, path: Path, told: Told) -> None:
    """-wal and -shm are kept under the name that SQLite would look for."""
    path.write_bytes(b"\xa5" * 5000)
    path.with_name("store.db-wal").write_bytes(b"wal")
    path.with_name("store.db-shm").write_bytes(b"shm")
    await open_it()

    name = f"store.db.corrupt-{STAMP}"
    assert _kept(path) == [name]
    assert path.with_name(f"{name}-shm").exists()
    assert path.with_name(f"{name}-wal").read_bytes() == b"wal"
    assert len(told) == 1


async def test_nothing_kept_aside_is_overwritten(open_it: Opener, path: Path, told: Told) -> None:
    """Two damaged files of one second get two names."""
    for content in (b"\xa5" * 500, b"\x5a" * 500):
        path.write_bytes(content)
        await (await open_it()).close()

    name = f"store.db.corrupt-{STAMP}"
    assert _kept(path) == [name, f"{name}-2"]
    assert len(told) == 2


def _spoil(path: Path) -> None:
    """Overwrite all but the header page, as a failing disk might."""
    size_bytes = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size_bytes - 4096))


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.set("key", b"1"),
        lambda store: store.put_if_absent("key", b"1"),
        lambda store: store.get("00500"),
        lambda store: store.count(),
        lambda store: store.delete("00500"),
        lambda store: anext(aiter(store.scan("005")), None),
    ],
    ids=["set", "put_if_absent", "get", "count", "delete", "scan"],
)
async def test_damage_found_later_is_mended(
    open_it: Opener,
    path: Path,
    told: Told,
    call: Callable[[SqliteStore], Awaitable[object]],
) -> None:
    """Damage found by a call is kept aside, and the call is done on an empty file."""
    await _fill(open_it)
    store = await open_it()
    _spoil(path)
    await call(store)

    assert len(told) == 1
    assert told[0][0] == path.with_name(f"store.db.corrupt-{STAMP}")
    await store.set("later", b"1")
    assert await store.get("later") == b"1"
    assert not told[1:]


async def test_damage_again_at_once_is_not_kept_again(
    open_it: Opener, path: Path, told: Told, clock: ManualClock
) -> None:
    """A disk that spoils every file does not fill up with them: one a minute, else Unavailable."""
    await _fill(open_it)
    store = await open_it()
    _spoil(path)
    await store.get("00500")
    assert len(told) == 1

    await store.set_many({f"{i:05}": b"x" * 100 for i in range(2000)})
    await store._run(lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    await store._run(lambda c: c.execute("PRAGMA shrink_memory").fetchone())
    _spoil(path)
    clock.advance(59)
    with pytest.raises(Unavailable, match=r"store\.db: is damaged again"):
        await store.get("00500")

    clock.advance(1)
    await store.get("00500")
    assert len(told) == 2
    assert len(_kept(path)) == 2


@pytest.mark.parametrize("state", ["sound", "cut off"])
async def test_anothers_database_is_left_alone(
    open_it: Opener, path: Path, told: Told, state: str
) -> None:
    """The database of another application, damaged or not, is refused and not changed."""
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.executemany("INSERT INTO precious VALUES (?)", [("x" * 1000,)] * 100)
    other.commit()
    other.close()
    if state == "cut off":
        os.truncate(path, 20_000)
    before = path.read_bytes()

    with pytest.raises(StoreCorrupt, match=r"store\.db is the .*of another application"):
        await open_it()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["store.db"]
    assert not told


async def test_a_database_that_only_has_another_id_is_left_alone(
    open_it: Opener, path: Path
) -> None:
    """A GeoPackage without tables is a GeoPackage all the same."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA application_id = 0x47504b47")
    other.close()

    with pytest.raises(StoreCorrupt, match="0x47504b47"):
        await open_it()


async def test_a_later_schema_is_refused(open_it: Opener, path: Path, told: Told) -> None:
    """A file of a later Augury is told as such, and not changed."""
    await (await open_it()).close()
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 3")
    later.close()

    with pytest.raises(StoreCorrupt, match=r"store\.db was written by a later Augury \(schema 3"):
        await open_it()
    assert not told
    assert _kept(path) == []


async def test_a_file_of_schema_1_gets_its_tallies(open_it: Opener, path: Path, told: Told) -> None:
    """A file from before there were tallies keeps its items and takes commits."""
    async with await open_it() as store:
        await store.set("key", b"1")
    earlier = sqlite3.connect(path)
    earlier.executescript("DROP TABLE sums; DROP TABLE ranks; PRAGMA user_version = 1")
    earlier.close()

    store = await open_it()
    assert await store.commit([Change(ranks={"table": {"member": 2}})]) == [True]
    assert await store.top("table", limit=5) == [("member", 2)]
    assert await store.get("key") == b"1"
    assert not told


async def test_a_fault_is_remembered_until_it_is_over(open_it: Opener, path: Path) -> None:
    """The property tells of the last failure to reach the file, without asking it."""
    store = await open_it()
    told = [store.fault]
    path.unlink()
    path.mkdir()
    with pytest.raises(Unavailable):
        await store.get("key")
    told.append(store.fault)
    path.rmdir()
    await store.get("key")
    told.append(store.fault)
    await store.close()
    told.append(store.fault)

    assert (told[0], told[2]) == (None, None)
    assert "store.db" in (told[1] or "")
    assert "closed" in (told[3] or "")


async def test_a_file_of_ours_without_its_table_is_damaged(
    open_it: Opener, path: Path, told: Told
) -> None:
    """Our id without our table is damage."""
    await (await open_it()).close()
    other = sqlite3.connect(path)
    other.execute("DROP TABLE kv")
    other.close()

    await open_it()
    assert [reason for _, reason in told] == ["its table kv is missing"]


async def test_a_file_that_vanishes_is_made_again(open_it: Opener, path: Path) -> None:
    """A store does not go on writing to a file that has no name any more."""
    store = await open_it()
    await store.set("old", b"1")
    path.unlink()
    await store.set("new", b"2")

    assert await store.get_many(["old", "new"]) == [None, b"2"]
    await store.close()
    again = await open_it()
    assert await again.get("new") == b"2"


async def test_two_stores_agree_on_the_file_after_damage(
    open_it: Opener, path: Path, told: Told
) -> None:
    """When one store has mended the file, the other goes on with the new one, not the old."""
    await _fill(open_it)
    first, second = await open_it(), await open_it()
    _spoil(path)
    await first.set("key", b"1")
    assert len(told) == 1

    assert await second.get("key") == b"1"
    await second.set("key", b"2")
    await second.close()
    assert await first.get("key") == b"2"
    assert len(told) == 1


async def test_a_folder_is_no_file(open_it: Opener, path: Path) -> None:
    """A folder in place of the file is told, not set aside."""
    path.mkdir()
    with pytest.raises(InvalidSetting, match=r"store\.db is a folder; name a file in it"):
        await open_it()


async def test_a_pipe_is_no_file(open_it: Opener, path: Path) -> None:
    """Nor is anything else that would block or lose what is written."""
    os.mkfifo(path)
    with pytest.raises(InvalidSetting, match="not a regular file"):
        await open_it()
    assert stat.S_ISFIFO(path.stat().st_mode)


async def test_a_file_in_the_way_of_a_folder_is_told(open_it: Opener, path: Path) -> None:
    """What cannot be made is told with the file's name and the system's reason."""
    path.write_bytes(b"")
    with pytest.raises(InvalidSetting, match=r"store\.db.*Not a directory|File exists"):
        await SqliteStore.open(
            path / "below" / "store.db", clock=ManualClock(), on_corrupt=lambda *_: None
        )


async def test_proc_takes_no_store(clock: ManualClock) -> None:
    """Where not even root may write, the error says so."""
    with pytest.raises(InvalidSetting, match=r"/proc/store\.db cannot be"):
        await SqliteStore.open(Path("/proc/store.db"), clock=clock, on_corrupt=lambda *_: None)


@pytest.mark.parametrize("read_only", ["file", "folder"])
async def test_a_read_only_place_is_told_at_once(
    open_it: Opener, path: Path, read_only: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the first write, but when the store is opened."""
    await (await open_it()).close()
    place = path if read_only == "file" else path.parent
    place.chmod(stat.S_IMODE(place.stat().st_mode) & ~0o222)
    if os.geteuid() == 0:  # root may write all the same; the answer of others is given to it
        real = os.access
        monkeypatch.setattr(
            os, "access", lambda p, mode: real(p, mode) and not (p == place and mode & os.W_OK)
        )
    try:
        with pytest.raises(
            InvalidSetting, match=f"store.db cannot be written: {place} is read-only"
        ):
            await open_it()
    finally:
        place.chmod(0o755)


async def test_a_full_disk_is_told(open_it: Opener, path: Path, told: Told) -> None:
    """A full disk is no damage: the caller is told, and reading goes on."""
    store = await open_it()
    await store.set("key", b"1")
    await store._run(lambda c: c.execute("PRAGMA max_page_count = 10").fetchone())

    with pytest.raises(Unavailable, match=r"store\.db: the disk is full") as caught:
        await store.set("large", b"x" * 100_000)
    assert caught.value.details["path"] == str(path)
    assert await store.get_many(["key", "large"]) == [b"1", None]
    await store.set("key", b"2")
    assert not told


async def test_an_old_sqlite_is_told(open_it: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without STRICT tables the store cannot be; the message names both versions."""
    monkeypatch.setattr(sqlite_file, "MIN_SQLITE", (99, 0, 0))
    with pytest.raises(
        InvalidSetting, match=r"needs SQLite 99\.0\.0 or later, this Python has 3\."
    ):
        await open_it()


async def test_damage_that_cannot_be_kept_aside_is_told(
    open_it: Opener, path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to rename, opening fails; a store that is open fails call by call."""

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    await _fill(open_it)
    store = await open_it()
    _spoil(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(Unavailable, match="cannot be kept aside"):
            await store.get("00500")
        with pytest.raises(StoreCorrupt, match=r"store\.db is damaged .* cannot be kept aside"):
            await open_it()
    assert not told

    await store.set("key", b"1")
    assert len(told) == 1
