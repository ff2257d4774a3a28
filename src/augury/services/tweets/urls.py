"""Tell which tweet a person means.

First step of ``/v1/inference``.  Pure.  It follows no redirect and asks nobody: a short link
(``t.co``) is refused, with the advice to open it and copy the long one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from augury.core.errors import InvalidInput

MAX_TWEET_ID: Final = 2**63 - 1

# A browser's longest practical URL; what follows the id means nothing to us.
_MAX_CHARS: Final = 2048
_MAX_SHOWN_CHARS: Final = 200

_TWEET_URL: Final = re.compile(
    r"""
    (?:https?://)? (?:www\.|mobile\.|m\.)? (?:x|twitter)\.com (?::(?:80|443))?
    / (?:\#!/)?                                             # links of 2010 to 2012
    (?: (?:i/web/status | i/status | [a-z0-9_]{1,20}/status(?:es)?) / | statuses/ )
    (?P<id>[0-9]{1,20})
    (?: /(?:photo|video)/[0-9]{1,2}
      | /(?:likes|retweets(?:/with_comments)?|quotes|analytics|history|hidden|mediaviewer) )?
    /? (?:[?\#][^\s\x00-\x1f\x7f]*)?
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_BARE_ID: Final = re.compile(r"[0-9]{1,20}", re.ASCII)

ACCEPTED: Final = (
    "send https://x.com/NAME/status/ID, https://twitter.com/NAME/status/ID, "
    "https://x.com/i/web/status/ID or the bare ID"
)

# Milliseconds of the snowflakes' epoch, 2010-11-04T01:42:54.657Z, and the first snowflake: ids below
# were counted one by one and tell no time.
_SNOWFLAKE_EPOCH: Final = datetime(2010, 11, 4, 1, 42, 54, 657_000, tzinfo=UTC)
_FIRST_SNOWFLAKE: Final = 29_700_859_247
_SNOWFLAKE_TIME_SHIFT: Final = 22


def parse_tweet_id(text: str) -> int:
    """The id of the tweet that *text* names.

    Accepts the addresses of x.com and twitter.com (with ``www.``, ``mobile.`` or ``m.``, with or
    without scheme, photo number, query and fragment) and a bare id, each with white space or angle
    brackets around it.

    Args:
        text: What a person pasted.

    Returns:
        1 to 2⁶³ - 1.

    Raises:
        InvalidInput: *text* is anything else.

    >>> parse_tweet_id("https://x.com/ada/status/20?s=46")
    20
    """
    # X ends the text of a shared link with a word joiner or a BOM now and then.
    bare = text.strip().strip("<>\ufeff\u2060\u200b").strip()
    if len(bare) <= _MAX_CHARS:
        match = _TWEET_URL.fullmatch(bare)
        digits = match["id"] if match else bare if _BARE_ID.fullmatch(bare) else ""
        if digits and 1 <= int(digits) <= MAX_TWEET_ID:
            return int(digits)
        if digits:
            raise InvalidInput(
                f"{digits} is no tweet id: ids are between 1 and {MAX_TWEET_ID}; {ACCEPTED}",
                tweet=digits,
            )
    raise InvalidInput(
        f"{shown(text)} is not the address of a tweet; {ACCEPTED}", tweet=shown(text)
    )


def shown(text: str) -> str:
    r"""*text* as a message may quote it: short, in quotes, nothing invisible left.

    >>> shown("evil\u202e\x00")
    "'evil\\u202e\\x00'"
    """
    clipped = text if len(text) <= _MAX_SHOWN_CHARS else text[: _MAX_SHOWN_CHARS - 1] + "…"
    return repr(clipped)


def tweet_time(tweet_id: int) -> datetime | None:
    """When the tweet was written, to the millisecond; ``None`` for ids from before November 2010.

    >>> tweet_time(1_050_118_621_198_921_728)
    datetime.datetime(2018, 10, 10, 20, 19, 24, 211000, tzinfo=datetime.timezone.utc)
    """
    if not _FIRST_SNOWFLAKE <= tweet_id <= MAX_TWEET_ID:
        return None
    return _SNOWFLAKE_EPOCH + timedelta(milliseconds=tweet_id >> _SNOWFLAKE_TIME_SHIFT)
