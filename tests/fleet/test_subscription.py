"""What is published is heard while somebody needs it, through all cuts, and by no task afterwards."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from statuslookup import FleetError
from statuslookup.fleet.link import Link
from statuslookup.fleet.subscription import Subscription
from tests.support.redis_servers import RedisServer

CHANNELS = ("statuslookup:one", "statuslookup:two")


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.reconnections = 0

    def hear(self, channel: str, message: bytes) -> None:
        self.heard.append((channel, message))

    def reconnected(self) -> None:
        self.reconnections += 1


class Radio:
    """A subscription, and what it hears."""

    def __init__(self, redis: Any, **options: Any) -> None:
        # Longer than a busy machine keeps anybody waiting, and short for those who wait for it.
        self.link = Link(redis, timeout=1.5)
        self.ear = Ear()
        self.subscription = Subscription(self.link, CHANNELS, self.ear, **options)

    async def until(self, is_so: Callable[[], bool], *, within: float = 20.0) -> None:
        async with asyncio.timeout(within):
            while not is_so():  # noqa: ASYNC110 # what changes it is Redis
                await asyncio.sleep(0.005)

    async def aclose(self) -> None:
        await self.subscription.aclose()
        await self.link.aclose()


@pytest.fixture
async def radio(server: RedisServer) -> AsyncIterator[Radio]:
    radio = Radio(server.url)
    yield radio
    await radio.aclose()


async def test_what_is_published_after_listening_began_is_heard(radio: Radio, redis: Redis) -> None:
    await radio.subscription.listen()
    await redis.publish(CHANNELS[0], b"\x00\xff")
    await redis.publish("statuslookup:three", "not for us")
    await redis.publish(CHANNELS[1], "")
    await radio.until(lambda: len(radio.ear.heard) == 2)
    assert radio.ear.heard == [(CHANNELS[0], b"\x00\xff"), (CHANNELS[1], b"")]
    assert radio.ear.reconnections == 0


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_lent_client_of_either_protocol_hears_and_pings(server: RedisServer, protocol: int) -> None:
    async with Redis.from_url(server.url, protocol=protocol) as redis:
        radio = Radio(redis, ping_after=0.02)
        await radio.subscription.listen()
        await asyncio.sleep(0.2)
        await redis.publish(CHANNELS[0], b"1")
        await radio.until(lambda: bool(radio.ear.heard))
        assert radio.ear.reconnections == 0
        await radio.aclose()


async def test_it_ends_some_time_after_rest_and_begins_anew(server: RedisServer, redis: Redis) -> None:
    radio = Radio(server.url, rest_after=0.05)
    before = asyncio.all_tasks()
    await radio.subscription.listen()
    assert (await redis.pubsub_numsub(CHANNELS[0]))[0][1] == 1
    radio.subscription.rest()
    radio.subscription.rest()
    await radio.subscription.listen()
    await asyncio.sleep(0.1)
    assert radio.subscription.is_up
    radio.subscription.rest()
    await radio.until(lambda: asyncio.all_tasks() == before)
    assert not radio.subscription.is_up
    async with asyncio.timeout(5):
        while (await redis.pubsub_numsub(CHANNELS[0]))[0][1]:  # noqa: ASYNC110 # it is Redis's
            await asyncio.sleep(0.005)
    # Nobody has said anything to Redis in the meantime, so nothing is to be said anew.
    await radio.subscription.listen()
    assert radio.ear.reconnections == 0
    await radio.aclose()
    assert asyncio.all_tasks() == before


async def test_listening_again_while_it_ends_begins_anew(server: RedisServer) -> None:
    radio = Radio(server.url, rest_after=0.0)
    for _ in range(20):
        await radio.subscription.listen()
        radio.subscription.rest()
        await asyncio.sleep(0)
        await radio.subscription.listen()
        assert radio.subscription.is_up
    await radio.aclose()


async def test_after_a_cut_all_is_to_be_said_anew(radio: Radio, redis: Redis) -> None:
    await radio.subscription.listen()
    for cut in range(1, 4):
        await redis.client_kill_filter(_type="pubsub")
        await radio.until(lambda cut=cut: radio.ear.reconnections == cut)  # type: ignore[misc] # a default's type
        await redis.publish(CHANNELS[0], f"{cut}")
        await radio.until(lambda cut=cut: len(radio.ear.heard) == cut)  # type: ignore[misc] # the same
    assert not radio.link.is_down


async def test_a_lent_client_that_reconnects_by_itself_is_noticed(server: RedisServer, redis: Redis) -> None:
    async with Redis.from_url(server.url) as lent:
        radio = Radio(lent)
        await radio.subscription.listen()
        await redis.client_kill_filter(_type="pubsub")
        await radio.until(lambda: radio.ear.reconnections >= 1)
        await redis.publish(CHANNELS[0], b"1")
        await radio.until(lambda: bool(radio.ear.heard))
        await radio.aclose()


async def test_a_redis_that_restarts_is_heard_again(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.start()
    radio = Radio(server.url)
    await radio.subscription.listen()
    server.stop()
    await radio.until(lambda: radio.link.is_down)
    server.start()
    await radio.until(lambda: radio.ear.reconnections == 1)
    assert not radio.link.is_down
    await radio.aclose()


async def test_listening_waits_for_a_redis_that_is_away(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    radio = Radio(server.url)
    listening = asyncio.ensure_future(radio.subscription.listen())
    await radio.until(lambda: radio.link.is_down)
    assert radio.link.problem is not None
    assert radio.link.problem.is_transient
    server.start()
    await asyncio.wait_for(listening, 20)
    await radio.aclose()


async def test_who_listens_in_vain_may_be_cancelled(new_server: Callable[..., RedisServer]) -> None:
    before = asyncio.all_tasks()
    radio = Radio(new_server().url)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(radio.subscription.listen(), 0.05)
    await radio.aclose()
    assert asyncio.all_tasks() == before


async def test_what_redis_refuses_is_told_to_all_who_listen(
    new_server: Callable[..., RedisServer], no_noise: None
) -> None:
    server = new_server(user="deaf on >hunter2 ~* resetchannels &statuslookup:else +@connection +subscribe")
    server.start()
    radio = Radio(f"redis://deaf:hunter2@127.0.0.1:{server.port}/0")
    listeners = [radio.subscription.listen() for _ in range(3)]
    problems = await asyncio.gather(*listeners, return_exceptions=True)
    for problem in problems:
        assert isinstance(problem, FleetError)
        assert problem.ends_all
    assert len({id(problem) for problem in problems}) == 3
    await radio.aclose()


async def test_a_connection_that_is_half_open_is_made_anew(new_server: Callable[..., RedisServer]) -> None:
    server = new_server()
    server.start()
    radio = Radio(server.url, ping_after=0.05)
    await radio.subscription.listen()
    # As where a firewall has forgotten the connection: nothing comes, and nothing says that it is over.
    server.pause()
    await radio.until(lambda: radio.link.is_down)
    server.go_on()
    await radio.until(lambda: radio.ear.reconnections == 1)
    await radio.aclose()


async def test_what_listens_but_is_no_redis_is_a_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        radio = Radio(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        listening = asyncio.ensure_future(radio.subscription.listen())
        await radio.until(lambda: radio.link.is_down)
        listening.cancel()
        await radio.aclose()


@pytest.mark.parametrize("deaf", ["subscribe", "ping"])
async def test_a_cancellation_that_redis_py_swallows_is_not_lost(deaf: str) -> None:
    """Up to Python 3.11, wait_for returns instead, if what it waited for is there in the same moment."""
    is_there = asyncio.Event()

    async def swallow(method: str) -> None:
        if method == deaf:
            is_there.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    class PubSub:
        async def subscribe(self, *_: str) -> None:
            await swallow("subscribe")

        async def ping(self) -> None:
            await swallow("ping")

        async def get_message(self, timeout: float) -> None:
            await asyncio.sleep(timeout)

        async def aclose(self) -> None: ...

    radio = Radio("redis://127.0.0.1:1", ping_after=0.01)
    own = radio.link.redis
    radio.link.redis = type("Client", (), {"pubsub": PubSub, "aclose": own.aclose})()
    listening = asyncio.create_task(radio.subscription.listen())
    await is_there.wait()
    async with asyncio.timeout(5):
        await radio.aclose()
    listening.cancel()


async def test_a_connection_that_cannot_even_be_closed_is_made_anew(
    radio: Radio, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        async def subscribe(self, *_: str) -> None:
            raise ConnectionError

        async def aclose(self) -> None:
            raise ConnectionError

    opened = [Broken, radio.link.redis.pubsub]
    monkeypatch.setattr(radio.link.redis, "pubsub", lambda: opened.pop(0)())
    async with asyncio.timeout(5):
        await radio.subscription.listen()
    await redis.publish(CHANNELS[0], b"1")
    await radio.until(lambda: radio.ear.heard == [(CHANNELS[0], b"1")])
