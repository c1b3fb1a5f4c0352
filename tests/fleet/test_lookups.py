"""Clients of a fleet do together what one does alone: batches, equal keys, lanes, retries, deadlines."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from statuslookup import (
    AuthenticationError,
    CustomId,
    DeliveryState,
    IncompleteError,
    LookupTimeoutError,
    RateLimit,
    RejectedError,
    RetryPolicy,
    ServerError,
    StatusClient,
)
from statuslookup.sandbox import Sandbox
from tests.support.fleets import Clients, at_times, greenapi, timed, until

Strict = tuple[Sandbox, str]
Client = StatusClient[Any, Any]
FAST = RateLimit(50)


async def get(client: Client, *keys: Any) -> list[Any]:
    return await asyncio.gather(*(client.get(key) for key in keys))


async def warm(clients: list[Client]) -> None:
    """Let all be connected, and the slot be free again right after."""
    await asyncio.gather(*(client.get(1) for client in clients))


async def test_what_waits_in_ten_clients_rides_in_one_request(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        clients = await fleet.several(10)

        async def in_one_request(number: int) -> bool:
            await warm(clients)
            sandbox.reset_counts()
            first = 200 * number
            wanted = [
                (client, first + 20 * place + key)
                for place, client in enumerate(clients)
                for key in range(1, 21)
            ]
            told = sum(client.stats().told for client in clients)
            began_at = time.monotonic()
            found = await asyncio.gather(*(get(client, key) for client, key in wanted))
            seconds = time.monotonic() - began_at
            assert [status.id for [status] in found] == [key for _, key in wanted]
            assert (sandbox.keys, sandbox.rejections) == (200, 0)
            told = sum(client.stats().told for client in clients) - told
            return sandbox.requests == 1 and seconds < 1.0 and told == 180

        await at_times(in_one_request)


async def test_ten_lists_at_once_take_as_many_requests_as_one(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        clients = await fleet.several(10)
        lists = [list(range(60 * place + 1, 60 * place + 61)) for place in range(10)]

        async def in_three_requests(_: int) -> bool:
            await warm(clients)
            sandbox.reset_counts()
            found = await asyncio.gather(
                *(client.get_many(keys) for client, keys in zip(clients, lists, strict=True))
            )
            assert [list(each) for each in found] == lists
            assert (sandbox.keys, sandbox.rejections) == (600, 0)
            return sandbox.requests == 3

        await at_times(in_three_requests)


async def test_equal_keys_of_several_clients_are_asked_once(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        clients = await fleet.several(5)

        async def once(_: int) -> bool:
            await warm(clients)
            sandbox.reset_counts()
            found = await asyncio.gather(*(get(client, *range(1, 51)) for client in clients))
            assert [[status.id for status in each] for each in found] == [list(range(1, 51))] * 5
            return (sandbox.requests, sandbox.keys) == (1, 50)

        await at_times(once)


async def test_the_keys_of_ones_own_request_are_in_flight(redis_url: str) -> None:
    slow = Sandbox(latency=1.0)
    with slow.serve() as url:
        async with Clients(redis_url, url) as fleet:
            client = await fleet.smsfire()
            lookup = asyncio.create_task(get(client, 1, 2, 3))
            await until(lambda: client.stats().requests == 1)
            assert (client.stats().queued, client.stats().in_flight) == (0, 3)
            assert await lookup == [None] * 3


async def test_ids_customids_and_unknown_messages_are_told_apart(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)

        async def are_asked_once(_: int) -> bool:
            await warm([one, two])
            sandbox.reset_counts()
            found = await asyncio.gather(
                *(client.get_many([7, CustomId("c8"), 999_999, CustomId("nobody")]) for client in (one, two))
            )
            for each in found:
                known = [None if status is None else status.id for status in each.values()]
                assert known == [7, 8, None, None]
            return sandbox.keys == 4

        await at_times(are_asked_once)


async def test_a_get_goes_before_another_clients_long_list(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)
        await warm([one, two])
        sandbox.reset_counts()
        stream = asyncio.create_task(one.get_many(range(1, 1601)))
        await until(lambda: sandbox.requests == 1)
        assert await two.get(2000) is not None
        # The whole list takes eight requests.
        assert sandbox.requests <= 4
        assert not stream.done()
        stream.cancel()
        await asyncio.wait([stream])
        assert sandbox.rejections == 0


async def test_a_stream_of_one_client_is_sent_by_whoever_goes_next(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url, rate_limit=FAST) as fleet:
        sandbox.rate_limit = FAST
        one, two = await fleet.several(2)
        seen = {outcome.key async for outcome in one.stream(range(1, 2001)) if outcome.status is not None}
        assert len(seen) == 2000
        assert await two.get(1) is not None
        # On a machine that has no time for it, a lease may end, and then a batch is asked again.
        assert sandbox.keys < 3000


class Picky(httpx.AsyncBaseTransport):
    """Refuses whatever holds the id 13."""

    def __init__(self) -> None:
        self._below = httpx.AsyncHTTPTransport()
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if b'"13"' in request.content or request.url.path.endswith("/13"):
            return httpx.Response(400)
        return await self._below.handle_async_request(request)

    async def aclose(self) -> None:
        await self._below.aclose()


async def test_a_bad_key_is_its_owners_alone(redis_url: str, strict: Strict) -> None:
    """A refused batch is divided, by whichever client has it; the others' keys are answered all the same."""
    sandbox, url = strict
    sandbox.rate_limit = FAST
    async with Picky() as transport, Clients(redis_url, url, rate_limit=FAST, transport=transport) as fleet:
        clients = await fleet.several(3)
        await warm(clients)
        found = await asyncio.gather(
            clients[0].get_many(range(1, 11)),
            clients[1].get_many(range(11, 21)),
            clients[2].get_many(range(21, 31)),
            return_exceptions=True,
        )
        assert isinstance(found[1], IncompleteError)
        assert {key: type(error) for key, error in found[1].errors.items()} == {13: RejectedError}
        assert len(found[1].statuses) == 9
        for place in (0, 2):
            each = found[place]
            assert isinstance(each, dict)
            assert all(status.id == key for key, status in each.items())


async def test_fresh_keys_need_not_wait_until_a_bad_batch_is_divided(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    sandbox.rate_limit = limit = RateLimit(5)
    async with Picky() as transport, Clients(redis_url, url, rate_limit=limit, transport=transport) as fleet:
        one, two = await fleet.several(2)
        await warm([one, two])
        before = transport.requests
        divided = asyncio.create_task(one.get_many(range(1, 201)))
        await until(lambda: transport.requests >= before + 2)
        before = transport.requests
        assert await two.get(2000) is not None
        # Every other slot at least is for what nobody has asked yet.
        assert transport.requests <= before + 4
        assert not divided.done()
        divided.cancel()
        await asyncio.wait([divided])


async def test_in_the_pause_after_a_failure_nobody_else_asks_for_the_key(
    redis_url: str, strict: Strict
) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        one = await fleet.smsfire(retry=RetryPolicy(backoff=3.0, random=lambda: 0.9))
        two = await fleet.smsfire()
        await two.get(1)
        await one.get(1)
        sandbox.reset_counts()
        sandbox.fault = lambda number: 503 if number == 1 else None
        began_at = time.monotonic()
        lookup = asyncio.create_task(one.get(5))
        await until(lambda: one.stats().retries == 1)
        assert await two.get(6) is not None
        assert sandbox.keys == 1
        assert await lookup is not None
        assert time.monotonic() - began_at > 2.7
        assert sandbox.keys == 2


@pytest.mark.parametrize("attempts", [[1, 1], [3, 1]], ids=str)
async def test_each_owner_keeps_its_own_attempts(redis_url: str, strict: Strict, attempts: list[int]) -> None:
    sandbox, url = strict
    sandbox.rate_limit = FAST
    async with Clients(redis_url, url, rate_limit=FAST) as fleet:
        clients = [await fleet.smsfire(retry=RetryPolicy(attempts=each, backoff=0.05)) for each in attempts]
        await warm(clients)
        sandbox.fault = lambda number: 503
        found = await asyncio.gather(*(client.get(5) for client in clients), return_exceptions=True)
        assert [type(error) for error in found] == [ServerError] * 2
        assert [getattr(error, "attempts", 0) for error in found] == attempts
        assert found[0] is not found[1]


async def test_refused_credentials_end_the_lookups_of_all(redis_url: str, strict: Strict) -> None:
    _, url = strict
    async with Clients(redis_url, url) as fleet:
        clients = await fleet.several(3, token="wrong")
        found = await asyncio.gather(*(client.get(5) for client in clients), return_exceptions=True)
        assert [type(error) for error in found] == [AuthenticationError] * 3


async def test_a_failure_that_passes_is_asked_again_for_all(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url, retry=RetryPolicy(backoff=0.1)) as fleet:
        clients = await fleet.several(3)
        await warm(clients)
        sandbox.reset_counts()
        sandbox.fault = lambda number: 503 if number == 1 else None
        found = await asyncio.gather(*(get(client, place + 1) for place, client in enumerate(clients)))
        assert [status.id for [status] in found] == [1, 2, 3]
        assert sandbox.rejections == 0
        assert sandbox.requests <= 4


async def test_a_429_slows_all_down_once(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    async with Clients(redis_url, url) as fleet:
        clients = await fleet.several(3)
        await warm(clients)
        sandbox.reset_counts()
        sandbox.fault = lambda number: 429 if number == 1 else None
        began_at = time.monotonic()
        found = await asyncio.gather(*(get(client, place + 1) for place, client in enumerate(clients)))
        assert [status.id for [status] in found] == [1, 2, 3]
        assert time.monotonic() - began_at > 1.1
        await asyncio.gather(*(client.get(place + 10) for place, client in enumerate(clients)))
        # The rate is halved for whoever sends next: one second after the last answer.
        gaps = [
            later - earlier for earlier, later in zip(sandbox.arrivals, sandbox.arrivals[1:], strict=False)
        ]
        assert all(gap >= 0.99 for gap in gaps), gaps


async def test_a_deadline_is_the_callers_own(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    sandbox.fault = lambda number: Response(status_code=503)
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.several(2)
        results = await asyncio.gather(
            one.get(1, timeout=0.8), two.get(1, timeout=1.6), return_exceptions=True
        )
        assert [type(error) for error in results] == [LookupTimeoutError] * 2
        assert [getattr(error, "timeout", 0) for error in results] == [0.8, 1.6]


async def test_withdrawn_keys_are_not_asked(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    # The next turn is 2 s away, so that also a busy machine withdraws them before it.
    async with Clients(redis_url, url, rate_limit=RateLimit(1, per=2.0)) as fleet:
        one, two = await fleet.several(2)
        await warm([one, two])
        lookups = [asyncio.create_task(two.get(key)) for key in range(100, 150)]
        await asyncio.sleep(0.48)
        for lookup in lookups:
            lookup.cancel()
        await asyncio.wait(lookups)
        assert await one.get(7) is not None
        assert sandbox.keys <= 3
        assert two.stats().queued == 0


async def test_a_key_that_is_told_and_asked_anew_at_once_is_asked(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    sandbox.rate_limit = FAST
    # Whoever forgot to ask would do so when a lease is over.
    async with Clients(redis_url, url, rate_limit=FAST, lease=30.0) as fleet:
        one, two = await fleet.several(2)
        await warm([one, two])
        sandbox.reset_counts()

        async def ask(client: Client) -> float:
            return max([await timed(client.get(5)) for _ in range(30)])

        slowest = await asyncio.gather(ask(one), ask(two))
        assert max(slowest) < 15.0
        assert sandbox.rejections == 0


async def test_greenapi_looks_stories_up_through_a_fleet(redis_url: str, strict: Strict) -> None:
    sandbox, url = strict
    instance = sandbox.add_instance(rate_limit=FAST)
    instance.add_statistic("STORY1", DeliveryState.READ, DeliveryState.DELIVERED)
    provider = greenapi(url)
    provider.rate_limit = FAST
    async with Clients(redis_url, url) as fleet:
        one, two = await fleet.of(provider), await fleet.of(provider)
        [story], [same, unknown] = await asyncio.gather(get(one, "STORY1"), get(two, "STORY1", "unknown: §"))
        assert story == same
        assert (len(story.receipts), unknown.receipts) == (2, ())
