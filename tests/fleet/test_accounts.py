"""Several accounts of one IP address: one limit, two queues, and no key under a stranger's token."""

import asyncio
import time
from typing import Any

import httpx
import pytest

from statuslookup import RateLimit
from tests.support.fleets import Clients

# The time of each way, and far more than a busy machine adds: a way half as long as all before would be too
# quick for the credit.
_WAY = 0.01


class Counter(httpx.AsyncBaseTransport):
    """SMSFire for several accounts, with the strictest limit for all of them; it knows who asks what."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.asked: dict[str, list[int]] = {}
        self.order: list[str] = []
        self.rejections = 0
        self.last = -1.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(_WAY)
        now = time.monotonic()
        if now - self.last < self.limit.interval - 1e-9:
            self.rejections += 1
            return httpx.Response(429)
        self.last = now
        token = request.headers["authorization"].removeprefix("Basic ")
        ids = [int(id) for id in httpx.Response(200, content=request.content or b"{}").json().get("ids", ())]
        ids = ids or [int(request.url.path.rpartition("/")[2])]
        self.asked.setdefault(token, []).extend(ids)
        self.order.append(token)
        await asyncio.sleep(_WAY)
        return httpx.Response(
            200, json=[{"id": id, "statusCode": 2, "statusName": "DELIVERED"} for id in ids]
        )

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("members", [1, 3])
async def test_two_accounts_share_the_slots_evenly_and_nothing_else(redis_url: str, members: int) -> None:
    limit = RateLimit(25)
    server = Counter(limit)
    async with Clients(redis_url, "http://localhost", rate_limit=limit, transport=server) as fleet:
        odd = await fleet.several(members, token="odd")
        even = await fleet.several(members, token="even")

        async def ask(clients: list[Any], first: int) -> None:
            lists = [range(first + 2 * place, 10_000, 2 * len(clients)) for place in range(len(clients))]
            found = await asyncio.gather(
                *(client.get_many(keys) for client, keys in zip(clients, lists, strict=True))
            )
            assert all(status.id == key for each in found for key, status in each.items())

        await asyncio.gather(ask(odd, 1), ask(even, 0))
    assert server.rejections == 0
    assert {id % 2 for id in server.asked["odd"]} == {1}
    assert {id % 2 for id in server.asked["even"]} == {0}
    assert len(set(server.asked["odd"])) == len(set(server.asked["even"])) == 5000
    # Over the time in which both had something to ask.
    both = server.order[: 2 * min(server.order.count("odd"), server.order.count("even")) - 4]
    assert 0.4 < both.count("odd") / len(both) < 0.6, "".join(token[0] for token in server.order)


async def test_fleets_with_other_names_share_nothing(redis_url: str) -> None:
    limit = RateLimit(1)
    one_server, other_server = Counter(limit), Counter(limit)
    async with (
        Clients(redis_url, "http://localhost", name="one", rate_limit=limit, transport=one_server) as one,
        Clients(
            redis_url, "http://localhost", name="other", rate_limit=limit, transport=other_server
        ) as other,
    ):
        clients = [await one.smsfire(), await other.smsfire()]
        await asyncio.gather(*(client.get(1) for client in clients))
        await asyncio.gather(*(client.get(2) for client in clients))
        # Each waits for a second; if they shared one limit, a second would lie between the two.
        assert abs(one_server.last - other_server.last) < 0.9
    assert one_server.rejections == other_server.rejections == 0
    assert one_server.order == other_server.order == ["sandbox"] * 2
