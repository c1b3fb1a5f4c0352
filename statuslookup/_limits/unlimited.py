"""The limiter of a provider that has no rate limit."""

import asyncio
from types import TracebackType
from typing import Self

from .limiter import Reply, Slot

# For each request, httpx's pool looks at every connection that it has: more of them cost more than they give.
_MOST_IN_FLIGHT = 4


class Unlimited:
    """Lets requests go at once, four of them at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._semaphore = asyncio.Semaphore(_MOST_IN_FLIGHT)

    def slot(self) -> Slot:
        return _FreeSlot(self)


class _FreeSlot:
    __slots__ = ("_limiter",)

    def __init__(self, limiter: Unlimited) -> None:
        self._limiter = limiter

    def done(self, reply: Reply) -> None:
        """Nothing is slowed down."""

    async def __aenter__(self) -> Self:
        await self._limiter._semaphore.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # In a loop that was closed, nobody waits any more.
        if not self._limiter._loop.is_closed():
            self._limiter._semaphore.release()
