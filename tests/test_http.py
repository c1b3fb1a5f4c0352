"""The sender: errors translated, bodies capped, proxies as usual, the secret shown to the wire only."""

import asyncio
import contextlib
import gzip
import json
import os
import socket
import ssl
import struct
import sys
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from statuslookup import DecodeError, GreenAPI, ProviderError, StatusClient, TransportError
from statuslookup import _http as http_room
from statuslookup._http import Sender
from statuslookup._wire import Request, Response, Secret

from .virtual_time import LoopClock

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


async def problem_of(sender: Sender, request: Request = GET) -> ProviderError:
    """Return the error of a request; nothing may hang on to it."""
    with pytest.raises(ProviderError) as caught:
        await sender.send(request)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not hasattr(error, "__notes__")
    assert str(error).startswith("P: ")
    for shown in (str(error), repr(error), repr(vars(error))):
        assert CANARY not in shown
        assert "api.test" not in shown
    return error


# --- httpx's errors -------------------------------------------------------------------------------

SOME_REQUEST = httpx.Request("GET", f"https://api.test/{CANARY}", headers={"Authorization": CANARY})


def all_below(cls: type[Exception]) -> set[type[Exception]]:
    return {cls}.union(*(all_below(child) for child in cls.__subclasses__()))


def new_error(cls: type[Exception]) -> Exception:
    message = f"https://api.test/{CANARY}"
    if issubclass(cls, httpx.HTTPStatusError):
        return cls(message, request=SOME_REQUEST, response=httpx.Response(500, request=SOME_REQUEST))
    if issubclass(cls, httpx.RequestError):
        return cls(message, request=SOME_REQUEST)
    try:
        return cls(message)
    except TypeError:
        return cls()


HTTPX_ERRORS = sorted(
    {
        cls
        for root in (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict)
        for cls in all_below(root)
        if cls.__module__.startswith("httpx")
    },
    key=lambda cls: cls.__name__,
)

USEFUL = {
    "ConnectTimeout": "no connection within 10 s",
    "ConnectError": "check the network",
    "ReadTimeout": "no answer within 30 s",
    "WriteTimeout": "could not be sent within 30 s",
    "ReadError": "broke before the answer was read",
    "WriteError": "broke before the request was sent",
    "CloseError": "connection broke",
    "RemoteProtocolError": "was not HTTP",
    "ProxyError": "proxy refused",
    "UnsupportedProtocol": "not supported",
}


def test_the_list_of_errors_is_not_empty() -> None:
    assert {httpx.ConnectError, httpx.PoolTimeout, httpx.DecodingError} <= set(HTTPX_ERRORS)
    assert len(HTTPX_ERRORS) >= 25


@pytest.mark.parametrize("cls", HTTPX_ERRORS, ids=lambda cls: cls.__name__)
async def test_each_of_httpxs_errors_is_no_answer(cls: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        try:
            raise OSError(CANARY)
        except OSError as cause:
            raise new_error(cls) from cause

    error = await problem_of(mocked(fail))
    assert type(error) is TransportError
    assert USEFUL.get(cls.__name__, f"({cls.__name__})") in str(error)


@pytest.mark.parametrize("cls", [OSError, ValueError, RuntimeError, KeyError, ExceptionGroup])
async def test_a_transport_of_somebodys_own_may_raise_anything(cls: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise cls(CANARY, [ValueError(CANARY)])

    assert type(await problem_of(mocked(fail))) is TransportError


async def test_an_error_while_the_body_is_read_is_translated_and_the_answer_closed() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"[1"
        raise httpx.ReadError(CANARY, request=SOME_REQUEST)

    stream = Stream(chunks())
    error = await problem_of(mocked(lambda _: httpx.Response(200, stream=stream)))
    assert "broke before the answer was read" in str(error)
    assert stream.closed == 1


async def test_an_error_while_the_answer_is_closed_is_translated() -> None:
    class Unclosable(Stream):
        async def aclose(self) -> None:
            raise httpx.CloseError(CANARY, request=SOME_REQUEST)

    stream = Unclosable(in_chunks(b"[]"))
    assert "connection broke" in str(await problem_of(mocked(lambda _: httpx.Response(200, stream=stream))))


async def test_cancellation_passes_untranslated() -> None:
    async def wait_for_ever(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(new_sender("https://api.test", httpx.MockTransport(wait_for_ever)).send(GET))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_refused_certificate_says_why() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        cause = ssl.SSLCertVerificationError(1, CANARY)
        cause.verify_message = "self-signed certificate"
        raise httpx.ConnectError(CANARY) from cause

    error = await problem_of(mocked(fail))
    assert str(error) == "P: TLS failed: the certificate was not accepted (self-signed certificate)"


# --- what is sent, and what is shown --------------------------------------------------------------


async def received(request: Request, secret: str = CANARY) -> httpx.Request:
    """Return what an injected transport is given."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    assert await new_sender("https://api.test/v2", httpx.MockTransport(answer), secret).send(
        request
    ) == Response(204)
    return seen[0]


async def test_a_request_carries_what_it_must() -> None:
    request = await received(POST)
    assert request.method == "POST"
    assert str(request.url) == "https://api.test/v2/search?a=b"
    assert json.loads(request.content) == {"ids": ["1"]}
    assert dict(request.headers) == {
        "host": "api.test",
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": "statuslookup",
        "content-type": "application/json",
        "content-length": "13",
        "authorization": f"Basic {CANARY}",
    }
    assert request.extensions["timeout"] == {"connect": 10.0, "write": 30.0, "read": 30.0, "pool": None}


async def test_a_request_carries_no_more_than_it_must() -> None:
    request = await received(BY_PATH)
    assert "authorization" not in request.headers
    assert "content-type" not in request.headers
    assert request.content == b""


async def test_a_secret_in_the_path_is_in_no_text() -> None:
    request = await received(BY_PATH)
    assert request.url.raw_path == f"/v2/instance7/status/{CANARY}?id=1".encode()
    for shown in (
        str(request.url),
        f"{request.url}",
        repr(request.url),
        repr(request),
        repr(request.headers),
    ):
        assert CANARY not in shown
    assert str(request.url) == "https://api.test/***"


class RecordingTransport(httpx.AsyncHTTPTransport):
    """A transport to a socket, as an instrumentation sees it."""

    def __init__(self) -> None:
        super().__init__(verify=False)  # it connects to nothing
        self.seen: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        return httpx.Response(204)

    async def aclose(self) -> None:
        self.closed += 1
        await super().aclose()


async def header_on_the_way_to_a_socket() -> tuple[httpx.Request, bytes]:
    transport = RecordingTransport()
    await new_sender("https://api.test", transport).send(GET)
    request = transport.seen[0]
    return request, next(value for name, value in request.headers.raw if name == b"Authorization")


async def test_a_header_on_its_way_to_a_socket_decodes_to_a_placeholder() -> None:
    request, value = await header_on_the_way_to_a_socket()
    assert bytes(value) == b"Basic " + CANARY.encode()
    shown: list[Any] = [
        request.headers["Authorization"],
        request.headers.get_list("authorization"),
        list(request.headers.items()),
        request.headers.multi_items(),
        dict(request.headers),
        request.headers,
        request,
        value.decode(),
        value.decode("latin-1"),
        repr(value),
        [value],
        request.headers.raw,
    ]
    assert [each for each in shown if CANARY in repr(each)] == []


@pytest.mark.parametrize("show", [str, format, "%s".__mod__])
@pytest.mark.filterwarnings("ignore::BytesWarning")
async def test_a_header_on_its_way_to_a_socket_is_no_text(show: Callable[[bytes], str]) -> None:
    _, value = await header_on_the_way_to_a_socket()
    assert CANARY not in show(value)


# --- bodies ---------------------------------------------------------------------------------------


def answering(*chunks: bytes, status: int = 200, **headers: str) -> Sender:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return mocked(lambda _: httpx.Response(status, headers=named, stream=Stream(in_chunks(*chunks))))


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 429, 466, 499, 500, 599])
async def test_every_status_is_an_answer(status: int) -> None:
    response = await answering(b"bo", b"dy", status=status, Location="/elsewhere").send(GET)
    assert response == Response(status, b"body")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip "])
async def test_a_compressed_body_is_expanded_however_it_is_cut(encoding: str) -> None:
    body = json.dumps(list(range(1000))).encode()
    packed = gzip.compress(body)
    for size in (1, 7, len(packed)):
        chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert (await answering(*chunks, Content_Encoding=encoding).send(GET)).content == body


async def test_an_empty_body_needs_no_compression() -> None:
    assert await answering(status=204, Content_Encoding="gzip").send(GET) == Response(204)
    assert await answering(b"", status=204, Content_Encoding="gzip").send(GET) == Response(204)


@pytest.mark.parametrize("kept", [0.99, 0.9, 0.5])
async def test_a_truncated_compressed_body_is_a_decode_error(kept: float) -> None:
    packed = gzip.compress(os.urandom(5000))
    error = await problem_of(answering(packed[: int(len(packed) * kept)], Content_Encoding="gzip"))
    assert type(error) is DecodeError
    assert "ends too early" in str(error)


@pytest.mark.parametrize(
    "body", [b"[]", b"\x1f\x8b" + b"\xff" * 50, gzip.compress(b"[]" * 500)[:-8] + b"\x00" * 8]
)
async def test_a_damaged_compressed_body_is_a_decode_error(body: bytes) -> None:
    error = await problem_of(answering(body, Content_Encoding="gzip"))
    assert type(error) is DecodeError
    assert "damaged" in str(error)


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "x-unknown"])
async def test_an_encoding_that_was_not_asked_for_is_a_decode_error(encoding: str) -> None:
    error = await problem_of(answering(b"[]", Content_Encoding=encoding))
    assert type(error) is DecodeError
    assert "an encoding that was not asked for" in str(error)


@pytest.mark.parametrize("encoding", ["identity", "IDENTITY"])
async def test_identity_is_no_encoding(encoding: str) -> None:
    assert (await answering(b"[]", Content_Encoding=encoding).send(GET)).content == b"[]"


async def test_an_empty_encoding_is_no_encoding() -> None:
    assert (await answering(b"[]", Content_Encoding="").send(GET)).content == b"[]"


async def test_an_encoding_that_echoes_the_secret_is_not_quoted() -> None:
    error = await problem_of(answering(b"[]", Content_Encoding="canary"))
    assert "canary" not in str(error)


@pytest.mark.parametrize("status", [401, 429, 466, 503])
@pytest.mark.parametrize(
    "headers", [{"Content_Encoding": "br"}, {"Content_Encoding": "gzip"}], ids=["br", "damaged"]
)
async def test_a_status_that_says_no_is_an_answer_whatever_its_body(
    status: int, headers: dict[str, str]
) -> None:
    response = await answering(b"not readable", status=status, Retry_After="3", **headers).send(GET)
    assert (response.status_code, response.retry_after) == (status, 3.0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Sun, 06 Nov 1994 08:49:37 GMT", 1.0), ("soon", None), ("", None)],
)
async def test_retry_after_is_read_from_seconds_and_dates(header: str, seconds: float | None) -> None:
    assert await answering(status=429, Retry_After=header).send(GET) == Response(429, b"", seconds)


@pytest.mark.virtual_time
async def test_a_body_that_trickles_is_given_up_after_a_minute() -> None:
    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(7)

    stream = Stream(trickle())
    started = LoopClock().time()
    error = await problem_of(mocked(lambda _: httpx.Response(200, stream=stream)))
    assert type(error) is TransportError
    assert "the answer was not read within 60 s" in str(error)
    assert LoopClock().time() - started == pytest.approx(60)
    assert stream.closed == 1


# --- the cap --------------------------------------------------------------------------------------


async def peak_of(sender: Sender) -> tuple[ProviderError, float]:
    """Return the error of a request, and the most MiB that were held at once."""
    tracemalloc.start()
    try:
        error = await problem_of(sender)
        return error, tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()


async def test_a_body_of_exactly_16_mib_is_read() -> None:
    body = b" " * MEBIBYTE
    assert len((await answering(*[body] * 16).send(GET)).content) == 16 * MEBIBYTE
    packed = gzip.compress(b" " * (16 * MEBIBYTE))
    assert len((await answering(packed, Content_Encoding="gzip").send(GET)).content) == 16 * MEBIBYTE


async def test_one_byte_more_is_a_decode_error() -> None:
    body = b" " * MEBIBYTE
    for sender in (
        answering(*[body] * 16, b" "),
        answering(gzip.compress(b" " * (16 * MEBIBYTE + 1)), Content_Encoding="gzip"),
    ):
        error = await problem_of(sender)
        assert type(error) is DecodeError
        assert "larger than 16 MiB" in str(error)


async def test_an_endless_body_is_left_after_the_cap_and_closed() -> None:
    async def endless() -> AsyncIterator[bytes]:
        chunk = b" " * MEBIBYTE
        while True:
            yield chunk

    stream = Stream(endless())
    error, peak = await peak_of(mocked(lambda _: httpx.Response(200, stream=stream)))
    assert "larger than 16 MiB" in str(error)
    assert stream.read == 17
    assert stream.closed == 1
    assert peak < 64


def bomb(mebibytes: int) -> bytes:
    """Return gzip of so many MiB of zeros, made from one MiB that is repeated in its compressed form."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(bytes(MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MEBIBYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + again * (mebibytes - 1)


@pytest.mark.parametrize("size", [10**9, 65536, 1000])
async def test_a_gzip_bomb_is_refused_without_being_held(size: int) -> None:
    packed = bomb(1024)
    chunks = [packed[start : start + size] for start in range(0, len(packed), size)]
    error, peak = await peak_of(answering(*chunks, Content_Encoding="gzip"))
    assert "larger than 16 MiB" in str(error)
    assert peak < 64


async def test_what_follows_a_compressed_body_is_not_held() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield gzip.compress(b"[]")
        for _ in range(64):
            yield bytes(MEBIBYTE)

    stream = Stream(chunks())
    sender = mocked(lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream))
    tracemalloc.start()
    try:
        with contextlib.suppress(DecodeError):
            await sender.send(GET)
        peak = tracemalloc.get_traced_memory()[1] / MEBIBYTE
    finally:
        tracemalloc.stop()
    assert peak < 32


# --- respx ----------------------------------------------------------------------------------------


async def test_respx_sees_and_answers_a_senders_own_transport() -> None:
    with respx.mock(base_url="https://api.test") as router:
        route = router.get("/status/1").respond(200, json=[{"id": 1}], headers={"Retry-After": "2"})
        sender = new_sender("https://api.test")
        response = await sender.send(GET)
        await sender.aclose()
    assert json.loads(response.content) == [{"id": 1}]
    assert response.retry_after == 2.0
    assert route.call_count == 1


async def test_a_respx_router_may_be_the_transport() -> None:
    router = respx.Router(base_url="https://api.test")
    route = router.post("/search", headers={"Authorization": f"Basic {CANARY}"}).respond(204)
    assert await new_sender("https://api.test", httpx.MockTransport(router.async_handler)).send(
        POST
    ) == Response(204)
    assert route.call_count == 1


# --- sockets --------------------------------------------------------------------------------------

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
        async with asyncio.timeout(5):
            if self.connections:
                await self.ended.wait()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


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


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


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


@pytest.mark.every_loop
async def test_the_secret_arrives_on_the_wire() -> None:
    async with replying(EMPTY, EMPTY, EMPTY) as server:
        sender = new_sender(server.url)
        for request in (GET, POST, BY_PATH):
            assert await sender.send(request) == Response(204)
        await sender.aclose()
    by_header, posted, by_path = server.heads
    assert by_header.startswith(b"GET /status/1 HTTP/1.1\r\n")
    assert by_header.count(f"Authorization: Basic {CANARY}\r\n".encode()) == 1
    assert posted.startswith(b"POST /search?a=b HTTP/1.1\r\n")
    assert by_path.startswith(f"GET /instance7/status/{CANARY}?id=1 HTTP/1.1\r\n".encode())
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in by_path
    assert b"***" not in b"".join(server.heads)
    assert server.connections == 1


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with Server(lambda reader, writer: asyncio.sleep(0)) as trap:
        reply = f"HTTP/1.1 302 Found\r\nLocation: {trap.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with replying(reply) as server:
            sender = new_sender(server.url)
            assert (await sender.send(GET)).status_code == 302
            await sender.aclose()
        assert (len(server.heads), trap.connections) == (1, 0)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"", "closed in the middle of the answer, or was not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "closed in the middle of the answer, or was not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[1",
            "closed in the middle of the answer, or was not HTTP",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1",
            "closed in the middle of the answer",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "closed in the middle of the answer, or was not HTTP"),
        (b"HTTP/1.1 999999 " + CANARY.encode() + b"\r\n\r\n", "was not HTTP"),
    ],
)
async def test_an_answer_that_breaks_off_is_no_answer(reply: bytes, text: str) -> None:
    async with replying(reply) as server:
        assert text in str(await problem_at(server.url))


async def test_a_connection_that_is_reset_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = Server(serve)
    async with server:
        assert "broke" in str(await problem_at(server.url))


async def test_a_port_where_nobody_listens_is_no_connection() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert "no connection could be made" in str(await problem_at(f"http://127.0.0.1:{port}"))


async def test_a_server_without_tls_is_a_tls_failure() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    sent: list[bytes] = []
    async with Server(serve) as server:
        assert "TLS failed: " in str(await problem_at(server.url.replace("http", "https")))
    assert CANARY.encode() not in b"".join(sent)


async def drip(server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with one header after the other, and never with the last."""
    await server.read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(500):
        writer.write(b"X-%d: 1\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_headers_that_drip_are_given_up_and_cost_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_room, "_READ_WITHIN", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.connections == 1:
            await drip(server, reader, writer)
        await server.read_head(reader)
        writer.write(EMPTY)

    server = Server(serve)
    async with server:
        transport = httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_connections=1))
        sender = new_sender(server.url, transport)
        error = await problem_of(sender)
        assert type(error) is TransportError
        assert "the answer was not read within 0.2 s" in str(error)
        async with asyncio.timeout(5):
            assert await sender.send(GET) == Response(204)
        await transport.aclose()
    assert server.connections == 2


async def test_headers_and_body_share_the_time_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_room, "_READ_WITHIN", 1.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        await asyncio.sleep(0.6)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[")
        await asyncio.sleep(0.7)
        writer.write(b"]")

    server = Server(serve)
    async with server:
        assert "not read within 1 s" in str(await problem_at(server.url))


async def test_the_time_to_read_does_not_count_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_room, "_READ_WITHIN", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(b"no TLS")

    server = Server(serve)
    async with server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        assert "TLS failed" in str(await problem_at("https://api.test"))


# --- whose transport it is ------------------------------------------------------------------------


async def test_a_transport_of_its_own_is_closed_and_may_be_closed_again() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        writer.write(EMPTY)
        rest.append(await reader.read())

    rest: list[bytes] = []
    server = Server(serve)
    async with server:
        sender = new_sender(server.url)
        await sender.send(GET)
        assert not server.ended.is_set()
        await sender.aclose()
        await sender.aclose()
        async with asyncio.timeout(5):
            await server.ended.wait()
    assert rest == [b""]


async def test_a_transport_that_was_given_stays_open() -> None:
    transport = RecordingTransport()
    sender = new_sender("https://api.test", transport)
    await sender.send(GET)
    await sender.aclose()
    assert transport.closed == 0
    assert await sender.send(GET) == Response(204)
    await transport.aclose()


NO_TRANSPORTS: dict[str, Callable[[], object]] = {
    "AsyncClient": httpx.AsyncClient,
    "HTTPTransport": lambda: httpx.HTTPTransport(verify=False),
    "AsyncHTTPTransport itself": lambda: httpx.AsyncHTTPTransport,
    "str": lambda: "http://proxy.test",
    "Proxy": lambda: httpx.Proxy("http://proxy.test"),
}


@pytest.mark.parametrize("name", NO_TRANSPORTS)
def test_what_is_no_transport_is_refused_before_anything_is_sent(name: str) -> None:
    wrong: Any = NO_TRANSPORTS[name]()
    with pytest.raises(TypeError, match=rf"transport is an httpx or httpx2 transport .*, not {name}$"):
        StatusClient(GreenAPI(7, "token"), transport=wrong)


# --- proxies --------------------------------------------------------------------------------------


async def heads_at_proxy(monkeypatch: pytest.MonkeyPatch, base_url: str, **environment: str) -> list[bytes]:
    """Return what a proxy got of a request in this environment; ``PROXY`` stands for its address."""
    async with replying(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace("PROXY", f"127.0.0.1:{proxy.port}"))
        sender = new_sender(base_url)
        with contextlib.suppress(TransportError):
            await sender.send(GET)
        await sender.aclose()
    return proxy.heads


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", ["http://PROXY", "http://PROXY/", "PROXY"])
async def test_https_goes_through_the_proxy_of_the_environment_and_tells_it_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    heads = await heads_at_proxy(monkeypatch, "https://api.test", **{name: value})
    assert len(heads) == 1
    assert heads[0].startswith(b"CONNECT api.test:443 HTTP/1.1\r\n")
    assert CANARY.encode() not in heads[0]


async def test_a_proxys_own_credentials_are_sent_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = await heads_at_proxy(monkeypatch, "https://api.test", HTTPS_PROXY="http://user:password@PROXY")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n" in heads[0]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
async def test_plain_http_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # A proxy would be given the credentials in the clear.
    assert await heads_at_proxy(monkeypatch, "http://127.0.0.1:1", **{name: "http://PROXY"}) == []


async def test_a_proxy_that_refuses_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async with replying(b"HTTP/1.1 403 " + CANARY.encode() + b"\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert "the proxy refused the connection" in str(await problem_at("https://api.test"))


@pytest.mark.parametrize(
    ("base_url", "no_proxy"),
    [
        ("https://localhost:1", "*"),
        ("https://LOCALHOST:1", "localhost"),
        ("https://localhost:1", "localhost"),
        ("https://localhost:1", ".localhost"),
        ("https://127.0.0.1:1", "example.com, 127.0.0.1"),
    ],
)
async def test_no_proxy_goes_around_it(monkeypatch: pytest.MonkeyPatch, base_url: str, no_proxy: str) -> None:
    assert await heads_at_proxy(monkeypatch, base_url, HTTPS_PROXY="http://PROXY", NO_PROXY=no_proxy) == []


async def test_no_proxy_for_others_does_not_go_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = await heads_at_proxy(
        monkeypatch, "https://api.test", HTTPS_PROXY="http://PROXY", NO_PROXY="example.com,localhost,i.test"
    )
    assert len(heads) == 1


async def test_the_other_schemes_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await heads_at_proxy(monkeypatch, "https://127.0.0.1:1", HTTP_PROXY="http://PROXY") == []


async def test_a_transport_that_was_given_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert await mocked(lambda _: httpx.Response(204)).send(GET) == Response(204)


@pytest.mark.parametrize(
    ("proxy", "text"),
    [
        ("socks5://user:pass-canary@127.0.0.1:1", "pip install 'httpx[socks]'"),
        ("socks5h://user:pass-canary@127.0.0.1:1", "pip install 'httpx[socks]'"),
        ("socks4://user:pass-canary@127.0.0.1:1", "must be an http, https, socks5 or socks5h URL"),
        ("http://user:pass-canary@127.0.0.1:port", "must be an http, https, socks5 or socks5h URL"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_when_the_client_opens(
    monkeypatch: pytest.MonkeyPatch, proxy: str, text: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    del proxy  # a traceback shows locals
    client = StatusClient(GreenAPI(7, "token"))
    for open_it in (client.__aenter__, lambda: client.get("BAE57C4EEC000000")):
        with pytest.raises(TransportError) as caught:
            await open_it()
        assert str(caught.value).startswith("GREEN-API: ")
        assert text in str(caught.value)
        assert caught.value.__context__ is None
        own = [(frame, line) for frame, line in traceback.walk_tb(caught.value.__traceback__)][1:]
        assert own
        assert "pass-canary" not in "".join(traceback.StackSummary.extract(own, capture_locals=True).format())


async def test_certificates_that_cannot_be_read_are_named_when_the_client_opens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for file in (nonsense, tmp_path / "missing.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        client = StatusClient(GreenAPI(7, "token"))
        with pytest.raises(TransportError, match="certificates that SSL_CERT_FILE") as caught:
            await client.get("BAE57C4EEC000000")
        assert caught.value.__context__ is None


async def test_failures_of_tls_behind_a_proxy_do_not_use_connections_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nno TLS")

    server = Server(serve)
    async with server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        sender = new_sender("https://api.test")
        async with asyncio.timeout(60):
            for _ in range(101):  # one more than httpx's pool has by default
                await problem_of(sender)
        await sender.aclose()
    assert server.connections == 101
