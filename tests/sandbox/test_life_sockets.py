"""What a client leaves open of its sockets: nothing."""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from statuslookup import ClosedError, IncompleteError, MessageStatus, SMSFire, StatusClient
from statuslookup.sandbox import Sandbox
from tests.support.fakes import other_tasks, ticks
from tests.support.sandboxes import sandbox_of


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


every_loop = pytest.mark.every_loop
linux_only = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts sockets in /proc")


async def settle_at(count: int) -> int:
    """Return the number of open sockets, after the server had the time to close its ends."""
    for _ in range(1000):
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


async def lookup_under_way(client: StatusClient[Any, Any], sandbox: Sandbox) -> "asyncio.Task[Any]":
    before = sandbox.requests
    lookup = asyncio.create_task(client.get(1))
    while sandbox.requests == before:  # noqa: ASYNC110 # another thread counts
        await asyncio.sleep(0.001)
    return lookup


@pytest.mark.parametrize("rounds", range(5))
async def test_closing_twice_at_a_time_takes_no_place_of_a_transport_that_was_lent(
    rounds: int, served: tuple[Sandbox, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox, url = served
    # So long that also on a busy machine the answer does not come before the client is closed.
    monkeypatch.setattr(sandbox, "_half_latency", 0.5)
    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))
    client = StatusClient(SMSFire("sandbox", base_url=url, rate_limit=None), transport=transport)
    lookup = await lookup_under_way(client, sandbox)
    closing = asyncio.create_task(client.aclose())
    await ticks(rounds)
    await client.aclose()
    await closing
    with pytest.raises(ClosedError):
        await lookup
    monkeypatch.undo()
    async with StatusClient(SMSFire("sandbox", base_url=url, rate_limit=None), transport=transport) as other:
        assert await other.get(2, timeout=10) is not None
    await transport.aclose()


@pytest.mark.parametrize("rounds", range(12))
async def test_closing_when_the_answer_has_just_come_takes_none_either(
    rounds: int, served: tuple[Sandbox, str]
) -> None:
    sandbox, url = served
    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=1))
    client = StatusClient(SMSFire("sandbox", base_url=url, rate_limit=None), transport=transport)
    lookup = await lookup_under_way(client, sandbox)
    # The loop is held up for longer than the latency; in one of the rounds, the response is being closed.
    time.sleep(0.1)  # noqa: ASYNC251 # that is the point
    await ticks(rounds)
    await client.aclose()
    await asyncio.gather(lookup, return_exceptions=True)
    async with StatusClient(SMSFire("sandbox", base_url=url, rate_limit=None), transport=transport) as other:
        assert await other.get(2, timeout=10) is not None
    await transport.aclose()
