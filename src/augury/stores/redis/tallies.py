"""Sums and ranks in Redis: hashes and sorted sets, changed by one script.

A sums table is a hash, member to its vector in MessagePack (over text a script takes four times as
long); a ranks table is a sorted set.
Redis orders equal ranks by the bytes of their members, which in UTF-8 is the order of code points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from augury.stores.base import TALLY_LIMIT, Change, Vector
from augury.stores.redis.connections import Command
from augury.stores.redis.link import Link
from augury.stores.tally import overflow

# A script holds up the whole server while it runs: one of so many numbers takes 2 to 3 ms.
PAGE_NUMBERS: Final = 300
PAGE_CHANGES: Final = 64
PAGE_BYTES: Final = 1024 * 1024
# Tables removed at a time.
_DROP_TABLES: Final = 100

# Everything is read and checked before anything is written, so that no error leaves half a change:
# a script is not rolled back.  Keys are named by their place in KEYS, values by theirs in ARGV, with 0
# for none: MessagePack in Redis knows text, but not bytes.
_COMMIT: Final = """
local LIMIT = 9007199254740992
local values, vectors, ranks = {}, {}, {}

local function value_of(k)
  if values[k] == nil then values[k] = redis.call('GET', KEYS[k]) end
  return values[k]
end

local function vector_of(k, member)
  local members = vectors[k]
  if not members then members = {} vectors[k] = members end
  local vector = members[member]
  if not vector then
    local packed = redis.call('HGET', KEYS[k], member)
    vector = packed and cmsgpack.unpack(packed) or {}
    members[member] = vector
  end
  return vector
end

local function rank_of(k, member)
  local members = ranks[k]
  if not members then members = {} ranks[k] = members end
  if not members[member] then
    members[member] = tonumber(redis.call('ZSCORE', KEYS[k], member) or 0)
  end
  return members[member]
end

local function fits(number) return number < LIMIT and number > -LIMIT end

-- 0: it does not hold; 1: done; otherwise the place of the table that would overflow, negated.
local written = {}
local function carry_out(change)
  local expected, new, sums, more = change[1], change[2], change[3], change[4]
  for i = 1, #expected, 2 do
    if value_of(expected[i]) ~= (ARGV[expected[i + 1]] or false) then return 0 end
  end
  for i = 1, #sums, 3 do
    local vector = vector_of(sums[i], sums[i + 1])
    for j, number in ipairs(sums[i + 2]) do
      if not fits((vector[j] or 0) + number) then return -sums[i] end
    end
  end
  for i = 1, #more, 3 do
    if not fits(rank_of(more[i], more[i + 1]) + more[i + 2]) then return -more[i] end
  end
  for i = 1, #new, 2 do
    values[new[i]] = ARGV[new[i + 1]] or false
    written[new[i]] = true
  end
  for i = 1, #sums, 3 do
    local vector = vector_of(sums[i], sums[i + 1])
    for j, number in ipairs(sums[i + 2]) do vector[j] = (vector[j] or 0) + number end
  end
  for i = 1, #more, 3 do
    ranks[more[i]][more[i + 1]] = ranks[more[i]][more[i + 1]] + more[i + 2]
  end
  return 1
end

local done = {}
for i, change in ipairs(cmsgpack.unpack(ARGV[1])) do
  done[i] = carry_out(change)
  if done[i] < 0 then break end
end

for k in pairs(written) do
  if values[k] then redis.call('SET', KEYS[k], values[k]) else redis.call('DEL', KEYS[k]) end
end
for k, members in pairs(vectors) do
  for member, vector in pairs(members) do
    local last = #vector
    while last > 0 and vector[last] == 0 do last = last - 1 end
    if last == 0 then
      redis.call('HDEL', KEYS[k], member)
    else
      for j = last + 1, #vector do vector[j] = nil end
      redis.call('HSET', KEYS[k], member, cmsgpack.pack(vector))
    end
  end
end
for k, members in pairs(ranks) do
  for member, rank in pairs(members) do
    if rank == 0 then
      redis.call('ZREM', KEYS[k], member)
    else
      redis.call('ZADD', KEYS[k], string.format('%.0f', rank), member)
    end
  end
end
return done
"""

_SHA: Final = hashlib.sha1(_COMMIT.encode(), usedforsecurity=False).hexdigest()
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Vector).decode


class RedisTallies:
    """The part of the Redis store that :class:`~augury.stores.base.TallyStore` asks for.

    Args:
        link: To the server.
        prefix: Of all its keys; those of values follow it with ``k:``, of sums with ``s:``, of
            ranks with ``r:``.
    """

    def __init__(self, link: Link, prefix: bytes) -> None:
        self._link = link
        self._values = prefix + b"k:"
        self._sums = prefix + b"s:"
        self._ranks = prefix + b"r:"

    async def commit(self, changes: Sequence[Change]) -> list[bool]:
        done: list[bool] = []
        for page in _pages(changes):
            keys = _Keys()
            values: list[bytes] = []
            packed = _encode([self._packed(change, keys, values) for change in page])
            answers = await self._run(keys.names, packed, values)
            self._link.write_done()
            done += [answer == 1 for answer in answers]
            if answers[-1] < 0:
                raise overflow(keys.names[-answers[-1] - 1][len(self._sums) :].decode())
        return done

    async def sums(self, table: str) -> dict[str, Vector]:
        (flat,) = await self._link.ask(("HGETALL", self._sums + table.encode()))
        members = iter(flat)
        return {
            member.decode(): _vector(vector)
            for member, vector in zip(members, members, strict=True)
        }

    async def sums_of(self, tables: Sequence[str], member: str) -> list[Vector]:
        if not tables:
            return []
        name = member.encode()
        commands: list[Command] = [("HGET", self._sums + t.encode(), name) for t in tables]
        return [_vector(packed) for packed in await self._link.ask(*commands)]

    async def top(self, table: str, offset: int, limit: int) -> list[tuple[str, int]]:
        if not limit:
            return []
        first, last = _bounded(offset), _bounded(offset + limit - 1)
        key = self._ranks + table.encode()
        return _members(await self._link.ask(("ZREVRANGE", key, first, last, "WITHSCORES")))

    async def bottom(
        self, table: str, at_least: int | None, at_most: int | None, limit: int
    ) -> list[tuple[str, int]]:
        low = "-inf" if at_least is None else str(_bounded(at_least))
        high = "+inf" if at_most is None else str(_bounded(at_most))
        key = self._ranks + table.encode()
        page = ("WITHSCORES", "LIMIT", 0, _bounded(limit))
        return _members(await self._link.ask(("ZRANGEBYSCORE", key, low, high, *page)))

    async def ranks_of(self, table: str, members: Sequence[str]) -> list[int]:
        if not members:
            return []
        key = self._ranks + table.encode()
        (ranks,) = await self._link.ask(("ZMSCORE", key, *(m.encode() for m in members)))
        return [0 if rank is None else int(float(rank)) for rank in ranks]

    async def rank_count(self, table: str) -> int:
        (count,) = await self._link.ask(("ZCARD", self._ranks + table.encode()))
        return int(count)

    async def drop(self, keys: Sequence[bytes]) -> int:
        """Remove whole tables, by their keys; the server frees their memory in the background."""
        dropped = 0
        for first in range(0, len(keys), _DROP_TABLES):
            (count,) = await self._link.ask(("UNLINK", *keys[first : first + _DROP_TABLES]))
            dropped += count
        return dropped

    @property
    def places(self) -> tuple[bytes, bytes]:
        """What the keys of all tables start with: those of sums, those of ranks."""
        return self._sums, self._ranks

    async def _run(
        self, keys: Sequence[bytes], packed: bytes, values: Sequence[bytes]
    ) -> list[int]:
        arguments: Command = (len(keys), *keys, packed, *values)
        (answer,) = await self._link.ask_each(("EVALSHA", _SHA, *arguments))
        if isinstance(answer, NoScriptError):  # the server is new, or has been restarted
            (answer,) = await self._link.ask_each(("EVAL", _COMMIT, *arguments))
        if isinstance(answer, ResponseError):
            raise self._link.translated(answer)
        return [int(number) for number in answer]

    def _packed(self, change: Change, keys: _Keys, arguments: list[bytes]) -> tuple[list[Any], ...]:
        """*change* as the script takes it; its values are added to *arguments*."""

        def placed(values: Mapping[str, bytes | None]) -> list[Any]:
            places: list[int] = []
            for key, value in values.items():
                if value is not None:
                    arguments.append(value)
                # ARGV counts from 1, and its first is the packed changes.
                place = 0 if value is None else len(arguments) + 1
                places += (keys.place(self._values + key.encode()), place)
            return places

        sums: list[Any] = []
        for table, vectors in change.sums.items():
            place = keys.place(self._sums + table.encode())
            for member, vector in vectors.items():
                sums += (place, member, vector)
        ranks: list[Any] = []
        for table, numbers in change.ranks.items():
            place = keys.place(self._ranks + table.encode())
            for member, number in numbers.items():
                ranks += (place, member, number)
        return placed(change.expected), placed(change.values), sums, ranks


class _Keys:
    """The keys of one call of the script, each once."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self._places: dict[bytes, int] = {}

    def place(self, name: bytes) -> int:
        """Where *name* stands among them, counted from 1."""
        place = self._places.get(name)
        if place is None:
            self.names.append(name)
            place = self._places[name] = len(self.names)
        return place


def _pages(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Cut *changes* so that no call of the script takes long; a change is never cut."""
    page: list[Change] = []
    numbers = size_bytes = 0
    for change in changes:
        more = sum(map(len, change.sums.values())) + sum(map(len, change.ranks.values()))
        more_bytes = sum(
            len(value or b"")
            for values in (change.values, change.expected)
            for value in values.values()
        )
        if page and (
            len(page) == PAGE_CHANGES
            or numbers + more > PAGE_NUMBERS
            or size_bytes + more_bytes > PAGE_BYTES
        ):
            yield page
            page, numbers, size_bytes = [], 0, 0
        page.append(change)
        numbers += more
        size_bytes += more_bytes
    if page:
        yield page


def _vector(packed: bytes | None) -> Vector:
    return _decode(packed) if packed else ()


def _members(answers: Sequence[Any]) -> list[tuple[str, int]]:
    flat = iter(answers[0])
    return [(member.decode(), int(float(rank))) for member, rank in zip(flat, flat, strict=True)]


def _bounded(number: int) -> int:
    """*number*, or the nearest that means the same: no rank and no place lies beyond."""
    return max(-TALLY_LIMIT, min(TALLY_LIMIT, number))
