"""What a lookup through a fleet costs: no queue where no limit is, alone little, and never a whole lease."""

import asyncio
from typing import Any

import httpx

from statuslookup import RateLimit, SMSFire, StatusClient
from statuslookup.sandbox import Sandbox
from tests.support.fakes import other_tasks
from tests.support.fleets import Clients, timed

Strict = tuple[Sandbox, str]


class Crowd(httpx.AsyncBaseTransport):
    """Notes how many requests are under way together, at most."""

    under_way = most = 0

    def __init__(self) -> None:
        self._below = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self._below.handle_async_request(request)
        finally:
            self.under_way -= 1

    async def aclose(self) -> None:
        await self._below.aclose()


async def test_without_a_limit_several_requests_are_under_way(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    sandbox.rate_limit = None
    async with (
        Crowd() as transport,
        Clients(redis_url, url, rate_limit=None, transport=transport) as fleet,
    ):
        clients = await fleet.several(3)
        lists = [range(1000 * place + 1, 1000 * place + 1001) for place in range(3)]
        found = await asyncio.gather(
            *(client.get_many(keys) for client, keys in zip(clients, lists, strict=True))
        )
        assert [len(each) for each in found] == [1000] * 3
        assert sandbox.keys == 3000
        assert transport.most > 1


async def test_a_lone_get_through_an_idle_fleet_costs_little(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    sandbox.rate_limit = None

    through_fleet: list[float] = []
    alone: list[float] = []
    limit = RateLimit(100)
    async with (
        Clients(redis_url, url, rate_limit=limit) as fleet,
        StatusClient(SMSFire("sandbox", base_url=url, rate_limit=limit)) as client,
    ):
        member = await fleet.smsfire()
        # The best of each, side by side: what a busy machine adds to the others is none of theirs.
        for key in range(1, 101):
            through_fleet.append(await timed(member.get(key)))
            alone.append(await timed(client.get(key)))
            await asyncio.sleep(0.06)
            if key >= 7 and min(through_fleet) - min(alone) < 0.02:
                break
    assert min(through_fleet) - min(alone) < 0.02
    assert other_tasks() == set()


async def test_a_list_that_comes_while_redis_says_that_nothing_waits_is_asked_for_at_once(
    redis_url: str, strict: Strict
) -> None:
    _, url = strict
    async with Clients(redis_url, url, lease=30.0) as fleet:
        client = await fleet.smsfire()
        queue: Any = client._engine._dispatcher._source.queue  # type: ignore[union-attr] # it is open
        take, is_idle = queue.take, asyncio.Event()

        async def take_slowly(*arguments: Any, **options: Any) -> Any:
            reply = await take(*arguments, **options)
            if getattr(reply, "why", "") == "idle":
                is_idle.set()
                await asyncio.sleep(0.05)
            return reply

        queue.take = take_slowly
        await client.get(1)
        await asyncio.wait_for(is_idle.wait(), 5)
        # Otherwise not before a lease is over.
        assert await timed(client.get_many([2, 3])) < 15.0
