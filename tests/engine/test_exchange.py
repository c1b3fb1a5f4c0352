"""What an exchange may do: hand out ends before it is over, and what the client makes of that."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias

import pytest

from statuslookup import LookupTimeoutError, ProviderError, RetryPolicy, ServerError, StatusLookupError
from statuslookup._wire import Request, Response
from tests.support.fakes import FakeLimiter, FakeServer, Tens, client_of, now, other_tasks, ticks

pytestmark = pytest.mark.virtual_time

Ends: TypeAlias = dict[int, int | StatusLookupError | None]
Steps: TypeAlias = Generator[Request | Ends, Response, Ends]


class Told(Tens):
    """Has the exchange that it is given."""

    def __init__(self, steps: Callable[[Sequence[int]], Steps], **options: Any) -> None:
        super().__init__(**options)
        self.exchange = steps  # type: ignore[assignment,method-assign] # it may yield more


def ask(keys: Sequence[int]) -> Request:
    return Request("GET", "/" + ",".join(map(str, keys)))


def one_by_one(keys: Sequence[int]) -> Steps:
    """Tell the ends of a dict that grows."""
    ends: Ends = {}
    for key in keys:
        yield ask([key])
        ends[key] = 10 * key
        yield ends
    return ends


async def look_up(client: Any, keys: Sequence[int], **options: Any) -> dict[int, tuple[object, float]]:
    """Return each end and when it came."""

    async def one(key: int) -> tuple[object, float]:
        try:
            end = await client.get(key, **options)
        except StatusLookupError as error:
            end = error
        return end, round(now() - 1000, 2)

    return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))


async def test_an_end_is_there_as_soon_as_it_is_known() -> None:
    server = FakeServer(latency=0.0)
    async with client_of(server, Told(one_by_one)) as client:
        assert await look_up(client, [1, 2, 3]) == {1: (10, 0.0), 2: (20, 0.5), 3: (30, 1.0)}
        assert (client.stats().in_flight, client.stats().requests, client.stats().keys_sent) == (0, 3, 3)
    assert server.batches == [[1], [2], [3]]


async def test_the_first_end_of_a_key_counts_also_if_the_key_is_asked_anew_meanwhile() -> None:
    def twice(keys: Sequence[int]) -> Steps:
        yield ask(keys)
        if len(keys) == 1:
            return {1: 100}
        yield {1: 11}
        yield ask(keys)
        return {1: 12, 2: 22}

    async with client_of(FakeServer(latency=0.0), Told(twice)) as client:
        other = asyncio.create_task(client.get(2))
        assert await client.get(1) == 11
        # The first exchange still runs, and has another end for it.
        assert await client.get(1) == 100
        assert await other == 22


async def test_ends_may_be_known_before_any_request() -> None:
    def some_are_known(keys: Sequence[int]) -> Steps:
        yield {key: 0 for key in keys if key < 10}
        unknown = [key for key in keys if key >= 10]
        if unknown:
            yield ask(unknown)
        return dict.fromkeys(unknown, 1)

    server = FakeServer()
    async with client_of(server, Told(some_are_known)) as client:
        assert await client.get_many([1, 2]) == {1: 0, 2: 0}
        assert server.requests == client.stats().requests == 0
        assert await client.get_many([1, 20]) == {1: 0, 20: 1}
    assert server.batches == [[20]]


def fails_once(follow_ups: int) -> Callable[[Sequence[int]], Steps]:
    """Return an exchange that first hands out a failure of key 1, and then has another end for it."""
    runs: list[Sequence[int]] = []

    def exchange(keys: Sequence[int]) -> Steps:
        runs.append(keys)
        yield ask(keys)
        if len(runs) == 1:
            told: Ends = {1: ServerError("busy", provider="Tens", status_code=503)}
            yield told
            assert list(told) == [1], "what is handed out stays the exchange's own"
            for _ in range(follow_ups):
                yield ask(keys)
        return dict.fromkeys(keys, len(runs))

    return exchange


async def test_a_failure_that_is_handed_out_is_asked_again_while_the_exchange_goes_on() -> None:
    server = FakeServer()
    async with client_of(server, Told(fails_once(10)), retry=RetryPolicy(random=lambda: 0.0)) as client:
        ends = await look_up(client, [1, 2])
        assert (client.stats().retries, client.stats().queued, client.stats().in_flight) == (1, 0, 0)
    assert [ends[key][0] for key in (1, 2)] == [2, 2]
    assert ends[1][1] < 2 < 5 < ends[2][1]
    assert server.batches.count([1]) == 1


async def test_a_failure_that_is_handed_out_is_asked_again_whatever_the_exchange_says_later() -> None:
    retry = RetryPolicy(backoff=10.0, random=lambda: 1.0)
    async with client_of(FakeServer(), Told(fails_once(1)), retry=retry) as client:
        lookups = asyncio.create_task(look_up(client, [1, 2]))
        await asyncio.sleep(5)
        assert (client.stats().queued, client.stats().in_flight) == (1, 0)
        ends = await lookups
    assert [ends[key][0] for key in (1, 2)] == [2, 1]
    assert ends[1][1] > 10


async def test_only_what_has_no_end_is_forgotten_or_gets_the_error_that_is_raised() -> None:
    def forgets(keys: Sequence[int]) -> Steps:
        yield ask(keys)
        yield {1: 10}
        return {2: 20}

    def raises(keys: Sequence[int]) -> Steps:
        yield ask(keys)
        yield {1: 10}
        raise ProviderError("no", provider="Tens")

    def breaks(keys: Sequence[int]) -> Steps:
        yield ask(keys)
        yield {1: 10}
        raise RuntimeError("a bug")

    for steps, errors in ((forgets, {3: "forgot"}), (raises, {2: "no", 3: "no"}), (breaks, {2: "Runtime"})):
        async with client_of(FakeServer(), Told(steps)) as client:
            ends = await look_up(client, [1, 2, 3])
            assert ends[1][0] == 10
            assert 2 in errors or ends[2][0] == 20
            for key, text in errors.items():
                assert isinstance(ends[key][0], ProviderError)
                assert text in str(ends[key][0])
            assert (client.stats().in_flight, other_tasks()) == (0, set())


async def test_an_exchange_is_closed_when_nobody_waits_for_what_is_left() -> None:
    closed: list[float] = []
    runs: list[Steps] = []

    def endless(keys: Sequence[int]) -> Steps:
        try:
            yield ask(keys)
            yield {1: 10}
            while True:
                yield ask(keys)
        finally:
            closed.append(round(now() - 1000, 2))

    def held(keys: Sequence[int]) -> Steps:
        runs.append(endless(keys))
        return runs[-1]

    server = FakeServer(latency=0.1)
    async with client_of(server, Told(held)) as client:
        ends = await look_up(client, [1, 2, 3], timeout=2.0)
        assert ends[1] == (10, 0.1)
        await asyncio.sleep(1)
        assert 2.0 <= closed[0] <= 2.6
        assert (server.requests, client.stats().requests) == (4, 4)
        assert (client.stats().in_flight, other_tasks()) == (0, set())


async def test_a_deadline_that_passes_while_others_are_asked_for_was_spent_in_flight() -> None:
    async with client_of(FakeServer(latency=0.05), Told(one_by_one)) as client:
        ends = await look_up(client, [1, 2, 3], timeout=0.7)
    error = ends[3][0]
    assert isinstance(error, LookupTimeoutError)
    assert (error.queued, error.paced, error.in_flight) == pytest.approx((0.0, 0.0, 0.7))


async def test_who_joins_keeps_an_exchange_going() -> None:
    server = FakeServer(latency=0.0)
    async with client_of(server, Told(one_by_one)) as client:
        first = asyncio.create_task(look_up(client, [1, 2, 3], timeout=0.7))
        await asyncio.sleep(0.6)
        late = asyncio.create_task(client.get(3, timeout=5.0))
        await first
        assert await late == 30
    assert server.batches == [[1], [2], [3]]


async def test_an_exchange_that_nobody_waits_for_gives_up_its_place_at_the_limiter() -> None:
    limiter = FakeLimiter()
    server = FakeServer()
    async with client_of(server, Told(one_by_one), limiter=limiter) as client:
        both = [asyncio.create_task(client.get(key)) for key in (1, 2)]
        await asyncio.sleep(0.01)
        limiter.gate.clear()
        assert await both[0] == 10
        assert limiter.waiting == 1
        both[1].cancel()
        await asyncio.wait(both)
        await ticks()
        assert (limiter.waiting, other_tasks()) == (0, set())
    assert server.batches == [[1]]


async def test_a_slot_in_which_nothing_is_sent_is_left_untold() -> None:
    def known(keys: Sequence[int]) -> Steps:
        yield {key: 10 * key for key in keys}
        return {}

    limiter = FakeLimiter()
    server = FakeServer()
    async with client_of(server, Told(known), limiter=limiter) as client:
        assert await client.get(1) == 10
        assert limiter.replies == []
    async with client_of(server, Told(one_by_one), limiter=limiter) as client:
        assert await client.get(1) == 10
    assert [getattr(reply, "status_code", None) for reply in limiter.replies] == [200]


async def test_a_request_that_was_sent_is_ended_if_nobody_waits() -> None:
    server = FakeServer(latency=3.0)
    async with client_of(server, Told(one_by_one)) as client:
        await look_up(client, [1, 2], timeout=1.0)
        await ticks()
        assert other_tasks() == set()
    assert (server.answered, server.requests) == (0, 1)


async def test_without_linger_lookups_of_one_turn_go_together_in_the_next() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=10), limiter=FakeLimiter()) as client:
        lookups = [asyncio.ensure_future(client.get(key)) for key in (1, 2)]
        await asyncio.sleep(0)
        assert client.stats().queued == 2
        await asyncio.sleep(0)
        assert (client.stats().in_flight, server.batches) == (2, [[1, 2]])
        await asyncio.gather(*lookups)
