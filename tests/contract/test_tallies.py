"""One suite over every store's sums and ranks, and over processes that share a store."""

from __future__ import annotations

import asyncio
import json
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augury.core.errors import TooLarge, Unavailable
from augury.stores.base import TALLY_LIMIT, Change, TallyStore, Vector
from tests.contract.stores import Backend, Place, Store

WORKER = Path(__file__).with_name("store_worker.py")


def _trimmed(vector: Vector) -> Vector:
    """Without the trailing zeros that a backend may leave out."""
    while vector and not vector[-1]:
        vector = vector[:-1]
    return vector


async def _sums(store: Store, table: str) -> dict[str, Vector]:
    return {member: _trimmed(vector) for member, vector in (await store.sums(table)).items()}


def test_stores_are_tally_stores(store: Store) -> None:
    """Whoever needs tallies can ask a store whether it has them."""
    assert isinstance(store, TallyStore)


async def test_sums_add_up(store: Store) -> None:
    """Vectors are added number by number, the shorter one filled up with zeros."""
    assert await store.commit([Change(sums={"t": {"a": (1, 2), "b": (5,)}})]) == [True]
    assert await store.commit([Change(sums={"t": {"a": (1, -1, 7), "c": (-3,)}})]) == [True]

    assert await _sums(store, "t") == {"a": (2, 1, 7), "b": (5,), "c": (-3,)}
    assert await store.sums("none") == {}
    assert await store.sums_of(["t", "none", "t"], "a") == [(2, 1, 7), (), (2, 1, 7)]
    assert await store.sums_of([], "a") == []


async def test_what_comes_to_nothing_is_gone(store: Store) -> None:
    """A member of zeros alone is no member, and a table without members is no table."""
    await store.commit(
        [Change(sums={"t": {"a": (1, 2), "b": (0, 0)}}, ranks={"t": {"a": 3, "b": 0}})]
    )
    assert await _sums(store, "t") == {"a": (1, 2)}
    assert await store.rank_count("t") == 1

    await store.commit([Change(sums={"t": {"a": (-1, -2)}}, ranks={"t": {"a": -3}})])
    assert await store.sums("t") == {}
    assert await store.sums_of(["t"], "a") == [()]
    assert await store.top("t", limit=5) == []
    assert await store.rank_count("t") == 0
    assert await store.drop_tables("") == 0


async def test_ranks_are_in_order(store: Store) -> None:
    """The highest first; of equal ones the last in the order of code points first."""
    ranks = {"a": 5, "b": 5, "é": 5, "🐦": 5, "\ue000": 5, "": 5, "low": -2, "one": 1, "top": 9}
    await store.commit([Change(ranks={"t": ranks})])
    want = sorted(ranks.items(), key=lambda item: (item[1], item[0]))

    assert await store.top("t", limit=100) == want[::-1]
    assert await store.bottom("t", limit=100) == want
    assert await store.rank_count("t") == 9
    for offset in range(11):
        assert await store.top("t", offset=offset, limit=3) == want[::-1][offset : offset + 3]
    assert await store.top("t", limit=0) == []
    assert await store.bottom("t", limit=0) == []


async def test_the_bottom_has_bounds(store: Store) -> None:
    """Both bounds are inclusive, and either may be left out."""
    await store.commit([Change(ranks={"t": {f"m{i}": i for i in range(1, 10)}})])

    async def bottom(low: int | None, high: int | None, limit: int = 10) -> list[int]:
        found = await store.bottom("t", at_least=low, at_most=high, limit=limit)
        return [rank for _, rank in found]

    assert await bottom(3, 5) == [3, 4, 5]
    assert await bottom(None, 2) == [1, 2]
    assert await bottom(8, None) == [8, 9]
    assert await bottom(5, 3) == []
    assert await bottom(3, 8, limit=2) == [3, 4]
    assert await bottom(-(10**30), 10**30) == list(range(1, 10))
    assert await store.top("t", offset=10**30, limit=10**30) == []


async def test_the_order_follows_changes(store: Store) -> None:
    """Ranks that change one by one and by the thousand are in order whenever they are asked for."""
    ranks: Counter[str] = Counter()
    for step in range(6):
        size = 1000 if step % 2 else 7
        change = {f"m{(i * 37 + step) % 1500}": (i * 13) % 50 - 20 for i in range(size)}
        ranks.update(change)
        assert await store.commit([Change(ranks={"t": change})]) == [True]
        want = sorted(((rank, m) for m, rank in ranks.items() if rank), reverse=True)
        assert await store.top("t", limit=2000) == [(m, rank) for rank, m in want]
        assert await store.rank_count("t") == len(want)


async def test_ranks_are_asked_for_by_member(store: Store) -> None:
    """In the order asked, 0 for who has none."""
    await store.commit([Change(ranks={"t": {"a": 1, "b": -7}})])

    assert await store.ranks_of("t", ["b", "no", "a", "b"]) == [-7, 0, 1, -7]
    assert await store.ranks_of("none", ["a"]) == [0]
    assert await store.ranks_of("t", []) == []


async def test_a_change_happens_only_while_it_holds(store: Store) -> None:
    """What is expected is compared with what is there; if it differs, nothing of it is done."""
    await store.set("there", b"1")
    for expected, holds in (
        ({"there": b"1"}, True),
        ({"there": b"2"}, False),
        ({"there": b""}, False),
        ({"there": None}, False),
        ({"absent": None}, True),
        ({"absent": b""}, False),
        ({"absent": None, "there": b"2"}, False),
        ({"absent": None, "there": b"1"}, True),
    ):
        before = await store.sums_of(["t"], "m")
        change = Change(expected=expected, sums={"t": {"m": (1,)}}, ranks={"t": {"m": 1}})
        assert await store.commit([change]) == [holds]
        after = await store.sums_of(["t"], "m")
        assert (after != before) is holds
    assert await store.ranks_of("t", ["m"]) == [3]


async def test_an_expired_value_is_none(backend: Backend) -> None:
    """A value whose time is over does not stand in the way of a change."""
    store = backend.store
    await store.set("a", b"1", ttl_s=10)
    await backend.pass_time(10)

    assert await store.commit([Change(expected={"a": b"1"})]) == [False]
    assert await store.commit([Change(expected={"a": None}, values={"a": b"2"})]) == [True]
    await backend.pass_time(1000)
    assert await store.get("a") == b"2"  # without a time to live


async def test_values_move_with_their_sums(backend: Backend) -> None:
    """Values are written and removed by the same step; they have no time to live."""
    store = backend.store
    await store.set_many({"old": b"1", "short": b"1"}, ttl_s=10)
    change = Change(values={"new": b"\x00\xff", "old": None, "short": b"", "no": None})
    assert await store.commit([change]) == [True]
    await backend.pass_time(100)

    assert await store.get_many(["new", "old", "short", "no"]) == [b"\x00\xff", None, b"", None]
    assert await store.count() == 2
    assert await store.delete("short") == 1


async def test_changes_see_those_before_them(store: Store) -> None:
    """In one call, too, each change meets what the one before it left."""
    steps = [
        Change(expected={"k": None}, values={"k": b"1"}, sums={"t": {"m": (1,)}}),
        Change(expected={"k": None}, values={"k": b"x"}, sums={"t": {"m": (100,)}}),
        Change(expected={"k": b"1"}, values={"k": b"2"}, sums={"t": {"m": (10,)}}),
        Change(expected={"k": b"2"}, values={"k": None}),
        Change(expected={"k": None}, values={"j": b"3"}, sums={"t": {"m": (1000,)}}),
    ]
    assert await store.commit(steps) == [True, False, True, True, True]
    assert await _sums(store, "t") == {"m": (1011,)}
    assert await store.get_many(["k", "j"]) == [None, b"3"]
    assert await store.commit([]) == []


async def test_kinds_have_names_of_their_own(store: Store) -> None:
    """A key, a sums table and a ranks table of one name do not meet."""
    await store.commit([Change(values={"n": b"v"}, sums={"n": {"n": (1,)}}, ranks={"n": {"n": 2}})])

    assert await store.get("n") == b"v"
    assert await store.sums("n") == {"n": (1,)}
    assert await store.top("n", limit=1) == [("n", 2)]
    assert await store.count() == 1
    assert [key async for key, _ in store.scan("")] == ["n"]
    assert await store.delete("n") == 1
    assert await store.sums("n") == {"n": (1,)}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "?",
        "[a]",
        "\\",
        "a\nb",
        "\x00",
        "%",
        "#тема",
        "#話題",
        "🐦",
        "\U0010ffff",
        "n" * 1024,
    ],
    ids=ascii,
)
async def test_any_text_is_a_table_and_a_member(store: Store, name: str) -> None:
    """Nothing is special about any character of a name."""
    await store.commit(
        [Change(sums={name: {name: (7,)}, "x": {"x": (1,)}}, ranks={name: {name: 5}})]
    )

    assert await store.sums(name) == {name: (7,)}
    assert await store.sums_of([name, "x"], name) == [(7,), ()]
    assert await store.top(name, limit=2) == [(name, 5)]
    assert await store.ranks_of(name, [name]) == [5]
    assert await store.drop_tables(f"{name}\x00never") == 0


@pytest.mark.parametrize(
    "change",
    [
        Change(expected={"\ud800": None}),
        Change(values={"\ud800": b""}),
        Change(sums={"\ud800": {"m": (1,)}}),
        Change(sums={"t": {"\ud83d": (1,)}}),
        Change(ranks={"t": {"\ude00": 1}}),
        Change(ranks={"\ud800": {"m": 1}}),
    ],
)
async def test_a_name_that_is_no_text_is_refused(store: Store, change: Change) -> None:
    """Half a surrogate pair is refused before anything is done."""
    with pytest.raises(UnicodeEncodeError):
        await store.commit([Change(sums={"t": {"m": (1,)}}), change])
    assert await store.sums("t") == {}


async def test_numbers_are_exact_up_to_their_limit(store: Store) -> None:
    """2**53 - 1 comes back as it is, also as a sum and a difference."""
    most = TALLY_LIMIT - 1
    await store.commit(
        [Change(sums={"t": {"m": (most, -most)}}, ranks={"t": {"m": most, "n": -most}})]
    )
    assert await store.sums("t") == {"m": (most, -most)}
    assert await store.top("t", limit=2) == [("m", most), ("n", -most)]
    assert await store.bottom("t", at_least=most, limit=2) == [("m", most)]

    await store.commit([Change(sums={"t": {"m": (-1, 1)}}, ranks={"t": {"m": -1}})])
    assert await store.sums("t") == {"m": (most - 1, 1 - most)}
    assert await store.ranks_of("t", ["m", "n"]) == [most - 1, -most]


@pytest.mark.parametrize("number", [TALLY_LIMIT, -TALLY_LIMIT, 10**30])
async def test_a_number_over_the_limit_is_refused(store: Store, number: int) -> None:
    """What a backend could not hold exactly is not begun with, by none of them."""
    for change in (Change(sums={"t": {"m": (1, number)}}), Change(ranks={"t": {"m": number}})):
        with pytest.raises(ValueError, match=r"its limit is 2\*\*53"):
            await store.commit([Change(sums={"t": {"m": (1,)}}), change])
    assert await store.sums("t") == {}


@pytest.mark.parametrize("sign", [1, -1])
async def test_a_tally_does_not_overflow(store: Store, sign: int) -> None:
    """A change that would pass the limit is an error; those before it were done, no part of it was."""
    await store.commit([Change(sums={"t": {"m": (0, sign * (TALLY_LIMIT - 5))}}, ranks={"t": {"m": sign * (TALLY_LIMIT - 5)}})])  # fmt: skip
    for guilty in (
        Change(
            values={"k": b""}, sums={"t": {"a": (1,), "m": (1, sign * 5)}}, ranks={"t": {"b": 1}}
        ),
        Change(values={"k": b""}, sums={"t": {"a": (1,)}}, ranks={"t": {"b": 1, "m": sign * 5}}),
    ):
        before = await _sums(store, "t")
        with pytest.raises(TooLarge, match=r"'t'.*2\*\*53"):
            await store.commit(
                [Change(sums={"u": {"m": (1,)}}), guilty, Change(sums={"v": {"m": (1,)}})]
            )
        assert await _sums(store, "t") == before
        assert await store.ranks_of("t", ["b", "m"]) == [0, sign * (TALLY_LIMIT - 5)]
        assert await store.get("k") is None
    assert await store.sums("u") == {"m": (2,)}
    assert await store.sums("v") == {}


@pytest.mark.parametrize("bad", [{"limit": -1}, {"limit": 1, "offset": -1}])
async def test_a_page_is_not_negative(store: Store, bad: dict[str, int]) -> None:
    """A limit or offset below 0 is refused, not taken for something else."""
    with pytest.raises(ValueError, match="must be 0 or more"):
        await store.top("t", **bad)
    if "offset" not in bad:
        with pytest.raises(ValueError, match="must be 0 or more"):
            await store.bottom("t", **bad)


async def test_tables_are_dropped_by_prefix(store: Store) -> None:
    """All tables of a prefix go, of both kinds; neighbours, values and wildcards stay."""
    names = ["a", "a:", "a:1", "a:2", "b", "a*", "A:1", "a:\U0010ffff", "a;"]
    await store.set("a:1", b"kept")
    await store.commit(
        [Change(sums={n: {"m": (1,)} for n in names}, ranks={"a:1": {"m": 1}, "b": {"m": 1}})]
    )
    await store.commit([Change(sums={"a:big": {f"m{i}": (1,) for i in range(5000)}})])

    assert await store.drop_tables("a*") == 1
    assert await store.drop_tables("a:") == 6
    assert await store.drop_tables("a:") == 0
    left = [name for name in names if await store.sums(name)]
    assert left == ["a", "b", "A:1", "a;"]
    assert await store.get("a:1") == b"kept"
    assert await store.drop_tables("") == 5
    assert await store.sums("a:big") == {}


async def test_many_tables_are_dropped(store: Store) -> None:
    """A thousand tables are dropped, and counted, once each."""
    await store.commit([Change(ranks={f"t:{i}": {"m": 1} for i in range(1000)})])

    assert await store.drop_tables("t:") == 1000


async def test_a_large_change_is_whole(store: Store) -> None:
    """A change of 10,000 numbers and one of a thousand small ones come out the same."""
    await store.commit([Change(sums={"t": {f"m{i}": (i + 1, 1) for i in range(10_000)}})])
    assert (
        await store.commit([Change(sums={"u": {f"m{i % 10}": (1, i)}}) for i in range(1000)])
        == [True] * 1000
    )

    assert await store.sums("t") == {f"m{i}": (i + 1, 1) for i in range(10_000)}
    assert await store.sums_of(["u"], "m3") == [(100, sum(range(3, 1000, 10)))]


async def test_tasks_commit_at_once(store: Store) -> None:
    """Of 50 tasks that claim the same, one does; nothing that is added gets lost."""

    async def claim(i: int) -> bool:
        claim = Change(expected={"k": None}, values={"k": b"%d" % i}, sums={"won": {"all": (1,)}})
        done = await store.commit([Change(sums={"tries": {"all": (1, i)}}), claim])
        return done[1]

    won = await asyncio.gather(*(claim(i) for i in range(50)))
    assert won.count(True) == 1
    assert await store.get("k") == b"%d" % won.index(True)
    assert await store.sums("won") == {"all": (1,)}
    assert await store.sums("tries") == {"all": (50, sum(range(50)))}


async def test_a_closed_store_takes_no_commit(store: Store) -> None:
    """Every method of a closed store says so."""
    await store.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.commit([Change(sums={"t": {"m": (1,)}})]),
        lambda: store.sums("t"),
        lambda: store.sums_of(["t"], "m"),
        lambda: store.top("t", limit=1),
        lambda: store.bottom("t", limit=1),
        lambda: store.ranks_of("t", ["m"]),
        lambda: store.rank_count("t"),
        lambda: store.drop_tables(""),
    ]
    for call in calls:
        with pytest.raises(Unavailable, match="closed"):
            await call()


async def test_two_processes_share_a_store(place: Place) -> None:
    """Processes that add and claim at once lose nothing, double nothing and never both win."""
    if place.scheme == "memory":
        return  # belongs to one process
    rounds, names = 150, ("one", "two")
    # Opened first: so that both do not make the same file, which is another test's matter.
    backend = await place.open()

    def work() -> list[dict[str, int]]:
        workers = [
            subprocess.Popen(
                [sys.executable, str(WORKER), place.url(), str(rounds), name],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for name in names
        ]  # fmt: skip
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        told = [worker.communicate(timeout=60)[0] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        return [json.loads(line) for line in told]

    told = await asyncio.to_thread(work)
    total = sum(range(rounds))
    store = backend.store
    assert sum(one["won"] for one in told) == rounds
    assert sum(one["claimed"] for one in told) == rounds
    assert await store.sums("claims") == {"all": (rounds, total)}
    claimed = {name: one["claimed"] for name, one in zip(names, told, strict=True)}
    assert dict(await store.top("claims", limit=5)) == {n: c for n, c in claimed.items() if c}
    assert await store.sums_of(["sums"], "all") == [(2 * rounds, 2 * total, -2 * rounds)]
    assert await store.ranks_of("r", ["m"]) == [4 * rounds]
    owners = Counter(await store.get_many([f"key:{i}" for i in range(rounds)]))
    assert owners == Counter({n.encode(): one["won"] for n, one in zip(names, told, strict=True)}) - Counter()  # fmt: skip
    await store.close()


_NAMES = st.sampled_from(["", "a", "b", "🐦"])
_NUMBERS = st.integers(-3, 3)
_VALUES = st.none() | st.sampled_from([b"", b"1", b"2"])
_CHANGES = st.builds(
    Change,
    expected=st.dictionaries(_NAMES, _VALUES, max_size=1),
    values=st.dictionaries(_NAMES, _VALUES, max_size=2),
    sums=st.dictionaries(
        _NAMES,
        st.dictionaries(_NAMES, st.lists(_NUMBERS, max_size=3).map(tuple), max_size=3),
        max_size=2,
    ),
    ranks=st.dictionaries(_NAMES, st.dictionaries(_NAMES, _NUMBERS, max_size=3), max_size=2),
)


class _Model:
    """What a tally store is: dicts of numbers."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.sums: dict[str, dict[str, list[int]]] = {}
        self.ranks: dict[str, Counter[str]] = {}

    def commit(self, change: Change) -> bool:
        if any(self.values.get(key) != value for key, value in change.expected.items()):
            return False
        for key, value in change.values.items():
            self.values.pop(key, None)
            if value is not None:
                self.values[key] = value
        for table, vectors in change.sums.items():
            for member, vector in vectors.items():
                sums = self.sums.setdefault(table, {}).setdefault(member, [0, 0, 0])
                for i, number in enumerate(vector):
                    sums[i] += number
        for table, ranks in change.ranks.items():
            self.ranks.setdefault(table, Counter()).update(ranks)
        return True

    def table(self, name: str) -> dict[str, Vector]:
        sums = {m: _trimmed(tuple(vector)) for m, vector in self.sums.get(name, {}).items()}
        return {member: vector for member, vector in sums.items() if vector}

    def order(self, name: str) -> list[tuple[str, int]]:
        ranks = self.ranks.get(name, Counter())
        return [(m, rank) for rank, m in sorted((r, m) for m, r in ranks.items() if r)]


async def _check(store: Store, batches: list[list[Change]]) -> None:
    model = _Model()
    for batch in batches:
        assert await store.commit(batch) == [model.commit(change) for change in batch]
        for name in ("", "a", "b", "🐦"):
            assert await _sums(store, name) == model.table(name)
            assert await store.bottom(name, limit=9) == model.order(name)
            assert await store.top(name, limit=9) == model.order(name)[::-1]
            assert await store.get(name) == model.values.get(name)


@settings(
    max_examples=25,  # each opens a store; more are a matter of `--hypothesis-profile`
    deadline=None,  # the machine is shared
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # only a place, named anew below
)
@given(
    batches=st.lists(st.lists(_CHANGES, max_size=4), max_size=5),
    name=st.text(string.ascii_lowercase, min_size=12, max_size=12),
)
def test_tallies_are_dicts_of_numbers(place: Place, batches: list[list[Change]], name: str) -> None:
    """Whatever is committed in whatever batches, a store answers as dicts would."""

    async def check() -> None:
        backend = await place.open(name)
        try:
            # A place that an earlier example has used holds its items.
            await backend.store.delete(*[key async for key, _ in backend.store.scan("")])
            await backend.store.drop_tables("")
            await _check(backend.store, batches)
        finally:
            await backend.store.close()

    asyncio.run(check())
