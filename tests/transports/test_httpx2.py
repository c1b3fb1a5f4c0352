"""A transport may come from httpx2, httpx's successor, which this library neither needs nor imports."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from statuslookup import DeliveryState, GreenAPI, RetryPolicy, SMSFire, StatusClient
from statuslookup._http.sender import Transport
from statuslookup._wire import Response
from statuslookup.sandbox import Sandbox
from tests.support.httpx2_senders import new_sender, serving
from tests.support.libraries import BOTH_LIBRARIES
from tests.support.senders import BY_PATH, CANARY, EMPTY, GET, POST

STORY = "BAE57C4EEC000000"


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
