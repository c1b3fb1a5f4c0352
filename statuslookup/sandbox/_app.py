"""The ASGI app that answers status lookups for both providers."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import anyio
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._arguments import number, shown_unfinished
from .._model import RateLimit
from ._account import Rules, checked_counting, error_response
from ._counting import Counting
from ._greenapi import Instance, Style, instance_path
from ._serving import serving
from ._smsfire import SMSFireAccount
from ._webhooks import Outbox


class Sandbox(SMSFireAccount):
    """An ASGI app that answers status lookups as SMSFire and GREEN-API do, and refuses what they refuse.

    Talk to it in-process (``httpx.ASGITransport(app=sandbox)``) or over a socket (``with sandbox.serve()``).
    ``add``, the counts, ``rate_limit`` and ``fault`` may be used from any thread while it serves. What it
    has itself is SMSFire's; ``add_instance`` adds an instance of GREEN-API, which has the like, and a rate
    limit, for itself. A path that begins with ``/waInstance`` is GREEN-API's, and every other one SMSFire's.

    Each request is counted when it arrives, whatever becomes of it, and then goes through the same gates:
    429 if the rate limit has no capacity, what ``fault`` says, 401 without the token, 404 and 405 for other
    paths and methods, 400 for a body or query that is not the provider's; at SMSFire 204 if nothing is
    found, at GREEN-API 466 if the quota is used up; 200. An instance that was not added is 401, not counted.

    Without ``clock``, time is the event loop's. ``latency`` is the seconds that each request takes: half on
    the way here, half on the way back. ``leading_zeros``, ``trailing_commas`` and ``array_participants``
    write what the providers' documents show beside strict JSON: SMSFire's ids, GREEN-API's receipts, and its
    ``participant`` as an array of all that have one timestamp and status in a row. ``max_items`` is the most
    messages in one response of SMSFire's.

    ``counting`` is how requests are counted: "fixed_window", "sliding_window", or "spacing", which wants each
    an interval after the last one. ``count_rejected`` counts refused ones, too, and ``retry_after`` is what a
    429 asks to wait, in seconds. These and ``latency`` hold for both providers. A wrong argument is a
    ``TypeError`` or ``ValueError``.

    ``requests``, ``answered``, ``rejections`` and ``keys`` are counts since the beginning or
    ``reset_counts()``, and ``arrivals`` are the times of the requests. ``fault``, if it is set, is called
    with the number of each request that the limit admits; a status code that it returns, or a whole
    ``starlette.responses.Response``, replaces what would have been the response.

    Source: SMSFire, "Consulta Status"; GREEN-API, "GetStatusStatistic" and "Common errors".
    """

    def __init__(
        self,
        *,
        token: str = "sandbox",  # noqa: S107 - it guards invented messages
        rate_limit: RateLimit | None = RateLimit(2, per=1.0),  # noqa: B008 - it is frozen
        counting: Counting = "fixed_window",
        count_rejected: bool = False,
        latency: float = 0.0,
        leading_zeros: bool = False,
        trailing_commas: bool = False,
        array_participants: bool = False,
        max_items: int = 200,
        retry_after: float | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        if not callable(clock):
            raise TypeError(f"clock is a function that returns seconds, not {type(clock).__name__}")
        self._half_latency = _seconds("latency", latency) / 2
        self._style = Style(trailing_commas=trailing_commas, array_participants=array_participants)
        self._instances: dict[int, Instance] = {}
        self._lifespan = Router()
        super().__init__(
            token=token,
            rate_limit=rate_limit,
            rules=Rules(
                counting=checked_counting(counting),
                count_rejected=count_rejected,
                retry_after=None if retry_after is None else _seconds("retry_after", retry_after),
                clock=clock,
            ),
            outbox=Outbox(),
            leading_zeros=leading_zeros,
            max_items=max_items,
        )

    @shown_unfinished
    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self._rules.counting} {self._rate_limit}: {len(self._messages)}"
            f" messages, {self.requests} requests, {self.rejections} rejections>"
        )

    @property
    def instances(self) -> Mapping[int, Instance]:
        """GREEN-API's instances by number, in the order of adding, as a read-only view."""
        return MappingProxyType(self._instances)

    def add_instance(
        self,
        id_instance: int = 1101000001,
        api_token_instance: str = "sandbox",  # noqa: S107 - it guards invented statistics
        *,
        rate_limit: RateLimit | None = RateLimit(1, per=1.0),  # noqa: B008 - it is frozen
        quota: int | None = None,
    ) -> Instance:
        """Add an instance of GREEN-API, and return it.

        Its rate limit is its own, and counted as the sandbox counts; ``quota`` is how many requests it
        answers before all that it says is 466. A number that is there already is a ``ValueError``.
        """
        instance = Instance(
            id_instance,
            api_token_instance,
            rate_limit=rate_limit,
            quota=quota,
            rules=self._rules,
            outbox=self._outbox,
            style=self._style,
        )
        if id_instance in self._instances:
            raise ValueError(f"the instance {id_instance} is there already")
        self._instances[id_instance] = instance
        return instance

    def serve(self, host: str = "127.0.0.1", port: int = 0) -> AbstractContextManager[str]:
        """Answer on a socket until the ``with`` block ends; its value is the base URL.

        Port 0 is any free port. The server has a thread and an event loop of its own and leaves signals and
        logging alone. If it cannot start, its own exception is raised. A request still under way at the
        end has two seconds to finish.
        """
        return serving(self, host, port)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request."""
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        await self._travel()
        app = self._app_for(scope)

        async def send_late(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._travel()
            await send(message)

        await app(scope, receive, send_late)

    async def _travel(self) -> None:
        if self._half_latency:
            await anyio.sleep(self._half_latency)

    def _app_for(self, scope: Scope) -> ASGIApp:
        id_instance, _ = instance_path(scope)
        if id_instance is None:
            return self._receive(scope)
        instance = self._instances.get(id_instance)
        return error_response(401) if instance is None else instance._receive(scope)

    def _take_webhooks(self) -> list[bytes]:
        # The sandbox posts the webhooks of all its instances, too.
        return self._outbox.take()


def _seconds(argument: str, value: float) -> float:
    return number(argument, value, what="a number of seconds", least=0)
