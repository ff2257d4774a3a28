"""Tell what a text is about: its hashtags, cashtags and telling words.

Feeds the topic aggregates.  Pure.  Made for English: words of other languages are kept, but their
stop words are too, and scripts that write no spaces yield whole phrases or nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from augury.core.errors import InvalidInput
from augury.services.tweets.urls import shown

MAX_TOPICS: Final = 32
MIN_WORD_CHARS: Final = 3
MAX_TOPIC_CHARS: Final = 50

# A tweet is at most 25,000 characters; beyond that someone else's text is only cost.
_MAX_TEXT_CHARS: Final = 25_000


def _marks() -> str:
    r"""All vowel signs and accents that stand beside their letter, as ranges of a character class.

    They are no ``\w``.  Variation selectors are left out: they say how a character looks.
    """
    marks = [
        chr(code)
        for first, last in _BLOCKS_WITH_MARKS
        for code in range(first, last + 1)
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
    ]
    ranges: list[list[str]] = []
    for mark in marks:
        if ranges and ord(ranges[-1][1]) == ord(mark) - 1:
            ranges[-1][1] = mark
        else:
            ranges.append([mark, mark])
    return "".join(f"{first}-{last}" for first, last in ranges)


# Where marks are; all of Unicode would take several times as long at each start.
_BLOCKS_WITH_MARKS: Final = (
    *((0x300, 0x30FF), (0xA66F, 0xABFF), (0xFB1E, 0xFB1E), (0xFE20, 0xFE2F), (0x10000, 0x11FFF)),
    *((0x13430, 0x1345F), (0x16000, 0x16FFF), (0x1BC00, 0x1BCFF), (0x1CF00, 0x1D2FF)),
    (0x1DA00, 0x1E9FF),
)
_MARKS: Final = _marks()
_LETTER: Final = r"[^\W\d_]"
# They join letters, or keep them apart, where several scripts would write them otherwise; at a
# topic's end they are nothing.
_JOINERS: Final = "\u200c\u200d"
_INSIDE: Final = _MARKS + _JOINERS

# A letter has a handful of marks at most; ordering thousands takes time by their square.
_MAX_MARKS: Final = 30
_PILE: Final = re.compile(rf"([{_MARKS}]{{{_MAX_MARKS}}})[{_MARKS}]+")

_URL: Final = re.compile(r"https?://\S+|www\.\S+|\bpic\.(?:twitter|x)\.com/\S+", re.IGNORECASE)
_MENTION: Final = re.compile(r"(?<!\w)@\w+")
# One pass, left to right; a hashtag needs a letter, or "#1" would be one.
_TOKEN: Final = re.compile(
    rf"(?<![\w{_MARKS}&])[#＃](?=[\d_{_INSIDE}]*{_LETTER})(?P<hashtag>\w[\w{_INSIDE}]*)"
    rf"|(?<![\w{_MARKS}])\$(?P<cashtag>[a-z]{{1,6}}(?:[._][a-z]{{1,2}})?)(?![\w{_MARKS}])"
    rf"|(?P<word>{_LETTER}+(?:(?:[{_INSIDE}]+|['’](?={_LETTER})){_LETTER}*)*)"
)
_TOPIC: Final = re.compile(rf"[#$]?\w[\w.{_INSIDE}]*(?<![{_JOINERS}])")
# No character has more than four of which NFC makes one.
_MAX_ASKED_CHARS: Final = 4 * MAX_TOPIC_CHARS

STOP_WORDS: Final = frozenset(
    """
    about above after again against all also although always and another any anybody anyone anything
    are around away back because been before being below between both but came can cannot cant come could
    did didnt does doesnt doing done dont down during each either else even ever every few for from further
    gave get gets getting give goes going gone gonna got gotta had has hasnt have havent having her here
    hers herself him himself his how however ill into isnt its itself ive just keep kept know last least
    less let lets like likely lot made make makes many may maybe might mine more most much must myself near
    need neither never next nor not nothing now off often once one only onto other others our ours ourselves
    out over own per put quite rather really said same saw say says see seem seen shall she should since
    some somebody someone something sometimes somewhere soon still such take taken than that thats the their
    theirs them themselves then there theres these they theyre thing things think this those though through
    thus till together too took toward two under until upon use used using very via wanna want was wasnt way
    well went were what whatever when where whether which while who whole whom whose why will with within
    without wont would wouldnt yeah yes yet you your youre yours yourself yourselves amp
    """.split()  # noqa: SIM905 - a list would take 250 lines
)


def topics_of(text: str) -> list[str]:
    """The topics of *text*, tags first, then words, each in the order of their appearance.

    A hashtag counts twice: as ``#bitcoin`` and as the word ``bitcoin``, so that both questions,
    "who tagged it" and "who spoke of it", have an answer; a cashtag likewise.

    Args:
        text: Of any length; what comes after 25,000 characters is not read.

    Returns:
        At most 32 topics, lower-cased, NFC, none twice.

    >>> topics_of("Loving #Bitcoin and $BTC, thanks @ada! https://t.co/x")
    ['#bitcoin', '$btc', 'bitcoin', 'btc', 'loving', 'thanks']
    """
    text = unicodedata.normalize("NFC", _PILE.sub(r"\1", text[:_MAX_TEXT_CHARS].lower()))
    text = _MENTION.sub(" ", _URL.sub(" ", text))
    tags: dict[str, None] = {}
    tagged: dict[str, None] = {}
    words: dict[str, None] = {}
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match[match.lastgroup or 0].rstrip(_JOINERS)
        if len(token) >= MAX_TOPIC_CHARS:
            continue
        if kind == "word":
            word = token.replace("’", "'").removesuffix("'s")
            # Contractions ("don't", "they've") tell nothing of a topic.
            if len(word) >= MIN_WORD_CHARS and "'" not in word and word not in STOP_WORDS:
                words[word] = None
        else:
            tags[("#" if kind == "hashtag" else "$") + token] = None
            tagged[token] = None
    return list(tags | tagged | words)[:MAX_TOPICS]


def parse_topic(text: str) -> str:
    """The topic that a person asks for, as :func:`topics_of` spells it.

    Raises:
        InvalidInput: It could not be a topic.

    >>> parse_topic(" #Bitcoin ")
    '#bitcoin'
    """
    asked = text.strip().lower()[: _MAX_ASKED_CHARS + 1]
    topic = unicodedata.normalize("NFC", asked).replace("＃", "#")
    if len(asked) > _MAX_ASKED_CHARS or len(topic) > MAX_TOPIC_CHARS or not _TOPIC.fullmatch(topic):
        raise InvalidInput(
            f"{shown(text)} is no topic; send one word, #hashtag or $cashtag of at most "
            f"{MAX_TOPIC_CHARS} letters, marks, digits and underscores (write # as %23 in a URL)",
            topic=shown(text),
        )
    return topic
