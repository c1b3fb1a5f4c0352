"""How far a request has come, as httpcore tells it, and how long each part may take."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from attrs import define

# Longer than whatever httpx itself ends: three steps of a SOCKS proxy at 30 s, where it counts them at all.
_BEGIN_WITHIN: Final = 120.0
_READ_WITHIN: Final = 60.0


@define(eq=False)
class Progress:
    """Tells whether a request is connecting, or its response is closing: then it must not be cancelled.

    httpx's pool would lose that connection's place for good. A transport that tells no steps never connects.
    """

    is_connecting: bool = False
    """Whether a connection is being made at this moment, proxies and TLS included."""
    has_connected: bool = False
    """Whether a connection was made for the request."""
    when_connected: Callable[[], object] | None = None
    """Called once, in the request's task, when it connects no more; not if the connection fails."""
    is_closing: bool = False
    """Whether the response is being closed at this moment."""
    when_closed: Callable[[], object] | None = None
    """Called once, in the request's task, when the response is closed."""

    def _goes_on(self) -> None:
        if not self.is_connecting:
            return
        self.is_connecting, self.has_connected = False, True
        call, self.when_connected = self.when_connected, None
        if call is not None:
            call()

    async def close(self, response: Any) -> None:
        """Close the response of the request."""
        self.is_closing = True
        try:
            await response.aclose()
        finally:
            self.is_closing = False
            call, self.when_closed = self.when_closed, None
            if call is not None:
                call()


class Steps:
    """Moves a request's progress and its timeout by what httpcore tells of its steps.

    The time to begin counts until the request is sent, and then the time to read. Nothing counts while
    anything connects, be it after a proxy's own answer: httpcore has timeouts of its own there. A step's
    name begins with the part that takes it. A step's end changes nothing, because it is also told when time
    has run out.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        # asyncio's, because anyio's keeps a task that was left in the middle, and its loop, for good.
        self.timeout = asyncio.timeout(_BEGIN_WITHIN)
        self._is_reading = False
        self._proxied: Any = None

    async def take(self, event: str, info: dict[str, Any]) -> None:
        """Follow one step; this is the request's extension ``trace``."""
        if event.endswith(".complete"):
            return
        if event.endswith(".send_request_headers.started"):
            # CONNECT asks a proxy for the way to the server.
            if info["request"].method != b"CONNECT":
                self._progress._goes_on()
        elif event.endswith(".receive_response_headers.started"):
            self._count_reading()
        elif event == "socks.setup_socks5_connection.started":
            # The exception: httpcore reads a SOCKS proxy's answers without any timeout.
            self._proxied = info["stream"]
            self._count_from_now(_BEGIN_WITHIN)
        elif event == "socks.setup_socks5_connection.failed" and self.timeout.expired():
            # httpcore does not close the socket, and keeps its place in the pool unless an Exception comes.
            await self._proxied.aclose()
            raise TimeoutError
        elif event.endswith(".started") and not event.startswith("http"):
            self._progress.is_connecting = True
            self._is_reading = False
            self.timeout.reschedule(None)

    def has_begun(self) -> None:
        """Note that the response has begun, for transports that do not tell their steps."""
        self._progress._goes_on()
        if not self._is_reading:
            self._count_reading()

    def what_took_too_long(self) -> str | None:
        """Say which time has passed; ``None`` if none has."""
        if not self.timeout.expired():
            return None
        if self._is_reading:
            return f"the answer was not read within {_READ_WITHIN:g} s"
        return f"the request was held up for {_BEGIN_WITHIN:g} s before it could be answered"

    def _count_reading(self) -> None:
        self._is_reading = True
        self._count_from_now(_READ_WITHIN)

    def _count_from_now(self, seconds: float) -> None:
        self.timeout.reschedule(asyncio.get_running_loop().time() + seconds)
