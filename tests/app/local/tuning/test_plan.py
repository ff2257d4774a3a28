"""The rules of tuning, on tables of made measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.app.local.tuning.plan import (
    LEAST_BATCHES,
    MAX_COUNT,
    Layout,
    Point,
    best_of_each,
    changes_for,
    choose,
    fastest,
    finalists,
    is_dominated,
    plan_layouts,
    plan_rows,
    worth_going_on,
)
from augury.packages.manifest import BatchingTable, InstancesTable

MIB = 1 << 20


def point(
    layout: tuple[int, int],
    rows: int,
    per_s: float,
    p99_ms: float,
    *,
    memory_mib: int = 40,
    failed: int = 0,
    batches: int = 500,
) -> Point:
    return Point(
        Layout(*layout),
        rows,
        batches,
        failed,
        per_s,
        0.8 * p99_ms / 1000,
        p99_ms / 1000,
        memory_mib * MIB,
    )


@given(
    cores=st.integers(1, 512),
    current=st.builds(Layout, st.integers(1, MAX_COUNT), st.integers(1, MAX_COUNT)),
)
def test_layouts_use_the_cores_and_a_few_more(cores: int, current: Layout) -> None:
    """What is set now is among them, none twice, none that [instances] refuses, few for many cores."""
    layouts = plan_layouts(cores, current)

    assert current in layouts
    assert len(set(layouts)) == len(layouts) <= 3 * cores.bit_length() + 4
    for layout in layouts:
        InstancesTable(count=layout.count, threads=layout.threads)
    over = [layout for layout in layouts if layout.total > cores and layout != current]
    assert len(over) <= 2


def test_the_first_layout_is_one_thread_a_core() -> None:
    """If the budget ends early, the layout that is mostly best has been measured."""
    assert plan_layouts(8, Layout(1, 8))[0] == Layout(8, 1)


@given(most=st.integers(1, 65536), current=st.integers(1, 65536))
def test_batch_sizes_rise_to_the_most(most: int, current: int) -> None:
    """From 1 to the most, rising, with the size that is set now."""
    rows = plan_rows(most, current=current)

    assert rows == sorted(set(rows))
    assert (rows[0], rows[-1]) == (1, most)
    assert current in rows or current > most


def test_the_most_rows_that_fit() -> None:
    """The point with the most rows a second whose doubled p99 is within the SLO."""
    points = [
        point((2, 1), 1, 800, 5),
        point((2, 1), 8, 1000, 24),
        point((2, 1), 16, 1500, 26),  # 52 ms
    ]
    assert choose(points, 0.05) == points[1]
    assert choose(points, 0.052) == points[2]
    assert choose(points, 0.009) is None


def test_what_fails_is_not_chosen() -> None:
    """A setting with batches that failed, or with none at all, never fits."""
    points = [point((2, 1), 1, 800, 5, failed=1), point((1, 2), 1, 0, 0, batches=0)]

    assert choose(points, 1.0) is None
    assert fastest(points) is None


def test_a_handful_of_batches_proves_nothing() -> None:
    """The p99 of one batch is that batch: such a point is not chosen, but it is looked at once more."""
    few = point((2, 1), 8, 1000, 5, batches=LEAST_BATCHES - 1)
    enough = point((2, 1), 4, 900, 5, batches=LEAST_BATCHES)

    assert choose([few], 0.05) is None
    assert few.promises(0.05)
    assert choose([few, enough], 0.05) == enough
    assert few in finalists([few, enough], 0.05)
    assert finalists([few], 0.05) == [few]


def test_ties_take_fewer_threads_then_less_memory_then_larger_batches() -> None:
    """What is within 8 % is the same; then the cheaper one is taken."""
    many = point((4, 1), 8, 1000, 10)
    few = point((2, 1), 8, 930, 10, memory_mib=400)
    assert choose([many, few], 0.05) == few
    lean = point((1, 2), 8, 925, 10, memory_mib=100)
    assert choose([many, few, lean], 0.05) == lean
    larger = point((1, 2), 16, 921, 19, memory_mib=110)
    assert choose([many, few, lean, larger], 0.05) == larger
    assert choose([many, point((2, 1), 8, 900, 10)], 0.05) == many


def test_a_layout_is_left_when_larger_batches_cannot_fit() -> None:
    """Batches grow no quicker by growing larger: beyond the SLO there is nothing to find."""
    slow = [point((1, 1), 1, 100, 10), point((1, 1), 2, 100, 40)]

    assert worth_going_on([], 0.05)
    assert worth_going_on(slow[:1], 0.05)
    assert not worth_going_on(slow, 0.05)


def test_one_slow_batch_does_not_end_it() -> None:
    """The tail alone (a neighbour that took the core) is no reason to stop; the median is."""
    disturbed = Point(Layout(1, 1), 1, 100, 0, 100.0, 0.005, 0.5, MIB)

    assert worth_going_on([disturbed], 0.05)


def test_a_layout_is_left_past_its_peak() -> None:
    """Twice in a row well below its best: padding eats what batching wins."""
    rates = [900, 1000, 980, 700, 600]
    points = [point((1, 1), 1 << place, rate, 1) for place, rate in enumerate(rates)]

    assert worth_going_on(points[:4], 1.0)
    assert not worth_going_on(points, 1.0)


def test_a_dominated_layout_is_left() -> None:
    """Half the rows in the same time, at two sizes; quicker batches are a reason to stay."""
    others = [point((2, 1), 1, 1000, 2), point((2, 1), 2, 1000, 4)]
    half = [point((1, 1), 1, 500, 2), point((1, 1), 2, 500, 4)]
    quick = [point((1, 2), 1, 500, 1), point((1, 2), 2, 500, 2)]

    assert is_dominated(half, others)
    assert not is_dominated(half[:1], others)
    assert not is_dominated(quick, others)
    assert not is_dominated(others, others)


def test_the_second_look_is_at_what_may_be_chosen() -> None:
    """Near the best, or just over the SLO; never more than four."""
    best = point((2, 1), 8, 1000, 20)
    near = point((1, 1), 8, 950, 20)
    poor = point((1, 1), 1, 500, 2)
    edge = point((2, 1), 16, 1100, 27)
    late = point((2, 1), 32, 1200, 60)

    assert finalists([best, near, poor, edge, late], 0.05) == [edge, best, near]
    assert len(finalists([best] * 9, 0.05)) == 4


def test_a_second_look_where_nothing_fits() -> None:
    """A few slow batches must not decide: what would fit by its median is looked at again."""
    disturbed = point((2, 1), 1, 1000, 30)  # median 24 ms, so 48 ms
    slow = point((1, 1), 1, 1000, 40)

    assert finalists([slow, disturbed], 0.05) == [disturbed]
    assert finalists([slow], 0.05) == []


def test_one_point_of_each_layout_is_shown() -> None:
    """Its choice, or its quickest, or just its first when all of it failed."""
    points = [
        point((2, 1), 1, 900, 2),
        point((2, 1), 8, 1000, 20),
        point((1, 1), 2, 90, 80),
        point((1, 1), 1, 90, 60),
        point((3, 1), 1, 0, 0, failed=3, batches=0),
    ]
    assert best_of_each(points, 0.05) == [points[1], points[3], points[4]]


@pytest.mark.parametrize(
    ("policy", "fixed", "deadline", "batching"),
    [
        ("deadline", False, False, {"max_rows": 8}),
        ("deadline", False, True, {"max_rows": 8, "deadline_s": 0.05}),
        ("aimd", False, False, {"max_rows": 8, "objective_s": 0.025}),
        ("quantile", True, False, {"objective_s": 0.025}),
        ("fixed", True, False, None),
    ],
)
def test_what_is_written(
    policy: str, fixed: bool, deadline: bool, batching: dict[str, float] | None
) -> None:
    """Layout and batch size; the SLO where the policy has a time of its own, or where asked for."""
    table = BatchingTable.model_validate({"policy": policy})
    changes = changes_for(point((2, 1), 8, 1000, 20), 0.05, table, fixed=fixed, deadline=deadline)

    assert changes["instances"] == {"count": 2, "threads": 1}
    assert changes.get("batching") == batching
