"""Tests of ``augury.observe.tally``: beside prometheus-client's own, which are right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from augury.observe.tally import LoopCounter, LoopHistogram

BUCKETS = (0.001, 0.5, 1.0, 10.0)
LABELS = st.tuples(st.sampled_from(["a", 'quote"', "line\nend"]), st.sampled_from(["x", "y"]))


def lines(registry: CollectorRegistry) -> list[str]:
    """The exposition, but for the times of creation, which ours do not tell."""
    text = generate_latest(registry).decode()
    return sorted(line for line in text.splitlines() if "_created" not in line)


@given(st.lists(st.tuples(LABELS, st.floats(0, 20, width=32)), max_size=30))
def test_they_expose_what_the_others_do(counted: list[tuple[tuple[str, str], float]]) -> None:
    """Whatever is counted, line by line; amounts at a bucket's bound included."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counter = LoopCounter("n", "Things.", ["one", "two"], registry=ours)
    their_counter = Counter("n", "Things.", ["one", "two"], registry=theirs)
    spread = LoopHistogram("t_seconds", "Times.", ["one", "two"], buckets=BUCKETS, registry=ours)
    their_spread = Histogram(
        "t_seconds", "Times.", ["one", "two"], buckets=BUCKETS, registry=theirs
    )
    for labels, amount in [*counted, *((("a", "x"), bound) for bound in BUCKETS)]:
        counter.labels(*labels).inc(amount)
        their_counter.labels(*labels).inc(amount)
        spread.labels(*labels).observe(amount)
        their_spread.labels(*labels).observe(amount)
    assert lines(ours) == lines(theirs)


def test_one_family_can_be_asked_for() -> None:
    """By the names of its samples, as the dashboard does."""
    registry = CollectorRegistry()
    LoopCounter("n", "Things.", ["one"], registry=registry).labels("a").inc()
    LoopHistogram("t", "Times.", ["one"], buckets=(1.0,), registry=registry).labels("a").observe(1)
    (family,) = registry.restricted_registry(["n_total"]).collect()
    assert [(one.name, one.value) for one in family.samples] == [("n_total", 1)]
    (family,) = registry.restricted_registry(["t_count"]).collect()
    assert [(one.name, one.value) for one in family.samples] == [("t_count", 1)]
    assert registry.get_sample_value("t_bucket", {"one": "a", "le": "1.0"}) == 1
