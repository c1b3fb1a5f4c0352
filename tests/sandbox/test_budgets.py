"""The register: one bucket for all clients of an event loop that a provider counts together."""

import asyncio
from itertools import groupby
from typing import Any, get_args

import httpx
import pytest

from statuslookup import LimiterStats, RateLimit, RateLimitedError, SMSFire, StatusClient, TokenBucket
from statuslookup._limits.budgets import SharedBucket
from statuslookup.sandbox import Counting, Sandbox
from tests.support.fakes import FakeServer
from tests.support.shares import bucket_of, budgets, client_of, share, smallest_gap, tens
from tests.support.turns import FOUND, too_many
from tests.support.virtual_time import LoopClock, ManualClock

pytestmark = pytest.mark.usefixtures("empty_register")
virtual_time = pytest.mark.virtual_time


# --- one loop -----------------------------------------------------------------------------------------


@virtual_time
async def test_clients_of_one_budget_share_a_bucket_and_others_do_not() -> None:
    server, clock = FakeServer(), LoopClock()
    async with (
        client_of(server, clock=clock) as one,
        client_of(server, clock=clock) as two,
        client_of(server, tens("other"), clock=clock) as other,
    ):
        assert bucket_of(one) is bucket_of(two)
        assert bucket_of(one) is not bucket_of(other)
        assert set(budgets()) == {"tens", "other"}


@virtual_time
async def test_smsfire_is_counted_by_host_whatever_the_account_and_the_spelling() -> None:
    clock = LoopClock()
    urls = ["http://localhost", "http://LOCALHOST:80/", "http://localhost/v2", "http://localhost:81"]
    clients = [
        client_of(FakeServer(), SMSFire(f"token{number}", base_url=url), clock=clock)
        for number, url in enumerate(urls)
    ]
    for client in clients:
        await client.__aenter__()
    one, *same, other = map(bucket_of, clients)
    assert same == [one, one]
    assert other is not one
    for client in clients:
        await client.aclose()


@virtual_time
@pytest.mark.parametrize("counting", get_args(Counting))
async def test_two_clients_together_never_pass_the_limit(counting: Counting) -> None:
    limit = RateLimit(2, per=1.0)
    sandbox = Sandbox(rate_limit=limit, counting=counting, latency=0.05)
    for id in range(1, 41):
        sandbox.add_message(id)
    clock = LoopClock()
    provider = SMSFire("sandbox", base_url="http://localhost", rate_limit=limit, max_batch=1)
    transport = httpx.ASGITransport(sandbox)
    began_at = clock.time()
    async with (
        client_of(transport, provider, clock=clock) as one,
        client_of(transport, provider, clock=clock) as two,
    ):
        lookups = [(one if id % 2 else two).get(id) for id in range(1, 41)]
        statuses = await asyncio.gather(*lookups)
        assert one.stats().requests == two.stats().requests == 20
    assert [status and status.id for status in statuses] == list(range(1, 41))
    assert (sandbox.requests, sandbox.rejections) == (40, 0)
    assert smallest_gap(sandbox.arrivals) >= 0.5 - 1e-9
    # It is one limit for both, and not half of it.
    assert clock.time() - began_at < 40 * 0.56


@virtual_time
async def test_a_rejection_of_one_client_stops_the_other_as_well() -> None:
    server = FakeServer(lambda number: 429 if number == 1 else 200)
    clock = LoopClock()
    async with client_of(server, clock=clock) as one, client_of(server, clock=clock) as two:
        refused = asyncio.create_task(one.get(1))
        await asyncio.sleep(0.06)
        assert await two.get(2) == 20
        assert await refused == 10
    assert server.times[1] >= 0.05 + 1.1 - 1e-6


@virtual_time
async def test_the_strictest_limit_holds_for_all_and_relaxes_when_its_client_closes() -> None:
    server, clock = FakeServer(latency=0.0), LoopClock()
    async with client_of(server, tens(rate_limit=RateLimit(4)), clock=clock) as loose:
        assert bucket_of(loose).limit == RateLimit(4)
        async with client_of(server, tens(rate_limit=RateLimit(1, per=2.0)), clock=clock) as strict:
            assert bucket_of(loose).limit == RateLimit(1, per=2.0)
            async with client_of(server, tens(rate_limit=RateLimit(2)), clock=clock) as middle:
                # Also for clients that come after it.
                assert bucket_of(middle).limit == RateLimit(1, per=2.0)
                for key, client in enumerate([loose, strict, middle]):
                    await client.get(key)
                assert smallest_gap(server.times) == pytest.approx(2.0)
                await strict.aclose()
                assert bucket_of(loose).limit == RateLimit(2)
        assert bucket_of(loose).limit == RateLimit(4)
        server.times.clear()
        for key in range(4):
            await loose.get(key)
        assert server.times[-1] - server.times[1] == pytest.approx(0.5)


@virtual_time
async def test_of_two_equal_limits_one_stays_when_the_other_goes() -> None:
    one, two, loose = share(1), share(1), share(5)
    one.release()
    one.release()
    assert loose.bucket.limit == RateLimit(1)
    two.release()
    assert loose.bucket.limit == RateLimit(5)
    loose.release()


@virtual_time
async def test_of_two_limits_of_the_same_rate_the_one_in_shorter_windows_keeps_both() -> None:
    clock, server = LoopClock(), FakeServer()
    async with (
        client_of(server, tens(rate_limit=RateLimit(10, per=5.0)), clock=clock) as one,
        client_of(server, tens(rate_limit=RateLimit(2)), clock=clock),
    ):
        assert bucket_of(one).limit == RateLimit(2)


@virtual_time
async def test_the_bucket_is_released_when_the_last_client_closes() -> None:
    clock = LoopClock()
    one, two = (client_of(FakeServer(), clock=clock) for _ in range(2))
    assert await one.get(1) == 10
    assert await two.get(1) == 10
    first = bucket_of(one)
    await one.aclose()
    await one.aclose()
    assert budgets() == ["tens"]
    async with client_of(FakeServer(), clock=clock) as three:
        assert bucket_of(three) is first
        await two.aclose()
    assert budgets() == []
    async with client_of(FakeServer(), clock=clock) as four:
        assert bucket_of(four) is not first


@virtual_time
async def test_a_client_that_was_never_used_has_no_part() -> None:
    client = client_of(FakeServer(), clock=LoopClock())
    assert budgets() == []
    await client.aclose()


@virtual_time
async def test_a_limiter_of_its_own_and_no_limit_stay_out_of_the_register() -> None:
    server, clock = FakeServer(latency=0.0), LoopClock()
    own = TokenBucket(RateLimit(10), clock=clock)
    async with (
        client_of(server, clock=clock, limiter=own) as one,
        client_of(server, tens(rate_limit=None), clock=clock) as two,
    ):
        assert budgets() == []
        for key in range(3):
            await one.get(key)
        assert server.times[2] - server.times[0] == pytest.approx(0.2)
        server.times.clear()
        for key in range(3):
            await two.get(key)
        assert server.times[2] == server.times[0]
        assert own.stats().waiting == 0


# --- the next client ----------------------------------------------------------------------------------


@virtual_time
async def test_the_next_client_does_not_come_too_early() -> None:
    server, clock = FakeServer(), LoopClock()
    for key in range(5):
        async with client_of(server, clock=clock) as client:
            assert await client.get(key) == key * 10
    # Half a second after the answer, less the credit, which no new bucket has.
    assert smallest_gap(server.times) >= 0.5 + server.latency - 0.01
    await asyncio.sleep(10)
    before = clock.time()
    async with client_of(server, clock=clock) as client:
        await client.get(0)
    assert clock.time() - before == pytest.approx(server.latency)


@virtual_time
async def test_the_next_client_waits_as_long_as_a_429_asked_for() -> None:
    server, clock = FakeServer(lambda number: 429 if number == 1 else 200), LoopClock()
    async with client_of(server, clock=clock, timeout=0.3) as client:
        with pytest.raises(RateLimitedError):
            await client.get(1)
    async with client_of(server, clock=clock) as client:
        assert await client.get(1) == 10
    assert server.times[1] >= 0.05 + 1.1 - 1e-6


@virtual_time
async def test_a_client_for_each_lookup_learns_of_the_limit_like_one_for_all() -> None:
    """The provider allows a quarter of what it documents."""

    async def look_up_for_a_minute(port: int, *, keeps_client: bool) -> Sandbox:
        sandbox = Sandbox(rate_limit=RateLimit(1, per=2.0), counting="sliding_window", latency=0.05)
        provider = SMSFire("sandbox", base_url=f"http://localhost:{port}")

        clock = LoopClock()

        def new_client() -> StatusClient[Any, Any]:
            return client_of(httpx.ASGITransport(sandbox), provider, clock=clock)

        client = new_client()
        ends_at = clock.time() + 60
        while clock.time() < ends_at:
            await client.get(1)
            if not keeps_client:
                await client.aclose()
                client = new_client()
        await client.aclose()
        return sandbox

    one = await look_up_for_a_minute(81, keeps_client=True)
    many = await look_up_for_a_minute(82, keeps_client=False)
    assert one.rejections >= 2
    assert many.rejections <= one.rejections + 1


@virtual_time
async def test_a_rate_that_was_slowed_comes_back_over_many_clients() -> None:
    server, clock = FakeServer(lambda number: 429 if number <= 2 else 200, latency=0.0), LoopClock()
    rates: list[float] = []
    began_at = clock.time()
    while clock.time() - began_at < 100:
        async with client_of(server, clock=clock) as client:
            await client.get(1)
            rates.append(bucket_of(client).stats().rate)
    assert [rate for rate, _ in groupby(rates)] == [0.5, 1.0, 2.0]
    # Two clients a second are made, and 30 calm seconds lie between the rates.
    assert rates.count(0.5) == pytest.approx(15, abs=2)
    assert rates.count(1.0) == pytest.approx(30, abs=2)


@virtual_time
async def test_what_was_left_behind_is_kept_only_as_long_as_it_takes_to_come_back_from() -> None:
    clock = ManualClock()

    def next_rate() -> float:
        part = share(2, clock=clock)
        rate = part.bucket.stats().rate
        part.release()
        return rate

    part = share(2, clock=clock)
    for _ in range(2):
        async with part.bucket.slot() as slot:
            slot.done(too_many(0.0))
        clock.advance(4)
    part.release()
    clock.advance(55)
    assert next_rate() == 0.5
    clock.advance(1)
    assert next_rate() == 2.0


def test_the_next_client_does_not_come_too_early_in_the_next_asyncio_run() -> None:
    server = FakeServer(latency=0.0)

    async def use() -> None:
        async with client_of(server, tens(rate_limit=RateLimit(10))) as client:
            await client.get(1)

    asyncio.run(use())
    asyncio.run(use())
    assert 0.09 <= smallest_gap(server.times) < 10


def test_nor_after_a_run_whose_client_was_not_closed() -> None:
    server = FakeServer(latency=0.0)
    clients: list[StatusClient[Any, Any]] = []

    async def use() -> None:
        clients.append(client_of(server, tens(rate_limit=RateLimit(10))))
        await clients[-1].get(1)

    asyncio.run(use())
    asyncio.run(use())
    assert 0.09 <= smallest_gap(server.times) < 10
    with pytest.warns(ResourceWarning, match="unclosed"):
        clients.clear()


def test_a_loop_that_closed_is_waited_for_once() -> None:
    """Its client is still there, and in the middle of a request for ever."""
    clock = ManualClock()

    async def last_grant() -> SharedBucket:
        part = share(1, clock=clock)
        await part.bucket.slot().__aenter__()
        return part

    async def wait_of_the_next() -> float:
        part = share(1, clock=clock)
        part.release()
        return part.bucket.stats().frozen_for

    part = asyncio.run(last_grant())
    assert asyncio.run(wait_of_the_next()) == pytest.approx(1.0)
    clock.advance(0.4)
    assert asyncio.run(wait_of_the_next()) == pytest.approx(0.6)
    clock.advance(0.6)
    assert asyncio.run(wait_of_the_next()) == 0.0
    # It has nothing to say any more when its client goes at last.
    part.release()
    assert asyncio.run(wait_of_the_next()) == 0.0


@virtual_time
async def test_a_request_that_is_still_under_way_counts_as_late_as_now() -> None:
    clock = LoopClock()
    part = share(2, clock=clock)
    async with part.bucket.slot():
        await asyncio.sleep(60)
        part.release()
        following = share(2, clock=clock)
        assert following.bucket.stats().frozen_for == pytest.approx(0.5)
        following.release()


def test_of_what_two_loops_leave_behind_the_later_holds() -> None:
    clock = ManualClock()
    with asyncio.Runner() as first, asyncio.Runner() as second:

        async def open_and_use(retry_after: float | None) -> SharedBucket:
            part = share(2, clock=clock)
            async with part.bucket.slot() as slot:
                slot.done(FOUND if retry_after is None else too_many(retry_after))
            return part

        async def next_stats() -> LimiterStats:
            part = share(2, clock=clock)
            part.release()
            return part.bucket.stats()

        frozen = first.run(open_and_use(30.0))
        with pytest.warns(RuntimeWarning, match="two event loops"):
            free = second.run(open_and_use(None))
        frozen.release()
        free.release()
        for runner in (second, first):
            stats = runner.run(next_stats())
            assert (stats.rate, round(stats.frozen_for, 6)) == (1.0, 30.0)
