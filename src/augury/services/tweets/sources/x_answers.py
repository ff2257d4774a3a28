"""Understand what X's API v2 answers about one tweet, or to a search.

Pure: status, headers and body go in; tweets, a reason to try again, or an error comes out.
``x_client`` does the asking and the waiting.  Shapes: https://docs.x.com/x-api/fundamentals/response-codes-and-errors
and the error objects of ``GET /2/tweets/:id``, which come with status 200 when the tweet, rather
than the request, is at fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from augury.core.errors import AuguryError, InvalidInput, NotAllowed, NotFound, UpstreamFailed
from augury.services.tweets.model import Tweet, unescape

TOKEN_SETTING: Final = "AUGURY_X_BEARER_TOKEN"  # noqa: S105 - the name, not the token

T = TypeVar("T")

# X's windows last 15 minutes; a 429 that does not tell its end is asked again after one.
_DEFAULT_LIMIT_S: Final = 60.0
# A reset further away is a broken clock, here or there.
_LONGEST_LIMIT_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Limited:
    """X wants to be left alone.

    Args:
        until_s: Wall time in seconds since 1970 from which on we may ask again.
        what: Which limit it is, for people.
        passes: Whether waiting for it helps; a monthly cap's end nobody waits for.
    """

    until_s: float
    what: str = "X's rate limit"
    passes: bool = True


@dataclass(frozen=True, slots=True)
class Transient:
    """X failed in a way that may pass.

    Args:
        reason: What happened, for people.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search.

    Args:
        tweets: Newest first.
        next_token: Asks for the next page; ``None`` on the last.
    """

    tweets: tuple[Tweet, ...]
    next_token: str | None = None


class _User(msgspec.Struct):
    id: str
    username: str | None = None
    name: str | None = None


class _Note(msgspec.Struct):
    text: str


class _Data(msgspec.Struct):
    id: str
    text: str
    author_id: str | None = None
    created_at: datetime | None = None
    lang: str | None = None
    note_tweet: _Note | None = None


class _Includes(msgspec.Struct):
    users: list[_User] = msgspec.field(default_factory=list)


class _Problem(msgspec.Struct):
    """One entry of ``errors``, or a whole body in the shape of RFC 7807."""

    type: str = ""
    title: str = ""
    detail: str = ""
    message: str = ""
    reason: str = ""
    parameter: str = ""
    parameters: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The last part of the problem's type ("resource-not-found")."""
        return self.type.rpartition("/")[2]


class _Body(_Problem):
    data: _Data | None = None
    includes: _Includes = msgspec.field(default_factory=_Includes)
    errors: list[_Problem] = msgspec.field(default_factory=list)


class _Meta(msgspec.Struct):
    next_token: str | None = None
    result_count: int | None = None


class _PageBody(_Problem):
    data: list[_Data] = msgspec.field(default_factory=list)
    meta: _Meta | None = None
    includes: _Includes = msgspec.field(default_factory=_Includes)
    errors: list[_Problem] = msgspec.field(default_factory=list)


_BODIES: Final = msgspec.json.Decoder(_Body)
_PAGES: Final = msgspec.json.Decoder(_PageBody)
# Of X's own words in our messages.
_MAX_QUOTED_CHARS: Final = 300


def understand(
    tweet_id: int, *, status: int, headers: Mapping[str, str], body: bytes, now_s: float
) -> Tweet | Limited | Transient:
    """What X's answer means.

    Args:
        tweet_id: The tweet asked for.
        status: HTTP status.
        headers: With lower-case names.
        body: All of it.
        now_s: Wall time, seconds since 1970.

    Raises:
        NotFound: X has no such tweet any more, or its author is suspended.
        NotAllowed: The author's tweets are protected.
        InvalidInput: X calls the id impossible.
        UpstreamFailed: X refuses us, or answers nonsense.
    """
    if status >= 500 or status in (401, 429):
        return _turned_away(status, headers, body, now_s)
    answer = _decode(_BODIES, status, body)
    if status == 200 and answer.data is not None:
        return _tweet(answer.data, {user.id: user for user in answer.includes.users})
    raise _fault(tweet_id, status, answer)


def understand_page(
    *, status: int, headers: Mapping[str, str], body: bytes, now_s: float
) -> Page | Limited | Transient:
    """What X's answer to a search means.

    Args:
        status: HTTP status.
        headers: With lower-case names.
        body: All of it.
        now_s: Wall time, seconds since 1970.

    Raises:
        InvalidInput: X refuses the query; the message is X's.
        UpstreamFailed: X refuses us, or answers nonsense.
    """
    if status >= 500 or status in (401, 429):
        return _turned_away(status, headers, body, now_s)
    answer = _decode(_PAGES, status, body)
    # Beside tweets, `errors` tell of parts that X kept back (a suspended author); not of the search.
    if status == 200 and (answer.meta is not None or answer.data):
        users = {user.id: user for user in answer.includes.users}
        token = answer.meta.next_token if answer.meta else None
        return Page(tuple(_tweet(data, users) for data in answer.data), token or None)
    problem = answer.errors[0] if answer.errors else answer
    if status == 400:
        words = problem.message or problem.detail or problem.title or "it gives no reason"
        raise InvalidInput(f"X refuses the search: {_quoted(words)}", upstream="x")
    raise _refusal(status, problem, "searching")


def _turned_away(
    status: int, headers: Mapping[str, str], body: bytes, now_s: float
) -> Limited | Transient:
    """What the statuses mean that tell nothing of what was asked."""
    if status == 429:
        return _limited(headers, body, now_s)
    if status == 401:
        raise UpstreamFailed(
            f"X refuses our credentials as expired or invalid (401): renew {TOKEN_SETTING}",
            upstream="x",
            upstream_status=401,
        )
    return Transient(f"X answered {status}")


def _decode(decoder: msgspec.json.Decoder[T], status: int, body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UpstreamFailed(
            f"X answered {status} with something that is not its API's JSON; is the base URL right?",
            upstream="x",
            upstream_status=status,
        ) from None


def limit_of(headers: Mapping[str, str], now_s: float) -> Limited | None:
    """The limit that a good answer announces: no request is left until the reset."""
    if headers.get("x-rate-limit-remaining") != "0":
        return None
    reset_s = _reset_s(headers, now_s)
    return None if reset_s is None else Limited(reset_s)


def _limited(headers: Mapping[str, str], body: bytes, now_s: float) -> Limited:
    until_s = _reset_s(headers, now_s)
    try:
        kind = _BODIES.decode(body).kind
    except (msgspec.MsgspecError, UnicodeDecodeError):
        kind = ""
    if until_s is None:
        until_s = now_s + _DEFAULT_LIMIT_S
    if kind == "usage-capped":
        return Limited(until_s, "X's usage cap of our plan", passes=False)
    return Limited(until_s)


def _reset_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """When the limit ends by X's own word; at least a second from now, at most a day."""
    for header, base_s in (("x-rate-limit-reset", 0.0), ("retry-after", now_s)):
        value = headers.get(header, "")
        if value.isascii() and value.isdigit() and len(value) < 16:
            return min(max(base_s + int(value), now_s + 1), now_s + _LONGEST_LIMIT_S)
    return None


def _tweet(data: _Data, users: Mapping[str, _User]) -> Tweet:
    author = None if data.author_id is None else users.get(data.author_id)
    try:
        created_at = data.created_at
        return Tweet(
            id=int(data.id),
            text=unescape(data.note_tweet.text if data.note_tweet else data.text),
            author_id=None if data.author_id is None else int(data.author_id),
            username=author.username if author else None,
            author_name=author.name if author else None,
            created_at=created_at.astimezone(UTC) if created_at else None,
            lang=data.lang,
            source="x",
        )
    except ValueError:
        raise UpstreamFailed("X answered with an id that is no number", upstream="x") from None


def _fault(tweet_id: int, status: int, answer: _Body) -> AuguryError:
    """The error of our tree for a body without a tweet."""
    problem = answer.errors[0] if answer.errors else answer
    words = f"{problem.title} {problem.detail} {problem.message}".lower()
    if "suspended" in words:
        return NotFound(
            f"tweet {tweet_id} cannot be read: its author's account is suspended",
            tweet=str(tweet_id),
        )
    if problem.kind == "not-authorized-for-resource":
        return NotAllowed(
            f"tweet {tweet_id} is protected: its author shows it to approved followers only",
            tweet=str(tweet_id),
        )
    # A 404 in another shape than X's comes from something else that listens there.
    if problem.kind in ("resource-not-found", "resource-unavailable"):
        return NotFound(
            f"X has no tweet {tweet_id}: it was deleted, or never was; check the address",
            tweet=str(tweet_id),
        )
    if status == 400 and (problem.parameter == "id" or "id" in problem.parameters):
        return InvalidInput(f"X says that {tweet_id} is no tweet id", tweet=str(tweet_id))
    return _refusal(status, problem, "looking tweets up")


def _refusal(status: int, problem: _Problem, doing: str) -> AuguryError:
    """The error for an answer that is about us, rather than about what we asked for."""
    if status == 402:
        return UpstreamFailed(
            "X says that our plan's credits are used up (402): buy credits, or import an archive "
            "with `augury tweets import FILE`",
            upstream="x",
            upstream_status=402,
        )
    if status == 403:
        return UpstreamFailed(
            f"X refuses our app (403 {_quoted(problem.title) or 'Forbidden'}): its plan does not "
            f"include {doing}, or {TOKEN_SETTING} is of the wrong kind",
            upstream="x",
            upstream_status=403,
        )
    return UpstreamFailed(
        f"X answered {status} {_quoted(problem.title) or 'without a tweet'}",
        upstream="x",
        upstream_status=status,
    )


def _quoted(words: str) -> str:
    """X's *words* on one line of bounded length, without what a terminal would obey."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    return line if len(line) <= _MAX_QUOTED_CHARS else line[: _MAX_QUOTED_CHARS - 1] + "…"
