"""The tweet normaliser: what it rewrites, and what it never does."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from augury.pipeline.transforms.emoji_glosses import EMOJI_GLOSSES
from augury.pipeline.transforms.tweet_text import normalise_tweet

# Pieces that interact: each alone is harmless, together they nest.
_PIECES = st.sampled_from(
    ["&", "amp;", "&amp;", "&#38;", "&#x", "lt", "\\u", "\\u0026", "\\ud83d", "\\ude0a", "@", "#",
     "http", "https://", "pic.twitter.com", "\u200b", "\ufe0f", "\u200d", "😊", "👍🏽", "🇺", "🇸",
     "\ud83d", "\ude0a", '"', "“", "…", "ﬁ", "aaaa", "A", "b", "0041", ";", " ", "\n", "．", "＆"]
)  # fmt: skip
_TEXTS = st.text() | st.text(st.characters()) | st.lists(_PIECES, max_size=12).map("".join)


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("", ""),
        ("   \n\t ", ""),
        ("plain words", "plain words"),
        ("two\r\nlines", "two lines"),
        ("a\x00b", "a b"),
    ],
)
def test_plain_text_only_loses_white_space(posted: str, read: str) -> None:
    """Ordinary text keeps its words and case; white space is collapsed."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("@Ada_99 hi", "@user hi"),
        (".@Ada hi", ".@user hi"),
        ("@a @b", "@user @user"),
        ("@user", "@user"),
        ("me@example.org", "me@example.org"),
        ("at @ noon", "at @ noon"),
    ],
)
def test_names_become_user(posted: str, read: str) -> None:
    """A mention becomes ``@user``; an e-mail address is none."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("see https://t.co/aBc?d=1&amp;e=2", "see http"),
        ("HTTP://EXAMPLE.ORG now", "http now"),
        ("cut https:/\u2026", "cut http"),
        ("look:https://t.co/x", "look: http"),
        ("pic.twitter.com/abc", "http"),
        ("https://t.co/x😂", "http lmao"),
    ],
)
def test_links_become_http(posted: str, read: str) -> None:
    """A link becomes ``http``, and an emoji that touches it survives."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("you &amp; me", "you & me"),
        ("I &lt;3 it", "I <3 it"),
        ("you &amp;amp; me", "you & me"),
        ("it&#039;s", "it's"),
        (r"don\u2019t", "don't"),
        (r"well\u002c yes", "well, yes"),
        (r"\ud83d\ude0a", ":)"),
        (r"C:\users", r"C:\users"),
        ("AT&T", "AT&T"),
    ],
)
def test_entities_and_escapes_are_decoded(posted: str, read: str) -> None:
    """HTML entities and literal escapes become the characters they stand for."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("\u201cit\u2019s\u201d", '"it\'s"'),
        ("so\u2026", "so..."),
        ("a\u2014b", "a - b"),
        ("\uff28\uff29", "HI"),
        ("\U0001d4d7\U0001d4f2", "Hi"),
        ("ze\u200bro", "zero"),
        ('""quoted""', '"quoted"'),
        ("soooooo good!!!!!!", "sooo good!!!"),
        ("1000000", "1000000"),
        ("caf\u00e9", "caf\u00e9"),
    ],
)
def test_characters_are_spelt_plainly(posted: str, read: str) -> None:
    """Typographic variants meet the spelling that the vocabulary holds."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("night😊", "night :)"),
        ("😂😂😂", "lmao"),
        ("👏🏽👏🏿", "well done"),
        ("❤️", "love"),
        ("🤷‍♂️", "dunno"),
        ("🇺🇸🇺🇸", "usa usa"),
        ("🇯🇵", "jp flag"),
        ("1️⃣", "1"),
        ("🦄", "unicorn face"),
    ],
)
def test_emojis_become_words(posted: str, read: str) -> None:
    """An emoji is spoken once per run, without skin tone or variation selector."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize(
    ("posted", "read"),
    [
        ("#JustSayNo", "#Just Say No"),
        ("#NFLDraft2016", "#NFL Draft 2016"),
        ("#monday", "#monday"),
        ("# 1", "# 1"),
    ],
)
def test_hashtags_are_parted(posted: str, read: str) -> None:
    """A hashtag in camel case is parted into the words it was made of."""
    assert normalise_tweet(posted) == read


@pytest.mark.parametrize("gloss", sorted(set(EMOJI_GLOSSES.values())))
def test_gloss_is_plain(gloss: str) -> None:
    """Each gloss is ASCII that the normaliser leaves alone."""
    assert gloss.isascii()
    assert normalise_tweet(gloss) == gloss


def test_glosses_are_keyed_by_one_code_point() -> None:
    """Every key is a single character, as the lookup needs."""
    assert {len(emoji) for emoji in EMOJI_GLOSSES} == {1}
    assert len(EMOJI_GLOSSES) >= 150


def test_lone_surrogate_is_dropped() -> None:
    """Half a surrogate pair cannot be encoded, so it leaves a gap."""
    assert normalise_tweet("a\ud83db") == "a b"
    assert normalise_tweet(r"a\ud83d b") == "a b"


@given(_TEXTS)
@example("&amp;" * 9 + "lt;")
@example(r"\u005cu005cu005cu005cu0041")
@example("&gggg;")
def test_second_call_changes_nothing(text: str) -> None:
    """The normaliser is idempotent, for hostile nesting too."""
    once = normalise_tweet(text)

    assert normalise_tweet(once) == once


@given(_TEXTS)
def test_answer_is_one_tidy_line(text: str) -> None:
    """Any text is answered by one line that UTF-8 can hold."""
    answer = normalise_tweet(text)

    assert answer == " ".join(answer.split())
    answer.encode("utf-8")


@given(st.text(st.sampled_from("abc xyz.,!?'"), max_size=60))
def test_fast_path_agrees_with_the_slow_one(text: str) -> None:
    """ASCII text reads the same whether or not it takes the short way."""
    assert normalise_tweet(text + " @a") == (normalise_tweet(text) + " @user").strip()


@pytest.mark.parametrize(
    "piece",
    ["&amp;", "&", "&a", "@", "http", "#aA", "a", "ab", r"\u", "😂", '"', "&#", "\u0301", "🇺"],
)
def test_long_input_takes_linear_time(piece: str) -> None:
    """100,000 characters of a hostile pattern take well under a second."""
    text = piece * (100_000 // len(piece))

    start_s = time.perf_counter()
    normalise_tweet(text)

    assert time.perf_counter() - start_s < 1.0
