from __future__ import annotations

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import InvalidInput
from augury.services.tweets import topics as topics_module
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


@pytest.mark.parametrize(
    "word",
    [
        "हिन्दी",
        "हिमालय",
        "தமிழ்",
        "বাংলাদেশ",
        "తెలుగు",
        "ภาษาไทย",
        "မြန်မာ",
        "שָׁלוֹם",
        "مُحَمَّد",
        "می\u200cخواهم",
        "ශ්\u200dරී",
        "x\u0331yz",
    ],
)
def test_marks_belong_to_their_letters(word: str) -> None:
    """Scripts that write vowels as marks have whole hashtags and words, which can be asked for."""
    word = unicodedata.normalize("NFC", word)
    assert topics_of(f"a #{word}, b") == [f"#{word}", word]
    assert topics_of(f"“{word}”!") == [word]
    assert parse_topic(f" #{word}") == f"#{word}"
    assert parse_topic(word) == word


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("#1\u0301 #1\u20e3 #1\ufe0f\u20e3 #\u0301a #\u200da", []),
        ("\u2764\ufe0f#love\u2764\ufe0f", ["#love", "love"]),
        ("#love\u200d #hate\u200d\U0001f3fd", ["#love", "#hate", "love", "hate"]),
        ("\u0301\u0301\u0301 \u200d\u200d\u200d", []),
        ("\u0939\u093f#\u0926\u0947\u0936", ["\u0926\u0947\u0936"]),
        ("$btc\u0331", ["btc\u0331"]),
    ],
)
def test_marks_alone_are_nothing(text: str, topics: list[str]) -> None:
    """Accents, joiners and variation selectors make no topic, and are in none at its end."""
    assert topics_of(text) == topics


def test_all_marks_are_known() -> None:
    """The blocks that are looked through have every mark of Unicode but the variation selectors."""
    known = re.compile(f"[{topics_module._MARKS}]")
    missed = [
        code
        for code in range(sys.maxunicode + 1)
        if (unicodedata.category(chr(code)) in ("Mn", "Mc")) != bool(known.match(chr(code)))
    ]
    assert missed == [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]


def test_each_character_can_be_asked_for() -> None:
    """Where it begins, continues or ends a topic, that topic is taken.

    All that is written, but for ideographs and the like: each is as the other.
    """
    for character in map(chr, range(sys.maxunicode + 1)):
        kind = unicodedata.category(character)
        changes = unicodedata.normalize("NFC", character.lower()) != character
        if not changes and (kind == "Lo" or kind[0] not in "LMNP"):
            continue
        for topic in topics_of(f"#{character}b{character} a{character}bc{character}"):
            assert parse_topic(topic) == topic


@given(
    st.text(
        st.one_of(
            st.characters(categories=["Lo", "Lu", "Ll", "Mn", "Mc", "Nd"]),
            st.sampled_from("#＃$_'’. \u200c\u200d\ufe0f\u0345\u0344\u0958ΣİÅ"),
        ),
        max_size=80,
    )
)
def test_every_topic_of_every_script_can_be_asked_for(text: str) -> None:
    """Letters, marks and joiners in any order."""
    for topic in topics_of(f"#{text}"):
        assert parse_topic(topic) == topic
        assert unicodedata.is_normalized("NFC", topic)


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
        "#" + "\u0939\u093f" * 500_000,
        "\u0939\u200d" * 500_000,
        "#1\u200d" * 300_000,
        "#" + "1\u0301" * 500_000,
        "\u0301" * 1_000_000,
        # Ordering these by Unicode's rules takes time by the square of their number.
        "a" + "\u0301" * 12_000 + "\u0316" * 1_000_000,
        "a\u0301\u0316" * 300_000,
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
    with pytest.raises(InvalidInput):
        parse_topic(text)
    assert time.process_time() - began_s < 2
    for topic in topics:
        assert parse_topic(topic) == topic
