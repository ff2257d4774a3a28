r"""Rewrite a post as plain text that an uncased WordPiece vocabulary can read.

Sits before the tokenizer of ``tweet-sentiment``: training and serving call
the same :func:`normalise_tweet`, so the model never meets at serving a form
of text that it was not trained on.  Pure: no I/O, no state but a bounded
cache of single characters.  It refuses nothing (any ``str`` is answered, lone
surrogates included) and judges nothing: it only spells things differently.

The order matters and is fixed:

1. decode: HTML entities (``&amp;``) and literal ``\uXXXX`` escapes;
2. fold each character: curly quotes to ASCII, full-width and mathematical
   letters to plain ones, invisible characters away; shorten long runs;
3. emojis become words (:data:`EMOJI_GLOSSES`, else their Unicode name);
4. ``@name`` becomes ``@user`` and a link becomes ``http``, as in the
   preprocessing of TweetEval (Barbieri et al. 2020);
5. ``#CamelCase`` is parted into words; white space is collapsed.

Steps 1 and 2 repeat, since one can uncover work for the other; what is still
encoded after that is broken up with a space, so that a second call of the
function finds nothing left to do.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from augury.pipeline.transforms.emoji_glosses import EMOJI_GLOSSES, FLAG_GLOSSES

__all__ = ["EMOJI_GLOSSES", "normalise_tweet"]

# Nesting seen in the wild is one deep (`&amp;amp;`); more is only hostile.
_DECODING_ROUNDS: Final = 3

# Code points that the cache of folded characters may hold: about 0.5 MB.
_CACHED_CODE_POINTS: Final = 4096

_PUNCTUATION: Final[Mapping[str, str]] = {
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'",
    "\u00b4": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u201f": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": " - ",
    "\u2015": " - ", "\u2026": "...", "\u2022": " ", "\ufffd": " ",
}  # fmt: skip

# Kept apart from NFKC's answer, which would lose what they mean.
_NOT_DECOMPOSED: Final = frozenset("\u2122\u2120\u00bd\u00bc\u00be\u00b2\u00b3\u00b9")

_SURROGATE_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_LETTER_RUN: Final = re.compile(r"([^\W\d]|[!?.,*~-])\1{3,}")
# Six times as fast as the pattern above at finding nothing, the usual case.
_ANY_RUN: Final = re.compile(r"(.)\1\1\1")
_EMOJI_RUN: Final = re.compile("([\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff])\\1+")
_FLAG: Final = re.compile("[\U0001f1e6-\U0001f1ff]{2}")
_MENTION: Final = re.compile(r"(?<!\w)@\w+")
_LINK: Final = re.compile(
    r"https?://\S+|(?<!\S)https?\S*|(?<!\S)pic\.twitter\.com\S*", re.IGNORECASE
)
_HASHTAG: Final = re.compile(r"#\w+")
_CAMEL_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)")

# An ASCII text without any of these, links and doubled quotes needs no more
# than white space collapsed and long runs shortened.
_ASCII_WORK: Final = re.compile(r"[@&\\#\x00-\x08\x0e-\x1f\x7f]")


class _FoldedCharacters(dict[int, str]):
    """What :meth:`str.translate` puts in place of one character.

    Filled as characters are met.  It stops growing at a bound, because the
    characters come from clients.
    """

    def __missing__(self, code_point: int) -> str:
        folded = _fold(chr(code_point))
        if len(self) < _CACHED_CODE_POINTS:
            self[code_point] = folded
        return folded


class _SpokenEmojis(dict[int, str]):
    """The words that :meth:`str.translate` puts in place of an emoji."""

    def __missing__(self, code_point: int) -> str:
        spoken = _speak(chr(code_point))
        if len(self) < _CACHED_CODE_POINTS:
            self[code_point] = spoken
        return spoken


def _fold(character: str) -> str:
    """Answer the plainer spelling of one character, possibly ``""``."""
    if character < "\x80":
        return character if " " <= character < "\x7f" else " "
    if character in _PUNCTUATION:
        return _PUNCTUATION[character]
    if character in EMOJI_GLOSSES or character in _NOT_DECOMPOSED:
        return character
    # Skin tones, variation selectors, the keycap's frame, and the gender
    # signs, which only ever follow a joiner: none carries sentiment.
    if (
        "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
        or character in "\u20e3\u2640\u2642"
    ):
        return ""
    category = unicodedata.category(character)
    if category == "Cf":
        return ""
    if category in {"Cc", "Cs", "Co", "Zs", "Zl", "Zp"}:
        return " "
    plain = unicodedata.normalize("NFKC", character)
    # A ligature may decompose into hundreds of letters' worth of phrase
    # (U+FDFA: 18); those stay, and so do marks that would start with a space.
    if plain == character or len(plain) > 4 or plain.startswith(" "):
        return character
    return "".join(_PUNCTUATION.get(part, part) for part in plain)


def _is_pictograph(character: str) -> bool:
    return (
        "\U0001f000" <= character <= "\U0001faff"
        or "\u2600" <= character <= "\u27bf"
        or "\u2b00" <= character <= "\u2bff"
        or "\u231a" <= character <= "\u23ff"
    )


def _speak(character: str) -> str:
    """Answer the words for an emoji, any other character itself."""
    gloss = EMOJI_GLOSSES.get(character)
    if gloss is None:
        if not _is_pictograph(character):
            return character
        gloss = unicodedata.name(character, "").lower()
    return f" {gloss} "


_FOLDED: Final = _FoldedCharacters()
_SPOKEN: Final = _SpokenEmojis()


def _join_surrogates(match: re.Match[str]) -> str:
    pair = match.group()
    return chr(0x10000 + ((ord(pair[0]) - 0xD800) << 10) + (ord(pair[1]) - 0xDC00))


def _decode(text: str) -> str:
    if "&" in text:
        text = html.unescape(text)
    if "\\u" in text:
        text = _ESCAPED.sub(lambda match: chr(int(match.group(1), 16)), text)
    return text if text.isascii() else _SURROGATE_PAIR.sub(_join_surrogates, text)


def _shorten_runs(text: str) -> str:
    if _ANY_RUN.search(text):
        text = _LETTER_RUN.sub(r"\1\1\1", text)
    # Doubled quotes are what a spreadsheet's CSV export leaves behind.
    while '""' in text:
        text = text.replace('""', '"')
    return text if text.isascii() else _EMOJI_RUN.sub(r"\1", text)


def _may_hold_link(text: str) -> bool:
    lowered = text.lower()
    return "http" in lowered or "pic.twitter" in lowered


def _speak_flag(match: re.Match[str]) -> str:
    code = "".join(chr(ord(letter) - 0x1F1E6 + ord("a")) for letter in match.group())
    return f" {FLAG_GLOSSES.get(code, code + ' flag')} "


def normalise_tweet(text: str) -> str:
    r"""Rewrite *text* as the tweet model reads it.

    Deterministic, idempotent, linear in ``len(text)``; never raises for a
    ``str``.  The answer has no line break and no white space at its ends;
    letters keep their case.

    Args:
        text: A post as it was written, of any length.

    Returns:
        The rewritten text; ``""`` when nothing readable is left.

    >>> normalise_tweet("@ada  loved it \U0001f60d\U0001f60d https://t.co/x &amp; smiled")
    '@user loved it love http & smiled'
    >>> normalise_tweet("don\\u2019t #JustSayNo")
    "don't #Just Say No"
    """
    if (
        text.isascii()
        and _ASCII_WORK.search(text) is None
        and '""' not in text
        and not _may_hold_link(text)
    ):
        return " ".join(_shorten_runs(text).split())

    for _ in range(_DECODING_ROUNDS):
        text = _shorten_runs(_decode(text).translate(_FOLDED))
        if "&" not in text and "\\u" not in text:
            break
    if "&" in text and html.unescape(text) != text:
        text = text.replace("&", "& ")
    text = _ESCAPED.sub(r"\\ u\1", text)

    if not text.isascii():
        text = _FLAG.sub(_speak_flag, text).translate(_SPOKEN)
    if "@" in text:
        text = _MENTION.sub("@user", text)
    if _may_hold_link(text):
        text = _LINK.sub(" http ", text)
    if "#" in text:
        text = _HASHTAG.sub(lambda match: _CAMEL_HUMP.sub(" ", match.group()), text)
    return " ".join(text.split())
