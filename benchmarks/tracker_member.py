"""One tracker of a soak: ``python -m benchmarks.tracker_member ORDERS`` follows the keys of its stdin.

``ORDERS`` is the JSON of ``Orders``. It has a store, a receiver of webhooks and a place in a fleet, and says
what happened, a line each: ``tracked KEY`` when a key is in the store for sure, and ``told KEY STATE`` for
each end. When its stdin ends, it goes on until all is told.
"""

import asyncio
import json
import os
import sys
import threading

import uvicorn
from attrs import asdict, frozen

from statuslookup import (
    CustomId,
    MessageKey,
    MessageStatus,
    RateLimit,
    Schedule,
    SMSFire,
    SQLiteStore,
    StatusClient,
    StatusTracker,
)
from statuslookup.fleet import RedisFleet
from statuslookup.webhooks import receiver

SECRET = "a-secret-of-the-soak"
SCHEDULE = Schedule(first=3.0, longest=30.0, grace=60.0, give_up=180.0)
"""A day of the usual schedule in minutes."""

Tracker = StatusTracker[MessageKey, MessageStatus]


@frozen(kw_only=True)
class Orders:
    """What a member is to do."""

    redis: str
    url: str
    store: str
    port: int
    """Where it receives webhooks."""
    limit: float = 2.0
    """Requests a second."""

    def in_json(self) -> str:
        return json.dumps(asdict(self))


def _say(*words: object) -> None:
    # In one piece, or not at all.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def _tell(tracker: Tracker) -> None:
    async for change in tracker.changes():
        if change.is_over:
            _say("told", change.key, change.status and change.status.state)


async def _track(tracker: Tracker, keys: "asyncio.Queue[str]") -> None:
    while key := await keys.get():
        await tracker.track(CustomId(key))
        _say("tracked", key)


def _read_keys(keys: "asyncio.Queue[str]", loop: asyncio.AbstractEventLoop) -> None:
    for line in sys.stdin:
        loop.call_soon_threadsafe(keys.put_nowait, line.strip())
    loop.call_soon_threadsafe(keys.put_nowait, "")


async def _follow(orders: Orders, tracker: Tracker) -> None:
    keys: asyncio.Queue[str] = asyncio.Queue()
    app = receiver(tracker, path_secret=SECRET)
    server = uvicorn.Server(uvicorn.Config(app, port=orders.port, access_log=False, log_level="error"))
    serving = asyncio.create_task(server.serve())
    telling = asyncio.create_task(_tell(tracker))
    threading.Thread(target=_read_keys, args=(keys, asyncio.get_running_loop()), daemon=True).start()
    await _track(tracker, keys)
    while tracker.stats().open or tracker.stats().untold:  # noqa: ASYNC110 # nothing says when all is told
        await asyncio.sleep(0.1)
    telling.cancel()
    server.should_exit = True
    await serving


async def _main(orders: Orders) -> None:
    provider = SMSFire("sandbox", base_url=orders.url, rate_limit=RateLimit(orders.limit))
    store = SQLiteStore(orders.store)
    async with (
        StatusClient(provider, fleet=RedisFleet(orders.redis, lease=2.0)) as client,
        StatusTracker(client, store=store, schedule=SCHEDULE) as tracker,
    ):
        await _follow(orders, tracker)


if __name__ == "__main__":
    asyncio.run(_main(Orders(**json.loads(sys.argv[1]))))
