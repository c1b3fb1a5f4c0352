"""The library among its peers, and the floor below all: loops that only send, decode and read."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from statuslookup import MessageKey, MessageStatus, RateLimit, SMSFire, StatusClient

from .peers import HEADERS, MAX_BATCH, SEARCH, Get, body_of
from .scenario import Target, check

Client = StatusClient[MessageKey, MessageStatus]


def new_client(target: Target, **options: Any) -> Client:
    if target.clock is not None:
        options["clock"] = target.clock
    limit = RateLimit(2, per=1.0) if target.is_limited else None
    provider = SMSFire("benchmark", base_url=target.url, rate_limit=limit)
    return StatusClient(provider, transport=target.transport, **options)


@asynccontextmanager
async def by_statuslookup(target: Target) -> AsyncIterator[Get]:
    async with new_client(target) as client:
        yield client.get


async def ask_get_many(client: Client, size: int) -> None:
    for id, status in (await client.get_many(range(1, size + 1))).items():
        check(status, id)


async def ask_stream(client: Client, size: int) -> None:
    found = 0
    async for outcome in client.stream(range(1, size + 1)):
        check(outcome.status, outcome.key)
        found += 1
    if found != size:
        raise RuntimeError(f"{found} outcomes for {size} keys")


class Floor:
    """One request after another through httpx's bare transport, and its answer read as the library does.

    Nothing is checked, batched, joined, timed out or retried.
    """

    def __init__(self, target: Target) -> None:
        # Imported here, because the parts of an older version have other names.
        from statuslookup.providers.smsfire.reading import read

        self._read: Callable[[Any], MessageStatus] = read
        self._transport = target.transport or httpx.AsyncHTTPTransport(verify=False, trust_env=False)
        self._url = httpx.URL(target.url + SEARCH)
        self._waiting: list[tuple[int, asyncio.Future[MessageStatus]]] = []

    async def search(self, ids: Sequence[int]) -> Iterable[MessageStatus]:
        request = httpx.Request("POST", self._url, headers=HEADERS, content=body_of(ids))
        response = await self._transport.handle_async_request(request)
        content = await response.aread()
        await response.aclose()
        return map(self._read, json.loads(content))

    async def loop(self, size: int) -> None:
        for first in range(1, size + 1, MAX_BATCH):
            ids = range(first, min(first + MAX_BATCH, size + 1))
            for id, status in zip(ids, await self.search(ids), strict=True):
                check(status, id)

    def get(self, id: int) -> asyncio.Future[MessageStatus]:
        answer: asyncio.Future[MessageStatus] = asyncio.get_running_loop().create_future()
        self._waiting.append((id, answer))
        return answer

    async def answer(self) -> None:
        """Answer for ever who waits."""
        while True:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            if batch:
                statuses = await self.search([id for id, _ in batch])
                for (_, future), status in zip(batch, statuses, strict=True):
                    future.set_result(status)
            else:
                await asyncio.sleep(0)

    async def aclose(self) -> None:
        await self._transport.aclose()


@asynccontextmanager
async def by_floor(target: Target) -> AsyncIterator[Get]:
    floor = Floor(target)
    answering = asyncio.create_task(floor.answer())
    yield floor.get
    answering.cancel()
    await asyncio.wait([answering])
    await floor.aclose()
