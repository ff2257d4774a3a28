"""The Protocol of a tweet source.  Sources import this file; it imports none of them."""

from __future__ import annotations

from typing import Protocol

from augury.services.tweets.model import Tweet


class TweetSource(Protocol):
    """Finds a tweet by its id; safe to ask from many tasks at once."""

    async def fetch(self, tweet_id: int) -> Tweet:
        """The tweet *tweet_id*.

        Raises:
            NotFound: There is none, it was deleted, or its author is gone.
            NotAllowed: Its author shows it to approved followers only.
            Overloaded: The source's quota is used up; ``retry_after_s`` tells for how long.
            UpstreamFailed: The source refuses our credentials, fails, hangs or talks nonsense.
                Credentials are ours, so their fault is never the client's 401.
            Unavailable: The store behind the source cannot be reached.
        """
