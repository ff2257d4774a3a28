"""Waiting for a store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from augury.core.clock import SystemClock
from augury.core.errors import InvalidInput, Unavailable
from augury.services.tweets.bulk.patience import Patience


def failing(times: int) -> Callable[[], Awaitable[int]]:
    """Answers after so many failures."""
    left = times

    async def ask() -> int:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Unavailable("no connection")
        return 7

    return ask


class Told:
    """What a patience told."""

    def __init__(self, max_wait_s: float) -> None:
        self.words: list[str] = []
        self.patience = Patience(
            max_wait_s,
            SystemClock(),
            on_gone=self.words.append,
            on_back=lambda seconds: self.words.append(f"back {seconds > 0}"),
        )


async def test_an_answer_costs_nothing() -> None:
    """Nobody hears of a store that is there."""
    told = Told(1.0)
    assert await told.patience(failing(0)) == 7
    assert told.words == []


async def test_many_wait_and_it_is_told_once() -> None:
    """The first who waits tells that it is gone, the last that it is back; a second time likewise."""
    told = Told(30.0)
    for _ in range(2):
        answers = await asyncio.gather(*(told.patience(failing(n)) for n in (1, 2, 3)))
        assert answers == [7, 7, 7]
    assert told.words == ["no connection", "back True"] * 2


async def test_a_store_that_answers_others_is_waited_for_no_longer() -> None:
    """One that takes no writes any more may still be read: that is told once, and it ends."""
    told = Told(0.5)

    async def read() -> None:
        while True:
            await told.patience(failing(0))
            await asyncio.sleep(0.01)

    reading = asyncio.create_task(read())
    with pytest.raises(Unavailable, match=r"away for 0\.5 s"):
        await asyncio.wait_for(told.patience(failing(10_000)), 5)
    reading.cancel()
    assert told.words == ["no connection"]


async def test_other_errors_pass_through() -> None:
    """Only absence is waited for."""

    async def ask() -> None:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await Told(5.0).patience(ask)


async def test_nobody_waits_after_the_end() -> None:
    """Neither who waits already, nor who comes later."""
    told = Told(300.0)
    task = asyncio.create_task(told.patience(failing(10_000)))
    await asyncio.sleep(0.05)
    told.patience.end()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(task, 5)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(told.patience(failing(1)), 5)
