"""The sender at a server: what arrives on the wire, and answers that break off, drip or never come."""

import asyncio
import socket
import struct

import httpx
import pytest

from statuslookup import TransportError
from statuslookup._http import progress
from statuslookup._wire import Response
from tests.support.senders import (
    BY_PATH,
    CANARY,
    EMPTY,
    GET,
    POST,
    Server,
    answer_of,
    drip,
    new_sender,
    problem_at,
    problem_of,
    replying,
    wait_for_ever,
)

pytestmark = pytest.mark.usefixtures("no_proxies")


@pytest.mark.every_loop
async def test_the_secret_arrives_on_the_wire() -> None:
    async with replying(EMPTY, EMPTY, EMPTY) as server:
        sender = new_sender(server.url)
        for request in (GET, POST, BY_PATH):
            assert await answer_of(sender, request) == Response(204)
        await sender.aclose()
    by_header, posted, by_path = server.heads
    assert by_header.startswith(b"GET /status/1 HTTP/1.1\r\n")
    assert by_header.count(f"Authorization: Basic {CANARY}\r\n".encode()) == 1
    assert posted.startswith(b"POST /search?a=b HTTP/1.1\r\n")
    assert by_path.startswith(f"GET /instance7/status/{CANARY}?id=1 HTTP/1.1\r\n".encode())
    assert f"Host: 127.0.0.1:{server.port}\r\n".encode() in by_path
    assert b"***" not in b"".join(server.heads)
    assert server.connections == 1


async def test_an_answer_says_whether_a_connection_was_opened_for_it() -> None:
    closing = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    async with replying(EMPTY, closing, EMPTY) as server:
        sender = new_sender(server.url)
        opened = [(await answer_of(sender)).opened_connection for _ in range(3)]
        await sender.aclose()
    assert opened == [True, False, True]


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_an_error_whose_words_break_off_is_that_error(status: int) -> None:
    reply = f"HTTP/1.1 {status} No\r\nContent-Length: 10\r\nRetry-After: 20\r\n\r\n[1".encode()
    async with replying(reply) as server:
        sender = new_sender(server.url)
        assert await answer_of(sender) == Response(status, b"", 20.0)
        await sender.aclose()


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with Server(lambda reader, writer: asyncio.sleep(0)) as trap:
        reply = f"HTTP/1.1 302 Found\r\nLocation: {trap.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        async with replying(reply) as server:
            sender = new_sender(server.url)
            assert (await answer_of(sender)).status_code == 302
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

    async with Server(serve) as server:
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


async def test_headers_that_drip_are_given_up_and_cost_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_READ_WITHIN", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.connections == 1:
            await drip(reader, writer)
        await server.read_head(reader)
        writer.write(EMPTY)

    async with Server(serve) as server:
        transport = httpx.AsyncHTTPTransport(verify=False, limits=httpx.Limits(max_connections=1))
        sender = new_sender(server.url, transport)
        error = await problem_of(sender)
        assert type(error) is TransportError
        assert "the answer was not read within 0.2 s" in str(error)
        # A whole answer has the time that a busy machine may take.
        monkeypatch.setattr(progress, "_READ_WITHIN", 60.0)
        async with asyncio.timeout(30):
            assert await answer_of(sender) == Response(204)
        await transport.aclose()
    assert server.connections == 2


async def test_headers_and_body_share_the_time_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_READ_WITHIN", 1.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        await asyncio.sleep(0.6)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[")
        await asyncio.sleep(0.7)
        writer.write(b"]")

    async with Server(serve) as server:
        assert "not read within 1 s" in str(await problem_at(server.url))


async def test_the_time_to_read_does_not_count_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_READ_WITHIN", 0.2)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(b"no TLS")

    async with Server(serve) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        assert "TLS failed" in str(await problem_at("https://api.test"))


@pytest.mark.virtual_time
async def test_a_transport_that_traces_nothing_and_never_answers_is_given_up() -> None:
    started_at = asyncio.get_running_loop().time()
    error = await problem_of(new_sender("https://api.test", httpx.MockTransport(wait_for_ever)))
    assert type(error) is TransportError
    assert "held up for 120 s" in str(error)
    assert asyncio.get_running_loop().time() - started_at == 120


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("steps", "within", "text"),
    [
        (("connection.connect_tcp.started",), None, ""),
        (("connection.connect_tcp.started", "connection.connect_tcp.complete"), None, ""),
        (("http11.send_request_headers.started",), 120, "held up for 120 s"),
        (("http11.receive_response_headers.started",), 60, "not read within 60 s"),
        (("http11.receive_response_headers.started", "proxy.start_tls.started"), None, ""),
        (("connection.connect_tcp.started", "socks.setup_socks5_connection.started"), 120, "held up"),
        (("socks.setup_socks5_connection.started", "connection.start_tls.started"), None, ""),
    ],
)
async def test_which_steps_have_a_bound_of_ours(
    steps: tuple[str, ...], within: float | None, text: str
) -> None:
    async def stand_still_after_the_steps(request: httpx.Request) -> httpx.Response:
        for step in steps:
            await asyncio.sleep(50)
            await request.extensions["trace"](step, {"stream": None, "request": request})
        await asyncio.sleep(1000)
        return httpx.Response(204)

    sender = new_sender("https://api.test", httpx.MockTransport(stand_still_after_the_steps))
    started_at = asyncio.get_running_loop().time()
    if within is None:
        assert await answer_of(sender) == Response(204)
    else:
        assert text in str(await problem_of(sender))
        counted_from = 0 if steps[0].startswith("http11.send") else 50 * len(steps)
        assert asyncio.get_running_loop().time() - started_at == counted_from + within
