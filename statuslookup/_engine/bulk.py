"""A call for many keys."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from itertools import islice
from typing import Generic, TypeAlias

from .._model import AnswerT, KeyT
from ..errors import ClosedError, StatusLookupError
from .deadlines import Deadline, Deadlines
from .engine import Engine

Outcomes: TypeAlias = list[tuple[KeyT, AnswerT | StatusLookupError | None]]


async def outcomes_of(
    engine: Engine[KeyT, AnswerT],
    keys: Iterable[KeyT] | AsyncIterable[KeyT],
    timeout: float | None,
) -> AsyncGenerator[Outcomes[KeyT, AnswerT], None]:
    """Yield the outcomes of the keys as they come, a batch or so at a time; what the keys raise ends all."""
    # First, because it refuses what is no iterable.
    iterator = iter(()) if isinstance(keys, AsyncIterable) else iter(keys)
    bulk = BulkLookup(engine, timeout)
    feeder: asyncio.Task[bool] | None = None
    if isinstance(keys, AsyncIterable):
        feeder = engine.start_feeder(_feed(bulk, keys))
        feeder.add_done_callback(lambda _: bulk.notify())
    is_fed = False
    try:
        while True:
            # One that was cancelled because the client was closed has nothing more to say.
            if feeder is not None and feeder.done() and not (bulk.is_over and feeder.cancelled()):
                if feeder.cancelled():
                    raise ClosedError(
                        "the lookups were cut off: the task that takes their keys was cancelled"
                    )
                is_fed = feeder.result()
            # Repeated keys take none of the places in a batch, so one round may leave capacity for more.
            while not is_fed and feeder is None and (capacity := bulk.capacity):
                more = list(islice(iterator, capacity))
                is_fed = len(more) < capacity
                bulk.add(more)
            outcomes = bulk.take_outcomes()
            if outcomes:
                yield outcomes
            elif is_fed and bulk.is_idle:
                return
            elif engine.closed_by is not None:
                raise engine.closed_by.fresh()
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


async def _feed(bulk: "BulkLookup[KeyT, AnswerT]", keys: AsyncIterable[KeyT]) -> bool:
    """Queue the keys; return whether that were all of them."""
    async for key in keys:
        while not bulk.capacity:
            if bulk.is_over:
                return False
            await bulk.changed()
        bulk.add([key])
    return True


class _Portion(Generic[KeyT]):
    """Keys that were added at once, so that they share a deadline."""

    __slots__ = ("deadline", "keys", "left")

    def __init__(self) -> None:
        self.keys: list[KeyT] = []
        self.left = 0
        """How many of them are open."""
        self.deadline: Deadline[_Portion[KeyT], None] | None = None

    def drop(self) -> None:
        """Forget one of the keys; without any, nothing waits for the deadline."""
        self.left -= 1
        if not self.left and self.deadline is not None:
            self.deadline.discard(self)


class BulkLookup(Generic[KeyT, AnswerT]):
    """A call for many keys: keeps two batches of them queued in its own lane, and collects their outcomes."""

    def __init__(self, engine: Engine[KeyT, AnswerT], timeout: float | None) -> None:
        self._engine = engine
        self._timeout = timeout
        self._deadlines: Deadlines[_Portion[KeyT], None] = engine.new_deadlines(self._expire)
        self._lane = engine.open_lane(self.notify)
        self._open: dict[KeyT, _Portion[KeyT]] = {}
        self._repeats: Counter[KeyT] = Counter()
        self._owed = 0
        """How many keys were added whose outcome was not taken yet."""
        self._outcomes: Outcomes[KeyT, AnswerT] = []
        self._is_closed = False
        self._listeners: list[asyncio.Future[None]] = []

    @property
    def is_over(self) -> bool:
        """Whether no key can be added any more: it was closed, or the client was."""
        return self._is_closed or self._engine.closed_by is not None

    @property
    def is_idle(self) -> bool:
        return not self._open and not self._outcomes

    @property
    def capacity(self) -> int:
        """How many keys to add now: none if a batch is queued, too many outcomes wait, or it is over."""
        most = self._engine.max_batch
        queued = self._lane.length
        if queued >= most or self.is_over:
            return 0
        return min(2 * most - queued, 20 * most - self._owed)

    def add(self, keys: Sequence[KeyT]) -> None:
        """Queue keys, whose deadline counts from here; one that is open already shares that one's outcome."""
        self._engine.lookups += len(keys)
        self._owed += len(keys)
        portion: _Portion[KeyT] = _Portion()
        new = portion.keys
        for key in keys:
            if key in self._open:
                self._repeats[key] += 1
            else:
                self._open[key] = portion
                new.append(key)
        portion.left = len(new)
        if new and self._timeout is not None:
            portion.deadline = self._deadlines.of_this_turn(self._timeout)
            portion.deadline.waiting[portion] = None
        self._engine.join_all(new, self, self._lane)

    def settle(self, outcomes: Sequence[tuple[KeyT, AnswerT | StatusLookupError | None]]) -> None:
        for key, outcome in outcomes:
            self._open.pop(key).drop()
            times = 1 + self._repeats.pop(key, 0) if self._repeats else 1
            if isinstance(outcome, StatusLookupError):
                self._outcomes += [(key, outcome.fresh()) for _ in range(times)]
            elif times == 1:
                self._outcomes.append((key, outcome))
            else:
                self._outcomes += [(key, outcome)] * times
        if self._listeners:
            self.notify()

    def notify(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            if not listener.done():
                listener.set_result(None)

    async def changed(self) -> None:
        """Wait until there is an outcome, or maybe capacity, that was not there before."""
        listener = asyncio.get_running_loop().create_future()
        self._listeners.append(listener)
        await listener

    def take_outcomes(self) -> Outcomes[KeyT, AnswerT]:
        """Return the outcomes that came since the last time, which makes capacity for keys."""
        outcomes, self._outcomes = self._outcomes, []
        if outcomes:
            self._owed -= len(outcomes)
            self.notify()
        return outcomes

    def _expire(self, waiting: dict[_Portion[KeyT], None], timeout: float) -> None:
        for portion in waiting:
            for key in portion.keys:
                # One that was answered may have been added anew, with a deadline of its own.
                if self._open.get(key) is portion:
                    error = self._engine.too_late(key, timeout)
                    self._engine.leave(key, self)
                    self.settle([(key, error)])

    def close(self) -> None:
        """Withdraw what is open."""
        self._is_closed = True
        open_keys, self._open = self._open, {}
        for key, portion in open_keys.items():
            portion.drop()
            self._engine.leave(key, self)
        self._engine.close_lane(self._lane)
        # They lead back here: without a cycle, nothing waits for the garbage collector.
        del self._deadlines
