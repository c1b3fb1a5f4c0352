"""Answers and errors over a transport of httpx2 are those over httpx's."""

import asyncio
import gzip
import socket
import ssl
from types import ModuleType

import httpx2
import pytest
import trustme

from statuslookup import DecodeError, ProviderError, TransportError
from statuslookup._http import sender as http_room
from statuslookup._http.sender import Sender
from statuslookup._wire import Response
from tests.support.httpx2_senders import mocked, new_sender, serving
from tests.support.libraries import BOTH_LIBRARIES
from tests.support.senders import CANARY, GET, Serve, all_below


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
