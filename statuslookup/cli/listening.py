"""Webhooks on the command line: where they are received, behind which secret, and the server that does it."""

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from typing import Any

import click
from attrs import field, frozen

from ..tracker import StatusTracker
from .display import reason_of
from .options import environment_with, needs_extras

SECRET_VARIABLE = "STATUSLOOKUP_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
_GRACE_SECONDS = 1
_MOST_CONNECTIONS = 100
# asyncio accepts so many before it lets go of any; a process usually has 1,024 descriptors.
_BACKLOG = 500


@frozen
class Address:
    """Where to listen."""

    host: str
    port: int


def _address(_: click.Context, parameter: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    host, _colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        message = "it is HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080; port 0 is any free one"
        raise click.BadParameter(message, param=parameter)
    return Address(host, int(port))


listen_option = click.option(
    "--listen",
    metavar="HOST:PORT",
    callback=_address,
    help=f"Receive the provider's webhooks there, at a path that is {SECRET_VARIABLE}.",
)


@frozen(eq=False)
class Listener:
    """Has a port, and serves a receiver there as soon as there is a tracker to feed."""

    _socket: socket.socket
    _secret: str = field(repr=False)
    _is_new: bool
    """Whether the secret was made here, so that nobody else has it."""

    def in_words(self) -> str:
        """Return where webhooks have to be posted to; only a secret that nobody has yet is in it."""
        host, port = self._socket.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if self._is_new:
            return f"Webhooks are received at {url}/{self._secret} (a new secret, shown only now)."
        return f"Webhooks are received at {url}/*** (*** is {SECRET_VARIABLE})."

    @asynccontextmanager
    async def serving(self, tracker: StatusTracker[Any, Any]) -> AsyncGenerator[None, None]:
        """Feed the tracker with what is posted, until the ``async with`` block ends."""
        import uvicorn

        from ..webhooks import receiver

        class Server(uvicorn.Server):
            """A server that leaves signals to the command."""

            @contextmanager
            def capture_signals(self) -> Generator[None, None, None]:
                yield

        app = receiver(tracker, path_secret=self._secret)
        config = uvicorn.Config(
            app,
            http=_few_connections(),
            ws="none",
            backlog=_BACKLOG,
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = Server(config)
        task = asyncio.create_task(server.serve([self._socket]))
        try:
            yield
        finally:
            server.should_exit = True
            await task


def _few_connections() -> Any:
    """Return a protocol for uvicorn that closes the oldest connection where there are too many.

    Whoever holds connections open for nothing, which needs no secret, must not take the places of webhooks,
    nor the descriptors that lookups and the store need.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    connections: dict[H11Protocol, None] = {}

    class Protocol(H11Protocol):
        """HTTP on one of the connections."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            connections[self] = None
            if len(connections) > _MOST_CONNECTIONS:
                oldest = next(iter(connections))
                del connections[oldest]
                oldest.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self, None)
            super().connection_lost(exc)

    return Protocol


def listener_at(
    context: click.Context, address: Address | None, *, env_file: str | None, **_: Any
) -> Listener | None:
    """Return what receives webhooks at an address until the command ends; ``None`` for none."""
    if address is None:
        return None
    with needs_extras("--listen", install='"statuslookup[cli,webhooks]" uvicorn'):
        _import_uvicorn()
        # It says itself what it needs.
        from ..webhooks import _checked_secret
    secret = environment_with(env_file).get(SECRET_VARIABLE)
    is_new = not secret
    try:
        secret = _checked_secret(secret or secrets.token_urlsafe(24))
    except ValueError as error:
        raise click.UsageError(f"{SECRET_VARIABLE}: {error}") from None
    return Listener(context.with_resource(_bound(address)), secret, is_new)


def _import_uvicorn() -> None:
    try:
        import_module("uvicorn")
    except ModuleNotFoundError as error:
        raise ImportError("uvicorn is missing") from error


def _bound(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise click.ClickException(
            f"--listen {address.host}:{address.port}: {reason_of(error)}; choose another place"
        ) from error
    return listener
