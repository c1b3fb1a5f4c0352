"""The register: one bucket for all clients of an event loop that a provider counts together."""

import asyncio
import gc
import sys
import time
import warnings
import weakref
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

import httpx
import pytest

from statuslookup import RateLimit, RateLimitedError, SMSFire, StatusClient, TokenBucket
from statuslookup import _register as register
from statuslookup._clock import SYSTEM_CLOCK
from statuslookup._register import SharedBucket
from statuslookup.sandbox import Counting, Sandbox

from .test_client import FakeServer, Tens
from .virtual_time import LoopClock, ManualClock

virtual_time = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def empty_register() -> Iterator[None]:
    """Other tests' clients, and those of a test here, are nothing to the next one."""
    gc.collect()
    register._ready_at.clear()
    yield
    gc.collect()
    register._ready_at.clear()
    assert list(register._budgets) == []


def budgets() -> list[object]:
    """Return the budgets that have a client somewhere."""
    return [budget for budget, shared in register._budgets.items() if any(s.limits for s in shared.shares)]


def tens(budget: object = "tens", rate_limit: RateLimit | None = RateLimit(2)) -> Tens:  # noqa: B008 # frozen
    provider = Tens(rate_limit=rate_limit)
    provider.budget = budget
    return provider


def client_of(
    server: httpx.AsyncBaseTransport, provider: Any = None, **options: Any
) -> StatusClient[Any, Any]:
    """Return a client that does not linger, in real time unless it is given a clock."""
    return StatusClient(provider or tens(), transport=server, **{"linger": 0.0, **options})


def bucket_of(client: StatusClient[Any, Any]) -> TokenBucket:
    """Return the bucket that the client shares with others."""
    assert client._shared is not None
    return client._shared.bucket


def smallest_gap(times: list[float]) -> float:
    return min(after - before for before, after in pairwise(times))


def share(limit: float = 2, *, budget: object = "tens", clock: Any = SYSTEM_CLOCK) -> SharedBucket:
    return SharedBucket(budget, RateLimit(limit), loop=asyncio.get_running_loop(), clock=clock)


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


def test_the_next_client_does_not_come_too_early_in_the_next_asyncio_run() -> None:
    server = FakeServer(latency=0.0)
    times: list[float] = []

    async def use() -> None:
        async with client_of(server, tens(rate_limit=RateLimit(10))) as client:
            await client.get(1)
            times.append(time.monotonic())

    asyncio.run(use())
    asyncio.run(use())
    assert 0.09 <= times[1] - times[0] <= 2


def test_nor_after_a_run_whose_client_was_not_closed() -> None:
    server = FakeServer(latency=0.0)
    clients: list[StatusClient[Any, Any]] = []
    times: list[float] = []

    async def use() -> None:
        clients.append(client_of(server, tens(rate_limit=RateLimit(10))))
        await clients[-1].get(1)
        times.append(time.monotonic())

    asyncio.run(use())
    asyncio.run(use())
    assert 0.09 <= times[1] - times[0] <= 2
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
    part.release()


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


def test_of_what_two_loops_leave_behind_the_later_moment_holds() -> None:
    clock = ManualClock()
    with asyncio.Runner() as first, asyncio.Runner() as second:

        async def open_and_use(retry_after: float | None) -> SharedBucket:
            part = share(2, clock=clock)
            async with part.bucket.slot() as slot:
                if retry_after is not None:
                    slot.rejected(retry_after)
            return part

        async def wait_of_the_next() -> float:
            part = share(2, clock=clock)
            part.release()
            return part.bucket.stats().frozen_for

        frozen = first.run(open_and_use(30.0))
        with pytest.warns(RuntimeWarning, match="two event loops"):
            free = second.run(open_and_use(None))
        frozen.release()
        free.release()
        assert second.run(wait_of_the_next()) == pytest.approx(30.0)


# --- several loops ------------------------------------------------------------------------------------


def test_a_second_loop_gets_a_bucket_of_its_own_and_a_warning_at_the_line_that_uses_it() -> None:
    with asyncio.Runner() as first, asyncio.Runner() as second:
        one, two, three = (client_of(FakeServer(latency=0.0)) for _ in range(3))

        async def use(client: StatusClient[Any, Any]) -> None:
            assert await client.get(1) == 10

        first.run(use(one))
        with pytest.warns(RuntimeWarning, match="two event loops in this process.*'tens'") as caught:
            second.run(use(two))
        assert [warning.filename for warning in caught] == [__file__]
        assert bucket_of(two) is not bucket_of(one)
        # Once said is enough: neither loop gets another bucket.
        second.run(use(three))
        assert bucket_of(three) is bucket_of(two)
        second.run(two.aclose())
        second.run(three.aclose())
        first.run(one.aclose())


def test_two_threads_share_nothing_but_the_warning() -> None:
    async def use() -> None:
        server = FakeServer(latency=0.01)
        async with client_of(server, tens(rate_limit=RateLimit(1000))) as client:
            for key in range(20):
                assert await client.get(key) == key * 10

    async def main() -> None:
        async with client_of(FakeServer()):
            with pytest.warns(RuntimeWarning, match="two event loops"):
                await asyncio.gather(*(asyncio.to_thread(asyncio.run, use()) for _ in range(5)))
            assert budgets() == ["tens"]

    asyncio.run(main())


def test_a_loop_that_is_closed_or_has_closed_its_clients_is_no_second_loop() -> None:
    async def use(client: StatusClient[Any, Any], *, closes: bool) -> None:
        await client.get(1)
        if closes:
            await client.aclose()

    provider = tens(rate_limit=RateLimit(100))
    kept = client_of(FakeServer(latency=0.0), provider)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(use(kept, closes=False))
        asyncio.run(use(client_of(FakeServer(latency=0.0), provider), closes=True))
        with asyncio.Runner() as open_loop:
            open_loop.run(use(client_of(FakeServer(latency=0.0), provider), closes=True))
            asyncio.run(use(client_of(FakeServer(latency=0.0), provider), closes=True))
    with pytest.warns(ResourceWarning, match="unclosed"):
        del kept


def test_a_second_loop_is_no_news_for_a_client_with_a_limiter_of_its_own() -> None:
    with asyncio.Runner() as first:
        one = client_of(FakeServer(latency=0.0))
        first.run(one.get(1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            two = client_of(FakeServer(latency=0.0), limiter=TokenBucket(RateLimit(1)))

            async def use() -> None:
                async with two:
                    await two.get(1)

            asyncio.run(use())
        first.run(one.aclose())


def test_where_the_warning_is_an_error_nothing_stays_behind() -> None:
    with asyncio.Runner() as first, asyncio.Runner() as second:
        one, two = client_of(FakeServer(latency=0.0)), client_of(FakeServer(latency=0.0))
        first.run(one.get(1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                with pytest.raises(RuntimeWarning):
                    second.run(two.get(1))
        first.run(one.aclose())
        assert budgets() == []
        assert second.run(two.get(1)) == 10
        second.run(two.aclose())


# --- clients that are not closed ----------------------------------------------------------------------


@pytest.mark.parametrize("action", ["always", "error"])
def test_a_client_that_is_garbage_collected_releases_its_part(
    action: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its ResourceWarning is an error, which nobody can catch there."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)

    async def use() -> None:
        loose = client_of(FakeServer(latency=0.0), tens(rate_limit=RateLimit(50)))
        strict = client_of(FakeServer(latency=0.0), tens(rate_limit=RateLimit(5)))
        await loose.get(1)
        await strict.get(1)
        assert bucket_of(loose).limit == RateLimit(5)
        strict.itself = strict  # type: ignore[attr-defined] # a cycle
        del strict
        gc.collect()
        assert bucket_of(loose).limit == RateLimit(50)
        await loose.aclose()
        assert budgets() == []

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        asyncio.run(use())
    assert len(caught) + len(reported) == 1
    reported.clear()


@virtual_time
async def test_one_that_is_garbage_collected_in_the_middle_of_anothers_release() -> None:
    class Part:
        """Stands for a client: releases when it is garbage collected."""

        def __init__(self, part: SharedBucket) -> None:
            self.part = part
            self.itself = self

        def __del__(self) -> None:
            self.part.release()

    thresholds = gc.get_threshold()
    gc.collect()
    for allocations in range(1, 80):
        last = share()
        Part(share())
        gc.set_threshold(allocations)
        try:
            last.release()
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()
        assert budgets() == []


@pytest.mark.parametrize("closes_loop", [True, False])
def test_a_loop_that_ended_in_the_middle_of_its_lookups_is_not_kept(closes_loop: bool) -> None:
    """Nor are its clients and its sockets: nothing in the register leads to them."""
    lookups: list[Any] = []

    async def use() -> Any:
        client = client_of(FakeServer(latency=60.0))
        lookups.append(asyncio.create_task(client.get(1)))
        await asyncio.sleep(0.01)
        return weakref.ref(client)

    with asyncio.Runner() as other, warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        # The budget itself stays, because somebody else uses it.
        stays = client_of(FakeServer())
        other.run(stays.__aenter__())
        # Tasks are destroyed here while they are pending, which asyncio reports.
        patch.setattr(sys, "unraisablehook", lambda _: None)
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        client = loop.run_until_complete(use())
        if closes_loop:
            loop.close()
        left = weakref.ref(loop)
        lookups.clear()
        del loop
        gc.collect()
        assert left() is None
        assert client() is None
        assert budgets() == ["tens"]
        other.run(stays.aclose())


async def test_a_client_that_cannot_be_opened_has_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(base_url: str) -> httpx.AsyncBaseTransport:
        raise ImportError("no socksio")

    monkeypatch.setattr("statuslookup._http._new_transport", fail)
    client: StatusClient[int, int] = StatusClient(tens())
    for _ in range(2):
        with pytest.raises(ImportError):
            await client.get(1)
    assert budgets() == []


# --- what it costs ------------------------------------------------------------------------------------


async def test_many_budgets_cost_no_more_each_than_a_few() -> None:
    """Counted in looks at the clock, which are the same on every machine."""

    class CountingClock(ManualClock):
        looks = 0

        def time(self) -> float:
            self.looks += 1
            return super().time()

    clock = CountingClock()
    parts = [share(budget=("instance", number), clock=clock) for number in range(100)]
    few, clock.looks = clock.looks, 0
    parts += [share(budget=("instance", number), clock=clock) for number in range(100, 1100)]
    assert clock.looks == 10 * few
    for part in parts:
        part.release()
    clock.advance(1)
    share(budget="last", clock=clock).release()
    assert list(register._ready_at) == [("last", clock)]


def test_times_of_different_clocks_are_not_mixed() -> None:
    """What was left behind by one clock means nothing to another."""
    clock = ManualClock(now=1e9)

    async def use(clock: Any) -> float:
        part = share(1, clock=clock)
        frozen_for = part.bucket.stats().frozen_for
        if not frozen_for:
            async with part.bucket.slot():
                pass
        part.release()
        return frozen_for

    assert asyncio.run(use(clock)) == 0.0
    assert asyncio.run(use(ManualClock())) == 0.0
    assert asyncio.run(use(clock)) == pytest.approx(1.0)
