"""What is asked again, when, and in which order."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statuslookup import (
    AuthenticationError,
    DecodeError,
    ForbiddenError,
    IncompleteError,
    LookupTimeoutError,
    ProviderError,
    QuotaExceededError,
    RateLimit,
    RateLimitedError,
    RejectedError,
    RetryPolicy,
    ServerError,
    TransportError,
)
from tests.support.fakes import FakeLimiter, FakeServer, Outcome, Tens, client_of, now, other_tasks

virtual_time = pytest.mark.virtual_time

SERVER_ERROR = ServerError("failed", provider="Tens", status_code=500)
TRANSPORT_ERROR = TransportError("failed", provider="Tens")


def scripted(*chances: float) -> Callable[[], float]:
    """Return a ``random`` that gives these numbers, and fails when it is asked once more."""
    return iter(chances).__next__


def always(chance: float = 1.0) -> RetryPolicy:
    return RetryPolicy(random=lambda: chance)


def script(outcomes: Iterable[Outcome]) -> Callable[[int], Outcome]:
    """Return what a fake server does: one outcome a request, and then 200."""
    listed = list(outcomes)
    return lambda number: listed[number - 1] if number <= len(listed) else 200


# --- the policy alone -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SERVER_ERROR, TRANSPORT_ERROR])
def test_the_pause_doubles_up_to_its_maximum(error: ProviderError) -> None:
    policy = RetryPolicy(attempts=9, backoff=0.5, max_backoff=5.0, random=lambda: 1.0)
    delays = [policy.delay(error, attempts) for attempts in range(1, 10)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, None]


@given(
    attempts=st.integers(1, 10_000),
    backoff=st.floats(0, 1e6),
    max_backoff=st.floats(0, 1e6),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_the_pause_is_a_chance_within_its_bounds(
    attempts: int, backoff: float, max_backoff: float, chance: float
) -> None:
    policy = RetryPolicy(
        attempts=attempts + 1, backoff=backoff, max_backoff=max_backoff, random=lambda: chance
    )
    delay = policy.delay(SERVER_ERROR, attempts)
    assert delay is not None
    assert 0 <= delay <= min(max_backoff, backoff * 2.0 ** min(attempts - 1, 1000))
    assert delay == pytest.approx(chance * min(max_backoff, backoff * 2.0 ** min(attempts - 1, 60)))


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", provider="Tens", status_code=401),
        QuotaExceededError("no", provider="Tens"),
        RejectedError("no", provider="Tens", status_code=404),
        DecodeError("no", provider="Tens"),
        ProviderError("no", provider="Tens"),
    ],
)
def test_what_does_not_pass_is_not_asked_again(error: ProviderError) -> None:
    assert RetryPolicy(random=scripted()).delay(error, 1) is None


def test_one_attempt_is_no_retry() -> None:
    assert RetryPolicy(attempts=1).delay(SERVER_ERROR, 1) is None


def test_a_rejection_by_the_rate_limit_is_always_asked_again() -> None:
    error = RateLimitedError("slow down", provider="Tens")
    assert all(RetryPolicy(attempts=1).delay(error, attempts) is not None for attempts in (0, 1, 100))


@pytest.mark.parametrize(
    ("retry_after", "delay"), [(0.0, 0.2), (2.0, 2.0), (100.0, 5.0), (None, 0.2)], ids=str
)
def test_a_rejection_pauses_as_the_provider_asks_or_else_once(
    retry_after: float | None, delay: float
) -> None:
    """The rate limit waits, too, so the pause does not grow with the rejections."""
    error = RateLimitedError("slow down", provider="Tens", retry_after=retry_after)
    policy = RetryPolicy(backoff=0.4, max_backoff=5.0, random=lambda: 0.5)
    assert [policy.delay(error, attempts) for attempts in (1, 9)] == [delay] * 2


@pytest.mark.parametrize(("retry_after", "delay"), [(0.0, 0.2), (2.0, 2.0), (100.0, 5.0)], ids=str)
def test_a_failure_pauses_at_least_as_the_provider_asks(retry_after: float, delay: float) -> None:
    policy = RetryPolicy(backoff=0.4, max_backoff=5.0, random=lambda: 0.5)
    for kind in (ServerError, ForbiddenError):
        error = kind("later", provider="Tens", status_code=503, retry_after=retry_after)
        assert (policy.delay(error, 1), policy.delay(error, 4)) == (delay, None)


def test_the_defaults_are_the_documented_ones_and_options_are_named() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.backoff, policy.max_backoff) == (4, 0.5, 30.0)
    with pytest.raises(TypeError):
        RetryPolicy(4)  # type: ignore[call-arg] # the mistake under test


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"attempts": 0}, ValueError),
        ({"attempts": 2.0}, TypeError),
        ({"attempts": True}, TypeError),
        ({"max_backoff": float("inf")}, ValueError),
        ({"backoff": -1}, ValueError),
        ({"max_backoff": -1}, ValueError),
        ({"backoff": float("nan")}, ValueError),
        ({"backoff": "1"}, TypeError),
    ],
)
def test_a_bad_policy_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{next(iter(options))} (is|must be) "):
        RetryPolicy(**options)


def test_policies_are_values() -> None:
    assert RetryPolicy(random=random.random) == RetryPolicy(random=lambda: 0.0)
    assert "random" not in repr(RetryPolicy())


# --- the client ---------------------------------------------------------------------------------------


@virtual_time
@pytest.mark.parametrize(
    "failure", [500, 502, 503, 499, 599, httpx.ConnectError("x"), httpx.ReadTimeout("x"), OSError("x")]
)
async def test_what_may_pass_is_asked_again(failure: Outcome) -> None:
    server = FakeServer(script([failure, failure]))
    async with client_of(server) as client:
        assert await client.get(1) == 10
        assert (client.stats().retries, other_tasks()) == (2, set())
    assert server.batches == [[1]] * 3


@virtual_time
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 466, 302])
async def test_what_does_not_pass_is_asked_once(status: int) -> None:
    server = FakeServer(lambda number: status)
    async with client_of(server) as client:
        with pytest.raises(ProviderError) as raised:
            await client.get(1)
        assert raised.value.attempts == 1
        await asyncio.sleep(60)
    assert server.requests == 1


@virtual_time
@pytest.mark.parametrize("failure", [503, httpx.ConnectError("x")])
async def test_every_waiter_gets_the_last_error_as_its_own_with_the_attempts(failure: Outcome) -> None:
    kind = ServerError if failure == 503 else TransportError
    server = FakeServer(script([500, 500, failure]))
    async with client_of(server, retry=RetryPolicy(attempts=3, random=lambda: 1.0)) as client:
        singles = [client.get(key) for key in (1, 1, 2)]
        *errors, incomplete = await asyncio.gather(
            *singles, client.get_many([1, 2, 3]), return_exceptions=True
        )
        assert isinstance(incomplete, IncompleteError)
        errors += incomplete.errors.values()
        assert [type(error) for error in errors] == [kind] * 6
        assert [error.attempts for error in errors if isinstance(error, ProviderError)] == [3] * 6
        assert len({id(error) for error in errors}) == 6
        assert "(after 3 attempts)" in str(errors[0])
        # The client stays usable.
        assert await client.get(1) == 10


@virtual_time
async def test_the_pauses_are_those_of_the_policy() -> None:
    server = FakeServer(lambda number: 500)
    retry = RetryPolicy(attempts=4, backoff=2.0, random=scripted(1.0, 0.25, 0.75))
    async with client_of(server, retry=retry) as client:
        with pytest.raises(ServerError):
            await client.get(1)
    # 0.05 s in flight each time, then 1.0 x 2, 0.25 x 4 and 0.75 x 8 seconds.
    assert server.times == pytest.approx([0.0, 2.05, 3.1, 9.15], abs=1e-3)


@virtual_time
async def test_one_chance_a_request_decides_however_many_keys_it_carried() -> None:
    """The longest of 200 chances would be no chance: everybody's clients would come back at once."""
    server = FakeServer(script([500]))
    async with client_of(server, retry=RetryPolicy(backoff=10.0, random=scripted(0.1))) as client:
        await asyncio.gather(*(client.get(key) for key in range(200)))
    assert server.times == pytest.approx([0.0, 1.05])


@virtual_time
async def test_failed_keys_go_first_and_ride_with_fresh_ones() -> None:
    server = FakeServer(script([500]))
    async with client_of(server, Tens(max_batch=5), retry=always()) as client:
        failing = [asyncio.create_task(client.get(key)) for key in (3, 1, 2)]
        bulk_failing = asyncio.create_task(client.get_many([8]))
        await asyncio.sleep(0.1)
        fresh = [asyncio.create_task(client.get(key)) for key in (9, 4, 7)]
        await asyncio.gather(*failing, *fresh, bulk_failing)
    assert server.batches[0] == [3, 1, 2, 8]
    assert server.batches[1:] == [[3, 1, 2, 9, 4], [7, 8]]


@virtual_time
async def test_a_key_is_counted_by_its_own_attempts() -> None:
    server = FakeServer(lambda number: 500)
    async with client_of(server, retry=RetryPolicy(attempts=3, random=lambda: 1.0)) as client:
        old = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.1)
        with pytest.raises(ServerError) as raised:
            await client.get(2)
        assert raised.value.attempts == 3
        with pytest.raises(ServerError) as raised:
            await old
        assert raised.value.attempts == 3
    assert server.batches == [[1], [1, 2], [1, 2], [2]]


@virtual_time
@pytest.mark.parametrize("arrives", [0.01, 0.049, 0.06, 3.0, 9.0])
async def test_nothing_is_sent_during_the_pause_whenever_it_was_asked(arrives: float) -> None:
    """Also what was asked while the failing request was still in flight, and waits in the limiter already."""
    server = FakeServer(script([500]))
    async with client_of(server, retry=RetryPolicy(backoff=10.0, random=lambda: 1.0)) as client:
        first = asyncio.create_task(client.get(1))
        await asyncio.sleep(arrives)
        later = [asyncio.create_task(client.get(key)) for key in range(2, 500)]
        await asyncio.gather(first, *later)
    assert server.times[1] == pytest.approx(10.05, abs=0.01)
    assert server.batches[1][0] == 1


@virtual_time
@pytest.mark.parametrize("linger", [0.0, 0.2])
async def test_a_steady_stream_of_lookups_does_not_hammer_a_failing_provider(linger: float) -> None:
    server = FakeServer(lambda number: 500)
    async with client_of(server, retry=always(), linger=linger, timeout=30.0) as client:

        async def ask(key: int) -> object:
            await asyncio.sleep(key * 0.1)
            return await client.get(key)

        results = await asyncio.gather(*(ask(key) for key in range(100)), return_exceptions=True)
        assert {type(result) for result in results} <= {ServerError, LookupTimeoutError}
    gaps = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    # The shortest pause is 0.5 s after the answer of a key's first request, and most are longer.
    assert min(gaps) >= 0.55 - 1e-6
    assert server.times[1:4] == pytest.approx([0.55 + linger, 1.6 + linger, 3.65 + linger], abs=0.06)


@virtual_time
async def test_of_requests_that_fail_side_by_side_the_longest_pause_counts() -> None:
    server = FakeServer(lambda number: 500 if number <= 3 else 200)
    retry = RetryPolicy(backoff=4.0, random=scripted(0.25, 1.0, 0.5))
    async with client_of(server, Tens(max_batch=1), retry=retry, limiter=FakeLimiter()) as client:
        assert await asyncio.gather(*(client.get(key) for key in (1, 2, 3))) == [10, 20, 30]
    assert server.times == pytest.approx([0, 0, 0, 4.05, 4.05, 4.05])


@virtual_time
async def test_a_rate_limited_key_is_asked_again_until_its_deadline() -> None:
    server = FakeServer(lambda number: 429)
    async with client_of(server, retry=RetryPolicy(attempts=1), timeout=30.0) as client:
        with pytest.raises(RateLimitedError) as raised:
            await client.get(1)
        assert raised.value.attempts == server.requests
        assert now() == pytest.approx(1030, abs=0.05)
        assert client.stats().rejections == server.requests >= 3
    assert server.requests <= 30


@virtual_time
async def test_a_rate_limited_key_is_answered_when_the_limit_allows_it() -> None:
    server = FakeServer(script([429] * 6))
    async with client_of(server, retry=RetryPolicy(attempts=2), timeout=None) as client:
        assert await client.get(1) == 10
        assert client.stats().rejections == 6


@virtual_time
async def test_a_rate_limit_does_not_count_as_an_attempt() -> None:
    server = FakeServer(script([429, 500, 429, 500, 429]))
    async with client_of(server, retry=RetryPolicy(attempts=2, random=lambda: 0.0)) as client:
        with pytest.raises(ServerError) as raised:
            await client.get(1)
        assert raised.value.attempts == 2
    assert server.requests == 4


@virtual_time
async def test_without_a_limiter_a_429_is_no_reason_to_hammer() -> None:
    class Limited(FakeServer):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await super().handle_async_request(request)
            return httpx.Response(429, headers={"Retry-After": "5"})

    server = Limited()
    async with client_of(server, Tens(rate_limit=None), timeout=22.0) as client:
        with pytest.raises(RateLimitedError):
            await client.get(1)
    assert server.requests <= 5


class Down(FakeServer):
    """Is down for so many requests, and says for how long."""

    def __init__(self, requests: int, **headers: str) -> None:
        super().__init__(lambda number: 503 if number <= requests else 200)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        return httpx.Response(response.status_code, headers=self.headers)


@virtual_time
async def test_a_server_that_says_when_it_is_back_is_not_asked_before() -> None:
    server = Down(1, Retry_After="20")
    async with client_of(server, retry=always()) as client:
        first = asyncio.create_task(client.get(1))
        await asyncio.sleep(10)
        assert [await client.get(2), await first] == [20, 10]
    assert server.times == pytest.approx([0, 20.05])


@virtual_time
async def test_the_pause_that_a_server_asks_for_is_capped_like_that_of_a_429() -> None:
    server = Down(9, Retry_After="120")
    async with client_of(server, retry=RetryPolicy(attempts=3), timeout=None) as client:
        with pytest.raises(ServerError) as raised:
            await client.get(1)
    assert raised.value.retry_after == 120
    assert server.times == pytest.approx([0, 30.05, 60.1])


@virtual_time
async def test_a_403_after_a_success_is_asked_again_and_one_before_it_is_not() -> None:
    server = FakeServer(script([403, 200, 403, 403, 200]))
    async with client_of(server, retry=always(0.0)) as client:
        with pytest.raises(AuthenticationError):
            await client.get(1)
        assert [await client.get(2), await client.get(3), client.stats().retries] == [20, 30, 2]
        server.outcome = lambda number: 403
        with pytest.raises(ForbiddenError, match="such as a firewall") as raised:
            await client.get(4)
        assert raised.value.attempts == 4


@virtual_time
async def test_what_succeeded_is_not_asked_again_with_what_failed() -> None:
    class Half(Tens):
        def exchange(self, keys: Any) -> Any:
            ends = yield from super().exchange(keys)
            for key in keys:
                if key % 2 and len(server.batches) < 3:
                    ends[key] = ServerError("half", provider=self.name, status_code=500)
            return ends

    server = FakeServer()
    async with client_of(server, Half(rate_limit=RateLimit(2))) as client:
        assert await client.get_many(range(5)) == {key: 10 * key for key in range(5)}
        assert client.stats().retries == 4
    assert server.batches == [[0, 1, 2, 3, 4], [1, 3], [1, 3]]


@virtual_time
async def test_a_policy_with_a_bug_hangs_nobody() -> None:
    server = FakeServer(lambda number: 500)
    async with client_of(server, retry=RetryPolicy(random=scripted()), timeout=None) as client:
        errors = await asyncio.gather(client.get(1), client.get(2), return_exceptions=True)
        assert all(isinstance(error, ProviderError) for error in errors)
        assert other_tasks() == set()
