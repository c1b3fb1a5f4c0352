"""The ASGI app that answers status lookups."""

import hmac
import json
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import get_args

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from .._model import DeliveryState, MessageStatus, RateLimit
from ._counting import WINDOWS, Counting
from ._messages import CODES, check_message, encode, number, parse_search
from ._serving import serving

_BRASILIA = timezone(timedelta(hours=-3))

_REASONS: Mapping[int, str] = MappingProxyType(
    {400: "malformed request", 401: "unauthorized", 429: "too many requests"}
)


class Sandbox:
    """An ASGI app that answers status lookups as SMSFire does, and refuses what SMSFire refuses.

    Talk to it in-process (``httpx.ASGITransport(app=sandbox)``) or over a socket (``with sandbox.serve()``).
    ``add``, the counts, ``rate_limit`` and ``fault`` may be used from any thread while it serves.

    Each request is counted when it arrives, whatever becomes of it, and then goes through the same gates:
    429 if the rate limit has no room, what ``fault`` says, 401 without the token, 404 and 405 for other
    paths and methods, 400 for a body that is not SMSFire's, 204 if nothing is found, 200.

    Without ``clock``, time is the event loop's. ``latency`` is the seconds that each request takes: half on
    the way here, half on the way back. A wrong argument is a ``TypeError`` or ``ValueError``.
    Source of the facts: SMSFire, "Consulta Status".
    """

    requests: int
    """Requests that came. The first one is number 1 for ``fault``."""
    answered: int
    """Requests that were looked up: answered 200 or 204."""
    rejections: int
    """Requests that were answered 429."""
    keys: int
    """Keys that the answered requests asked for, repeated ones each time."""
    arrivals: list[float]
    """The clock's time at which each request that came was counted, also of the rejected ones."""
    fault: Callable[[int], int | None] | None
    """Called with the number of each request that the limit admits; a status code replaces the answer."""

    def __init__(
        self,
        *,
        token: str = "sandbox",  # noqa: S107 - it guards invented messages
        rate_limit: RateLimit | None = RateLimit(2, per=1.0),  # noqa: B008 - it is frozen
        counting: Counting = "fixed_window",
        count_rejected: bool = False,
        latency: float = 0.0,
        leading_zeros: bool = False,
        max_items: int = 200,
        retry_after: float | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._authorization = f"Basic {_checked_token(token)}".encode()
        if counting not in get_args(Counting):
            raise ValueError(f"counting is one of {', '.join(get_args(Counting))}, not {counting!r}")
        self._counting: Counting = counting
        self._window = WINDOWS[counting]()
        self.rate_limit = rate_limit
        self._count_rejected = count_rejected
        self._half_latency = _checked_seconds("latency", latency) / 2
        self._leading_zeros = leading_zeros
        if isinstance(max_items, bool) or not isinstance(max_items, int):
            raise TypeError(f"max_items is an int, not {type(max_items).__name__}")
        if max_items < 1:
            raise ValueError(f"max_items must be at least 1, not {max_items}")
        self._max_items = max_items
        self._retry_after = None if retry_after is None else _checked_seconds("retry_after", retry_after)
        if not callable(clock):
            raise TypeError(f"clock is a function that returns seconds, not {type(clock).__name__}")
        self._clock = clock
        self.fault = None
        self._messages: dict[int, MessageStatus] = {}
        self._encoded: dict[int, bytes] = {}
        # The inner dicts are sets in the order of adding, so that one repeated customId costs no more to
        # change than any other.
        self._ids: dict[str, dict[int, None]] = {}
        # A test adds messages in its own thread while the server's thread answers.
        self._lock = threading.Lock()
        self.reset_counts()
        self._router = Router(
            [
                Route("/whatsapp/status/search", self._search, methods=["POST"]),
                Route("/whatsapp/status/{key}", self._look_up, methods=["GET"]),
            ],
            redirect_slashes=False,
        )

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._counting} {self._rate_limit}: {len(self._messages)} messages,"
            f" {self.requests} requests, {self.rejections} rejections>"
        )

    @property
    def rate_limit(self) -> RateLimit | None:
        """The limit in force, or ``None``. A new one with the same ``per`` keeps what is counted already."""
        return self._rate_limit

    @rate_limit.setter
    def rate_limit(self, rate_limit: RateLimit | None) -> None:
        if rate_limit is not None:
            if not isinstance(rate_limit, RateLimit):
                raise TypeError(f"rate_limit is a RateLimit or None, not {type(rate_limit).__name__}")
            if self._counting != "spacing" and not float(rate_limit.limit).is_integer():
                raise ValueError(
                    f"a {self._counting} counts whole requests, not {rate_limit.limit}: choose a longer or"
                    " shorter 'per', or counting='spacing'"
                )
        self._rate_limit = rate_limit

    @property
    def messages(self) -> Mapping[int, MessageStatus]:
        """The messages by id, in the order of adding, as a read-only view."""
        return MappingProxyType(self._messages)

    def add(self, *messages: MessageStatus) -> None:
        """Make messages known; one whose id is known already replaces the old one."""
        for message in messages:
            check_message(message)
            encoded = encode(message, leading_zeros=self._leading_zeros)
            with self._lock:
                self._store(message, encoded)

    def add_message(
        self,
        id: int,
        *,
        custom_id: str | None = None,
        state: DeliveryState = DeliveryState.DELIVERED,
        sent_date: datetime | None = None,
        status_date: datetime | None = None,
        phone: str | None = "5511944556677",
        message_type: str | None = "TEXT",
        country: str | None = "55",
        instance_token: str | None = "499893c21b1b467970b2n58dcak6009d92d9dscx1",  # noqa: S107 - the documents' own
    ) -> MessageStatus:
        """Add one message in ``state``, with SMSFire's code and name for it, and return it.

        Without dates, the status is of this second, and so is the sending unless the id is known already.
        A state that SMSFire does not have is a ``ValueError``.
        """
        if state not in CODES:
            raise ValueError(f"SMSFire has no state {state!r}: use one of {', '.join(CODES)}")
        code, name = CODES[state]
        now = datetime.now(_BRASILIA).replace(microsecond=0)
        if sent_date is None:
            known = self._messages.get(id)
            sent_date = known.sent_date if known is not None and known.sent_date is not None else now
        message = MessageStatus(
            id=id,
            custom_id=custom_id,
            instance_token=instance_token,
            message_type=message_type,
            country=country,
            phone=phone,
            status_code=code,
            status_name=name,
            status_date=now if status_date is None else status_date,
            sent_date=sent_date,
            state=state,
        )
        self.add(message)
        return message

    def reset_counts(self) -> None:
        """Set all counts to zero; the rate limit forgets nothing."""
        with self._lock:
            self.requests = 0
            self.answered = 0
            self.rejections = 0
            self.keys = 0
            self.arrivals = []

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> AbstractContextManager[str]:
        """Answer on a socket until the ``with`` block ends; its value is the base URL.

        Port 0 is any free port. The server has a thread and an event loop of its own and leaves signals and
        logging alone. If it cannot start, its own exception is raised. A request still under way at the
        end has two seconds to finish.
        """
        return serving(self, host, port)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        await self._travel()
        refusal = self._refusal(scope)

        async def send_late(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._travel()
            await send(message)

        await (self._router if refusal is None else refusal)(scope, receive, send_late)

    async def _travel(self) -> None:
        if self._half_latency:
            await anyio.sleep(self._half_latency)

    def _refusal(self, scope: Scope) -> Response | None:
        now = self._clock()
        with self._lock:
            self.requests += 1
            number = self.requests
            self.arrivals.append(now)
            limit = self._rate_limit
            admitted = limit is None or self._window.admit(now, limit, count_rejected=self._count_rejected)
        status = None if admitted else 429
        if admitted and self.fault is not None:
            status = self.fault(number)
        if status is None:
            sent = Request(scope).headers.get("authorization", "").encode("latin-1")
            if hmac.compare_digest(sent, self._authorization):
                return None
            status = 401
        return self._error(status)

    def _error(self, status: int) -> Response:
        if status < 400:
            return Response(status_code=status)
        headers = {}
        if status == 429:
            with self._lock:
                self.rejections += 1
            if self._retry_after is not None:
                headers["Retry-After"] = f"{self._retry_after:.15g}"
        return JSONResponse({"error": _REASONS.get(status, "fault")}, status_code=status, headers=headers)

    async def _look_up(self, request: Request) -> Response:
        key: str = request.path_params["key"]
        with self._lock:
            id = number(key)
            if id not in self._messages:
                id = self._last_sent(key)
            return self._answer(1, None if id is None else self._encoded[id])

    async def _search(self, request: Request) -> Response:
        try:
            ids, custom_ids = parse_search(json.loads(await request.body()))
        except (ValueError, RecursionError, ClientDisconnect):
            return self._error(400)
        with self._lock:
            found = [self._encoded[id] for id in self._find(ids, custom_ids)]
            return self._answer(len(ids) + len(custom_ids), b"[%b]" % b",".join(found) if found else None)

    def _answer(self, keys: int, body: bytes | None) -> Response:
        self.answered += 1
        self.keys += keys
        if body is None:
            return Response(status_code=204)
        return Response(body, media_type="application/json")

    def _store(self, message: MessageStatus, encoded: bytes) -> None:
        old = self._messages.get(message.id)
        if old is not None and old.custom_id is not None and old.custom_id != message.custom_id:
            del self._ids[old.custom_id][message.id]
        if message.custom_id is not None:
            self._ids.setdefault(message.custom_id, {})[message.id] = None
        self._messages[message.id] = message
        self._encoded[message.id] = encoded

    def _last_sent(self, custom_id: str) -> int | None:
        def sent(id: int) -> float:
            date = self._messages[id].sent_date
            return -math.inf if date is None else date.timestamp()

        # Reversed, because max() keeps the first of equals, and of equals the last one added is wanted.
        return max(reversed(self._ids.get(custom_id, {})), key=sent, default=None)

    def _find(self, ids: list[int], custom_ids: list[str]) -> dict[int, None]:
        found: dict[int, None] = {}
        for id in ids:
            if id in self._messages:
                found[id] = None
            if len(found) == self._max_items:
                return found
        for custom_id in custom_ids:
            for id in self._ids.get(custom_id, ()):
                found[id] = None
                if len(found) == self._max_items:
                    return found
        return found


def _checked_token(token: str) -> str:
    if not isinstance(token, str):
        raise TypeError(f"token is a str, not {type(token).__name__}")
    # The value stays out of the text: someone may well test with a real token.
    if not token or not token.isascii() or not token.isprintable():
        raise ValueError("token must be printable ASCII and not empty, or no header could carry it")
    return token


def _checked_seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds, not {type(value).__name__}")
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be 0 or more seconds and finite, not {value}")
    return value
