"""Webhooks over a socket, to an app and to servers that are played."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from statuslookup.sandbox import Posted
from statuslookup.sandbox._serving import serving
from tests.support.receivers import READ, Receiver, changed


async def starlette_app(request: Request) -> Response:
    request.app.state.seen.append((str(request.url), dict(request.headers), await request.body()))
    return Response("thanks" * 1000, status_code=202)


@contextlib.contextmanager
def starlette_server() -> Any:
    app = Starlette(routes=[Route("/webhooks/{name}", starlette_app, methods=["POST"])])
    app.state.seen = []
    served: ASGIApp = app
    with serving(served, "127.0.0.1", 0) as url:
        yield url, app.state.seen


@pytest.mark.every_loop
async def test_it_posts_to_starlette_under_uvicorn() -> None:
    with starlette_server() as (url, seen):
        sandbox = changed(20)
        posted = await sandbox.post_webhooks(f"{url}/webhooks/smsfire?key=a%20b")
    assert posted == Posted(lost=0, repeated=0, requests=20, delivered=20)
    assert [json.loads(body)["id"] for _, _, body in seen] == list(range(20))
    address, headers, body = seen[0]
    assert address == f"{url}/webhooks/smsfire?key=a%20b"
    assert headers == {
        "host": url.removeprefix("http://"),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
    }


async def test_another_path_at_starlette_is_discarded() -> None:
    with starlette_server() as (url, seen):
        posted = await changed().post_webhooks(f"{url}/elsewhere")
    assert (posted.discarded, seen) == (1, [])


class PlainServer:
    """A server that reads one request of a connection and then does as it was told."""

    def __init__(self, response: bytes | None, *, closes: bool) -> None:
        self.requests: list[bytes] = []
        self.failures: list[Exception] = []
        self._response = response
        self._closes = closes

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            if self._response is not None:
                writer.write(self._response)
                await writer.drain()
            if not self._closes:
                await reader.read()
        except Exception as error:  # noqa: BLE001 # the test looks at it
            self.failures.append(error)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def plain_server(
    response: bytes | None, *, closes: bool = False
) -> AsyncIterator[tuple[str, PlainServer]]:
    plain = PlainServer(response, closes=closes)
    server = await asyncio.start_server(plain.handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", plain
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.every_loop
@pytest.mark.parametrize("closes", [True, False])
async def test_it_posts_to_a_plain_server(closes: bool) -> None:
    responses = {
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n": 2,
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nthanks": 2,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nthanks\r\n0\r\n\r\n": 2,
        b"HTTP/1.0 204\r\n\r\n": 2,
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n": 0,
        b"200 OK\r\n\r\n": 0,
        b"nonsense\r\n\r\n": 0,
    }
    for response, delivered in responses.items():
        async with plain_server(response, closes=closes) as (url, plain):
            with anyio.fail_after(15):
                posted = await changed(2).post_webhooks(url)
        assert (posted.requests, posted.delivered) == (2, delivered), response
        head, body = plain.requests[1].split(b"\r\n\r\n")
        assert head.startswith(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:")
        assert json.loads(body)["id"] == 1
        assert plain.failures == []


async def test_a_response_that_is_cut_off_is_none() -> None:
    for response in (b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"):
        async with plain_server(response, closes=True) as (url, plain):
            posted = await changed().post_webhooks(url)
        assert (posted.delivered, len(plain.requests)) == (0, 1)


async def test_a_server_that_never_answers_gets_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statuslookup.sandbox._webhooks._SECONDS_TO_ANSWER", 0.5)
    async with plain_server(None) as (url, plain):
        posted = await changed(2).post_webhooks(url)
    assert posted == Posted(lost=0, repeated=0, requests=2, delivered=0)
    assert len(plain.requests) == 2


async def test_nobody_there_is_discarded() -> None:
    async with plain_server(None) as (url, _):
        pass
    posted = await changed(2).post_webhooks(url)
    assert (posted.requests, posted.discarded) == (2, 2)


async def test_localhost_by_name_and_by_ipv6() -> None:
    async with plain_server(b"HTTP/1.1 204 No Content\r\n\r\n", closes=True) as (url, plain):
        posted = await changed().post_webhooks(url.replace("127.0.0.1", "localhost"))
    assert (posted.delivered, len(plain.requests)) == (1, 1)
    try:
        server = await asyncio.start_server(plain.handle, "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    async with server:
        posted = await changed().post_webhooks(f"http://[::1]:{server.sockets[0].getsockname()[1]}/")
    assert posted.delivered == 1


async def test_changes_while_it_posts_wait_for_the_next_time() -> None:
    sandbox, receiver = changed(2), Receiver()

    async def change_and_receive(scope: Scope, receive: Receive, send: Send) -> None:
        sandbox.change_state(0, READ)
        await receiver(scope, receive, send)

    assert (await sandbox.post_webhooks(change_and_receive)).requests == 2
    assert (await sandbox.post_webhooks(receiver)).requests == 1
    assert receiver.ids == [0, 1, 0]
