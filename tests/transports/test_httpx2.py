"""A transport may come from httpx2, httpx's successor, which this library neither needs nor imports."""

import asyncio
import gzip
import ssl
import subprocess
import sys
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import trustme

from statuslookup import RetryPolicy, SMSFire, StatusClient, TransportError
from statuslookup._http import problems, progress
from statuslookup._wire import Response
from tests.support.httpx2_senders import BOTH_LIBRARIES, mocked, new_sender, serving
from tests.support.lookups import look_up_at_both, new_sandbox
from tests.support.senders import (
    BY_PATH,
    CANARY,
    EMPTY,
    GET,
    POST,
    Serve,
    all_below,
    answer_of,
    drip,
    problem_of,
)


class Inheriting(httpx2.AsyncBaseTransport):
    """A transport of httpx2's kind that holds another."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self.inner.handle_async_request(request)


async def test_an_app_in_this_process() -> None:
    await look_up_at_both("https://api.test", Inheriting(httpx2.ASGITransport(new_sandbox())))


async def test_a_server() -> None:
    with new_sandbox().serve() as url:
        async with httpx2.AsyncHTTPTransport(verify=False) as transport:
            for each in (transport, Inheriting(transport)):
                await look_up_at_both(url, each)


async def test_a_transport_is_given_requests_of_its_own_kind() -> None:
    seen: list[Any] = []

    def answer(request: Any) -> Any:
        seen.append(request)
        return httpx2.Response(204)

    sender = mocked(answer)
    for sent in (GET, POST, BY_PATH):
        assert await answer_of(sender, sent) == Response(204)
    by_header, posted, by_path = seen
    assert {type(request) for request in seen} == {httpx2.Request}
    assert by_header.headers["Authorization"] == f"Basic {CANARY}"
    assert (str(posted.url), posted.content) == ("https://api.test/v2/search?a=b", b'{"ids":["1"]}')
    assert str(by_path.url) == f"https://api.test/v2/instance7/status/{CANARY}?id=1"
    seen.clear()

    class OfNoKind:
        async def handle_async_request(self, request: Any) -> Any:
            return answer(request)

        async def aclose(self) -> None: ...

    await answer_of(new_sender(OfNoKind()))
    assert type(seen[0]) is httpx.Request


# --- answers and errors ---------------------------------------------------------------------------


async def test_a_compressed_answer_is_expanded() -> None:
    packed = gzip.compress(b"[]")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed))
        writer.write(packed)

    async with serving(serve) as url, httpx2.AsyncHTTPTransport(verify=False) as transport:
        answer = await answer_of(new_sender(transport, url))
    assert answer == Response(200, b"[]")
    assert answer.opened_connection


async def test_each_of_httpx2s_errors_is_said_as_httpxs_is() -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise cls(f"{request.headers['Authorization']} {request.url}")

    classes = {cls for cls in all_below(httpx2.TransportError) if cls.__module__.startswith("httpx2")}
    said = problems._WHAT_FAILED
    assert set(said) <= {cls.__name__ for cls in classes}
    for cls in classes:
        error = await problem_of(mocked(fail))
        assert type(error) is TransportError
        assert str(error) == f"P: {said.get(cls.__name__, f'the request failed ({cls.__name__})')}"


async def text_of_failure(serve: Serve, context: ssl.SSLContext | None = None) -> str:
    async with serving(serve, context) as url, httpx2.AsyncHTTPTransport() as transport:
        error = await problem_of(new_sender(transport, url))
    assert type(error) is TransportError
    return str(error)


async def test_a_certificate_of_nobodys() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    # The server's side of the failure is reported to the loop, too.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    assert "TLS failed: the certificate was not accepted" in await text_of_failure(serve, context)


async def test_headers_that_drip_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_READ_WITHIN", 0.2)

    assert "the answer was not read within 0.2 s" in await text_of_failure(drip)


# --- a transport that clients share ---------------------------------------------------------------


@BOTH_LIBRARIES
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["])
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
