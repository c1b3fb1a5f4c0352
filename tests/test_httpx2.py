"""A transport may come from httpx2, httpx's successor, which this library neither needs nor imports."""

import asyncio
import contextlib
import gzip
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import trustme

from statuslookup import (
    DecodeError,
    DeliveryState,
    GreenAPI,
    ProviderError,
    RetryPolicy,
    SMSFire,
    StatusClient,
    TransportError,
)
from statuslookup import _http as http_room
from statuslookup._http import Sender, Transport
from statuslookup._wire import Request, Response, Secret
from statuslookup.sandbox import Sandbox

STORY = "BAE57C4EEC000000"
CANARY = "Y2FuYXJ5"
GET = Request("GET", "/status/1", authorization="Basic ***")
POST = Request("POST", "/search", query="a=b", authorization="Basic ***", content=b'{"ids":["1"]}')
BY_PATH = Request("GET", "/instance7/status/***", query="id=1")

BOTH_LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


# --- transports that wrap or inherit --------------------------------------------------------------


class Wrapper:
    """A transport that inherits from nothing and holds another."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.seen: list[Any] = []

    async def handle_async_request(self, request: Any) -> Any:
        self.seen.append(request)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Inheriting(httpx2.AsyncBaseTransport):
    """A transport of httpx2's kind that holds another in a list."""

    def __init__(self, inner: Transport) -> None:
        self.inner = [inner]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = await self.inner[0].handle_async_request(request)
        return response

    async def aclose(self) -> None:
        await self.inner[0].aclose()


class OfTheOtherKind(httpx.AsyncBaseTransport):
    """A transport that was written for httpx and passes on what it is given, to whatever it holds."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await self.inner.handle_async_request(request)
        return response

    async def aclose(self) -> None:
        await self.inner.aclose()


class OwnASGITransport(httpx2.ASGITransport):
    pass


class OwnHTTPTransport(httpx2.AsyncHTTPTransport):
    pass


WRAPPED: dict[str, Callable[[Transport], Transport]] = {
    "bare": lambda inner: inner,
    "wrapped": Wrapper,
    "wrapped by its like": Inheriting,
    "wrapped by httpx's": OfTheOtherKind,
    "wrapped thrice": lambda inner: Wrapper(OfTheOtherKind(Inheriting(inner))),
}
EVERY_WRAPPING = pytest.mark.parametrize("wrapping", WRAPPED)


# --- the sandbox ----------------------------------------------------------------------------------


async def look_up_at_both(base_url: str, transport: Transport) -> None:
    """Look messages and a story up at the sandbox that the transport leads to."""
    message_provider = SMSFire("sandbox", base_url=base_url, rate_limit=None)
    async with StatusClient(message_provider, transport=transport) as smsfire:
        found = await smsfire.get_many([1, 2])
        assert found[1] is not None
        assert found[1].state is DeliveryState.DELIVERED
        assert found[2] is None
    story_provider = GreenAPI(1101000001, "sandbox", api_url=base_url, rate_limit=None)
    async with StatusClient(story_provider, transport=transport) as green_api:
        statistic = await green_api.get(STORY)
        assert statistic is not None
        assert [receipt.state for receipt in statistic.receipts] == [DeliveryState.READ]


def new_sandbox() -> Sandbox:
    sandbox = Sandbox(rate_limit=None)
    sandbox.add_message(1, state=DeliveryState.DELIVERED)
    sandbox.add_instance(rate_limit=None).add_statistic(STORY, DeliveryState.READ)
    return sandbox


@EVERY_WRAPPING
@pytest.mark.parametrize("kind", [httpx2.ASGITransport, OwnASGITransport])
async def test_an_app_in_this_process(kind: type[httpx2.ASGITransport], wrapping: str) -> None:
    await look_up_at_both("https://api.test", WRAPPED[wrapping](kind(new_sandbox())))


@EVERY_WRAPPING
@pytest.mark.parametrize("kind", [httpx2.AsyncHTTPTransport, OwnHTTPTransport])
async def test_a_server(kind: type[httpx2.AsyncHTTPTransport], wrapping: str) -> None:
    with new_sandbox().serve() as url:
        transport = WRAPPED[wrapping](kind(verify=False))
        await look_up_at_both(url, transport)
        await transport.aclose()


async def test_a_pool_of_httpx2_closes_its_connections_itself() -> None:
    with new_sandbox().serve() as url:
        async with httpx2.AsyncHTTPTransport(verify=False) as transport:
            for _ in range(2):
                await look_up_at_both(url, transport)


# --- what is sent ---------------------------------------------------------------------------------


def new_sender(transport: Transport, base_url: str = "https://api.test/v2") -> Sender:
    return Sender(provider="P", base_url=base_url, secret=Secret(CANARY), transport=transport)


def mocked(handler: Callable[[httpx2.Request], httpx2.Response]) -> Sender:
    return new_sender(httpx2.MockTransport(handler))


@EVERY_WRAPPING
async def test_a_mock_reads_the_secret_from_requests_of_its_own_kind(wrapping: str) -> None:
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(204)

    sender = new_sender(WRAPPED[wrapping](httpx2.MockTransport(answer)))
    for sent in (GET, POST, BY_PATH):
        assert await sender.send(sent) == Response(204)
    by_header, posted, by_path = seen
    assert {type(request) for request in seen} == {httpx2.Request}
    assert all(isinstance(request.url, httpx2.URL) for request in seen)
    assert by_header.headers["Authorization"] == f"Basic {CANARY}"
    assert (str(posted.url), posted.content) == ("https://api.test/v2/search?a=b", b'{"ids":["1"]}')
    assert by_path.url.path == f"/v2/instance7/status/{CANARY}"
    assert by_path.url.raw_path == f"/v2/instance7/status/{CANARY}?id=1".encode()
    assert CANARY not in f"{by_path.url} {by_path.url!r} {by_path!r} {by_header!r} {by_header.headers!r}"


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on loopback, and return when no connection is left."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)


EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@EVERY_WRAPPING
async def test_a_socket_gets_the_secret_and_nobody_on_the_way(wrapping: str) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(EMPTY)

    outside = Wrapper(WRAPPED[wrapping](httpx2.AsyncHTTPTransport(verify=False)))
    async with serving(serve) as url:
        sender = new_sender(outside, url)
        for sent in (GET, BY_PATH):
            assert await sender.send(sent) == Response(204)
        await outside.aclose()
    assert f"Authorization: Basic {CANARY}\r\n".encode() in heads[0]
    assert heads[1].startswith(f"GET /instance7/status/{CANARY}?id=1 HTTP/1.1\r\n".encode())
    by_header, by_path = outside.seen
    assert by_header.headers["Authorization"] == "Basic ***"
    assert by_path.url.path == "/instance7/status/***"
    shown = f"{by_path.url} {by_path.url!r} {by_path.url.raw_path!r} {by_header.headers!r}"
    assert CANARY not in shown + by_path.url.raw_path.decode()


# --- answers and errors ---------------------------------------------------------------------------


async def test_a_compressed_answer_is_expanded() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        # As from a socket: httpx2 would expand what it is given as content.
        stream = httpx2.ByteStream(gzip.compress(b'[{"id":1}]'))
        return httpx2.Response(200, headers={"Content-Encoding": "gzip", "Retry-After": "3"}, stream=stream)

    assert await mocked(answer).send(GET) == Response(200, b'[{"id":1}]', 3.0)


async def test_a_compressed_answer_over_a_socket_is_expanded() -> None:
    packed = gzip.compress(b"[]")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed))
        writer.write(packed)

    async with serving(serve) as url, httpx2.AsyncHTTPTransport(verify=False) as transport:
        assert await new_sender(transport, url).send(GET) == Response(200, b"[]")


async def test_an_answer_of_an_encoding_that_was_not_asked_for_is_a_decode_error() -> None:
    stream = httpx2.ByteStream(b"[]")
    sender = mocked(lambda _: httpx2.Response(200, headers={"Content-Encoding": "zstd"}, stream=stream))
    assert type(await problem_of(sender)) is DecodeError


async def problem_of(sender: Sender) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await sender.send(GET)
    error = caught.value
    assert error.__context__ is None
    assert CANARY not in f"{error} {error!r} {vars(error)}"
    return error


def all_below(cls: type[Exception]) -> set[type[Exception]]:
    return {cls}.union(*(all_below(child) for child in cls.__subclasses__()))


TRANSPORT_ERRORS = sorted(
    (cls for cls in all_below(httpx2.TransportError) if cls.__module__.partition(".")[0] == "httpx2"),
    key=lambda cls: cls.__name__,
)


def test_what_is_said_of_httpxs_errors_is_said_of_httpx2s() -> None:
    assert set(http_room._WHAT_FAILED) <= {cls.__name__ for cls in TRANSPORT_ERRORS}


@pytest.mark.parametrize("cls", TRANSPORT_ERRORS, ids=lambda cls: cls.__name__)
async def test_each_of_httpx2s_errors_is_no_answer(cls: type[Exception]) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise cls(f"{request.headers['Authorization']} {request.url}")

    error = await problem_of(mocked(fail))
    assert type(error) is TransportError
    name = cls.__name__
    assert str(error) == f"P: {http_room._WHAT_FAILED.get(name, f'the request failed ({name})')}"


async def text_of_failure(serve: Serve, context: ssl.SSLContext | None = None) -> str:
    async with serving(serve, context) as url, httpx2.AsyncHTTPTransport() as transport:
        error = await problem_of(new_sender(transport, url))
    assert type(error) is TransportError
    return str(error)


async def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with httpx2.AsyncHTTPTransport(verify=False) as transport:
            sender = new_sender(transport, f"http://127.0.0.1:{bound.getsockname()[1]}")
            assert "no connection could be made" in str(await problem_of(sender))


async def test_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(http_room._TIMEOUTS, "read", 0.05)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert "no answer within" in await text_of_failure(serve)


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1", b"SSH-2.0\r\n\r\n"]
)
async def test_an_answer_that_breaks_off(reply: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)

    assert "closed in the middle of the answer, or was not HTTP" in await text_of_failure(serve)


async def test_a_certificate_of_nobodys() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    # The server's side of the failure is reported to the loop, too.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    assert "TLS failed: the certificate was not accepted" in await text_of_failure(serve, context)


@BOTH_LIBRARIES
async def test_headers_that_drip_are_given_up(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_room, "_READ_WITHIN", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(500):
            writer.write(b"X-%d: 1\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(serve) as url, library.AsyncHTTPTransport(verify=False) as transport:
        assert "the answer was not read within 0.2 s" in str(await problem_of(new_sender(transport, url)))


# --- a transport that clients share ---------------------------------------------------------------


@BOTH_LIBRARIES
@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["]
)
async def test_a_client_that_is_closed_in_the_middle_leaves_its_connection_to_others(
    library: ModuleType, sent: bytes
) -> None:
    came, answers = asyncio.Event(), [sent, EMPTY]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        came.set()
        await reader.read()

    limits = library.Limits(max_connections=1)
    async with serving(serve) as url, library.AsyncHTTPTransport(verify=False, limits=limits) as transport:
        provider = SMSFire("token", base_url=url, rate_limit=None)
        async with StatusClient(provider, transport=transport) as client:
            lookup = asyncio.create_task(client.get(1))
            async with asyncio.timeout(5):
                await came.wait()
        await asyncio.gather(lookup, return_exceptions=True)
        retry = RetryPolicy(attempts=1)
        async with StatusClient(provider, transport=transport, timeout=5, retry=retry) as other:
            assert await other.get(1) is None


# --- whether it is there --------------------------------------------------------------------------


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_it_is_not_imported() -> None:
    program = "import statuslookup, sys; print(sorted({'httpx2', 'httpcore2'} & set(sys.modules)))"
    assert run(program).strip() == "[]"


LOOK_UP = """
import asyncio
from statuslookup import SMSFire, StatusClient
import httpx
async def main():
    transport = httpx.MockTransport(lambda request: httpx.Response(204))
    async with StatusClient(SMSFire("token"), transport=transport) as client:
        print(await client.get(1), httpx.__name__)
asyncio.run(main())
"""


def test_it_need_not_be_installed() -> None:
    assert run("import sys; sys.modules['httpx2'] = None" + LOOK_UP).split() == ["None", "httpx"]


def test_it_may_take_httpxs_place() -> None:
    assert run("import httpx2; httpx2.alias_httpx()" + LOOK_UP).split() == ["None", "httpx2"]
