from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import InvalidInput
from augury.services.tweets.topics import MAX_TOPIC_CHARS, MAX_TOPICS, parse_topic, topics_of


def test_tags_come_first_and_count_as_words_too() -> None:
    """A hashtag answers both for the tag and for the word."""
    assert topics_of("Buy #Bitcoin, sell $ETH.") == [
        "#bitcoin",
        "$eth",
        "bitcoin",
        "eth",
        "buy",
        "sell",
    ]


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("", []),
        ("the and of it", []),
        ("@bitcoin https://bitcoin.org/a www.bitcoin.org pic.twitter.com/xyz", []),
        ("bitcoin Bitcoin BITCOIN bitcoin's", ["bitcoin"]),
        ("don't can’t they've", []),
        ("#1 $5 $1000 &#39; a#b", []),
        ("#covid19 #AI", ["#covid19", "#ai", "covid19", "ai"]),
        ("$BRK.B", ["$brk.b", "brk.b"]),
        ("cafe\u0301 caf\u00e9", ["caf\u00e9"]),
        ("up 5G x2y", []),
        ("ﬂight STRASSE", ["ﬂight", "strasse"]),
        ("rock'n'roll", []),
        ("a" * 60, []),
    ],
)
def test_topics(text: str, topics: list[str]) -> None:
    """Stop words, short words, addresses, names and contractions are no topics."""
    assert topics_of(text) == topics


def test_there_are_at_most_32() -> None:
    """A text of a thousand words does not become a thousand keys."""
    words = [f"{a}{b}xyz" for a in "abcdefghij" for b in "abcdefghij"]
    assert len(topics_of(" ".join(words))) == MAX_TOPICS


@given(st.text())
def test_every_topic_can_be_asked_for(text: str) -> None:
    """What is laid down under a topic is found under it."""
    topics = topics_of(text)
    assert len(topics) == len(set(topics)) <= MAX_TOPICS
    for topic in topics:
        assert parse_topic(topic) == topic
        assert unicodedata.is_normalized("NFC", topic)


@pytest.mark.parametrize(
    "text", ["", "#", "a b", "a:b", "a" * 51, "*", "a*", "##a", "\ud800", "a/b"]
)
def test_what_is_no_topic_is_refused(text: str) -> None:
    """Nothing that could reach outside its own prefix is taken."""
    with pytest.raises(InvalidInput, match="one word, #hashtag"):
        parse_topic(text)


@pytest.mark.parametrize(
    "text",
    [
        "#" + "a" * 1_000_000,
        "#" + "1" * 1_000_000,
        "#a" * 500_000,
        "＃" + "名" * 1_000_000,
        "$" + "a" * 1_000_000,
        "#a\u0301" * 300_000,
        "İ" * 1_000_000,
        "@" * 1_000_000,
        "https://" * 200_000,
        "a'" * 500_000,
    ],
    ids=lambda text: ascii(text[:8]),
)
def test_a_megabyte(text: str) -> None:
    """It costs no more than a tweet does, and no topic is longer than a topic."""
    began_s = time.process_time()
    topics = topics_of(f"start {text} end")
    # A tweet's length takes milliseconds; without the bound, or with one that backtracks, minutes.
    assert time.process_time() - began_s < 2
    assert len(topics) <= MAX_TOPICS
    assert all(len(topic) <= MAX_TOPIC_CHARS for topic in topics)
    for topic in topics:
        assert parse_topic(topic) == topic
