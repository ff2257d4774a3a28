"""Reads that come together go together, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from augury.core.errors import Internal, Unavailable
from augury.stores.redis.loader import BATCH_KEYS, QUESTIONS, Loader


class Source:
    """Answers with the key itself, when it may."""

    def __init__(self) -> None:
        self.questions: list[list[bytes]] = []
        self.deadlines: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.stuck = False
        self.at_once = 0
        self.most_at_once = 0

    async def ask(self, keys: Sequence[bytes], deadline_s: float) -> list[bytes | None]:
        self.questions.append(list(keys))
        self.deadlines.append(deadline_s)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        if self.stuck:
            try:
                async with asyncio.timeout_at(deadline_s):
                    await asyncio.Event().wait()
            except TimeoutError:
                raise Unavailable("late") from None
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return [None if key == b"no" else b"=" + key for key in keys]


async def test_reads_of_one_turn_are_one_question() -> None:
    """A hundred tasks that read at once ask once; the same key is asked for once."""
    source = Source()
    loader = Loader(source.ask, timeout_s=1)
    answers = await asyncio.gather(*(loader.load(b"k%d" % (i % 10)) for i in range(100)))

    assert answers == [b"=k%d" % (i % 10) for i in range(100)]
    assert source.questions == [[b"k%d" % i for i in range(10)]]
    assert await loader.load(b"no") is None


async def test_questions_are_bounded() -> None:
    """In size, and in how many are under way; what comes meanwhile goes together."""
    source = Source()
    loader = Loader(source.ask, timeout_s=1)
    source.gate.clear()
    reads = []
    for i in range(BATCH_KEYS * 3):
        reads.append(loader.load(b"%d" % i))
        if i % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    source.gate.set()

    assert await asyncio.gather(*reads) == [b"=%d" % i for i in range(BATCH_KEYS * 3)]
    assert source.most_at_once <= QUESTIONS
    assert max(map(len, source.questions)) <= BATCH_KEYS
    assert len(source.questions) <= 6


async def test_whoever_waits_in_line_is_not_given_more_time() -> None:
    """A question's deadline is that of the read that has waited longest."""
    source = Source()
    loader = Loader(source.ask, timeout_s=1)
    source.gate.clear()
    now_s = asyncio.get_running_loop().time()
    reads = []
    for i in range(QUESTIONS):
        reads.append(loader.load(b"%d" % i))
        await asyncio.sleep(0)
    reads.append(loader.load(b"late"))
    await asyncio.sleep(0.1)
    reads.append(loader.load(b"later"))
    source.gate.set()
    await asyncio.gather(*reads)

    assert source.questions[-1] == [b"late", b"later"]
    assert now_s + 1 <= source.deadlines[-1] < now_s + 1.09


async def test_a_read_with_time_left_does_not_fail_with_an_old_one() -> None:
    """Asked together, the old one's time is over first: the fresh one is asked for again."""
    source = Source()
    source.stuck = True
    loader = Loader(source.ask, timeout_s=0.5)
    busy = [loader.load(b"%d" % i) for i in range(BATCH_KEYS * QUESTIONS)]
    await asyncio.sleep(0.1)
    old = [loader.load(b"old"), loader.load(b"old")]
    await asyncio.sleep(0.3)
    fresh = [loader.load(b"fresh"), loader.load(b"old")]
    await asyncio.gather(*busy, return_exceptions=True)
    while len(source.questions) == QUESTIONS:  # noqa: ASYNC110 - a state of others, without an event
        await asyncio.sleep(0)
    source.stuck = False  # from the next question on
    failed = await asyncio.gather(*old, return_exceptions=True)

    assert [str(error) for error in failed] == ["late"] * 2
    assert await asyncio.gather(*fresh) == [b"=fresh", b"=old"]
    assert source.questions[QUESTIONS:] == [[b"old", b"fresh"], [b"fresh", b"old"]]
    await loader.close()


async def test_nobody_waits_longer_for_being_asked_again() -> None:
    """Of a server that never answers, reads that come all the time fail each in its own time."""
    source = Source()
    source.stuck = True
    loader = Loader(source.ask, timeout_s=0.1)
    loop = asyncio.get_running_loop()

    async def read(key: bytes) -> float:
        began_s = loop.time()
        with pytest.raises(Unavailable):
            await loader.load(key)
        return loop.time() - began_s

    reads = []
    for i in range(100):
        reads.append(asyncio.create_task(read(b"%d" % i)))
        await asyncio.sleep(0.005)
    took_s = await asyncio.gather(*reads)
    assert max(took_s) < 0.3
    await loader.close()


async def test_one_that_gives_up_harms_no_other() -> None:
    """Cancelled before it is asked or while it is; the others get theirs."""
    source = Source()
    loader = Loader(source.ask, timeout_s=1)
    source.gate.clear()

    async def read(key: bytes) -> bytes | None:
        return await loader.load(key)

    tasks = [asyncio.create_task(read(b"%d" % i)) for i in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    tasks[1].cancel()
    await asyncio.sleep(0.01)
    source.gate.set()

    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[2:] == [b"=2", b"=3"]
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[:2])


async def test_an_error_is_everybodys_own() -> None:
    """All who waited for a question that failed are told; what comes after asks again."""
    source = Source()
    loader = Loader(source.ask, timeout_s=1)
    source.error = Unavailable("down", store="redis://cache")
    answers = await asyncio.gather(*(loader.load(b"k") for _ in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["down"] * 3
    assert len({id(answer) for answer in answers}) == 3

    source.error = KeyError("a bug")
    with pytest.raises(Internal, match="KeyError"):
        await loader.load(b"k")
    source.error = None
    assert await loader.load(b"k") == b"=k"
    await loader.close()
