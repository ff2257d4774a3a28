from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.core.errors import AuguryError, UpstreamFailed
from augury.services.tweets.model import Tweet
from augury.services.tweets.sources.x_answers import Limited, Transient, limit_of, understand


def ask(status: int, body: bytes = b"{}", **headers: str) -> Tweet | Limited | Transient:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return understand(7, status=status, headers=names, body=body, now_s=1000.0)


@pytest.mark.parametrize(
    ("headers", "until_s"),
    [
        ({"x_rate_limit_reset": "1100"}, 1100),
        ({"x_rate_limit_reset": "900"}, 1001),
        ({"x_rate_limit_reset": "99999999999"}, 1000 + 86400),
        ({"x_rate_limit_reset": "soon", "retry_after": "30"}, 1030),
        ({"x_rate_limit_reset": "-5"}, 1060),
        ({"x_rate_limit_reset": "9" * 400}, 1060),
        ({}, 1060),
    ],
)
def test_when_a_limit_ends(headers: dict[str, Any], until_s: float) -> None:
    """X's reset counts, within reason; without one we come back after a minute."""
    assert ask(429, **headers) == Limited(until_s)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_server_errors_may_pass(status: int) -> None:
    """Every 5xx is worth another attempt."""
    assert ask(status, b"<html>") == Transient(f"X answered {status}")


@pytest.mark.parametrize("body", [b"{}", b'{"data": null}', b'{"data": {"id": "x", "text": ""}}'])
def test_200_without_a_tweet_is_no_answer(body: bytes) -> None:
    """Neither data nor errors: X's fault."""
    with pytest.raises(UpstreamFailed):
        ask(200, body)


@given(status=st.integers(200, 599), body=st.binary(max_size=200))
def test_no_answer_breaks_us(status: int, body: bytes) -> None:
    """Whatever comes back is understood or told as one of our errors."""
    with contextlib.suppress(AuguryError):
        assert isinstance(ask(status, body), Tweet | Limited | Transient)


def test_a_good_answer_may_announce_the_limit() -> None:
    """Only when nothing is left."""
    headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": "1100"}
    assert limit_of(headers, 1000) == Limited(1100)
    assert limit_of({**headers, "x-rate-limit-remaining": "1"}, 1000) is None
    assert limit_of({"x-rate-limit-remaining": "0"}, 1000) is None
