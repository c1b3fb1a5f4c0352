"""Which event loop a client lives on, and how programs hold it."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import pytest_asyncio

from statuslookup import ClosedError, StatusClient, WrongLoopError
from tests.support.fakes import FAST, FakeServer, Tens, listen, new_client, other_tasks
from tests.support.virtual_time import ManualClock

every_loop = pytest.mark.every_loop


# --- loops --------------------------------------------------------------------------------------------


# The client that was not closed says so, which is another test's matter.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_loop_that_is_closed_with_a_lookup_under_way_is_not_reported_as_a_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def leave_one() -> None:
        client = new_client(FakeServer(latency=100.0))
        left.append(asyncio.ensure_future(client.get(1)))
        await asyncio.sleep(0.01)

    left: list[object] = []
    loop = asyncio.new_event_loop()
    # Tasks are destroyed while they are pending, which asyncio reports.
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(leave_one())
    loop.close()
    left.clear()
    del loop
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "statuslookup"] == []


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_lookup_that_expires_as_its_loop_ends_is_no_error_that_nobody_took() -> None:
    """Its caller never runs again, so it cannot take the error."""
    noise: list[str] = []

    async def leave_one() -> None:
        clock = ManualClock()
        client: StatusClient[int, int] = StatusClient(
            Tens(), transport=FakeServer(latency=100.0), clock=clock
        )
        left.append(asyncio.ensure_future(client.get(1)))
        await asyncio.sleep(0.01)
        clock.advance(0.01)
        await asyncio.sleep(0.01)
        clock.advance(61)
        # Past the deadline, and out of the loop before it goes round once more.
        raise KeyboardInterrupt

    left: list[object] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: noise.append(context["message"]))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(leave_one())
    loop.close()
    left.clear()
    del loop
    gc.collect()
    assert [message for message in noise if "never retrieved" in message] == []


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
    with pytest.raises(WrongLoopError, match="close a client before its loop ends"):
        asyncio.run(client.aclose())
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
