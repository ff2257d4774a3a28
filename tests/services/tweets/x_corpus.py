"""Tweets that were never written: as many as wanted, each a function of its number.

Authors, topics and moods recur, texts hardly do.  X's stand-in hands them out, by id and to a search;
files of them feed the bulk tests.
"""

from __future__ import annotations

import random
from typing import Any

from augury.services.tweets.urls import tweet_time

AUTHORS = 50
# 2023-11-18; a tweet every minute from there.
FIRST_ID = 1_725_700_000_000_000_000
_STEP = 60_000 << 22

_OPENINGS = ("Good morning", "Honestly", "Breaking", "Today", "So", "Well", "Again", "Finally")
_SUBJECTS = ("the market", "my train", "this song", "the new phone", "our team", "the weather")
_VERBS = ("made", "ruined", "saved", "changed", "carried", "delayed", "rescued", "spoiled")
_OBJECTS = ("my day", "the evening", "everything", "the whole week", "our plans", "breakfast")
_FEELINGS = ("I love it", "I hate it", "so happy", "so sad", "what a mess", "brilliant", "meh")
_TAGS = ("#bitcoin", "#news", "#music", "#monday", "$BTC", "#fußball", "#ビットコイン", "#travel")


def tweet_id(number: int) -> int:
    """The id of tweet *number*."""
    return FIRST_ID + number * _STEP


def number_of(id: int) -> int | None:
    """The inverse; ``None`` for ids that are not of the corpus."""
    number, rest = divmod(id - FIRST_ID, _STEP)
    return number if number >= 0 and not rest else None


def text_of(number: int) -> str:
    """The text of tweet *number*; every one ends in a number of its own, so none is told twice."""
    pick = random.Random(number).choice
    words = [pick(part) for part in (_OPENINGS, _SUBJECTS, _VERBS, _OBJECTS)]
    return (
        f"{words[0]} {' '.join(words[1:])}, {pick(_FEELINGS)} {pick(_TAGS)} {pick(_TAGS)} {number}"
    )


def author_of(number: int, authors: int = AUTHORS) -> int:
    """The author's id: a few write much, many write little."""
    return 1000 + int(authors * random.Random(-number - 1).random() ** 2)


def line_of(number: int, authors: int = AUTHORS) -> dict[str, Any]:
    """Tweet *number* as a line of JSONL."""
    author, own_id = author_of(number, authors), tweet_id(number)
    created_at = tweet_time(own_id)
    assert created_at is not None
    return {
        "id": str(own_id),
        "text": text_of(number),
        "author_id": str(author),
        "username": f"author{author}",
        "created_at": created_at.isoformat(),
        "lang": "en",
    }


def api_tweet(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tweet *number* and its author as X's API v2 tells them."""
    line = line_of(number)
    author, username = line["author_id"], line.pop("username")
    line["text"] = line["text"].replace("&", "&amp;")
    line["edit_history_tweet_ids"] = [line["id"]]
    user = {"id": author, "username": username, "name": f"Author {author}", "protected": False}
    return line, user
