"""What one prediction adds to the aggregates.

Pure, and the only place that says what is counted where: counting a record is adding its
contributions, erasing it is subtracting the same, and changing it is adding the difference.  All
are whole numbers, so that the order of additions never shows.
"""

from __future__ import annotations

from collections.abc import Sequence

from augury.services.tweets.ledger import tables
from augury.services.tweets.records import Kept, PredictionRecord, in_utc
from augury.stores.base import Vector

Sums = dict[str, dict[str, Vector]]
Ranks = dict[str, dict[str, int]]


def contributions(
    record: PredictionRecord, topics: Sequence[str], generation: int
) -> tuple[Sums, Ranks]:
    """All that *record* adds to the tables of *generation*.

    Args:
        record: The prediction.
        topics: What its text is about, none twice.
        generation: Names the tables.

    Returns:
        Sums and ranks, as a ``Change`` takes them.
    """
    at = in_utc(record.created_at)
    classes = tables.classes_of(record.label, record.scores)
    vector = tables.vector_of(record.label, record.scores)
    tweet = tables.tweet_member(record.tweet_id)
    written = tables.time_rank(at)
    entities = [tables.ALL_TWEETS, *map(tables.topic_entity, topics)]
    sums: Sums = {}
    ranks: Ranks = {
        tables.predicted_table(generation): {tweet: tables.time_rank(in_utc(record.predicted_at))}
    }
    if record.author_id is not None:
        entities.append(tables.author_entity(record.author_id))
        ranks[tables.authors_table(generation)] = {str(record.author_id): 1}
    starts = {
        stretch: {tables.start_member(stretch, at, classes): vector} for stretch in tables.STRETCHES
    }
    for entity in entities:
        sums[tables.total_table(generation, entity)] = {classes: vector}
        for stretch, members in starts.items():
            sums[tables.stretch_table(generation, stretch, entity)] = members
        ranks[tables.tweets_table(generation, entity)] = {tweet: written}
    if topics:
        ranks[tables.topics_table(generation, "all")] = dict.fromkeys(topics, 1)
    for kind in tables.KINDS:
        theirs = dict.fromkeys((topic for topic in topics if tables.kind_of(topic) == kind), 1)
        if theirs:
            ranks[tables.topics_table(generation, kind)] = theirs
            if at is not None:
                ranks[tables.day_topics_table(generation, kind, at)] = theirs
    return sums, ranks


def difference(
    old: Kept | None, new: Kept | None, generations: Sequence[int]
) -> tuple[Sums, Ranks]:
    """What turns the tables of *generations* from *old* counted into *new* counted.

    *Old* is taken out of those that it is part of; *new* is part of all of them.
    """
    sums: Sums = {}
    ranks: Ranks = {}
    for generation in generations:
        was = old if old is not None and generation in old.counted else None
        if new is not None and was is None:
            # As most records are: nothing of theirs cancels out.
            more_sums, more_ranks = contributions(new.record, new.topics, generation)
            sums |= more_sums
            ranks |= more_ranks
            continue
        part_sums: Sums = {}
        part_ranks: Ranks = {}
        if new is not None:
            _add(part_sums, part_ranks, contributions(new.record, new.topics, generation), 1)
        if was is not None:
            _add(part_sums, part_ranks, contributions(was.record, was.topics, generation), -1)
        sums |= _without_zeros(part_sums)
        ranks |= {
            table: kept
            for table, members in part_ranks.items()
            if (kept := {member: rank for member, rank in members.items() if rank})
        }
    return sums, ranks


def _add(sums: Sums, ranks: Ranks, more: tuple[Sums, Ranks], sign: int) -> None:
    for table, vectors in more[0].items():
        there = sums.setdefault(table, {})
        for member, vector in vectors.items():
            # One member always has as many numbers: its name tells its classes.
            before = there.get(member, (0,) * len(vector))
            there[member] = tuple(a + sign * b for a, b in zip(before, vector, strict=True))
    for table, members in more[1].items():
        ranked = ranks.setdefault(table, {})
        for member, rank in members.items():
            ranked[member] = ranked.get(member, 0) + sign * rank


def _without_zeros(sums: Sums) -> Sums:
    return {
        table: kept
        for table, members in sums.items()
        if (kept := {member: vector for member, vector in members.items() if any(vector)})
    }
