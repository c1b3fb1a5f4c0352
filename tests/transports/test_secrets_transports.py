"""What a transport is given holds the secret, and nothing that comes back from it leads there."""

from types import ModuleType

import h2.config
import h2.connection
import h2.events
import httpx
import httpx2
import pytest

from statuslookup import ProviderError, ResponseError, TransportError
from tests.support.credentials import BOTH, Case
from tests.support.echo_server import PATHS, Connection, Server
from tests.support.httpx2_senders import BOTH_LIBRARIES
from tests.support.watch import Watch, end_of

pytestmark = pytest.mark.usefixtures("no_environment")


# Every one of them is tried over httpx.
BORDERS = ("200", "401", "dropped in the middle", "a bad status line")


@BOTH
@pytest.mark.parametrize("path", BORDERS)
async def test_answers_over_httpx2_keep_the_secret(case: Case, path: str, watch: Watch) -> None:
    behave, expected = PATHS[path]
    async with httpx2.AsyncHTTPTransport(verify=False) as transport:
        with Server(behave) as server:
            end = await end_of(case, server.url, watch, transport=transport)
    assert isinstance(end, expected), repr(end)
    assert isinstance(end, BaseException) == (expected is not object)
    assert server.heads
    assert all(case.wire in head for head in server.heads)
    assert "httpcore2.http11" in watch.loggers


@BOTH
@pytest.mark.parametrize("raised", [httpx.ReadError, OSError, AttributeError, LookupError])
@pytest.mark.parametrize("words", ["no words", "its own words"])
async def test_no_error_of_a_transport_leads_to_the_request(
    case: Case, raised: type[Exception], words: str, watch: Watch
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        error = raised(words if words == "no words" else f"{request.url.path} {dict(request.headers)}")
        error.request = request  # type: ignore[attr-defined] # httpx's errors have it
        error.add_note(repr(request.headers.multi_items()) + request.url.path)
        try:
            raise KeyError(request)
        except KeyError:
            raise error from httpx.ConnectError(request.url.path, request=request)

    end = await end_of(case, "https://api.test", watch, transport=httpx.MockTransport(fail))
    is_no_bug = raised in (httpx.ReadError, OSError)
    assert type(end) is (TransportError if is_no_bug else ProviderError)
    assert isinstance(end.__cause__, raised) == (words == "no words" and not is_no_bug)


@BOTH
async def test_an_error_of_ours_that_holds_the_request_is_not_kept(case: Case, watch: Watch) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        error = TransportError(f"{request.method} failed", provider="a transport")
        error.add_note(repr(request.headers.multi_items()) + request.url.path)
        raise error from httpx.ConnectError(request.url.path, request=request)

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
