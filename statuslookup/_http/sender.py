"""Sends one request, reads its answer, and fills the secret in where only the transport sees it.

A transport's frames hold the request, so no traceback of theirs leaves ``send``. Our own frames hold the
secret in no local: it goes from one call straight into the next.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from .._wire import PLACEHOLDER, Request, Response, Secret, retry_after
from ..errors import ProviderError, TransportError
from .bodies import read_body
from .observers import not_traced, scrub_logs
from .problems import problem_of
from .progress import Progress, Steps
from .transports import Transport, library_of, own_transport

_TIMEOUTS: Final = {"connect": 10.0, "write": 30.0, "read": 30.0, "pool": None}


class Sender:
    """Sends requests to one provider, each over a transport that it makes itself or was given.

    A transport that was given is not closed.
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
        self._transport: Transport = own_transport(base_url, provider) if transport is None else transport
        self._owns_transport = transport is None
        self._library = library_of(self._transport)
        self._wall_time = wall_time
        self._search: tuple[str, Any] = "", None

    async def send(self, request: Request, progress: Progress) -> Response:
        """Return the provider's answer, whatever its status, or raise a ``ProviderError`` if it has none.

        It must not be cancelled while ``progress.is_connecting`` or ``progress.is_closing``.
        """
        scrub_logs(self._secret)
        try:
            return await self._translated(request, progress)
        except ProviderError as error:
            # Its frame holds it: a cycle.
            error.__traceback__ = None
            raise
        except BaseException as error:
            # Cancellation, or what a signal handler raised in the middle of a transport. No other can run
            # before these assignments are done, because they are no calls.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            raise
        finally:
            progress.is_connecting = False

    async def _translated(self, request: Request, progress: Progress) -> Response:
        try:
            return await self._exchange(request, progress)
        except Exception as error:  # noqa: BLE001 # a transport may raise anything, and no lookup may hang
            problem = problem_of(error, self._provider, self._secret)
        # Out here it has no context.
        raise problem

    async def _exchange(self, request: Request, progress: Progress) -> Response:
        steps = Steps(progress)
        try:
            async with steps.timeout:
                response = await self._begin(request, steps)
                steps.has_begun()
                content = await self._content(response, request.most_bytes, progress)
        except TimeoutError:
            if (what := steps.what_took_too_long()) is None:
                raise
            raise TransportError(what, provider=self._provider) from None
        pause = retry_after(response.headers.get("Retry-After"), self._wall_time())
        return Response(response.status_code, content, pause, opened_connection=progress.has_connected)

    async def _begin(self, request: Request, steps: Steps) -> Any:
        """Return the transport's response, its body not yet read."""
        with not_traced(request):
            return await self._transport.handle_async_request(self._filled_in(request, steps))

    def _filled_in(self, request: Request, steps: Steps) -> Any:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "statuslookup"}
        if request.content is not None:
            headers["Content-Type"] = "application/json"
        return self._library.Request(
            request.method,
            self._url(request),
            headers=headers | self._authorization(request),
            content=request.content,
            extensions={"timeout": _TIMEOUTS.copy(), "trace": steps.take},
        )

    def _url(self, request: Request) -> Any:
        if request.content is None or request.query or PLACEHOLDER in request.path:
            query = f"?{request.query}" if request.query else ""
            return self._base_url + self._with_secret(request.path) + query
        # What is asked for is in the content, so the URL is nearly always that of the request before.
        path, url = self._search
        if path != request.path:
            url = self._library.URL(self._base_url + request.path)
            self._search = request.path, url
        return url

    def _authorization(self, request: Request) -> dict[str, str]:
        if request.authorization is None:
            return {}
        return {"Authorization": self._with_secret(request.authorization)}

    def _with_secret(self, text: str) -> str:
        return text.replace(PLACEHOLDER, self._secret.reveal())

    async def _content(self, response: Any, most_bytes: int, progress: Progress) -> bytes:
        try:
            return await read_body(response, self._provider, most_bytes)
        except Exception:
            if response.is_success:
                raise
            # The status says what happened, whatever became of the words.
            return b""
        finally:
            await progress.close(response)

    async def aclose(self) -> None:
        """Close the transport if it was made here; it may be closed again."""
        if self._owns_transport:
            await self._transport.aclose()
