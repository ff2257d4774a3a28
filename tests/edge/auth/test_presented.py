"""What is read out of a credential, and what is not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.edge.auth.presented import (
    MAX_CREDENTIAL_BYTES,
    Login,
    Token,
    read_authorization,
    read_token,
    repeated,
)


def basic(text: str, encoding: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(text.encode(encoding))


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_the_case_of_a_scheme_says_nothing(scheme: bytes) -> None:
    """As RFC 9110 has it."""
    assert read_authorization(scheme + b" abc") == Token("abc")


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [("ada:x", "ada", "x"), ("ada:a:b", "ada", "a:b"), ("ada:", "ada", ""), ("ä:ö", "ä", "ö")],
)
def test_names_and_passwords(text: str, user: str, password: str) -> None:
    """The first colon ends the name; both are UTF-8."""
    assert read_authorization(basic(text)) == Login(user, password)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"Basic",
        b"Basic ",
        b"Basic !!!!",
        b"Basic YWRh",  # no colon
        b"Basic YWRhOng",  # no padding
        b"Basic YWRhOng= ",
        b"Basic  YWRhOng=",
        b"Basic YWRh\nOng=",
        basic(":x"),
        basic("ada\0:x"),
        basic("ada:x\0"),
        basic("ada:x\n"),
        basic("ä:x", "latin-1"),
        b"Bearer",
        b"Bearer ",
        b"Bearer a b",
        b"Bearer  a",
        b"Bearer a\0b",
        b"Bearer \xc3\xa4",
        b"Bearer a,Bearer b ",
        b"Digest username=ada",
        b"Negotiate abc",
        b"abc",
        b"Basic:YWRhOng=",
        b"Bearer " + b"a" * MAX_CREDENTIAL_BYTES,
        basic("ada:" + "x" * MAX_CREDENTIAL_BYTES),
    ],
)
def test_what_cannot_be_read_is_nothing(value: bytes) -> None:
    """Wrong schemes, broken base64, control characters, oversize: all the same."""
    assert read_authorization(value) is None


@given(st.binary(max_size=100))
def test_any_bytes_may_come(value: bytes) -> None:
    """Nothing raises."""
    read_authorization(value)
    read_authorization(b"Basic " + value)
    read_token(value)


def test_a_password_is_not_shown() -> None:
    """Neither in a traceback nor in a log."""
    assert "hunter2" not in repr(Login("ada", "hunter2"))
    assert "hunter2" not in repr(Token("hunter2"))


def test_headers_that_are_there_twice() -> None:
    """Only those that decide something must be single."""
    assert repeated([(b"accept", b"a"), (b"accept", b"b"), (b"host", b"c")]) is None
    assert repeated([(b"host", b"a"), (b"accept", b"b"), (b"host", b"a")]) == b"host"
