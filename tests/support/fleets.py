"""Clients of one fleet, several in this process, at a strict server that is some way off."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import pytest

from statuslookup import GreenAPI, RateLimit, SMSFire, StatusClient
from statuslookup.fleet import RedisFleet

TWO_A_SECOND = RateLimit(2, per=1.0)
FAR = 0.05
"""The latency of a server that is some way off, in seconds."""


class Clients:
    """Clients of one fleet; each is a member of its own, as if it were alone in its process."""

    def __init__(
        self, redis: Any, url: str, *, rate_limit: RateLimit | None = TWO_A_SECOND, **options: Any
    ) -> None:
        self.redis = redis
        self.url = url
        self.rate_limit = rate_limit
        self.options = options
        self._stack = AsyncExitStack()
        self.all: list[StatusClient[Any, Any]] = []

    async def smsfire(self, *, token: str = "sandbox", **options: Any) -> StatusClient[Any, Any]:
        provider = SMSFire(token, base_url=self.url, rate_limit=options.pop("rate_limit", self.rate_limit))
        return await self.of(provider, **options)

    async def of(self, provider: Any, **options: Any) -> StatusClient[Any, Any]:
        options = self.options | options
        name, lease = options.pop("name", "default"), options.pop("lease", 2.0)
        fleet = RedisFleet(self.redis, name=name, lease=lease)
        client: StatusClient[Any, Any] = StatusClient(provider, fleet=fleet, **options)
        self.all.append(client)
        return await self._stack.enter_async_context(client)

    async def several(self, count: int, **options: Any) -> list[StatusClient[Any, Any]]:
        return [await self.smsfire(**options) for _ in range(count)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def greenapi(url: str, id_instance: int = 1101000001, token: str = "sandbox") -> GreenAPI:
    return GreenAPI(id_instance, token, api_url=url)


async def timed(lookup: Any) -> float:
    """Return how many seconds a lookup took."""
    began_at = time.monotonic()
    await lookup
    return time.monotonic() - began_at


async def until(is_so: Callable[[], bool], *, within: float = 10.0) -> None:
    """Wait until something is so that nobody tells."""
    async with asyncio.timeout(within):
        while not is_so():  # noqa: ASYNC110 # there is nothing that could be waited for
            await asyncio.sleep(0.002)


async def at_times(succeeds: Callable[[int], Awaitable[bool]]) -> None:
    """See that one of five rounds succeeds, which are told their numbers from 0.

    What several clients ask for rides together if each says it in the twentieth of a second before the next
    request. A busy machine may have no time for one of them just then, but not in all rounds.
    """
    for number in range(5):
        if await succeeds(number):
            return
    pytest.fail("no round of five succeeded")


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
