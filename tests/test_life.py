"""From the first lookup to the last close, on every event loop, in the shapes in which programs use it."""

import asyncio
import gc
import os
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import httpx
import pytest
import pytest_asyncio

from statuslookup import (
    ClosedError,
    IncompleteError,
    MessageStatus,
    RateLimit,
    RetryPolicy,
    SMSFire,
    StatusClient,
    TokenBucket,
    WrongLoopError,
)
from statuslookup.sandbox import Sandbox

from .test_client import FakeServer, Tens, other_tasks, sandbox_of, ticks
from .virtual_time import LoopClock

every_loop = pytest.mark.every_loop

FAST = RateLimit(200)


@pytest.fixture
def noise() -> Iterator[list[dict[str, Any]]]:
    """What the event loop reports by itself; the test is over only when nothing was."""
    reports: list[dict[str, Any]] = []
    yield reports
    gc.collect()
    assert reports == []


def listen(noise: list[dict[str, Any]]) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))


def new_client(server: httpx.AsyncBaseTransport, **options: Any) -> StatusClient[int, int]:
    """Return a client in real time, with a limit that costs a test nothing."""
    provider = options.pop("provider", None) or Tens(rate_limit=FAST)
    return StatusClient(provider, transport=server, linger=0.0, **options)


# --- closing ------------------------------------------------------------------------------------------


@every_loop
async def test_full_and_part_filled_batches_on_every_loop(noise: list[dict[str, Any]]) -> None:
    listen(noise)
    server = FakeServer(latency=0.001)
    async with new_client(server, provider=Tens(max_batch=10, rate_limit=FAST)) as client:
        for _ in range(3):
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*(client.get(key) for key in range(95)))
                found = await client.get_many(range(45))
            assert answers == [key * 10 for key in range(95)]
            assert found == {key: key * 10 for key in range(45)}
    assert sum(map(len, server.batches)) == 3 * 140
    assert other_tasks() == set()


@every_loop
async def test_opened_in_one_task_used_in_many_closed_in_another_twice(noise: list[dict[str, Any]]) -> None:
    listen(noise)
    server = FakeServer(latency=60.0)
    client = new_client(server, provider=Tens(max_batch=3, rate_limit=FAST))
    await asyncio.create_task(client.__aenter__())
    lookups = [asyncio.create_task(client.get(key % 10)) for key in range(20)]
    bulk = asyncio.create_task(client.get_many(range(100)))
    await asyncio.sleep(0.03)
    stats = client.stats()
    assert stats.in_flight
    assert stats.queued
    async with asyncio.timeout(5):
        await asyncio.gather(asyncio.create_task(client.aclose()), asyncio.create_task(client.aclose()))
        ends = await asyncio.gather(*lookups, bulk, return_exceptions=True)
    assert [type(end) for end in ends] == [ClosedError] * 21
    assert len({id(end) for end in ends}) == 21
    await client.aclose()
    await ticks()
    assert other_tasks() == set()
    assert not server.is_closed


@every_loop
async def test_closing_while_only_a_timer_is_due(noise: list[dict[str, Any]]) -> None:
    listen(noise)
    server = FakeServer()
    client: StatusClient[int, int] = StatusClient(Tens(), transport=server, linger=60.0)
    lookup = asyncio.create_task(client.get(1))
    await asyncio.sleep(0.01)
    await client.aclose()
    with pytest.raises(ClosedError):
        await lookup
    assert (server.requests, other_tasks()) == (0, set())


@every_loop
async def test_closing_before_anything_was_asked() -> None:
    client = new_client(FakeServer())
    await client.aclose()
    async with new_client(FakeServer()):
        pass


@every_loop
async def test_closing_in_the_same_iteration_as_an_answer(noise: list[dict[str, Any]]) -> None:
    listen(noise)
    server = FakeServer(latency=0.0)
    for rounds in range(12):
        client = new_client(server)
        lookup = asyncio.create_task(client.get(1))
        await ticks(rounds)
        await client.aclose()
        [end] = await asyncio.gather(lookup, return_exceptions=True)
        assert end == 10 or isinstance(end, ClosedError)
        assert other_tasks() == set()


@pytest.mark.virtual_time
async def test_closing_ends_what_waits_in_a_limiter_that_others_share() -> None:
    limiter = TokenBucket(RateLimit(0.1))
    client, other = (new_client(FakeServer(latency=0.0), limiter=limiter) for _ in range(2))
    await client.get(0)
    lookups = [asyncio.create_task(client.get(1)), asyncio.create_task(other.get(2))]
    await asyncio.sleep(0.02)
    assert limiter.stats().waiting == 2
    await client.aclose()
    assert limiter.stats().waiting == 1
    await other.aclose()
    await asyncio.wait(lookups)
    assert [type(lookup.exception()) for lookup in lookups] == [ClosedError] * 2
    assert (limiter.stats().waiting, limiter.stats().in_flight) == (0, 0)


class OwnTransport(FakeServer):
    """Takes the place of the transport that the client makes itself."""


@pytest.mark.virtual_time
async def test_a_close_that_is_cancelled_still_closes_the_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = OwnTransport(latency=60.0)
    monkeypatch.setattr("statuslookup._http._new_transport", lambda base_url: own)
    client: StatusClient[int, int] = StatusClient(Tens(), linger=0.0)
    lookup = asyncio.create_task(client.get(1))
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    results = await asyncio.gather(closing, lookup, return_exceptions=True)
    assert isinstance(results[1], ClosedError)
    assert own.is_closed
    await client.aclose()
    assert other_tasks() == set()


@pytest.mark.virtual_time
async def test_an_injected_transport_is_left_open_and_ones_own_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    injected, own = FakeServer(), OwnTransport()
    monkeypatch.setattr("statuslookup._http._new_transport", lambda base_url: own)
    async with new_client(injected) as client:
        await client.get(1)
    assert not injected.is_closed
    async with new_client(injected) as client:
        assert await client.get(1) == 10
    async with StatusClient(Tens()) as client:
        assert await client.get(1) == 10
        assert not own.is_closed
    assert own.is_closed


@pytest.mark.virtual_time
async def test_the_error_of_a_block_is_not_replaced_by_closing() -> None:
    client = new_client(FakeServer(latency=60.0))
    with pytest.raises(LookupError, match="mine"):  # noqa: PT012 # the block is what is tested
        async with client:
            lookup = asyncio.create_task(client.get(1))
            await asyncio.sleep(0.01)
            raise LookupError("mine")
    with pytest.raises(ClosedError):
        await lookup


# --- loops --------------------------------------------------------------------------------------------


def test_a_second_event_loop_is_refused_with_advice() -> None:
    client = new_client(FakeServer(latency=0.0))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(client.get(1)) == 10
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            lambda: client.get(1),
            lambda: client.get_many([1]),
            client.__aenter__,
        ]
        for call in calls:
            with pytest.raises(WrongLoopError, match="one client in each loop"):
                second.run(call())
        with pytest.raises(WrongLoopError, match="close the client in the event loop"):
            second.run(client.aclose())
        assert first.run(client.get(2)) == 20
        first.run(client.aclose())
        with pytest.raises(ClosedError):
            second.run(client.get(1))


def test_a_client_that_is_made_before_any_loop_runs_in_the_first_one() -> None:
    client = new_client(FakeServer(latency=0.0))
    assert asyncio.run(client.get_many([1, 2])) == {1: 10, 2: 20}
    with pytest.raises(WrongLoopError):
        asyncio.run(client.get(1))
    client._is_closed = True


def test_one_that_is_never_closed_is_a_resource_warning_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    noise: list[dict[str, Any]] = []

    async def use() -> None:
        listen(noise)
        client = new_client(FakeServer(latency=0.0))
        assert await client.get(1) == 10
        assert await client.get_many([1, 2]) == {1: 10, 2: 20}

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use())
        gc.collect()
    [warning] = caught
    assert warning.category is ResourceWarning
    assert "unclosed <StatusClient open" in str(warning.message)
    assert noise == []
    assert capsys.readouterr().err == ""


def test_never_closed_in_the_middle_of_its_lookups() -> None:
    """``asyncio.run`` cancels what is left; nothing hangs, and no task is destroyed while it is pending."""
    noise: list[dict[str, Any]] = []

    async def use() -> None:
        listen(noise)
        client = new_client(FakeServer(latency=60.0), provider=Tens(max_batch=2, rate_limit=FAST))
        for key in range(9):
            asyncio.create_task(client.get(key))  # noqa: RUF006 # forgotten on purpose
        asyncio.create_task(client.get_many(range(20)))  # noqa: RUF006 # forgotten on purpose
        await asyncio.sleep(0.01)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use())
        gc.collect()
    assert {warning.category for warning in caught} == {ResourceWarning}
    assert noise == []


def test_never_used_is_no_warning() -> None:
    new_client(FakeServer())
    gc.collect()


# --- programs -----------------------------------------------------------------------------------------


class TestInAFixture:
    """One client for several tests, as a user's own suite would have it."""

    @pytest_asyncio.fixture
    async def client(self) -> AsyncIterator[StatusClient[int, int]]:
        async with new_client(FakeServer(latency=0.001)) as client:
            yield client

    @every_loop
    async def test_one(self, client: StatusClient[int, int]) -> None:
        assert await asyncio.gather(*(client.get(key) for key in range(9))) == [key * 10 for key in range(9)]

    @every_loop
    async def test_two(self, client: StatusClient[int, int]) -> None:
        lookup = asyncio.create_task(client.get_many(range(3)))
        await asyncio.sleep(0)
        assert await lookup == {0: 0, 1: 10, 2: 20}


class Application:
    """The shape of python-telegram-bot: each callback runs in a task of its own."""

    def __init__(
        self,
        post_init: Callable[["Application"], Coroutine[Any, Any, None]],
        post_shutdown: Callable[["Application"], Coroutine[Any, Any, None]],
    ) -> None:
        self.post_init = post_init
        self.post_shutdown = post_shutdown
        self.bot_data: dict[str, Any] = {}
        self.handlers: list[Callable[[Application], Coroutine[Any, Any, object]]] = []

    def run_polling(self, loop: asyncio.AbstractEventLoop) -> list[object]:
        loop.run_until_complete(self.post_init(self))
        updates = asyncio.gather(*(loop.create_task(handler(self)) for handler in self.handlers))
        results = loop.run_until_complete(updates)
        loop.run_until_complete(self.post_shutdown(self))
        return results


def test_opened_in_post_init_and_closed_in_post_shutdown() -> None:
    async def post_init(application: Application) -> None:
        application.bot_data["client"] = await new_client(FakeServer(latency=0.001)).__aenter__()

    async def post_shutdown(application: Application) -> None:
        await application.bot_data["client"].aclose()
        assert other_tasks() == set()

    async def handler(application: Application) -> object:
        return await application.bot_data["client"].get(7)

    application = Application(post_init, post_shutdown)
    application.handlers = [handler] * 20
    loop = asyncio.new_event_loop()
    try:
        assert application.run_polling(loop) == [70] * 20
    finally:
        loop.close()


class Bot:
    """The shape of discord.py: ``setup_hook`` before the events, and ``close`` from wherever."""

    async def setup_hook(self) -> None:
        self.client = new_client(FakeServer(latency=0.001))

    async def on_message(self, key: int) -> None:
        assert await self.client.get(key) == key * 10
        if key == 5:
            await self.close()

    async def close(self) -> None:
        await self.client.aclose()

    async def start(self) -> None:
        await self.setup_hook()
        events = [asyncio.create_task(self.on_message(key)) for key in range(6)]
        await asyncio.gather(*events)


@every_loop
async def test_opened_in_setup_hook_and_closed_from_an_event_and_again_at_the_end() -> None:
    bot = Bot()
    try:
        await bot.start()
    finally:
        await bot.close()
    assert other_tasks() == set()


# --- sockets ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, str]]:
    sandbox = sandbox_of(range(1, 101), rate_limit=None, latency=0.02)
    with sandbox.serve() as url:
        yield sandbox, url


def open_sockets() -> int:
    """Count this process's sockets, those of the server's own thread included."""
    links = "/proc/self/fd"
    count = 0
    for name in os.listdir(links):
        try:
            count += os.readlink(f"{links}/{name}").startswith("socket:")
        except OSError:
            continue
    return count


linux_only = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts sockets in /proc")


async def settle_at(count: int) -> int:
    """Return the number of open sockets, after the server had the time to close its ends."""
    for _ in range(200):
        if open_sockets() <= count:
            break
        await asyncio.sleep(0.01)
    return open_sockets()


def smsfire(url: str, **options: Any) -> StatusClient[Any, MessageStatus]:
    return StatusClient(SMSFire("sandbox", base_url=url, rate_limit=None, **options))


@linux_only
@every_loop
async def test_no_socket_is_left_after_closing(served: tuple[Sandbox, str]) -> None:
    before = open_sockets()
    async with smsfire(served[1], max_batch=10) as client:
        found = await client.get_many(range(1, 121))
        assert sum(status is not None for status in found.values()) == 100
        assert open_sockets() > before
    assert await settle_at(before) <= before


@linux_only
@every_loop
async def test_no_socket_is_left_after_closing_in_the_middle(served: tuple[Sandbox, str]) -> None:
    before = open_sockets()
    for delay in (0.0, 0.005, 0.015, 0.03):
        client = smsfire(served[1], max_batch=5)
        lookups = [asyncio.create_task(client.get(key)) for key in range(1, 101)]
        await asyncio.sleep(delay)
        await client.aclose()
        ends = await asyncio.gather(*lookups, return_exceptions=True)
        assert all(isinstance(end, ClosedError | MessageStatus) for end in ends)
        assert other_tasks() == set()
    assert await settle_at(before) <= before


@linux_only
@every_loop
async def test_cancelled_callers_leave_no_socket_and_the_client_goes_on(served: tuple[Sandbox, str]) -> None:
    before = open_sockets()
    async with smsfire(served[1], max_batch=5) as client:
        for delay in (0.0, 0.002, 0.01, 0.025):
            lookups = [asyncio.create_task(client.get(key)) for key in range(1, 101)]
            await asyncio.sleep(delay)
            for lookup in lookups:
                lookup.cancel()
            await asyncio.wait(lookups)
        async with asyncio.timeout(10):
            status = await client.get(1)
        assert status is not None
        assert status.id == 1
        for request in other_tasks():
            await request
        await ticks()
        assert client.stats().in_flight == 0
        assert other_tasks() == set()
    assert await settle_at(before) <= before


@every_loop
async def test_a_server_that_is_not_there_is_an_error_of_its_own(free_port: int) -> None:
    async with StatusClient(
        SMSFire("sandbox", base_url=f"http://127.0.0.1:{free_port}", rate_limit=None), timeout=0.3
    ) as client:
        with pytest.raises(IncompleteError):
            await client.get_many([1, 2])
    assert other_tasks() == set()


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


# --- what closing ends, and what errors lead to -------------------------------------------------------


@pytest.mark.virtual_time
@pytest.mark.parametrize("kind", ["iterable", "async iterable"])
async def test_closing_ends_a_stream_that_is_read_slowly(kind: str) -> None:
    async def slowly() -> AsyncIterator[int]:
        for key in range(5000):
            yield key
            await asyncio.sleep(0)

    server = FakeServer(latency=0.01)
    client = new_client(server, provider=Tens(max_batch=10, rate_limit=FAST), clock=LoopClock())
    count = requests = 0
    with pytest.raises(ClosedError):  # noqa: PT012 # the loop is what is tested
        async for _ in client.stream(range(5000) if kind == "iterable" else slowly()):
            count += 1
            if count == 25:
                await client.aclose()
                requests = server.requests
            # Outcomes that were known before are still handed out.
            await asyncio.sleep(0.02)
    assert 25 <= count < 5000
    await asyncio.sleep(1)
    assert server.requests == requests
    assert other_tasks() == set()


@pytest.mark.virtual_time
async def test_closing_ends_a_stream_that_waits_for_its_keys() -> None:
    async def pausing() -> AsyncIterator[int]:
        yield 0
        await asyncio.sleep(3600)

    client = new_client(FakeServer())

    async def read() -> None:
        async for _ in client.stream(pausing()):
            pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(5)
    await client.aclose()
    async with asyncio.timeout(1):
        with pytest.raises(ClosedError):
            await reader


@pytest.mark.virtual_time
async def test_keys_that_fail_after_the_reader_left_are_not_reported(noise: list[dict[str, Any]]) -> None:
    listen(noise)

    async def failing() -> AsyncIterator[int]:
        yield 0
        await asyncio.sleep(0.05)
        raise LookupError("mine")

    async with new_client(FakeServer(latency=0.01)) as client, aclosing(client.stream(failing())) as outcomes:
        async for _ in outcomes:
            await asyncio.sleep(0.1)
            break


def test_a_limiter_that_is_in_use_on_another_loop_says_so_itself() -> None:
    limiter = TokenBucket(RateLimit(2))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        one, two = (new_client(FakeServer(latency=60.0), limiter=limiter) for _ in range(2))

        async def start() -> "asyncio.Task[Any]":
            lookup = asyncio.create_task(one.get(1))
            await asyncio.sleep(0.01)
            return lookup

        lookup = first.run(start())
        with pytest.raises(WrongLoopError, match="make one for each loop"):
            second.run(two.get(1))
        second.run(two.aclose())
        first.run(one.aclose())
        assert isinstance(lookup.exception(), ClosedError)


@pytest.mark.virtual_time
async def test_each_request_has_a_context_of_its_own() -> None:
    span: ContextVar[int] = ContextVar("span", default=0)
    seen: list[tuple[int, int]] = []

    class Instrumented(FakeServer):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            parent, number = span.get(), self.requests + 1
            span.set(number)
            response = await super().handle_async_request(request)
            seen.append((parent, span.get() - number))
            return response

    async with new_client(Instrumented(), provider=Tens(max_batch=1, rate_limit=None)) as client:
        await asyncio.gather(*(client.get(key) for key in range(5)))
    assert seen == [(0, 0)] * 5


@pytest.mark.parametrize("outcome", [200, 401, 500])
async def test_errors_and_bulk_calls_leave_nothing_for_the_garbage_collector(outcome: int) -> None:
    retry = RetryPolicy(attempts=1)
    async with new_client(FakeServer(lambda number: outcome, latency=0.0), retry=retry) as client:

        async def look_up() -> None:
            await asyncio.gather(*(client.get(key) for key in range(20)), return_exceptions=True)
            try:
                await client.get_many(range(1000))
            except IncompleteError:
                pass

        await look_up()
        gc.collect()
        gc.disable()
        try:
            await look_up()
            await ticks()
            assert gc.collect() == 0
        finally:
            gc.enable()
