"""Redis's clock is set: nobody waits for long, and nothing goes too early if it is set back."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import LeftPace, Sent, Taken, Terms, Wait
from tests.support.members import NO_PACE, Heard, identity
from tests.support.redis_servers import RedisServer
from tests.support.timed_scripts import TimedLink
from tests.support.virtual_time import ManualClock

LEASE, INTERVAL, PERIOD = 2.0, 0.5, 1.0
ALONE = Terms(interval=INTERVAL, period=PERIOD, places=2)
BESIDE = Terms(interval=INTERVAL, period=PERIOD, places=2, is_alone=False)
SENT = Sent(pause=INTERVAL, period=PERIOD, pace=NO_PACE)


@pytest.fixture
async def link(server: RedisServer) -> AsyncIterator[TimedLink]:
    async with Redis.from_url(server.url, protocol=2) as redis:
        link = TimedLink(redis, ManualClock(1_700_000_000.0))
        yield link
        await link.aclose()


def member(link: TimedLink, process: int) -> SharedQueue:
    return SharedQueue(link, identity(), Heard(), lease=LEASE, process=process)


async def waited(link: TimedLink, queue: SharedQueue, terms: Terms, key: str) -> float:
    """Return how long the slot had to be waited for by one who asks as often as Redis says."""
    seconds = 0.0
    for _ in range(10):
        reply = await queue.take(terms, 200, first=[key])
        if isinstance(reply, Taken):
            return seconds
        seconds += reply.seconds + 0.001
        link.clock.stop(reply.seconds + 0.001)
    raise AssertionError(f"the slot was never free: {reply}")


@pytest.mark.parametrize("terms", [ALONE, BESIDE])
@pytest.mark.parametrize("jump", [0.3, 5.0, 60.0, 119.0, 1000.0])
async def test_after_it_is_set_back_nothing_waits_longer_or_goes_earlier(
    link: TimedLink, jump: float, terms: Terms
) -> None:
    one, two = member(link, 1), member(link, 2)
    for key in ("1", "2"):
        await waited(link, one, terms, key)
        await one.done(next(iter(one._held)), SENT, told=[key])
    link.clock.stop(-jump)
    assert INTERVAL - 0.01 <= await waited(link, two, terms, "3") <= PERIOD + INTERVAL


async def test_a_pace_goes_on_where_it_was(link: TimedLink) -> None:
    one, two = member(link, 1), member(link, 2)
    await waited(link, one, ALONE, "1")
    await one.done(next(iter(one._held)), Sent(pause=0.0, period=0.0, pace=LeftPace(2, 0.0)), told=["1"])
    link.clock.stop(10.0)
    await waited(link, one, ALONE, "2")
    link.clock.stop(-60.0)
    reply = await two.take(ALONE, 200, first=["3"])
    assert isinstance(reply, Wait)
    assert reply.pace.rung == 2
    assert reply.pace.calm == pytest.approx(10.0, abs=INTERVAL)


async def test_whose_request_is_under_way_meanwhile_keeps_the_slot(link: TimedLink) -> None:
    one, two = member(link, 1), member(link, 2)
    await waited(link, one, ALONE, "1")
    link.clock.stop(-60.0)
    reply = await two.take(ALONE, 200, first=["2"])
    assert isinstance(reply, Wait)
    assert reply.why == "busy"
    await one.done(next(iter(one._held)), SENT, told=["1"])
    assert INTERVAL - 0.01 <= await waited(link, two, ALONE, "2") <= 2 * INTERVAL


async def test_after_it_is_set_forward_one_request_goes_early_and_no_other(link: TimedLink) -> None:
    one, two = member(link, 1), member(link, 2)
    await waited(link, one, ALONE, "1")
    had = next(iter(one._held))
    link.clock.stop(1000.0)
    assert await waited(link, two, ALONE, "2") == 0
    # Whose lease ended says anew what it waits for, and waits its turn.
    assert isinstance(await one.take(ALONE, 200, first=["3"]), Wait)
    assert one.was_away
    await one.done(had, SENT, told=["1"])
    await two.done(next(iter(two._held)), SENT, told=["2"])
    assert INTERVAL - 0.01 <= await waited(link, one, ALONE, "3") <= PERIOD + INTERVAL
