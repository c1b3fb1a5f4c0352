"""What may stand in Redis: keys that wait, and nothing of the token, the recipients and the statuses."""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from statuslookup import CustomId
from statuslookup.sandbox import Sandbox
from tests.support.fleets import FAR, TWO_A_SECOND, Clients
from tests.support.redis_servers import RedisServer

TOKEN = "Y2FuYXJ5OmNhbmFyeQ=="
PHONE = "5511987654321"
INSTANCE = "canary-instance"


async def test_redis_holds_no_token_no_phone_and_no_status(new_server: Callable[..., RedisServer]) -> None:
    sandbox = Sandbox(token=TOKEN, rate_limit=TWO_A_SECOND, latency=FAR)
    for id in range(1, 401):
        sandbox.add_message(id, custom_id=f"order-{id}", phone=PHONE, instance_token=INSTANCE)
    seen = b""
    messages: list[bytes] = []
    redis: Any
    with new_server(rdbcompression="no") as server, sandbox.serve() as url:
        async with Redis.from_url(server.url) as redis, Clients(server.url, url) as fleet:
            pubsub = redis.pubsub()
            await pubsub.psubscribe("*")
            one, two = await fleet.several(2, token=TOKEN)
            lookups: list[asyncio.Task[dict[Any, Any]]] = [
                asyncio.create_task(one.get_many(range(1, 301))),
                asyncio.create_task(two.get_many(CustomId(f"order-{id}") for id in range(301, 401))),
            ]
            while not all(lookup.done() for lookup in lookups):
                for name in await redis.keys("*"):
                    seen += name + (await redis.dump(name) or b"")
                await redis.execute_command("SAVE")
                seen += (server.folder / "dump.rdb").read_bytes()
                while message := await pubsub.get_message(timeout=0.001):
                    messages.append(message["data"] if isinstance(message["data"], bytes) else b"")
                await asyncio.sleep(0.02)
            assert all(None not in lookup.result().values() for lookup in lookups)
            await pubsub.aclose()
    assert b"order-301" in seen
    assert any(len(message) > 500 for message in messages)
    for canary in (TOKEN, "canary", PHONE, INSTANCE, "DELIVERED", "127.0.0.1"):
        assert canary.encode() not in seen
        assert canary.encode() not in b"".join(messages)


async def test_what_strangers_publish_is_no_answer(redis_url: str, strict: tuple[Sandbox, str]) -> None:
    """Somebody who may write to Redis, but has not the account's token."""
    sandbox, url = strict
    redis: Any
    async with Redis.from_url(redis_url) as redis, Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)
        await asyncio.gather(one.get(1), two.get(1))
        pubsub = redis.pubsub()
        await pubsub.psubscribe("*outcomes", "*turns")
        found = await asyncio.gather(one.get(2), two.get(3))
        overheard: list[tuple[bytes, bytes]] = []
        while message := await pubsub.get_message(timeout=0.2):
            if message["type"] == "pmessage":
                overheard.append((message["channel"], message["data"]))
        await pubsub.aclose()
        sandbox.reset_counts()
        lookups = [asyncio.create_task(one.get(2)), asyncio.create_task(two.get(3))]
        await asyncio.sleep(0.05)
        for channel, data in overheard:
            # The same again, and changed in one place.
            for each in (
                data,
                data[:40] + bytes([data[40] ^ 1]) + data[41:] if len(data) > 40 else b"free x y",
            ):
                await redis.publish(channel, each)
            await redis.publish(channel, b"\x00" * 5_000_000)
            await redis.publish(channel, b"taken 1 2 99999999999999999999")
        # On a slow machine their own request may have been answered by now.
        assert sandbox.requests or not any(lookup.done() for lookup in lookups)
        assert [getattr(each, "id", None) for each in await asyncio.gather(*lookups)] == [2, 3]
        assert sandbox.keys == 2
        assert [getattr(each, "id", None) for each in found] == [2, 3]


async def test_garbage_in_the_queue_costs_a_slot_at_most(redis_url: str, strict: tuple[Sandbox, str]) -> None:
    sandbox, url = strict
    redis: Any
    async with Redis.from_url(redis_url) as redis, Clients(redis_url, url) as fleet:
        one = await fleet.smsfire()
        await one.get(1)
        source: Any = one._engine._source  # type: ignore[union-attr] # it is open
        queue = source.queue._identity.queue
        garbage = ["no number", "-1", ":", ":a b", "9" * 50, "\u00e9"]
        process = source.queue.process
        lookup = asyncio.create_task(one.get(2))
        await asyncio.sleep(0.1)
        await redis.zadd(queue, {f"{process}:{text}": 1.0 for text in garbage} | {"nonsense": 2.0})
        assert getattr(await lookup, "id", None) == 2
        assert getattr(await one.get(3), "id", None) == 3
        # The last answer comes a moment before Redis knows of it.
        async with asyncio.timeout(10):
            while await redis.zrange(queue, 0, -1):  # noqa: ASYNC110 # there is nothing that could be waited for
                await asyncio.sleep(0.01)
        assert sandbox.keys == 3
