from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from augury.services.tweets.ledger import tables
from augury.services.tweets.ledger.contributions import contributions, difference
from augury.services.tweets.records import Kept
from augury.services.tweets.topics import topics_of
from tests.services.tweets.ledger.conftest import predicted

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.datetimes(timezones=st.just(UTC))


@given(NAMES, NAMES, st.integers(1, 10**10), st.integers(1, 10**10))
def test_no_name_leads_into_another_table(one: str, other: str, g1: int, g2: int) -> None:
    """Tables of different topics, kinds and generations have different names, whatever they are."""
    names = [
        name
        for generation in {g1, g2}
        for topic in {one, other}
        for entity in (tables.topic_entity(topic), tables.author_entity(7), tables.ALL_TWEETS)
        for name in (
            tables.total_table(generation, entity),
            tables.stretch_table(generation, "hour", entity),
            tables.stretch_table(generation, "day", entity),
            tables.tweets_table(generation, entity),
        )
    ]
    topics, entities = len({one, other}), len({one, other}) + 2
    assert len(set(names)) == len({g1, g2}) * 4 * entities
    assert topics <= entities
    for generation in {g1, g2}:
        prefix = tables.generation_prefix(generation)
        assert sum(name.startswith(prefix) for name in set(names)) == 4 * entities


@given(st.none() | TIMES, NAMES, st.dictionaries(NAMES, st.floats(0, 1), max_size=5))
def test_members_are_read_as_they_were_written(
    at: datetime | None, label: str, scores: dict[str, float]
) -> None:
    """Start, classes and numbers come back, whatever the classes are called."""
    classes = tables.classes_of(label, scores)
    vector = tables.vector_of(label, scores)
    for stretch in tables.STRETCHES:
        found = tables.read_start(stretch, tables.start_member(stretch, at, classes))
        assert found is not None
        start, names = found
        assert (start is None) == (at is None)
        if start is not None and at is not None:
            length = timedelta(hours=1) if stretch == "hour" else timedelta(days=1)
            assert start <= at
            assert at - start < length
        assert list(names) == sorted({label, *scores})
        labels, sums = tables.read_vector(names, vector)
        assert labels == {name: int(name == label) for name in names}
        assert sums == {name: round(scores.get(name, 0) * 10**6) for name in names}


@given(TIMES)
def test_times_as_ranks(at: datetime) -> None:
    """To the millisecond, in their order, never 0, and exact in a float."""
    rank = tables.time_rank(at)
    back = tables.rank_time(rank)
    assert back is not None
    assert timedelta(0) <= at - back < timedelta(milliseconds=1)
    assert 0 < rank < 2**53
    assert tables.rank_time(tables.time_rank(None)) is None


@given(st.text(max_size=200), st.text(max_size=200), st.none() | TIMES, st.none() | TIMES)
def test_a_difference_is_what_it_takes(
    before: str, after: str, then: datetime | None, now: datetime | None
) -> None:
    """Adding the new and the difference back to the old are one; a change of nothing is nothing."""
    old = _kept(before, then)
    new = _kept(after, now)
    assert difference(old, old, [1, 2]) == ({}, {})
    assert difference(None, old, [1]) == contributions(old.record, old.topics, 1)
    there = difference(old, new, [1])
    back = difference(new, old, [1])
    assert there[0].keys() == back[0].keys()
    for table, members in there[0].items():
        assert members == {
            member: tuple(-number for number in vector) for member, vector in back[0][table].items()
        }
    # Of a generation that the old is no part of, nothing is taken out.
    assert difference(msgspec.structs.replace(old, counted=()), new, [1]) == contributions(
        new.record, new.topics, 1
    )


def _kept(text: str, at: datetime | None) -> Kept:
    return Kept(
        record=predicted(text=text, created_at=at), topics=tuple(topics_of(text)), counted=(1, 2)
    )
