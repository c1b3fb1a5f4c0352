"""A process that says nothing for longer than its lease: what it waits for is not forgotten."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from statuslookup import SMSFire, StatusClient
from statuslookup.fleet import RedisFleet
from statuslookup.sandbox import Sandbox
from tests.support.fleets import TWO_A_SECOND, until

LEASE = 0.5


async def test_who_was_frozen_says_at_once_again_what_it_waits_for(redis_url: str) -> None:
    """Its keys were dropped meanwhile, with its lease, by the others."""
    sandbox = Sandbox(rate_limit=TWO_A_SECOND, latency=0.4)
    fleet = RedisFleet(redis_url, lease=LEASE)
    waited: list[float] = []

    def client_at(url: str) -> "StatusClient[Any, Any]":
        return StatusClient(SMSFire("sandbox", base_url=url, rate_limit=TWO_A_SECOND), fleet=fleet)

    async def be_frozen(url: str, is_announced: Callable[[], object], thawed: threading.Event) -> None:
        async with client_at(url) as client:
            lookup = asyncio.create_task(client.get(7))
            source: Any = cast("Any", client._engine)._source
            await until(lambda: bool(source.worker.announcements))
            is_announced()
            # The whole loop, as by SIGSTOP.
            thawed.wait(30)
            thawed_at = time.monotonic()
            await lookup
            waited.append(time.monotonic() - thawed_at)

    with sandbox.serve() as url:
        async with client_at(url) as one:
            loop, announced, thawed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
            first = asyncio.create_task(one.get(1))
            await asyncio.sleep(0.1)
            frozen = threading.Thread(
                target=asyncio.run,
                args=(be_frozen(url, lambda: loop.call_soon_threadsafe(announced.set), thawed),),
            )
            frozen.start()
            await announced.wait()
            await first
            # Its lease ends, wherever it has begun.
            await asyncio.sleep(LEASE)
            await one.get(2)
            assert sandbox.keys == 2
            thawed.set()
            while frozen.is_alive():  # noqa: ASYNC110 # a thread tells nobody that it ended
                await asyncio.sleep(0.01)
    assert sandbox.rejections == 0
    # Said again only with all the rest, every 5 s, it would take more than 4.
    assert waited[0] < 3.5
