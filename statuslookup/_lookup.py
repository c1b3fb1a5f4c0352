"""Those who wait for keys: a call for one key, and a call for many."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Generic

from ._batcher import Batcher, Entry
from ._clock import Clock, Timer
from ._deadlines import Deadlines
from ._dispatch import Dispatcher
from ._model import AnswerT, KeyT
from .errors import LookupTimeoutError, RateLimitedError, StatusLookupError


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
        self.deadlines = Deadlines(clock)

    def look_up(
        self, key: KeyT, timeout: float | None, loop: asyncio.AbstractEventLoop
    ) -> "SingleLookup[KeyT, AnswerT]":
        """Queue one key and return the future of its end."""
        lookup: SingleLookup[KeyT, AnswerT] = SingleLookup(loop=loop)
        lookup.line = self
        lookup.timeout = timeout
        lookup.entry = self.batcher.join(key, lookup, self.batcher.first)
        if timeout is not None:
            self.deadlines.add(lookup, timeout)
        if not self.dispatcher.is_asking:
            self.dispatcher.wake()
        return lookup

    def too_late(self, entry: Entry[KeyT, AnswerT], timeout: float) -> StatusLookupError:
        """Say where a lookup's time went; what others waited for the key before it does not count.

        If the provider's last word was 429, that is the error: it is why the time did not suffice.
        """
        if isinstance(entry.failure, RateLimitedError):
            error = entry.failure.fresh()
            error.attempts = len(entry.laps or ())
            return error
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
        return LookupTimeoutError(timeout, queued=queued, paced=paced, in_flight=in_flight)


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


class BulkLookup(Generic[KeyT, AnswerT]):
    """A call for many keys: keeps two batches of them queued in its own lane, and collects their ends."""

    def __init__(self, line: Line[KeyT, AnswerT], timeout: float | None) -> None:
        self._line = line
        self._timeout = timeout
        self._lane = line.batcher.open_lane(self._notify)
        self._open: dict[KeyT, tuple[Entry[KeyT, AnswerT], float]] = {}
        self._repeats: Counter[KeyT] = Counter()
        self._ends: list[tuple[KeyT, AnswerT | StatusLookupError | None]] = []
        self._timer: Timer | None = None
        self._has_news = False
        self._news: asyncio.Future[None] | None = None

    @property
    def is_idle(self) -> bool:
        return not self._open and not self._ends

    @property
    def room(self) -> int:
        """How many keys to add now: none while a batch is queued, or while too many ends were not fetched."""
        most = self._line.max_batch
        if len(self._lane) >= most or len(self._open) + len(self._ends) >= 20 * most:
            return 0
        return 2 * most - len(self._lane)

    def add(self, keys: Sequence[KeyT]) -> None:
        """Queue keys; their deadline counts from here."""
        line = self._line
        deadline = line.clock.time() + (self._timeout or 0.0)
        for key in keys:
            if key in self._open:
                self._repeats[key] += 1
            else:
                self._open[key] = line.batcher.join(key, self, self._lane), deadline
        if self._timeout is not None and self._timer is None:
            self._timer = line.clock.call_later(self._timeout, self._expire, self._timeout)
        line.dispatcher.wake()

    def settle(self, key: KeyT, end: AnswerT | StatusLookupError | None) -> None:
        del self._open[key]
        for _ in range(1 + (self._repeats.pop(key, 0) if self._repeats else 0)):
            self._ends.append((key, end.fresh() if isinstance(end, StatusLookupError) else end))
        self._notify()

    def _notify(self) -> None:
        self._has_news = True
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def ends(self) -> list[tuple[KeyT, AnswerT | StatusLookupError | None]]:
        """Wait until there is an end, or room; return the ends that came since the last time."""
        if not self._has_news:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        self._has_news = False
        ends, self._ends = self._ends, []
        return ends

    def _expire(self, timeout: float) -> None:
        self._timer = None
        now = self._line.clock.time()
        late = [(key, entry) for key, (entry, deadline) in self._open.items() if deadline <= now]
        for key, entry in late:
            error = self._line.too_late(entry, timeout)
            self._line.batcher.leave(entry, self)
            self.settle(key, error)
        self._line.dispatcher.rest()
        if self._open:
            next_deadline = min(deadline for _, deadline in self._open.values())
            self._timer = self._line.clock.call_later(next_deadline - now, self._expire, timeout)

    def close(self) -> None:
        """Withdraw what is open."""
        if self._timer is not None:
            self._timer.cancel()
        for entry, _ in self._open.values():
            self._line.batcher.leave(entry, self)
        self._open.clear()
        self._line.batcher.close_lane(self._lane)
        self._line.dispatcher.rest()
