"""A process that is alone tells nobody what it learned, and one that comes meanwhile misses nothing."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from statuslookup import SMSFire
from statuslookup.fleet.slot import ANNOUNCE
from statuslookup.sandbox import Sandbox
from tests.support.fleets import Clients, until
from tests.support.members import LEASE, SENT, TERMS, Fleet, identity, taken


async def waiting(redis: Redis) -> int:
    return await redis.zcard(identity().queue)


async def test_who_is_alone_owes_nobody_a_message(fleet: Fleet, redis: Redis) -> None:
    one = fleet.member()
    had = await taken(one, "1")
    assert one.is_alone
    assert not await one.done(had.fence, SENT, told=["1"], payload=None)
    assert await waiting(redis) == 0


async def test_of_two_that_live_none_is_alone(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member("another account")
    await two.take(TERMS, ANNOUNCE, first=["2"])
    await taken(one, "1")
    assert not one.is_alone


async def test_who_comes_meanwhile_is_told_all_the_same(fleet: Fleet, redis: Redis) -> None:
    one, two = fleet.member(), fleet.member()
    await two.listen()
    had = await taken(one, "1")
    await two.take(TERMS, ANNOUNCE, first=["1"])
    for _ in range(2):
        # A reply that was lost is asked for once more.
        assert await one.done(had.fence, SENT, told=["1"], payload=None)
        # Whoever takes the slot now passes over what is about to be told.
        assert await waiting(redis) == 2
    assert not one.is_alone
    assert not await one.done(None, None, told=["1"], payload=b"1 is known")
    await until(lambda: fleet.heard[two.process].payloads == [b"1 is known"])
    assert await waiting(redis) == 0


async def test_where_nothing_was_told_nothing_is_owed(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, "1")
    await two.take(TERMS, ANNOUNCE)
    assert not await one.done(had.fence, None, back=["1"], payload=None)


async def test_whose_lease_ended_may_still_wait(timed_fleet: Fleet) -> None:
    one, two = timed_fleet.member(), timed_fleet.member()
    await two.take(TERMS, ANNOUNCE, first=["1"])
    had = await taken(one)
    while not one.is_alone:
        timed_fleet.pass_time(LEASE / 4)
        await one.take(TERMS, ANNOUNCE)
    assert await one.done(had.fence, SENT, told=["1"], payload=None)


async def test_a_redis_that_forgot_who_lives_is_no_proof_of_being_alone(fleet: Fleet, redis: Redis) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, "1")
    await redis.flushall()
    assert await one.done(had.fence, SENT, told=["1"], payload=None)
    await redis.flushall()
    await two.take(TERMS, ANNOUNCE)
    assert await one.done(had.fence, SENT, told=["1"], payload=None)


async def test_no_status_passes_through_redis_where_nobody_could_hear_it(redis_url: str) -> None:
    class Telling(SMSFire):
        told = 0

        def answer_to_json(self, answer: Any) -> Any:
            self.told += 1
            return super().answer_to_json(answer)

    sandbox = Sandbox(latency=0.05)
    sandbox.add_message(1)
    sandbox.add_message(2)
    with sandbox.serve() as url:
        async with Clients(redis_url, url) as fleet:
            provider = Telling("sandbox", base_url=url)
            one, two = await fleet.of(provider), await fleet.smsfire()
            assert await one.get(1) is not None
            assert provider.told == 0
            # So long that also on a busy machine the newcomer comes while the request is under way.
            sandbox._half_latency = 1.0
            mine = asyncio.create_task(one.get(2))
            await until(lambda: one.stats().in_flight == 1)
            # Of a key that is under way in another process, the newcomer hears what became of it.
            assert await two.get(2) == await mine is not None
            assert (sandbox.keys, provider.told, two.stats().told) == (2, 1, 1)
