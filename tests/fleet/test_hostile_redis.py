"""Redis holds what no process of ours wrote, or refuses what it allowed before: nothing is stuck for that."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup import DeliveryState, FleetError, SMSFire
from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.sandbox import Sandbox
from tests.support.fleets import Clients, until

WITHIN = 10.0
"""Far more than the lease and the interval that losing the slot costs."""

Attack = Callable[[Any, Any], Awaitable[None]]


def source_of(client: Any) -> Any:
    return client._engine._dispatcher._source


def slot_with(**fields: str) -> Attack:
    async def attack(redis: Any, queue: Any) -> None:
        await redis.hset(queue._identity.slot, mapping=fields)

    return attack


def said(text: str) -> Attack:
    async def attack(redis: Any, queue: Any) -> None:
        assert await redis.publish(queue._identity.turns, text)

    return attack


@pytest.mark.parametrize(
    "attack",
    [
        # The last ones before a double cannot count any more, and Lua's JSON has 14 digits.
        *(slot_with(fence=fence) for fence in ("9007199254740991", "100000000000001", "9999999999999.0")),
        *(said(f"taken {fence} 5 1 1") for fence in (2**53 - 1, 10**14 + 1, 10**13 - 1, 10**12 - 1)),
        said(f"free 3 5 {'9' * 80} {'9' * 80}"),
        slot_with(rung="1.5", calm="1000000.0"),
        # As if the clock had been set back by centuries, or by more than counts.
        *(slot_with(written=written) for written in ("9999999999999.0", "1e999", "-5", "9" * 30)),
        slot_with(ready="1e999", next="nan", calm="-5", rung="9" * 30, places="1 1 alone 9e99,x" * 1000),
    ],
)
async def test_a_slot_that_makes_no_sense_holds_nobody_up_for_long(
    attack: Attack, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    sandbox = Sandbox()
    for id in range(1, 9):
        sandbox.add_message(id)
    redis: Any
    with sandbox.serve() as url:
        async with Redis.from_url(redis_url) as redis, Clients(redis_url, url, timeout=WITHIN) as fleet:
            one, two = await fleet.several(2)
            await asyncio.gather(one.get(1), two.get(2))
            await attack(redis, source_of(one).queue)
            await asyncio.gather(one.get(3), two.get(4))
            # Nor does it come back.
            await asyncio.gather(one.get(5), two.get(6))
            assert source_of(one).queue.seen < 10**13
    assert caplog.records == []


async def test_keys_that_are_no_text_leave_the_queue_and_disturb_nobody(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    sandbox = Sandbox()
    for id in range(1, 5):
        sandbox.add_message(id)
    garbage = [
        b"\xff\xfe",
        b"",
        b"c:" + b"x" * 50_000,
        b"i:" + b"9" * 5000,
        b'"\\',
        b"\x00\x01",
        "\u2028é".encode(),
    ]
    redis: Any
    with sandbox.serve() as url:
        async with Redis.from_url(redis_url) as redis, Clients(redis_url, url, timeout=WITHIN) as fleet:
            client = await fleet.smsfire()
            await client.get(1)
            queue = source_of(client).queue
            name = queue._identity.queue
            await redis.zadd(name, {b"%013d:" % queue.process + member: 1 for member in garbage})
            assert (await client.get(2)) is not None
            async with asyncio.timeout(WITHIN):
                while await redis.zcard(name):  # noqa: ASYNC110 # there is nothing that could be waited for
                    await asyncio.sleep(0.01)
    assert caplog.records == []


async def test_a_provider_that_stumbles_over_a_foreign_key_keeps_no_slot(redis_url: str) -> None:
    class Strict(SMSFire):
        def key_from_text(self, text: str) -> Any:
            return {"k": super().key_from_text}[text[:1]](text[1:])

        def key_to_text(self, key: Any) -> str:
            return f"k{super().key_to_text(key)}"

    sandbox = Sandbox()
    sandbox.add_message(1)
    redis: Any
    with sandbox.serve() as url:
        async with Redis.from_url(redis_url) as redis, Clients(redis_url, url, timeout=WITHIN) as fleet:
            client = await fleet.of(Strict("sandbox", base_url=url))
            await client.get(1)
            queue = source_of(client).queue
            await redis.zadd(queue._identity.queue, {b"%013d:other" % queue.process: 1})
            assert (await client.get(1)) is not None


async def test_a_slot_is_given_back_although_redis_refused_a_call_meanwhile(redis_url: str) -> None:
    """Who forgets that it holds the slot, and lives on, would hold all others up for ever."""
    sandbox = Sandbox(latency=0.8)
    for id in range(1, 5):
        sandbox.add_message(id)
    with sandbox.serve() as url:
        async with Clients(redis_url, url, timeout=WITHIN) as fleet:
            one, two = await fleet.several(2)
            await one.get(1)
            source = source_of(one)
            lookup = asyncio.create_task(one.get(2))
            async with asyncio.timeout(WITHIN):
                while not one.stats().in_flight:  # noqa: ASYNC110 # there is nothing that could be waited for
                    await asyncio.sleep(0.005)
            take, is_over = source.queue.take, asyncio.Event()

            async def refused(*_: Any, **__: Any) -> Any:
                # Until the reply has come, and is to be told.
                async with asyncio.timeout(WITHIN):
                    while not source.worker._reports:  # noqa: ASYNC110 # as above
                        await asyncio.sleep(0.005)
                source.queue.take = take
                is_over.set()
                raise FleetError("Redis refused the user")

            source.queue.take = refused
            assert (await lookup) is not None
            await is_over.wait()
            await asyncio.sleep(0.01)
            # Its lease goes on with the next lookup.
            assert all(await asyncio.gather(one.get(3), two.get(4)))
            # The last answer comes a moment before Redis knows of it.
            await until(lambda: source.queue._held == {})


async def test_an_old_message_is_no_answer_for_a_process_that_has_just_come(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody kept what was said long ago, and says it to whoever does not know yet how far the fleet is."""
    sandbox = Sandbox(rate_limit=None)
    sandbox.add_message(1, state=DeliveryState.SENT)
    redis: Any
    with sandbox.serve() as url:
        async with Redis.from_url(redis_url) as redis, Clients(redis_url, url, rate_limit=None) as fleet:
            one, two = await fleet.several(2)
            await asyncio.gather(one.get(2), two.get(2))
            queue = source_of(one).queue
            pubsub = redis.pubsub()
            await pubsub.subscribe(queue._identity.outcomes)
            await asyncio.gather(one.get(1), two.get(3))
            kept = [each["data"] async for each in heard_by(pubsub)]
            assert kept
            # Many requests later.
            await redis.hset(queue._identity.slot, "fence", "5000")
            sandbox.change_state(1, DeliveryState.READ)
            newcomer = await fleet.smsfire()
            take = SharedQueue.take

            async def take_after_the_old(self: SharedQueue, *arguments: Any, **options: Any) -> Any:
                for each in kept:
                    await redis.publish(queue._identity.outcomes, each)
                await asyncio.sleep(0.1)
                return await take(self, *arguments, **options)

            monkeypatch.setattr(SharedQueue, "take", take_after_the_old)
            status = await newcomer.get(1)
            assert status is not None
            assert status.state is DeliveryState.READ


async def heard_by(pubsub: Any) -> AsyncIterator[dict[str, Any]]:
    while message := await pubsub.get_message(timeout=1.0):
        if message["type"] == "message":
            yield message
