"""The sender: errors translated, the secret shown to the wire only, its own transport closed."""

import asyncio
import contextlib
import gc
import json
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from statuslookup import GreenAPI, ProviderError, StatusClient, TransportError
from statuslookup._wire import Request, Response
from tests.support.senders import (
    BY_PATH,
    CANARY,
    EMPTY,
    POST,
    Server,
    Stream,
    all_below,
    answer_of,
    in_chunks,
    mocked,
    new_sender,
    problem_of,
    wait_for_ever,
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


async def test_each_of_httpxs_errors_is_no_answer() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        try:
            raise OSError(CANARY)
        except OSError as cause:
            raise new_error(cls) from cause

    roots = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, httpx.CookieConflict)
    classes = {cls for root in roots for cls in all_below(root) if cls.__module__.startswith("httpx")}
    assert len(classes) >= 25
    for cls in classes:
        error = await problem_of(mocked(fail))
        assert type(error) is TransportError
        assert USEFUL.get(cls.__name__, f"({cls.__name__})") in str(error)


@pytest.mark.parametrize("cls", [OSError, TimeoutError, httpx.ConnectError])
async def test_a_transport_of_somebodys_own_may_fail_as_any_other_does(cls: type[Exception]) -> None:
    class Own(cls):  # type: ignore[misc,valid-type] # mypy knows no variable as a base
        pass

    def fail(request: httpx.Request) -> httpx.Response:
        raise Own(CANARY)

    error = await problem_of(mocked(fail))
    assert type(error) is TransportError
    assert str(error) == "P: the request failed (Own)"


# --- a bug of the transport -----------------------------------------------------------------------


class Awkward(Exception):
    """An error that cannot be made from its arguments, nor be shown."""

    def __new__(cls, *args: object) -> "Awkward":
        return super().__new__(cls, args[0])

    def __init__(self, one: object, two: object) -> None:
        self.args = ()

    def __str__(self) -> str:
        raise LookupError(CANARY)


LEFT_OUT = ": its words, which may hold the credentials, are left out"


@pytest.mark.parametrize(
    ("raised", "words", "cause"),
    [
        (RuntimeError("boom", 1, None), ": ('boom', 1, None)", RuntimeError),
        (AssertionError(), "", AssertionError),
        (ValueError("no\n  " + "x" * 300), f": no {'x' * 197}", ValueError),
        (KeyError(SOME_REQUEST.method), ": 'GET'", KeyError),
        (RuntimeError(f"at {CANARY}"), LEFT_OUT, None),
        (RuntimeError(f"%59{CANARY[1:]}"), LEFT_OUT, None),
        (KeyError(SOME_REQUEST), LEFT_OUT, None),
        (LookupError("a list", [1]), ": ('a list', [1])", None),
        (ExceptionGroup("two", [ValueError(CANARY)]), ": two (1 sub-exception)", None),
        (Awkward(1, 2), LEFT_OUT, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_what_no_transport_should_raise_is_a_bug_of_it(
    raised: Exception, words: str, cause: type[Exception] | None
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raised.request = request  # type: ignore[attr-defined] # as httpx's errors have it
        raise raised from httpx.ConnectError(CANARY)

    error = await problem_of(mocked(fail))
    assert type(error) is ProviderError
    assert not error.is_transient
    where = f"in test_http.py, line {fail.__code__.co_firstlineno + 2}"
    assert str(error) == f"P: a bug in the transport: {type(raised).__name__} {where}{words}"
    for told in (error, error.fresh()):
        assert (told.__cause__ and type(told.__cause__)) is cause
        if told.__cause__ is not None:
            assert told.__cause__.args == raised.args
            assert vars(told.__cause__) == {}
            assert (told.__cause__.__traceback__, told.__cause__.__cause__, told.__context__) == (None,) * 3
    assert error.fresh().__cause__ is not error.__cause__ or cause is None


async def test_a_bug_of_the_transport_is_not_asked_again_and_every_caller_is_told_its_cause() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise RuntimeError("boom")

    requests: list[httpx.Request] = []
    async with StatusClient(GreenAPI(7, CANARY), transport=httpx.MockTransport(fail), linger=0) as client:
        lookups = [client.get("BAE57C4EEC000000") for _ in range(2)]
        ends = await asyncio.gather(*lookups, return_exceptions=True)
    assert len(requests) == 1
    causes = [end.__cause__ for end in ends if type(end) is ProviderError]
    assert list(map(repr, causes)) == ["RuntimeError('boom')"] * 2
    assert causes[0] is not causes[1]


@pytest.mark.parametrize("cls", [httpx.ConnectError, RuntimeError])
async def test_an_error_is_in_no_cycle(cls: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise cls(CANARY)

    async def look_up() -> None:
        with contextlib.suppress(ProviderError):
            await answer_of(mocked(fail))

    await look_up()
    gc.collect()
    gc.disable()
    try:
        await look_up()
        assert gc.collect() == 0
    finally:
        gc.enable()


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
    task = asyncio.create_task(answer_of(new_sender("https://api.test", httpx.MockTransport(wait_for_ever))))
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

    sender = new_sender("https://api.test/v2", httpx.MockTransport(answer), secret)
    assert await answer_of(sender, request) == Response(204)
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


async def test_a_request_is_a_true_one() -> None:
    request = await received(BY_PATH)
    assert (type(request), type(request.url)) == (httpx.Request, httpx.URL)
    assert str(request.url) == f"https://api.test/v2/instance7/status/{CANARY}?id=1"
    assert request.url.params["id"] == "1"


# --- whose transport it is ------------------------------------------------------------------------


async def test_a_transport_of_its_own_is_closed_and_may_be_closed_again() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_head(reader)
        writer.write(EMPTY)
        rest.append(await reader.read())

    rest: list[bytes] = []
    async with Server(serve) as server:
        sender = new_sender(server.url)
        await answer_of(sender)
        assert not server.ended.is_set()
        await sender.aclose()
        await sender.aclose()
        async with asyncio.timeout(5):
            await server.ended.wait()
    assert rest == [b""]


async def test_a_transport_that_was_given_stays_open() -> None:
    class Unclosable(httpx.MockTransport):
        async def aclose(self) -> None:
            raise AssertionError

    sender = new_sender("https://api.test", Unclosable(lambda _: httpx.Response(204)))
    await answer_of(sender)
    await sender.aclose()
    assert await answer_of(sender) == Response(204)


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
