"""Every policy against the obvious, slow way to say the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.cache.policies.base import Policy
from augury.cache.policies.lfu import MOST_USES, LeastFrequentlyUsed
from augury.cache.policies.lru import LeastRecentlyUsed
from augury.cache.policies.registry import POLICIES
from augury.cache.policies.ttl import SoonestToExpire
from augury.core.errors import NotFound


class Plain(Protocol):
    """A policy that looks through all keys; *now* counts the steps."""

    keys: dict[bytes, tuple[float, ...]]

    def add(self, key: bytes, expires_s: float, now: int) -> None: ...

    def use(self, key: bytes, now: int) -> None: ...

    def evict(self) -> bytes: ...


class PlainLru:
    def __init__(self) -> None:
        self.keys: dict[bytes, tuple[float, ...]] = {}

    def add(self, key: bytes, expires_s: float, now: int) -> None:
        self.keys[key] = (now,)

    def use(self, key: bytes, now: int) -> None:
        self.keys[key] = (now,)

    def evict(self) -> bytes:
        return _pop_least(self.keys)


class PlainLfu:
    """Worth (uses and the age when it was used last), last use; and the uses alone."""

    def __init__(self) -> None:
        self.keys: dict[bytes, tuple[float, ...]] = {}
        self.age = 0.0

    def add(self, key: bytes, expires_s: float, now: int) -> None:
        self.use(key, now)

    def use(self, key: bytes, now: int) -> None:
        uses = self.keys[key][2] + 1 if key in self.keys else 1
        uses = min(uses, MOST_USES)
        self.keys[key] = (self.age + uses, now, uses)

    def evict(self) -> bytes:
        worths = {key: facts[0] for key, facts in self.keys.items()}
        key = _pop_least(self.keys)
        self.age = worths[key]
        return key


class PlainTtl:
    def __init__(self) -> None:
        self.keys: dict[bytes, tuple[float, ...]] = {}

    def add(self, key: bytes, expires_s: float, now: int) -> None:
        self.keys[key] = (expires_s, now)

    def use(self, key: bytes, now: int) -> None:
        pass

    def evict(self) -> bytes:
        return _pop_least(self.keys)


def _pop_least(keys: dict[bytes, tuple[float, ...]]) -> bytes:
    least = min(keys, key=lambda key: keys[key])
    del keys[least]
    return least


PAIRS: list[tuple[Callable[[], Policy], Callable[[], Plain]]] = [
    (LeastRecentlyUsed, PlainLru),
    (LeastFrequentlyUsed, PlainLfu),
    (SoonestToExpire, PlainTtl),
]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "use", "use", "discard", "evict"]),
        st.integers(0, 7),
        st.integers(1, 9),
    ),
    max_size=120,
)


@pytest.mark.parametrize(("policy", "plain"), PAIRS, ids=["lru", "lfu", "ttl"])
@given(steps=STEPS)
def test_as_a_plain_model_of_it(
    policy: Callable[[], Policy], plain: Callable[[], Plain], steps: list[tuple[str, int, int]]
) -> None:
    """Whatever comes, is used or goes: the same key goes next, and no key is lost or left."""
    one, other = policy(), plain()
    for now, (kind, number, expires_s) in enumerate(steps):
        key = bytes([number])
        if kind == "add":
            one.add(key, expires_s)
            other.add(key, expires_s, now)
        elif kind == "evict":
            if other.keys:
                assert one.evict() == other.evict()
        elif key in other.keys:
            if kind == "use":
                one.use(key)
                other.use(key, now)
            else:
                one.discard(key)
                del other.keys[key]
    while other.keys:
        assert one.evict() == other.evict()


def test_an_old_favourite_leaves() -> None:
    """However often it was asked for once: others that are asked for now outlive it."""
    policy = LeastFrequentlyUsed()
    policy.add(b"old", 0.0)
    for _ in range(1_000_000):
        policy.use(b"old")
    gone = set()
    for number in range(100 * MOST_USES):
        key = b"%d" % number
        policy.add(key, 0.0)
        policy.use(key)
        if number >= 10:
            gone.add(policy.evict())
        if b"old" in gone:
            break
    assert b"old" in gone
    assert number > 10  # but not at once


def test_a_favourite_outlives_what_is_asked_for_once() -> None:
    """A scan through many rows leaves what is asked for again and again; LRU would not."""
    for policy, survives in ((LeastFrequentlyUsed(), True), (LeastRecentlyUsed(), False)):
        kept: Policy = policy
        kept.add(b"favourite", 0.0)
        for _ in range(20):
            kept.use(b"favourite")
        for number in range(10):
            kept.add(b"%d" % number, 0.0)
        gone = {kept.evict() for _ in range(9)}
        assert (b"favourite" not in gone) == survives


def test_what_expires_soonest_leaves_no_heap_behind() -> None:
    """Rows that are put again and again take the place of one."""
    policy = SoonestToExpire()
    for number in range(10_000):
        policy.add(b"a", float(number))
        policy.add(b"%d" % number, 0.0)
        policy.discard(b"%d" % number)
    assert len(policy._heap) < 100
    assert policy.evict() == b"a"


def test_policies_are_found_by_name() -> None:
    """Those of the manifest; another name lists them."""
    assert POLICIES.names() == ("lru", "lfu", "ttl")
    for name in POLICIES.names():
        POLICIES.get(name)().add(b"a", 0.0)
    with pytest.raises(NotFound, match="no cache policy 'fifo'; here are: lru, lfu, ttl"):
        POLICIES.get("fifo")
