"""What we know of a tweet, whoever told us."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from augury.services.tweets.urls import tweet_time

# X escapes these three, and only these, in every text that it hands out.
_ESCAPES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))

Origin = Literal["archive", "x"]


class Tweet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tweet.

    Args:
        id: 1 to 2⁶³ - 1.
        text: In full, HTML escapes resolved.
        author_id: ``None`` when the source does not tell.
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


def unescape(text: str) -> str:
    """Undo X's escapes, once.

    >>> unescape("salt &amp; pepper &lt;3 &amp;lt;")
    'salt & pepper <3 &lt;'
    """
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text
