"""Dividing the cores between server and load."""

from __future__ import annotations

import pytest
from benchmarks.peers.cores import Cores, share


def test_the_load_has_a_core_of_its_own_where_there_is_one() -> None:
    """With two cores a model has both, and that is known; nothing is taken that this process may not use."""
    assert share({2, 3}, "text") == Cores((2, 3), ())
    assert not share({2, 3}, "text").apart
    for cores in ({1, 5, 6}, set(range(16))):
        found = share(cores, "text")
        assert found.apart
        assert {*found.server, *found.load} <= cores
        assert len(found.server) == 2
    assert share({2, 3}, "identity") == Cores((2,), (3,))


def test_one_core_is_told() -> None:
    """Nothing could be measured."""
    with pytest.raises(SystemExit, match="two cores"):
        share({0}, "identity")
