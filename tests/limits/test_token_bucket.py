"""The bucket: whose turn it is, and that no turn is lost."""

import asyncio
from itertools import pairwise

import pytest

from statuslookup import RateLimit, TokenBucket
from tests.support.fakes import ticks
from tests.support.turns import FOUND, LOST, TWO_A_SECOND, enter, journal, queue, too_many
from tests.support.virtual_time import LoopClock, ManualClock, VirtualTimeLoop

virtual_time = pytest.mark.virtual_time


async def use(bucket: TokenBucket) -> None:
    async with bucket.slot() as slot:
        slot.done(FOUND)


# --- turns ----------------------------------------------------------------------------------------


@virtual_time
async def test_one_slot_at_a_time_first_come_first_served() -> None:
    log = journal()
    await asyncio.gather(*(log.ask(name) for name in "abcde"))
    assert list(log.granted.items()) == [("a", 0.0), ("b", 0.5), ("c", 1.0), ("d", 1.5), ("e", 2.0)]


@virtual_time
async def test_the_interval_counts_from_the_reply_and_not_from_leaving_the_slot() -> None:
    log = journal()
    async with log.bucket.slot() as slot:
        await asyncio.sleep(0.1)
        slot.done(FOUND)
        second = log.ask("second")
        await asyncio.sleep(3)
    await second
    assert log.granted["second"] == pytest.approx(0.6)


@virtual_time
async def test_windowed_slots_are_in_use_together_and_a_hung_one_keeps_nobody_else() -> None:
    log = journal(pacing="windowed")
    hanging = log.ask("a", takes=10.0, reply=LOST)
    await asyncio.gather(*(log.ask(name, takes=0.2) for name in "bcd"))
    assert list(log.granted.values()) == pytest.approx([0.0, 0.5, 1.7, 2.9])
    await hanging


@virtual_time
async def test_a_lookup_that_hangs_takes_one_place_after_three_intervals_and_not_all() -> None:
    log = journal()
    hanging = log.ask("a", takes=30.0, reply=LOST)
    await asyncio.gather(*(log.ask(name, takes=0.1) for name in "bcd"))
    assert list(log.granted.values()) == pytest.approx([0.0, 1.5, 2.6, 3.7])
    hanging.cancel()


@virtual_time
async def test_a_blocked_loop_does_not_catch_up() -> None:
    log = journal(pacing="windowed")
    tasks = [log.ask(name) for name in "abcd"]
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.jump(5.0)
    await asyncio.gather(*tasks)
    times = list(log.granted.values())
    assert times[1] == 5.2
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))


async def test_a_task_that_runs_late_is_granted_its_slot_when_it_runs() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing="windowed", clock=clock)
    await use(bucket)
    waiters = await queue(bucket, 2)
    clock.advance(0.5)
    # Something blocks the loop between the turn and the task whose turn it is.
    clock.advance(2.0)
    await ticks()
    assert [waiter.done() for waiter in waiters] == [True, False]
    assert bucket.stats().frozen_for == pytest.approx(0.5)
    clock.advance(0.5)
    await asyncio.gather(*waiters)


async def test_nobody_passes_a_waiter_whose_turn_has_come_but_who_did_not_run_yet() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    await use(bucket)
    [waiter] = await queue(bucket, 1)
    clock.advance(0.5)
    overtaker = enter(bucket)
    overtaker.send(None)
    assert bucket.stats().waiting == 2
    await ticks()
    assert waiter.done()
    overtaker.close()
    assert bucket.stats().waiting == 0


@virtual_time
async def test_nobody_passes_a_waiter_whose_timer_is_late() -> None:
    log = journal()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    await log.ask("a")
    waiter = log.ask("b")
    await asyncio.sleep(0.1)
    loop.jump(5.0)
    # This runs at once, before the loop looks at its timers.
    await log.ask_here("c")
    await waiter
    assert list(log.granted) == ["a", "b", "c"]


@virtual_time
async def test_a_turn_that_came_in_the_moment_of_a_429_is_put_off_and_stays_the_first() -> None:
    log = journal(pacing="windowed")
    slot = await enter(log.bucket)
    second, third = log.ask("second"), log.ask("third")
    # At that moment, before the turn of the second.
    asyncio.get_running_loop().call_later(0.5, slot.done, too_many(5.0))
    await asyncio.gather(second, third)
    assert list(log.granted.items()) == [("second", 5.5), ("third", 6.5)]


@virtual_time
async def test_a_waiter_that_was_woken_and_is_too_early_after_all_stays_the_first() -> None:
    log = journal(pacing="windowed")
    slot = await enter(log.bucket)
    second, third = log.ask("second"), log.ask("third")
    await asyncio.sleep(0)
    # The timer of the turn runs first, then this, and the task whose turn it was last of all.
    asyncio.get_running_loop().call_later(0.5, slot.done, too_many(5.0))
    await asyncio.gather(second, third)
    assert list(log.granted.items()) == [("second", 5.5), ("third", 6.5)]


# --- what is not sent -----------------------------------------------------------------------------


@virtual_time
async def test_a_slot_that_is_left_untold_costs_nothing() -> None:
    log = journal()
    tasks = [log.ask("a", takes=0.1, reply=None), log.ask("b"), log.ask("c")]
    with pytest.raises(LookupError):
        async with log.bucket.slot():
            raise LookupError
    await asyncio.gather(*tasks)
    assert log.granted == {"a": 0.0, "b": 0.1, "c": 0.6}
    assert log.bucket.stats().in_flight == 0


@virtual_time
async def test_a_waiter_cancelled_in_the_queue_costs_nothing() -> None:
    log = journal()
    first, second, third = (log.ask(name) for name in "abc")
    await asyncio.sleep(0.1)
    second.cancel()
    await asyncio.gather(first, third)
    assert log.granted == {"a": 0.0, "c": 0.5}


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    await use(bucket)
    waiters = await queue(bucket, 3)
    clock.advance(0.5)
    waiters[0].cancel()
    await ticks()
    assert [waiter.done() for waiter in waiters] == [True, True, False]
    assert waiters[0].cancelled()
    assert bucket.stats().in_flight == 1
    waiters[1].result().done(FOUND)
    # The interval was started once, by the one that was not cancelled.
    assert bucket.stats().frozen_for == pytest.approx(0.5)
    clock.advance(0.5)
    await waiters[2]


async def test_the_last_waiter_cancelled_in_the_moment_of_its_turn_leaves_the_slot_free() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    await use(bucket)
    [waiter] = await queue(bucket, 1)
    clock.advance(0.5)
    waiter.cancel()
    await ticks()
    stats = bucket.stats()
    assert (stats.waiting, stats.in_flight, stats.frozen_for, clock.timers) == (0, 0, 0.0, 0)
    await enter(bucket)


async def test_there_is_one_timer_while_somebody_waits_and_none_otherwise() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing="spaced", clock=clock)
    slot = await enter(bucket)
    waiters = await queue(bucket, 3)
    # Only a reply gives the next turn.
    assert clock.timers == 0
    slot.done(FOUND)
    assert (clock.timers, bucket.stats().waiting) == (1, 3)
    clock.advance(0.499)
    await ticks()
    assert (clock.timers, waiters[0].done()) == (1, False)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    assert (clock.timers, bucket.stats().waiting) == (0, 0)


# --- what a bucket says ---------------------------------------------------------------------------


@virtual_time
async def test_repr_and_stats_tell_what_goes_on() -> None:
    log = journal()
    bucket = log.bucket
    assert repr(bucket) == (
        "<TokenBucket 2 per 1 s, rate 2/s spaced, 0 waiting, 0 in flight, 0 rejections, next in 0.000 s>"
    )
    tasks = [log.ask("a", takes=0.25, reply=too_many(4.0)), log.ask("b"), log.ask("c")]
    await asyncio.sleep(0.1)
    stats = bucket.stats()
    assert (stats.rate, stats.waiting, stats.in_flight, stats.rejections) == (2.0, 2, 1, 0)
    assert stats.frozen_for == pytest.approx(0.4)
    await asyncio.sleep(0.2)
    assert repr(bucket) == (
        "<TokenBucket 2 per 1 s, rate 1/s spaced, 2 waiting, 0 in flight, 1 rejections, next in 3.950 s>"
    )
    assert bucket.stats().frozen_for == pytest.approx(3.95)
    await asyncio.gather(*tasks)
    assert "windowed, 0 waiting" in repr(TokenBucket(TWO_A_SECOND, pacing="windowed", clock=LoopClock()))


@virtual_time
async def test_another_limit_holds_from_the_next_request() -> None:
    log = journal()
    await log.ask("a")
    log.bucket.limit = RateLimit(4)
    assert log.bucket.limit == RateLimit(4)
    await log.ask("b")
    assert log.granted["b"] == 0.25
    with pytest.raises(TypeError, match="limit is a RateLimit, not float"):
        log.bucket.limit = 0.5  # type: ignore[assignment]  # that is what is tested


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match='write "auto" or "windowed"'):
        TokenBucket(TWO_A_SECOND, pacing="grants")  # type: ignore[arg-type]  # that is what is tested
