"""The bucket across event loops, and what is left of one that was closed."""

import asyncio
import gc
import sys
from typing import Any

import pytest

from statuslookup import RateLimit, Slot, TokenBucket, WrongLoopError
from statuslookup._limiter import Pacing

from .turns import TWO_A_SECOND, enter, queue, run_what_is_ready
from .virtual_time import ManualClock


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
        with pytest.raises(WrongLoopError, match="another event loop; make one for each loop"):
            asyncio.run(enter())
        assert slot is not None
        other.run_until_complete(slot.__aexit__(None, None, None))
    finally:
        other.close()


def test_a_bucket_that_is_not_in_use_may_move_to_another_loop_and_keeps_its_pace() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)

    async def use_at_once() -> None:
        await (await enter(bucket)).__aexit__(None, None, None)

    async def use_after_half_a_second() -> None:
        [waiter] = await queue(bucket, 1)
        clock.advance(0.5)
        await (await waiter).__aexit__(None, None, None)

    asyncio.run(use_at_once())
    asyncio.run(use_after_half_a_second())


@pytest.mark.parametrize("pacing", ["answers", "grants"])
def test_a_bucket_is_not_lost_with_a_loop_that_was_closed_in_the_middle(
    pacing: Pacing,
) -> None:
    """What was under way there is over, also when it is garbage collected later."""
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing=pacing, clock=clock)
    left: list[asyncio.Task[Any]] = []

    async def hold() -> None:
        async with bucket.slot():
            await asyncio.Event().wait()

    async def leave_them() -> None:
        held = asyncio.create_task(hold())
        await run_what_is_ready()
        assert not held.done()
        left.extend([held, *await queue(bucket, 2)])

    async def go_on() -> None:
        waiters = await queue(bucket, 2)
        stats = bucket.stats()
        step = 0.5 if pacing == "answers" else 0.6
        assert stats.in_flight == 0
        assert stats.frozen_for == pytest.approx(step)
        clock.advance(step)
        await run_what_is_ready()
        assert [waiter.done() for waiter in waiters] == [True, False]
        clock.advance(0.2)
        left.clear()
        gc.collect()
        stats = bucket.stats()
        assert stats.frozen_for == pytest.approx(step - 0.2)
        assert (stats.in_flight, stats.waiting, clock.timers) == (1, 1, int(pacing == "grants"))
        await waiters[0].result().__aexit__(None, None, None)
        clock.advance(step)
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
        async with bucket.slot():
            pass
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
            await (await first).__aexit__(None, None, None)
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
        await (await enter(bucket)).__aexit__(None, None, None)
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
