"""What a limiter is: the bucket, the one without a limit, and somebody's own."""

import asyncio
from typing import Any

import pytest

from statuslookup import Limiter, ProviderError, Response, TokenBucket
from statuslookup._limits.unlimited import Unlimited
from tests.support.fakes import FakeLimiter, FakeServer, client_of, now
from tests.support.turns import FOUND, LOST, TWO_A_SECOND
from tests.support.virtual_time import LoopClock

virtual_time = pytest.mark.virtual_time


@virtual_time
@pytest.mark.parametrize("reply", [FOUND, LOST, Response(429)])
async def test_a_bucket_and_no_limit_are_limiters(reply: Response | ProviderError) -> None:
    limiters: list[Limiter] = [TokenBucket(TWO_A_SECOND, clock=LoopClock()), Unlimited()]
    for limiter in limiters:
        # More often than there are places: each slot gives its own back.
        for _ in range(9):
            async with limiter.slot() as slot:
                slot.done(reply)


class Semaphore(asyncio.Semaphore):
    """A limiter as somebody may write it first, whose slots are told nothing."""

    def slot(self) -> Any:
        return self


class OldSlot(FakeLimiter):
    """A slot as it was in the first release."""

    done: Any = None

    def rejected(self, retry_after: float | None = None) -> None: ...


@virtual_time
@pytest.mark.parametrize(
    ("limiter", "text"),
    [
        (OldSlot(), r"OldSlot.slot\(\) .* only know rejected\(\).*done\(reply\).*reply.status_code == 429"),
        (Semaphore(), r"Semaphore.slot\(\) gives a slot, an object with done\(reply\), not Semaphore"),
    ],
)
async def test_a_limiter_whose_slots_cannot_be_told_is_refused_before_anything_is_sent(
    limiter: Any, text: str
) -> None:
    server = FakeServer()
    client = client_of(server, limiter=limiter)
    with pytest.raises(TypeError, match=text):
        await client.get(1)
    assert server.requests == 0
    await client.aclose()


@virtual_time
async def test_no_limit_lets_requests_go_at_once_and_four_at_a_time() -> None:
    limiter = Unlimited()
    started_at = now()
    entered: list[float] = []

    async def ask() -> None:
        async with limiter.slot():
            entered.append(now() - started_at)
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(ask()) for _ in range(20)]
    await asyncio.sleep(0.5)
    tasks[-1].cancel()
    await asyncio.wait(tasks)
    assert entered == [0.0] * 4 + [1.0] * 4 + [2.0] * 4 + [3.0] * 4 + [4.0] * 3
    # All four places are free again.
    entered.clear()
    await asyncio.gather(*(ask() for _ in range(4)))
    assert entered == [5.0] * 4
