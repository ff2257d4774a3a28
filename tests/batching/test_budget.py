"""Tests of ``augury.batching.budget``."""

from __future__ import annotations

import threading
import time

from augury.batching.budget import CpuBudget, Grant, Share, Shares
from augury.core.clock import SystemClock


def shares_of(cores: int, *names: str) -> tuple[Shares, list[Share]]:
    shares = Shares(cores)
    models = [Share(name) for name in names]
    shares.shares += models
    return shares, models


def run(shares: Shares, share: Share, began_s: float, ended_s: float) -> None:
    """A run that found the cores free."""
    grant = shares.ask(share, 1, began_s)
    assert grant is not None
    shares.give_back(grant, ended_s, ran=True)


def test_free_cores_are_given_at_once() -> None:
    """To a model that is alone there is nothing to decide."""
    shares, (one,) = shares_of(2, "one")
    grants = [shares.ask(one, 1, 0.0) for _ in range(3)]
    assert [grant is not None for grant in grants] == [True, True, False]
    assert shares.free == 0
    assert grants[0] is not None
    assert shares.give_back(grants[0], 1.0, ran=True) == []
    assert shares.free == 1


def test_a_run_of_more_threads_than_cores_takes_all() -> None:
    """It would otherwise wait for ever."""
    shares, (one,) = shares_of(2, "one")
    grant = shares.ask(one, 8, 0.0)
    assert grant is not None
    assert (grant.cores, shares.free) == (2, 0)


def test_who_has_used_the_least_is_next() -> None:
    """Whoever came first."""
    shares, (heavy, light) = shares_of(1, "heavy", "light")
    run(shares, heavy, 0.0, 1.0)
    run(shares, light, 1.0, 1.8)
    running = shares.ask(heavy, 1, 2.0)
    assert running is not None
    waiting = [shares.wait(heavy, 1, 2.1), shares.wait(light, 1, 2.2)]
    assert shares.give_back(running, 3.0, ran=True) == [waiting[1]]
    assert shares.waiting == [waiting[0]]


def test_what_was_used_is_forgotten() -> None:
    """Half of it each second."""
    shares, (one,) = shares_of(1, "one")
    run(shares, one, 0.0, 4.0)
    assert one.used(4.0) == 4.0
    assert one.used(6.0) == 1.0


def saturated() -> tuple[Shares, Share, Share]:
    """Two cores under runs of half a second, and a model whose runs take 10 ms."""
    shares, (heavy, light) = shares_of(2, "heavy", "light")
    run(shares, light, 8.0, 8.01)
    run(shares, heavy, 9.0, 9.5)
    for _ in range(2):
        assert shares.ask(heavy, 1, 10.0) is not None
    return shares, heavy, light


def test_a_short_run_of_a_light_model_goes_beside_long_ones() -> None:
    """At once, and one at a time."""
    shares, _, light = saturated()
    first = shares.ask(light, 1, 10.1)
    assert first is not None
    assert first.extra
    assert shares.ask(light, 1, 10.1) is None
    assert shares.give_back(first, 10.11, ran=True) == []
    assert shares.free == 0
    assert shares.ask(light, 1, 10.12) is not None


def test_a_run_that_waited_goes_beside_when_the_place_is_free() -> None:
    """Each light model has its turn."""
    shares, _, light = saturated()
    other = Share("other", typical_s=0.01)
    shares.shares.append(other)
    first = shares.ask(light, 1, 10.1)
    assert first is not None
    assert shares.ask(other, 1, 10.1) is None
    waiting = shares.wait(other, 1, 10.1)
    assert shares.give_back(first, 10.11, ran=True) == [waiting]
    assert waiting.extra


def test_a_heavy_model_does_not_go_beside() -> None:
    """It has had its share, or its runs are long: it waits for a core."""
    shares, heavy, light = saturated()
    assert shares.ask(heavy, 1, 10.1) is None
    light.typical_s = 0.4
    assert shares.ask(light, 1, 10.1) is None
    light.typical_s = 0.0  # not known
    assert shares.ask(light, 1, 10.1) is None
    light.typical_s = 0.01
    light.charge(100.0, 10.1)
    assert shares.ask(light, 1, 10.1) is None


def test_a_model_alone_never_runs_beside_itself() -> None:
    """More threads than cores would finish nothing sooner."""
    shares, (one,) = shares_of(1, "one")
    run(shares, one, 0.0, 0.001)
    assert shares.ask(one, 1, 1.0) is not None
    assert shares.ask(one, 1, 1.0) is None


def test_instances_wait_and_go_on() -> None:
    """Eight threads of two models on one core, one at a time, each with its share."""
    budget = CpuBudget(1, SystemClock())
    running, most = 0, 0
    done: dict[str, int] = {}
    guard = threading.Lock()
    ends_s = time.monotonic() + 0.6

    def instance(share: Share) -> None:
        nonlocal running, most
        while time.monotonic() < ends_s:
            grant: Grant = budget.take(share, 1)
            with guard:
                running += 1
                most = max(most, running)
            time.sleep(0.01)
            with guard:
                running -= 1
                done[share.name] = done.get(share.name, 0) + 1
            budget.give_back(grant, ran=True)

    shares = {"many": budget.open("many"), "few": budget.open("few")}
    threads = [
        threading.Thread(target=instance, args=(shares[name],)) for name in ["many"] * 7 + ["few"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    for share in shares.values():
        budget.close(share)
    assert most <= 2  # one, and one beside it
    # Seven threads against one, and still about a half each.
    assert done["few"] > 0.6 * done["many"]
