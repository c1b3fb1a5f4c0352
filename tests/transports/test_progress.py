"""When a request is connecting, and that it may be cancelled from the moment in which it is not."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from statuslookup import ProviderError
from statuslookup._http import Progress
from statuslookup._wire import Response
from tests.support.echo_server import Server as EchoServer
from tests.support.echo_server import found, new_tls, tunnel_to
from tests.support.httpx2_senders import BOTH_LIBRARIES, serving
from tests.support.senders import EMPTY, GET, answer_of, mocked, new_sender, replying

pytestmark = pytest.mark.usefixtures("no_proxies")


def state(progress: Progress) -> tuple[bool, bool]:
    return progress.is_connecting, progress.has_connected


async def test_a_request_that_opens_a_connection_says_when_it_is_there() -> None:
    told: list[tuple[bool, bool]] = []
    async with replying(EMPTY, EMPTY) as server:
        sender = new_sender(server.url)
        first, second = Progress(), Progress()
        for progress in (first, second):
            progress.when_connected = lambda progress=progress: told.append(state(progress))
            assert state(progress) == (False, False)
            await sender.send(GET, progress)
        await sender.aclose()
    # The second went over the same connection.
    assert told == [(False, True)]
    assert (state(first), state(second)) == ((False, True), (False, False))
    assert first.when_connected is None


async def test_a_connection_that_fails_is_no_connection() -> None:
    async with replying() as server:
        url = server.url
    progress = Progress(when_connected=pytest.fail)
    sender = new_sender(url)
    with pytest.raises(ProviderError):
        await sender.send(GET, progress)
    assert state(progress) == (False, False)
    await sender.aclose()


CONNECT, OURS = (SimpleNamespace(method=method) for method in (b"CONNECT", b"GET"))
THROUGH_A_PROXY: list[tuple[str, Any, bool]] = [
    ("connection.connect_tcp.started", OURS, True),
    ("connection.connect_tcp.complete", OURS, True),
    ("http11.send_request_headers.started", CONNECT, True),
    ("http11.receive_response_headers.started", CONNECT, True),
    ("proxy.start_tls.started", OURS, True),
    ("http2.send_connection_init.started", OURS, True),
    ("http2.send_request_headers.started", OURS, False),
    ("http2.receive_response_headers.started", OURS, False),
]


async def test_it_connects_until_the_request_itself_is_sent() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        for step, asked, is_connecting in THROUGH_A_PROXY:
            await request.extensions["trace"](step, {"request": asked})
            assert state(progress) == (is_connecting, not is_connecting), step
        return httpx.Response(204)

    progress = Progress()
    sender = new_sender("https://api.test", httpx.MockTransport(answer))
    assert (await sender.send(GET, progress)).opened_connection


async def test_it_connects_no_more_when_the_answer_is_there() -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("connection.connect_tcp.started", {})
        return httpx.Response(204)

    told: list[tuple[bool, bool]] = []
    progress = Progress(when_connected=lambda: told.append(state(progress)))
    sender = new_sender("https://api.test", httpx.MockTransport(answer))
    assert (await sender.send(GET, progress)).opened_connection
    assert told == [(False, True)]


async def test_a_transport_that_tells_no_steps_never_connects() -> None:
    progress = Progress(when_connected=pytest.fail)
    await mocked(lambda _: httpx.Response(204)).send(GET, progress)
    assert state(progress) == (False, False)


async def test_a_response_that_is_closing_says_when_it_is_closed() -> None:
    closing: list[bool] = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            assert not progress.is_closing
            yield b"[]"

        async def aclose(self) -> None:
            progress.when_closed = lambda: closing.append(progress.is_closing)
            closing.append(progress.is_closing)

    progress = Progress()
    answer = await mocked(lambda _: httpx.Response(200, stream=Body())).send(GET, progress)
    assert answer.content == b"[]"
    assert closing == [True, False]
    assert progress.when_closed is None


@BOTH_LIBRARIES
async def test_a_request_that_is_cancelled_as_soon_as_it_is_connected_costs_no_place(
    library: ModuleType,
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(EMPTY)

    limits = library.Limits(max_connections=1)
    async with serving(serve) as url, library.AsyncHTTPTransport(verify=False, limits=limits) as transport:
        sender, progress = new_sender(url, transport), Progress()
        task = asyncio.create_task(sender.send(GET, progress))
        progress.when_connected = task.cancel
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__context__ is None
        async with asyncio.timeout(5):
            assert await answer_of(sender) == Response(204)


async def test_nor_does_one_that_went_through_a_proxy(tmp_path: Path) -> None:
    tls = new_tls(tmp_path)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with EchoServer(found, tls=tls) as server, EchoServer(tunnel_to(server)) as proxy:
        one = httpx.Limits(max_connections=1)
        async with httpx.AsyncHTTPTransport(verify=trusted, proxy=proxy.url, limits=one) as transport:
            sender = new_sender(f"https://localhost:{server.port}", transport)
            progress = Progress()
            task = asyncio.create_task(sender.send(GET, progress))
            progress.when_connected = task.cancel
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):
                assert (await answer_of(sender)).status_code == 200
        assert proxy.connections == 2
