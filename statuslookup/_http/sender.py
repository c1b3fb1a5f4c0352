"""The way to a provider: sends one request, reads its answer, and shows the secret to nobody else.

The only room that knows httpx. It uses httpx's transports and not its client, because a client logs URLs,
keeps cookies and raises errors that hold their request. It knows httpx's successor httpx2, too, but never
imports it: whoever has a transport of httpx2 has done so.
"""

import asyncio
import logging
import ssl
import sys
import time
import zlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Any, Final, NoReturn, Protocol, Self, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from .._wire import PLACEHOLDER, Request, Response, Secret, retry_after
from ..errors import DecodeError, ProviderError, TransportError
from .progress import Progress

_TIMEOUTS: Final = {"connect": 10.0, "write": 30.0, "read": 30.0, "pool": None}
_READ_WITHIN: Final = 60.0
# Longer than whatever httpx itself ends: three steps of a SOCKS proxy at 30 s, where it counts them at all.
_BEGIN_WITHIN: Final = 120.0

_WHAT_FAILED: Final = {
    "ConnectTimeout": "no connection within 10 s",
    "ConnectError": "no connection could be made; check the network and the base URL",
    "ReadTimeout": "no answer within 30 s",
    "WriteTimeout": "the request could not be sent within 30 s",
    "ReadError": "the connection broke before the answer was read",
    "WriteError": "the connection broke before the request was sent",
    "CloseError": "the connection broke",
    "RemoteProtocolError": "the connection was closed in the middle of the answer, or was not HTTP",
    "ProxyError": "the proxy refused the connection",
    "UnsupportedProtocol": "the proxy's URL has a scheme that is not supported",
}

_secret_in_use: ContextVar[Secret | None] = ContextVar("statuslookup_secret_in_use", default=None)


class _Scrubber(logging.Filter):
    """Takes the secret out of what is logged while a request is under way."""

    def filter(self, record: logging.LogRecord) -> bool:
        secret = _secret_in_use.get()
        if secret is not None and secret.reveal() in (message := record.getMessage()):
            record.msg, record.args = message.replace(secret.reveal(), PLACEHOLDER), None
        return True


# httpcore logs the headers of answers, and a redirect may echo the URL; hpack logs all headers of HTTP/2.
for _package, _names in {
    "httpcore": ("connection", "http11", "http2", "proxy", "socks"),
    "httpcore2": ("connection", "http11", "http2", "proxy", "socks"),
    "hpack": ("hpack", "table"),
}.items():
    for _name in _names:
        logging.getLogger(f"{_package}.{_name}").addFilter(_Scrubber())


class Transport(Protocol):
    """An httpx or httpx2 transport: it sends one request to a server, to an app or to a mock."""

    async def handle_async_request(self, request: Any, /) -> Any:
        """Return the answer, as an ``httpx.Response`` or ``httpx2.Response``."""

    async def aclose(self) -> None:
        """Close all connections."""


class Sender:
    """Sends requests to one provider, each over a transport that it makes itself or was given.

    A transport that was given is not closed. ``send`` must not be cancelled while it connects: httpx's
    pool would lose that connection's place for good.
    """

    def __init__(
        self,
        *,
        provider: str,
        base_url: str,
        secret: Secret,
        transport: Transport | None = None,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self._provider = provider
        self._base_url = base_url
        self._secret = secret
        self._transport: Transport = self._own_transport() if transport is None else transport
        self._owns_transport = transport is None
        within = _transports_within(self._transport)
        self._httpx = _module_of(within)
        # Where a request ends in this process (an ASGI app, a mock), or with a transport that is not
        # httpx's own, somebody has to be able to read it.
        self._seals = any(_reaches_a_socket(each) for each in within)
        self._wall_time = wall_time

    def _own_transport(self) -> httpx.AsyncHTTPTransport:
        try:
            return _new_transport(self._base_url)
        except ImportError:
            what = "a SOCKS proxy needs one more package: pip install 'httpx[socks]'"
        except OSError:
            what = "the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read"
        except (ValueError, httpx.InvalidURL):
            what = "the environment's proxy must be an http, https, socks5 or socks5h URL"
        # Anew, so that neither a context nor a traceback leads to the proxy's URL, which may hold a password.
        raise TransportError(what, provider=self._provider)

    async def send(self, request: Request, progress: Progress | None = None) -> Response:
        """Return the provider's answer, whatever its status, or raise a ``ProviderError`` if it has none."""
        _secret_in_use.set(self._secret)
        try:
            return await self._exchange(request)
        except Exception as error:  # noqa: BLE001 # an injected transport may raise anything; no lookup may hang
            problem = self._translate(error)
        # Raised here and anew, so that neither a context nor a traceback leads to the request with its secret
        # or to the answer's body.
        try:
            raise problem
        finally:
            del problem

    async def _exchange(self, request: Request) -> Response:
        # asyncio's, because anyio's keeps a task that was left in the middle, and its loop, for good.
        async with asyncio.timeout(None) as reading:
            beginning = asyncio.timeout(_BEGIN_WITHIN)
            try:
                async with beginning:
                    sealed = self._seal(request)
                    steps = _Steps(beginning, reading)
                    sealed.extensions["trace"] = steps.take
                    response: httpx.Response = await self._transport.handle_async_request(sealed)
            except TimeoutError:
                if not beginning.expired():
                    raise
                what = f"the request was held up for {_BEGIN_WITHIN:g} s before it could be answered"
                raise TransportError(what, provider=self._provider) from None
            if reading.when() is None:
                # A transport that does not connect traces nothing.
                _count_from_now(reading, _READ_WITHIN)
            try:
                content = await self._read(response, request.most_bytes)
            except Exception:
                if response.is_success:
                    raise
                # The status says what happened, whatever became of the words.
                content = b""
            finally:
                await response.aclose()
        pause = retry_after(response.headers.get("Retry-After"), self._wall_time())
        return Response(response.status_code, content, pause, opened_connection=steps.has_connected)

    def _seal(self, request: Request) -> httpx.Request:
        """Put the secret in, where only the wire will show it."""
        headers: list[tuple[bytes, bytes]] = [
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"gzip"),
            (b"User-Agent", b"statuslookup"),
        ]
        if request.content is not None:
            headers.append((b"Content-Type", b"application/json"))
        if request.authorization is not None:
            credentials = self._fill_in(request.authorization).encode("ascii")
            sealed = _SealedBytes(credentials, request.authorization) if self._seals else credentials
            headers.append((b"Authorization", sealed))
        url, query = self._base_url, f"?{request.query}" if request.query else ""
        result: httpx.Request = self._httpx.Request(
            request.method,
            f"{url}{request.path}{query}",
            headers=headers,
            content=request.content,
            extensions={"timeout": _TIMEOUTS},
        )
        if PLACEHOLDER in request.path:
            wire = self._httpx.URL(f"{url}{self._fill_in(request.path)}{query}")
            result.url = _sealed_url_of(self._httpx)(result.url, wire, seals=self._seals)
        return result

    def _fill_in(self, text: str) -> str:
        return text.replace(PLACEHOLDER, self._secret.reveal())

    async def _read(self, response: httpx.Response, most_bytes: int) -> bytes:
        """Return the whole body, never holding more than its cap, also of one that expands."""
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            raise self._decode_error("the answer has an encoding that was not asked for")
        body = bytearray()
        unzip = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        async for chunk in cast("AsyncIterable[bytes]", response.stream):
            body += chunk if unzip is None else unzip.decompress(chunk, most_bytes + 1 - len(body))
            if unzip is not None and unzip.unused_data:
                raise self._decode_error("the answer goes on after the end of its compressed body")
            if len(body) > most_bytes:
                raise self._decode_error(f"the answer is larger than {most_bytes / 2**20:g} MiB")
        if unzip is not None and not unzip.eof and body:
            raise self._decode_error("the answer's compressed body ends too early")
        return bytes(body)

    def _translate(self, error: Exception) -> ProviderError:
        if isinstance(error, ProviderError):
            return error.fresh()
        if isinstance(error, zlib.error):
            return self._decode_error("the answer's compressed body is damaged")
        if isinstance(error, TimeoutError):
            what = f"the answer was not read within {_READ_WITHIN:g} s"
        else:
            tls = _tls_problem(error)
            # By name, because a transport that was given may come from a successor of httpx.
            kind = type(error).__name__
            what = f"TLS failed: {tls}" if tls else _WHAT_FAILED.get(kind, f"the request failed ({kind})")
        return TransportError(what, provider=self._provider)

    def _decode_error(self, message: str) -> DecodeError:
        return DecodeError(message, provider=self._provider)

    async def aclose(self) -> None:
        """Close the transport if it was made here; it may be closed again."""
        if self._owns_transport:
            await self._transport.aclose()


class _Steps:
    """What httpcore tells of a request's steps: the time to read counts from the request, not before.

    Nothing counts while anything connects, be it after a proxy's own answer: httpcore has timeouts of its
    own there, and its pool can lose the place of a connection that is cancelled. A step's name begins with
    the part that takes it. A step's end changes nothing, because it is also told when time has run out.
    """

    def __init__(self, beginning: asyncio.Timeout, reading: asyncio.Timeout) -> None:
        self.has_connected = False
        self._beginning = beginning
        self._reading = reading
        self._proxied: Any = None

    async def take(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(".receive_response_headers.started"):
            self._beginning.reschedule(None)
            _count_from_now(self._reading, _READ_WITHIN)
        elif event == "socks.setup_socks5_connection.started":
            # The exception: httpcore reads a SOCKS proxy's answers without any timeout.
            self._proxied = info["stream"]
            _count_from_now(self._beginning, _BEGIN_WITHIN)
        elif event == "socks.setup_socks5_connection.failed" and self._beginning.expired():
            # httpcore does not close the socket, and keeps its place in the pool unless an Exception comes.
            await self._proxied.aclose()
            raise TimeoutError
        elif event.endswith(".started") and not event.startswith("http"):
            self.has_connected = True
            self._beginning.reschedule(None)
            self._reading.reschedule(None)


def _count_from_now(timeout: asyncio.Timeout, seconds: float) -> None:
    timeout.reschedule(asyncio.get_running_loop().time() + seconds)


class _SealedBytes(bytes):
    """A value that goes over the wire as it is, and reads as another text to whoever decodes it.

    An instrumentation may sit below every transport of ours (it patches httpx's own), and it copies
    headers; so the value itself has to keep the secret.
    """

    _shown: str

    def __new__(cls, value: bytes, shown: str) -> Self:
        sealed = super().__new__(cls, value)
        sealed._shown = shown
        return sealed

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._shown

    def __str__(self) -> str:
        return self._shown

    def __format__(self, format_spec: str) -> str:
        return format(self._shown, format_spec)

    def __repr__(self) -> str:
        return repr(self._shown.encode())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


class _SealedURL:
    """A URL that shows a placeholder, but has the secret where a transport reads what it has to send.

    httpcore has a request extension for that, ``target``: but it sends it to a proxy, too. This is the first
    base of a class whose second one is ``httpx.URL`` or ``httpx2.URL``.
    """

    scheme: str
    netloc: bytes

    def __init__(self, shown: httpx.URL, wire: httpx.URL, *, seals: bool) -> None:
        super().__init__(shown)  # type: ignore[call-arg] # the second base takes it
        # httpx's own transport reads the raw path alone; one that ends in this process reads both.
        self._path = shown.path if seals else wire.path
        self._raw_path = _SealedBytes(wire.raw_path, shown.raw_path.decode()) if seals else wire.raw_path

    @property
    def path(self) -> str:
        return self._path

    @property
    def raw_path(self) -> bytes:
        return self._raw_path

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc.decode('ascii')}/{PLACEHOLDER}"


@cache
def _sealed_url_of(module: ModuleType) -> Callable[..., httpx.URL]:
    return type("_SealedURL", (_SealedURL, module.URL), {})


def _modules() -> list[ModuleType]:
    """Return httpx, and httpx2 if somebody has imported it: there is no transport of it before that."""
    httpx2 = sys.modules.get("httpx2")
    return [httpx] if httpx2 is None else [httpx, httpx2]


def _module_of(transports: list[object]) -> ModuleType:
    """Return the module whose requests to make: the innermost transport's, which checks their types."""
    for transport in reversed(transports):
        for module in _modules():
            if isinstance(transport, module.AsyncBaseTransport):
                return module
    return httpx


def _reaches_a_socket(transport: object) -> bool:
    return isinstance(transport, tuple(module.AsyncHTTPTransport for module in _modules()))


def _transports_within(transport: object) -> list[object]:
    """Return the transport and those that it holds, as instrumentations do, from the outside inwards."""
    found = [transport]
    for one in found:
        for each in _flat(getattr(one, "__dict__", {}).values()):
            if hasattr(type(each), "handle_async_request") and not any(each is other for other in found):
                found.append(each)
    return found


def _flat(values: Iterable[object]) -> Iterator[object]:
    """Yield the values, and in place of a collection what is in it."""
    for value in values:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _new_transport(base_url: str) -> httpx.AsyncHTTPTransport:
    parts = urlsplit(base_url)
    if parts.scheme == "http":
        # A host on this machine: a proxy would be given the credentials in the clear, and certificates
        # take 30 ms to read.
        return httpx.AsyncHTTPTransport(verify=False)
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if proxy is None or proxy_bypass(parts.netloc):
        return httpx.AsyncHTTPTransport()
    # Unlimited, because httpcore's pool loses the place of a connection whose TLS fails behind a proxy, and
    # waits for ever where no place is left. The rate limit keeps connections few.
    return httpx.AsyncHTTPTransport(
        proxy=proxy if "://" in proxy else f"http://{proxy}", limits=httpx.Limits(max_connections=None)
    )


def _tls_problem(error: BaseException) -> str | None:
    """Return OpenSSL's reason if TLS is at the bottom of the error."""
    cause: BaseException | None = error
    for _ in range(10):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate was not accepted ({getattr(cause, 'verify_message', 'no reason given')})"
        if isinstance(cause, ssl.SSLError):
            return str(cause.reason)
        cause = cause and (cause.__cause__ or cause.__context__)
    return None
