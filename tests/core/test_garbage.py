"""Tests of ``augury.core.garbage``."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from augury.core.garbage import freeze, settle


class Cycle:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_has_gone_since_is_freed() -> None:
    """A model that was there at the start, and is unloaded, gives its memory back."""
    model = Cycle()
    gone = weakref.ref(model)
    freeze()
    del model
    gc.collect()
    assert gone() is not None
    settle()
    assert gone() is None
    assert gc.get_freeze_count() > 0


def test_nothing_is_frozen_where_nobody_began_it() -> None:
    """A library does not decide about the collector of the program that uses it."""
    settle()
    assert gc.get_freeze_count() == 0
