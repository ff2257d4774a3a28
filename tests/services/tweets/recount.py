"""What the aggregates should be, counted by hand from records; and what a store says they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from augury.services.tweets.ledger import Ledger, tables
from augury.services.tweets.records import PredictionRecord
from augury.services.tweets.topics import topics_of

Counts = dict[str, Counter[str]]


def by_hand(records: Iterable[PredictionRecord]) -> Counts:
    """Entity to label to number of tweets, of records of which each tweet has one."""
    counts: Counts = {}
    for record in records:
        entities = [tables.ALL_TWEETS, *map(tables.topic_entity, topics_of(record.text))]
        if record.author_id is not None:
            entities.append(tables.author_entity(record.author_id))
        for entity in entities:
            counts.setdefault(entity, Counter())[record.label] += 1
    return counts


async def as_told(ledger: Ledger, entities: Iterable[str]) -> Counts:
    """The same, as the ledger's tables tell; of *entities* and of every author that they list."""
    generation = await ledger.generation()
    authors = await ledger.store.top(tables.authors_table(generation), limit=100_000)
    listed = {tables.author_entity(int(author)) for author, _ in authors}
    counts: Counts = {}
    for entity in {*entities, *listed}:
        told: Counter[str] = Counter()
        table = tables.total_table(generation, entity)
        for member, vector in (await ledger.store.sums(table)).items():
            classes = tables.read_classes(member)
            assert classes is not None
            told += Counter(tables.read_vector(classes, vector)[0])
        counts[entity] = told
    return counts
