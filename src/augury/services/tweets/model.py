"""What we know of a tweet, whoever told us."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final, Literal

import msgspec

from augury.services.tweets.urls import tweet_time

# X escapes these three, and only these, in every text that it hands out.
_ESCAPES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))

# X counts its users by time, as it does tweets: it will reach these in the year 2045.  What comes up
# to 2⁶³ - 1 is ours, for authors of whom only the name is told.
FIRST_NAMED_ID: Final = 2**62

Origin = Literal["archive", "x"]


class Tweet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tweet.

    Args:
        id: 1 to 2⁶³ - 1.
        text: In full, HTML escapes resolved.
        author_id: X's, or :func:`id_of_name` where only a name is told; ``None`` for neither.
        username: The name after the ``@``, without it.
        author_name: The name that is shown.
        created_at: In UTC; ``None`` when neither the source nor the id tells.
        lang: BCP 47 code as X guessed it.
        source: Who told us.
    """

    id: int
    text: str
    author_id: int | None = None
    username: str | None = None
    author_name: str | None = None
    created_at: datetime | None = None
    lang: str | None = None
    source: Origin = "archive"

    @property
    def written_at(self) -> datetime | None:
        """*created_at*, else what the id tells."""
        return self.created_at or tweet_time(self.id)


def id_of_name(username: str) -> int:
    """The id of an author of whom only the name is told: the same for each spelling of it.

    From 2⁶² to 2⁶³ - 1, where X has no ids yet; two of a million names share one with a chance of
    1 : 9,000,000.

    >>> id_of_name("@Ada") == id_of_name("ada") >= FIRST_NAMED_ID
    True
    """
    name = username.strip().removeprefix("@").lower()
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return FIRST_NAMED_ID + int.from_bytes(digest) % FIRST_NAMED_ID


def unescape(text: str) -> str:
    """Undo X's escapes, once.

    >>> unescape("salt &amp; pepper &lt;3 &amp;lt;")
    'salt & pepper <3 &lt;'
    """
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text
