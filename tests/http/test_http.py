"""The sender: errors translated, the secret shown to the wire only, its own transport closed."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import respx

from statuslookup import GreenAPI, StatusClient, TransportError
from statuslookup._wire import Request, Response
from tests.support.senders import (
    BY_PATH,
    CANARY,
    EMPTY,
    GET,
    POST,
    Server,
    Stream,
    all_below,
    in_chunks,
    mocked,
    new_sender,
    problem_of,
)

pytestmark = pytest.mark.usefixtures("no_proxies")


# --- httpx's errors -------------------------------------------------------------------------------

SOME_REQUEST = httpx.Request("GET", f"https://api.test/{CANARY}", headers={"Authorization": CANARY})


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
