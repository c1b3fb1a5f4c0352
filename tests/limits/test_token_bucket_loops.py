"""The bucket across event loops, and what is left of one that was closed."""

import asyncio
import gc
import random
import sys
from itertools import pairwise
from typing import Any

import pytest

from statuslookup import Pacing, RateLimit, Slot, TokenBucket, WrongLoopError
from tests.support.fakes import ticks
from tests.support.turns import FOUND, TWO_A_SECOND, enter, queue, too_many
from tests.support.virtual_time import ManualClock


def test_a_bucket_in_use_on_another_loop_says_so() -> None:
    bucket = TokenBucket(TWO_A_SECOND)

    async def enter() -> None:
        async with bucket.slot():
            pass

    other = asyncio.new_event_loop()
    slot = None

    async def hold() -> Any:
        nonlocal slot
        slot = bucket.slot()
        await slot.__aenter__()

    try:
        other.run_until_complete(hold())
        with pytest.raises(WrongLoopError, match="another event loop: send all requests"):
            asyncio.run(enter())
        assert slot is not None
        other.run_until_complete(slot.__aexit__(None, None, None))
    finally:
        other.close()


def test_a_bucket_that_is_not_in_use_may_move_to_another_loop_and_keeps_its_pace() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)

    async def use_at_once() -> None:
        (await enter(bucket)).done(FOUND)

    async def use_after_half_a_second() -> None:
        [waiter] = await queue(bucket, 1)
        clock.advance(0.5)
        (await waiter).done(FOUND)

    asyncio.run(use_at_once())
    asyncio.run(use_after_half_a_second())


def test_another_loop_earns_its_own_credit_for_it_opens_its_own_connections() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)

    async def use(times: int) -> float:
        for _ in range(times):
            clock.advance(bucket.stats().frozen_for)
            async with bucket.slot() as slot:
                clock.advance(0.2)
                slot.done(FOUND)
        return bucket.stats().frozen_for

    assert asyncio.run(use(30)) == pytest.approx(0.4)
    assert asyncio.run(use(1)) == pytest.approx(0.5)


def test_a_bucket_is_not_lost_with_a_loop_that_was_closed_in_the_middle() -> None:
    """What was under way there is over, also when it is garbage collected later."""
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing="spaced", clock=clock)
    left: list[asyncio.Task[Any]] = []

    async def hold() -> None:
        async with bucket.slot():
            await asyncio.Event().wait()

    async def leave_them() -> None:
        held = asyncio.create_task(hold())
        await ticks()
        assert not held.done()
        left.extend([held, *await queue(bucket, 2)])

    async def go_on() -> None:
        waiters = await queue(bucket, 2)
        stats = bucket.stats()
        assert stats.in_flight == 0
        # What was under way may have been counted until now.
        assert stats.frozen_for == pytest.approx(0.5)
        clock.advance(0.5)
        await ticks()
        assert [waiter.done() for waiter in waiters] == [True, False]
        clock.advance(0.2)
        left.clear()
        gc.collect()
        stats = bucket.stats()
        assert stats.frozen_for == pytest.approx(0.3)
        assert (stats.in_flight, stats.waiting, clock.timers) == (1, 1, 0)
        waiters[0].result().done(FOUND)
        clock.advance(0.5)
        await waiters[1]

    loop = asyncio.new_event_loop()
    # Tasks are destroyed while they are pending, which asyncio reports.
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(leave_them())
    loop.close()
    clock.advance(100)
    asyncio.run(go_on())


def test_nor_does_it_lose_a_turn_when_waiters_of_that_loop_are_garbage_collected_outside_any_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    bucket = TokenBucket(RateLimit(20))

    async def take_one_and_wait() -> list[asyncio.Task[Slot]]:
        async with bucket.slot() as slot:
            slot.done(FOUND)
        return await queue(bucket, 2)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    left = loop.run_until_complete(take_one_and_wait())
    loop.close()
    with asyncio.Runner() as runner:
        first, second = runner.run(take_one_and_wait())
        left.clear()
        gc.collect()

        async def take_both() -> None:
            (await first).done(FOUND)
            await second

        runner.run(asyncio.wait_for(take_both(), 10))


@pytest.mark.parametrize("turn_was_given", [False, True])
def test_waiters_of_a_closed_loop_that_are_garbage_collected_first_say_nothing(
    turn_was_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    left: list[asyncio.Task[Slot]] = []

    async def leave_them() -> None:
        (await enter(bucket)).done(FOUND)
        left.extend(await queue(bucket, 3))

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(leave_them())
    if turn_was_given:
        clock.advance(0.5)
    loop.close()
    while left:
        left.pop()
        gc.collect()
    assert reported == []

    async def go_on() -> None:
        async with bucket.slot():
            assert bucket.stats().in_flight == 1

    clock.advance(0.5)
    asyncio.run(go_on())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(30 if metafunc.config.getoption("chaos") > 20_000 else 6))


@pytest.mark.parametrize("pacing", ["spaced", "windowed"])
def test_a_bucket_serves_one_loop_after_another_however_each_ends(
    seed: int, pacing: Pacing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is cancelled or left behind at a random moment, no turn is lost and none comes too early."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    chance = random.Random(seed)
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing=pacing, clock=clock)
    granted: list[float] = []
    left: list[list[asyncio.Task[None]]] = []

    async def ask() -> None:
        async with bucket.slot() as slot:
            granted_at = clock.time()
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            slot.done(too_many(chance.uniform(0, 2)) if chance.random() < 0.1 else FOUND)
            granted.append(granted_at)

    async def live(*, to_the_end: bool) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(ask()) for _ in range(6)]
        cancelled = set(chance.sample(tasks, 2))
        for _ in range(10_000 if to_the_end else chance.randrange(40)):
            clock.advance(chance.choice([0.0, 0.1, 0.5, 0.6]))
            if cancelled and chance.random() < 0.1:
                cancelled.pop().cancel()
            if left and chance.random() < 0.1:
                left.pop(chance.randrange(len(left)))
                gc.collect(0)
            await asyncio.sleep(0)
            assert bucket.stats().in_flight <= (1 if pacing == "spaced" else 2)
            if all(task.done() for task in tasks):
                break
        return tasks

    for _ in range(15):
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        left.append(loop.run_until_complete(live(to_the_end=False)))
        loop.close()
    served = asyncio.run(live(to_the_end=True))
    assert all(task.done() for task in served)
    assert sum(not task.cancelled() for task in served) >= 4
    stats = bucket.stats()
    assert (stats.waiting, stats.in_flight, clock.timers) == (0, 0, 0)
    assert min(after - before for before, after in pairwise(sorted(granted))) >= 0.5 - 1e-9
