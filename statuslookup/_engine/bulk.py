"""A call for many keys."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from itertools import islice, takewhile
from typing import Generic, TypeAlias

from .._clock import Timer
from .._model import AnswerT, KeyT
from ..errors import StatusLookupError
from .lanes import Entry
from .lookup import Line

Ends: TypeAlias = list[tuple[KeyT, AnswerT | StatusLookupError | None]]


async def ends_of(
    line: Line[KeyT, AnswerT],
    keys: Iterable[KeyT] | AsyncIterable[KeyT],
    timeout: float | None,
    check: Callable[[KeyT], KeyT],
) -> AsyncGenerator[Ends[KeyT, AnswerT], None]:
    """Yield the ends of the keys as they come, a batch or so at a time.

    ``check`` sees each key just before it is queued. What is raised by it, or by the keys, ends everything.
    """
    # First, because it refuses what is no iterable.
    iterator = iter(()) if isinstance(keys, AsyncIterable) else iter(keys)
    bulk = BulkLookup(line, timeout)
    feeder: asyncio.Task[bool] | None = None
    if isinstance(keys, AsyncIterable):
        feeder = line.start_feeder(_feed(bulk, keys, check))
        feeder.add_done_callback(lambda _: bulk.notify())
    is_fed = False
    try:
        while True:
            # One that was cancelled because the client was closed has nothing more to say.
            if feeder is not None and feeder.done() and not (bulk.is_over and feeder.cancelled()):
                is_fed = feeder.result()
            # Repeated keys take none of the places in a batch, so one round may leave room for more.
            while not is_fed and feeder is None and (room := bulk.room):
                more = [check(key) for key in islice(iterator, room)]
                is_fed = len(more) < room
                bulk.add(more)
            ends = bulk.take_ends()
            if ends:
                yield ends
            elif is_fed and bulk.is_idle:
                return
            elif line.batcher.end is not None:
                raise line.batcher.end.fresh()
            else:
                await bulk.changed()
    finally:
        bulk.close()
        if feeder is not None:
            feeder.cancel()
            await asyncio.wait([feeder])
            if not feeder.cancelled():
                # Whoever leaves early does not want it; that is no news for asyncio to report.
                feeder.exception()


async def _feed(
    bulk: "BulkLookup[KeyT, AnswerT]", keys: AsyncIterable[KeyT], check: Callable[[KeyT], KeyT]
) -> bool:
    """Queue the keys; return whether that were all of them."""
    async for key in keys:
        checked = check(key)
        while not bulk.room:
            if bulk.is_over:
                return False
            await bulk.changed()
        bulk.add([checked])
    return True


class BulkLookup(Generic[KeyT, AnswerT]):
    """A call for many keys: keeps two batches of them queued in its own lane, and collects their ends."""

    def __init__(self, line: Line[KeyT, AnswerT], timeout: float | None) -> None:
        self._line = line
        self._timeout = timeout
        self._lane = line.batcher.open_lane(self.notify)
        self._open: dict[KeyT, tuple[Entry[KeyT, AnswerT], float]] = {}
        self._repeats: Counter[KeyT] = Counter()
        self._owed = 0
        """How many keys were added whose end was not taken yet."""
        self._ends: Ends[KeyT, AnswerT] = []
        self._timer: Timer | None = None
        self._is_closed = False
        self._listeners: list[asyncio.Future[None]] = []

    @property
    def is_over(self) -> bool:
        """True if no key can be added any more: it was closed, or the client was."""
        return self._is_closed or self._line.batcher.end is not None

    @property
    def is_idle(self) -> bool:
        return not self._open and not self._ends

    @property
    def room(self) -> int:
        """How many keys to add now: none if a batch is queued, too many ends wait, or it is over."""
        if self.is_over:
            return 0
        most = self._line.max_batch
        if len(self._lane) >= most:
            return 0
        return min(2 * most - len(self._lane), 20 * most - self._owed)

    def add(self, keys: Sequence[KeyT]) -> None:
        """Queue keys, whose deadline counts from here; one that is open already ends with that one."""
        line = self._line
        line.lookups += len(keys)
        self._owed += len(keys)
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
        self.notify()

    def notify(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            if not listener.done():
                listener.set_result(None)

    async def changed(self) -> None:
        """Wait until there is an end, or maybe room, that was not there before."""
        listener = asyncio.get_running_loop().create_future()
        self._listeners.append(listener)
        await listener

    def take_ends(self) -> Ends[KeyT, AnswerT]:
        """Return the ends that came since the last time, which makes room for keys."""
        ends, self._ends = self._ends, []
        if ends:
            self._owed -= len(ends)
            self.notify()
        return ends

    def _expire(self, timeout: float) -> None:
        self._timer = None
        now = self._line.clock.time()
        # Those who were queued first come first, and so do their deadlines.
        late = list(takewhile(lambda item: item[1][1] <= now, self._open.items()))
        for key, (entry, _) in late:
            error = self._line.too_late(entry, timeout)
            self._line.batcher.leave(entry, self)
            self.settle(key, error)
        self._line.dispatcher.rest()
        if self._open:
            _, next_deadline = next(iter(self._open.values()))
            self._timer = self._line.clock.call_later(next_deadline - now, self._expire, timeout)

    def close(self) -> None:
        """Withdraw what is open."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for entry, _ in self._open.values():
            self._line.batcher.leave(entry, self)
        self._open.clear()
        self._line.batcher.close_lane(self._lane)
        self._line.dispatcher.rest()
