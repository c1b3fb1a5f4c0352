"""What sends one request, to a mock or to a server on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from statuslookup import ProviderError, TransportError
from statuslookup._http import Progress, Sender
from statuslookup._wire import Request, Response, Secret

MEBIBYTE = 2**20
CANARY = "Y2FuYXJ5"
GET = Request("GET", "/status/1", authorization="Basic ***")
POST = Request("POST", "/search", query="a=b", authorization="Basic ***", content=b'{"ids":["1"]}')
BY_PATH = Request("GET", "/instance7/status/***", query="id=1")

Handler = Callable[[httpx.Request], httpx.Response]


def new_sender(
    base_url: str, transport: httpx.AsyncBaseTransport | None = None, secret: str = CANARY
) -> Sender:
    return Sender(
        provider="P",
        base_url=base_url,
        secret=Secret(secret),
        transport=transport,
        wall_time=lambda: 784111776.0,
    )


def mocked(handler: Handler) -> Sender:
    return new_sender("https://api.test", httpx.MockTransport(handler))


class Stream(httpx.AsyncByteStream):
    """A body in chunks, which knows how many were read and whether it was closed."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.chunks = chunks
        self.read = 0
        self.closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.chunks:
            self.read += 1
            yield chunk

    async def aclose(self) -> None:
        await asyncio.sleep(0)  # where a cancelled scope would cut it off
        self.closed += 1


async def in_chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def answer_of(sender: Sender, request: Request = GET) -> Response:
    return await sender.send(request, Progress())


async def problem_of(sender: Sender, request: Request = GET) -> ProviderError:
    """Return the error of a request; nothing may hang on to it."""
    with pytest.raises(ProviderError) as caught:
        await answer_of(sender, request)
    error = caught.value
    assert type(error) is ProviderError or error.__cause__ is None
    assert error.__context__ is None
    assert not hasattr(error, "__notes__")
    assert str(error).startswith("P: ")
    for shown in (str(error), repr(error), repr(vars(error))):
        assert CANARY not in shown
        assert "api.test" not in shown
    return error


def all_below(cls: type[Exception]) -> set[type[Exception]]:
    return {cls}.union(*(all_below(child) for child in cls.__subclasses__()))


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server on loopback that keeps what came, and does what a test tells it with each connection."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.heads: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()
        self.port = 0

    async def read_head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.set()

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        async with asyncio.timeout(30):
            if self.connections:
                await self.ended.wait()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with one header after the other, and never with the last."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(500):
        writer.write(b"X-%d: 1\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.02)


async def wait_for_ever(request: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


def replying(*replies: bytes) -> Server:
    """Answer each request of a connection with the next of the replies, then close it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            head = await server.read_head(reader)
            if b"content-length: 13" in head.lower():
                await reader.readexactly(13)
            writer.write(reply)
            await writer.drain()

    server = Server(serve)
    return server


async def problem_at(base_url: str, request: Request = GET) -> TransportError:
    sender = new_sender(base_url)
    try:
        error = await problem_of(sender, request)
    finally:
        await sender.aclose()
    assert type(error) is TransportError
    assert "127.0.0.1" not in str(error)
    return error


EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
