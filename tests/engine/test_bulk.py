"""How many keys a call for many keeps queued."""

import asyncio

import pytest

from statuslookup._engine.bulk import BulkLookup
from tests.support.fakes import FakeLimiter, FakeServer, Tens, client_of

pytestmark = pytest.mark.virtual_time


async def test_keys_are_added_when_less_than_a_batch_is_queued() -> None:
    limiter = FakeLimiter()
    limiter.gate.clear()
    async with client_of(FakeServer(), Tens(max_batch=10), limiter=limiter) as client:
        engine = client._open(asyncio.get_running_loop())
        bulk = BulkLookup(engine, None)
        assert bulk.capacity == 20
        bulk.add(range(20))
        assert bulk.capacity == 0
        engine._lanes.seal(10)
        assert bulk.capacity == 0
        engine._lanes.seal(1)
        assert bulk.capacity == 11
        bulk.close()
