"""What every HTTP dialect needs of ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from augury.core.errors import ClientGone, InvalidInput, TooLarge
from augury.protocols.asgi import (
    WATCH_AFTER_S,
    CacheWishes,
    Message,
    cache_wishes,
    cancelled_when_client_goes,
    header,
    read_body,
    reply,
)


def receive_from(*messages: Message) -> Any:
    """A ``receive`` that gives *messages* in order, then waits forever."""
    rest = list(messages)

    async def receive() -> Message:
        if not rest:
            await asyncio.Event().wait()
        return rest.pop(0)

    return receive


def chunk(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_the_first_of_equal_headers_counts() -> None:
    """Names come in lower case; one that is missing is None."""
    headers = [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]
    assert header(headers, b"b") == b"2"
    assert header(headers, b"c") is None


@pytest.mark.parametrize(
    ("values", "wishes"),
    [
        ([], CacheWishes()),
        ([b"max-age=0"], CacheWishes()),
        ([b"No-Cache"], CacheWishes(use_cache=True, refresh=True)),
        ([b"no-store"], CacheWishes(use_cache=False, refresh=False)),
        ([b"max-age=0, no-store", b"no-cache"], CacheWishes(use_cache=False, refresh=True)),
    ],
)
def test_what_is_asked_of_the_cache(values: list[bytes], wishes: CacheWishes) -> None:
    """All headers count, in whatever case; unless they forbid it, a remembered answer will do."""
    headers = [(b"accept", b"no-cache"), *((b"cache-control", value) for value in values)]
    assert cache_wishes(headers) == wishes
    assert wishes.remembered == (wishes == CacheWishes())


async def test_a_body_in_pieces_is_put_together() -> None:
    """Empty pieces and pieces without a body do no harm."""
    pieces = [
        chunk(b"ab"),
        chunk(b""),
        {"type": "http.request", "more_body": True},
        chunk(b"c", more=False),
    ]
    assert await read_body(receive_from(*pieces), [], 3) == b"abc"


@pytest.mark.parametrize(
    "messages",
    [
        [chunk(b"abcd", more=False)],
        [chunk(b"abcd")],
        [chunk(b"ab"), chunk(b"cd")],
        [chunk(b"abc"), chunk(b"d", more=False)],
    ],
)
async def test_a_body_over_the_limit_is_not_read_to_its_end(messages: list[Message]) -> None:
    """The first byte too many ends it."""
    with pytest.raises(TooLarge, match="4 bytes or more, the limit is 3"):
        await read_body(receive_from(*messages), [], 3)


async def test_a_length_over_the_limit_is_refused_unread() -> None:
    """Nothing is read of a body that announces too much."""
    with pytest.raises(TooLarge, match="99 bytes or more"):
        await read_body(receive_from(), [(b"content-length", b"99")], 3)


async def test_a_client_that_hangs_up_while_sending() -> None:
    """The body that never ends is an error of its own."""
    with pytest.raises(ClientGone):
        await read_body(receive_from(chunk(b"a"), {"type": "http.disconnect"}), [], 3)
    with pytest.raises(ClientGone):
        await read_body(receive_from({"type": "http.disconnect"}), [], 3)


async def test_an_encoded_body_is_refused() -> None:
    """Compressed bytes are not taken for what they stand for."""
    with pytest.raises(InvalidInput, match="'gzip' is not supported"):
        await read_body(receive_from(), [(b"content-encoding", b"gzip")], 3)


async def test_a_reply_is_two_messages() -> None:
    """Head with the length, then the whole body."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await reply(send, 201, b"abc", b"text/plain", [(b"x", b"y")])
    assert sent == [
        {
            "type": "http.response.start",
            "status": 201,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"3"), (b"x", b"y")],
        },
        {"type": "http.response.body", "body": b"abc"},
    ]


async def test_a_block_is_cancelled_when_its_client_goes() -> None:
    """Messages other than a disconnect change nothing; the task is whole afterwards."""
    messages = [chunk(b"", more=False), {"type": "http.disconnect"}]
    with pytest.raises(ClientGone), cancelled_when_client_goes(receive_from(*messages)):
        await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_a_quick_block_is_not_watched() -> None:
    """Most answers are there before it would be worth a task."""
    before = len(asyncio.all_tasks())
    with cancelled_when_client_goes(receive_from({"type": "http.disconnect"})):
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == before
    await asyncio.sleep(2 * WATCH_AFTER_S)
    assert len(asyncio.all_tasks()) == before


async def test_the_watcher_ends_with_the_block() -> None:
    """Nothing stays behind."""
    before = len(asyncio.all_tasks())
    with cancelled_when_client_goes(receive_from()):
        await asyncio.sleep(3 * WATCH_AFTER_S)
        assert len(asyncio.all_tasks()) == before + 1
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before
