"""How a feature table lies in the store.

==================================  =========================================  ====================
key                                 value                                      written by
==================================  =========================================  ====================
``features:table:{table}``          the definition, JSON                       ``catalogue``
``features:row:{table}:{entity}``   the newest :class:`OnlineRow`, msgpack     ``writing``
==================================  =========================================  ====================

``{entity}`` is each part of the entity's key with its length before it, in the order of the columns'
names, so that no two entities share a key: ``2:i7`` for the integer 7, ``5:b%0Ax`` for a line break
and an x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote_from_bytes

import msgspec

from augury.features.values import Wire

TABLE_PREFIX: Final = "features:table:"
ROW_PREFIX: Final = "features:row:"


class OnlineRow(msgspec.Struct, frozen=True, array_like=True):
    """What is known of an entity.

    Args:
        uid: Of the table; rows of a table that was dropped do not count.
        event_us: When it was so: microseconds since 1970, UTC.
        written_us: When it was written down.
        values: Feature to value; what is not there is missing.
    """

    uid: str
    event_us: int
    written_us: int
    values: dict[str, Wire]


_ENCODER: Final = msgspec.msgpack.Encoder(order="sorted")
_DECODER: Final = msgspec.msgpack.Decoder(OnlineRow)


def table_key(table: str) -> str:
    """Where a definition lies."""
    return TABLE_PREFIX + table


def row_prefix(table: str) -> str:
    """What the keys of all rows of a table start with."""
    return f"{ROW_PREFIX}{table}:"


def row_key(table: str, entity: Sequence[int | bytes]) -> str:
    """Where the row of an entity lies; its parts are in the order of the key columns' names.

    >>> row_key("author_stats", [7]) == "features:row:author_stats:2:i7"
    True
    """
    parts = [f"i{part}" if isinstance(part, int) else f"b{_quoted(part)}" for part in entity]
    return row_prefix(table) + "".join(f"{len(part)}:{part}" for part in parts)


def encode_row(row: OnlineRow) -> bytes:
    """*row* for the store; equal rows are equal bytes."""
    return _ENCODER.encode(row)


def decode_row(data: bytes) -> OnlineRow | None:
    """The row, or ``None`` for bytes that are none."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _quoted(part: bytes) -> str:
    return quote_from_bytes(part, safe="")
