"""A receiver of webhooks: an ASGI app that feeds a tracker, mounted anywhere or served alone.

::

    app = FastAPI()
    app.mount("/hooks/smsfire", receiver(tracker, path_secret=os.environ["STATUSLOOKUP_WEBHOOK_SECRET"]))
    # SMSFire's CALLBACK and DLR: https://example.com/hooks/smsfire/<the secret>

It needs the extra ``webhooks``. Whoever has a handler of their own, such as a bot whose chat comes to the
same URL, needs only ``tracker.feed(GreenAPI.parse_webhook(body))``.
"""

import hmac
import logging
import re
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from .errors import ClosedError, DecodeError
from .tracker import StatusTracker

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Router
    from starlette.types import ASGIApp, Receive, Scope, Send
except ModuleNotFoundError as _error:
    raise ImportError('webhooks need their extra: pip install "statuslookup[webhooks]"') from _error

__all__ = ["receiver"]

_MOST_BYTES = 256 * 1024
_SHORTEST_SECRET = 16
# What a path carries as it is, so that a log shows the same text.
_SECRET = re.compile(r"[A-Za-z0-9._~-]+")
# Also as a server quotes a path before it logs it.
_MASK = "---"

_logger = logging.getLogger(__name__)


def receiver(tracker: StatusTracker[Any, Any], *, path_secret: str) -> ASGIApp:
    """Return an ASGI app that feeds the tracker with what the provider posts to ``/<path_secret>``.

    It answers as soon as the tracker has heard, which takes no I/O: an empty 200; 404 without the secret,
    405 for another method, 413 for more than 256 KiB, 400 for what the provider's ``parse_webhook`` cannot
    read, 503 once the tracker is closed.

    - ``tracker`` is a ``StatusTracker``, open for as long as webhooks should count. The app does not close
      it.
    - ``path_secret`` keeps strangers out, since neither provider signs its webhooks: 16 characters or more,
      letters, digits, ``-``, ``.``, ``_`` and ``~``, or else it is a ``ValueError``.
      ``secrets.token_urlsafe()`` makes one. The app writes ``---`` over it in the scope, so that no log has
      it that the server writes after the response, as uvicorn does. A proxy has a log of its own.

    Source: SMSFire, "Callback" and "DLR" (what is not answered within 2 seconds is discarded); GREEN-API,
    "Outgoing message status".
    """
    return _Receiver(tracker, path_secret)


class _Receiver:
    """The app; its repr does not show the secret."""

    def __init__(self, tracker: StatusTracker[Any, Any], path_secret: str) -> None:
        if not isinstance(tracker, StatusTracker):
            raise TypeError(f"tracker is a StatusTracker, not {type(tracker).__name__}")
        self._tracker = tracker
        self._parse = _parser_of(tracker)
        self._secret = _checked_secret(path_secret)
        # It says that it started where it is served alone, and refuses websockets.
        self._others = Router()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A websocket's path is logged, too.
        is_ours = "path" in scope and self._unlock(scope)
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        response = await self._respond(Request(scope, receive)) if is_ours else Response(status_code=404)
        if response is not None:
            await response(scope, receive, send)

    def _unlock(self, scope: Scope) -> bool:
        """Return whether the path is the secret, and hide that from whoever looks at the scope later."""
        path: str = scope["path"]
        rest = path.removeprefix(scope.get("root_path", "")).removeprefix("/")
        is_ours = hmac.compare_digest(rest.encode(errors="replace"), self._secret.encode())
        if self._secret in path:
            scope["path"] = path.replace(self._secret, _MASK)
            # Written anew, because the secret may be percent-encoded in the old one.
            scope["raw_path"] = quote(scope["path"]).encode()
        # A URL that was registered in a wrong way is logged, too.
        scope["query_string"] = scope["query_string"].replace(self._secret.encode(), _MASK.encode())
        return is_ours

    async def _respond(self, request: Request) -> Response | None:
        """Return the response to a request with the secret, or ``None`` if the client has gone."""
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        try:
            body = await _body_of(request)
        except ClientDisconnect:
            return None
        if body is None:
            # What is left of the body shall not be read.
            return Response(status_code=413, headers={"Connection": "close"})
        try:
            statuses = self._parse(body)
        except DecodeError as error:
            _logger.warning("a webhook of %d bytes cannot be read: %s", len(body), error)
            return Response(status_code=400)
        try:
            self._tracker.feed(statuses)
        except ClosedError:
            return Response(status_code=503)
        return Response()


def _parser_of(tracker: StatusTracker[Any, Any]) -> Callable[[bytes], list[Any]]:
    provider = tracker.provider
    parse = getattr(provider, "parse_webhook", None)
    if not callable(parse):
        raise TypeError(f"{provider.name} has no webhooks: its provider has no parse_webhook")
    return cast("Callable[[bytes], list[Any]]", parse)


async def _body_of(request: Request) -> bytes | None:
    """Return the body, or ``None`` as soon as it is known to be too large."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > _MOST_BYTES:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return None
    return bytes(body)


def _checked_secret(path_secret: str) -> str:
    """Return the secret, or say in a ``TypeError`` or ``ValueError`` what is wrong with it."""
    if not isinstance(path_secret, str):
        raise TypeError(f"path_secret is a str, not {type(path_secret).__name__}")
    # The value stays out of the texts.
    if len(path_secret) < _SHORTEST_SECRET:
        raise ValueError(
            f"path_secret must have {_SHORTEST_SECRET} characters or more:"
            " make one with secrets.token_urlsafe()"
        )
    if not _SECRET.fullmatch(path_secret):
        raise ValueError("path_secret must be letters, digits, '-', '.', '_' and '~', as a path carries them")
    return path_secret
