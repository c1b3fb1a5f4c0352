"""However it ends: closed from inside, closed twice, given up, or by an error that cannot be copied."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence

import attrs
import httpx
import pytest

from statuslookup import ClosedError, IncompleteError, LookupTimeoutError, ProviderError, StatusLookupError
from statuslookup._wire import Request
from statuslookup.providers import Exchange
from tests.support.fakes import FakeLimiter, FakeServer, Tens, client_of, other_tasks, ticks

pytestmark = pytest.mark.virtual_time


async def test_two_streams_whose_keys_close_the_client_wait_for_each_other_in_no_circle() -> None:
    client = client_of(FakeServer())

    async def keys(key: int) -> AsyncGenerator[int, None]:
        try:
            yield key
            await asyncio.sleep(1e6)
        finally:
            await client.aclose()

    async def read(key: int) -> None:
        with pytest.raises(ClosedError):
            async for _ in client.stream(keys(key)):
                pass

    readers = [asyncio.create_task(read(key)) for key in (1, 2)]
    await asyncio.sleep(5)
    async with asyncio.timeout(1):
        await client.aclose()
        await asyncio.gather(*readers)
    assert other_tasks() == set()


async def test_closing_ends_keys_that_closed_the_client_before_and_go_on() -> None:
    client = client_of(FakeServer())

    async def keys() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.sleep(2)
        await client.aclose()
        await asyncio.sleep(1e6)

    stream = client.stream(keys())
    assert (await anext(stream)).status == 10
    await asyncio.sleep(5)
    async with asyncio.timeout(1):
        await client.aclose()
    with pytest.raises(ClosedError):
        await anext(stream)
    assert other_tasks() == set()


async def test_keys_whose_task_is_cancelled_from_outside_end_the_stream_with_an_error_of_ours() -> None:
    async def keys() -> AsyncGenerator[int, None]:
        yield 1
        await asyncio.sleep(1e6)

    async with client_of(FakeServer()) as client:
        stream = client.stream(keys())
        assert (await anext(stream)).status == 10
        for task in other_tasks():
            task.cancel()
        with pytest.raises(ClosedError, match="cut off"):
            await anext(stream)


class CleaningServer(FakeServer):
    """Takes some turns of the loop to give its connection back, and notes when that is cut off."""

    cut_off = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        finally:
            for _ in range(9):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    self.cut_off += 1


async def test_what_is_given_up_cleans_up_undisturbed_although_the_client_is_closed() -> None:
    server = CleaningServer(latency=50.0)
    async with client_of(server) as client:
        with pytest.raises(LookupTimeoutError):
            await client.get(1, timeout=1.0)
        await ticks(2)
    assert (server.requests, server.cut_off, other_tasks()) == (1, 0, set())


async def test_what_is_given_up_twice_is_cancelled_once() -> None:
    class Parts(Tens):
        def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
            yield Request("GET", "/1")
            yield dict.fromkeys(keys[:1000], 1)
            yield Request("GET", "/2")
            return dict.fromkeys(keys[1000:], 1)

    server = CleaningServer(latency=1.0)
    async with client_of(server, Parts(max_batch=2000, rate_limit=None)) as client:
        lookups = [asyncio.create_task(client.get(key)) for key in range(1001)]
        await asyncio.wait(lookups, return_when=asyncio.FIRST_COMPLETED)
        assert client.stats().in_flight > 200
        lookups[1000].cancel()
        await ticks(1)
        for lookup in lookups[-2:-200:-1]:
            lookup.cancel()
        await asyncio.wait(lookups)
        await ticks(20)
    assert server.cut_off == 0


@attrs.frozen
class Uncopied(StatusLookupError):
    """An error whose copy cannot be made: a frozen class takes no arguments later."""

    code: int = 7


async def test_an_outcome_that_cannot_be_copied_is_a_bug_of_its_batch_and_holds_up_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Strange(Tens):
        def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
            yield Request("GET", "/1")
            return {key: Uncopied(5) if key == 1 else 10 * key for key in keys}

    async with client_of(FakeServer(), Strange(rate_limit=None)) as client:
        with caplog.at_level(logging.CRITICAL, logger="statuslookup"):
            outcomes = await asyncio.gather(*map(client.get, range(4)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ProviderError}
        assert await client.get(50, timeout=20.0) == 500
        assert client.stats().in_flight == 0


async def test_nothing_is_kept_of_lookups_that_left_the_queue_behind_others() -> None:
    async with client_of(FakeServer(), Tens(rate_limit=None)) as client:
        stays = [asyncio.create_task(client.get(key)) for key in range(300)]
        leave = [asyncio.create_task(client.get(key)) for key in range(300, 600)]
        await ticks(0)
        await asyncio.sleep(0)
        for lookup in leave:
            lookup.cancel()
        await asyncio.wait([*stays, *leave])
        engine = client._engine
        assert engine is not None
        assert list(engine._lanes.first._queue) == []


async def test_a_provider_without_a_place_in_its_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="max_batch must be 1 or more"):
        client_of(FakeServer(), Tens(max_batch=0))


async def test_a_limiters_error_that_cannot_be_copied_ends_everybody_who_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limiter = FakeLimiter()
    limiter.error = Uncopied(5)
    async with client_of(FakeServer(), Tens(max_batch=10), limiter=limiter) as client:
        async with asyncio.timeout(5):
            ends = await asyncio.gather(*map(client.get, range(3)), return_exceptions=True)
            many = await asyncio.gather(client.get_many([4, 5]), return_exceptions=True)
        assert [type(end) for end in (*ends, *many)] == [ProviderError] * 3 + [IncompleteError]
    assert "a bug" in caplog.text
