"""Understand one entry of a file of tweets, in any of the shapes in which tweets are kept.

Pure: decoded JSON in, tweets out.  ``archive_files`` lists the names taken and does the reading.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from augury.services.tweets.model import Tweet, id_of_name, unescape
from augury.services.tweets.urls import MAX_TWEET_ID

# A long post has 25,000 characters; what is longer is no tweet.
MAX_TEXT_CHARS: Final = 100_000
_MAX_NAME_CHARS: Final = 200

_ID: Final = ("id", "id_str", "tweet_id")
_TEXT: Final = ("note_tweet.text", "text", "full_text", "content")
_AUTHOR_ID: Final = ("author_id", "user_id", "author.id", "user.id_str")
_USERNAME: Final = (
    *("username", "author_username", "screen_name"),
    *("author.username", "user.screen_name"),
)
_AUTHOR_NAME: Final = ("author_name", "name", "author.name", "user.name")
_CREATED_AT: Final = ("created_at", "date")

# English names, whatever the locale: strptime's %a and %b would follow it.
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)


class NotATweetError(ValueError):
    """An entry is none; the message says why, and never quotes the text."""


class Account(msgspec.Struct, frozen=True, rename="camel"):
    """Whose archive it is, as ``account.js`` tells."""

    account_id: str | None = None
    username: str | None = None
    account_display_name: str | None = None


class _AccountEntry(msgspec.Struct):
    account: Account


def account_of(content: bytes) -> Account:
    """The account in the JSON of ``account.js``; an empty one when it is not what we know."""
    try:
        entries = msgspec.json.decode(content.strip(b" \t\r\n;"), type=list[_AccountEntry])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Account()
    return entries[0].account if entries else Account()


def tweets_of(entry: Any, account: Account) -> Iterator[Tweet]:
    """The tweets of one entry: one, or all those of an answer of the API v2.

    Args:
        entry: Decoded JSON.
        account: The author of tweets that do not tell theirs.

    Raises:
        NotATweetError: It is none.

    >>> [tweet.id for tweet in tweets_of({"id": "20", "text": "just setting up"}, Account())]
    [20]
    """
    if not isinstance(entry, dict):
        raise NotATweetError(f"a tweet is a JSON object, this is {_kind(entry)}")
    if isinstance(entry.get("tweet"), dict):
        entry = entry["tweet"]
    data = entry.get("data")
    if isinstance(data, dict | list):
        users = _users(entry.get("includes"))
        for item in data if isinstance(data, list) else [data]:
            if not isinstance(item, dict):
                raise NotATweetError(f"a tweet is a JSON object, this is {_kind(item)}")
            author = users.get(str(item.get("author_id")), {})
            yield _tweet({"author": author, **item}, account)
    else:
        yield _tweet(entry, account)


def _users(includes: Any) -> dict[str, dict[str, Any]]:
    users = includes.get("users") if isinstance(includes, dict) else None
    return {
        str(user.get("id")): user
        for user in (users if isinstance(users, list) else [])
        if isinstance(user, dict)
    }


def _tweet(entry: Mapping[str, Any], account: Account) -> Tweet:
    tweet_id = _whole(entry, _ID)
    if tweet_id is None:
        raise NotATweetError(f"no id; looked for {', '.join(_ID)}")
    text = _first(entry, _TEXT)
    if not isinstance(text, str):
        raise NotATweetError(f"tweet {tweet_id} has no text; looked for {', '.join(_TEXT)}")
    if len(text) > MAX_TEXT_CHARS:
        raise NotATweetError(
            f"tweet {tweet_id} has {len(text)} characters, the limit is {MAX_TEXT_CHARS}"
        )
    author_id = _whole(entry, _AUTHOR_ID)
    username = _name(entry, _USERNAME)
    if author_id is None and username is None:
        # X's archive does not repeat its owner in every tweet.
        author_id = _whole({"id": account.account_id}, ("id",))
        username, author_name = account.username, account.account_display_name
    else:
        author_name = _name(entry, _AUTHOR_NAME)
    username = username and username.strip().removeprefix("@")
    if author_id is None and username:
        author_id = id_of_name(username)
    return Tweet(
        id=tweet_id,
        text=unescape(text),
        author_id=author_id,
        username=username or None,
        author_name=author_name,
        created_at=_time(tweet_id, _first(entry, _CREATED_AT)),
        lang=_name(entry, ("lang",)),
        source="archive",
    )


def _first(entry: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The value under the first of *names* that is there and not null."""
    for name in names:
        outer, dot, inner = name.partition(".")
        value = entry.get(outer)
        if dot:
            value = value.get(inner) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def _whole(entry: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """An id, given as number or text."""
    value = _first(entry, names)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if type(value) is not int or not 1 <= value <= MAX_TWEET_ID:
        hint = "; a number with a fraction or exponent has lost digits" * isinstance(value, float)
        raise NotATweetError(f"{names[0]} is not a whole number from 1 to {MAX_TWEET_ID}{hint}")
    return value


def _name(entry: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    value = _first(entry, names)
    return value[:_MAX_NAME_CHARS] if isinstance(value, str) and value else None


def _time(tweet_id: int, value: Any) -> datetime | None:
    """A time in UTC; one without a zone is taken as UTC, as X's always are."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            time = _x_time(value) or datetime.fromisoformat(value)
            return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise NotATweetError(
        f"tweet {tweet_id} has a created_at that is no time; write 2018-10-10T20:19:24Z"
    )


def _x_time(text: str) -> datetime | None:
    """``Wed Oct 10 20:19:24 +0000 2018``; ``None`` for any other form."""
    parts = text.split()
    if len(parts) != 6 or parts[1] not in _MONTHS:
        return None
    _, month, day, clock, zone, year = parts
    number = _MONTHS.index(month) + 1
    return datetime.fromisoformat(f"{int(year):04}-{number:02}-{int(day):02}T{clock}{zone}")


def _kind(value: Any) -> str:
    names = {list: "an array", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
