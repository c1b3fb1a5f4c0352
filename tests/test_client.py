"""The client against the sandbox, in virtual time."""

import asyncio

import httpx
import pytest

from statuslookup import RateLimit, SMSFire, StatusClient
from statuslookup.sandbox import Sandbox

from .virtual_time import LoopClock

pytestmark = pytest.mark.virtual_time


async def test_concurrent_lookups_ride_together() -> None:
    sandbox = Sandbox(latency=0.05, rate_limit=RateLimit(2, 1))
    for id in range(1, 1001):
        sandbox.add_message(id)
    provider = SMSFire("sandbox", base_url="http://localhost")
    client = StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock())
    async with client:
        started = asyncio.get_running_loop().time()
        statuses = await asyncio.gather(*(client.get(id) for id in range(1, 1001)))
        elapsed = asyncio.get_running_loop().time() - started
    assert [status.id for status in statuses if status is not None] == list(range(1, 1001))
    assert (sandbox.requests, sandbox.rejections) == (5, 0)
    assert elapsed == pytest.approx(4 * 0.55 + 0.05, rel=0.02)
