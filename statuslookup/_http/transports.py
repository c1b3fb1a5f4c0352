"""What a request goes through: the sender's own transport, and transports that it is given."""

import sys
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from ..errors import TransportError


class Transport(Protocol):
    """An httpx or httpx2 transport: it sends one request to a server, to an app or to a mock."""

    async def handle_async_request(self, request: Any, /) -> Any:
        """Return the response, as an ``httpx.Response`` or ``httpx2.Response``."""

    async def aclose(self) -> None:
        """Close all connections."""


def library_of(transport: Transport) -> Any:
    """Return httpx2 for a transport of its kind, and httpx for all others: whose requests it takes."""
    httpx2: Any = sys.modules.get("httpx2")
    return httpx2 if httpx2 is not None and isinstance(transport, httpx2.AsyncBaseTransport) else httpx


def own_transport(base_url: str, provider: str) -> httpx.AsyncHTTPTransport:
    """Return a transport that uses the environment's proxy for https, or raise a ``TransportError``."""
    try:
        return _new_transport(base_url)
    except ImportError:
        what = 'a SOCKS proxy needs one more package: pip install "httpx[socks]"'
    except OSError:
        what = "the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read"
    except (ValueError, httpx.InvalidURL):
        what = "the environment's proxy must be an http, https, socks5 or socks5h URL"
    # Anew, so that neither a context nor a traceback leads to the proxy's URL, which may hold a password.
    raise TransportError(what, provider=provider)


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
