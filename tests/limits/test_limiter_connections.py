"""The limiter behind a client whose requests open connections: their time is no credit."""

import asyncio
from itertools import pairwise

import httpx
import pytest

from statuslookup import GreenAPI, StatusClient
from tests.support.virtual_time import LoopClock

ROUND_TRIP = 0.2


class ClosingServer(httpx.AsyncBaseTransport):
    """A server two round trips of TCP and TLS away, which keeps idle connections for two seconds only."""

    def __init__(self) -> None:
        self.counted: list[float] = []
        self.idle_since = -1000.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        if loop.time() - self.idle_since > 2.0:
            await request.extensions["trace"]("connection.connect_tcp.started", {})
            await asyncio.sleep(2 * ROUND_TRIP)
        await asyncio.sleep(ROUND_TRIP / 2)
        self.counted.append(loop.time())
        await asyncio.sleep(ROUND_TRIP / 2)
        self.idle_since = loop.time()
        return httpx.Response(200, json=[])


@pytest.mark.virtual_time
async def test_many_at_once_after_many_that_opened_connections_keep_their_distance() -> None:
    server = ClosingServer()
    async with StatusClient(GreenAPI(1101, "token"), transport=server, clock=LoopClock()) as client:
        for number in range(25):
            await client.get(f"one{number}")
            await asyncio.sleep(2.5)
        await asyncio.gather(*(client.get(f"many{number}") for number in range(30)))
    gaps = [later - earlier for earlier, later in pairwise(server.counted)]
    assert min(gaps) >= 1.0 - 1e-9
    # They earn the credit in the end: a request each interval, and half a round trip more.
    assert gaps[-1] == pytest.approx(1.0 + ROUND_TRIP / 2)
