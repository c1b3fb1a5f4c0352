"""What a provider counts together: one rate limit, one set of counts, one response to what is refused."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import get_args

from attrs import frozen
from starlette.responses import JSONResponse, Response
from starlette.routing import Router
from starlette.types import ASGIApp, Scope

from .._model import RateLimit, checked_rate_limit
from ._counting import WINDOWS, Counting
from ._webhooks import Mishaps, Outbox, Posted, Target, post_all, poster

_REASONS: Mapping[int, str] = MappingProxyType(
    {400: "malformed request", 401: "unauthorized", 429: "too many requests"}
)


@frozen(kw_only=True)
class Rules:
    """What is the same for all accounts of a sandbox."""

    counting: Counting
    count_rejected: bool
    retry_after: float | None
    clock: Callable[[], float]


class Account(ABC):
    """Counts each request when it arrives, and refuses it or lets it through to the provider's paths."""

    requests: int
    """Requests that came. The first one is number 1 for ``fault``."""
    answered: int
    """Requests that were looked up."""
    rejections: int
    """Requests that were answered 429."""
    keys: int
    """Keys that the answered requests asked for, repeated ones each time."""
    arrivals: list[float]
    """The clock's time at which each request that came was counted, also of the rejected ones."""
    fault: Callable[[int], int | Response | None] | None
    """Called with the number of each request that the limit admits; what it returns replaces the response."""

    _router: Router

    def __init__(self, rules: Rules, rate_limit: RateLimit | None, outbox: Outbox) -> None:
        self._rules = rules
        self._window = WINDOWS[rules.counting]()
        self.rate_limit = rate_limit
        self.fault = None
        self._outbox = outbox
        # A test adds messages in its own thread while the server's thread answers.
        self._lock = threading.Lock()
        self.reset_counts()

    @property
    def rate_limit(self) -> RateLimit | None:
        """The limit in force, or ``None``. A new one with the same ``per`` keeps what is counted already."""
        return self._rate_limit

    @rate_limit.setter
    def rate_limit(self, rate_limit: RateLimit | None) -> None:
        limit = checked_rate_limit(rate_limit)
        if limit and self._rules.counting != "spacing" and not float(limit.limit).is_integer():
            raise ValueError(
                f"a {self._rules.counting} counts whole requests, not {limit.limit}: choose a longer or"
                " shorter 'per', or counting='spacing'"
            )
        self._rate_limit = limit

    def reset_counts(self) -> None:
        """Set all counts to zero; the rate limit forgets nothing."""
        with self._lock:
            self.requests = 0
            self.answered = 0
            self.rejections = 0
            self.keys = 0
            self.arrivals = []

    def _receive(self, scope: Scope) -> ASGIApp:
        """Count a request that has arrived, and return the app that responds to it."""
        now = self._rules.clock()
        with self._lock:
            self.requests += 1
            number = self.requests
            self.arrivals.append(now)
            limit = self._rate_limit
            admitted = limit is None or self._window.admit(
                now, limit, count_rejected=self._rules.count_rejected
            )
        status = None if admitted else 429
        if admitted and self.fault is not None:
            fault = self.fault(number)
            if isinstance(fault, Response):
                return fault
            status = fault
        if status is None:
            if self._is_authorized(scope):
                return self._router
            status = 401
        return self._error(status)

    async def post_webhooks(
        self,
        target: Target,
        *,
        path: str | None = None,
        lose: float = 0.0,
        repeat: float = 0.0,
        reorder: float = 0.0,
        delay: float = 0.0,
        delay_by: tuple[float, float] = (0.5, 3.0),
        random: Random | None = None,
    ) -> Posted:
        """Post a webhook for every status change since the last call, one request each, and say how it went.

        ``target`` is an http URL of this machine, or an ASGI app in this process, which gets them at
        ``path`` or else at ``/``. They come one after another, and it has 2 seconds for each; what has no
        response that says success by then is discarded and never sent again. A change to EXPIRED has no
        webhook. An instance posts its own changes, the sandbox those of SMSFire and of all instances.

        ``lose``, ``repeat``, ``reorder`` and ``delay`` are shares from 0 to 1: of those that never come, come
        twice, are held back until all that were due later have come, or come ``delay_by`` seconds late, at
        least and at most. ``random`` chooses; seed it to have the same ones chosen again.
        """
        mishaps = Mishaps(lose=lose, repeat=repeat, reorder=reorder, delay=delay, delay_by=delay_by)
        post = poster(target, path)
        chance = Random() if random is None else random  # noqa: S311 - it guards nothing
        return await post_all(self._take_webhooks(), post, mishaps, chance)

    def _take_webhooks(self) -> list[bytes]:
        return self._outbox.take(self)

    @abstractmethod
    def _is_authorized(self, scope: Scope) -> bool: ...

    def _error(self, status: int) -> Response:
        if status != 429:
            return error_response(status)
        with self._lock:
            self.rejections += 1
        seconds = self._rules.retry_after
        if seconds is None:
            return error_response(status)
        # Clients read no exponent.
        header = f"{seconds:.6f}".rstrip("0").rstrip(".")
        return error_response(status, {"Retry-After": header})

    def _respond(self, keys: int, body: bytes | None) -> Response:
        """Count a lookup and return its response; the lock is held."""
        self.answered += 1
        self.keys += keys
        if body is None:
            return Response(status_code=204)
        return Response(body, media_type="application/json")


def error_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    if status < 400:
        return Response(status_code=status)
    return JSONResponse({"error": _REASONS.get(status, "fault")}, status_code=status, headers=headers)


def checked_counting(counting: Counting) -> Counting:
    if counting not in get_args(Counting):
        raise ValueError(f"counting is one of {', '.join(get_args(Counting))}, not {counting!r}")
    return counting
