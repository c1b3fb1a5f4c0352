"""A call for one key, and what all calls of a client have in common."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic

from .._clock import Clock
from .._model import AnswerT, KeyT
from ..errors import LookupTimeoutError, RateLimitedError, StatusLookupError
from .deadlines import Deadlines
from .dispatcher import Dispatcher
from .lanes import Batcher, Entry


class Line(Generic[KeyT, AnswerT]):
    """What every lookup of one client needs: where keys queue, who sends them, and the time."""

    def __init__(
        self,
        batcher: Batcher[KeyT, AnswerT],
        dispatcher: Dispatcher[KeyT, AnswerT],
        clock: Clock,
        max_batch: int,
    ) -> None:
        self.batcher = batcher
        self.dispatcher = dispatcher
        self.clock = clock
        self.max_batch = max_batch
        self.lookups = 0
        self.deadlines = Deadlines(clock)
        self._feeders: set[asyncio.Task[bool]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()

    def look_up(
        self, key: KeyT, timeout: float | None, loop: asyncio.AbstractEventLoop
    ) -> "SingleLookup[KeyT, AnswerT]":
        """Queue one key and return the future of its end."""
        self.lookups += 1
        lookup: SingleLookup[KeyT, AnswerT] = SingleLookup(loop=loop)
        lookup.line = self
        lookup.timeout = timeout
        lookup.entry = self.batcher.join(key, lookup, self.batcher.first)
        if timeout is not None:
            self.deadlines.add(lookup, timeout)
        if not self.dispatcher.is_asking:
            self.dispatcher.wake()
        return lookup

    def start_feeder(self, feed: Coroutine[Any, Any, bool]) -> "asyncio.Task[bool]":
        """Run what takes a call's keys from elsewhere, until ``aclose`` at the latest."""
        feeder = asyncio.ensure_future(feed)
        self._feeders.add(feeder)
        feeder.add_done_callback(self._feeders.discard)
        return feeder

    async def aclose(self, error: StatusLookupError) -> None:
        """End every lookup with the error, and return when no task is left."""
        self.batcher.close(error)
        # The keys themselves may close the client; their task ends when it comes to the next one.
        tasks = self._feeders - {asyncio.current_task()} | self.dispatcher.stop()
        for task in tasks - self._cancelled:
            task.cancel()
        # A second time would cut off what they do to clean up.
        self._cancelled |= tasks
        if tasks:
            await asyncio.wait(tasks)

    def too_late(self, entry: Entry[KeyT, AnswerT], timeout: float) -> StatusLookupError:
        """Say where a lookup's time went; what others waited for the key before it does not count.

        If the provider's last word was 429, that is the error: it is why the time did not suffice.
        """
        failure = None if entry.failure is None else entry.failure.fresh()
        if failure is not None:
            failure.attempts = len(entry.laps or ())
        if isinstance(failure, RateLimitedError):
            return failure
        now = self.clock.time()
        began_at = now - timeout
        laps = list(entry.laps or ())
        if entry.batch is not None:
            laps.append((entry.batch.asked_at, entry.batch.sealed_at, now))
        elif self.dispatcher.is_asking:
            laps.append((self.dispatcher.asked_at, now, now))
        paced = sum(max(0.0, sealed_at - max(asked_at, began_at)) for asked_at, sealed_at, _ in laps)
        in_flight = sum(max(0.0, over_at - max(sealed_at, began_at)) for _, sealed_at, over_at in laps)
        queued = max(0.0, timeout - paced - in_flight)
        return LookupTimeoutError(
            timeout, queued=queued, paced=paced, in_flight=in_flight, last_failure=failure
        )


class SingleLookup(asyncio.Future["AnswerT | None"], Generic[KeyT, AnswerT]):
    """A call that awaits one key: the future itself is the waiter, for there may be a million of them.

    It is made bare, and ``Line.look_up`` fills it in: an ``__init__`` in Python would cost as much again.
    """

    __slots__ = ("entry", "line", "timeout")
    entry: Entry[KeyT, AnswerT]
    line: Line[KeyT, AnswerT]
    timeout: float | None

    def settle(self, key: KeyT, end: AnswerT | StatusLookupError | None) -> None:
        if self.timeout is not None:
            self.line.deadlines.discard(self, self.timeout)
        if self.done():
            return
        if isinstance(end, StatusLookupError):
            self.set_exception(end.fresh())
            # Its caller may be gone before it can take the error; that is no news for asyncio to report.
            self.exception()
        else:
            self.set_result(end)

    def expire(self, timeout: float) -> None:
        error = self.line.too_late(self.entry, timeout)
        self.withdraw()
        self.settle(self.entry.key, error)

    def withdraw(self) -> None:
        """Take the caller out: its key too, if nobody else wants it and it is not in flight."""
        if self.timeout is not None:
            self.line.deadlines.discard(self, self.timeout)
        self.line.batcher.leave(self.entry, self)
        self.line.dispatcher.rest()
