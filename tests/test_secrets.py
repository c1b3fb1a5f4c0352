"""Both providers' secrets reach the server, and nothing else that anybody could read or record."""

import asyncio
import base64
import contextlib
import copy
import dataclasses
import gc
import gzip
import inspect
import json
import logging
import os
import pickle
import socket
import ssl
import struct
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any, Protocol, TypeAlias

import attrs
import h2.config
import h2.connection
import h2.events
import httpx
import httpx2
import pytest
import trustme
from opentelemetry.instrumentation import httpx as otel_httpx
from opentelemetry.instrumentation._semconv import _OpenTelemetrySemanticConventionStability
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport, HTTPXClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request as AppRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from statuslookup import (
    AuthenticationError,
    ClosedError,
    DecodeError,
    GreenAPI,
    IncompleteError,
    LookupTimeoutError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    RetryPolicy,
    ServerError,
    SMSFire,
    StatusClient,
    StatusLookupError,
    TransportError,
)
from statuslookup import _http as http_room
from statuslookup._http import Sender, Transport
from statuslookup._wire import Response

# Constants of the module, and never a test's local: tracebacks show locals.
PASSWORD = "canary-Passw0rd/+?"
SMSFIRE_TOKEN = base64.b64encode(f"canary-user:{PASSWORD}".encode()).decode()
GREEN_API_TOKEN = "canaryd75b3a66374942c5b3c019c698abc2067e1515"
FORMS = (PASSWORD, SMSFIRE_TOKEN, GREEN_API_TOKEN)

LOGGERS = (
    *("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"),
    *(
        "httpx2",
        "httpcore2",
        "httpcore2.connection",
        "httpcore2.http11",
        "httpcore2.http2",
        "httpcore2.proxy",
    ),
    *(
        "asyncio",
        "hpack",
        "hpack.hpack",
        "hpack.table",
        "h2",
        "h11",
        "anyio",
        "statuslookup",
        "opentelemetry",
    ),
)

BOTH_LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])

AnyClient: TypeAlias = StatusClient[Any, Any]
AnyProvider: TypeAlias = SMSFire | GreenAPI


def leaks(shown: object) -> bool:
    text = shown if isinstance(shown, str) else repr(shown)
    return any(form in text for form in FORMS)


# --- watching everything that could show a secret -------------------------------------------------


def texts_of(value: object) -> Iterator[str]:
    """Yield what a value shows of itself to a debugger, a logger or an error tracker."""
    for show in (repr, str):
        with contextlib.suppress(Exception):
            yield show(value)
    for library in (httpx, httpx2):
        if isinstance(value, library.Request | library.Response):
            yield repr(list(value.headers.items()))
            yield repr(value.headers.multi_items())
            yield repr(value.headers)
            for name in value.headers:
                yield value.headers[name]
        if isinstance(value, library.Request):
            yield str(value.url)
            yield repr(value.url)
            yield str(library.URL(value.url))
            yield str(value.url.copy_with(query=b"a=b"))
            yield repr(value.url.raw_path)
            yield value.url.raw_path.decode()


def frames_of(start: TracebackType | None) -> Iterator[dict[str, Any]]:
    """Yield the locals of all frames but the tests' own, which hold the server."""
    while start is not None:
        if start.tb_frame.f_code.co_filename != __file__:
            yield start.tb_frame.f_locals
        start = start.tb_next


def texts_reachable_from(error: BaseException) -> Iterator[str]:
    """Yield what can be read from an error: the whole chain, all attributes, every frame's locals."""
    for capture_locals in (False, True):
        formatted = traceback.TracebackException.from_exception(error, capture_locals=capture_locals)
        yield "".join(formatted.format())
    waiting: list[object] = [error]
    seen: list[object] = []
    while waiting:
        one = waiting.pop()
        if any(one is other for other in seen):
            continue
        seen.append(one)
        assert len(seen) < 500
        yield from texts_of(one)
        if not isinstance(one, BaseException):
            continue
        waiting += [one.__cause__, one.__context__, *one.args, *vars(one).values()]
        waiting += getattr(one, "__notes__", [])
        waiting += getattr(one, "exceptions", [])
        for frame in frames_of(one.__traceback__):
            for value in frame.values():
                if inspect.ismodule(value):
                    continue
                waiting.append(value)
                for attribute in getattr(value, "__dict__", {}).values():
                    yield from texts_of(attribute)


def is_ours(frame: FrameType) -> bool:
    return Path(frame.f_code.co_filename).parent == Path(http_room.__file__).parent


class Watch(logging.Handler):
    """Keeps whatever is logged, warned of, written, or reported as unraisable."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.texts: list[str] = []
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.threadName == "server":
            return
        self.loggers.add(record.name)
        self.texts += [self.format(record), repr(record.msg), repr(record.args)]
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.name == "statuslookup":
            self.texts += texts_reachable_from(error)
        elif error is not None:
            # asyncio in debug mode, whose own frames hold what they write to the socket.
            frames = [(f, line) for f, line in traceback.walk_tb(error.__traceback__) if is_ours(f)]
            self.texts += traceback.StackSummary.extract(frames, capture_locals=True).format()

    def note(self, unraisable: "sys.UnraisableHookArgs") -> None:
        self.texts.append(f"{unraisable.err_msg} {unraisable.object!r}")
        if unraisable.exc_value is not None:
            self.texts += texts_reachable_from(unraisable.exc_value)

    def add(self, *values: object) -> None:
        for value in values:
            self.texts += texts_reachable_from(value) if isinstance(value, BaseException) else texts_of(value)

    def found(self) -> list[str]:
        """Return what stands before each secret that is to be seen."""
        return [text[:at][-300:] for text in self.texts for form in FORMS if (at := text.find(form)) >= 0]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Watch]:
    """Watch a test, and fail it if a secret was to be seen anywhere."""
    watch = Watch()
    levels = {name: logging.getLogger(name).level for name in (None, *LOGGERS)}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(watch)
    monkeypatch.setattr(sys, "unraisablehook", watch.note)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield watch
            gc.collect()
        for warning in caught:
            watch.add(warning.message, warning.source, str(warning))
        watch.texts += capfd.readouterr()
    finally:
        logging.getLogger().removeHandler(watch)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert watch.found() == []


def watch_the_loop() -> None:
    """Let asyncio log every callback that it runs, with its arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0


def fail_with(token: str) -> None:
    raise ValueError(len(token))


def fail_after(token: str) -> None:
    try:
        raise KeyError(token)
    except KeyError:
        raise ValueError("after a KeyError") from None


@pytest.mark.parametrize("fail", [fail_with, fail_after])
@pytest.mark.parametrize("form", range(len(FORMS)))
def test_the_watch_sees_locals_and_contexts(fail: Callable[[str], None], form: int) -> None:
    with pytest.raises(ValueError, match=r"\d|KeyError") as caught:
        fail(FORMS[form])
    assert any(map(leaks, texts_reachable_from(caught.value)))


@BOTH_LIBRARIES
def test_the_watch_sees_requests(library: ModuleType) -> None:
    by_header = library.Request("GET", "https://api.test", headers={"X": SMSFIRE_TOKEN})
    by_path = library.Request("GET", f"https://api.test/{GREEN_API_TOKEN}")
    assert any(map(leaks, texts_of(by_header)))
    assert any(map(leaks, texts_of(by_path)))
    assert any(map(leaks, texts_of([PASSWORD])))


# --- a server that echoes -------------------------------------------------------------------------


class Connection:
    """One connection at the server: what came, and how to answer it."""

    def __init__(self, sock: socket.socket, server: "Server") -> None:
        self.sock = sock
        self.server = server
        self.head = b""

    def read(self) -> None:
        """Read one request, and leave it with the server."""
        head = b""
        while b"\r\n\r\n" not in head:
            received = self.sock.recv(65536)
            if not received:
                raise ConnectionError
            head += received
        head, _, body = head.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += self.sock.recv(65536)
        self.head = head
        self.server.heads.append(head)
        self.server.received.set()

    @property
    def echo(self) -> bytes:
        """The request's head, on one line."""
        return self.head.replace(b"\r\n", b" ")

    def answer(self, status: int, body: bytes | None = None, *headers: bytes) -> None:
        """Answer, with the request echoed in the reason, in headers, and in the body unless one is given."""
        content = self.echo if body is None else body
        echoes = b"".join(
            b"%s: %s\r\n" % (name, self.echo) for name in (b"X-Echo", b"Set-Cookie", b"Retry-Afters")
        )
        more = b"".join(header + b"\r\n" for header in headers)
        self.sock.sendall(
            b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n%s"
            % (status, self.echo, echoes, more, len(content), content)
        )


Behaviour = Callable[[Connection], None]


class Server:
    """A server in threads, so that nothing of it happens on the loop that is watched."""

    def __init__(self, behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.heads: list[bytes] = []
        self.connections = 0
        self.received = threading.Event()
        self.release = threading.Event()
        self._tls = tls
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []

    def __repr__(self) -> str:
        return "<Server>"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, name="server", args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        with sock, contextlib.suppress(OSError):
            wrapped = self._tls.wrap_socket(sock, server_side=True) if self._tls else sock
            with wrapped:
                self._socks.append(wrapped)
                self.behave(Connection(wrapped, self))

    def __enter__(self) -> "Server":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        accepting = threading.Thread(target=self._accept, name="server", daemon=True)
        self._threads.append(accepting)
        accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        for sock in [self._listener, *self._socks]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def answering(status: int, body: bytes | None = None, *headers: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        while True:
            connection.read()
            connection.answer(status, body, *headers)

    return behave


def found(connection: Connection) -> None:
    """Answer with the status that was asked for, and with the request echoed in a field of its own."""
    while True:
        connection.read()
        item = {"id": 1, "statusCode": 2, "participant": "1@c.us", "status": "read"}
        connection.answer(200, json.dumps([item | {"echo": connection.echo.decode()}]).encode())


def redirect(connection: Connection) -> None:
    connection.read()
    connection.answer(
        301, b"", b"Location: %s/%s" % (connection.server.url.encode(), connection.head.split()[1])
    )


def quota(connection: Connection) -> None:
    connection.read()
    status = {"used": 3, "total": 2, "description": f"used up: {connection.echo.decode()}"}
    connection.answer(466, json.dumps({"invokeStatus": status}).encode())


def truncated(connection: Connection) -> None:
    connection.read()
    connection.answer(200, b'[{"id": 1, "echo": "' + connection.echo)


def page(connection: Connection) -> None:
    connection.read()
    connection.answer(200, b"<html><p>" + connection.echo + b"</p></html>", b"Content-Type: text/html")


def wrong_types(connection: Connection) -> None:
    connection.read()
    value = connection.echo.decode()
    item = {"id": value, "participant": {"echo": value}, "status": [value], value: value}
    connection.answer(200, json.dumps([item]).encode())


def too_large(connection: Connection) -> None:
    connection.read()
    connection.answer(200, connection.echo * (17 * 2**20 // len(connection.echo) + 1))


def bomb(connection: Connection) -> None:
    connection.read()
    packed = gzip.compress(connection.echo * (17 * 2**20 // len(connection.echo) + 1))
    connection.answer(200, packed, b"Content-Encoding: gzip")


def damaged(connection: Connection) -> None:
    connection.read()
    connection.answer(200, connection.echo, b"Content-Encoding: gzip")


def foreign_encoding(connection: Connection) -> None:
    connection.read()
    connection.answer(200, b"[]", b"Content-Encoding: " + connection.echo)


def dropped_at_once(connection: Connection) -> None:
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def dropped_after_reading(connection: Connection) -> None:
    connection.read()


def dropped_in_the_middle(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + connection.echo)


def bad_status_line(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 " + connection.echo + b"\r\n\r\n")


def bad_header(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\n" + connection.echo + b" \x00: a\r\n\r\n")


def bad_length(connection: Connection) -> None:
    connection.read()
    connection.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: " + connection.echo + b"\r\n\r\n")


def silent(connection: Connection) -> None:
    connection.read()
    connection.server.release.wait(10)


# --- both providers -------------------------------------------------------------------------------


class Case(Protocol):
    key: Any
    wire: bytes

    def provider(self, base_url: str) -> AnyProvider: ...


class SMSFireCase:
    key = 1
    wire = b"Authorization: Basic " + SMSFIRE_TOKEN.encode()

    def __repr__(self) -> str:
        return "SMSFire"

    def provider(self, base_url: str) -> SMSFire:
        return SMSFire.from_login("canary-user", PASSWORD, base_url=base_url, rate_limit=None)


class GreenAPICase:
    key = "BAE57C4EEC000000"
    wire = (
        b"/waInstance7/getStatusStatistic/" + GREEN_API_TOKEN.encode() + b"?idMessage=BAE57C4EEC000000 HTTP"
    )

    def __repr__(self) -> str:
        return "GREEN-API"

    def provider(self, base_url: str) -> GreenAPI:
        return GreenAPI(7, GREEN_API_TOKEN, api_url=base_url, rate_limit=None)


BOTH = pytest.mark.parametrize("case", [SMSFireCase(), GreenAPICase()], ids=repr)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method", "ssl_cert_file"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in [name for name in os.environ if name.startswith(("SMSFIRE_", "GREEN_API_", "OTEL_"))]:
        monkeypatch.delenv(name)


def new_client(provider: AnyProvider, timeout: float = 10.0, **options: Any) -> AnyClient:
    client: AnyClient = StatusClient(
        provider,
        timeout=timeout,
        linger=0,
        retry=RetryPolicy(attempts=2, backoff=0.0),
        **options,
    )
    return client


async def end_of(case: Case, base_url: str, watch: Watch, **options: Any) -> object:
    """Look a key up by ``get`` and by ``get_many``; show all there is to the watch, and return the end."""
    watch_the_loop()
    end: object
    async with new_client(case.provider(base_url), **options) as client:
        try:
            end = await client.get(case.key)
        except StatusLookupError as error:
            end = error
        watch.add(end, client, client.stats(), vars(client))
        try:
            watch.add(await client.get_many([case.key]))
        except IncompleteError as error:
            watch.add(error, *error.errors.values())
    if isinstance(end, BaseException):
        watch.add(end.__reduce__(), pickle.loads(pickle.dumps(end)), copy.copy(end), vars(end))  # noqa: S301 # our own
        assert end.__cause__ is None
        assert end.__context__ is None
    return end


PATHS: dict[str, tuple[Behaviour, type[object]]] = {
    "200": (found, object),
    "204": (answering(204, b""), object),
    "301": (redirect, ResponseError),
    "302": (answering(302), ResponseError),
    "400": (answering(400), RejectedError),
    "401": (answering(401), AuthenticationError),
    "403": (answering(403), AuthenticationError),
    "404": (answering(404), RejectedError),
    "466": (quota, QuotaExceededError),
    "466 of other words": (answering(466), QuotaExceededError),
    "499": (answering(499), ServerError),
    "500": (answering(500), ServerError),
    "502": (answering(502), ServerError),
    "HTML": (page, DecodeError),
    "truncated JSON": (truncated, DecodeError),
    "wrong types": (wrong_types, DecodeError),
    "17 MiB": (too_large, DecodeError),
    "a bomb": (bomb, DecodeError),
    "damaged gzip": (damaged, DecodeError),
    "an encoding that echoes": (foreign_encoding, DecodeError),
    "dropped at once": (dropped_at_once, TransportError),
    "dropped after reading": (dropped_after_reading, TransportError),
    "dropped in the middle": (dropped_in_the_middle, TransportError),
    "a bad status line": (bad_status_line, TransportError),
    "a bad header": (bad_header, TransportError),
    "a bad length": (bad_length, TransportError),
}


@BOTH
@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_keeps_the_secret(case: Case, path: str, watch: Watch) -> None:
    behave, expected = PATHS[path]
    with Server(behave) as server:
        end = await end_of(case, server.url, watch)
    assert isinstance(end, expected if expected is not object else object), repr(end)
    assert isinstance(end, BaseException) == (expected is not object)
    assert all(case.wire in head for head in server.heads)
    if path != "dropped at once":
        assert server.heads
        assert "httpcore.http11" in watch.loggers
    assert {"asyncio", "statuslookup"} <= watch.loggers


@BOTH
async def test_a_429_keeps_the_secret(case: Case, watch: Watch) -> None:
    with Server(answering(429)) as server:
        end = await end_of(case, server.url, watch, timeout=0.2)
    assert type(end) is RateLimitedError


async def test_the_quotas_description_is_kept_without_the_token(watch: Watch) -> None:
    with Server(quota) as server:
        end = await end_of(GreenAPICase(), server.url, watch)
    assert isinstance(end, QuotaExceededError)
    assert (end.used, end.total) == (3, 2)
    assert end.description is not None
    assert end.description.startswith("used up: GET /waInstance7/getStatusStatistic/***?idMessage=")


@BOTH
async def test_a_redirect_is_not_followed(case: Case, watch: Watch) -> None:
    with Server(redirect) as server:
        client = new_client(case.provider(server.url))
        with pytest.raises(ResponseError, match="redirects are not followed"):
            await client.get(case.key)
        await client.aclose()
    assert len(server.heads) == 1


@BOTH
async def test_a_refused_connection_keeps_the_secret(case: Case, watch: Watch) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        end = await end_of(case, f"http://127.0.0.1:{bound.getsockname()[1]}", watch)
    assert type(end) is TransportError


@BOTH
async def test_a_read_timeout_keeps_the_secret(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(http_room._TIMEOUTS, "read", 0.05)
    with Server(silent) as server:
        end = await end_of(case, server.url, watch)
    assert type(end) is TransportError
    assert "no answer within" in str(end)


@BOTH
async def test_a_deadline_keeps_the_secret(case: Case, watch: Watch) -> None:
    with Server(silent) as server:
        end = await end_of(case, server.url, watch, timeout=0.1)
    assert type(end) is LookupTimeoutError


async def in_flight(server: Server) -> None:
    await asyncio.to_thread(server.received.wait, 5)
    assert server.heads


@BOTH
async def test_cancellation_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(silent) as server:
        async with new_client(case.provider(server.url)) as client:
            task = asyncio.create_task(client.get(case.key))
            await in_flight(server)
            watch.add(client, client.stats(), *asyncio.all_tasks())
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            watch.add(caught.value, task)


@BOTH
async def test_closing_in_flight_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(silent) as server:
        client = new_client(case.provider(server.url))
        task = asyncio.create_task(client.get(case.key))
        await in_flight(server)
        await client.aclose()
        with pytest.raises(ClosedError) as caught:
            await task
        watch.add(caught.value, client, task)
        with pytest.raises(ClosedError) as again:
            await client.get(case.key)
        watch.add(again.value)


@BOTH
async def test_a_request_that_is_cancelled_from_outside_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(silent) as server:
        async with new_client(case.provider(server.url)) as client:
            task = asyncio.create_task(client.get(case.key))
            await in_flight(server)
            for other in asyncio.all_tasks() - {task, asyncio.current_task()}:
                watch.add(other)
                other.print_stack()
                other.cancel()
            with pytest.raises(ClosedError) as caught:
                await task
            watch.add(caught.value)


@BOTH
async def test_a_client_that_is_never_closed_keeps_the_secret(case: Case, watch: Watch) -> None:
    watch_the_loop()
    with Server(found) as server:
        client: AnyClient | None = new_client(case.provider(server.url))
        assert client is not None
        await client.get(case.key)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client = None
            gc.collect()
            await asyncio.sleep(0)
            gc.collect()
    for warning in caught:
        watch.add(warning.message, warning.source, str(warning))
    assert any("unclosed <StatusClient" in str(warning.message) for warning in caught)


@BOTH
async def test_a_client_whose_loop_ended_keeps_the_secret(case: Case, watch: Watch) -> None:
    def in_a_loop_of_its_own() -> None:
        loop = asyncio.new_event_loop()
        loop.set_debug(True)
        client = new_client(case.provider(server.url))
        lookup = loop.create_task(client.get(case.key))
        loop.run_until_complete(in_flight(server))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        watch.add(lookup, client)

    with Server(silent) as server:
        await asyncio.to_thread(in_a_loop_of_its_own)
        gc.collect()
    assert server.heads


@BOTH
@pytest.mark.parametrize("trusted", [False, True], ids=["self-signed", "trusted"])
async def test_tls_keeps_the_secret(
    case: Case, trusted: bool, watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Server(found, tls=new_tls(tmp_path)) as server:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        end = await end_of(case, f"https://localhost:{server.port}", watch)
    assert isinstance(end, TransportError) != trusted
    assert [case.wire in head for head in server.heads] == ([True, True] if trusted else [])
    if not trusted:
        assert "the certificate was not accepted" in str(end)


def new_tls(folder: Path) -> ssl.SSLContext:
    """Return a server's context for localhost, whose authority nobody trusts, and leave that as a file."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


# --- a bug in a provider --------------------------------------------------------------------------


class BuggySMSFire(SMSFire):
    def exchange(self, keys: Any) -> Any:
        try:
            response = yield next(super().exchange(keys))
        except ProviderError as error:
            raise RuntimeError("a bug after an error") from error
        raise RuntimeError(f"a bug after status {response.status_code}")


class BuggyGreenAPI(GreenAPI):
    def exchange(self, keys: Any) -> Any:
        try:
            response = yield next(super().exchange(keys))
        except ProviderError as error:
            raise RuntimeError("a bug after an error") from error
        raise RuntimeError(f"a bug after status {response.status_code}")


@pytest.mark.parametrize("behave", [found, answering(401), too_large, bad_status_line, dropped_after_reading])
@pytest.mark.parametrize("buggy", [BuggySMSFire, BuggyGreenAPI])
async def test_a_bug_in_a_provider_is_logged_without_the_secret(
    buggy: type[AnyProvider], behave: Behaviour, watch: Watch
) -> None:
    watch_the_loop()
    key: Any
    with Server(behave) as server:
        if issubclass(buggy, SMSFire):
            provider: AnyProvider = buggy(SMSFIRE_TOKEN, base_url=server.url)
            key = 1
        else:
            provider = buggy(7, GREEN_API_TOKEN, api_url=server.url)
            key = "BAE5"
        async with new_client(provider) as client:
            with pytest.raises(ProviderError, match="RuntimeError in the exchange") as caught:
                await client.get(key)
            watch.add(caught.value)
    assert any("a bug after" in text for text in watch.texts)


# --- transports that were given -------------------------------------------------------------------


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
    assert type(end) is RejectedError
    wire = case.wire.removesuffix(b" HTTP").replace(b"Authorization", b"authorization")
    assert any(wire in line for line in server.heads)
    core = library.__name__.replace("httpx", "httpcore")
    assert {f"{core}.http2", "hpack.hpack"} <= watch.loggers


# --- OpenTelemetry --------------------------------------------------------------------------------


class Telemetry:
    """OpenTelemetry's recorders, which capture all there is."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])

    def show_to(self, watch: Watch) -> str:
        metrics = self.reader.get_metrics_data()
        shown = [span.to_json() for span in self.exporter.get_finished_spans()]
        shown.append(metrics.to_json() if metrics is not None else "")
        for span in self.exporter.get_finished_spans():
            watch.add(span.attributes, *(event.attributes for event in span.events), span.status.description)
        watch.add(*shown)
        return "\n".join(shown)

    def close(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture(params=["", "http", "http/dup"], ids=["old names", "new names", "both names"])
def telemetry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", ".*")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", request.param)
    # It reads the variable once a process.
    monkeypatch.setattr(_OpenTelemetrySemanticConventionStability, "_initialized", False)
    telemetry = Telemetry()
    yield telemetry
    telemetry.close()


TELEMETRY_PATHS: dict[str, Behaviour] = {
    "found": found,
    "refused": answering(401),
    "quota": quota,
    "dropped": dropped_after_reading,
}


def check_telemetry(case: Case, telemetry: Telemetry, watch: Watch, server: Server) -> None:
    shown = telemetry.show_to(watch)
    assert server.heads
    assert all(case.wire in head for head in server.heads)
    assert "http.request.header.accept_encoding" in shown
    assert "duration" in shown or server.behave is dropped_after_reading
    assert ("http.request.header.authorization" in shown) == isinstance(case, SMSFireCase)
    assert "***" in shown


@BOTH
@pytest.mark.parametrize("path", TELEMETRY_PATHS)
async def test_global_instrumentation_records_no_secret(
    case: Case, path: str, telemetry: Telemetry, watch: Watch
) -> None:
    async def look_at(span: Any, request: Any, *_: Any) -> None:
        watch.add(request, request.headers, list(request.headers.items()), request.extensions, request.url)

    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(
        tracer_provider=telemetry.tracers,
        meter_provider=telemetry.meters,
        async_request_hook=look_at,
        async_response_hook=look_at,
    )
    try:
        with Server(TELEMETRY_PATHS[path]) as server:
            await end_of(case, server.url, watch)
    finally:
        instrumentor.uninstrument()
    check_telemetry(case, telemetry, watch, server)


@BOTH
@pytest.mark.parametrize("path", TELEMETRY_PATHS)
async def test_an_instrumented_transport_records_no_secret(
    case: Case, path: str, telemetry: Telemetry, watch: Watch
) -> None:
    inner = httpx.AsyncHTTPTransport()
    transport = AsyncOpenTelemetryTransport(
        inner, tracer_provider=telemetry.tracers, meter_provider=telemetry.meters
    )
    with Server(TELEMETRY_PATHS[path]) as server:
        await end_of(case, server.url, watch, transport=transport)
        await inner.aclose()
    check_telemetry(case, telemetry, watch, server)


@BOTH
@pytest.mark.parametrize("path", TELEMETRY_PATHS)
async def test_an_instrumented_transport_of_httpx2_records_no_secret(
    case: Case, path: str, telemetry: Telemetry, watch: Watch
) -> None:
    inner: Any = httpx2.AsyncHTTPTransport()  # OpenTelemetry's types know httpx's alone
    transport = otel_httpx.AsyncOpenTelemetryTransportHttpx2(
        inner, tracer_provider=telemetry.tracers, meter_provider=telemetry.meters
    )
    with Server(TELEMETRY_PATHS[path]) as server:
        await end_of(case, server.url, watch, transport=transport)
        await inner.aclose()
    check_telemetry(case, telemetry, watch, server)


# --- proxies and plain http -----------------------------------------------------------------------


def tunnel_to(target: Server) -> Behaviour:
    """Be a proxy that lets everything through to the target, and keeps what it saw."""

    def pump(source: socket.socket, sink: socket.socket, keep: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                keep.append(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def behave(connection: Connection) -> None:
        connection.read()
        connection.sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", target.port), timeout=10) as upstream:
            heads = connection.server.heads
            back = threading.Thread(target=pump, args=(upstream, connection.sock, heads), daemon=True)
            back.start()
            pump(connection.sock, upstream, heads)
            back.join(10)

    return behave


@BOTH
async def test_a_proxy_of_the_environment_sees_host_and_port_only(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with Server(found, tls=new_tls(tmp_path)) as server, Server(tunnel_to(server)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        end = await end_of(case, f"https://localhost:{server.port}", watch)
        connect = f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode()
    assert not isinstance(end, BaseException), repr(end)
    assert all(case.wire in head for head in server.heads)
    assert proxy.heads[0].startswith(connect)
    seen = b"".join(proxy.heads)
    assert not leaks(seen.decode("latin-1"))
    assert b"waInstance" not in seen
    assert b"whatsapp" not in seen
    assert proxy.connections == server.connections == 1


@BOTH
async def test_a_proxy_that_refuses_keeps_the_secret(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(answering(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        end = await end_of(case, "https://api.test", watch)
    assert type(end) is TransportError
    assert "the proxy refused" in str(end)
    assert not leaks(b"".join(proxy.heads).decode())


@BOTH
async def test_no_proxy_is_honoured(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("NO_PROXY", "example.com,localhost")
    with Server(found, tls=new_tls(tmp_path)) as server, Server(dropped_at_once) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        end = await end_of(case, f"https://localhost:{server.port}", watch)
    assert not isinstance(end, BaseException), repr(end)
    assert (proxy.connections, server.connections) == (0, 1)


@BOTH
async def test_plain_http_goes_around_every_proxy(
    case: Case, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(found) as server, Server(dropped_at_once) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        end = await end_of(case, server.url, watch)
    assert not isinstance(end, BaseException), repr(end)
    assert (proxy.connections, server.connections) == (0, 1)


@BOTH
@pytest.mark.parametrize(
    "url", ["http://api.test", "http://10.0.0.1", "http://[fe80::1]", "HTTP://api.test:443"]
)
def test_plain_http_to_elsewhere_is_refused(case: Case, url: str, watch: Watch) -> None:
    with pytest.raises(ValueError, match="must be https: over http, anybody on the way could read") as caught:
        case.provider(url)
    watch.add(caught.value)


# --- what is shown, copied and pickled ------------------------------------------------------------


def every_error() -> list[StatusLookupError]:
    provider = "SMSFire"
    return [
        ProviderError("a", provider=provider),
        TransportError("a", provider=provider),
        ResponseError("a", provider=provider, status_code=302),
        AuthenticationError("a", provider=provider, status_code=401),
        RateLimitedError("a", provider=provider),
        QuotaExceededError("a", provider=provider),
        RejectedError("a", provider=provider, status_code=400),
        ServerError("a", provider=provider, status_code=500),
        DecodeError("a", provider=provider),
        LookupTimeoutError(1.0, queued=1.0, paced=0.0, in_flight=0.0),
        ClosedError("a"),
    ]


def shown_by(value: object) -> Iterator[object]:
    """Yield what becomes of a value when it is shown, copied or taken apart; whatever refuses is left out."""
    attempts: list[Callable[[Any], object]] = [
        *(repr, str, ascii, "{}".format, "%s".__mod__, "%r".__mod__, "{!r:>9}".format, format),
        *(vars, dir, copy.copy, copy.deepcopy, attrs.asdict, attrs.astuple, dataclasses.asdict),
        lambda value: vars(copy.copy(value)),
        lambda value: vars(value.provider),
        lambda value: json.dumps(value, default=vars),
        lambda value: json.dumps(value, default=repr),
        lambda value: [pickle.dumps(value, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)],
        lambda value: value.__reduce_ex__(4),
        lambda value: [inspect.getmembers(each) for each in vars(value).values()],
    ]
    for attempt in attempts:
        try:
            yield attempt(value)
        except Exception as error:  # noqa: BLE001 # whatever the refusal is, it must not show the secret
            yield from texts_reachable_from(error)


@BOTH
async def test_nothing_shows_the_secret(case: Case, watch: Watch) -> None:
    provider = case.provider("http://127.0.0.1:1")
    client = new_client(provider)
    exchange: Any = provider.exchange([case.key])
    request = next(exchange)
    sender = Sender(provider="P", base_url="http://127.0.0.1:1", secret=provider.secret)
    values = [provider, client, client.stats(), provider.secret, request, sender, exchange, provider.budget]
    for value in [*values, *every_error()]:
        for shown in shown_by(value):
            watch.add(shown)
    assert provider.secret.reveal() in FORMS
    exchange.close()
    await sender.aclose()
    await client.aclose()


@BOTH
def test_providers_and_clients_are_not_pickled(case: Case) -> None:
    provider = case.provider("http://127.0.0.1:1")
    for value in (provider, provider.secret, new_client(provider)):
        with pytest.raises(TypeError, match="cannot be pickled; build"):
            pickle.dumps(value)
        with pytest.raises(TypeError, match="cannot be pickled; build"):
            copy.deepcopy(value)


def test_an_answers_body_is_not_shown() -> None:
    assert "body" not in repr(Response(200, b"the body"))


def sealed_requests(library: ModuleType) -> list[httpx.Request]:
    """Return what goes to a transport over a socket."""
    requests = []
    for case in (SMSFireCase(), GreenAPICase()):
        provider: Any = case.provider("https://api.test/v2")
        sender = Sender(
            provider="P",
            base_url=provider.base_url,
            secret=provider.secret,
            transport=library.AsyncHTTPTransport(verify=False),  # it connects to nothing
        )
        exchange: Any = provider.exchange([case.key])
        requests.append(sender._seal(next(exchange)))
    return requests


@BOTH_LIBRARIES
def test_a_request_to_a_socket_shows_its_shape(library: ModuleType) -> None:
    by_header, by_path = sealed_requests(library)
    assert by_header.headers["Authorization"] == "Basic ***"
    assert by_path.url.path == "/v2/waInstance7/getStatusStatistic/***"
    assert by_path.url.params["idMessage"] == "BAE57C4EEC000000"
    assert bytes(by_path.url.raw_path).endswith(GREEN_API_TOKEN.encode() + b"?idMessage=BAE57C4EEC000000")
    assert (
        by_path.url.raw_path.decode() == "/v2/waInstance7/getStatusStatistic/***?idMessage=BAE57C4EEC000000"
    )


@BOTH_LIBRARIES
def test_a_copy_of_a_request_to_a_socket_shows_no_secret(library: ModuleType, watch: Watch) -> None:
    for request in sealed_requests(library):
        headers = library.Headers(request.headers)
        again = library.Request(request.method, request.url, headers=headers, extensions=request.extensions)
        url = request.url
        watch.add(request, again, headers, list(headers.items()), library.URL(url), url.copy_with(port=1))
        watch.add(url.join("a"), url.copy_merge_params({"a": 1}), url.raw_path, [url.raw_path], vars(url))
        watch.add(
            request.extensions, again.url.raw_path, again.url.path, f"{url.raw_path!r:>20}", headers.raw
        )
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(request.headers.raw if "Authorization" in request.headers else url.raw_path)


# --- misuse ---------------------------------------------------------------------------------------

MISUSES: dict[str, Callable[[], object]] = {
    "a token with a space": lambda: SMSFire(f"Basic {SMSFIRE_TOKEN}"),
    "a token in bytes": lambda: SMSFire(SMSFIRE_TOKEN.encode()),  # type: ignore[arg-type] # the mistake under test
    "a token beyond ASCII": lambda: SMSFire(SMSFIRE_TOKEN + "é"),
    "a bad URL": lambda: SMSFire(SMSFIRE_TOKEN, base_url="ftp://api.test"),
    "a bad batch": lambda: SMSFire(SMSFIRE_TOKEN, max_batch=0),
    "a bad limit": lambda: SMSFire(SMSFIRE_TOKEN, rate_limit=2),  # type: ignore[arg-type] # the mistake under test
    "a bad option": lambda: SMSFire.from_login("user", PASSWORD, max_batch=0),
    "an unknown option": lambda: SMSFire.from_login("user", PASSWORD, colour="red"),
    "a colon": lambda: SMSFire.from_login("us:er", PASSWORD),
    "no user": lambda: SMSFire.from_login("", PASSWORD),
    "a password in bytes": lambda: SMSFire.from_login("user", PASSWORD.encode()),  # type: ignore[arg-type] # the mistake under test
    "a password that is no text": lambda: SMSFire.from_login("user", PASSWORD + "\udcff"),
    "a token with a slash": lambda: GreenAPI(7, GREEN_API_TOKEN + "/"),
    "a GREEN-API token in bytes": lambda: GreenAPI(7, GREEN_API_TOKEN.encode()),  # type: ignore[arg-type] # the mistake under test
    "a bad instance": lambda: GreenAPI("seven", GREEN_API_TOKEN),
    "an instance that is no number": lambda: GreenAPI(None, GREEN_API_TOKEN),  # type: ignore[arg-type] # the mistake under test
    "a bad API URL": lambda: GreenAPI(7, GREEN_API_TOKEN, api_url="nonsense"),
    "a bad GREEN-API limit": lambda: GreenAPI(7, GREEN_API_TOKEN, rate_limit=1),  # type: ignore[arg-type] # the mistake under test
    "an incomplete login": lambda: SMSFire.from_env({"SMSFIRE_PASSWORD": PASSWORD}),
    "a bad token in the environment": lambda: SMSFire.from_env({"SMSFIRE_TOKEN": f"{SMSFIRE_TOKEN}\n"}),
    "a bad option as well": lambda: SMSFire.from_env({"SMSFIRE_TOKEN": SMSFIRE_TOKEN}, max_batch=0),
    "an incomplete environment": lambda: GreenAPI.from_env({"GREEN_API_TOKEN": GREEN_API_TOKEN}),
}  # fmt: skip # one line each


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_keeps_the_secret(misuse: str, watch: Watch) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        MISUSES[misuse]()
    watch.add(caught.value)


@pytest.mark.parametrize("provider", [SMSFire, GreenAPI])
def test_the_process_environment_is_in_no_traceback(
    provider: type[AnyProvider], watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSFIRE_PASSWORD", PASSWORD)
    monkeypatch.setenv("GREEN_API_TOKEN", GREEN_API_TOKEN)
    with pytest.raises(ValueError, match="must be set") as caught:
        provider.from_env()
    watch.add(caught.value)
