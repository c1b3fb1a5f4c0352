"""From the first lookup to the end: nothing runs while nothing waits, and who leaves disturbs nobody."""

import asyncio
import gc
import threading
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from statuslookup import ClosedError, RateLimit, SMSFire, StatusClient
from statuslookup.fleet import RedisFleet
from statuslookup.sandbox import Sandbox
from tests.support.fakes import other_tasks, ticks
from tests.support.fleets import Clients, timed, until

Strict = tuple[Sandbox, str]
FAST = RateLimit(50)


async def members_of(redis_url: str) -> dict[str, int]:
    """Return how many members each key of Redis has, but for the slot itself."""
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        names: list[Any] = [name for name in await redis.keys("*") if not str(name).endswith("}")]
        return {str(name): await redis.zcard(name) for name in names}


@pytest.mark.every_loop
async def test_lookups_run_on_every_loop_and_leave_nothing_behind(
    redis_url: str, strict: Strict, no_noise: None
) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)
        found = await asyncio.gather(one.get(1), two.get(2), two.get_many([3, 4]))
        assert [getattr(status, "id", None) for status in found[:2]] == [1, 2]
        stream = [outcome.key async for outcome in two.stream([5, 6])]
        assert stream == [5, 6]
        assert sandbox.rejections == 0
    assert other_tasks() == set()
    assert await members_of(redis_url) == {}


async def test_while_nothing_waits_no_task_runs_and_no_subscription_is_open(
    redis_url: str, strict: Strict, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = strict
    async with Clients(redis_url, url) as fleet:
        client = await fleet.smsfire()
        source: Any = client._engine._source  # type: ignore[union-attr] # it is open
        source.queue._subscription._rest_after = 0.2
        assert other_tasks() == set()
        await client.get(1)
        await until(lambda: not other_tasks())
        redis: Any
        async with Redis.from_url(redis_url) as redis:
            async with asyncio.timeout(10):
                # Redis learns a moment later that the connection was closed.
                while await redis.execute_command("PUBSUB", "CHANNELS"):  # noqa: ASYNC110 # it is Redis's
                    await asyncio.sleep(0.005)
        assert await members_of(redis_url) == dict.fromkeys(await members_of(redis_url), 1)
        # It is woken by the next one.
        assert await client.get(2) is not None


async def test_a_client_that_closes_waits_for_its_request_for_others(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)
        # The last sender asks for the other's key, unless this machine has no time for it just then.
        for key in range(2, 20):
            await one.get(100 + key)
            before, sent = sandbox.requests, one.stats().requests
            lookup = asyncio.create_task(two.get(key))
            await until(lambda: sandbox.requests > before)  # noqa: B023 # it is called in this round
            if one.stats().requests > sent:
                break
            await lookup
        else:
            pytest.fail("the last sender never asked")
        await one.aclose()
        status = await lookup
        assert status is not None
        assert status.id == key
        assert sandbox.keys == sandbox.requests
        with pytest.raises(ClosedError):
            await one.get(3)


async def test_the_lookups_of_who_closes_end_and_leave_the_queue(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    # The turn after the first is 2 s away, so that also a busy machine closes before it.
    async with Clients(redis_url, url, rate_limit=RateLimit(1, per=2.0)) as fleet:
        one, two = await fleet.several(2)
        await one.get(1)
        lookups = [asyncio.create_task(two.get(key)) for key in range(10, 60)]
        await asyncio.sleep(0.48)
        await two.aclose()
        assert {type(each) for each in await asyncio.gather(*lookups, return_exceptions=True)} == {
            ClosedError
        }
        assert await one.get(2) is not None
        assert sandbox.keys <= 2


async def test_who_was_last_leaves_at_once_and_the_next_one_need_not_wait(
    redis_url: str, strict: Strict
) -> None:
    sandbox, url = strict
    # Otherwise the next one would have to wait until a lease is over.
    async with Clients(redis_url, url, lease=30.0) as fleet:
        one, two = await fleet.several(2)
        await one.get(1)
        assert await timed(one.aclose()) < 10.0
        assert await timed(two.get(2)) < 15.0
        assert sandbox.rejections == 0


async def test_a_client_that_never_looked_anything_up_closes(redis_url: str) -> None:
    async with StatusClient(SMSFire("t"), fleet=RedisFleet(redis_url)):
        pass
    assert await members_of(redis_url) == {}


async def test_closing_where_redis_is_gone_takes_no_longer_than_a_call(strict: Strict) -> None:
    _, url = strict
    fleet = RedisFleet("redis://127.0.0.1:1")
    client = StatusClient(SMSFire("sandbox", base_url=url), fleet=fleet, timeout=None)
    lookup = asyncio.create_task(client.get(1))
    await asyncio.sleep(0.3)
    assert await timed(client.aclose()) < 3.0
    with pytest.raises(ClosedError):
        await lookup
    assert other_tasks() == set()


async def test_a_request_that_is_cut_off_gives_its_keys_back(redis_url: str, strict: Strict) -> None:
    """Its callers go, one of another client still wants the key: that one's is asked right after."""
    sandbox, url = strict
    sandbox.rate_limit = FAST
    async with Clients(redis_url, url, rate_limit=FAST) as fleet:
        one, two = await fleet.several(2)
        await asyncio.gather(one.get(1), two.get(1))
        sandbox.reset_counts()
        lookup = asyncio.create_task(one.get(2))
        await until(lambda: sandbox.requests > 0)
        same = asyncio.create_task(two.get(2))
        lookup.cancel()
        # Long before the client's own deadline.
        status = await asyncio.wait_for(same, 10)
        assert status is not None
        assert status.id == 2


async def test_loops_in_threads_are_members_like_processes(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    found: list[Any] = []

    async def look_up(first: int) -> None:
        async with Clients(redis_url, url) as fleet:
            client = await fleet.smsfire()
            found.extend((await client.get_many(range(first, first + 20))).values())

    threads = [threading.Thread(target=asyncio.run, args=(look_up(1 + 20 * n),)) for n in range(3)]
    for thread in threads:
        thread.start()
    await until(lambda: not any(thread.is_alive() for thread in threads), within=60)
    assert sorted(status.id for status in found) == list(range(1, 61))
    assert sandbox.rejections == 0


async def test_a_client_that_is_forgotten_is_collected(redis_url: str, strict: Strict) -> None:
    _, url = strict
    client = StatusClient(SMSFire("sandbox", base_url=url), fleet=RedisFleet(redis_url))
    await client.get(1)
    await client.aclose()
    source: Any = client._engine._source  # type: ignore[union-attr] # it was open
    assert source.worker._task is None
    del client, source
    gc.collect()
    assert other_tasks() == set()


async def test_what_waits_ends_when_the_task_that_talks_to_redis_is_cancelled_from_outside(
    redis_url: str, strict: Strict
) -> None:
    """As by a program that cancels every task: nobody else would go on, up to the deadline."""
    async with Clients(redis_url, strict[1], timeout=None) as fleet:
        one, two = await fleet.several(2)
        await one.get(1)
        lookup = asyncio.create_task(two.get(2))
        await asyncio.sleep(0)
        worker: Any = cast("Any", two._engine)._dispatcher._source.worker
        await until(lambda: worker._task is not None and worker._waiting)
        worker._task.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(ClosedError, match="was cut off"):
                await lookup
        # The next one finds everything as it was.
        assert (await two.get(3)) is not None


async def test_who_was_overtaken_and_has_nothing_to_ask_asks_for_nothing(
    redis_url: str, strict: Strict
) -> None:
    async with Clients(redis_url, strict[1]) as fleet:
        one = await fleet.smsfire()
        await one.get(1)
        engine: Any = one._engine
        source, dispatcher = engine._source, engine._dispatcher
        # The last sender asks for the slot, because others may have keys.
        await until(lambda: dispatcher.asked_at is not None)
        assert source.wants_turn
        source.queue._hear_turn(b"taken 2 12345 500 500")
        # At once, and not when the slot has been asked for.
        await ticks(20)
        assert dispatcher.asked_at is None
        assert not source.wants_turn
