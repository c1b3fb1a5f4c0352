"""Calls of every kind that share keys, by chance: each ends, with right answers, and leaves nothing."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import httpx
import pytest

from statuslookup import RateLimit, RetryPolicy, StatusClient, StatusLookupError
from tests.support.fakes import FakeServer, Outcome, Tens, client_of, other_tasks

pytestmark = pytest.mark.virtual_time

Client = StatusClient[int, int]
KEYS = range(40)


class MixedCalls:
    """What some dozen callers of one client do, as a seed says."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.server = FakeServer(self.outcome, latency=chance.choice([0.01, 0.3]))
        provider = Tens(
            max_batch=chance.choice([1, 2, 5, 20]),
            rate_limit=chance.choice([None, RateLimit(20), RateLimit(1, per=2.0)]),
        )
        self.health = chance.choice([0.0, 0.5, 0.9, 1.0])
        self.client: Client = client_of(
            self.server,
            provider,
            timeout=chance.choice([0.3, 3.0, 30.0]),
            linger=chance.choice([0.0, 0.005]),
            retry=RetryPolicy(attempts=3, backoff=0.1, random=chance.random),
        )

    def outcome(self, number: int) -> Outcome:
        if self.chance.random() < self.health:
            return 200
        failures: list[Outcome] = [500, 429, 400, httpx.ConnectError("no"), ValueError("a bug")]
        return self.chance.choice(failures)

    def timeout(self) -> float:
        return self.chance.choice([0.05, 0.3, 1.0, 10.0, 60.0])

    async def pause(self, likelihood: float, seconds: float) -> None:
        if self.chance.random() < likelihood:
            await asyncio.sleep(self.chance.random() * seconds)

    async def call(self) -> None:
        await asyncio.sleep(self.chance.random() * 3)
        how = self.chance.choice([self.get, self.get_many, self.stream])
        try:
            await how()
        except StatusLookupError:
            # Such as a deadline, or the client's end: not every call is to have an answer, but each an end.
            pass

    async def get(self) -> None:
        key = self.chance.choice(KEYS)
        assert await self.client.get(key, timeout=self.timeout()) == 10 * key

    async def get_many(self) -> None:
        keys = self.chance.sample(KEYS, self.chance.randint(1, len(KEYS)))
        found = await self.client.get_many(keys, timeout=self.timeout())
        assert list(found.items()) == [(key, 10 * key) for key in keys]

    async def stream(self) -> None:
        keys = self.chance.choices(KEYS, k=self.chance.randint(1, 120))
        given = self.slowly(keys) if self.chance.random() < 0.6 else keys
        most = self.chance.choice([3, len(keys), len(keys)])
        pause = self.chance.choice([0.0, 0.05])
        read: Counter[int] = Counter()
        async with aclosing(self.client.stream(given, timeout=self.timeout())) as outcomes:
            async for outcome in outcomes:
                assert outcome.error is not None or outcome.status == 10 * outcome.key
                read[outcome.key] += 1
                if read.total() == most:
                    break
                await self.pause(pause, 4.0)
        assert read <= Counter(keys)
        assert read.total() == min(most, len(keys))

    async def slowly(self, keys: Sequence[int]) -> AsyncIterator[int]:
        likelihood = self.chance.choice([0.0, 0.2])
        for key in keys:
            await self.pause(likelihood, 0.3)
            yield key

    async def run(self) -> None:
        calls = [asyncio.create_task(self.call()) for _ in range(40)]
        cancellations = self.chance.choice([0, 10])
        for _ in range(cancellations):
            await asyncio.sleep(self.chance.random())
            self.chance.choice(calls).cancel()
        if self.chance.random() < 0.3:
            await asyncio.sleep(self.chance.random() * 2)
            await self.client.aclose()
        _, waiting = await asyncio.wait(calls, timeout=3000)
        assert not waiting
        for call in calls:
            if not call.cancelled():
                call.result()


@pytest.mark.parametrize("seed", range(12))
async def test_every_call_ends_with_the_right_answers_and_leaves_nothing(seed: int) -> None:
    mixed = MixedCalls(seed)
    async with mixed.client as client:
        await mixed.run()
        # What was sent and left comes to its end.
        await asyncio.sleep(100)
        assert (client.stats().queued, client.stats().in_flight) == (0, 0)
        engine = client._engine
        assert engine is not None
        lanes = engine._lanes
        assert (len(engine._open_keys._open), lanes.first.length, len(lanes._others)) == (0, 0, 0)
        assert (len(lanes._turns), len(engine.deadlines._this_turn)) == (0, 0)
    assert other_tasks() == set()
