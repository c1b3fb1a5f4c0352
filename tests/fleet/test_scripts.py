"""What Redis does in one step: the conditions of taking the slot and of giving it back, on a real server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import ANNOUNCE, FOLLOW_UP, Taken, Wait
from tests.support.fleets import until
from tests.support.members import NO_PAUSE, SENT, SHORT_LEASE, TERMS, Fleet, identity
from tests.support.redis_servers import RedisServer
from tests.support.virtual_time import ManualClock


@pytest.fixture
def fleet(timed_fleet: Fleet) -> Fleet:
    return timed_fleet


@pytest.fixture
async def mortals(server: RedisServer) -> AsyncIterator[Fleet]:
    """Members whose leases end soon."""
    async with Fleet(server.url, lease=SHORT_LEASE, clock=ManualClock(1_700_000_000.0)) as fleet:
        yield fleet


async def taken(queue: SharedQueue, most: int = 200, **keys: list[str]) -> Taken:
    reply = await queue.take(TERMS, most, **keys)
    assert isinstance(reply, Taken), reply
    return reply


async def waits(queue: SharedQueue, most: int = 200, **keys: list[str]) -> Wait:
    reply = await queue.take(TERMS, most, **keys)
    assert isinstance(reply, Wait), reply
    return reply


async def soon(fleet: Fleet, queue: SharedQueue, most: int = 200, **keys: list[str]) -> Taken:
    """Ask until the slot is had, as long as it is only paced."""
    while isinstance(reply := await queue.take(TERMS, most, **keys), Wait):
        assert reply.why == "paced", reply
        fleet.pass_time(reply.seconds + 0.001)
    return reply


async def names_in(redis: Any) -> set[str]:
    return {name.decode() for name in await redis.keys("*")}


async def test_who_asks_first_has_the_slot_and_everybodys_keys(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    assert (await waits(one, ANNOUNCE, first=["1", "2"])).why == "ready"
    assert (await taken(two, first=["2", "3"])).keys == ["1", "2", "3"]
    reply = await waits(one)
    assert reply.why == "busy"
    assert 0 < reply.seconds <= two.lease + TERMS.interval


async def test_keys_come_in_the_order_in_which_they_were_asked_for_gets_before_bulk(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    await one.take(TERMS, ANNOUNCE, bulk=["b9", "b10"], first=["f9", "f10"])
    await two.take(TERMS, ANNOUNCE, first=["f1"], bulk=["b1"])
    assert (await taken(one)).keys == ["f9", "f10", "f1", "b9", "b10", "b1"]


async def test_no_more_than_asked_for_and_the_rest_next(fleet: Fleet) -> None:
    one = fleet.member()
    first = await taken(one, 2, first=["1", "2", "3"])
    assert first.keys == ["1", "2"]
    await one.done(first.fence, SENT, told=first.keys)
    assert (await soon(fleet, one, 2)).keys == ["3"]


async def test_a_get_brings_a_key_forward_and_bulk_brings_none_back(fleet: Fleet) -> None:
    one = fleet.member()
    await one.take(TERMS, ANNOUNCE, bulk=["1", "2"], first=["3"])
    await one.take(TERMS, ANNOUNCE, first=["2"], bulk=["3"])
    assert (await taken(one)).keys == ["3", "2", "1"]


async def test_a_key_that_was_told_and_is_asked_for_anew_in_one_call_is_asked(fleet: Fleet) -> None:
    one = fleet.member()
    await one.take(TERMS, ANNOUNCE, first=["1"])
    assert (await taken(one, gone=["1"], first=["1"])).keys == ["1"]


async def test_what_is_withdrawn_is_not_asked_and_nothing_waits(fleet: Fleet, redis: Redis) -> None:
    one = fleet.member()
    await one.take(TERMS, ANNOUNCE, first=["1"])
    reply = await waits(one, gone=["1"])
    assert reply.why == "idle"
    assert reply.seconds == pytest.approx(one.lease)
    assert await redis.zcard(identity().queue) == 0


async def test_the_next_goes_a_pause_after_the_answer(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, first=["1"])
    await one.done(had.fence, SENT, told=["1"])
    reply = await waits(two, first=["2"])
    assert reply.why == "paced"
    assert 0 < reply.seconds <= SENT.pause
    assert (await soon(fleet, two)).keys == ["2"]


async def test_nothing_sent_costs_nothing_and_its_keys_go_first(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, 1, first=["1", "2"])
    await one.done(had.fence, None, back=had.keys)
    assert (await taken(two, first=["0"])).keys == ["1", "2", "0"]


async def test_a_key_under_way_is_passed_over_and_told_to_all_who_wait_for_it(
    fleet: Fleet, redis: Redis
) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, first=["1"])
    await two.take(TERMS, ANNOUNCE, first=["1"])
    await one.done(had.fence, NO_PAUSE)
    fleet.pass_time(TERMS.period)
    assert (await waits(two)).why == "idle"
    await one.done(None, None, told=["1"])
    assert await redis.zcard(identity().queue) == 0


async def test_a_follow_up_has_the_slot_alone_and_its_keys_stay_taken(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, first=["1", "2"])
    await one.done(had.fence, SENT, told=["1"])
    follow_up = await soon(fleet, one, FOLLOW_UP, first=["3"])
    assert follow_up.keys == []
    await one.done(follow_up.fence, SENT, back=["2"])
    assert (await soon(fleet, two)).keys == ["2", "3"]


async def test_a_done_that_is_repeated_does_nothing_but_tell_again(fleet: Fleet, redis: Redis) -> None:
    one, two = fleet.member(), fleet.member()
    await two.listen()
    had = await taken(one, first=["1"])
    await one.done(had.fence, SENT, told=["1"], payload=b"1 is known")
    before = await redis.hgetall(identity().slot)
    await one.done(had.fence, SENT, told=["1"], payload=b"1 is known")
    assert await redis.hgetall(identity().slot) == before
    await until(lambda: fleet.heard[two.process].payloads == [b"1 is known"] * 2)
    assert fleet.heard[two.process].turns == [(False, one.process), (True, one.process)]


async def test_the_lease_of_the_dead_ends_and_their_batch_is_taken_first(mortals: Fleet) -> None:
    one, two = mortals.member(), mortals.member()
    await two.take(TERMS, ANNOUNCE, first=["0"], bulk=["2"])
    had = await taken(one, 2, first=["1"])
    assert had.keys == ["0", "1"]
    # From here on one says nothing, and two says that it lives.
    waited = 0.0
    for _ in range(20):
        reply = await two.take(TERMS, 200)
        if isinstance(reply, Taken):
            break
        seconds = min(reply.seconds, 0.1) + 0.001
        mortals.pass_time(seconds)
        waited += seconds
    assert isinstance(reply, Taken)
    assert waited == pytest.approx(one.lease + TERMS.interval, abs=0.05)
    # What only the dead wanted is dropped.
    assert reply.keys == ["0", "2"]
    assert two.is_late(reply.fence) is False


async def test_an_old_fence_frees_nothing_and_its_answer_is_told_all_the_same(mortals: Fleet) -> None:
    one, two = mortals.member(), mortals.member()
    had = await taken(one, first=["1"])
    mortals.pass_time(one.lease + TERMS.interval + 0.01)
    assert one.is_late(had.fence)
    after = await taken(two, first=["2"])
    await two.listen()
    await one.done(had.fence, SENT, told=["1"], payload=b"late")
    assert (await waits(one)).why == "busy"
    await until(lambda: mortals.heard[two.process].payloads == [b"late"])
    assert mortals.heard[two.process].turns == []
    await two.done(after.fence, SENT, told=["2"])


async def test_a_reply_that_was_lost_is_noticed_by_the_next_call(fleet: Fleet) -> None:
    one, two = fleet.member(), fleet.member()
    had = await taken(one, first=["1"])
    del one._held[had.fence]
    assert (await waits(one, ANNOUNCE)).why == "ready"
    assert (await taken(two, first=["2"])).keys == ["1", "2"]


async def test_a_redis_that_lost_writes_lets_everybody_pause(mortals: Fleet, redis: Redis) -> None:
    one, two = mortals.member(), mortals.member()
    had = await taken(one, first=["1"])
    await redis.flushall()
    reply = await waits(one, first=["1"])
    assert reply.why == "forgotten"
    assert reply.seconds == pytest.approx(one.lease + TERMS.interval, abs=0.01)
    assert one.is_late(had.fence)
    assert (await waits(two, first=["2"])).why == "paced"
    mortals.pass_time(reply.seconds)
    assert (await taken(two)).fence == had.fence + 1


async def test_an_old_answer_does_not_free_the_slot_of_a_newcomer_with_the_same_fence(
    fleet: Fleet, redis: Redis
) -> None:
    """A Redis that was restarted empty counts from one again, for those that know of nothing else."""
    old, new, other = fleet.member(), fleet.member(), fleet.member()
    had = await taken(old, first=["1"])
    await redis.flushall()
    after = await taken(new, first=["2"])
    assert after.fence == had.fence
    await old.done(had.fence, SENT, told=["1"])
    assert (await waits(other, first=["3"])).why == "busy"
    assert not new.is_late(after.fence)


async def test_everything_has_an_end(fleet: Fleet, redis: Redis) -> None:
    one = fleet.member()
    had = await taken(one, first=["1", "2"])
    await one.done(had.fence, SENT, told=["1"])
    names = await names_in(redis)
    assert names == {identity().slot, identity().alive, identity().queue}
    for name in names:
        assert 0 < await redis.pttl(name) <= 86_400_000


async def test_a_farewell_leaves_the_slot_alone(fleet: Fleet, redis: Redis) -> None:
    one, two = fleet.member(), fleet.member()
    await taken(one, first=["1", "2"])
    await one.leave(gone=["1", "2"])
    assert await names_in(redis) == {identity().slot}
    assert (await taken(two, first=["3"])).keys == ["3"]


async def test_accounts_share_the_slot_and_no_keys(fleet: Fleet) -> None:
    one, other = fleet.member("a"), fleet.member("b")
    had = await taken(one, first=["1"])
    assert (await waits(other, first=["2"])).why == "busy"
    await one.done(had.fence, SENT, told=["1"])
    assert (await soon(fleet, other)).keys == ["2"]
