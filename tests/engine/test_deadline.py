"""A lookup takes no longer than its timeout, and says where the time went."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeAlias

import httpx
import pytest

from statuslookup import (
    IncompleteError,
    LookupTimeoutError,
    ProviderError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    StatusClient,
)
from tests.support.fakes import FakeLimiter, FakeServer, Tens, bucket, client_of, now, other_tasks, ticks

pytestmark = pytest.mark.virtual_time

WITHIN = 0.05

Ask: TypeAlias = Callable[[StatusClient[int, int], int, float], Awaitable[LookupTimeoutError]]


async def ask_by_get(client: StatusClient[int, int], key: int, timeout: float) -> LookupTimeoutError:
    with pytest.raises(LookupTimeoutError) as raised:
        await client.get(key, timeout=timeout)
    return raised.value


async def ask_by_get_many(client: StatusClient[int, int], key: int, timeout: float) -> LookupTimeoutError:
    with pytest.raises(IncompleteError) as raised:
        await client.get_many([key], timeout=timeout)
    error = raised.value.errors[key]
    assert isinstance(error, LookupTimeoutError)
    return error


by_both = pytest.mark.parametrize("ask", [ask_by_get, ask_by_get_many])


async def timed(awaitable: Awaitable[LookupTimeoutError]) -> LookupTimeoutError:
    """See that the wait took as long as its timeout, and that the times of its error add up to it."""
    started = now()
    error = await awaitable
    assert error.timeout - 1e-6 <= now() - started <= error.timeout + WITHIN
    assert min(error.queued, error.paced, error.in_flight) >= 0
    assert error.queued + error.paced + error.in_flight == pytest.approx(error.timeout)
    return error


def parts(error: LookupTimeoutError) -> tuple[float, float, float]:
    return error.queued, error.paced, error.in_flight


@by_both
async def test_while_it_lingers(ask: Ask) -> None:
    server = FakeServer()
    async with client_of(server, linger=60.0) as client:
        error = await timed(ask(client, 1, 2.0))
        assert parts(error) == pytest.approx((2.0, 0.0, 0.0), abs=WITHIN)
        assert other_tasks() == set()
    assert server.requests == 0


@by_both
async def test_while_it_waits_for_the_rate_limit(ask: Ask) -> None:
    server = FakeServer()
    limiter = bucket(0.1)
    async with client_of(server, limiter=limiter) as client:
        await client.get(0)
        error = await timed(ask(client, 1, 2.0))
        assert parts(error) == pytest.approx((0.0, 2.0, 0.0), abs=WITHIN)
        await ticks()
        assert (limiter.stats().waiting, other_tasks()) == (0, set())
    assert server.requests == 1


@by_both
async def test_behind_others(ask: Ask) -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=1), limiter=bucket(1)) as client:
        others = [asyncio.create_task(client.get(key)) for key in range(9)]
        await ticks()
        error = await timed(ask(client, 100, 4.5))
        assert error.in_flight == 0
        await asyncio.gather(*others)
    assert [100] not in server.batches


@by_both
async def test_in_flight(ask: Ask) -> None:
    server = FakeServer(latency=60.0)
    async with client_of(server) as client:
        error = await timed(ask(client, 1, 2.0))
        assert parts(error) == pytest.approx((0.0, 0.0, 2.0), abs=WITHIN)
        # Nobody waits for the request any more, so it is ended.
        await ticks()
        assert (client.stats().in_flight, other_tasks()) == (0, set())
        await asyncio.sleep(60)
    assert (server.requests, server.answered) == (1, 0)


@by_both
async def test_in_the_pause_before_a_retry(ask: Ask) -> None:
    server = FakeServer(lambda number: 500, latency=0.5)
    async with client_of(server, retry=RetryPolicy(backoff=10.0, random=lambda: 1.0)) as client:
        error = await timed(ask(client, 1, 3.0))
        assert parts(error) == pytest.approx((2.5, 0.0, 0.5), abs=WITHIN)
        await asyncio.sleep(60)
    assert server.requests == 1


async def test_the_times_of_several_attempts_add_up() -> None:
    """Paced 1 s behind another request, 0.5 s in flight, 2 s of pause, and again in flight."""
    server = FakeServer(lambda number: 500 if number == 2 else 200, latency=0.5)
    limiter = FakeLimiter()
    async with client_of(
        server, limiter=limiter, retry=RetryPolicy(backoff=2.0, random=lambda: 1.0)
    ) as client:
        await client.get(0)
        limiter.gate.clear()
        asyncio.get_running_loop().call_later(1.0, limiter.gate.set)
        error = await timed(ask_by_get(client, 1, 3.75))
        assert parts(error) == pytest.approx((2.0, 1.0, 0.75), abs=WITHIN)


async def test_who_joins_late_is_not_told_of_times_before() -> None:
    server = FakeServer(latency=60.0)
    limiter = FakeLimiter()
    limiter.gate.clear()
    async with client_of(server, limiter=limiter) as client:
        early = asyncio.create_task(client.get(1, timeout=None))
        await asyncio.sleep(5)
        error = await timed(ask_by_get(client, 1, 1.0))
        assert parts(error) == pytest.approx((0.0, 1.0, 0.0), abs=WITHIN)
        limiter.gate.set()
        await asyncio.sleep(5)
        error = await timed(ask_by_get(client, 1, 1.0))
        assert parts(error) == pytest.approx((0.0, 0.0, 1.0), abs=WITHIN)
        assert await early == 10


async def test_a_key_that_came_after_the_slot_was_asked_for_was_not_paced_longer_than_it_waited() -> None:
    server = FakeServer(lambda number: 500, latency=0.1)
    limiter = FakeLimiter()
    limiter.gate.clear()
    async with client_of(
        server, limiter=limiter, retry=RetryPolicy(backoff=10.0, random=lambda: 1.0)
    ) as client:
        early = asyncio.create_task(client.get(0, timeout=None))
        await asyncio.sleep(4.8)
        asyncio.get_running_loop().call_later(0.2, limiter.gate.set)
        error = await timed(ask_by_get(client, 1, 6.0))
        assert parts(error) == pytest.approx((5.7, 0.2, 0.1), abs=WITHIN)
        early.cancel()


@by_both
async def test_a_timeout_after_failed_attempts_says_why_they_failed(ask: Ask) -> None:
    server = FakeServer(lambda number: 503 if number <= 2 else 200, latency=0.1)
    retry = RetryPolicy(backoff=1.0, random=lambda: 1.0)
    async with client_of(server, retry=retry) as client:
        first, second = await asyncio.gather(ask(client, 1, 2.0), ask(client, 2, 2.0))
    # The second attempt failed at 1.2 s, and the next one was to be two seconds later.
    for error in (first, second):
        assert isinstance(error.last_failure, ServerError)
        assert error.last_failure.attempts == 2
        assert error.last_failure.__traceback__ is None
        assert "it had failed before: Tens: " in str(error)
    assert first.last_failure is not second.last_failure


async def test_the_timeout_of_a_call_replaces_that_of_the_client() -> None:
    server = FakeServer(latency=5.0)
    async with client_of(server, timeout=1.0) as client:
        with pytest.raises(LookupTimeoutError, match="no status within 1 s"):
            await client.get(1)
        assert await client.get(2, timeout=60) == 20
        assert await client.get(3, timeout=None) == 30
        assert await client.get_many([4], timeout=60) == {4: 40}
        with pytest.raises(IncompleteError, match="no status within 1 s"):
            await client.get_many([5])


async def test_without_a_timeout_it_waits_for_as_long_as_it_takes() -> None:
    # Longer than the default of 60 s; a request of its own may take 120 s.
    server = FakeServer(latency=100.0)
    async with client_of(server, timeout=None) as client:
        one, many = await asyncio.gather(client.get(1), client.get_many([2]))
    assert (one, many) == (10, {2: 20})
    assert server.batches == [[1, 2]]


async def test_a_deadline_ends_one_caller_and_not_the_others_of_its_key() -> None:
    server = FakeServer(latency=5.0)
    async with client_of(server) as client:
        patient = asyncio.create_task(client.get(1))
        await timed(ask_by_get(client, 1, 1.0))
        await timed(ask_by_get_many(client, 1, 1.0))
        assert await patient == 10
    assert server.batches == [[1]]


async def test_many_deadlines_are_each_kept() -> None:
    server = FakeServer(latency=100.0)
    async with client_of(server) as client:
        async with asyncio.TaskGroup() as group:
            for key in range(1000):
                group.create_task(timed(ask_by_get(client, key % 300, 0.5 + key % 7 * 0.37)))
            for key in range(50):
                group.create_task(timed(ask_by_get_many(client, key, 0.25 + key * 0.11)))
        stats = client.stats()
        assert stats.queued == 0


@by_both
async def test_equal_timeouts_that_began_at_different_moments_are_each_kept(ask: Ask) -> None:
    async with client_of(FakeServer(latency=100.0)) as client:

        async def later(seconds: float) -> None:
            await asyncio.sleep(seconds)
            await timed(ask(client, 1, 2.0))

        await asyncio.gather(*(later(seconds) for seconds in (0, 0.001, 0.02, 0.5, 1.5, 1.99, 2.5, 7)))


async def test_in_get_many_the_timeout_counts_for_each_key_from_when_it_is_queued() -> None:
    """20 requests take 10 s, but no key waits longer than for the few batches that are queued with it."""
    server = FakeServer()
    async with client_of(server, Tens(max_batch=10)) as client:
        found = await client.get_many(range(200), timeout=2.0)
        assert len(found) == 200
        assert now() > 1009


async def test_in_get_many_only_the_late_keys_fail() -> None:
    """The third request takes 3 s: its keys fail, and those that are queued meanwhile, but none after it."""
    server = FakeServer()
    async with client_of(server, Tens(max_batch=10)) as client:
        loop = asyncio.get_running_loop()
        loop.call_later(0.9, setattr, server, "latency", 3.0)
        loop.call_later(1.5, setattr, server, "latency", 0.05)
        with pytest.raises(IncompleteError) as raised:
            await client.get_many(range(200), timeout=2.0)
        statuses, errors = raised.value.statuses, raised.value.errors
        assert statuses.keys() | errors.keys() == set(range(200))
        assert {*range(20), 199} <= statuses.keys()
        assert set(range(20, 30)) <= errors.keys()
        assert all(isinstance(error, LookupTimeoutError) for error in errors.values())
        await ticks()
        assert (client.stats().queued, other_tasks()) == (0, set())


@pytest.mark.usefixtures("no_noise")
async def test_an_answer_at_the_very_deadline_is_one_outcome_and_not_two() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        for timeout in (0.999999, 1.0, 1.000001):
            results = await asyncio.gather(
                client.get(1, timeout=timeout), client.get_many([1], timeout=timeout), return_exceptions=True
            )
            assert results[0] == 10 or isinstance(results[0], LookupTimeoutError)
            assert results[1] == {1: 10} or isinstance(results[1], IncompleteError)
            await asyncio.sleep(5)


async def test_the_context_of_a_caller_does_not_outlive_its_lookup() -> None:
    class Held:
        pass

    held: ContextVar[Held] = ContextVar("held")

    async def first(client: StatusClient[int, int]) -> "weakref.ref[Held]":
        held.set(Held())
        await client.get(1)
        return weakref.ref(held.get())

    async def many(client: StatusClient[int, int]) -> None:
        # One begins before another ends, so that there is always a deadline.
        await asyncio.gather(*(ask_later(client, key, key * 0.05) for key in range(2, 3000)))

    async def ask_later(client: StatusClient[int, int], key: int, delay: float) -> None:
        await asyncio.sleep(delay)
        await client.get(key)

    async with client_of(FakeServer(latency=0.1), timeout=60.0) as client:
        task = asyncio.create_task(first(client))
        others = asyncio.create_task(many(client))
        reference = await task
        del task
        await asyncio.sleep(100)
        gc.collect()
        assert reference() is None
        await others


async def test_the_freeze_after_a_429_is_time_paced_for_all_that_wait() -> None:
    """Also for those that were never sent, and their error says what held them back."""

    async def reject(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "30"})

    async with client_of(httpx.MockTransport(reject), Tens(rate_limit=None)) as client:
        asked = asyncio.create_task(client.get(1, timeout=5.0))
        await asyncio.sleep(1.0)
        error = await timed(ask_by_get(client, 2, 2.0))
        assert parts(error) == pytest.approx((0.0, 2.0, 0.0), abs=WITHIN)
        assert isinstance(error.last_failure, RateLimitedError)
        assert "429" in str(error)
        with pytest.raises(RateLimitedError):
            await asked


async def test_the_freeze_counts_as_paced_in_the_stats() -> None:
    server = FakeServer(lambda number: 429 if number == 1 else 200, latency=0.0)
    retry = RetryPolicy(backoff=4.0, random=lambda: 0.5)
    async with client_of(server, Tens(rate_limit=None), retry=retry) as client:
        assert await client.get(1) == 10
        assert client.stats().seconds_paced == pytest.approx(2.0)


async def test_a_freeze_holds_back_also_who_comes_when_all_others_have_left() -> None:
    async def reject(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "20"})

    async with client_of(httpx.MockTransport(reject), Tens(rate_limit=None)) as client:
        with pytest.raises(RateLimitedError):
            await client.get(1, timeout=2.0)
        error = await timed(ask_by_get(client, 2, 5.0))
        assert parts(error) == pytest.approx((0.0, 5.0, 0.0), abs=WITHIN)
        assert isinstance(error.last_failure, RateLimitedError)


async def test_a_freeze_that_is_over_is_not_told_of_any_more() -> None:
    server = FakeServer(lambda number: 429 if number == 1 else 200, latency=0.0)
    retry = RetryPolicy(backoff=2.0, random=lambda: 0.5)
    async with client_of(server, Tens(rate_limit=None), retry=retry) as client:
        assert await client.get(1) == 10
        await asyncio.sleep(3600)
        server.latency = 60.0
        error = await timed(ask_by_get(client, 2, 5.0))
        assert error.last_failure is None
        assert client.stats().seconds_paced == pytest.approx(1.0)


async def test_a_retrys_pause_that_outlasts_a_freeze_is_not_time_paced() -> None:
    class Pauses(RetryPolicy):
        def delay(self, error: ProviderError, attempts: int) -> float | None:
            return 2.0 if isinstance(error, RateLimitedError) else 10.0

    server = FakeServer(lambda number: {1: 429, 2: 503}.get(number, 200), latency=0.5)
    async with client_of(server, Tens(max_batch=1, rate_limit=None), retry=Pauses()) as client:
        assert list(await asyncio.gather(client.get(1), client.get(2))) == [10, 20]
        assert now() > 1010
        assert client.stats().seconds_paced == pytest.approx(0.0)
