"""What must not be in a log is not in it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from augury.observe.redact import Redactor, redacted_text


def _redact(event: dict[str, Any], *, log_content: bool = False) -> dict[str, Any]:
    return dict(Redactor(log_content=log_content)(None, "info", event))


@pytest.mark.parametrize(
    "key",
    ["token", "password", "authorization", "Authorization", "secret", "api_key", "apikey", "API-Key",
     "bearer", "admin_token", "FIRST_SUPERUSER_PASSWORD", "client_secret", "passwd", "cookie",
     "_token", "tokens"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["hunter2", b"hunter2", ["hunter2"], {"x": "hunter2"}])
def test_secrets_are_hidden_by_their_key(key: str, value: object) -> None:
    """Whatever lies under a key that looks like a secret's is hidden, at any depth."""
    assert _redact({key: value}) == {key: "***"}
    nested = _redact({"request": {"headers": [{key: value}]}})
    assert nested == {"request": {"headers": [{key: "***"}]}}


def test_what_only_sounds_like_a_secret_is_shown() -> None:
    """Counts of tokens, tokenizers, and a secret that is not there are no secrets."""
    event = {
        "max_tokens": 128,
        "token_count": 3,
        "tokenizer": "bpe",
        "token": None,
        "bearer": False,
    }

    assert _redact({**event}) == event


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Bearer abc.DEF-1_2~3+/4==", "Bearer ***"),
        ("sent 'authorization: bearer abc' twice", "sent 'authorization: bearer ***' twice"),
        ("Authorization: Basic dXNlcjpwdw==", "Authorization: Basic ***"),
        ("redis://:hunter2@cache:6379/0 refused", "redis://:***@cache:6379/0 refused"),
        ("GET /v1?access_token=abc&n=1 HTTP/1.1", "GET /v1?access_token=***&n=1 HTTP/1.1"),
        ('{"password": "hunter2", "n": 1}', '{"password": "***", "n": 1}'),
        ("a basic model, 128 tokens", "a basic model, 128 tokens"),
        ("http://host:80/path", "http://host:80/path"),
    ],
)
def test_credentials_in_strings_are_hidden(text: str, want: str) -> None:
    """What looks like a credential is hidden inside any string, and the rest of it stays."""
    assert redacted_text(text) == want
    assert _redact({"event": text, "list": [text], "error": ValueError(text)}) == {
        "event": want,
        "list": [want],
        "error": want,
    }


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("Good night 🌙", "<12 characters>"),
        (b"abc", "<3 bytes>"),
        (["a", "b"], "<2 items>"),
        ({"a": 1}, "<1 items>"),
        (np.zeros((4, 2)), "<4 items>"),
        (np.zeros(()), "<ndarray>"),
        pytest.param(object(), "<object>", id="object"),
        (3, 3),
        (None, None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("key", ["text", "texts", "text_input", "rows", "body"])
def test_content_is_only_measured(key: str, value: object, want: object) -> None:
    """Of texts and rows the log has the length; a number of rows is a length already."""
    assert _redact({key: value}) == {key: want}
    assert _redact({"request": {key: value}}) == {"request": {key: want}}


def test_content_is_logged_when_asked_for() -> None:
    """With log_content the texts are there, but secrets in them still are not."""
    event = _redact({"text": "Good night", "body": b"{Bearer x}", "token": "x"}, log_content=True)

    assert event == {"text": "Good night", "body": "b'{Bearer ***}'", "token": "***"}


def test_texts_in_addresses_are_hidden() -> None:
    """A query may carry a text, and access logs carry queries."""
    line = 'GET /predict?n=1&text=Good%20night&x=2 HTTP/1.1" 200'

    assert _redact({"event": line}) == {"event": line.replace("Good%20night", "***")}
    assert _redact({"event": line}, log_content=True) == {"event": line}


def test_bytes_are_never_shown() -> None:
    """Bytes under any key may be content."""
    assert _redact({"payload": b"Good night"}) == {"payload": "<10 bytes>"}


def test_anything_can_be_logged() -> None:
    """A structure that holds itself, NaN, odd keys and a broken __str__ do not stop a log call."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    loop: list[object] = []
    loop.append(loop)
    event = _redact(
        {"loop": loop, "nan": float("nan"), "odd": {(1, 2): 3}, "broken": Broken(), "items": {1}}
    )

    assert "…" in repr(event["loop"])
    assert event["nan"] == "nan"
    assert event["odd"] == {"(1, 2)": 3}
    assert event["broken"] == "<Broken: RuntimeError>"
    assert event["items"] == [1]


@pytest.mark.parametrize(
    "text", ["bearer ", "://a:", "token", "a-", "api_", "?text=", " ", "secret= "]
)
def test_no_string_takes_long(text: str) -> None:
    """Time grows with the length of a string, not with its square (which would be minutes here)."""
    start_s = time.perf_counter()
    redacted_text(text * 20_000)
    Redactor()(None, "info", {"event": "token" + text * 20_000})

    assert time.perf_counter() - start_s < 5


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer {}",
        "X-API-Key: {}",
        "GET /v1/authors?key={}&limit=1",
        "http://any:{}@localhost:8000/ui",
        "the key {}.",
        "x{}",
    ],
)
def test_api_keys_are_hidden_wherever_they_stand(text: str) -> None:
    """The secret part is; the id, which the audit log names too, may be told."""
    secret = "S3cr3t" + "x" * 37
    assert secret not in redacted_text(text.format(f"aug_0123456789ab_{secret}"))
