from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from augury.services.tweets.model import Tweet
from augury.services.tweets.records import (
    Kept,
    author_id_key,
    decode_kept,
    encode_kept,
    in_utc,
    record_key,
    record_of,
)

AT = datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)


def test_the_tweet_can_be_had_back() -> None:
    """A record holds all of its tweet, so that a new version need not fetch it."""
    tweet = Tweet(
        id=7, text="t", author_id=1, username="a", author_name="A", created_at=AT, lang="en"
    )
    record = record_of(tweet, label="x", scores={}, model="m", version=1, predicted_at=AT)
    assert record.tweet == tweet


def test_what_is_kept_can_be_read() -> None:
    """Together with what takes it out of the counts again."""
    record = record_of(
        Tweet(id=7, text="\0*\n名前"),
        label="x",
        scores={"x": 1.0},
        model="m",
        version=1,
        predicted_at=AT,
    )
    kept = Kept(record=record, topics=("#a", "b"), counted=(1, 2))
    assert decode_kept(encode_kept(kept)) == kept


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b'{"record": {"label": 5}}', b"\xff"])
def test_what_cannot_be_read_is_none(value: bytes | None) -> None:
    """A value of another release, or of nobody."""
    assert decode_kept(value) is None


def test_names_stand_at_the_end_of_keys() -> None:
    """Whatever a name is, it makes no key of another kind; the endless ones make none."""
    assert author_id_key("Ada") == "tweets:author_id:ada"
    assert author_id_key("*\n:7") == "tweets:author_id:*\n:7"
    assert author_id_key("a" * 51) is None
    assert author_id_key("") is None
    assert record_key(7) == "tweets:record:7"


def test_times_are_utc() -> None:
    """Of other zones, of none, and beside the ends of time."""
    athens = timezone(timedelta(hours=3))
    assert in_utc(datetime(2018, 10, 9, 1, 30, tzinfo=athens)) == datetime(
        2018, 10, 8, 22, 30, tzinfo=UTC
    )
    assert in_utc(datetime(2018, 10, 9)) == datetime(2018, 10, 9, tzinfo=UTC)  # noqa: DTZ001
    assert in_utc(datetime(1, 1, 1, tzinfo=athens)) is None
    assert in_utc(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-3)))) is None
    assert in_utc(None) is None
