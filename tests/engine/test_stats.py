"""What the client says about itself: counts and logs."""

import asyncio
import logging
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from statuslookup import ClientStats, RetryPolicy, ServerError
from tests.support.fakes import FakeLimiter, FakeServer, Tens, client_of

pytestmark = pytest.mark.virtual_time


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


async def test_before_the_first_lookup_all_counts_are_zero() -> None:
    client = client_of(FakeServer())
    assert client.stats() == ClientStats()
    assert client.stats().keys_per_request == 0.0


async def test_the_counts_at_each_step() -> None:
    outcomes = {2: 500, 3: 429}
    server = FakeServer(lambda number: outcomes.get(number, 200))
    async with client_of(server, Tens(max_batch=3), retry=RetryPolicy(random=lambda: 1.0)) as client:
        assert await client.get(0) == 0
        lookups = [asyncio.create_task(client.get(key)) for key in (1, 1, 2, 3, 4)]
        await asyncio.sleep(0.1)
        stats = client.stats()
        assert (stats.lookups, stats.coalesced, stats.queued, stats.in_flight) == (6, 1, 4, 0)
        assert (stats.requests, stats.keys_sent, stats.retries) == (1, 1, 0)
        await asyncio.sleep(0.42)
        stats = client.stats()
        assert (stats.queued, stats.in_flight, stats.requests, stats.keys_sent) == (1, 3, 2, 4)
        await asyncio.gather(*lookups)
        stats = client.stats()
    assert (stats.lookups, stats.coalesced, stats.queued, stats.in_flight) == (6, 1, 0, 0)
    assert (stats.requests, stats.rejections, stats.retries) == (5, 1, 6)
    assert stats.requests == server.requests
    assert stats.keys_sent == sum(map(len, server.batches)) == 11
    assert stats.keys_per_request == pytest.approx(2.2)


async def test_each_key_of_a_list_or_a_stream_is_a_lookup() -> None:
    async with client_of(FakeServer()) as client:
        await client.get_many([1, 2, 2])
        assert client.stats().lookups == 2
        assert [outcome.key async for outcome in client.stream([3, 4, 4])] != []
        assert client.stats().lookups == 5


async def test_seconds_paced_is_the_wait_for_slots_of_requests_that_were_sent() -> None:
    limiter = FakeLimiter()
    async with client_of(FakeServer(), limiter=limiter) as client:
        await client.get(1)
        assert client.stats().seconds_paced == 0.0
        limiter.gate.clear()
        asyncio.get_running_loop().call_later(2.0, limiter.gate.set)
        await client.get(1)
        assert client.stats().seconds_paced == pytest.approx(2.0)


async def test_keys_that_nobody_wants_any_more_are_no_retries() -> None:
    async with client_of(FakeServer(lambda number: 500)) as client:
        gone, stays = asyncio.create_task(client.get(1)), asyncio.create_task(client.get(2))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.045)
        assert (client.stats().queued, client.stats().retries) == (1, 1)
        stays.cancel()
        await asyncio.wait([gone, stays])


def calls_of(function: Callable[[], object]) -> int:
    """Count the calls, of Python and of C, that a function makes: on every machine the same."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


async def test_stats_are_a_snapshot_and_cost_the_same_however_many_keys_are_queued() -> None:
    async with client_of(FakeServer()) as client:
        await client.get(0)
        before, calls = client.stats(), calls_of(client.stats)
        lookups = [asyncio.create_task(client.get(key)) for key in range(20_000)]
        await asyncio.sleep(0.1)
        assert client.stats().queued == 20_000
        assert (before.lookups, before.queued) == (1, 0)
        assert calls_of(client.stats) == calls
        for lookup in lookups:
            lookup.cancel()
        await asyncio.wait(lookups)


async def test_stats_survive_closing() -> None:
    client = client_of(FakeServer())
    await client.get(1)
    lookup = asyncio.create_task(client.get(2))
    await asyncio.sleep(0)
    await client.aclose()
    await asyncio.wait([lookup])
    stats = client.stats()
    assert (stats.lookups, stats.requests, stats.queued, stats.in_flight) == (2, 1, 0, 0)
    assert lookup.exception() is not None


async def test_the_repr_shows_state_and_no_secret() -> None:
    client = client_of(FakeServer())
    assert "unused" in repr(client)
    async with client:
        await client.get(1)
        assert "open" in repr(client)
        assert "requests=1" in repr(client)
    assert "closed" in repr(client)
    assert "secret" not in repr(client).lower().replace("secret=secret(***)", "")


async def test_a_log_record_at_debug_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "statuslookup")
    outcomes = {1: 500, 2: 429}
    server = FakeServer(lambda number: outcomes.get(number, OSError("x") if number == 3 else 200))
    async with client_of(server) as client:
        await client.get_many([1, 2])
        messages = records(caplog, logging.DEBUG)
    assert len(messages) == client.stats().requests == 4
    for message, what in zip(messages, ("500", "429", "TransportError", "200"), strict=True):
        assert what in message
        assert "0.050 s" in message
        assert "2 open keys" in message
    assert {record.name for record in caplog.records} == {"statuslookup"}


async def test_a_failing_provider_is_one_warning_until_it_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "statuslookup")
    outcomes = {1: 500, 2: 503, 3: 500, 5: 500}
    async with client_of(FakeServer(lambda number: outcomes.get(number, 200))) as client:
        await client.get(1)
        assert len(records(caplog, logging.WARNING)) == len(records(caplog, logging.INFO)) == 1
        assert "status 500" in records(caplog, logging.WARNING)[0]
        await client.get(2)
        await client.get(3)
    assert len(records(caplog, logging.WARNING)) == len(records(caplog, logging.INFO)) == 2


async def test_a_limit_that_was_hit_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "statuslookup")
    async with client_of(FakeServer(lambda number: 429 if number < 4 else 200)) as client:
        await client.get(1)
    [warning] = records(caplog, logging.WARNING)
    assert "429" in warning


@pytest.mark.parametrize("attempts", [1, 2])
async def test_a_provider_that_fails_for_good_does_not_answer_again(
    attempts: int, caplog: pytest.LogCaptureFixture
) -> None:
    """That the attempts are used up is no news of the provider's health."""
    caplog.set_level(logging.INFO, "statuslookup")
    async with client_of(FakeServer(lambda number: 500), retry=RetryPolicy(attempts=attempts)) as client:
        for _ in range(3):
            with pytest.raises(ServerError):
                await client.get(1)
    assert len(records(caplog, logging.WARNING)) == 1
    assert records(caplog, logging.INFO) == []


async def test_what_is_not_the_providers_failure_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "statuslookup")
    async with client_of(FakeServer(lambda number: 404), timeout=1.0) as client:
        await asyncio.gather(client.get(1), client.get(2, timeout=0.01), return_exceptions=True)
    assert caplog.records == []


async def test_a_bug_in_the_exchange_can_be_found_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Buggy(Tens):
        def check(self, key: int) -> int:
            return key

        def exchange(self, keys: object) -> object:  # type: ignore[override] # it is a bug, on purpose
            raise RuntimeError("the bug")

    async with client_of(FakeServer(), Buggy()) as client:
        await asyncio.gather(*(client.get(key) for key in range(9)), return_exceptions=True)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "the bug"


def test_the_library_adds_a_null_handler_and_nothing_else() -> None:
    logger = logging.getLogger("statuslookup")
    assert [type(handler) for handler in logger.handlers] == [logging.NullHandler]
    assert logger.level == logging.NOTSET
    assert logger.propagate
