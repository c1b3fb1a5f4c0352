"""What a lookup costs where no limit is: from many coroutines, in bulk, and from memory."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import httpx

from statuslookup import CustomId

from .ours import Client, Floor, ask_get_many, ask_stream, by_floor, by_statuslookup, new_client
from .peers import (
    AIODATALOADER,
    BARE_DISPATCHER,
    BY_GET,
    DISPATCHER,
    MAX_BATCH,
    PACKAGES,
    STRAWBERRY,
    WAYS,
    Get,
    Way,
)
from .scenario import FAST, OURS, Contender, Figures, Job, Scenario, Target, check, timed
from .server import CUSTOM_ID, item

FLOOR: Final = "the floor: a loop over httpx"
FLOOR_WITH_FUTURES: Final = "the floor with a future each"
GET_MANY: Final = "statuslookup, `get_many`"
STREAM: Final = "statuslookup, `stream`"
BEFORE: Final = "{} before"
WITH_FAST: Final = "{} with the extra `fast`"
_MOST_COROUTINES: Final = 10_000
_TIMES: Final = 5

Asked: TypeAlias = Callable[[int], tuple[Sequence[Any], Sequence[int]]]
"""Returns the keys in the order of asking, and the id that each is answered with."""


def distinct(size: int) -> tuple[Sequence[Any], Sequence[int]]:
    ids = range(1, size + 1)
    return ids, ids


def custom_ids(size: int) -> tuple[Sequence[Any], Sequence[int]]:
    ids = range(1, size + 1)
    return [CustomId(CUSTOM_ID.format(id)) for id in ids], ids


def five_at_once(size: int) -> tuple[Sequence[Any], Sequence[int]]:
    ids = [id for id in range(1, size // _TIMES + 1) for _ in range(_TIMES)]
    return ids, ids


def five_far_apart(size: int) -> tuple[Sequence[Any], Sequence[int]]:
    ids = list(range(1, size // _TIMES + 1)) * _TIMES
    return ids, ids


async def from_coroutines(get: Get, keys: Sequence[Any], ids: Sequence[int]) -> None:
    """Ask for all keys, from 10,000 coroutines or a tenth of their number: each for one after another."""
    coroutines = min(_MOST_COROUTINES, max(1, len(keys) // 10))

    async def ask(first: int) -> None:
        for place in range(first, len(keys), coroutines):
            check(await get(keys[place]), ids[place])

    await asyncio.gather(*map(ask, range(coroutines)))


def asking(way: Way, asked: Asked, *, share: int = 1) -> Callable[[Job], Figures]:
    """Return how a way is measured; of a slow one, a ``share`` th of the lookups will do."""

    def measure(job: Job) -> Figures:
        keys, ids = asked(max(_TIMES, job.size // share))

        async def work() -> None:
            async with way(Target(url=job.url)) as get:
                await from_coroutines(get, keys, ids)

        return timed(work, len(keys))

    return measure


def _floor(job: Job) -> Figures:
    async def work() -> None:
        floor = Floor(Target(url=job.url))
        await floor.loop(job.size)
        await floor.aclose()

    return timed(work, job.size)


def _ways(asked: Asked, *peers: str) -> Mapping[str, Contender]:
    found = {
        OURS: Contender(asking(by_statuslookup, asked)),
        WITH_FAST.format(OURS): Contender(asking(by_statuslookup, asked), FAST),
    }
    for peer in peers:
        share = 50 if peer == BY_GET else 1
        found[peer] = Contender(asking(WAYS[peer], asked, share=share), PACKAGES.get(peer, ""))
    return found


def _bulk(ask: Callable[[Client, int], Awaitable[None]]) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        async def work() -> None:
            async with new_client(Target(url=job.url)) as client:
                await ask(client, job.size)

        return timed(work, job.size)

    return measure


def _gathered(way: Way) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        ids = range(1, job.size + 1)

        async def work() -> None:
            async with way(Target(url=job.url)) as get:
                for id, status in zip(ids, await asyncio.gather(*map(get, ids)), strict=True):
                    check(status, id)

        return timed(work, job.size)

    return measure


def _from_memory(way: Way) -> Callable[[Job], Figures]:
    body = b"[%b]" % b",".join(map(item, range(1, MAX_BATCH + 1)))

    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body)

    def measure(job: Job) -> Figures:
        ids = range(1, MAX_BATCH + 1)
        times = max(1, job.size // MAX_BATCH)

        async def work() -> None:
            target = Target(url="http://localhost", transport=httpx.MockTransport(respond))
            async with way(target) as get:

                async def ask(id: int) -> None:
                    check(await get(id), id)

                for _ in range(times):
                    await asyncio.gather(*map(ask, ids))

        return timed(work, times * MAX_BATCH)

    return measure


DISTINCT: Final = Scenario(
    name="distinct",
    title="Distinct keys, no limit",
    text="Each message is asked for once, by 10,000 coroutines that ask for one after another, ten each.",
    contenders={
        **_ways(distinct, DISPATCHER, BARE_DISPATCHER, AIODATALOADER, STRAWBERRY, BY_GET),
        FLOOR_WITH_FUTURES: Contender(asking(by_floor, distinct)),
        FLOOR: Contender(_floor),
        BEFORE.format(OURS): Contender(asking(by_statuslookup, distinct), is_before=True),
    },
)
CUSTOM_IDS: Final = Scenario(
    name="custom-ids",
    title="The same by customId",
    text="As above, by customId instead of id.",
    contenders=_ways(custom_ids, DISPATCHER, BARE_DISPATCHER, AIODATALOADER, STRAWBERRY),
)
FIVE_AT_ONCE: Final = Scenario(
    name="five-at-once",
    title="Each key five times, at once",
    text="Five coroutines ask for a message in the same moment: it should be sent once.",
    contenders=_ways(five_at_once, DISPATCHER, BARE_DISPATCHER, AIODATALOADER, STRAWBERRY),
)
FIVE_FAR_APART: Final = Scenario(
    name="five-far-apart",
    title="Each key five times, far apart",
    text="A message is asked for again when its answer is long known: it must be sent anew.",
    contenders=_ways(five_far_apart, DISPATCHER, AIODATALOADER, STRAWBERRY),
)
BULK: Final = Scenario(
    name="bulk",
    title="In bulk",
    text="All messages in one call; the others' calls are gathered.",
    base=GET_MANY,
    contenders={
        GET_MANY: Contender(_bulk(ask_get_many)),
        STREAM: Contender(_bulk(ask_stream)),
        WITH_FAST.format(GET_MANY): Contender(_bulk(ask_get_many), FAST),
        WITH_FAST.format(STREAM): Contender(_bulk(ask_stream), FAST),
        DISPATCHER: Contender(_gathered(WAYS[DISPATCHER])),
        AIODATALOADER: Contender(_gathered(WAYS[AIODATALOADER]), PACKAGES[AIODATALOADER]),
        BEFORE.format(GET_MANY): Contender(_bulk(ask_get_many), is_before=True),
        BEFORE.format(STREAM): Contender(_bulk(ask_stream), is_before=True),
    },
)
FROM_MEMORY: Final = Scenario(
    name="from-memory",
    title="A transport that answers from memory",
    text="`httpx.MockTransport` with one body of 200 messages: 200 tasks ask for one each, again and again.",
    has_server=False,
    contenders={
        OURS: Contender(_from_memory(by_statuslookup)),
        DISPATCHER: Contender(_from_memory(WAYS[DISPATCHER])),
        BARE_DISPATCHER: Contender(_from_memory(WAYS[BARE_DISPATCHER])),
        AIODATALOADER: Contender(_from_memory(WAYS[AIODATALOADER]), PACKAGES[AIODATALOADER]),
        STRAWBERRY: Contender(_from_memory(WAYS[STRAWBERRY]), PACKAGES[STRAWBERRY]),
        FLOOR_WITH_FUTURES: Contender(_from_memory(by_floor)),
    },
)
SCENARIOS: Final = (DISTINCT, CUSTOM_IDS, FIVE_AT_ONCE, FIVE_FAR_APART, BULK, FROM_MEMORY)
