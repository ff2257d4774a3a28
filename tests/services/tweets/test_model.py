from __future__ import annotations

from datetime import UTC, datetime

from augury.services.tweets.model import Tweet, unescape


def test_an_unknown_time_is_read_from_the_id() -> None:
    """The source's word wins; the id's is second; the first tweets have neither."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    assert Tweet(id=1445078208190291973, text="", created_at=at).written_at == at
    derived = Tweet(id=1445078208190291973, text="").written_at
    assert derived is not None
    assert derived.year == 2021
    assert Tweet(id=20, text="").written_at is None


def test_escapes_are_undone_once() -> None:
    """Somebody who wrote about HTML is quoted as they wrote."""
    assert unescape("&amp;amp; &amp;lt; &gt;") == "&amp; &lt; >"
