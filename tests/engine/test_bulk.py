"""How many keys a call for many keeps queued."""

import asyncio

import pytest

from statuslookup import LookupTimeoutError
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


async def test_a_key_that_was_answered_and_added_anew_has_the_later_deadline() -> None:
    limiter = FakeLimiter()
    limiter.gate.clear()
    async with client_of(FakeServer(), Tens(max_batch=10), limiter=limiter) as client:
        engine = client._open(asyncio.get_running_loop())
        bulk = BulkLookup(engine, 1.0)
        bulk.add([1, 2])
        engine.hear({1: 10})
        assert bulk.take_outcomes() == [(1, 10)]
        await asyncio.sleep(0.5)
        bulk.add([1])
        await asyncio.sleep(0.6)
        ((key, error),) = bulk.take_outcomes()
        assert (key, type(error)) == (2, LookupTimeoutError)
        await asyncio.sleep(0.5)
        ((key, error),) = bulk.take_outcomes()
        assert (key, type(error)) == (1, LookupTimeoutError)
        assert bulk.is_idle
        bulk.close()
