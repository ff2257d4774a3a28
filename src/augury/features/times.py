"""Moments as whole microseconds since 1970, UTC: the precision of everything in feature tables.

A time without an offset means nothing to somebody elsewhere: it is refused unless the caller says that
it is UTC.  A finer time than a microsecond is refused too, since rounding it down would let an event
be seen before it happened.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# RFC 3339, and what people make of it: a blank for the T, no seconds, an offset without colon.
_TEXT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,12}))?"
    r"\s*([Zz]|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)


class UnfitTime(ValueError):
    """No moment, or not one that can be kept; the message says what it is instead."""


def to_microseconds(value: Any, *, assume_utc: bool) -> int:
    """*value*, a text or a datetime, as microseconds since 1970.

    Args:
        value: ``2026-02-01T09:30:00Z``, with any offset, or a ``datetime``.
        assume_utc: Whether a time without an offset is UTC; else it is refused.

    Raises:
        UnfitTime: It is none, has no offset, or is finer than a microsecond.

    >>> to_microseconds("1970-01-01T01:00:00.000001+01:00", assume_utc=False)
    1
    """
    if isinstance(value, str):
        value = _parse(value)
    # pandas.Timestamp is a datetime that knows nanoseconds besides.
    if getattr(value, "nanosecond", 0):
        raise UnfitTime(f"{value} is finer than a microsecond; round it up")
    if not isinstance(value, datetime):
        raise UnfitTime(
            f"{str(value)[:40]!r} is no time; write it as 2026-02-01T09:30:00Z"
            if value is not None
            else "is missing; every row has one"
        )
    if value.tzinfo is None:
        if not assume_utc:
            raise UnfitTime(
                f"{value.isoformat()} has no offset; write 2026-02-01T09:30:00Z or +01:00, or say "
                "that such times are UTC"
            )
        value = value.replace(tzinfo=UTC)
    since: timedelta = value - _EPOCH
    return since // _MICROSECOND


def show(microseconds: int) -> str:
    """A moment as people read it.

    >>> show(1_500_000)
    '1970-01-01T00:00:01.500000Z'
    """
    try:
        moment = _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return f"{microseconds} µs since 1970"
    return moment.isoformat().replace("+00:00", "Z")


def _parse(text: str) -> datetime:
    match = _TEXT.fullmatch(text.strip())
    if match is None:
        raise UnfitTime(f"{text[:40]!r} is no time; write it as 2026-02-01T09:30:00Z")
    date, clock, fraction, offset = match.groups()
    fraction = fraction or ""
    if fraction[6:].strip("0"):
        raise UnfitTime(f"{text!r} is finer than a microsecond; round it up")
    clock = clock if len(clock) > 5 else f"{clock}:00"
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{fraction[:6]:0<6}")
        return moment if offset is None else moment.replace(tzinfo=_zone(offset))
    except ValueError as error:
        raise UnfitTime(f"{text!r} is no time: {error}") from None


def _zone(offset: str) -> timezone:
    if offset in "Zz":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[-2:]) if len(offset) > 3 else 0
    if hours > 23 or minutes > 59:
        raise ValueError(f"no such offset: {offset}")
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if offset[0] == "-" else span)
