"""Guessing gets slow, and costs us no memory."""

from __future__ import annotations

import pytest

from augury.core.clock import ManualClock
from augury.edge.auth.throttle import Throttle, network_of


def test_some_tries_then_one_every_few_seconds() -> None:
    """Five at once, then one in six seconds."""
    clock = ManualClock(50.0)
    throttle = Throttle(clock, burst=5, every_s=6.0)
    assert [throttle.try_once("192.0.2.1") for _ in range(5)] == [0.0] * 5
    assert throttle.try_once("192.0.2.1") == pytest.approx(6.0)
    clock.advance(6.0)
    assert throttle.try_once("192.0.2.1") == 0.0
    assert throttle.try_once("192.0.2.1") > 0


def test_others_are_not_held_up() -> None:
    """Each address counts for itself; the addresses of one IPv6 /64 count as one."""
    throttle = Throttle(ManualClock(), burst=1)
    assert throttle.try_once("192.0.2.1") == 0.0
    assert throttle.try_once("192.0.2.2") == 0.0
    assert throttle.try_once("2001:db8::1") == 0.0
    assert throttle.try_once("2001:db8::ffff:1") > 0
    assert throttle.try_once("2001:db8:0:1::1") == 0.0


def test_a_try_may_be_given_back() -> None:
    """Who knew the password has not guessed."""
    throttle = Throttle(ManualClock(), burst=1)
    for _ in range(20):
        assert throttle.try_once("192.0.2.1") == 0.0
        throttle.give_back("192.0.2.1")
    throttle.give_back("never seen")


def test_the_table_is_bounded() -> None:
    """A million addresses take as much room as a hundred."""
    clock = ManualClock()
    throttle = Throttle(clock, max_addresses=100)
    for number in range(5000):
        throttle.try_once(f"10.0.{number // 256}.{number % 256}")
    assert len(throttle) <= 101


def test_rested_addresses_are_forgotten() -> None:
    """The table does not grow with time."""
    clock = ManualClock()
    throttle = Throttle(clock, burst=5, every_s=6.0)
    for number in range(100):
        throttle.try_once(f"10.0.0.{number}")
    clock.advance(60)
    for number in range(100):
        throttle.try_once(f"10.0.1.{number}")
    assert len(throttle) <= 101


@pytest.mark.parametrize("address", ["unknown", "", "x" * 500, "::1%eth0", "fe80::1%lo"])
def test_strange_addresses(address: str) -> None:
    """A Unix socket's client has none."""
    assert len(network_of(address)) <= 100
