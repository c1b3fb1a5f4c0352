"""The client: many concurrent lookups in, as few requests as the provider's rules allow out."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from contextvars import copy_context
from types import TracebackType
from typing import Any, Generic, Literal, NoReturn, Self, TypeAlias, TypeVar, overload

import anyio

from ._arguments import check_methods, number, shown_unfinished, whole
from ._clock import SYSTEM_CLOCK, Clock
from ._engine.bulk import Outcomes, outcomes_of
from ._engine.engine import Engine
from ._engine.retry import RetryPolicy
from ._engine.source import Fleet, LocalSource, Source
from ._http import Sender, Transport
from ._limits.budgets import SharedBucket
from ._limits.limiter import Limiter, check_slots
from ._limits.unlimited import Unlimited
from ._model import AnswerT, ClientStats, KeyT, MessageKey, Outcome, draft_of
from .errors import ClosedError, IncompleteError, StatusLookupError, WrongLoopError
from .providers.base import Provider

_Timeout: TypeAlias = float | Literal["client"] | None

# No type variable can have another one, such as a client's KeyT, for its bound. Lists of ids and lists of
# customIds are common enough for a signature that keeps them apart.
_MessageKeyT = TypeVar("_MessageKeyT", bound=MessageKey)

_new, _Draft = object.__new__, draft_of(Outcome)


class StatusClient(Generic[KeyT, AnswerT]):
    """Awaits message statuses at one provider, from any number of coroutines, within the provider's rules.

    Lookups that wait for the rate limit ride together in the next request, and equal keys are asked once.
    ``get`` looks up one key, ``get_many`` a list of them, and ``stream`` any number.

    - ``provider``: an ``SMSFire`` or a ``GreenAPI``, which says what keys and answers are.
    - ``timeout``: the deadline of a lookup in seconds, with queue, rate limit, retries and HTTP; ``None``
      waits for ever.
    - ``limiter``: replaces the one that this client shares with all others of its event loop that the
      provider counts together.
    - ``fleet``: a ``RedisFleet``, which shares the limit and the lookups with other processes.
    - ``retry``: which failures are asked again.
    - ``linger``: how long, in seconds, a request that could go at once waits for more keys; a full batch does
      not wait.
    - ``transport``: an httpx or httpx2 transport to send through (proxy, TLS, tests); it stays yours to
      close.
    - ``clock``: for tests that do not want to wait.

    A bad argument is a ``TypeError`` or ``ValueError``.

    A client belongs to the event loop that uses it first; on another one, it raises ``WrongLoopError``. Close
    it with ``aclose()`` or ``async with``.
    """

    # Here, because __del__ runs also where __init__ refused an argument.
    _engine: Engine[KeyT, AnswerT] | None = None
    _is_closed = False

    def __init__(
        self,
        provider: Provider[KeyT, AnswerT],
        *,
        timeout: float | None = 60.0,
        limiter: Limiter | None = None,
        fleet: Fleet | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 # frozen, and shown as it is in help()
        linger: float = 0.005,
        transport: Transport | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        check_methods("provider", provider, ("check", "exchange"), "an SMSFire or a GreenAPI")
        whole("provider.max_batch", provider.max_batch, least=1)
        check_methods("retry", retry, ("delay",), "a RetryPolicy, such as RetryPolicy(attempts=3)")
        if limiter is not None:
            example = "None or a limiter, such as TokenBucket(RateLimit(2))"
            check_methods("limiter", limiter, ("slot",), example)
        if fleet is not None:
            check_methods("fleet", fleet, ("_check", "_source"), "None or a statuslookup.fleet.RedisFleet")
            if limiter is not None:
                raise ValueError("pass limiter or fleet, not both: a fleet shares its own limiter")
            fleet._check(provider)
        if transport is not None:
            example = "an httpx or httpx2 transport for asyncio, such as httpx.AsyncHTTPTransport(...)"
            check_methods("transport", transport, ("handle_async_request",), example)
        check_methods("clock", clock, ("time", "call_later"), "an object with time() and call_later()")
        self._provider = provider
        self._timeout = _checked_timeout(timeout)
        self._limiter = limiter
        self._fleet = fleet
        self._retry = retry
        self._linger = number("linger", linger, what="a number of seconds", least=0)
        self._transport = transport
        self._clock = clock
        self._context = copy_context()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender: Sender | None = None
        self._shared: SharedBucket | None = None

    @shown_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "unused" if self._engine is None else "open"
        return f"<StatusClient {state} {self._provider!r} {self.stats()}>"

    @property
    def provider(self) -> Provider[KeyT, AnswerT]:
        """The provider that is asked."""
        return self._provider

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed: from then on, every call is a ``ClosedError``."""
        return self._is_closed

    async def get(self, key: KeyT, *, timeout: _Timeout = "client") -> AnswerT | None:
        """Return the status of one message, or ``None`` if the provider does not know it.

        ``timeout``, in seconds, replaces the client's; ``None`` waits for ever. A caller that is cancelled
        disturbs nobody else. Raises ``TypeError`` or ``ValueError`` for a bad key before anything is sent,
        and otherwise only ``StatusLookupError``.
        """
        key = self._provider.check(key)
        seconds = self._timeout if timeout == "client" else _checked_timeout(timeout)
        loop = asyncio.get_running_loop()
        engine = self._engine
        if engine is None or loop is not self._loop or self._is_closed:
            engine = self._open(loop)
        answer = engine.join(key, loop)
        deadline = None
        if seconds is not None:
            deadline = engine.deadlines.of_this_turn(seconds)
            deadline.waiting[answer] = key
        try:
            return await answer
        except BaseException:
            engine.leave(key, answer)
            raise
        finally:
            if deadline is not None:
                deadline.discard(answer)
            # An error's traceback leads here, and from here to the error.
            del answer

    @overload
    async def get_many(
        self: "StatusClient[MessageKey, AnswerT]",
        keys: Iterable[_MessageKeyT],
        *,
        timeout: _Timeout = "client",
    ) -> dict[_MessageKeyT, AnswerT | None]: ...

    @overload
    async def get_many(
        self, keys: Iterable[KeyT], *, timeout: _Timeout = "client"
    ) -> dict[KeyT, AnswerT | None]: ...

    async def get_many(
        self, keys: Iterable[Any], *, timeout: _Timeout = "client"
    ) -> dict[Any, AnswerT | None]:
        """Return the status of each key, ``None`` where the provider does not know it, in the keys' order.

        The dict has exactly the keys that were passed, one that came twice once. ``timeout``, in seconds,
        replaces the client's, and counts for each key from when it is queued, so a list does not time out
        for being long. Lookups by ``get`` go first. If some keys fail, ``IncompleteError`` holds what was
        found; an error with ``ends_all``, such as refused credentials, ends the whole list that way. A bad
        key is a ``TypeError`` or ``ValueError`` before anything is sent. A caller that is cancelled
        withdraws what was not sent.
        """
        _refuse_one_key(keys)
        if isinstance(keys, AsyncIterable):
            raise TypeError("keys is a list of keys: for keys that come by async for, use stream")
        # In the keys' order; where the value is still this list, nothing is known yet.
        unknown: list[Any] = []
        statuses: dict[Any, Any] = dict.fromkeys(map(self._provider.check, keys), unknown)
        errors: dict[KeyT, StatusLookupError] = {}
        refusal: StatusLookupError | None = None
        async with aclosing(self._outcomes_of(statuses, timeout)) as batches:
            async for outcomes in batches:
                for key, outcome in outcomes:
                    if not isinstance(outcome, StatusLookupError):
                        statuses[key] = outcome
                        continue
                    if isinstance(outcome, ClosedError):
                        # A copy, because its traceback leads here, and from here to what was taken.
                        raise outcome.fresh()
                    errors[key] = outcome
                    if outcome.ends_all:
                        refusal = outcome
                if refusal is not None:
                    unasked = [key for key in statuses if statuses[key] is unknown and key not in errors]
                    errors |= {key: refusal.fresh() for key in unasked}
                    break
        if errors:
            found = {key: status for key, status in statuses.items() if key not in errors}
            raise IncompleteError(found, errors)
        return statuses

    @overload
    def stream(
        self: "StatusClient[MessageKey, AnswerT]",
        keys: Iterable[_MessageKeyT] | AsyncIterable[_MessageKeyT],
        *,
        timeout: _Timeout = "client",
    ) -> AsyncGenerator[Outcome[_MessageKeyT, AnswerT], None]: ...

    @overload
    def stream(
        self, keys: Iterable[KeyT] | AsyncIterable[KeyT], *, timeout: _Timeout = "client"
    ) -> AsyncGenerator[Outcome[KeyT, AnswerT], None]: ...

    async def stream(
        self,
        keys: Iterable[Any] | AsyncIterable[Any],
        *,
        timeout: _Timeout = "client",
    ) -> AsyncGenerator[Outcome[Any, AnswerT], None]:
        """Yield one ``Outcome`` for each key as soon as it is known, in bounded memory whatever their number.

        Keys are taken from ``keys`` as they are needed, and a slow reader slows the lookups down. The order
        is that of the answers. A key that comes twice has two outcomes; while the first is open, the second
        shares its end, a deadline too. ``timeout``, in seconds, replaces the client's, and counts for each
        key from when it is queued. Lookups by ``get`` go first. A key that fails is an outcome with its
        ``error``. What ends the stream is an error with ``ends_all``, such as refused credentials, a bad key
        (``TypeError``, ``ValueError``) and what ``keys`` itself raises. Leaving the loop early withdraws
        what was not sent.
        """
        _refuse_one_key(keys)
        check = self._provider.check
        checked = (check(key) async for key in keys) if isinstance(keys, AsyncIterable) else map(check, keys)
        async with aclosing(self._outcomes_of(checked, timeout)) as batches:
            async for outcomes in batches:
                for key, outcome in outcomes:
                    if isinstance(outcome, StatusLookupError):
                        if outcome.ends_all:
                            raise outcome.fresh()
                        yield Outcome(key, None, outcome)
                    else:
                        # Outcome(...) would be a twentieth of all that a key costs here.
                        draft = _new(_Draft)
                        draft.key, draft.status, draft.error = key, outcome, None
                        draft.__class__ = Outcome
                        yield draft

    def _outcomes_of(
        self, keys: Iterable[KeyT] | AsyncIterable[KeyT], timeout: _Timeout
    ) -> AsyncGenerator[Outcomes[KeyT, AnswerT], None]:
        engine = self._open(asyncio.get_running_loop())
        seconds = self._timeout if timeout == "client" else _checked_timeout(timeout)
        return outcomes_of(engine, keys, seconds)

    def stats(self) -> ClientStats:
        """Return the counts since the client was made, and what it is doing at this moment."""
        return ClientStats() if self._engine is None else self._engine.stats()

    def _open(self, loop: asyncio.AbstractEventLoop) -> Engine[KeyT, AnswerT]:
        """Bind the client to the loop, or say why it cannot be used there."""
        if self._is_closed:
            raise ClosedError("the client is closed; make a new one")
        if self._engine is not None:
            if loop is self._loop:
                return self._engine
            raise WrongLoopError(
                "this client belongs to another event loop: make one client in each loop, or run all lookups"
                " in the loop that used it first"
            )
        if self._limiter is not None:
            check_slots(self._limiter)
        provider = self._provider
        sender = Sender(
            provider=provider.name,
            base_url=provider.base_url,
            secret=provider.secret,
            transport=self._transport,
        )
        # Only after the sender, which may fail: nobody releases the bucket of a client that never opened.
        source = self._new_source(loop)
        self._loop = loop
        self._sender = sender
        self._engine = Engine(
            provider,
            source,
            sender.send,
            retry=self._retry,
            linger=self._linger,
            clock=self._clock,
            context=self._context,
            loop=loop,
        )
        return self._engine

    def _new_source(self, loop: asyncio.AbstractEventLoop) -> Source[KeyT, AnswerT]:
        provider, limit = self._provider, self._provider.rate_limit
        if self._fleet is not None:
            return self._fleet._source(provider, clock=self._clock, loop=loop)
        if self._limiter is not None:
            limiter = self._limiter
        elif limit is None:
            limiter = Unlimited()
        else:
            self._shared = SharedBucket(provider.budget, limit, loop=loop, clock=self._clock)
            limiter = self._shared.bucket
        source: LocalSource[KeyT, AnswerT] = LocalSource(limiter)
        return source

    async def aclose(self) -> None:
        """End every lookup with ``ClosedError``, and return when no task and no connection is left.

        A closed client stays closed. It may be called again, and from any task of the client's event loop;
        in another loop, it raises ``WrongLoopError``.
        """
        if self._engine is not None and self._loop not in (None, asyncio.get_running_loop()):
            if self._loop.is_closed():
                raise WrongLoopError("the client's event loop has ended: close a client before its loop ends")
            raise WrongLoopError("close the client in the event loop that it was used in")
        self._is_closed = True
        engine, sender = self._engine, self._sender
        if engine is None or sender is None:
            return
        # A cancelled caller still leaves nothing behind; what is awaited here has been told to end.
        with anyio.CancelScope(shield=True):
            try:
                error = ClosedError("the client was closed before the status was known")
                # What a lent transport connects stays whole; an own one is closed right after.
                await engine.close(error, at_once=self._transport is None)
            finally:
                self._release()
                # The shield does not hold back Task.cancel().
                await sender.aclose()

    async def __aenter__(self) -> Self:
        """Bind the client to this event loop, and return it."""
        self._open(asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StatusClient cannot be pickled; build it anew where it is needed")

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._engine is not None and not self._is_closed:
            # First, because the warning may be an error.
            self._release()
            _warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def _release(self) -> None:
        if self._shared is not None:
            self._shared.release()


def _refuse_one_key(keys: object) -> None:
    if isinstance(keys, str | bytes | int):
        raise TypeError("keys is a list of keys, not one: for one key, use get")


def _checked_timeout(timeout: object) -> float | None:
    if timeout is None:
        return None
    return number("timeout", timeout, what="a number of seconds, or None to wait for ever", above=0)
