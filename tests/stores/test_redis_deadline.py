"""A deadline is the server's, not that of an event loop that was held up."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from augury.stores.redis.deadline import Deadline


async def _after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


async def test_what_takes_too_long_is_cut() -> None:
    """At the deadline, not much later."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(TimeoutError):
        async with Deadline(began_s + 0.05):
            await asyncio.sleep(10)
    assert 0.05 <= loop.time() - began_s < 1


async def test_what_is_in_time_is_left_alone() -> None:
    """Also when its deadline passes later on; an error inside stays what it is."""
    loop = asyncio.get_running_loop()
    async with Deadline(loop.time() + 0.05):
        assert await _after(0) == "answer"
    with pytest.raises(KeyError):
        async with Deadline(loop.time() + 0.05):
            raise KeyError("inside")
    await asyncio.sleep(0.1)


async def test_an_answer_that_came_while_the_loop_was_held_up_counts() -> None:
    """It was there in time; that nobody could read it is not its sender's fault."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    threading.Timer(0.02, theirs.sendall, [b"answer"]).start()
    async with Deadline(asyncio.get_running_loop().time() + 0.05):
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  what holds up a loop
        assert await reader.readexactly(6) == b"answer"
    theirs.close()
    writer.close()
    await writer.wait_closed()


async def test_a_loop_that_was_held_up_does_not_wait_for_ever() -> None:
    """One more look, and then it is over."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    loop.call_soon(time.sleep, 0.2)
    with pytest.raises(TimeoutError):
        async with Deadline(began_s + 0.05):
            await asyncio.sleep(10)
    assert loop.time() - began_s < 2


async def test_a_cancelled_task_is_cancelled() -> None:
    """From outside, it is no timeout."""

    async def wait() -> None:
        async with Deadline(asyncio.get_running_loop().time() + 10):
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
