"""From the first lookup to the last close, on every event loop, in the shapes in which programs use it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import anyio
import httpx
import pytest

from statuslookup import (
    ClosedError,
    IncompleteError,
    RateLimit,
    RetryPolicy,
    StatusClient,
    TokenBucket,
    WrongLoopError,
)
from tests.support.fakes import FAST, FakeServer, Tens, new_client, other_tasks, ticks
from tests.support.virtual_time import LoopClock

every_loop = pytest.mark.every_loop
quiet = pytest.mark.usefixtures("no_noise")


# --- closing ------------------------------------------------------------------------------------------


@quiet
@every_loop
async def test_full_and_part_filled_batches_on_every_loop() -> None:
    server = FakeServer(latency=0.001)
    async with new_client(server, provider=Tens(max_batch=10, rate_limit=FAST)) as client:
        for _ in range(3):
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(client.get(key) for key in range(95)))
                found = await client.get_many(range(45))
            assert answers == [key * 10 for key in range(95)]
            assert found == {key: key * 10 for key in range(45)}
    assert sum(map(len, server.batches)) == 3 * 140
    assert other_tasks() == set()


@quiet
@every_loop
async def test_opened_in_one_task_used_in_many_closed_in_another_twice() -> None:
    server = FakeServer(latency=60.0)
    client = new_client(server, provider=Tens(max_batch=3, rate_limit=FAST))
    await asyncio.create_task(client.__aenter__())
    lookups = [asyncio.create_task(client.get(key % 10)) for key in range(20)]
    bulk = asyncio.create_task(client.get_many(range(100)))
    await asyncio.sleep(0.03)
    stats = client.stats()
    assert stats.in_flight
    assert stats.queued
    assert not client.is_closed
    async with asyncio.timeout(20):
        await asyncio.gather(asyncio.create_task(client.aclose()), asyncio.create_task(client.aclose()))
        ends = await asyncio.gather(*lookups, bulk, return_exceptions=True)
    assert [type(end) for end in ends] == [ClosedError] * 21
    assert len({id(end) for end in ends}) == 21
    assert client.is_closed
    await client.aclose()
    await ticks()
    assert other_tasks() == set()
    assert not server.is_closed


@quiet
@every_loop
async def test_closing_while_only_a_timer_is_due() -> None:
    server = FakeServer()
    client: StatusClient[int, int] = StatusClient(Tens(), transport=server, linger=60.0)
    lookup = asyncio.create_task(client.get(1))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(ClosedError):
        await lookup
    assert (server.requests, other_tasks()) == (0, set())


@every_loop
async def test_closing_before_anything_was_asked() -> None:
    client = new_client(FakeServer())
    await client.aclose()
    async with new_client(FakeServer()):
        pass


@quiet
@every_loop
async def test_closing_in_the_same_iteration_as_an_answer() -> None:
    server = FakeServer(latency=0.0)
    for rounds in range(12):
        client = new_client(server)
        lookup = asyncio.create_task(client.get(1))
        await ticks(rounds)
        await client.aclose()
        [end] = await asyncio.gather(lookup, return_exceptions=True)
        assert end == 10 or isinstance(end, ClosedError)
        assert other_tasks() == set()


@pytest.mark.virtual_time
async def test_closing_in_the_moment_in_which_a_transports_own_timeout_passes() -> None:
    class Connecting(FakeServer):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            connecting.append(asyncio.current_task())
            # As anyio does it, which tries one address after another.
            with anyio.move_on_after(0.25):
                await asyncio.Event().wait()
            return await super().handle_async_request(request)

    connecting: list[Any] = []
    client = new_client(Connecting(latency=1000.0), clock=LoopClock())
    lookup = asyncio.create_task(client.get(1, timeout=None))
    await asyncio.sleep(0.25)
    # The timeout has cancelled the task, which does not know it yet.
    assert connecting[0].cancelling()
    closed_at = asyncio.get_running_loop().time()
    await client.aclose()
    assert asyncio.get_running_loop().time() - closed_at < 1
    with pytest.raises(ClosedError):
        await lookup


@pytest.mark.virtual_time
async def test_closing_ends_what_waits_in_a_limiter_that_others_share() -> None:
    limiter = TokenBucket(RateLimit(0.1))
    client, other = (new_client(FakeServer(latency=0.0), limiter=limiter) for _ in range(2))
    await client.get(0)
    lookups = [asyncio.create_task(client.get(1)), asyncio.create_task(other.get(2))]
    await asyncio.sleep(0.02)
    assert limiter.stats().waiting == 2
    await client.aclose()
    assert limiter.stats().waiting == 1
    await other.aclose()
    await asyncio.wait(lookups)
    assert [type(lookup.exception()) for lookup in lookups] == [ClosedError] * 2
    assert (limiter.stats().waiting, limiter.stats().in_flight) == (0, 0)


class OwnTransport(FakeServer):
    """Takes the place of the transport that the client makes itself."""


@pytest.mark.virtual_time
async def test_a_close_that_is_cancelled_still_closes_the_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = OwnTransport(latency=60.0)
    monkeypatch.setattr("statuslookup._http.transports._new_transport", lambda base_url: own)
    client: StatusClient[int, int] = StatusClient(Tens(), linger=0.0)
    lookup = asyncio.create_task(client.get(1))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    results = await asyncio.gather(closing, lookup, return_exceptions=True)
    assert isinstance(results[1], ClosedError)
    assert own.is_closed
    await client.aclose()
    assert other_tasks() == set()


@pytest.mark.virtual_time
async def test_an_injected_transport_is_left_open_and_ones_own_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    injected, own = FakeServer(), OwnTransport()
    monkeypatch.setattr("statuslookup._http.transports._new_transport", lambda base_url: own)
    async with new_client(injected) as client:
        await client.get(1)
    assert not injected.is_closed
    async with new_client(injected) as client:
        assert await client.get(1) == 10
    async with StatusClient(Tens()) as client:
        assert await client.get(1) == 10
        assert not own.is_closed
    assert own.is_closed


@pytest.mark.virtual_time
async def test_the_error_of_a_block_is_not_replaced_by_closing() -> None:
    client = new_client(FakeServer(latency=60.0))
    with pytest.raises(LookupError, match="mine"):  # noqa: PT012 # the block is what is tested
        async with client:
            lookup = asyncio.create_task(client.get(1))
            await asyncio.sleep(0.01)
            raise LookupError("mine")
    with pytest.raises(ClosedError):
        await lookup


# --- what closing ends, and what errors lead to -------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize("kind", ["iterable", "async iterable"])
async def test_closing_ends_a_stream_that_is_read_slowly(kind: str) -> None:
    async def slowly() -> AsyncIterator[int]:
        for key in range(5000):
            yield key
            await asyncio.sleep(0)

    server = FakeServer(latency=0.01)
    client = new_client(server, provider=Tens(max_batch=10, rate_limit=FAST), clock=LoopClock())
    count = requests = 0
    with pytest.raises(ClosedError):  # noqa: PT012 # the loop is what is tested
        async for _ in client.stream(range(5000) if kind == "iterable" else slowly()):
            count += 1
            if count == 25:
                await client.aclose()
                requests = server.requests
            # Outcomes that were known before are still handed out.
            await asyncio.sleep(0.02)
    assert 25 <= count < 5000
    await asyncio.sleep(1)
    assert server.requests == requests
    assert other_tasks() == set()


@pytest.mark.virtual_time
async def test_closing_ends_a_stream_that_waits_for_its_keys() -> None:
    async def pausing() -> AsyncIterator[int]:
        yield 0
        await asyncio.sleep(3600)

    client = new_client(FakeServer())

    async def read() -> None:
        async for _ in client.stream(pausing()):
            pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(5)
    await client.aclose()
    async with asyncio.timeout(1):
        with pytest.raises(ClosedError):
            await reader


@quiet
@pytest.mark.virtual_time
@pytest.mark.parametrize("seconds", [0.05, 60.0], ids=["while the reader is busy", "when they are given up"])
async def test_keys_that_fail_after_the_reader_left_are_not_reported(seconds: float) -> None:
    async def failing() -> AsyncIterator[int]:
        yield 0
        try:
            await asyncio.sleep(seconds)
        finally:
            raise LookupError("mine")

    async with new_client(FakeServer(latency=0.01)) as client, aclosing(client.stream(failing())) as outcomes:
        async for _ in outcomes:
            await asyncio.sleep(0.1)
            break


def test_a_limiter_that_is_in_use_on_another_loop_says_so_itself() -> None:
    limiter = TokenBucket(RateLimit(2))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        one, two = (new_client(FakeServer(latency=60.0), limiter=limiter) for _ in range(2))

        async def start() -> "asyncio.Task[Any]":
            lookup = asyncio.create_task(one.get(1))
            await asyncio.sleep(0.01)
            return lookup

        lookup = first.run(start())
        with pytest.raises(WrongLoopError, match="send all requests that one limit counts"):
            second.run(two.get(1))
        second.run(two.aclose())
        first.run(one.aclose())
        assert isinstance(lookup.exception(), ClosedError)


@pytest.mark.virtual_time
async def test_each_request_has_a_context_of_its_own() -> None:
    span: ContextVar[int] = ContextVar("span", default=0)
    seen: list[tuple[int, int]] = []

    class Instrumented(FakeServer):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            parent, number = span.get(), self.requests + 1
            span.set(number)
            response = await super().handle_async_request(request)
            seen.append((parent, span.get() - number))
            return response

    async with new_client(Instrumented(), provider=Tens(max_batch=1, rate_limit=None)) as client:
        await asyncio.gather(*(client.get(key) for key in range(5)))
    assert seen == [(0, 0)] * 5


@pytest.mark.parametrize("outcome", [200, 401, 500])
async def test_errors_and_bulk_calls_leave_nothing_for_the_garbage_collector(outcome: int) -> None:
    retry = RetryPolicy(attempts=1)
    async with new_client(FakeServer(lambda number: outcome, latency=0.0), retry=retry) as client:

        async def look_up() -> None:
            await asyncio.gather(*(client.get(key) for key in range(20)), return_exceptions=True)
            try:
                await client.get_many(range(1000))
            except IncompleteError:
                pass

        await look_up()
        gc.collect()
        gc.disable()
        try:
            await look_up()
            await ticks()
            assert gc.collect() == 0
        finally:
            gc.enable()
