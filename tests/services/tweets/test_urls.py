from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import InvalidInput
from augury.services.tweets.urls import MAX_TWEET_ID, parse_tweet_id, tweet_time

ID = 1050118621198921728


@pytest.mark.parametrize(
    "text",
    [
        f"{ID}",
        f"  {ID}\n",
        f"<{ID}>",
        f"https://x.com/XDevelopers/status/{ID}",
        f"http://x.com/XDevelopers/status/{ID}",
        f"x.com/XDevelopers/status/{ID}",
        f"https://www.x.com/XDevelopers/status/{ID}",
        f"https://twitter.com/XDevelopers/status/{ID}",
        f"https://www.twitter.com/XDevelopers/status/{ID}",
        f"https://mobile.twitter.com/XDevelopers/status/{ID}?p=v",
        f"https://mobile.x.com/XDevelopers/status/{ID}",
        f"https://m.twitter.com/XDevelopers/status/{ID}",
        f"HTTPS://Twitter.COM/XDevelopers/Status/{ID}",
        f"https://x.com:443/XDevelopers/status/{ID}",
        f"https://x.com/i/web/status/{ID}",
        f"https://x.com/i/status/{ID}",
        f"https://twitter.com/statuses/{ID}",
        f"https://twitter.com/XDevelopers/statuses/{ID}",
        f"https://twitter.com/#!/XDevelopers/status/{ID}",
        f"https://x.com/XDevelopers/status/{ID}/",
        f"https://x.com/XDevelopers/status/{ID}/photo/1",
        f"https://x.com/XDevelopers/status/{ID}/video/1?s=20",
        f"https://x.com/XDevelopers/status/{ID}/likes",
        f"https://x.com/XDevelopers/status/{ID}/retweets/with_comments",
        f"https://x.com/XDevelopers/status/{ID}?s=20&t=Ab_-%20c",
        f"https://x.com/XDevelopers/status/{ID}#m",
        f"https://x.com/XDevelopers/status/{ID}/?ref_src=twsrc%5Etfw#anchor",
        f"\t<https://x.com/XDevelopers/status/{ID}>  ",
    ],
)
def test_every_real_form_is_accepted(text: str) -> None:
    """Whatever people copy from X's pages and apps names its tweet."""
    assert parse_tweet_id(text) == ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hello",
        "https://x.com/XDevelopers",
        "https://x.com/XDevelopers/status/",
        "https://x.com/XDevelopers/status/abc",
        "https://x.com/XDevelopers/status/12a",
        f"https://x.com.evil.org/a/status/{ID}",
        f"https://x.com@evil.org/a/status/{ID}",
        f"https://x.com:443@evil.org/a/status/{ID}",
        f"https://evil.org@x.com/a/status/{ID}",
        f"https://evil.org/x.com/a/status/{ID}",
        f"https://evil.org/?u=https://x.com/a/status/{ID}",
        f"https://evil.org#x.com/a/status/{ID}",
        f"https://notx.com/a/status/{ID}",
        f"https://fxtwitter.com/a/status/{ID}",
        f"https://vxtwitter.com/a/status/{ID}",
        f"https://api.twitter.com/a/status/{ID}",
        f"https://x.com\\@evil.org/a/status/{ID}",
        f"https://x.com\t/a/status/{ID}",
        f"https://х.com/a/status/{ID}",  # a Cyrillic х
        f"ftp://x.com/a/status/{ID}",
        f"javascript://x.com/a/status/{ID}",
        f"https://x.com:8080/a/status/{ID}",
        f"https://x.com/a b/status/{ID}",
        f"https://x.com/a/b/status/{ID}",
        f"https://x.com/a/status/{ID}/../../secret",
        f"https://x.com/a/status/{ID}?s=20 and more",
        f"https://x.com/a/status/{ID}\0",
        f"https://x.com/a/status/{ID} https://x.com/a/status/{ID}",
        "https://t.co/abc",
        "١٢٣",  # Arabic digits
        "0",
        "-1",
        "1e5",
        "\ud800",
        "9" * 5000,
        f"https://x.com/a/status/{ID}?" + "a" * 3000,
    ],
)
def test_all_else_is_refused(text: str) -> None:
    """What is no tweet's address is told apart, lookalike hosts included."""
    with pytest.raises(InvalidInput) as caught:
        parse_tweet_id(text)
    assert "send https://x.com/NAME/status/ID" in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("number", [0, MAX_TWEET_ID + 1, 10**19])
def test_ids_are_positive_and_fit_63_bits(number: int) -> None:
    """Ids that no tweet can have are refused, with the limits."""
    with pytest.raises(InvalidInput, match=str(MAX_TWEET_ID)):
        parse_tweet_id(str(number))


def test_the_largest_id_is_accepted() -> None:
    """2⁶³ - 1 is the last id."""
    assert parse_tweet_id(str(MAX_TWEET_ID)) == MAX_TWEET_ID
    assert parse_tweet_id("1") == 1


@given(st.text())
def test_any_text_is_an_id_or_refused(text: str) -> None:
    """No text makes the parser fail otherwise."""
    try:
        assert 1 <= parse_tweet_id(text) <= MAX_TWEET_ID
    except InvalidInput as error:
        error.message.encode()


def test_an_id_tells_its_time() -> None:
    """X's documentation dates this one "Wed Oct 10 20:19:24 +0000 2018"."""
    at = tweet_time(ID)
    assert at is not None
    assert at.replace(microsecond=0) == datetime(2018, 10, 10, 20, 19, 24, tzinfo=UTC)


def test_ids_from_before_the_snowflakes_tell_no_time() -> None:
    """The first tweets were counted."""
    assert tweet_time(20) is None
    assert tweet_time(MAX_TWEET_ID + 1) is None
    assert tweet_time(MAX_TWEET_ID) is not None
