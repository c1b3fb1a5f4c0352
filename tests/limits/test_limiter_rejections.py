"""The limiter after a 429: how long it is still, and how fast it goes on."""

import asyncio
import math

import pytest

from statuslookup import TokenBucket
from tests.support.turns import TWO_A_SECOND, enter, journal, now, queue, run_what_is_ready, take_turns
from tests.support.virtual_time import ManualClock

virtual_time = pytest.mark.virtual_time


@virtual_time
async def test_a_429_freezes_the_bucket_for_one_period_and_a_tenth() -> None:
    log = journal()
    await asyncio.gather(log.ask("a", rejected=None), log.ask("b"))
    assert log.granted["b"] == 1.1
    assert log.bucket.stats().rejections == 1


@virtual_time
@pytest.mark.parametrize(("asked", "expected"), [(7.0, 7.0), (3600.0, 60.0), (math.inf, 60.0), (0.0, 1.0)])
async def test_a_429_freezes_the_bucket_for_what_the_provider_asks_within_a_minute(
    asked: float, expected: float
) -> None:
    log = journal()
    await asyncio.gather(log.ask("a", rejected=asked), log.ask("b"))
    # The rate was halved as well, so a second is the least.
    assert log.granted["b"] == expected


@virtual_time
async def test_the_longest_freeze_can_be_chosen() -> None:
    log = journal(max_freeze=5.0)
    await asyncio.gather(log.ask("a", rejected=3600.0), log.ask("b"))
    assert log.granted["b"] == 5.0


@virtual_time
async def test_a_waiter_that_waits_already_is_frozen_too() -> None:
    log = journal(pacing="grants")
    await asyncio.gather(log.ask("a", takes=0.3, rejected=10.0), log.ask("b"))
    assert log.granted["b"] == 10.3


@virtual_time
async def test_each_429_halves_the_rate_down_to_a_sixty_fourth() -> None:
    log = journal()
    rates = []
    for name in "abcdefgh":
        await log.ask(name, rejected=None)
        rates.append(log.bucket.stats().rate)
    assert rates == [1.0, 0.5, 0.25, 0.125, 1 / 16, 1 / 32, 1 / 32, 1 / 32]


@virtual_time
async def test_429s_of_requests_granted_before_a_step_do_not_step_again() -> None:
    log = journal(pacing="grants")
    await asyncio.gather(
        *(log.ask(name, takes=5 + 0.1 * place, rejected=None) for place, name in enumerate("abcd"))
    )
    stats = log.bucket.stats()
    assert (stats.rejections, stats.rate) == (4, 1.0)
    await log.ask("e", rejected=None)
    assert log.bucket.stats().rate == 0.5


async def test_the_429_of_a_request_whose_turn_came_before_the_step_does_not_step_again() -> None:
    clock = ManualClock()
    bucket = TokenBucket(TWO_A_SECOND, pacing="grants", clock=clock)
    first = await enter(bucket)
    [waiter] = await queue(bucket, 1)
    clock.advance(0.6)
    first.rejected(0.0)
    await run_what_is_ready()
    waiter.result().rejected(0.0)
    assert bucket.stats().rate == 1.0
    assert bucket.stats().rejections == 2


@virtual_time
async def test_after_thirty_calm_seconds_the_rate_goes_up_one_rung_and_never_above_the_limit() -> None:
    log = journal()
    for name in "abc":
        await log.ask(name, rejected=None)
    rejected_at = now()
    rates: dict[float, float] = {}
    while now() - rejected_at < 200:
        async with log.bucket.slot():
            rates.setdefault(log.bucket.stats().rate, now() - rejected_at)
    assert list(rates) == [0.25, 0.5, 1.0, 2.0]
    for rung, rate in enumerate([0.5, 1.0, 2.0], 1):
        assert 30 * rung <= rates[rate] <= 30 * rung + 8


@virtual_time
async def test_a_429_starts_the_thirty_seconds_anew() -> None:
    log = journal()
    await log.ask("a", rejected=None)
    await asyncio.sleep(25)
    await log.ask("b", rejected=None)
    await asyncio.sleep(25)
    await log.ask("c")
    assert log.bucket.stats().rate == 0.5
    await asyncio.sleep(6)
    await log.ask("d")
    assert log.bucket.stats().rate == 1.0


@virtual_time
async def test_a_probe_that_fails_goes_back_one_rung_only() -> None:
    log = journal()
    await log.ask("a", rejected=None)
    await asyncio.sleep(31)
    await log.ask("b", rejected=None)
    assert log.bucket.stats().rate == 1.0


@virtual_time
async def test_a_turn_that_came_in_the_moment_of_a_429_is_put_off_and_stays_the_first() -> None:
    log = journal(pacing="grants")
    slot = await enter(log.bucket)
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_at(log.bucket._ready_at, answer.set_result, None)
    second, third = log.ask("second"), log.ask("third")
    await answer
    slot.rejected(5.0)
    await slot.__aexit__(None, None, None)
    await asyncio.gather(second, third)
    assert list(log.granted) == ["second", "third"]
    assert log.granted["second"] == pytest.approx(5.6)


@virtual_time
async def test_a_turn_that_came_in_the_moment_of_a_change_to_answers_waits_for_what_is_under_way() -> None:
    log = journal()
    await take_turns(log.bucket, 11, takes=0.9)
    assert "by grants" in repr(log.bucket)
    first, second = await enter(log.bucket), await enter(log.bucket)
    answer = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_at(log.bucket._ready_at, answer.set_result, None)
    third = log.ask("third")
    await answer
    first.rejected(0.0)
    assert "by answers" in repr(log.bucket)
    await asyncio.sleep(3)
    assert "third" not in log.granted
    await first.__aexit__(None, None, None)
    await second.__aexit__(None, None, None)
    await third
    assert log.bucket.stats().in_flight == 0
