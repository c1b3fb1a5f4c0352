"""The client against a server that is played, in virtual time."""

import asyncio
import gc
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from statuslookup import (
    AuthenticationError,
    ClosedError,
    GreenAPI,
    IncompleteError,
    ProviderError,
    RateLimit,
    RejectedError,
    RetryPolicy,
    ServerError,
    SMSFire,
    StatusClient,
    TokenBucket,
)
from statuslookup._wire import Request
from statuslookup.providers.base import Exchange
from tests.support.fakes import FakeLimiter, FakeServer, Tens, client_of, now, other_tasks

pytestmark = pytest.mark.virtual_time


async def test_equal_keys_are_sent_once() -> None:
    """100,000 lookups of 20,000 keys send 20,000 keys."""
    server = FakeServer()
    async with client_of(server, Tens(rate_limit=None)) as client:
        answers = await asyncio.gather(*(client.get(number % 20_000) for number in range(100_000)))
        stats = client.stats()
    assert answers == [number % 20_000 * 10 for number in range(100_000)]
    sent = [key for batch in server.batches for key in batch]
    assert (len(sent), len(set(sent))) == (20_000, 20_000)
    assert (stats.lookups, stats.coalesced, stats.keys_sent, stats.requests) == (100_000, 80_000, 20_000, 100)


async def test_a_key_in_flight_is_not_sent_again() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        first = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.5)
        assert await client.get(1) == 10
        assert first.done()
        assert now() == pytest.approx(1001.0)
    assert server.batches == [[1]]


async def test_an_answer_is_not_kept() -> None:
    server = FakeServer()
    async with client_of(server) as client:
        assert await client.get(1) == await client.get(1) == 10
    assert server.batches == [[1], [1]]


@pytest.mark.parametrize("keys", ["12", b"12", 12])
async def test_one_key_is_no_list_of_keys(keys: Any) -> None:
    async with client_of(FakeServer()) as client:
        with pytest.raises(TypeError, match="use get"):
            await client.get_many(keys)
        with pytest.raises(TypeError, match="use get"):
            await anext(client.stream(keys))


async def test_get_many_of_an_async_iterable_says_what_takes_it() -> None:
    async def keys() -> AsyncIterator[int]:
        yield 1

    async with client_of(FakeServer()) as client:
        with pytest.raises(TypeError, match="use stream"):
            await client.get_many(keys())  # type: ignore[arg-type] # the mistake under test


@pytest.mark.parametrize(
    ("timeout", "error"),
    [
        (0, ValueError),
        (-1.0, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("1", TypeError),
        (True, TypeError),
    ],
)
async def test_a_bad_timeout_is_refused(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout"):
        client_of(FakeServer(), timeout=timeout)
    async with client_of(FakeServer()) as client:
        with pytest.raises(error, match="timeout"):
            await client.get(1, timeout=timeout)
        with pytest.raises(error, match="timeout"):
            await client.get_many([1], timeout=timeout)
        assert client.stats().lookups == 0


@pytest.mark.parametrize(
    ("linger", "error"), [(-1, ValueError), (float("nan"), ValueError), (True, TypeError), ("1", TypeError)]
)
async def test_a_bad_linger_is_refused_and_says_nothing_else(linger: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="linger"):
        client_of(FakeServer(), linger=linger)
    # What __del__ raises would be a warning here, and so an error.
    gc.collect()


@pytest.mark.parametrize(
    ("argument", "value", "text"),
    [
        ("provider", "token", "provider is an SMSFire or a GreenAPI, not str$"),
        ("provider", None, "not NoneType$"),
        ("provider", SMSFire, "provider is an SMSFire or a GreenAPI, not SMSFire itself$"),
        ("limiter", RateLimit(2), r"such as TokenBucket\(RateLimit\(2\)\), not RateLimit$"),
        ("limiter", TokenBucket, "not TokenBucket itself$"),
        ("limiter", 2, "not int$"),
        ("retry", 3, r"retry is a RetryPolicy, such as RetryPolicy\(attempts=3\), not int$"),
        ("retry", None, "not NoneType$"),
        ("retry", RetryPolicy, "not RetryPolicy itself$"),
        ("clock", time, r"clock is an object with time\(\) and call_later\(\), not module$"),
    ],
)
async def test_what_is_no_provider_limiter_retry_or_clock_is_refused_where_the_client_is_made(
    argument: str, value: Any, text: str
) -> None:
    arguments = {"provider": Tens(), argument: value}
    with pytest.raises(TypeError, match=text):
        StatusClient(**arguments)
    gc.collect()


@pytest.mark.parametrize(
    "make",
    [
        lambda: StatusClient(SMSFire),  # type: ignore[arg-type] # the mistake under test
        lambda: StatusClient(Tens(), linger=-1),
        lambda: TokenBucket(2),  # type: ignore[arg-type] # the mistake under test
        lambda: SMSFire("ana:canary"),
        lambda: SMSFire("t", max_batch=0),
        lambda: GreenAPI("x", "canary"),
        lambda: GreenAPI(1, "t", api_url="x"),
    ],
)
async def test_an_object_that_refuses_its_arguments_can_be_shown_beside_the_advice(make: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    frames = [frame.f_locals["self"] for frame, _ in traceback.walk_tb(caught.tb) if "self" in frame.f_locals]
    assert frames
    assert [type(refused).__name__ for refused in frames if "canary" in repr(refused)] == []


async def test_anything_with_the_methods_is_a_provider_a_limiter_or_a_retry() -> None:
    class Never:
        def delay(self, error: ProviderError, attempts: int) -> float | None:
            return None

    server = FakeServer(lambda number: 500)
    async with client_of(server, Tens(), limiter=FakeLimiter(), retry=Never()) as client:
        with pytest.raises(ServerError):
            await client.get(1)
    assert server.requests == 1


async def test_get_many_of_nothing_asks_nothing() -> None:
    server = FakeServer()
    async with client_of(server) as client:
        assert await client.get_many([]) == {}
        assert await client.get_many(iter(())) == {}
        await asyncio.sleep(1)
        assert other_tasks() == set()
    assert server.requests == 0


async def test_get_many_takes_any_iterable_and_asks_equal_keys_once() -> None:
    server = FakeServer()
    async with client_of(server) as client:
        assert await client.get_many(number % 3 for number in range(9)) == {0: 0, 1: 10, 2: 20}
    assert server.batches == [[0, 1, 2]]


async def test_get_many_does_not_lose_what_was_found() -> None:
    server = FakeServer(lambda number: 400 if number == 2 else 200)
    async with client_of(server, Tens(max_batch=2)) as client:
        with pytest.raises(IncompleteError) as raised:
            await client.get_many([1, 2, 3, 4, 5])
    assert raised.value.statuses == {1: 10, 2: 20, 5: 50}
    assert {key: type(error) for key, error in raised.value.errors.items()} == dict.fromkeys(
        (3, 4), RejectedError
    )
    assert raised.value.errors[3] is not raised.value.errors[4]


async def test_two_bulk_calls_of_one_key_share_no_error() -> None:
    async with client_of(FakeServer(lambda number: 404)) as client:
        results = await asyncio.gather(*(client.get_many([1, 2]) for _ in range(3)), return_exceptions=True)
    errors = [
        error for result in results if isinstance(result, IncompleteError) for error in result.errors.values()
    ]
    assert len({id(error) for error in errors}) == 6


async def test_an_error_does_not_carry_notes_or_tracebacks_to_others() -> None:
    async with client_of(FakeServer(lambda number: 401)) as client:

        async def ask() -> AuthenticationError:
            with pytest.raises(AuthenticationError) as raised:
                await client.get(1)
            raised.value.add_note("mine")
            return raised.value

        errors = await asyncio.gather(ask(), ask(), ask())
    assert [error.__notes__ for error in errors] == [["mine"]] * 3
    assert all(error.__cause__ is None and error.__context__ is None for error in errors)


async def test_after_closing_every_method_says_so() -> None:
    server = FakeServer()
    client = client_of(server)
    await client.aclose()
    await client.aclose()
    with pytest.raises(ClosedError):
        await client.get(1)
    with pytest.raises(ClosedError):
        await client.get_many([1])
    with pytest.raises(ClosedError):
        async with client:
            pass
    assert server.requests == 0
    assert "closed" in repr(client)


# --- bugs of others: no lookup may hang ---------------------------------------------------------------


class Raising(Tens):
    def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
        raise RuntimeError("a bug before the first request")
        yield


class RaisingLater(Tens):
    def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
        yield Request("GET", "/1")
        raise RuntimeError("a bug after the answer")


class Yieldless(Tens):
    def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
        return {}
        yield


class Resultless(Tens):
    def exchange(self, keys: Sequence[int]) -> Any:
        yield Request("GET", "/1")


class NoGenerator(Tens):
    def exchange(self, keys: Sequence[int]) -> Any:
        return None


@pytest.mark.parametrize("provider", [Raising, RaisingLater, Yieldless, Resultless, NoGenerator])
async def test_a_bug_in_a_provider_ends_its_lookups(provider: type[Tens]) -> None:
    async with client_of(FakeServer(), provider(), timeout=None) as client:
        errors = await asyncio.gather(client.get(1), client.get(1), client.get(2), return_exceptions=True)
        assert [type(error) for error in errors] == [ProviderError] * 3
        assert len({id(error) for error in errors}) == 3
        with pytest.raises(IncompleteError):
            await client.get_many([1, 2])
        stats = client.stats()
        assert (stats.queued, stats.in_flight, other_tasks()) == (0, 0, set())


async def test_an_error_of_a_limiter_ends_what_waits_for_it_and_nothing_else() -> None:
    server = FakeServer(latency=1.0)
    limiter = FakeLimiter()
    async with client_of(server, limiter=limiter, timeout=30.0) as client:
        flying = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.1)
        limiter.error = RuntimeError("a bug in a limiter")
        results = await asyncio.gather(client.get(2), client.get_many([3, 4]), return_exceptions=True)
        assert [type(result) for result in results] == [ProviderError, IncompleteError]
        assert not flying.done()
        limiter.error = None
        late = asyncio.create_task(client.get(1))
        assert await asyncio.gather(flying, late, client.get(2)) == [10, 10, 20]  # type: ignore[comparison-overlap] # gather is typed as a tuple
        assert other_tasks() == set()
    assert server.batches == [[1], [2]]


async def test_an_error_of_ours_in_a_limiter_is_no_answer() -> None:
    limiter = FakeLimiter()
    limiter.error = ProviderError("no slot", provider="Limiter")
    async with client_of(FakeServer(), limiter=limiter, timeout=None) as client:
        with pytest.raises(ProviderError, match=r"no slot|in the exchange"):
            await client.get(1)


async def test_a_request_that_is_cancelled_from_outside_ends_its_lookups() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server, timeout=None) as client:
        lookup = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.5)
        for task in other_tasks() - {lookup}:
            task.cancel()
        with pytest.raises(ClosedError, match="cut off"):
            await lookup
        assert await client.get(1) == 10


async def test_a_request_that_is_cancelled_from_outside_before_it_began_ends_its_lookups() -> None:
    async with client_of(FakeServer(), Tens(max_batch=1), timeout=60.0) as client:
        lookup = asyncio.create_task(client.get(1))
        await asyncio.sleep(0)
        cancelled = other_tasks() - {lookup}
        assert cancelled
        for task in cancelled:
            task.cancel()
        with pytest.raises(ClosedError, match="cut off"):
            await lookup
        assert await client.get(1) == 10
