"""Tests of ``augury.lifecycle.policies.availability``."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.lifecycle.harness import State
from augury.lifecycle.policies.availability import Action, Snapshot, next_action

NEW, LOADING, READY = State.NEW, State.LOADING, State.READY
DRAINING, FAILED, ENDED = State.DRAINING, State.FAILED, State.ENDED


def wanted(version: int, state: State, name: str = "m") -> Snapshot:
    return Snapshot(name, version, state, True)


def unwanted(version: int, state: State, name: str = "m") -> Snapshot:
    return Snapshot(name, version, state, False)


def load(version: int, name: str = "m") -> Action:
    return Action("load", name, version)


def retire(version: int, name: str = "m") -> Action:
    return Action("retire", name, version)


@pytest.mark.parametrize(
    ("versions", "action"),
    [
        ([], None),
        ([wanted(1, NEW)], load(1)),
        ([wanted(1, NEW), wanted(2, NEW)], load(2)),
        ([wanted(1, NEW, "b"), wanted(1, NEW, "a")], load(1, "a")),
        ([wanted(1, LOADING)], None),
        ([wanted(1, READY)], None),
        ([wanted(1, FAILED)], None),
        ([unwanted(1, NEW)], retire(1)),
        ([unwanted(1, FAILED)], retire(1)),
        ([unwanted(1, READY)], retire(1)),
        ([unwanted(1, LOADING)], None),
        ([unwanted(1, DRAINING)], None),
        ([unwanted(1, READY), wanted(2, NEW)], load(2)),
        ([unwanted(1, READY), wanted(2, LOADING)], None),
        ([unwanted(1, READY), wanted(2, FAILED)], None),
        ([unwanted(1, READY), wanted(2, READY)], retire(1)),
        ([unwanted(1, READY), wanted(2, FAILED), wanted(3, READY)], retire(1)),
        ([unwanted(1, READY), wanted(2, READY, "n")], retire(1)),
        ([unwanted(1, READY), unwanted(2, READY)], retire(1)),
        ([unwanted(1, FAILED), wanted(2, NEW)], load(2)),
    ],
)
def test_the_table(versions: list[Snapshot], action: Action | None) -> None:
    """Load first, newest first; unload what is not wanted once something wanted is ready."""
    assert next_action(versions) == action


SNAPSHOTS = st.lists(
    st.builds(
        Snapshot, st.sampled_from("ab"), st.integers(1, 4), st.sampled_from(State), st.booleans()
    ),
    unique_by=lambda one: (one.name, one.version),
    max_size=8,
)


@given(SNAPSHOTS)
def test_it_is_a_pure_function(versions: list[Snapshot]) -> None:
    """The same question has the same answer, whose subject may do what it is told."""
    action = next_action(versions)
    assert next_action(list(versions)) == action
    if action is not None:
        (one,) = [v for v in versions if (v.name, v.version) == (action.name, action.version)]
        if action.kind == "load":
            assert (one.state, one.aspired) == (NEW, True)
        else:
            assert one.state in {NEW, READY, FAILED}
            assert not one.aspired


@given(SNAPSHOTS, st.randoms(use_true_random=False))
def test_the_last_ready_version_of_a_wanted_model_stays(
    versions: list[Snapshot], chance: random.Random
) -> None:
    """Whatever loads and fails, in whatever order: who was ready stays ready, and it ends."""
    states = {(v.name, v.version): v.state for v in versions}
    aspired = {(v.name, v.version) for v in versions if v.aspired}
    wanted_models = {name for name, _ in aspired}

    def ready() -> set[str]:
        return {name for (name, _), state in states.items() if state is READY} & wanted_models

    ready_before = ready()
    for _ in range(200):
        snapshots = [Snapshot(*key, state, key in aspired) for key, state in states.items()]
        action = next_action(snapshots)
        events = [key for key, state in states.items() if state in {LOADING, DRAINING}]
        if action is not None and (not events or chance.random() < 0.5):
            key = (action.name, action.version)
            if action.kind == "load":
                states[key] = LOADING
            elif states[key] is READY:
                states[key] = DRAINING
            else:
                del states[key]
        elif events:
            key = chance.choice(events)
            if states[key] is DRAINING and key in aspired:
                states[key] = NEW  # wanted again meanwhile
            elif states[key] is DRAINING:
                del states[key]
            else:
                states[key] = chance.choice([READY, FAILED])
        else:
            break
        assert ready() >= ready_before
        ready_before = ready()
    else:
        raise AssertionError("it never ends")
    assert not any(
        state is READY and key not in aspired and key[0] not in wanted_models
        for key, state in states.items()
    )
