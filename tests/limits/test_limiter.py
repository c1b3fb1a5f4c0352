"""The limiters: whose turn it is, when, and what a 429 does."""

import asyncio
import math
from itertools import pairwise
from typing import Any

import pytest

from statuslookup import RateLimit, TokenBucket
from statuslookup._limits.token_bucket import Limiter, Pacing
from statuslookup._limits.unlimited import Unlimited
from tests.support.turns import TWO_A_SECOND, enter, journal, now, queue, run_what_is_ready, take_turns
from tests.support.virtual_time import LoopClock, ManualClock, VirtualTimeLoop

virtual_time = pytest.mark.virtual_time


# --- turns ----------------------------------------------------------------------------------------


@virtual_time
async def test_one_slot_at_a_time_first_come_first_served() -> None:
    log = journal()
    await asyncio.gather(*(log.ask(name) for name in "abcde"))
    assert list(log.granted.items()) == [("a", 0.0), ("b", 0.5), ("c", 1.0), ("d", 1.5), ("e", 2.0)]


@virtual_time
async def test_the_next_slot_is_not_granted_before_the_answer() -> None:
    log = journal()
    await asyncio.gather(log.ask("a", takes=3), log.ask("b"))
    assert log.granted["b"] >= 3.0


@virtual_time
async def test_nothing_is_saved_up_while_idle() -> None:
    log = journal()
    await log.ask("a")
    await asyncio.sleep(60)
    await asyncio.gather(*(log.ask(name) for name in "bcd"))
    assert [log.granted[name] for name in "bcd"] == [60.0, 60.5, 61.0]


@virtual_time
@pytest.mark.parametrize("pacing", ["answers", "grants"])
async def test_a_blocked_loop_does_not_catch_up(pacing: Pacing) -> None:
    log = journal(pacing=pacing)
    tasks = [log.ask(name) for name in "abcd"]
    await asyncio.sleep(0.2)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.jump(5.0)
    await asyncio.gather(*tasks)
    times = list(log.granted.values())
    assert times[1] == 5.2
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(times))


async def test_a_task_that_runs_late_starts_the_interval_when_it_runs() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing="grants", clock=clock)
    await (await enter(bucket)).__aexit__(None, None, None)
    waiters = await queue(bucket, 2)
    clock.advance(0.6)
    # Something blocks the loop between the turn and the task whose turn it is.
    clock.advance(2.0)
    await run_what_is_ready()
    assert [waiter.done() for waiter in waiters] == [True, False]
    assert bucket.stats().frozen_for == pytest.approx(0.6)
    clock.advance(0.6)
    await asyncio.gather(*waiters)


async def test_nobody_passes_a_waiter_whose_turn_has_come_but_who_did_not_run_yet() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    await (await enter(bucket)).__aexit__(None, None, None)
    [waiter] = await queue(bucket, 1)
    clock.advance(0.5)
    overtaker = enter(bucket)
    overtaker.send(None)
    assert bucket.stats().waiting == 2
    await run_what_is_ready()
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
async def test_the_interval_counts_from_the_answer() -> None:
    log = journal()
    await asyncio.gather(log.ask("a", takes=0.1), log.ask("b"))
    assert log.granted["b"] == pytest.approx(0.6)


@virtual_time
async def test_after_twenty_samples_half_the_smallest_round_trip_is_credited() -> None:
    log = journal()
    await take_turns(log.bucket, 1, takes=0.02)
    await log.ask("quick", takes=0.04)
    await take_turns(log.bucket, 19, takes=0.2)
    answered_at = now()
    await log.ask("next", takes=0.2)
    assert log.granted["next"] + 1000.0 - answered_at == pytest.approx(0.5 - 0.02)


@virtual_time
@pytest.mark.parametrize(("samples", "credit"), [(4, 0.0), (5, 0.025), (10, 0.05), (19, 0.095), (25, 0.1)])
async def test_each_of_the_first_twenty_samples_earns_a_part_of_the_credit(
    samples: int, credit: float
) -> None:
    log = journal()
    await take_turns(log.bucket, 1 + samples, takes=0.2)
    answered_at = now()
    await log.ask("next")
    assert log.granted["next"] + 1000.0 - answered_at == pytest.approx(0.5 - credit)


@virtual_time
async def test_a_quicker_answer_makes_the_credit_smaller_at_once() -> None:
    log = journal()
    await take_turns(log.bucket, 30, takes=0.2)
    await log.ask("quick", takes=0.01)
    answered_at = now()
    await log.ask("next")
    assert log.granted["next"] + 1000.0 - answered_at == pytest.approx(0.5 - 0.005)


@virtual_time
async def test_lookups_far_apart_earn_no_credit_for_each_opens_a_connection() -> None:
    log = journal()
    for _ in range(30):
        await take_turns(log.bucket, 1, takes=0.8)
        await asyncio.sleep(10)
    await take_turns(log.bucket, 1, takes=0.8)
    answered_at = now()
    await log.ask("next")
    assert log.granted["next"] + 1000.0 - answered_at == pytest.approx(0.5)


@virtual_time
async def test_a_break_forgets_the_credit() -> None:
    log = journal()
    await take_turns(log.bucket, 30, takes=0.2)
    await asyncio.sleep(3.1)
    await take_turns(log.bucket, 1, takes=0.2)
    answered_at = now()
    await log.ask("next")
    assert log.granted["next"] + 1000.0 - answered_at == pytest.approx(0.5)


@virtual_time
async def test_a_request_that_fails_keeps_its_slot_until_then_plus_one_interval() -> None:
    log = journal()
    await take_turns(log.bucket, 20, takes=0.2)
    await asyncio.gather(
        log.ask("a", takes=7, error=ConnectionError("timed out")),
        log.ask("b"),
    )
    assert log.granted["b"] - log.granted["a"] == pytest.approx(7.5)


@virtual_time
async def test_a_request_that_is_cancelled_keeps_its_slot_until_then_plus_one_interval() -> None:
    log = journal()
    first, second = log.ask("a", takes=7), log.ask("b")
    await asyncio.sleep(3)
    first.cancel()
    await second
    assert log.granted["b"] == 3.5
    assert log.bucket.stats().in_flight == 0


# --- cancellation ---------------------------------------------------------------------------------


@virtual_time
async def test_a_waiter_cancelled_in_the_queue_costs_nothing() -> None:
    log = journal()
    first, second, third = (log.ask(name) for name in "abc")
    await asyncio.sleep(0.1)
    second.cancel()
    await asyncio.gather(first, third)
    assert log.granted == {"a": 0.0, "c": 0.5}


@pytest.mark.parametrize(("pacing", "step"), [("answers", 0.5), ("grants", 0.6)])
async def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on(pacing: Pacing, step: float) -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing=pacing, clock=clock)
    await (await enter(bucket)).__aexit__(None, None, None)
    waiters = await queue(bucket, 3)
    clock.advance(step)
    waiters[0].cancel()
    await run_what_is_ready()
    assert [waiter.done() for waiter in waiters] == [True, True, False]
    assert waiters[0].cancelled()
    # The interval was started once, by the one that was not cancelled.
    assert bucket.stats().frozen_for == pytest.approx(step)
    assert bucket.stats().in_flight == 1
    await waiters[1].result().__aexit__(None, None, None)
    clock.advance(step)
    await waiters[2]


async def test_the_last_waiter_cancelled_in_the_moment_of_its_turn_leaves_the_slot_free() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    await (await enter(bucket)).__aexit__(None, None, None)
    [waiter] = await queue(bucket, 1)
    clock.advance(0.5)
    waiter.cancel()
    await run_what_is_ready()
    stats = bucket.stats()
    assert (stats.waiting, stats.in_flight, stats.frozen_for, clock.timers) == (0, 0, 0.0, 0)
    await enter(bucket)


async def test_the_last_waiter_cancelled_leaves_no_timer() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    async with bucket.slot():
        pass
    waiters = [asyncio.create_task(enter(bucket)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (clock.timers, bucket.stats().waiting) == (1, 3)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    assert (clock.timers, bucket.stats().waiting) == (0, 0)


async def test_a_lone_waiter_never_has_more_than_one_timer() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, clock=clock)
    async with bucket.slot():
        assert clock.timers == 0
    waiter = asyncio.create_task(enter(bucket))
    await asyncio.sleep(0)
    clock.advance(0.499)
    await asyncio.sleep(0)
    assert not waiter.done()
    clock.advance(0.001)
    await waiter
    assert clock.timers == 0
    await waiter.result().__aexit__(None, None, None)


# --- what a bucket says ---------------------------------------------------------------------------


@virtual_time
async def test_repr_and_stats_tell_what_goes_on() -> None:
    log = journal()
    bucket = log.bucket
    assert repr(bucket) == (
        "<TokenBucket 2 per 1 s, rate 2/s by answers, 0 waiting, 0 in flight, 0 rejections, next in 0.000 s>"
    )
    tasks = [log.ask("a", takes=0.25, rejected=4.0), log.ask("b"), log.ask("c")]
    await asyncio.sleep(0.1)
    stats = bucket.stats()
    assert (stats.rate, stats.waiting, stats.in_flight, stats.rejections) == (2.0, 2, 1, 0)
    await asyncio.sleep(0.2)
    assert repr(bucket) == (
        "<TokenBucket 2 per 1 s, rate 1/s by answers, 2 waiting, 0 in flight, 1 rejections, next in 3.950 s>"
    )
    assert bucket.stats().frozen_for == pytest.approx(3.95)
    await asyncio.gather(*tasks)


@virtual_time
async def test_a_bucket_and_no_limit_are_limiters() -> None:
    limiters: list[Limiter] = [TokenBucket(TWO_A_SECOND, clock=LoopClock()), Unlimited()]
    for limiter in limiters:
        async with limiter.slot() as slot:
            assert "1 in flight" in repr(limiter)
            slot.rejected()
        assert "0 in flight" in repr(limiter)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"limit": 2}, TypeError, "limit is a RateLimit, not int"),
        ({"pacing": "fast"}, ValueError, 'pacing must be "auto", "answers" or "grants", not \'fast\''),
        ({"max_freeze": 0}, ValueError, "max_freeze must be above 0 and finite, not 0"),
        ({"max_freeze": math.inf}, ValueError, "max_freeze must be above 0 and finite, not inf"),
        ({"max_freeze": math.nan}, ValueError, "max_freeze must be above 0 and finite, not nan"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        TokenBucket(**{"limit": TWO_A_SECOND, **arguments})


@virtual_time
async def test_another_limit_counts_from_the_next_request_and_keeps_the_rung() -> None:
    log = journal()
    await log.ask("a", rejected=None)
    log.bucket.limit = RateLimit(4, per=1.0)
    assert log.bucket.stats().rate == 2.0
    await asyncio.gather(log.ask("b"), log.ask("c"))
    assert log.granted["c"] - log.granted["b"] == 0.5
    with pytest.raises(TypeError, match="limit is a RateLimit, not float"):
        log.bucket.limit = 0.5  # type: ignore[assignment]  # that is what is tested


# --- no limit -------------------------------------------------------------------------------------


@virtual_time
async def test_no_limit_lets_requests_go_at_once_and_eight_at_a_time() -> None:
    limiter = Unlimited()
    started_at = now()
    entered: list[float] = []

    async def ask() -> None:
        async with limiter.slot():
            entered.append(now() - started_at)
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(ask()) for _ in range(20)]
    await asyncio.sleep(0.5)
    assert repr(limiter) == "<Unlimited 12 waiting, 8 in flight>"
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert entered == [0.0] * 8 + [1.0] * 8 + [2.0] * 3
    assert repr(limiter) == "<Unlimited 0 waiting, 0 in flight>"
