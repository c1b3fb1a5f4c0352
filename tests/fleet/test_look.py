"""What can be seen of the fleets of a Redis from outside."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup import FleetError
from statuslookup.fleet.link import Link
from statuslookup.fleet.look import LivingProcess, WaitingKeys, look_at
from statuslookup.fleet.shared_queue import ANNOUNCE, Taken
from tests.support.members import LEASE, SENT, TERMS, Fleet, identity, whole_database
from tests.support.redis_servers import RedisServer


async def test_who_lives_who_holds_the_slot_and_what_waits(server: RedisServer) -> None:
    link = Link(server.url)
    async with Fleet(server.url) as fleet:
        one, two, other = (fleet.member(account, process=n) for n, account in enumerate("aab", 1))
        await two.take(TERMS, ANNOUNCE, first=["1", "2"], bulk=["3", "4", "5"])
        await other.take(TERMS, ANNOUNCE, bulk=["6"])
        had = await one.take(TERMS, 1)
        assert isinstance(had, Taken)
        before = await whole_database(server.url)
        (state,) = await look_at(link)
        assert await whole_database(server.url) == before
        assert state.slot == identity().slot
        assert [(each.process, each.holds) for each in state.processes] == [(2, 0), (3, 0), (1, 1)]
        assert all(0 < each.lives_for <= LEASE for each in state.processes)
        assert isinstance(state.processes[0], LivingProcess)
        (since,) = state.requests
        assert 0 <= since < 5
        assert (state.granted, state.rung) == (1, 0)
        assert set(state.accounts) == {
            WaitingKeys(identity().queue, 1, 3, 1),
            WaitingKeys(identity("b").queue, 0, 1, 0),
        }
        await one.done(had.fence, SENT, told=had.keys)
        (state,) = await look_at(link)
        assert state.requests == ()
        assert 0 <= state.ready_in <= TERMS.interval
    await link.aclose()


async def test_where_there_is_no_fleet_nothing_is_seen(server: RedisServer) -> None:
    link = Link(server.url)
    async with Redis.from_url(server.url) as redis:
        await redis.set("statuslookup:{else}", 1)
        await redis.set("else", 1)
        assert await look_at(link) == []
        await redis.set(identity().slot, "not ours")
        with pytest.raises(FleetError, match="something else under statuslookup:"):
            await look_at(link)
        await redis.delete(identity().slot)
        garbage: dict[Any, float] = {"garbage": 1e300, b"\xff": 1.0}
        await redis.zadd(identity().alive, garbage)
        (state,) = await look_at(link)
        assert state.processes == ()
    await link.aclose()


async def test_a_redis_that_is_away_is_told(new_server: Callable[..., RedisServer]) -> None:
    link = Link(new_server().url)
    with pytest.raises(FleetError, match="cannot be reached"):
        await look_at(link)
    await link.aclose()
