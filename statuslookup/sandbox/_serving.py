"""An ASGI app on a socket, in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

_GRACE_SECONDS = 2
_JOIN_SECONDS = 10.0


def _listen(host: str, port: int) -> socket.socket:
    # asyncio switches Nagle's algorithm off only where the socket names its protocol, and with it a response
    # in two parts waits 40 ms for the client's acknowledgement.
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def serving(app: ASGIApp, host: str, port: int) -> Generator[str, None, None]:
    with _listen(host, port) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ws="none",
                access_log=False,
                log_config=None,
                log_level="warning",
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        ended: Future[None] = Future()

        def run() -> None:
            try:
                asyncio.run(server.serve(sockets=[listener]))
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits for it
                ended.set_exception(error)
            else:
                ended.set_result(None)

        thread = threading.Thread(target=run, name="statuslookup sandbox", daemon=True)
        thread.start()
        try:
            while not server.started and not ended.done():
                wait([ended], timeout=0.01)
            if ended.done():
                ended.result()
            bound_port = listener.getsockname()[1]
            yield f"http://[{host}]:{bound_port}" if ":" in host else f"http://{host}:{bound_port}"
        finally:
            server.should_exit = True
            thread.join(_JOIN_SECONDS)
        if thread.is_alive():
            raise RuntimeError("the sandbox's server did not stop: a request or a fault blocks its thread")
        ended.result()
