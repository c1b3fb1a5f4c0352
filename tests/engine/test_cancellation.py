"""A caller that goes away harms nobody, and leaves nothing behind."""

import asyncio
import gc
import tracemalloc
from typing import Any

import anyio
import pytest

from statuslookup import AuthenticationError, StatusClient
from statuslookup._engine.bulk import BulkLookup
from statuslookup._engine.deadlines import Deadline
from statuslookup._engine.lanes import Batch, OpenKey
from statuslookup._engine.open_keys import OpenKeys
from tests.support.fakes import FakeLimiter, FakeServer, Tens, bucket, client_of, now, other_tasks, ticks
from tests.support.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time


async def cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks, and see that this and nothing else is how they end."""
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * len(tasks)


def is_idle(client: StatusClient[int, int]) -> bool:
    stats = client.stats()
    return (stats.queued, stats.in_flight) == (0, 0) and not other_tasks()


def timers() -> int:
    """Count the calls that are due some time and not cancelled."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    scheduled: list[asyncio.TimerHandle] = loop._scheduled  # type: ignore[attr-defined] # no public way to count
    return sum(not handle.cancelled() for handle in scheduled)


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.52])
async def test_others_of_the_same_key_and_batch_get_their_answers(seconds: float) -> None:
    """Cancelled while lingering, while in flight, and while it waits for the limit."""
    server = FakeServer()
    async with client_of(server, Tens(max_batch=3)) as client:
        keys = [1, 1, 2, 3, 4, 4, 5]
        lookups = [asyncio.create_task(client.get(key)) for key in keys]
        await asyncio.sleep(seconds)
        victims = [lookups[1], lookups[5]]
        await cancelled(*(victim for victim in victims if not victim.done()))
        rest = [lookup for lookup in lookups if lookup not in victims]
        assert await asyncio.gather(*rest) == [10, 20, 30, 40, 50]
    assert server.batches == [[1, 2, 3], [4, 5]]


async def test_a_key_that_nobody_wants_any_more_is_not_sent() -> None:
    server = FakeServer()
    async with client_of(server) as client:
        assert await client.get(0) == 0
        gone, stays = asyncio.create_task(client.get(1)), asyncio.create_task(client.get(2))
        await asyncio.sleep(0.1)
        await cancelled(gone)
        assert client.stats().queued == 1
        assert await stays == 20
    assert server.batches == [[0], [2]]


async def test_all_cancelled_while_queued_leaves_nothing_and_costs_no_slot() -> None:
    server = FakeServer()
    limiter = bucket()
    async with client_of(server, limiter=limiter) as client:
        assert await client.get(0) == 0
        before = timers()
        frozen_until = now() + limiter.stats().frozen_for
        lookups = [asyncio.create_task(client.get(key)) for key in range(1000)]
        bulk = asyncio.create_task(client.get_many(range(5000)))
        await asyncio.sleep(0.1)
        assert limiter.stats().waiting == 1
        await cancelled(*lookups, bulk)
        await ticks()
        assert is_idle(client)
        assert timers() == before
        assert (limiter.stats().waiting, limiter.stats().in_flight) == (0, 0)
        assert now() + limiter.stats().frozen_for == pytest.approx(frozen_until)
        await asyncio.sleep(5)
        assert server.requests == 1
        started = now()
        assert await client.get(1) == 10
        assert now() - started == pytest.approx(server.latency)


async def test_cancelled_while_it_lingers_leaves_no_timer() -> None:
    server = FakeServer()
    async with client_of(server, linger=1.0) as client:
        lookup = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.5)
        assert timers() == 2
        await cancelled(lookup)
        assert (timers(), is_idle(client)) == (0, True)
        await asyncio.sleep(5)
    assert server.requests == 0


async def test_the_next_slot_is_not_lost_when_its_grant_and_the_cancellation_meet() -> None:
    """The slot is granted, and its lookup cancelled, before any task runs."""
    server = FakeServer()
    limiter = FakeLimiter()
    limiter.gate.clear()
    async with client_of(server, limiter=limiter) as client:
        lookup = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.1)
        limiter.gate.set()
        await cancelled(lookup)
        await asyncio.sleep(1)
        assert is_idle(client)
        assert await client.get(2) == 20


async def test_a_request_that_nobody_waits_for_any_more_is_ended() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        lookups = [asyncio.create_task(client.get(key)) for key in (1, 1, 2)]
        bulk = asyncio.create_task(client.get_many([2, 3]))
        await asyncio.sleep(0.5)
        await cancelled(*lookups)
        assert client.stats().in_flight == 3
        await cancelled(bulk)
        await ticks()
        assert is_idle(client)
        await asyncio.sleep(0.6)
    assert (server.batches, server.answered) == ([[1, 2, 3]], 0)


async def test_the_place_of_a_request_that_was_ended_is_free_one_interval_later() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        lookup = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.2)
        await cancelled(lookup)
        # It is asked anew: the request that was ended told nothing.
        assert await client.get(1) == 10
    assert server.batches == [[1], [1]]
    assert server.times == [0.0, 0.7]


async def test_a_key_of_a_request_that_others_wait_for_can_be_joined_again() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        lookup, stays = asyncio.create_task(client.get(1)), asyncio.create_task(client.get(2))
        await asyncio.sleep(0.5)
        await cancelled(lookup)
        assert (await client.get(1), await stays) == (10, 20)
    assert server.batches == [[1, 2]]
    assert now() == pytest.approx(1001.0)


async def test_what_was_given_up_in_flight_is_not_asked_again_when_it_fails() -> None:
    server = FakeServer(lambda number: 500)
    async with client_of(server) as client:
        lookup = asyncio.create_task(client.get(1))
        await asyncio.sleep(0.01)
        await cancelled(lookup)
        await asyncio.sleep(60)
        assert (server.requests, is_idle(client), timers()) == (1, True, 0)


async def test_cancelled_during_the_pause_for_a_retry() -> None:
    server = FakeServer(lambda number: 500 if number == 1 else 200)
    async with client_of(server) as client:
        gone, stays = asyncio.create_task(client.get(1)), asyncio.create_task(client.get(2))
        await asyncio.sleep(0.051)
        assert client.stats().queued == 2
        await cancelled(gone)
        assert await stays == 20
    assert server.batches == [[1, 2], [2]]


@pytest.mark.usefixtures("no_noise")
@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("order", ["answer first", "cancelled first"])
async def test_cancel_and_answer_in_the_same_iteration(status: int, order: str) -> None:
    """No task runs between the two, so both of them meet at the lookup."""
    async with client_of(FakeServer(lambda number: status)) as client:
        victim, stays = asyncio.create_task(client.get(1)), asyncio.create_task(client.get(1))
        await ticks()
        settle = OpenKeys.settle

        def settle_and_cancel(self: OpenKeys[Any, Any], batch: Any, outcomes: Any) -> None:
            if order == "cancelled first":
                victim.cancel()
            settle(self, batch, outcomes)
            if order == "answer first":
                victim.cancel()

        # The only way to hit the very moment.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OpenKeys, "settle", settle_and_cancel)
            await asyncio.wait([victim, stays])
        assert victim.cancelled()
        error = stays.exception()
        assert isinstance(error, AuthenticationError) if status == 401 else stays.result() == 10
        await ticks()
        assert is_idle(client)


async def test_asyncio_timeout_around_a_lookup() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await client.get(1)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert now() == pytest.approx(1000.5)
        assert await client.get(1) == 10
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get_many([1, 2]), 0.5)


async def test_anyio_cancel_scopes_around_a_lookup() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        with anyio.move_on_after(0.5) as scope:
            await client.get(1)
        assert scope.cancelled_caught
        with anyio.move_on_after(0.1) as scope:
            await client.get_many(range(1000))
        assert scope.cancelled_caught
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.get(3)
        assert scope.cancelled_caught
        assert await client.get(1) == 10
    assert server.batches[0] == [1]


async def test_a_failing_sibling_in_a_task_group_harms_no_other_group() -> None:
    server = FakeServer(latency=1.0)
    async with client_of(server) as client:
        safe = asyncio.create_task(client.get(1))

        async def fail() -> None:
            await asyncio.sleep(0.5)
            raise LookupError("mine")

        async def in_a_task_group() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(client.get(1))
                group.create_task(client.get_many([1, 2]))
                group.create_task(fail())

        async def in_a_group_of_anyio() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, 1)
                group.start_soon(fail)

        results = await asyncio.gather(in_a_task_group(), in_a_group_of_anyio(), return_exceptions=True)
        for result in results:
            assert isinstance(result, ExceptionGroup)
            assert [type(error) for error in result.exceptions] == [LookupError]
        assert await safe == 10


async def test_a_coroutine_that_is_thrown_away_leaves_the_queue() -> None:
    """What the garbage collector does to a task that was not awaited to its end."""
    server = FakeServer()
    async with client_of(server, linger=1.0) as client:
        lookup = client.get(1)
        lookup.send(None)
        assert client.stats().queued == 1
        lookup.close()
        assert is_idle(client)
        client.get(2).close()
    assert server.requests == 0


async def test_a_bulk_call_that_is_cancelled_lets_others_keep_their_keys() -> None:
    server = FakeServer()
    async with client_of(server, Tens(max_batch=5)) as client:
        assert await client.get(0) == 0
        gone = asyncio.create_task(client.get_many(range(1, 101)))
        stays = asyncio.create_task(client.get_many([3, 4, 100]))
        await asyncio.sleep(0.1)
        await cancelled(gone)
        assert await stays == {3: 30, 4: 40, 100: 1000}
        assert is_idle(client)
        assert [sorted(batch) for batch in server.batches] == [[0], [3, 4, 100]]


@pytest.mark.usefixtures("no_noise")
async def test_no_error_is_reported_as_never_retrieved() -> None:
    for status in (401, 200):
        server = FakeServer(lambda number, status=status: status)  # type: ignore[misc] # a default argument
        async with client_of(server, timeout=0.3) as client:
            lookups = [asyncio.create_task(client.get(key % 50)) for key in range(100)]
            lookups.append(asyncio.create_task(client.get_many(range(500))))  # type: ignore[arg-type] # only cancelled
            await asyncio.sleep(0.02)
            await cancelled(*lookups[::2])
            await asyncio.gather(*lookups, return_exceptions=True)
            lookups.clear()


KINDS = (BulkLookup, OpenKey, Batch, Deadline)


def left_over() -> int:
    return sum(isinstance(thing, KINDS) for thing in gc.get_objects())


@pytest.mark.parametrize(
    "how", ["answered", "failed", "cancelled while queued", "cancelled in flight", "expired"]
)
async def test_no_memory_is_left_behind_even_without_the_garbage_collector(how: str) -> None:
    server = FakeServer(lambda number: 401 if how == "failed" else 200)
    limiter = FakeLimiter()
    async with client_of(server, limiter=limiter, timeout=60.0) as client:
        await asyncio.gather(*(client.get(key) for key in range(10)), return_exceptions=True)
        gc.collect()
        gc.disable()
        # Other tests leave loops behind that were interrupted, with all that is in them.
        before = left_over()
        try:
            if how in ("cancelled while queued", "expired"):
                limiter.gate.clear()
            lookups = [asyncio.create_task(client.get(key % 700)) for key in range(1000)]
            await asyncio.sleep(0.01)
            if how.startswith("cancelled"):
                await cancelled(*lookups)
            await asyncio.gather(*lookups, return_exceptions=True)
            lookups.clear()
            limiter.gate.set()
            await asyncio.sleep(1)
            assert is_idle(client)
            assert left_over() <= before
        finally:
            gc.enable()


async def test_memory_comes_back_to_where_it_was() -> None:
    server = FakeServer()
    gc.collect()
    left_before = left_over()
    async with client_of(server, Tens(rate_limit=None)) as client:

        async def round_trip() -> int:
            lookups = [asyncio.create_task(client.get(key % 2000)) for key in range(5000)]
            bulk = asyncio.create_task(client.get_many(range(5000)))
            await asyncio.sleep(0.02)
            await cancelled(*lookups[::3])
            await asyncio.gather(*lookups, bulk, return_exceptions=True)
            del lookups, bulk
            await asyncio.sleep(1)
            server.batches.clear()
            server.times.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            await round_trip()
            before = await round_trip()
            after = await round_trip()
            assert after < before + 20_000
        finally:
            tracemalloc.stop()
        assert left_over() <= left_before
