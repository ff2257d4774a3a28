"""Names of the aggregates' tables and members, and how times are written in them.

Pure; ``contributions`` fills the tables, ``aggregates`` and ``ledger`` read them.  A table's name
begins with its generation, and whatever people wrote stands at its end, as in the keys of
``records``: no topic leads into another table, and no generation's prefix is part of another's.

An *entity* is what is added up: all tweets, an author, a topic.

======================================  =====  ===============================  ====================
table, after ``tweets:{generation}:``   kind   member                           value
======================================  =====  ===============================  ====================
``total:{entity}``                      sums   classes                          :func:`vector_of`
``hour:{entity}``, ``day:{entity}``     sums   start or ``?``, and the classes  :func:`vector_of`
``tweets:{entity}``                     ranks  tweet                            when it was written
``authors``                             ranks  author                           number of tweets
``topics:{kind}``, ``topics:all``       ranks  topic                            number of tweets
``day_topics:{kind}:{day}``             ranks  topic                            tweets of that day
``predicted``                           ranks  tweet                            when it was judged
======================================  =====  ===============================  ====================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

Stretch = Literal["hour", "day"]
Kind = Literal["hashtag", "cashtag", "word"]

KINDS: Final[tuple[Kind, ...]] = ("hashtag", "cashtag", "word")
STRETCHES: Final[tuple[Stretch, ...]] = ("hour", "day")

# "2018-10-10T20" and "2018-10-10"; what follows in a member are its classes.
_START_CHARS: Final[Mapping[Stretch, int]] = {"hour": 13, "day": 10}
_UNDATED: Final = "?"

# Scores are rounded to six digits, so that millionths of them are exact, and their sums as well,
# in whatever order they are added.
MILLIONTHS: Final = 1_000_000

# Ranks are milliseconds since the year 1, and 1 more: a rank of 0 is none.  The year 9999 is at
# 3.2e14, below the 2**53 up to which ranks are exact.
_YEAR_1: Final = datetime(1, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
UNDATED_RANK: Final = -1
FIRST_DATED_RANK: Final = 1

ALL_TWEETS: Final = "all"
# Ids are padded to the digits of 2**63, so that those of one moment are in the order of their number.
_ID_DIGITS: Final = 19

_CLASSES: Final = msgspec.json.Decoder(tuple[str, ...])


def author_entity(author_id: int) -> str:
    """An author."""
    return f"author:{author_id}"


def topic_entity(topic: str) -> str:
    """A topic, as ``topics.topics_of`` spells it."""
    return f"topic:{topic}"


def generation_prefix(generation: int) -> str:
    """What all tables of a generation begin with."""
    return f"tweets:{generation}:"


def total_table(generation: int, entity: str) -> str:
    """Sums of all tweets."""
    return f"tweets:{generation}:total:{entity}"


def stretch_table(generation: int, stretch: Stretch, entity: str) -> str:
    """Sums by hour or day; undated tweets have a member of their own."""
    return f"tweets:{generation}:{stretch}:{entity}"


def tweets_table(generation: int, entity: str) -> str:
    """Tweets, ranked by when they were written."""
    return f"tweets:{generation}:tweets:{entity}"


def authors_table(generation: int) -> str:
    """Authors, ranked by number of tweets."""
    return f"tweets:{generation}:authors"


def topics_table(generation: int, kind: Kind | Literal["all"]) -> str:
    """Topics, ranked by number of tweets."""
    return f"tweets:{generation}:topics:{kind}"


def day_topics_table(generation: int, kind: Kind, day: datetime) -> str:
    """Topics, ranked by number of tweets of one day."""
    return f"tweets:{generation}:day_topics:{kind}:{day.isoformat()[:10]}"


def predicted_table(generation: int) -> str:
    """Tweets, ranked by when they were judged."""
    return f"tweets:{generation}:predicted"


def kind_of(topic: str) -> Kind:
    """Told by the sign before it.

    >>> kind_of("#bitcoin"), kind_of("$btc"), kind_of("bitcoin")
    ('hashtag', 'cashtag', 'word')
    """
    return "hashtag" if topic[:1] == "#" else "cashtag" if topic[:1] == "$" else "word"


def classes_of(label: str, scores: Iterable[str]) -> str:
    """The classes of a prediction, as members spell them.

    They are part of each member's name, so that a vector tells by itself what its numbers are, and
    models with other classes stand beside each other without mixing.

    >>> classes_of("good", ["good", "bad"])
    '["bad","good"]'
    """
    return msgspec.json.encode(sorted({label, *scores})).decode()


def vector_of(label: str, scores: Mapping[str, float]) -> tuple[int, ...]:
    """One tweet's contribution: for each class 1 if it was chosen, then each score in millionths.

    >>> vector_of("good", {"bad": 0.25, "good": 0.75})
    (0, 1, 250000, 750000)
    """
    classes = sorted({label, *scores})
    return (
        *(int(name == label) for name in classes),
        *(round(scores.get(name, 0.0) * MILLIONTHS) for name in classes),
    )


def read_classes(classes: str) -> tuple[str, ...] | None:
    """The inverse of :func:`classes_of`; ``None`` for what is none."""
    try:
        return _CLASSES.decode(classes)
    except msgspec.MsgspecError:
        return None


def read_vector(
    classes: Sequence[str], vector: Sequence[int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Labels counted, and sums of scores in millionths; trailing zeros may be missing."""
    padded = [*vector, *(0 for _ in range(2 * len(classes) - len(vector)))]
    return (
        dict(zip(classes, padded[: len(classes)], strict=True)),
        dict(zip(classes, padded[len(classes) : 2 * len(classes)], strict=True)),
    )


def start_member(stretch: Stretch, at: datetime | None, classes: str) -> str:
    """Where a tweet of *at* (UTC) is counted.

    >>> start_member("hour", datetime(1, 2, 3, 4, 5, tzinfo=UTC), '["a"]')
    '0001-02-03T04["a"]'
    """
    start = _UNDATED if at is None else at.isoformat()[: _START_CHARS[stretch]]
    return f"{start}{classes}"


def read_start(stretch: Stretch, member: str) -> tuple[datetime | None, tuple[str, ...]] | None:
    """The inverse of :func:`start_member`; ``None`` for what is none."""
    undated = member.startswith(_UNDATED)
    chars = len(_UNDATED) if undated else _START_CHARS[stretch]
    classes = read_classes(member[chars:])
    if classes is None:
        return None
    if undated:
        return None, classes
    try:
        missing = ":00" if stretch == "hour" else "T00:00"
        return datetime.fromisoformat(f"{member[:chars]}{missing}+00:00"), classes
    except ValueError:
        return None


def time_rank(at: datetime | None) -> int:
    """A time as a rank, to the millisecond.

    >>> rank_time(time_rank(datetime(2018, 10, 10, tzinfo=UTC)))
    datetime.datetime(2018, 10, 10, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return UNDATED_RANK if at is None else (at - _YEAR_1) // _MS + FIRST_DATED_RANK


def rank_time(rank: int) -> datetime | None:
    """The inverse."""
    return None if rank < FIRST_DATED_RANK else _YEAR_1 + (rank - FIRST_DATED_RANK) * _MS


def tweet_member(tweet_id: int) -> str:
    """A tweet in a ranks table."""
    return f"{tweet_id:0{_ID_DIGITS}d}"
