"""Limits that processes share through Redis with libraries for rate limits, as limiters of a client.

Each library is set up as strictly as it can be: one request each half second. Whoever is rejected waits for a
second. The libraries know no batches, so each process sends its own keys.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

from attrs import define

from statuslookup import ProviderError, Response

Turn = Callable[[], Awaitable[None]]
"""Waits for one turn."""

_MILLISECONDS: Final = 500
_AFTER_A_REJECTION: Final = 1.0
_TOO_MANY: Final = 429
_NAME: Final = "statuses"


@define(eq=False)
class SharedLimit:
    """A client's limiter over what a library grants; ``open`` connects when the first turn is due."""

    _open: Callable[[], Awaitable[Turn]]
    _turn: Turn | None = None
    _not_before: float = 0.0

    def slot(self) -> "_Slot":
        return _Slot(self)

    async def wait(self) -> None:
        await asyncio.sleep(self._not_before - time.monotonic())
        if self._turn is None:
            self._turn = await self._open()
        await self._turn()

    def rejected(self) -> None:
        self._not_before = time.monotonic() + _AFTER_A_REJECTION


@define
class _Slot:
    _limit: SharedLimit

    def done(self, reply: Response | ProviderError) -> None:
        if isinstance(reply, Response) and reply.status_code == _TOO_MANY:
            self._limit.rejected()

    async def __aenter__(self) -> Self:
        await self._limit.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def _throttled(url: str) -> SharedLimit:
    async def open() -> Turn:
        library: Any = import_module("throttled.asyncio")
        store = library.store.RedisStore(server=url)
        throttle = library.Throttled(key=_NAME, using="gcra", quota="2/s burst 1", timeout=60, store=store)

        async def turn() -> None:
            while (await throttle.limit()).limited:
                pass

        return turn

    return SharedLimit(open)


def _pyrate_limiter(url: str) -> SharedLimit:
    async def open() -> Turn:
        library: Any = import_module("pyrate_limiter")
        redis: Any = import_module("redis.asyncio").Redis.from_url(url)
        rates = [library.Rate(1, _MILLISECONDS)]
        limiter = library.Limiter(await library.RedisBucket.init(rates, redis, _NAME))

        async def turn() -> None:
            await limiter.try_acquire_async(_NAME)

        return turn

    return SharedLimit(open)


LIMITERS: Final[Mapping[str, Callable[[str], SharedLimit]]] = {
    "throttled-py": _throttled,
    "pyrate-limiter": _pyrate_limiter,
}
"""What makes the limiter of a library, from the URL of Redis."""
