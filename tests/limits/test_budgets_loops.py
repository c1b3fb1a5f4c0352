"""The register across event loops, threads and garbage collection."""

import asyncio
import gc
import sys
import warnings
import weakref
from typing import Any

import httpx
import pytest

from statuslookup import RateLimit, StatusClient, TokenBucket, TransportError
from statuslookup._limits import budgets as register
from statuslookup._limits.budgets import SharedBucket
from tests.support.fakes import FakeServer
from tests.support.shares import bucket_of, budgets, client_of, share, tens
from tests.support.turns import FOUND
from tests.support.virtual_time import ManualClock

pytestmark = pytest.mark.usefixtures("empty_register")
virtual_time = pytest.mark.virtual_time


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

    monkeypatch.setattr("statuslookup._http.transports._new_transport", fail)
    client: StatusClient[int, int] = StatusClient(tens())
    for _ in range(2):
        with pytest.raises(TransportError):
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
    assert list(register._left_behind) == [("last", clock)]


def test_times_of_different_clocks_are_not_mixed() -> None:
    """What was left behind by one clock means nothing to another."""
    clock = ManualClock(now=1e9)

    async def use(clock: Any) -> float:
        part = share(1, clock=clock)
        frozen_for = part.bucket.stats().frozen_for
        if not frozen_for:
            async with part.bucket.slot() as slot:
                slot.done(FOUND)
        part.release()
        return frozen_for

    assert asyncio.run(use(clock)) == 0.0
    assert asyncio.run(use(ManualClock())) == 0.0
    assert asyncio.run(use(clock)) == pytest.approx(1.0)
