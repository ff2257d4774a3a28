"""Tests of ``augury.lifecycle.harness``."""

from __future__ import annotations

from itertools import product

import pytest

from augury.core.errors import Internal
from augury.lifecycle.harness import Harness, State
from augury.observe.metrics import MODEL_STATES

ARROWS = {
    ("new", "loading"),
    ("new", "failed"),
    ("new", "ended"),
    ("loading", "ready"),
    ("loading", "failed"),
    ("loading", "ended"),
    ("ready", "draining"),
    ("draining", "ended"),
    ("failed", "ended"),
}


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_only_the_arrows_of_the_diagram_can_be_gone(before: State, after: State) -> None:
    """Everything else is our own fault, and told so."""
    harness = Harness("m", 1, "", None, state=before, reason="old")
    if (before, after) in ARROWS:
        harness.move(after, "why")
        assert (harness.state, harness.reason) == (after, "why")
    else:
        with pytest.raises(Internal, match=f"m 1 cannot go from {before} to {after}"):
            harness.move(after)
        assert (harness.state, harness.reason) == (before, "old")


def test_idle_is_without_leases() -> None:
    """A version can be closed when no request holds it."""
    harness = Harness("m", 1, "", None)
    assert harness.idle
    harness.leases = 1
    assert not harness.idle


def test_the_metrics_know_every_state() -> None:
    """A state that they do not know would not be shown."""
    assert set(MODEL_STATES) == set(State)
