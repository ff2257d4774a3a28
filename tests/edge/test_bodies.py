"""What request bodies may take together."""

from __future__ import annotations

from typing import Any

import pytest

from augury.core.errors import Overloaded, TooLarge
from augury.edge.bodies import SMALL_BODY_BYTES, Bodies
from augury.protocols.asgi import Headers, Message

MIB = 1024 * 1024


def announced(size: int) -> Headers:
    return [(b"host", b"x"), (b"content-length", str(size).encode())]


CHUNKED: Headers = [(b"transfer-encoding", b"chunked")]


def chunks(*sizes: int) -> Any:
    """A ``receive`` that gives chunks of *sizes*."""
    rest = list(sizes)

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * rest.pop(0), "more_body": bool(rest)}

    return receive


def test_small_bodies_pass_by() -> None:
    """No body, and one that the connection holds anyway, is not booked."""
    bodies = Bodies(max_body_bytes=MIB, max_buffered_bytes=MIB)
    assert bodies.pass_by([])
    assert bodies.pass_by(announced(SMALL_BODY_BYTES))
    assert not bodies.pass_by(announced(SMALL_BODY_BYTES + 1))
    assert not bodies.pass_by(CHUNKED)


def test_a_low_limit_holds_for_small_bodies_too() -> None:
    """What is over the limit never passes by."""
    assert not Bodies(max_body_bytes=1024, max_buffered_bytes=MIB).pass_by(announced(1025))


def test_announced_bodies_are_booked_until_they_are_answered() -> None:
    """The second waits for no one: it is refused, and welcome again later."""
    bodies = Bodies(max_body_bytes=3 * MIB, max_buffered_bytes=4 * MIB)
    with bodies.booked(announced(3 * MIB), chunks()):
        assert bodies.booked_bytes == 3 * MIB
        with (
            pytest.raises(Overloaded, match="max_buffered_bytes") as refused,
            bodies.booked(announced(2 * MIB), chunks()),
        ):
            pytest.fail("it should not have fitted")
        assert refused.value.retry_after_s == 1.0
        with bodies.booked(announced(MIB), chunks()):
            assert bodies.booked_bytes == 4 * MIB
    assert bodies.booked_bytes == 0


def test_a_body_over_the_limit_is_not_booked() -> None:
    """It is too large whatever else there is."""
    bodies = Bodies(max_body_bytes=MIB, max_buffered_bytes=4 * MIB)
    with pytest.raises(TooLarge), bodies.booked(announced(MIB + 1), chunks()):
        pytest.fail("it should not have been taken")
    assert bodies.booked_bytes == 0


def test_a_single_body_always_fits() -> None:
    """A limit for all that is below the limit for one does not lock it out."""
    bodies = Bodies(max_body_bytes=4 * MIB, max_buffered_bytes=MIB)
    with bodies.booked(announced(4 * MIB), chunks()):
        assert bodies.booked_bytes == 4 * MIB


async def test_bodies_of_unknown_length_are_booked_as_they_come() -> None:
    """Each chunk counts; what does not fit any more is refused."""
    bodies = Bodies(max_body_bytes=3000, max_buffered_bytes=4000)
    with bodies.booked(CHUNKED, chunks(1000, 1000, 1000, 1000)) as first:
        await first()
        await first()
        assert bodies.booked_bytes == 2000
        with bodies.booked(CHUNKED, chunks(1500, 1500)) as second:
            await second()
            with pytest.raises(Overloaded):
                await second()
        assert bodies.booked_bytes == 2000
        await first()
        with pytest.raises(TooLarge):
            await first()
    assert bodies.booked_bytes == 0


async def test_chunks_within_what_was_announced_are_not_booked_twice() -> None:
    """The announcement is enough."""
    bodies = Bodies(max_body_bytes=MIB, max_buffered_bytes=MIB)
    with bodies.booked(announced(2000), chunks(1000, 1000)) as receive:
        await receive()
        await receive()
        assert bodies.booked_bytes == 2000
