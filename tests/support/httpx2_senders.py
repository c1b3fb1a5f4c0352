"""What sends one request over a transport of httpx2's, and a mark for tests that say the same of both."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import httpx
import httpx2
import pytest

from statuslookup._http import Sender, Transport
from statuslookup._wire import Secret
from tests.support.senders import CANARY, Serve

BOTH_LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def new_sender(transport: Transport, base_url: str = "https://api.test/v2") -> Sender:
    return Sender(provider="P", base_url=base_url, secret=Secret(CANARY), transport=transport)


def mocked(handler: Callable[[httpx2.Request], httpx2.Response]) -> Sender:
    return new_sender(httpx2.MockTransport(handler))


@contextlib.asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve on loopback, and return when no connection is left."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)
