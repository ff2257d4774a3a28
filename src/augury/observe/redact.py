"""Keep secrets and the content of requests out of the log.

A structlog processor, applied to every event whoever logged it.  It goes by the names of the keys
and by what credentials look like inside strings; it cannot know that a sentence in a message is
somebody's tweet, so messages must not hold content.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from structlog.typing import EventDict, WrappedLogger

HIDDEN: Final = "***"

# Keys whose value is what somebody wrote or sent.
CONTENT_KEYS: Final = frozenset({"text", "texts", "text_input", "rows", "body"})

_SECRET_KEY: Final = re.compile(
    r"token(?!i[sz])|passw|authorization|secret|api[-_ ]?key|bearer|credential|cookie|private[-_ ]?key"
)
# Numbers under such keys are sizes ("max_tokens=128").
_COUNT_KEY: Final = re.compile(r"tokens$|token_(?:count|ids?)$")

# Each alternative starts at a fixed word and stops at the first character that a credential cannot
# hold, so that a string of n characters takes O(n).
_SECRET_IN_TEXT: Final = re.compile(
    r"""
    (?P<scheme>\bbearer\s+|\bauthorization["']?\s?[=:]\s?["']?basic\s+)[\w.~+/=-]+
    | (?P<url>://[^\s/:@?\#]*:)[^\s/@]+(?=@)                 # redis://user:password@host
    | (?P<pair>\b[\w-]{0,40}(?:token|password|passwd|secret|api[-_]?key)["']?\s?[=:]\s?["']?)
      [^\s"'&,;)}\]]+                                        # ?access_token=…  "password": "…"
    | (?P<key>aug_[0-9a-f]{1,16}_)[0-9a-z]+                  # an API key of ours; its id may be told
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Looked for first: most strings hold none of them, and this takes a fifth of the time.
_HINT: Final = re.compile(
    r"bearer|authorization|://|token|passw|secret|api[-_]?key|aug_", re.IGNORECASE
)

# Texts also travel in addresses, which uvicorn logs.
_CONTENT_IN_QUERY: Final = re.compile(
    rf"([?&](?:{'|'.join(sorted(CONTENT_KEYS))})=)[^\s&\"']*", re.IGNORECASE
)

# Removed before the event is rendered.
_OF_STRUCTLOG: Final = frozenset({"_record", "_from_structlog"})

# Deeper than any event of ours; it also ends a structure that holds itself.
_MAX_DEPTH: Final = 8


class Redactor:
    """Hides secrets always, and content unless told otherwise.

    Args:
        log_content: Log the values of :data:`CONTENT_KEYS` as they are.
    """

    def __init__(self, *, log_content: bool = False) -> None:
        self.log_content = log_content

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        for key, value in event.items():
            if key not in _OF_STRUCTLOG:
                event[key] = self._redacted(key, value, 0)
        return event

    def _redacted(self, key: str, value: Any, depth: int) -> Any:
        kind = _kind_of(key)
        if kind == "secret" and value is not None and not isinstance(value, bool):
            return HIDDEN
        if kind == "count" and not isinstance(value, int | float):
            return HIDDEN
        if kind == "content" and not self.log_content:
            return _length_of(value)
        return self._redacted_value(value, depth)

    def _redacted_value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._redacted_text(value)
        if isinstance(value, float):
            # JSON has no word for these.
            return value if math.isfinite(value) else str(value)
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return self._redacted_text(str(bytes(value))) if self.log_content else _length_of(value)
        if depth >= _MAX_DEPTH:
            return "…"
        if isinstance(value, Mapping):
            return {str(k): self._redacted(str(k), v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._redacted_value(item, depth + 1) for item in value]
        try:
            shown = str(value)
        except Exception as error:  # noqa: BLE001  a log call must not fail for what it shows
            shown = f"<{type(value).__name__}: {type(error).__name__}>"
        return self._redacted_text(shown)

    def _redacted_text(self, text: str) -> str:
        if not self.log_content and "=" in text:
            text = _CONTENT_IN_QUERY.sub(rf"\1{HIDDEN}", text)
        return redacted_text(text)


def redacted_text(text: str) -> str:
    """*text* with the credentials in it hidden.

    >>> redacted_text("refused: Authorization: Bearer eyJhbGciOi.J9")
    'refused: Authorization: Bearer ***'
    >>> redacted_text("GET /livez?token=abc&x=1 of redis://u:pw@cache/0")
    'GET /livez?token=***&x=1 of redis://u:***@cache/0'
    """
    if _HINT.search(text) is None:
        return text
    return _SECRET_IN_TEXT.sub(
        lambda match: (match["scheme"] or match["url"] or match["pair"] or match["key"]) + HIDDEN,
        text,
    )


@lru_cache(maxsize=1024)
def _kind_of(key: str) -> Literal["secret", "count", "content", "plain"]:
    lower = key.lower()
    if lower in CONTENT_KEYS:
        return "content"
    if _COUNT_KEY.search(lower):
        return "count"
    if _SECRET_KEY.search(lower):
        return "secret"
    return "plain"


def _length_of(value: Any) -> Any:
    """What may be told of content; a number (``rows=3``) is a size already."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return f"<{len(value)} characters>"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    try:
        return f"<{len(value)} items>"
    except TypeError:
        return f"<{type(value).__name__}>"
