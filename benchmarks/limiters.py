"""The limiters that are simulated: the real classes, set up as their own documentation shows."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Final, TypeAlias

from attrs import frozen

from benchmarks.simulated_time import LIMIT, SimulatedClock, SimulatedLoop
from statuslookup import Response, TokenBucket

Ask: TypeAlias = Callable[[], Awaitable[bool]]
"""Sends one request; true if the server admitted it."""
Paced: TypeAlias = Callable[[Ask], Awaitable[None]]
"""Waits for its turn, and sends one request."""


def _token_bucket(loop: SimulatedLoop) -> Paced:
    bucket = TokenBucket(LIMIT, clock=SimulatedClock(loop))

    async def paced(ask: Ask) -> None:
        async with bucket.slot() as slot:
            slot.done(Response(200 if await ask() else 429))

    return paced


def _aiolimiter(library: ModuleType, max_rate: float, time_period: float) -> Paced:
    limiter = library.AsyncLimiter(max_rate, time_period)

    async def paced(ask: Ask) -> None:
        async with limiter:
            await ask()

    return paced


def _asynciolimiter(library: ModuleType, flavour: str) -> Paced:
    limiter = getattr(library, flavour)(2 / 1)

    async def paced(ask: Ask) -> None:
        await limiter.wait()
        await ask()

    return paced


def _pyrate_limiter(library: ModuleType, limit: int, milliseconds: int) -> Paced:
    bucket = library.InMemoryBucket([library.Rate(limit, milliseconds)])
    limiter = library.Limiter(library.BucketAsyncWrapper(bucket))

    async def paced(ask: Ask) -> None:
        await limiter.try_acquire_async("item")
        await ask()

    return paced


def _limits(library: ModuleType, strategy: str) -> Paced:
    aio = import_module("limits.aio")
    limiter = getattr(aio.strategies, strategy)(aio.storage.MemoryStorage())
    limit = library.parse("2/second")

    async def paced(ask: Ask) -> None:
        while not await limiter.hit(limit, "statuses"):
            window = await limiter.get_window_stats(limit, "statuses")
            await asyncio.sleep(max(window.reset_time - time.time(), 0.001))
        await ask()

    return paced


def _throttled(library: ModuleType, using: str, quota: str) -> Paced:
    store = library.store.MemoryStore()
    throttle = library.Throttled(key="statuses", using=using, quota=quota, timeout=60, store=store)

    async def paced(ask: Ask) -> None:
        limited = True
        while limited:
            limited = (await throttle.limit()).limited
        await ask()

    return paced


@frozen
class Contender:
    """A limiter as it is configured for two requests a second."""

    package: str
    configured: str
    make: Callable[[SimulatedLoop], Paced]

    @property
    def name(self) -> str:
        return f"{self.package}: {self.configured}" if self.package != "statuslookup" else self.configured


def _other(
    package: str, module: str, configured: str, make: Callable[..., Paced], *arguments: object
) -> Contender:
    return Contender(package, configured, lambda _: make(import_module(module), *arguments))


OURS: Final = Contender("statuslookup", "TokenBucket(RateLimit(2, per=1.0))", _token_bucket)
OTHERS: Final = (
    _other("aiolimiter", "aiolimiter", "AsyncLimiter(2, 1)", _aiolimiter, 2, 1),
    _other("aiolimiter", "aiolimiter", "AsyncLimiter(1, 0.5)", _aiolimiter, 1, 0.5),
    _other("asynciolimiter", "asynciolimiter", "Limiter(2/1)", _asynciolimiter, "Limiter"),
    _other("asynciolimiter", "asynciolimiter", "StrictLimiter(2/1)", _asynciolimiter, "StrictLimiter"),
    _other("limits", "limits", '"2/second", FixedWindow', _limits, "FixedWindowRateLimiter"),
    _other("limits", "limits", '"2/second", MovingWindow', _limits, "MovingWindowRateLimiter"),
    _other("pyrate-limiter", "pyrate_limiter", "Rate(2, Duration.SECOND)", _pyrate_limiter, 2, 1000),
    _other("pyrate-limiter", "pyrate_limiter", "Rate(1, Duration.SECOND / 2)", _pyrate_limiter, 1, 500),
    _other("throttled-py", "throttled.asyncio", '"2/s", token bucket', _throttled, "token_bucket", "2/s"),
    _other("throttled-py", "throttled.asyncio", '"2/s burst 1", GCRA', _throttled, "gcra", "2/s burst 1"),
)
CONTENDERS: Final = (OURS, *OTHERS)


def installed() -> Iterator[tuple[Contender, str]]:
    """Find the contenders whose package is installed, and its version."""
    for contender in CONTENDERS:
        try:
            yield contender, "here" if contender is OURS else version(contender.package)
        except PackageNotFoundError:
            pass
