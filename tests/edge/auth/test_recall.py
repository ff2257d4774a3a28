"""What is remembered of credentials, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from augury.core.caller import Caller
from augury.core.clock import ManualClock
from augury.core.errors import Overloaded, Unavailable
from augury.edge.auth import recall as module
from augury.edge.auth.recall import Recall, Verdict

ADA = Caller("key:ada", frozenset({"read"}))
SENT = b"Bearer something"


class Source:
    """Where look-ups go."""

    def __init__(self) -> None:
        self.asked = 0
        self.verdict = Verdict(ADA)
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def look_up(self) -> Verdict:
        """Answer, when the gate is open."""
        self.asked += 1
        await self.gate.wait()
        if self.down:
            raise Unavailable("down")
        return self.verdict


@pytest.fixture
def source() -> Source:
    """Up, and knows ADA."""
    return Source()


@pytest.fixture
async def recall(clock: ManualClock) -> AsyncIterator[Recall]:
    """Empty."""
    made = Recall(clock)
    yield made
    await made.close()


async def learn(recall: Recall, source: Source, fault: str | None = None) -> Caller | None:
    return await recall.learn(recall.digest(SENT), source.look_up, fault=fault)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_was_right_is_known_for_five_seconds(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """A revoked key works no longer than that."""
    assert recall.find(SENT) is None
    assert await learn(recall, source) is ADA
    clock.advance(4.99)
    known = recall.find(SENT)
    assert known is not None
    assert known.caller is ADA
    clock.advance(0.02)
    assert recall.find(SENT) is None
    source.verdict = Verdict(None)
    assert await learn(recall, source) is None
    assert recall.find(SENT) is None


async def test_it_is_renewed_before_it_gets_too_old(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """Requests with a key that is in use never wait, and cause one look-up in 2.5 seconds."""
    await learn(recall, source)
    for _ in range(100):
        clock.advance(0.25)
        known = recall.find(SENT)
        assert known is not None
        if known.due:
            recall.renew(recall.digest(SENT), source.look_up)
            await settle()
    assert 9 <= source.asked <= 12


async def test_a_key_that_was_revoked_ends_at_its_next_renewal(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """It is not kept until the five seconds are over."""
    await learn(recall, source)
    clock.advance(2.5)
    source.verdict = Verdict(None)
    recall.renew(recall.digest(SENT), source.look_up)
    await settle()
    assert recall.find(SENT) is None
    assert recall.is_wrong(recall.digest(SENT))


async def test_many_requests_cause_one_look_up(recall: Recall, source: Source) -> None:
    """A hundred at once wait for one."""
    source.gate.clear()
    waiting = [asyncio.create_task(learn(recall, source)) for _ in range(100)]
    await settle()
    source.gate.set()
    assert await asyncio.gather(*waiting) == [ADA] * 100
    assert source.asked == 1


async def test_a_request_that_is_cut_does_not_cut_the_others(
    recall: Recall, source: Source
) -> None:
    """The look-up belongs to nobody alone."""
    source.gate.clear()
    first, second = (asyncio.create_task(learn(recall, source)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    source.gate.set()
    assert await second is ADA
    assert first.cancelled()


async def test_a_wrong_credential_is_remembered_shortly(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """Two seconds: a key that is made just then works soon."""
    source.verdict = Verdict(None)
    assert await learn(recall, source) is None
    digest = recall.digest(SENT)
    assert recall.is_wrong(digest)
    clock.advance(2.01)
    assert not recall.is_wrong(digest)


async def test_with_the_store_down_known_keys_go_on_for_five_minutes(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """Others are told 503; with time, so are these."""
    await learn(recall, source)
    source.down = True
    clock.advance(299)
    assert await learn(recall, source) is ADA
    assert recall.find(SENT) is not None  # and the next request need not ask
    with pytest.raises(Unavailable):
        await recall.learn(recall.digest(b"Bearer other"), source.look_up)
    clock.advance(1.5)
    assert recall.find(SENT) is None
    with pytest.raises(Unavailable):
        await learn(recall, source)


async def test_a_fault_that_is_known_costs_no_waiting(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """The answer is at hand although the store hangs; it is asked beside, and found again."""
    await learn(recall, source)
    clock.advance(60)
    source.gate.clear()
    assert await asyncio.wait_for(learn(recall, source, fault="down"), 1) is ADA
    await settle()
    source.gate.set()
    await settle()
    assert recall.find(SENT) is not None


async def test_back_again_a_revoked_key_is_refused(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """An outage does not make it last."""
    await learn(recall, source)
    source.down = True
    clock.advance(10)
    assert await learn(recall, source) is ADA
    source.down, source.verdict = False, Verdict(None)
    clock.advance(5)
    assert await learn(recall, source) is None


async def test_a_key_that_expires_ends_then(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """To the moment, and an outage does not lengthen it."""
    source.verdict = Verdict(ADA, ends_s=clock.monotonic() + 3)
    await learn(recall, source)
    clock.advance(2.9)
    assert recall.find(SENT) is not None
    source.down = True
    clock.advance(0.2)
    assert recall.find(SENT) is None
    with pytest.raises(Unavailable):
        await learn(recall, source, fault="down")


async def test_a_fixed_verdict_holds_as_long_as_it_says(
    recall: Recall, source: Source, clock: ManualClock
) -> None:
    """A password is verified about once a minute."""
    source.verdict = Verdict(ADA, fixed_s=60.0)
    await learn(recall, source)
    clock.advance(29)
    known = recall.find(SENT)
    assert known is not None
    assert not known.due
    clock.advance(30.9)
    assert recall.find(SENT) is not None
    clock.advance(0.2)
    assert recall.find(SENT) is None


async def test_the_tables_are_bounded(
    recall: Recall, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Junk pushes out junk, never what was right."""
    monkeypatch.setattr(module, "_MAX_WRONG", 10)
    monkeypatch.setattr(module, "_MAX_RIGHT", 3)
    await learn(recall, source)
    source.verdict = Verdict(None)
    for number in range(100):
        await recall.learn(recall.digest(b"%d" % number), source.look_up)
    assert len(recall._wrong) == 10
    assert recall.find(SENT) is not None
    source.verdict = Verdict(ADA)
    for number in range(10):
        await recall.learn(recall.digest(b"right %d" % number), source.look_up)
    assert len(recall._right) == 3


async def test_look_ups_at_once_are_bounded(recall: Recall, source: Source) -> None:
    """The 65th is told to come again."""
    source.gate.clear()
    tasks = [
        asyncio.create_task(recall.learn(recall.digest(b"%d" % number), source.look_up))
        for number in range(64)
    ]
    await settle()
    with pytest.raises(Unavailable, match="64 credentials"):
        await learn(recall, source)
    source.gate.set()
    await asyncio.gather(*tasks)


async def test_credentials_are_not_kept(recall: Recall, source: Source) -> None:
    """Only digests, which another process cannot use."""
    await learn(recall, source)
    assert SENT not in repr(vars(recall)).encode()
    assert recall.digest(SENT) != Recall(ManualClock()).digest(SENT)


async def test_a_fault_of_ours_in_a_renewal_is_logged(
    recall: Recall, source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for it, so nobody else would tell."""
    await learn(recall, source)
    clock.advance(3)

    async def broken() -> Verdict:
        raise RuntimeError("a bug")

    recall.renew(recall.digest(SENT), broken)
    await settle()
    assert "could not be looked up" in caplog.text
    assert "a bug" in caplog.text


async def test_what_stops_a_renewal_is_logged_once_a_minute(
    recall: Recall, source: Source, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again every second; a refusal needs no traceback."""
    await learn(recall, source)

    async def refused() -> Verdict:
        raise Overloaded("too many at once")

    clock.advance(3)
    for _ in range(90):
        recall.renew(recall.digest(SENT), refused)
        await settle()
        clock.advance(1)
    lines = [record for record in caplog.records if record.name == "augury.edge.auth.recall"]
    assert len(lines) == 2
    assert "too many at once" in caplog.text
    assert "Traceback" not in caplog.text
