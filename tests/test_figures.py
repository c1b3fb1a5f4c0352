"""The figures that the library is built to, over a real socket and in real time."""

import asyncio
import random
import statistics
import time
from typing import get_args

import pytest

from statuslookup import SMSFire, StatusClient
from statuslookup.sandbox import Counting, Sandbox

LATENCY = 0.05


@pytest.mark.parametrize("counting", get_args(Counting))
async def test_2000_concurrent_lookups_make_10_requests(counting: Counting) -> None:
    sandbox = Sandbox(latency=LATENCY, counting=counting)
    for id in range(2000):
        sandbox.add_message(id)
    with sandbox.serve() as base_url:
        async with StatusClient(SMSFire("sandbox", base_url=base_url)) as client:
            started = time.monotonic()
            statuses = await asyncio.gather(*(client.get(id) for id in range(2000)))
            elapsed = time.monotonic() - started
    assert [status.id for status in statuses if status is not None] == list(range(2000))
    assert (sandbox.requests, sandbox.rejections) == (10, 0)
    # Nine intervals of half a second and one answer would be the best there is.
    assert elapsed <= 1.15 * 4.55


async def arrive(rate: float, seconds: float) -> list[float]:
    """Return how long each lookup took, of lookups that come at random moments."""
    sandbox = Sandbox(latency=LATENCY)
    chance = random.Random(rate)
    taken: list[float] = []
    with sandbox.serve() as base_url:
        async with StatusClient(SMSFire("sandbox", base_url=base_url)) as client:

            async def ask(id: int) -> None:
                started = time.monotonic()
                assert await client.get(id) is None
                taken.append(time.monotonic() - started)

            async with asyncio.TaskGroup() as tasks:
                due = time.monotonic()
                for id in range(round(rate * seconds)):
                    due += chance.expovariate(rate)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    tasks.create_task(ask(id))
    assert sandbox.rejections == 0
    return taken


async def test_lookups_that_come_at_any_rate_wait_for_one_slot() -> None:
    for taken in await asyncio.gather(*(arrive(rate, 20) for rate in (20, 100, 300))):
        # A slot every half second, and an answer that takes 45 ms on average: nobody waits for a second one.
        assert statistics.quantiles(taken, n=100)[98] <= 1.15 * 0.545
