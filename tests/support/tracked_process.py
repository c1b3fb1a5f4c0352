"""A process that tracks messages with a store, says what it was sure of and what it told, and gets killed."""

import asyncio
import os
import sys
import time
from random import Random

from statuslookup import DeliveryState, Schedule, SQLiteStore
from statuslookup._clock import SYSTEM_CLOCK
from tests.support.tracking import DELIVERED, SENT, UNDELIVERED, PlayedClient, message, smsfire_tracker


def say(*words: object) -> None:
    # In one piece, or not at all.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def state_of(key: int) -> DeliveryState:
    return UNDELIVERED if key % 5 == 0 else DELIVERED


async def main(path: str, first: int, count: int, seed: int) -> None:
    """Track so many new keys, and feed and look up all, until it is killed.

    The last process is the one without new keys: it ends when all is told.
    """
    random = Random(seed)
    is_last = count == 0
    client = PlayedClient(clock=SYSTEM_CLOCK)
    client.seconds = 0.001
    # One may be in the store though its process was killed before it could say so.
    for key in range(first + count + 100):
        is_known = is_last or random.random() < 0.02
        client.statuses[key] = message(key, state_of(key) if is_known else SENT)
    tracker = smsfire_tracker(
        client, store=SQLiteStore(path), schedule=Schedule(first=0.05), wall_clock=time.time
    )
    async with tracker:
        say("open", tracker.stats().open + tracker.stats().untold, os.getpid())

        async def read() -> None:
            async for change in tracker.changes():
                if change.is_over:
                    say("told", change.key, change.status.state)

        reading = asyncio.create_task(read())
        for key in range(first, first + count):
            await tracker.track(key)
            say("tracked", key)
        while not is_last:
            fed = random.randrange(first + count)
            tracker.feed([message(fed, SENT), message(fed, state_of(fed))])
            await asyncio.sleep(0.003)
        while tracker.stats().open or tracker.stats().untold:  # noqa: ASYNC110 # nothing says when all is told
            await asyncio.sleep(0.01)
        reading.cancel()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
