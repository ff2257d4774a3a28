"""Tests of ``augury.cache.prediction`` and ``augury.cache.shelf``."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.cache.policies.registry import POLICIES
from augury.cache.prediction import ENTRY_OVERHEAD_BYTES, QUESTIONS_PART, PredictionCache
from augury.cache.shelf import Shelf, Unwatched
from augury.core.clock import ManualClock

Cache = PredictionCache[bytes]

SIZE = 100
ROW = SIZE + ENTRY_OVERHEAD_BYTES


def make(rows: int = 3, *, clock: ManualClock | None = None, entries: int = 1 << 30) -> Cache:
    """A cache with room for *rows* values of 100 bytes."""
    return PredictionCache(rows * ROW, clock or ManualClock(), len, max_entries=entries)


def value(letter: str, size: int = SIZE) -> bytes:
    return letter.encode() * size


def kept(shelf: Shelf[bytes], *keys: bytes) -> list[bytes]:
    return [key for key in keys if shelf.get(key) is not None]


class Told(Unwatched):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.held: list[tuple[int, int]] = []
        self.reasons: list[str] = []

    def cache_held(self, entries: int, nbytes: int) -> None:
        self.held.append((entries, nbytes))

    def cache_evicted(self, reason: str) -> None:
        self.reasons.append(reason)


class TestShelf:
    def test_what_was_put_is_there(self) -> None:
        """Until somebody puts another."""
        shelf = make().open()
        assert shelf.get(b"a") is None
        shelf.put(b"a", value("1"), 60)
        shelf.put(b"a", value("2"), 60)
        assert shelf.get(b"a") == value("2")
        assert (len(shelf), shelf.bytes_held) == (1, ROW)

    def test_the_least_recently_used_goes_first(self) -> None:
        """Unless another policy is asked for; having been asked for counts as use."""
        shelf = make(3).open()
        for key in (b"a", b"b", b"c"):
            shelf.put(key, value("x"), 60)
        shelf.get(b"a")
        shelf.put(b"d", value("x"), 60)
        assert kept(shelf, b"a", b"b", b"c", b"d") == [b"a", b"c", b"d"]

    @pytest.mark.parametrize(("policy", "left"), [("lru", b"cd"), ("lfu", b"ad"), ("ttl", b"bd")])
    def test_each_policy_decides(self, policy: str, left: bytes) -> None:
        """The same rows, asked for in the same way; another two stay."""
        shelf = make(100).open(POLICIES.get(policy)(), max_entries=2)
        shelf.put(b"a", value("x"), 60)
        shelf.put(b"b", value("x"), 80)
        for _ in range(3):
            shelf.get(b"a")
        shelf.put(b"c", value("x"), 70)
        shelf.get(b"c")
        shelf.put(b"d", value("x"), 60)
        assert b"".join(kept(shelf, b"a", b"b", b"c", b"d")) == left

    def test_a_value_over_the_whole_bound_is_not_kept(self) -> None:
        """Nor does it drive the others out; what it replaces is gone."""
        shelf = make(1).open()
        shelf.put(b"a", value("x"), 60)
        shelf.put(b"b", value("x", 10_000), 60)
        assert shelf.get(b"a") == value("x")
        shelf.put(b"a", value("x", 10_000), 60)
        assert shelf.get(b"a") is None
        assert (len(shelf), shelf.bytes_held) == (0, 0)

    @pytest.mark.parametrize("cache", [make(0), make(3, entries=0)], ids=["bytes", "entries"])
    def test_no_room_at_all(self, cache: Cache) -> None:
        """A bound of zero turns the cache off."""
        shelf = cache.open()
        shelf.put(b"a", b"", 60)
        shelf.put(b"a", b"", 60)
        assert shelf.get(b"a") is None
        assert (len(cache), cache.bytes_held) == (0, 0)

    def test_time_is_up_at_its_very_moment(self) -> None:
        """Each value for its own time; what has expired frees its bytes."""
        clock = ManualClock(100.0)
        told = Told()
        shelf = make(clock=clock).open(watch=told)
        shelf.put(b"a", value("x"), 5.0)
        shelf.put(b"b", value("x"), float("inf"))
        clock.advance(4.99)
        assert shelf.get(b"a")
        clock.advance(0.01)
        assert shelf.get_all([b"a", b"b"]) is None
        assert shelf.get(b"b")
        assert shelf.bytes_held == ROW
        assert told.reasons == ["expired"]

    def test_all_or_none(self) -> None:
        """Rows that are not all there count as not used."""
        shelf = make(100).open(max_entries=2)
        shelf.put(b"a", value("1"), 60)
        shelf.put(b"b", value("2"), 60)
        assert shelf.get_all([b"b", b"a", b"b"]) == [value("2"), value("1"), value("2")]
        assert shelf.get_all([b"a", b"z"]) is None
        shelf.put(b"c", value("3"), 60)
        assert kept(shelf, b"a", b"b", b"c") == [b"b", b"c"]

    def test_what_grows_is_counted(self) -> None:
        """A value that takes more than when it was put drives others out; one that is gone does not."""
        cache = make(3)
        shelf = cache.open()
        for key in (b"a", b"b", b"c"):
            shelf.put(key, value("x"), 60)
        shelf.grow(b"c", 10)
        assert kept(shelf, b"a", b"b", b"c") == [b"b", b"c"]
        assert cache.bytes_held == shelf.bytes_held == 2 * ROW + 10
        shelf.grow(b"a", 10_000)
        assert cache.bytes_held == 2 * ROW + 10

    def test_bounds_of_its_own(self) -> None:
        """Entries and bytes, whichever is reached first; never more than the whole has."""
        cache = make(10)
        told = Told()
        few = cache.open(max_entries=2, watch=told)
        small = cache.open(max_bytes=3 * ROW, watch=told)
        whole = cache.open(max_bytes=1 << 40, max_entries=1 << 40)
        for number in range(20):
            for shelf in (few, small, whole):
                shelf.put(bytes([number]), value("x"), 60)
                assert cache.bytes_held <= 10 * ROW
        assert (len(few), len(small), len(whole)) == (2, 3, 5)
        assert set(told.reasons) == {"entries", "bytes"}

    def test_a_closed_shelf_holds_nothing_and_takes_nothing(self) -> None:
        """What lands after its version was unloaded is not kept, and its room is others'."""
        cache = make(3)
        told = Told()
        shelf = cache.open(watch=told)
        shelf.put(b"a", value("x"), 60)
        shelf.questions.put("q", 1, [b"a"])
        shelf.close()
        shelf.put(b"b", value("x"), 60)
        shelf.grow(b"a", 5)
        assert (shelf.get(b"a"), shelf.get(b"b")) == (None, None)
        assert (len(cache), cache.bytes_held, len(shelf.questions)) == (0, 0, 0)
        assert told.held[-1] == (0, 0)


class TestShares:
    def test_the_largest_gives_first(self) -> None:
        """A model that floods takes what is free, and then drives out its own."""
        cache = make(10)
        modest, greedy = cache.open(), cache.open()
        for number in range(3):
            modest.put(bytes([number]), value("x"), 60)
        for number in range(1000):
            greedy.put(number.to_bytes(2, "big"), value("x"), 60)
        assert (len(modest), len(greedy)) == (3, 7)

    def test_who_was_first_gives_way_to_a_newcomer(self) -> None:
        """Up to equal shares: a full cache is no privilege."""
        cache = make(10)
        first, second = cache.open(), cache.open()
        for number in range(1000):
            first.put(number.to_bytes(2, "big"), value("x"), 60)
        for number in range(1000):
            second.put(number.to_bytes(2, "big"), value("x"), 60)
        assert (len(first), len(second)) == (5, 5)

    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 300)), max_size=150
        )
    )
    def test_nobody_loses_a_row_below_its_share(self, puts: list[tuple[int, int, int]]) -> None:
        """Whatever three models put: the bounds hold, and a third of the room is each one's own."""
        max_bytes, max_entries = 9 * ROW, 9
        cache: Cache = PredictionCache(max_bytes, ManualClock(), len, max_entries=max_entries)
        shelves = [cache.open() for _ in range(3)]
        for owner, number, size in puts:
            before = [(len(shelf), shelf.bytes_held) for shelf in shelves]
            shelves[owner].put(bytes([number]), bytes(size), 60)
            assert len(cache) == sum(map(len, shelves)) <= max_entries
            assert cache.bytes_held == sum(shelf.bytes_held for shelf in shelves) <= max_bytes
            for other, shelf in enumerate(shelves):
                entries, nbytes = before[other]
                if other != owner and entries <= max_entries / 3 and nbytes <= max_bytes / 3:
                    assert (len(shelf), shelf.bytes_held) == (entries, nbytes)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "wait"]),
        st.integers(0, 5),
        st.integers(0, 3000),
        st.sampled_from([1.0, 10.0]),
    ),
    max_size=60,
)


@given(STEPS)
def test_as_a_plain_model_of_it(steps: list[tuple[str, int, int, float]]) -> None:
    """Bound, expiry and order are those of the obvious, slow implementation."""
    clock = ManualClock()
    cache: Cache = PredictionCache(5000, clock, len)
    shelf = cache.open()
    plain: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
    for kind, number, size, seconds in steps:
        key = bytes([number])
        if kind == "wait":
            clock.advance(seconds)
        elif kind == "put":
            plain.pop(key, None)
            plain[key] = (bytes(size), clock.now_s + seconds)
            if size + ENTRY_OVERHEAD_BYTES > 5000:
                del plain[key]
            while sum(len(v) + ENTRY_OVERHEAD_BYTES for v, _ in plain.values()) > 5000:
                plain.popitem(last=False)
            shelf.put(key, bytes(size), seconds)
        else:
            want = plain.get(key)
            if want is not None and want[1] <= clock.now_s:
                del plain[key]
                want = None
            elif want is not None:
                plain.move_to_end(key)
            assert shelf.get(key) == (want[0] if want else None)
        assert cache.bytes_held == sum(len(v) + ENTRY_OVERHEAD_BYTES for v, _ in plain.values())
        assert cache.bytes_held <= cache.max_bytes
        assert len(cache) == len(shelf) == len(plain)


@pytest.mark.parametrize("policy", POLICIES.names())
def test_a_row_takes_no_more_than_it_is_counted_for(policy: str) -> None:
    """With every policy, or the bound would be none."""
    cache: Cache = PredictionCache(1 << 30, ManualClock(), len)
    shelf = cache.open(POLICIES.get(policy)())
    tracemalloc.start()
    for number in range(5000):
        shelf.put(number.to_bytes(16, "little"), bytes(number % 7), 60 + number)
        if number % 3:
            shelf.get(number.to_bytes(16, "little"))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken <= cache.bytes_held


class TestQuestions:
    def test_a_question_finds_its_keys(self) -> None:
        """As they were first put."""
        questions = make(1000).open().questions
        assert questions.get(("native", b"q")) is None
        questions.put(("native", b"q"), 1, [b"a", b"b"])
        questions.put(("native", b"q"), 1, [b"z"])
        assert questions.get(("native", b"q")) == (b"a", b"b")
        assert questions.get(("other", b"q")) is None

    def test_they_are_bounded(self) -> None:
        """By a part of the shelf's own bound; the first goes first, and one over the bound never is."""
        questions = make(1000).open(max_bytes=QUESTIONS_PART * 10_000).questions
        for number in range(1000):
            questions.put(number, 100, [b"k"])
            assert questions.bytes_held <= 10_000
        assert questions.get(999)
        assert not questions.get(0)
        questions.put("large", 10_001, [])
        assert questions.get("large") is None
        questions.clear()
        assert (len(questions), questions.bytes_held) == (0, 0)

    def test_a_question_takes_no_more_than_it_is_counted_for(self) -> None:
        """Nor less than half of it."""
        questions = PredictionCache[bytes](1 << 34, ManualClock(), len).open().questions
        bodies = [b"%0100d" % number for number in range(5000)]
        tracemalloc.start()
        for number, body in enumerate(bodies):
            # The body and one key are made here, as they are by a request.
            questions.put(("native", body + b""[:0]), len(body), [b"%016d" % number])
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        taken += sum(len(body) + 33 for body in bodies)
        assert questions.bytes_held / 2 < taken <= questions.bytes_held
