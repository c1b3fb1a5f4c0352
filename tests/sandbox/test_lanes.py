"""Who rides first: a single lookup before a bulk call, and bulk calls side by side."""

import asyncio
from collections import Counter

import pytest

from statuslookup import IncompleteError, RateLimit
from statuslookup.sandbox import Sandbox
from tests.support.fakes import FakeServer, Tens, client_of, now, ticks
from tests.support.sandboxes import sandbox_of, smsfire_client

pytestmark = pytest.mark.virtual_time


async def test_a_get_during_a_get_many_is_answered_within_1200_ms() -> None:
    """100,000 keys at 2 requests a second, and every lookup by ``get`` comes at another moment."""
    sandbox = sandbox_of(range(1, 1001), latency=0.05)
    async with smsfire_client(sandbox) as client:
        bulk = asyncio.create_task(client.get_many(range(1, 100_001)))
        waits: list[float] = []

        async def ask(number: int) -> None:
            await asyncio.sleep(number * 0.537)
            started = now()
            # Known keys and unknown ones, and such as the bulk call has asked for or is going to.
            await client.get(number * 211 % 120_000 + 1)
            waits.append(now() - started)

        await asyncio.gather(*(ask(number) for number in range(400)))
        found = await bulk
    assert max(waits) <= 1.2
    assert len(found) == 100_000
    assert sum(status is not None for status in found.values()) == 1000
    assert sandbox.rejections == 0
    # 500 full requests; the keys of get took places in them, and cost at most the rest of one more.
    assert sandbox.requests <= 505


async def test_two_bulk_calls_share_evenly() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=100)) as client:
        first = asyncio.create_task(client.get_many(range(10_000)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(client.get_many(range(10_000, 20_000)))
        await asyncio.sleep(20.5)
        shares = [Counter(key // 10_000 for key in batch) for batch in server.batches[1:]]
        assert len(shares) > 30
        assert all(share == {0: 50, 1: 50} for share in shares)
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])


async def test_a_bulk_call_that_is_alone_uses_every_place() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=100)) as client:
        await client.get_many(range(1000))
    assert [len(batch) for batch in server.batches] == [100] * 10
    assert [key for batch in server.batches for key in batch] == list(range(1000))


async def test_a_small_bulk_call_does_not_wait_for_a_large_one() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=100)) as client:
        large = asyncio.create_task(client.get_many(range(10_000)))
        await asyncio.sleep(3)
        started = now()
        await client.get_many(range(20_000, 20_050))
        assert now() - started < 1.2
        large.cancel()
        await asyncio.wait([large])


async def test_a_bulk_call_keeps_only_a_few_batches_queued() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=100)) as client:
        bulk = asyncio.create_task(client.get_many(range(5000)))
        while not bulk.done():
            assert client.stats().queued <= 200
            await asyncio.sleep(0.05)
        assert len(await bulk) == 5000
    assert server.requests == 50


async def test_a_queued_bulk_key_moves_up_when_it_is_asked_by_get() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=10)) as client:
        bulk = asyncio.create_task(client.get_many(range(100)))
        await asyncio.sleep(0.02)
        # The first ten are in flight, and the next twenty are queued.
        started = now()
        assert await client.get(29) == 290
        assert now() - started < 1.2
        assert list(await bulk) == list(range(100))
    assert server.batches[1] == [29, *range(10, 19)]
    assert sorted(key for batch in server.batches for key in batch) == list(range(100))


async def test_places_that_get_leaves_free_go_to_the_bulk_call() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=10)) as client:
        bulk = asyncio.create_task(client.get_many(range(100, 120)))
        await ticks()
        gets = [asyncio.create_task(client.get(key)) for key in range(3)]
        await asyncio.gather(bulk, *gets)
    flat = [key for batch in server.batches for key in batch]
    assert flat == [100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 0, 1, 2, *range(110, 120)]
    assert [len(batch) for batch in server.batches] == [10, 10, 3]


async def test_bulk_calls_of_the_same_keys_send_them_once() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=100)) as client:
        results = await asyncio.gather(*(client.get_many(range(200)) for _ in range(5)))
    assert all(result == {key: key * 10 for key in range(200)} for result in results)
    assert server.requests == 2


@pytest.mark.parametrize("how", ["its deadline passes", "it is cancelled", "it is asked for by get", "429"])
async def test_a_bulk_call_ends_in_its_time_whatever_becomes_of_keys_that_others_share(how: str) -> None:
    server = FakeServer(lambda number: 429 if how == "429" and number > 1 else 200)
    async with client_of(server, Tens(max_batch=2, rate_limit=RateLimit(1, per=5.0))) as client:
        await client.get(0)
        started = now()
        bulk = asyncio.create_task(client.get_many(range(1, 10), timeout=0.3))
        await ticks()
        other = asyncio.create_task(client.get_many([1, 2, 3, 4], timeout=0.6 if "deadline" in how else None))
        await asyncio.sleep(0.4)
        if how == "it is cancelled":
            other.cancel()
        elif how == "it is asked for by get":
            await asyncio.gather(*(client.get(key) for key in (1, 2, 3, 4)))
        await asyncio.wait([bulk], timeout=20)
        assert bulk.done()
        assert isinstance(bulk.exception(), IncompleteError)
        assert now() - started < (11 if "get" in how else 1.5)
        other.cancel()
        await asyncio.wait([other])
        assert client.stats().queued == 0


async def test_a_bulk_call_makes_way_for_any_number_of_gets() -> None:
    sandbox = Sandbox(latency=0.05)
    async with smsfire_client(sandbox) as client:
        bulk = asyncio.create_task(client.get_many(range(10_000, 20_000)))
        await asyncio.sleep(0.2)
        started = now()
        await asyncio.gather(*(client.get(key) for key in range(2000)))
        assert now() - started <= 11 * 0.55
        assert len(await bulk) == 10_000
