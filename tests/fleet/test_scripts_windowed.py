"""Several requests under way: each has a place, and one that has to go alone gets its turn among them."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import LeftPace, Sent, Taken, Terms, Wait
from tests.support.members import NO_PACE, Heard, identity
from tests.support.redis_servers import RedisServer
from tests.support.timed_scripts import TimedLink
from tests.support.virtual_time import ManualClock

LEASE = 2.0
BESIDE = Terms(interval=0.5, period=1.0, places=2, is_alone=False)
ALONE = Terms(interval=0.5, period=1.0, places=2)
SENT = Sent(pause=0.5, period=1.0, pace=NO_PACE)


class Members:
    """Two members at a time that a test says."""

    def __init__(self, redis: Redis) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        link = TimedLink(redis, self.clock)
        self.one, self.two = (
            SharedQueue(link, identity(), Heard(), lease=LEASE, process=number) for number in (1, 2)
        )
        self.keys = 0

    async def taken(self, member: SharedQueue, terms: Terms) -> Taken:
        self.keys += 1
        reply = await member.take(terms, 1, first=[f"{self.keys}"])
        assert isinstance(reply, Taken), reply
        return reply

    async def waits(self, member: SharedQueue, terms: Terms) -> tuple[str, float]:
        reply = await member.take(terms, 1, first=["waits"])
        assert isinstance(reply, Wait), reply
        return reply.why, round(reply.seconds, 3)


@pytest.fixture
async def members(server: RedisServer) -> AsyncIterator[Members]:
    async with Redis.from_url(server.url, protocol=2) as redis:
        yield Members(redis)


async def test_requests_go_an_interval_apart_and_only_into_free_places(members: Members) -> None:
    one, two, clock = members.one, members.two, members.clock
    first = await members.taken(one, BESIDE)
    assert await members.waits(two, BESIDE) == ("paced", 0.5)
    clock.stop(0.5)
    await members.taken(two, BESIDE)
    clock.stop(0.5)
    # Both places are held. At the latest, both are free a period after their leases have ended.
    why, _ = await members.waits(one, BESIDE)
    assert why == "busy"
    await one.done(first.fence, SENT, told=first.keys)
    assert await members.waits(one, BESIDE) == ("busy", 1.0)
    clock.stop(1.0)
    await members.taken(one, BESIDE)


async def test_one_that_goes_alone_gets_its_turn_among_those_that_do_not(members: Members) -> None:
    one, two, clock = members.one, members.two, members.clock
    held = [await members.taken(one, BESIDE)]
    for _ in range(20):
        # There is always one under way, unless it makes room for who waits.
        clock.stop(0.5)
        reply = await two.take(ALONE, 1, first=["alone"])
        if isinstance(reply, Taken):
            break
        more = await one.take(BESIDE, 1, first=[f"more {clock.time()}"])
        if isinstance(more, Taken):
            held.append(more)
        if held:
            done = held.pop(0)
            await one.done(done.fence, SENT, told=done.keys)
    else:
        raise AssertionError("it never got its turn")
    # The place of the last reply and that of the request that goes alone are both held.
    assert await members.waits(one, BESIDE) == ("busy", 0.5)
    # Who waits has gone, so the others may go on beside it.
    clock.stop(1.0)
    await members.taken(one, BESIDE)


async def test_one_that_gave_up_waiting_holds_nobody_back_for_long(members: Members) -> None:
    one, two, clock = members.one, members.two, members.clock
    first = await members.taken(one, BESIDE)
    clock.stop(0.5)
    assert (await members.waits(two, ALONE))[0] == "busy"
    await one.done(first.fence, SENT, told=first.keys)
    assert await members.waits(one, BESIDE) == ("busy", LEASE)
    clock.stop(LEASE)
    await members.taken(one, BESIDE)


async def test_the_place_of_the_dead_is_free_a_period_after_their_lease(members: Members) -> None:
    one, two, clock = members.one, members.two, members.clock
    terms = Terms(interval=1.0, period=1.0, places=1, is_alone=False)
    await members.taken(one, terms)
    clock.stop(LEASE - 0.5)
    assert await members.waits(two, terms) == ("busy", 0.5 + 1.0)
    clock.stop(1.0)
    assert await members.waits(two, terms) == ("paced", 0.5)
    clock.stop(0.5)
    await members.taken(two, terms)


async def test_a_place_in_which_nothing_was_sent_is_free_at_once(members: Members) -> None:
    one, two = members.one, members.two
    first = await members.taken(one, BESIDE)
    await one.done(first.fence, None, back=first.keys)
    again = await two.take(BESIDE, 1)
    assert isinstance(again, Taken)
    assert again.keys == first.keys


async def test_where_redis_forgot_who_sends_the_next_waits_until_nothing_of_it_counts(
    server: RedisServer, members: Members
) -> None:
    one, two, clock = members.one, members.two, members.clock
    first = await members.taken(one, BESIDE)
    two._seen = first.fence
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
    # Its holder may send until the end of a lease that nobody knows of any more; that counts for a period.
    assert await members.waits(two, BESIDE) == ("forgotten", LEASE + BESIDE.period)
    clock.stop(LEASE + BESIDE.period - 0.001)
    assert await members.waits(two, BESIDE) == ("busy", 0.001)
    clock.stop(0.002)
    await members.taken(two, BESIDE)


async def test_an_answer_that_comes_late_takes_back_no_later_pace(members: Members) -> None:
    one, two, clock = members.one, members.two, members.clock
    first = await members.taken(one, BESIDE)
    clock.stop(0.5)
    second = await members.taken(two, BESIDE)
    slowed, before = LeftPace(1, 0.0), LeftPace(0, 100.0)
    await one.done(first.fence, Sent(pause=0.5, period=1.0, pace=slowed), told=first.keys)
    await two.done(second.fence, Sent(pause=0.5, period=1.0, pace=before), told=second.keys)
    reply = await one.take(BESIDE, 0)
    assert isinstance(reply, Wait)
    assert reply.pace == slowed
