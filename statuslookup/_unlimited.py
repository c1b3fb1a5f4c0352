"""The limiter of a provider that has no rate limit."""

import asyncio
from types import TracebackType
from typing import Self

from ._limiter import Slot


class Unlimited:
    """Lets requests go at once, ``max_in_flight`` of them at a time."""

    def __init__(self, max_in_flight: int = 8) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        self._semaphore = asyncio.Semaphore(max_in_flight)
        self._waiting = self._in_flight = 0

    def __repr__(self) -> str:
        return f"<Unlimited {self._waiting} waiting, {self._in_flight} in flight>"

    def slot(self) -> Slot:
        return _FreeSlot(self)


class _FreeSlot:
    __slots__ = ("_limiter",)

    def __init__(self, limiter: Unlimited) -> None:
        self._limiter = limiter

    def rejected(self, retry_after: float | None = None) -> None:
        """Nothing is slowed down."""

    async def __aenter__(self) -> Self:
        limiter = self._limiter
        limiter._waiting += 1
        try:
            await limiter._semaphore.acquire()
        finally:
            limiter._waiting -= 1
        limiter._in_flight += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._limiter._in_flight -= 1
        self._limiter._semaphore.release()
