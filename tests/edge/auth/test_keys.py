"""How keys look, and how a right one is told from a wrong one."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import InvalidInput
from augury.edge.auth.keys import (
    KeyRecord,
    NewKey,
    fits,
    id_of,
    make_key,
    scopes_of,
    seconds_of,
    shown,
)
from tests.edge.auth.conftest import SECRET_KEY


def made(**changes: Any) -> NewKey:
    chosen: dict[str, Any] = {
        "scopes": ("predict", "read"),
        "name": "ci",
        "now_s": 1_795_000_000.5,
        "life_s": 3600.0,
        "rows_per_minute": 6000,
        **changes,
    }
    return make_key(SECRET_KEY, **chosen)


def test_a_key_fits_its_record_and_no_other() -> None:
    """Neither another key nor another server's secret key will do."""
    one, other = made(), made()
    assert re.fullmatch(r"aug_[0-9a-f]{12}_[0-9A-Za-z]{43}", one.text)
    assert id_of(one.text) == one.record.id
    assert fits(one.record, one.text, SECRET_KEY)
    assert not fits(one.record, other.text, SECRET_KEY)
    assert not fits(one.record, one.text, SECRET_KEY + b"x")
    assert one.text != other.text


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ("predict", "read", "admin")},
        {"expires_s": None},
        {"expires_s": 99_999_999_999},
        {"rows_per_minute": None},
        {"id": "000000000000"},
        {"name": "another"},
        {"seal": ""},
    ],
)
def test_a_changed_record_is_worth_nothing(change: dict[str, Any]) -> None:
    """Whoever can write to the store cannot widen what a key may do."""
    key = made()
    assert not fits(dataclasses.replace(key.record, **change), key.text, SECRET_KEY)


def test_nothing_that_is_kept_or_shown_holds_the_secret() -> None:
    """The record, its form in the store, and what is told of both."""
    key = made()
    secret = key.text.rsplit("_", 1)[1]
    told = shown(key.record, key.record.created_s, None)
    for text in (repr(key), repr(key.record), key.record.encode().decode(), str(told)):
        assert secret not in text
    assert key.record.seal not in str(told)


def test_records_survive_the_store() -> None:
    """What is read is what was written."""
    record = made(life_s=None, rows_per_minute=None, name="naïve ☂").record
    assert KeyRecord.decode(record.encode()) == record


@given(st.binary(max_size=200))
def test_any_bytes_may_lie_in_the_store(data: bytes) -> None:
    """They are no record, and raise nothing."""
    assert KeyRecord.decode(data) is None


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b"null", b'{"id": 1}', b"[" * 100_000, made().record.encode()[:-5]]
)
def test_broken_records(data: bytes) -> None:
    """Nor do these."""
    assert KeyRecord.decode(data) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aug_",
        "aug_0123456789ab_",
        "aug_0123456789AB_" + "x" * 43,
        "aug_0123456789ab_" + "x" * 42,
        "aug_0123456789ab_" + "x" * 44,
        "aug_0123456789ab_" + "x" * 42 + "\n",
        "aug_0123456789ab_" + "*" * 43,
        " aug_0123456789ab_" + "x" * 43,
        "aug_auth:key:abcd_" + "x" * 43,
    ],
)
def test_what_does_not_look_like_a_key(text: str) -> None:
    """It is not asked of the store; an id cannot reach another key of the store."""
    assert id_of(text) is None


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("30m", 1800), ("12h", 43_200), ("90d", 7_776_000), ("2y", 63_072_000), ("never", None)],
)
def test_durations(duration: str, seconds: float | None) -> None:
    """A number and a unit, or never."""
    assert seconds_of(duration) == seconds


@pytest.mark.parametrize("duration", ["", "0d", "-1d", "90", "d", "1.5h", "90 d", "1e3d", "٣d"])
def test_what_is_no_duration(duration: str) -> None:
    """It is named."""
    with pytest.raises(InvalidInput, match="is no duration; say 30m"):
        seconds_of(duration)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scopes": ()}, "needs a scope"),
        ({"scopes": ("write",)}, "'write' is no scope"),
        ({"name": "x" * 81}, "80 printable characters"),
        ({"name": "a\nb"}, "printable"),
        ({"life_s": 0.0}, "100 years"),
        ({"life_s": 1e12}, "100 years"),
        ({"rows_per_minute": 0}, "1 to 1000000000 rows"),
        ({"rows_per_minute": 10**10}, "1 to 1000000000 rows"),
    ],
)
def test_keys_that_cannot_be(change: dict[str, Any], told: str) -> None:
    """The message names the limit."""
    with pytest.raises(InvalidInput, match=told):
        made(**change)


def test_scopes_are_ordered_and_single() -> None:
    """However they were given."""
    assert scopes_of(["admin", "predict", "admin"]) == ("predict", "admin")


def test_an_expired_key_is_told_as_such() -> None:
    """From the very second."""
    record = made().record
    assert record.expires_s is not None
    assert record.status(record.expires_s - 0.001) == "active"
    assert record.status(record.expires_s) == "expired"
