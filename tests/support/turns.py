"""What takes turns at a limiter, and writes down when."""

import asyncio
import math
from typing import Any

from statuslookup import ProviderError, RateLimit, Response, Slot, TokenBucket, TransportError
from statuslookup._limits.pacer import Grant, Pacer
from tests.support.fakes import now, ticks
from tests.support.virtual_time import LoopClock

TWO_A_SECOND = RateLimit(2, per=1.0)

FOUND = Response(200)
LOST = TransportError("no answer came", provider="P")


def too_many(retry_after: float | None = None) -> Response:
    return Response(429, retry_after=retry_after)


class Driver:
    """Lets requests go as soon as a pacer allows it; its time begins at 0."""

    def __init__(self, limit: RateLimit = TWO_A_SECOND, **options: Any) -> None:
        self.pacer = Pacer(limit, **options)
        self.now = 0.0

    def go(self) -> Grant:
        self.now = max(self.now, self.pacer.next_at)
        assert self.now < math.inf
        return self.pacer.grant(self.now)

    def hear(self, grant: Grant, reply: Response | ProviderError = FOUND, *, at: float | None = None) -> None:
        self.now = self.now if at is None else at
        self.pacer.done(grant, reply, self.now)

    def take(
        self, times: int = 1, *, takes: float = 0.0, reply: Response | ProviderError = FOUND
    ) -> list[float]:
        """Let requests go one after another, and return the moments of their grants."""
        moments = []
        for _ in range(times):
            grant = self.go()
            moments.append(self.now)
            self.hear(grant, reply, at=self.now + takes)
        return moments

    @property
    def wait(self) -> float:
        return self.pacer.next_at - self.now


class Journal:
    """Starts requests behind a bucket, and writes down when each one got its slot."""

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.granted: dict[str, float] = {}
        self._started_at = now()

    def ask(
        self, name: str, *, takes: float = 0.0, reply: Response | ProviderError | None = FOUND
    ) -> asyncio.Task[None]:
        return asyncio.create_task(self.ask_here(name, takes, reply))

    async def ask_here(
        self, name: str, takes: float = 0.0, reply: Response | ProviderError | None = FOUND
    ) -> None:
        async with self.bucket.slot() as slot:
            self.granted[name] = round(now() - self._started_at, 6)
            if takes:
                await asyncio.sleep(takes)
            if reply is not None:
                slot.done(reply)


def journal(limit: RateLimit = TWO_A_SECOND, **options: Any) -> Journal:
    return Journal(TokenBucket(limit, clock=LoopClock(), **options))


async def enter(bucket: TokenBucket) -> Slot:
    return await bucket.slot().__aenter__()


async def queue(bucket: TokenBucket, waiters: int) -> list[asyncio.Task[Slot]]:
    tasks = [asyncio.create_task(enter(bucket)) for _ in range(waiters)]
    await ticks()
    assert bucket.stats().waiting == waiters
    return tasks


async def take_turns(bucket: TokenBucket, times: int, *, takes: float) -> None:
    for _ in range(times):
        async with bucket.slot() as slot:
            await asyncio.sleep(takes)
            slot.done(FOUND)
