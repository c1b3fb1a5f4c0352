"""Bulk lookups as a stream: outcomes as they come, bounded memory, and nothing left behind."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import httpx
import pytest

from statuslookup import (
    AuthenticationError,
    ClosedError,
    CustomId,
    GreenAPI,
    IncompleteError,
    LookupTimeoutError,
    MessageKey,
    MessageStatus,
    Outcome,
    QuotaExceededError,
    RateLimit,
    RetryPolicy,
    ServerError,
    SMSFire,
    StatusClient,
)
from statuslookup.sandbox import Sandbox
from tests.support.fakes import FakeServer
from tests.support.fakes import client_of as tens_client_of
from tests.support.virtual_time import LoopClock

pytestmark = pytest.mark.virtual_time

Client = StatusClient[MessageKey, MessageStatus]


def sandbox_of(messages: int, rate_limit: RateLimit | None = None) -> Sandbox:
    sandbox = Sandbox(rate_limit=rate_limit, latency=0.05)
    for id in range(messages):
        sandbox.add_message(id, custom_id=f"c{id}")
    return sandbox


def client_of(sandbox: Sandbox, token: str = "sandbox") -> Client:
    provider = SMSFire(token, base_url="http://localhost", rate_limit=sandbox.rate_limit)
    retry = RetryPolicy(attempts=2, backoff=0.1)
    return StatusClient(provider, transport=httpx.ASGITransport(sandbox), clock=LoopClock(), retry=retry)


async def slowly(keys: range, seconds: float = 0.0) -> AsyncIterator[int]:
    for key in keys:
        await asyncio.sleep(seconds)
        yield key


async def outcomes(client: Client, keys: object) -> list[Outcome[MessageKey, MessageStatus]]:
    return [outcome async for outcome in client.stream(keys)]  # type: ignore[call-overload] # also tries bad ones


async def outcomes_of(
    stream: AsyncIterator[Outcome[int, MessageStatus]],
) -> list[Outcome[int, MessageStatus]]:
    return [outcome async for outcome in stream]


@pytest.mark.parametrize("make", [list, iter, slowly])
async def test_every_key_has_one_outcome(make: Callable[[range], object]) -> None:
    async with client_of(sandbox_of(1000)) as client:
        found = await outcomes(client, make(range(1200)))
    assert Counter(outcome.key for outcome in found) == Counter(range(1200))
    assert all((outcome.status is None) == (int(outcome.key) >= 1000) for outcome in found)
    assert all(outcome.error is None for outcome in found)


async def test_batches_are_full() -> None:
    sandbox = sandbox_of(1000)
    async with client_of(sandbox) as client:
        await outcomes(client, range(1000))
    assert sandbox.requests == 5


async def test_no_keys_no_request() -> None:
    sandbox = sandbox_of(1)
    async with client_of(sandbox) as client:
        assert await outcomes(client, []) == []
        assert await outcomes(client, slowly(range(0))) == []
    assert sandbox.requests == 0


async def test_a_key_that_comes_twice_has_two_outcomes_and_others_have_one() -> None:
    async with client_of(sandbox_of(4)) as client:
        found = await outcomes(client, [3, 1, 2, 1, CustomId("c1"), 1])
    assert Counter(outcome.key for outcome in found) == {3: 1, 1: 3, 2: 1, CustomId("c1"): 1}


@pytest.mark.parametrize("as_async", [False, True], ids=["iterable", "async iterable"])
async def test_a_long_run_of_one_key_takes_bounded_memory_and_does_not_hold_up_the_loop(
    as_async: bool,
) -> None:
    taken = at_last_tick = most_at_once = read = most_ahead = 0

    def keys() -> Iterator[int]:
        nonlocal taken, most_ahead
        for _ in range(50_000):
            taken += 1
            most_ahead = max(most_ahead, taken - read)
            yield 1

    async def async_keys() -> AsyncIterator[int]:
        for key in keys():
            yield key

    async def tick() -> None:
        nonlocal at_last_tick, most_at_once
        while True:
            most_at_once = max(most_at_once, taken - at_last_tick)
            at_last_tick = taken
            await asyncio.sleep(0.001)

    async with client_of(sandbox_of(10)) as client:
        ticker = asyncio.create_task(tick())
        async for outcome in client.stream(async_keys() if as_async else keys()):
            read += 1
            assert outcome.status is not None
        ticker.cancel()
        assert client.stats().requests == -(-50_000 // 4000)
    assert read == 50_000
    # Of an async iterable, one key more is taken before it waits for capacity.
    assert most_ahead <= 4001
    assert most_at_once <= 4001


async def test_a_repeated_key_takes_no_place_in_a_batch() -> None:
    sandbox = sandbox_of(400, RateLimit(2, 1))
    async with client_of(sandbox) as client:
        await outcomes(client, (key for key in range(400) for _ in range(3)))
    assert sandbox.requests == 2


async def test_a_repeated_key_shares_the_deadline_of_the_first() -> None:
    server = FakeServer(latency=5.0)
    async with tens_client_of(server, timeout=1.0) as client:

        async def twice() -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(0.7)
            yield 1

        started = asyncio.get_running_loop().time()
        errors = [outcome.error async for outcome in client.stream(twice())]
        assert [type(error) for error in errors] == [LookupTimeoutError] * 2
        assert errors[0] is not errors[1]
        assert asyncio.get_running_loop().time() - started == pytest.approx(1.0)


async def test_outcomes_come_before_the_keys_are_over() -> None:
    async with client_of(sandbox_of(10)) as client, aclosing(client.stream(slowly(range(10), 1.0))) as stream:
        async for outcome in stream:
            assert asyncio.get_running_loop().time() < 1003 + int(str(outcome.key))


async def test_a_slow_reader_slows_the_keys_down() -> None:
    taken = 0

    def keys() -> Iterator[int]:
        nonlocal taken
        for key in range(100_000):
            taken += 1
            yield key

    sandbox = sandbox_of(10)
    async with client_of(sandbox) as client, aclosing(client.stream(keys())) as stream:
        async for _ in stream:
            await asyncio.sleep(10)
            break
        assert taken <= 21 * 200


@pytest.mark.parametrize("make", [list, slowly])
async def test_a_reader_that_pauses_gets_all_outcomes(make: Callable[[range], object]) -> None:
    read = 0
    async with client_of(sandbox_of(10)) as client, asyncio.timeout(60):
        async for _ in client.stream(make(range(10_000))):  # type: ignore[call-overload] # either kind
            if read % 3000 == 0:
                await asyncio.sleep(10)
            read += 1
    assert read == 10_000


async def test_a_failed_key_is_an_outcome() -> None:
    sandbox = sandbox_of(1000)
    sandbox.fault = lambda number: 500 if number <= 6 else None
    async with client_of(sandbox) as client:
        found = await outcomes(client, range(1000))
    failed = [outcome for outcome in found if outcome.error is not None]
    assert len(found) == 1000
    assert 0 < len(failed) < 1000
    assert all(isinstance(outcome.error, ServerError) for outcome in failed)
    assert len({id(outcome.error) for outcome in failed}) == len(failed)


async def test_wrong_credentials_end_the_stream() -> None:
    sandbox = sandbox_of(10)
    async with client_of(sandbox, token="wrong") as client:
        with pytest.raises(AuthenticationError):
            await outcomes(client, range(100_000))
        assert client.stats().queued == 0
    assert sandbox.requests <= 10


@pytest.mark.parametrize("code", [401, 466])
async def test_what_no_key_would_fare_better_with_ends_get_many_and_nothing_is_lost(code: int) -> None:
    sandbox = sandbox_of(10_000, RateLimit(2, 1))
    sandbox.fault = lambda number: code if number == 3 else None
    async with client_of(sandbox) as client:
        with pytest.raises(IncompleteError) as raised:
            await client.get_many(range(10_000))
    assert len(raised.value.statuses) == 400
    assert set(raised.value.statuses) | set(raised.value.errors) == set(range(10_000))
    assert len({id(error) for error in raised.value.errors.values()}) == 9_600
    assert sandbox.requests <= 4


async def test_a_quota_that_is_used_up_ends_the_stream() -> None:
    sandbox = Sandbox(rate_limit=None)
    instance = sandbox.add_instance(rate_limit=None)
    instance.quota = 3
    provider = GreenAPI(
        instance.id_instance, "sandbox", api_url="http://localhost", rate_limit=RateLimit(1, per=1.0)
    )
    transport = httpx.ASGITransport(sandbox)
    async with StatusClient(provider, transport=transport, clock=LoopClock()) as client:
        found = 0

        async def read() -> None:
            nonlocal found
            async for _ in client.stream(f"STORY{number}" for number in range(100)):
                found += 1

        with pytest.raises(QuotaExceededError) as raised:
            await read()
        assert (raised.value.used, raised.value.total) == (3, 3)
        assert client.stats().queued == 0
    assert found == 3
    assert sandbox.requests <= 5


@pytest.mark.parametrize("keys", [range(100_000), slowly(range(100_000))], ids=["iterable", "async iterable"])
async def test_leaving_early_leaves_nothing_behind(keys: object) -> None:
    sandbox = sandbox_of(1000, RateLimit(2, 1))
    async with client_of(sandbox) as client:
        async for _ in client.stream(keys):  # type: ignore[call-overload] # either kind
            break
        await asyncio.sleep(1)
        gc.collect()
        await asyncio.sleep(1)
        assert client.stats().queued == client.stats().in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert sandbox.requests <= 2


async def test_a_cancelled_stream_leaves_nothing_behind() -> None:
    sandbox = sandbox_of(1000, RateLimit(2, 1))
    async with client_of(sandbox) as client:
        task = asyncio.create_task(outcomes(client, slowly(range(100_000))))
        await asyncio.sleep(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(1)
        assert client.stats().queued == client.stats().in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_closed_client_ends_the_stream() -> None:
    async with client_of(sandbox_of(10, RateLimit(2, 1))) as client:
        task = asyncio.create_task(outcomes(client, range(1000)))
        await asyncio.sleep(0.7)
        await client.aclose()
        with pytest.raises(ClosedError):
            await task


@pytest.mark.parametrize("pause", [0.0, 1.0, None], ids=["waits for capacity", "sleeps", "waits for ever"])
async def test_closing_the_client_of_a_stream_that_is_not_read_leaves_no_task(pause: float | None) -> None:
    async def keys() -> AsyncIterator[int]:
        for key in range(1_000_000):
            yield key
            if pause is not None:
                await asyncio.sleep(pause)
            elif key == 600:
                await asyncio.Event().wait()

    client = client_of(sandbox_of(10))
    async with client, aclosing(client.stream(keys())) as stream:
        await anext(stream)
        await asyncio.sleep(10)
        await client.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        with pytest.raises(ClosedError):
            await outcomes_of(stream)


async def test_closing_while_a_stream_waits_for_its_keys_ends_it() -> None:
    async with client_of(sandbox_of(10)) as client:
        task = asyncio.create_task(outcomes(client, slowly(range(10), 1000.0)))
        await asyncio.sleep(10)
        await client.aclose()
        with pytest.raises(ClosedError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_keys_themselves_may_close_the_client() -> None:
    client = client_of(sandbox_of(10))

    async def keys() -> AsyncIterator[int]:
        yield 1
        await client.aclose()
        yield 2

    with pytest.raises(ClosedError):
        await outcomes(client, keys())
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_twice_lets_the_keys_clean_up() -> None:
    has_cleaned_up = False

    async def keys() -> AsyncIterator[int]:
        nonlocal has_cleaned_up
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            has_cleaned_up = True

    client = client_of(sandbox_of(10))
    task = asyncio.create_task(outcomes(client, keys()))
    await asyncio.sleep(10)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0.5)
    await client.aclose()
    await closing
    assert has_cleaned_up
    with pytest.raises(ClosedError):
        await task


async def test_what_was_answered_before_the_client_was_closed_is_not_lost() -> None:
    client = client_of(sandbox_of(10))
    async with client, aclosing(client.stream(slowly(range(5)))) as stream:
        await anext(stream)
        await asyncio.sleep(10)
        await client.aclose()
        assert len(await outcomes_of(stream)) == 4


@pytest.mark.parametrize("wrap", [list, slowly], ids=["iterable", "async iterable"])
async def test_a_bad_key_ends_the_stream(wrap: object) -> None:
    async def late(keys: list[object]) -> AsyncIterator[object]:
        for key in keys:
            yield key

    keys: list[object] = [1, 2, "three"]
    async with client_of(sandbox_of(10)) as client:
        with pytest.raises(TypeError, match="CustomId"):
            await outcomes(client, keys if wrap is list else late(keys))
        with pytest.raises(TypeError, match="use get"):
            await outcomes(client, "123")
        assert client.stats().queued == 0


async def test_what_the_keys_raise_is_raised() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise OSError("the disk is gone")

    async with client_of(sandbox_of(10)) as client:
        with pytest.raises(OSError, match="the disk is gone"):
            await outcomes(client, failing())
        assert client.stats().queued == 0
