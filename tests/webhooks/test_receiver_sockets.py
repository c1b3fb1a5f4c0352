"""The receiver under uvicorn, alone and mounted: its answers, its access log, and what a large body costs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import Mount
from starlette.types import ASGIApp

from statuslookup.webhooks import receiver
from tests.support.listeners import SECRET, WEBHOOK, Listener
from tests.support.serving import served


def alone(app: ASGIApp) -> tuple[ASGIApp, str]:
    return app, ""


def in_starlette(app: ASGIApp) -> tuple[ASGIApp, str]:
    return Starlette(routes=[Mount("/hooks/smsfire", app)]), "/hooks/smsfire"


def in_fastapi(app: ASGIApp) -> tuple[ASGIApp, str]:
    api = FastAPI()
    api.mount("/hooks/smsfire", app)
    return api, "/hooks/smsfire"


def twice_mounted(app: ASGIApp) -> tuple[ASGIApp, str]:
    api = FastAPI()
    api.mount("/api", in_fastapi(app)[0])
    return api, "/api/hooks/smsfire"


def with_middleware(app: ASGIApp) -> tuple[ASGIApp, str]:
    async def pass_on(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    middleware = [Middleware(GZipMiddleware), Middleware(BaseHTTPMiddleware, dispatch=pass_on)]
    return Starlette(routes=[Mount("/hooks", app)], middleware=middleware), "/hooks"


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("place", [alone, in_starlette, in_fastapi, twice_mounted, with_middleware])
async def test_it_answers_wherever_it_is_and_the_access_log_has_no_secret(
    place: Callable[[ASGIApp], tuple[ASGIApp, str]], http: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    app, path = place(receiver(listener, path_secret=SECRET))
    caplog.set_level(logging.DEBUG, "uvicorn.access")
    async with served(app, http=http) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        hook = f"{path}/{SECRET}"
        assert (await client.post(hook, content=WEBHOOK)).status_code == 200
        assert (await client.get(hook)).status_code == 405
        assert (await client.post(hook, content=b"{")).status_code == 400
        assert (await client.post(hook, content=b" " * 300_000)).status_code == 413
        assert (await client.post(f"{hook}/", content=WEBHOOK)).status_code == 404
        assert (await client.post(f"{path}/another-secret-here", content=WEBHOOK)).status_code == 404
    assert [status.id for status in listener.heard] == [1]
    lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    # As it is, although uvicorn quotes a path before it writes it.
    hidden = f"{path}/---"
    assert [line.split('"')[1].split()[1] for line in lines] == [
        *[hidden] * 4,
        f"{hidden}/",
        f"{path}/another-secret-here",
    ]
    assert SECRET not in caplog.text


@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("has_length", [True, False])
async def test_a_hundred_megabytes_are_not_kept(
    http: str, has_length: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "uvicorn.access")
    seen = 0

    async def large(scope: Any, receive: Any, send: Any) -> None:
        async def counting() -> Any:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            return message

        await app(scope, counting, send)

    app = receiver(Listener(), path_secret=SECRET)
    async with served(large, http=http) as url:
        port = int(url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        length = b"Content-Length: 104857600" if has_length else b"Transfer-Encoding: chunked"
        piece, sent = b" " * 65_536, 0
        # Whoever goes on writing to a closed connection is reset, and may not see the response.
        with contextlib.suppress(OSError):
            writer.write(b"POST /%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (SECRET.encode(), length))
            while sent < 104_857_600 and not reader.at_eof():
                writer.write(piece if has_length else b"10000\r\n%b\r\n" % piece)
                await writer.drain()
                sent += len(piece)
                await asyncio.sleep(0)
        writer.close()
    assert 'HTTP/1.1" 413' in caplog.text
    # The connection ended long before the body did.
    assert sent < 50_000_000
    assert seen <= 256 * 1024 + 2 * 65_536


async def test_a_closed_tracker_answers_503_and_an_open_one_goes_on_being_fed() -> None:
    listener = Listener()
    async with (
        served(receiver(listener, path_secret=SECRET)) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        assert (await client.post(f"/{SECRET}", content=WEBHOOK)).status_code == 200
        await listener.aclose()
        assert (await client.post(f"/{SECRET}", content=WEBHOOK)).status_code == 503
    assert len(listener.heard) == 1


async def test_in_another_loop_than_the_trackers_it_says_what_is_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listener = Listener()
    await listener.track(1)

    def serve_elsewhere() -> int:
        async def main() -> int:
            async with (
                served(receiver(listener, path_secret=SECRET)) as url,
                httpx.AsyncClient(base_url=url, trust_env=False) as client,
            ):
                return (await client.post(f"/{SECRET}", content=WEBHOOK)).status_code

        return asyncio.run(main())

    assert await asyncio.to_thread(serve_elsewhere) == 500
    assert "WrongLoopError: feed the tracker in the event loop that it is used in" in caplog.text
    assert SECRET not in caplog.text
    assert listener.heard == []
    await listener.aclose()
