"""A transport that was given shows no secret on the way to a socket; what stands for the server reads it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import h2.config
import h2.connection
import h2.events
import httpx
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request as AppRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from statuslookup import ResponseError, TransportError
from statuslookup._http.sender import Transport
from tests.support.credentials import BOTH, GREEN_API_TOKEN, SMSFIRE_TOKEN, Case, new_client
from tests.support.echo_server import PATHS, Connection, Server, found
from tests.support.libraries import BOTH_LIBRARIES
from tests.support.watch import Watch, end_of, texts_of

pytestmark = pytest.mark.usefixtures("no_environment")


class Recording(httpx.AsyncBaseTransport):
    """What a user may wrap a transport in: it keeps a text of every request."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.texts: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.texts += texts_of(request)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


class Choosing(httpx.AsyncBaseTransport):
    """A transport that holds others in a collection."""

    def __init__(self, *inner: httpx.AsyncBaseTransport, by_name: bool = False) -> None:
        self.inner = dict(zip("abc", inner, strict=False)) if by_name else list(inner)
        self.first = inner[0]
        del self.first

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        first = self.inner["a"] if isinstance(self.inner, dict) else self.inner[0]
        return await first.handle_async_request(request)


WRAPPED: dict[str, Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport]] = {
    "bare": lambda inner: inner,
    "wrapped": Recording,
    "wrapped twice": lambda inner: Recording(Recording(inner)),
    "in a list": Choosing,
    "in a dictionary": lambda inner: Recording(Choosing(inner, by_name=True)),
}


@BOTH
@pytest.mark.parametrize("wrapping", WRAPPED)
async def test_a_wrapped_transport_to_a_socket_is_shown_no_secret(
    case: Case, wrapping: str, watch: Watch
) -> None:
    wrapper = Recording(WRAPPED[wrapping](httpx.AsyncHTTPTransport()))
    with Server(found) as server:
        await end_of(case, server.url, watch, transport=wrapper)
        await wrapper.inner.aclose()
        await wrapper.aclose()
    assert len(server.heads) == 2
    assert all(case.wire in head for head in server.heads)
    assert wrapper.texts
    watch.add(*wrapper.texts)


class RecordingOfAnyMake:
    """What a user may wrap a transport of httpx or httpx2 in."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.texts: list[str] = []

    async def handle_async_request(self, request: Any) -> Any:
        self.texts += texts_of(request)
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


@BOTH
@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_over_httpx2_keeps_the_secret(case: Case, path: str, watch: Watch) -> None:
    behave, expected = PATHS[path]
    transport = RecordingOfAnyMake(httpx2.AsyncHTTPTransport(verify=False))
    with Server(behave) as server:
        end = await end_of(case, server.url, watch, transport=transport)
        await transport.aclose()
    assert isinstance(end, expected), repr(end)
    assert isinstance(end, BaseException) == (expected is not object)
    assert all(case.wire in head for head in server.heads)
    if path != "dropped at once":
        assert server.heads
        assert "httpcore2.http11" in watch.loggers
    assert transport.texts
    watch.add(*transport.texts)


async def smsfire_app(request: AppRequest) -> JSONResponse:
    if request.headers.get("Authorization") != f"Basic {SMSFIRE_TOKEN}":
        return JSONResponse({}, 401)
    return JSONResponse([{"id": 1, "statusCode": 2}])


async def green_api_app(request: AppRequest) -> JSONResponse:
    raw_path = request.scope["raw_path"].decode()
    good = f"/waInstance7/getStatusStatistic/{GREEN_API_TOKEN}"
    if (request.path_params["token"], raw_path) != (GREEN_API_TOKEN, good):
        return JSONResponse({}, 401)
    assert request.query_params["idMessage"] == "BAE57C4EEC000000"
    return JSONResponse([{"participant": "1@c.us"}])


APP = Starlette(
    routes=[
        Route("/whatsapp/status/{id}", smsfire_app),
        Route("/whatsapp/status/search", smsfire_app, methods=["POST"]),
        Route("/waInstance7/getStatusStatistic/{token}", green_api_app),
    ]
)


@BOTH
@pytest.mark.parametrize("wrapping", WRAPPED)
async def test_an_app_in_this_process_can_read_the_secret(case: Case, wrapping: str, watch: Watch) -> None:
    transport = WRAPPED[wrapping](httpx.ASGITransport(APP))
    end = await end_of(case, "https://api.test", watch, transport=transport)
    assert end is not None
    assert not isinstance(end, BaseException), repr(end)


@BOTH
async def test_a_mock_can_read_the_secret(case: Case) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        sent = f"GET {request.url.path}?{request.url.query.decode()} HTTP/1.1 Authorization: "
        return httpx.Response(
            204 if case.wire.decode() in sent + request.headers.get("Authorization", "") else 401
        )

    async with new_client(case.provider("https://api.test"), transport=httpx.MockTransport(answer)) as client:
        await client.get(case.key)


class EndsItself(httpx.AsyncBaseTransport):
    """A transport in a ring with another; neither is one of httpx's."""

    def __init__(self) -> None:
        self.ring = Recording(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        authorization = request.headers.get("Authorization", f"Basic {SMSFIRE_TOKEN}")
        return httpx.Response(204 if authorization == f"Basic {SMSFIRE_TOKEN}" else 401)


@BOTH
async def test_a_transport_of_another_make_can_read_the_secret(case: Case, watch: Watch) -> None:
    end = await end_of(case, "https://api.test", watch, transport=EndsItself())
    assert not isinstance(end, BaseException)


@BOTH
async def test_an_error_that_holds_the_request_is_not_kept(case: Case, watch: Watch) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        error = TransportError(f"{request.method} failed", provider="a transport")
        error.add_note(repr(request.headers.multi_items()) + request.url.path)
        raise error from httpx.ConnectError(request.url.path, request=request)

    end = await end_of(case, "https://api.test", watch, transport=httpx.MockTransport(fail))
    assert type(end) is TransportError


@BOTH
@pytest.mark.parametrize("raised", [httpx.ReadError, OSError, RuntimeError])
async def test_no_error_of_a_transport_leads_to_the_request(
    case: Case, raised: type[Exception], watch: Watch
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        error = raised(f"{request.url.path} {request.headers}")
        error.request = request  # type: ignore[attr-defined] # httpx's errors have it
        raise error

    end = await end_of(case, "https://api.test", watch, transport=httpx.MockTransport(fail))
    assert type(end) is TransportError


# --- HTTP/2 ---------------------------------------------------------------------------------------


def serve_http2(connection: Connection) -> None:
    """Answer each request with 404, and echo all of its headers."""
    protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    protocol.initiate_connection()
    connection.sock.sendall(protocol.data_to_send())
    while data := connection.sock.recv(65536):
        for event in protocol.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
                connection.server.heads += [b"%s: %s" % header for header in headers]
                echoes = [(b"x-echo-" + name.strip(b":"), value) for name, value in headers]
                protocol.send_headers(event.stream_id or 0, [(b":status", b"404"), *echoes], end_stream=True)
        connection.sock.sendall(protocol.data_to_send())


@BOTH
@BOTH_LIBRARIES
async def test_http2_keeps_the_secret(case: Case, library: ModuleType, watch: Watch) -> None:
    transport = library.AsyncHTTPTransport(http1=False, http2=True)
    with Server(serve_http2) as server:
        end = await end_of(case, server.url, watch, transport=transport)
        await transport.aclose()
    assert isinstance(end, ResponseError)
    wire = case.wire.removesuffix(b" HTTP").replace(b"Authorization", b"authorization")
    assert any(wire in line for line in server.heads)
    core = library.__name__.replace("httpx", "httpcore")
    assert {f"{core}.http2", "hpack.hpack"} <= watch.loggers
