"""The tracker: webhooks in, lookups for what they lost, and what became of each message out."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Generic, NoReturn, Self

import anyio

from .._arguments import check_methods, number, shown_unfinished
from .._client import StatusClient
from .._clock import Clock
from .._model import AnswerT, DeliveryState, KeyT
from ..providers.base import Provider
from .following import Following
from .readers import Reader
from .stores.base import Store
from .values import Change, Schedule, TrackerStats

_ENDS = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ)


class StatusTracker(Generic[KeyT, AnswerT]):
    """Knows what became of messages: webhooks first, and lookups for what they lost.

    ``wait`` awaits the end of one message, ``watch`` yields the changes of some, and ``changes`` those of
    all. ``feed`` it what ``parse_webhook`` of the provider gives; without webhooks, it finds all by lookups.

    - ``client``: looks up what webhooks do not tell; close it after the tracker.
    - ``schedule``: when it looks up.
    - ``store``: keeps what is tracked when the process ends, such as a ``SQLiteStore``. Who has the open
      messages in a database of their own tracks them at start with ``since=``, and needs none.
    - ``clock``, ``wall_clock``: the client's, and the time in seconds since 1970; other ones are for tests.

    A bad argument is a ``TypeError`` or ``ValueError``, a closed client a ``ClosedError``.

    A tracker belongs to the event loop that uses it first. Open and close it with ``async with``. While no
    message is open, it does nothing.
    """

    def __init__(
        self,
        client: StatusClient[KeyT, AnswerT],
        *,
        schedule: Schedule = Schedule(),  # noqa: B008 # frozen, and shown as it is in help()
        store: Store | None = None,
        clock: Clock | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        if not isinstance(client, StatusClient):
            raise TypeError(f"client is a StatusClient, not {type(client).__name__}")
        if not isinstance(schedule, Schedule):
            raise TypeError(
                f"schedule is a Schedule, such as Schedule(first=60), not {type(schedule).__name__}"
            )
        if store is not None:
            check_methods("store", store, ("load", "save", "aclose"), "None or a SQLiteStore(path)")
        clock = client._clock if clock is None else clock
        check_methods("clock", clock, ("time", "call_later"), "an object with time() and call_later()")
        # Not in the signature, where help() would show it as a function that is built in.
        wall_clock = time.time if wall_clock is None else wall_clock
        if not callable(wall_clock):
            raise TypeError(f"wall_clock is a function that returns seconds, not {type(wall_clock).__name__}")
        self._clock = clock
        self._wall_clock = wall_clock
        self._following = Following(client, schedule, store, clock=clock, wall_clock=wall_clock)
        self._closing: asyncio.Task[None] | None = None

    @shown_unfinished
    def __repr__(self) -> str:
        return f"<StatusTracker {self._following.condition} {self.stats()}>"

    @property
    def provider(self) -> Provider[KeyT, AnswerT]:
        """The provider of the client: its ``parse_webhook`` gives what ``feed`` takes."""
        return self._following.provider

    @property
    def is_closed(self) -> bool:
        """Whether the tracker was closed: from then on, it takes nothing more."""
        return self._following.is_closed

    async def track(
        self, *keys: KeyT, until: DeliveryState = DeliveryState.DELIVERED, since: datetime | None = None
    ) -> None:
        """Track messages; when it returns, the store has them.

        Best before a message is sent, by its customId, which must be unique: a customId that was used
        before answers for the earlier message until SMSFire knows the later one. ``until`` is DELIVERED or
        READ; of several callers the one who wants most counts. ``since`` is when the messages were sent, if
        that is a while ago: those that are at least as old as the schedule's ``first`` are asked for at
        once. Raises ``TypeError`` or ``ValueError`` for a bad argument before anything is tracked, and
        ``StoreError`` if the store fails: then the messages are tracked, but would not survive the process.
        """
        checked = [self._following.checked(key) for key in keys]
        until = _checked_state(until, "until is a DeliveryState, such as DELIVERED or READ")
        age = None
        if since is not None:
            if not isinstance(since, datetime):
                raise TypeError(f"since is a datetime, not {type(since).__name__}")
            if since.tzinfo is None:
                raise ValueError("since must be aware: give it a tzinfo")
            age = max(0.0, self._wall_clock() - since.timestamp())
        await self._following.open()
        self._following.track(checked, until, age=age)
        await self._following.saved()

    async def wait(
        self,
        key: KeyT,
        *,
        until: DeliveryState | Callable[[AnswerT], bool] = DeliveryState.DELIVERED,
        timeout: float | None = None,
    ) -> AnswerT | None:
        """Return the status that reached ``until`` or ended otherwise; ``None`` if the message is unknown.

        Look at its ``state``: a failure is no exception. ``until`` is a state, or a function of a status that
        says whether it is enough. A key that is not tracked yet is. Whoever is cancelled, or runs out of
        time (``WaitTimeoutError`` after ``timeout`` seconds), leaves it tracked. A tracker that is closed is
        a ``ClosedError``.
        """
        key = self._following.checked(key)
        if not callable(until):
            until = _checked_state(until, "until is a DeliveryState, or a function of a status")
        if timeout is not None:
            timeout = number(
                "timeout", timeout, what="a number of seconds, or None to wait for ever", above=0
            )
        deadline = None if timeout is None else self._clock.time() + timeout
        await self._following.open()
        wait = self._following.join(key, until)
        timer = None
        is_served = False
        try:
            if timeout is not None and deadline is not None:
                left = max(0.0, deadline - self._clock.time())
                timer = self._clock.call_later(left, self._following.expire, key, wait, timeout)
            status, is_over = await wait
            is_served = True
        finally:
            if timer is not None:
                timer.cancel()
            self._following.leave(key, wait, until, is_served=is_served)
            # An error's traceback leads here, and from here to the error.
            del wait
        if is_over:
            self._following.forget_if_taken(key)
        return status

    def watch(
        self, keys: Iterable[KeyT], *, until: DeliveryState = DeliveryState.DELIVERED
    ) -> AsyncGenerator[Change[KeyT, AnswerT], None]:
        """Track the keys, yield each one's changes, and end when all are over.

        It begins with what is known of them. A change is handed over when the loop asks for the next.
        Without any keys it ends at once. A bad key is a ``TypeError`` or ``ValueError``.
        """
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise TypeError("keys is a list of keys, not one: for one key, use wait")
        until = _checked_state(until, "until is a DeliveryState, such as DELIVERED or READ")
        return Reader(self._following, [self._following.checked(key) for key in keys], until)

    def changes(self) -> AsyncGenerator[Change[KeyT, AnswerT], None]:
        """Yield the changes of all keys until the tracker is closed; one such loop at a time.

        A change is handed over when the loop asks for the next: what it was busy with in a crash, or when it
        raised, comes again in the next loop, but for an end that a ``wait`` or ``watch`` took in between. A
        slow reader skips states, never the last. A second loop at the same time is a ``RuntimeError``, unless
        the first was cancelled while it waited.
        """
        return Reader(self._following, None, DeliveryState.DELIVERED)

    def feed(self, statuses: Iterable[AnswerT]) -> None:
        """Take in what ``parse_webhook`` gave: at once, without waiting.

        What is about no open key does nothing; nor does anything before the store is open. A closed tracker
        is a ``ClosedError``, and what is no status of the provider a ``TypeError``. Outside the tracker's
        event loop, as in a web handler that is no ``async def``, it is a ``WrongLoopError``; there, call
        ``loop.call_soon_threadsafe(tracker.feed, statuses)``.
        """
        if isinstance(statuses, str | bytes | dict) or not isinstance(statuses, Iterable):
            raise TypeError("statuses is the list that parse_webhook gives")
        self._following.feed(statuses)

    def open(self) -> Iterator[KeyT]:
        """Return the keys of the messages that are followed now."""
        return self._following.ledger.open()

    def stats(self) -> TrackerStats:
        """Return the counts since the tracker was made, and what it is doing at this moment."""
        return self._following.stats()

    async def aclose(self) -> None:
        """Stop asking, end every wait with ``ClosedError`` and every loop, and save what is left.

        Close the tracker before its client. It may be called again, and from any task of its event loop.
        """
        self._following.check_loop("close the tracker in the event loop that it was used in")
        if self._closing is None or self._closing.cancelled():
            self._closing = asyncio.ensure_future(self._following.close())
        closing = self._closing
        # A cancelled caller still leaves nothing behind.
        with anyio.CancelScope(shield=True):
            await asyncio.wait([closing])
        closing.result()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StatusTracker cannot be pickled; build it anew where it is needed")

    async def __aenter__(self) -> Self:
        """Open the store, if there is one, and return the tracker."""
        await self._following.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the tracker."""
        await self.aclose()


def _checked_state(until: object, expected: str) -> DeliveryState:
    if not isinstance(until, DeliveryState):
        raise TypeError(f"{expected}, not {type(until).__name__}")
    if until not in _ENDS:
        raise ValueError(f"until is how far a message is to get, such as DELIVERED or READ, not {until}")
    return until
