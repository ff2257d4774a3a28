from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from augury.services.tweets.model import FIRST_NAMED_ID, Tweet, id_of_name, unescape
from augury.services.tweets.urls import MAX_TWEET_ID


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


def test_a_name_has_one_id() -> None:
    """However it is spelled, in this process and the next."""
    assert {id_of_name(name) for name in ("ada", "@Ada", " @ADA ")} == {ADA}
    assert id_of_name("bob") != ADA


@given(st.text())
def test_ids_of_names_are_in_their_range(name: str) -> None:
    """Above all of X's, and still ids, whatever stands in a file."""
    assert FIRST_NAMED_ID <= id_of_name(name) <= MAX_TWEET_ID


# What is written in stores stays.
ADA = 6_174_675_070_977_705_255
