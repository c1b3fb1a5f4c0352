"""Which keys go next: lanes in which they queue, and batches that are sealed together."""

import asyncio
from asyncio import Future
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeAlias, TypeVar

from .._model import AnswerT, KeyT
from ..errors import ProviderError, StatusLookupError

AnyKeyT = TypeVar("AnyKeyT", contravariant=True)
AnyAnswerT = TypeVar("AnyAnswerT", contravariant=True)


class Collector(Protocol[AnyKeyT, AnyAnswerT]):
    """A call for many keys: it collects their outcomes."""

    def settle(self, outcomes: Sequence[tuple[AnyKeyT, AnyAnswerT | StatusLookupError | None]]) -> None:
        """Take the outcomes of keys; others get the same error objects, so hand on ``fresh()`` ones."""


Waiter: TypeAlias = asyncio.Future[AnswerT | None] | Collector[KeyT, AnswerT]
"""Who waits for a key: the future of a call for one key, or a call for many."""
Collected: TypeAlias = defaultdict[
    Collector[KeyT, AnswerT], list[tuple[KeyT, AnswerT | StatusLookupError | None]]
]
"""What is to be handed to each call for many keys, all at once."""


class OpenKey(Generic[KeyT, AnswerT]):
    """A key that has no outcome yet, and those who wait for it."""

    __slots__ = ("_others", "attempts", "batch", "failure", "is_queued", "key", "lane", "laps", "waiter")

    def __init__(self, key: KeyT, lane: "Lane[KeyT, AnswerT]", waiter: Waiter[AnswerT, KeyT]) -> None:
        self.key = key
        self.lane = lane
        """Where it queues, now or if it is to be asked again: in the first lane, or in that of ``waiter``."""
        self.waiter: Waiter[AnswerT, KeyT] | None = waiter
        # Nearly every key has one waiter, so the rest have a place of their own that is rarely made.
        self._others: dict[Waiter[AnswerT, KeyT], Lane[KeyT, AnswerT]] | None = None
        self.is_queued = False
        """Whether it is in its lane; a lane passes over what has left it."""
        self.batch: Batch[KeyT, AnswerT] | None = None
        """The batch that carries the key; ``None`` while it is queued."""
        self.attempts = 0
        self.failure: ProviderError | None = None
        """What came of the last attempt, if the key is to be asked again."""
        self.laps: list[tuple[float, float, float]] | None = None
        """When the grant of each attempt that failed was asked for, when it came, and when it was over."""

    def is_awaited_by(self, waiter: Waiter[AnswerT, KeyT]) -> bool:
        return self.waiter is waiter or (self._others is not None and waiter in self._others)

    def add(self, waiter: Waiter[AnswerT, KeyT], lane: "Lane[KeyT, AnswerT]") -> bool:
        """Let one more wait; return whether it is the only one, because all others have left."""
        if self.waiter is None:
            self.waiter = waiter
            return True
        if self._others is None:
            self._others = {}
        self._others[waiter] = lane
        return False

    def remove(self, waiter: Waiter[AnswerT, KeyT]) -> "Lane[KeyT, AnswerT] | None":
        """Forget the waiter; if another takes the place of ``self.waiter``, return that one's lane."""
        if self.waiter is not waiter:
            if self._others is not None:
                self._others.pop(waiter, None)
            # It stays where it is.
            return self.lane
        if not self._others:
            self.waiter = None
            return None
        self.waiter, lane = self._others.popitem()
        return lane

    def settle(self, outcome: AnswerT | StatusLookupError | None, collected: Collected[KeyT, AnswerT]) -> int:
        """Hand the outcome to all who wait, or have it collected for them, and count them."""
        waiter, others = self.waiter, self._others
        # Waiters and batches lead back here: without a cycle, nothing waits for the garbage collector.
        self.waiter = self._others = self.batch = None
        if others is None and isinstance(waiter, Future) and not isinstance(outcome, StatusLookupError):
            # What nearly every key comes to.
            if not waiter.done():
                waiter.set_result(outcome)
            return 1
        if waiter is not None:
            _hand(waiter, self.key, outcome, collected)
        if others is None:
            return 1
        for other in others:
            _hand(other, self.key, outcome, collected)
        return 1 + len(others)

    def note_lap(self, asked_at: float, sealed_at: float, over_at: float) -> None:
        if self.laps is None:
            self.laps = []
        self.laps.append((asked_at, sealed_at, over_at))


def _hand(
    waiter: Waiter[AnswerT, KeyT],
    key: KeyT,
    outcome: AnswerT | StatusLookupError | None,
    collected: Collected[KeyT, AnswerT],
) -> None:
    if not isinstance(waiter, asyncio.Future):
        collected[waiter].append((key, outcome))
    elif waiter.done():
        pass
    elif isinstance(outcome, StatusLookupError):
        waiter.set_exception(outcome.fresh())
        # Its caller may be gone before it can take the error; that is no news for asyncio to report.
        waiter.exception()
    else:
        waiter.set_result(outcome)


class Lane(Generic[KeyT, AnswerT]):
    """A queue of open keys, first come, first served.

    ``on_capacity`` is called when there are fewer than before: a batch took some, one left, or all did.
    """

    __slots__ = ("_queue", "_turns", "length", "on_capacity")

    def __init__(
        self,
        on_capacity: Callable[[], object] | None = None,
        turns: "OrderedDict[Lane[KeyT, AnswerT], None] | None" = None,
    ) -> None:
        self.on_capacity = on_capacity
        self.length = 0
        self._queue: deque[OpenKey[KeyT, AnswerT]] = deque()
        # The lanes that hold something, the next one first; this one keeps its own place in it.
        self._turns = turns

    def append(self, open_key: OpenKey[KeyT, AnswerT], *, is_first: bool = False) -> None:
        """Queue the key after all others, or before them."""
        if is_first:
            self._queue.appendleft(open_key)
        else:
            self._queue.append(open_key)
        open_key.is_queued = True
        self.length += 1
        if self._turns is not None:
            self._turns[self] = None

    def extend(self, open_keys: Sequence[OpenKey[KeyT, AnswerT]]) -> None:
        """Queue the keys, at least one, after all others."""
        self._queue.extend(open_keys)
        for open_key in open_keys:
            open_key.is_queued = True
        self.length += len(open_keys)
        if self._turns is not None:
            self._turns[self] = None

    def drop(self, open_key: OpenKey[KeyT, AnswerT]) -> None:
        """Let go of a key for good: it is passed over later, because finding it in the queue takes long."""
        open_key.is_queued = False
        self.length -= 1
        if len(self._queue) > 2 * self.length:
            self._queue = deque(each for each in self._queue if each.is_queued)
        self._note_fewer()

    def remove(self, open_key: OpenKey[KeyT, AnswerT]) -> None:
        """Take out a key that may come back; only lanes that hold two batches at most are searched."""
        self._queue.remove(open_key)
        open_key.is_queued = False
        self.length -= 1
        self._note_fewer()

    def take(self, most: int, batch: list[OpenKey[KeyT, AnswerT]]) -> None:
        """Move up to ``most`` keys to the batch, and go to the end of the turns."""
        queue = self._queue
        taken = min(most, self.length)
        if not taken:
            return
        end = len(batch) + taken
        while len(batch) < end:
            open_key = queue.popleft()
            if open_key.is_queued:
                open_key.is_queued = False
                batch.append(open_key)
        self.length -= taken
        if not self.length:
            queue.clear()
        if self._turns is not None:
            self._turns.move_to_end(self)
        self._note_fewer()

    def take_out(self, wanted: set[OpenKey[KeyT, AnswerT]]) -> None:
        """Take out queued keys that may come back, wherever they stand; usually they are at the front."""
        queue = self._queue
        passed: list[OpenKey[KeyT, AnswerT]] = []
        left = len(wanted)
        while left:
            open_key = queue.popleft()
            if open_key in wanted:
                open_key.is_queued = False
                left -= 1
            elif open_key.is_queued:
                passed.append(open_key)
        queue.extendleft(reversed(passed))
        self.length -= len(wanted)
        self._note_fewer()

    def queued(self) -> Iterator[OpenKey[KeyT, AnswerT]]:
        """Go through the keys in the order in which they will be taken."""
        return (open_key for open_key in self._queue if open_key.is_queued)

    def clear(self) -> None:
        self._queue.clear()
        self.length = 0
        self._note_fewer()

    def _note_fewer(self) -> None:
        if self._turns is not None and not self.length:
            self._turns.pop(self, None)
        if self.on_capacity is not None:
            self.on_capacity()


class Batch(Generic[KeyT, AnswerT]):
    """Keys that were sealed together, for one exchange."""

    __slots__ = ("asked_at", "open_keys", "sealed_at")

    def __init__(self, open_keys: list[OpenKey[KeyT, AnswerT]]) -> None:
        self.open_keys = open_keys
        """Those that have no outcome yet."""
        self.asked_at = self.sealed_at = 0.0
        """When its grant was asked for, and when it came."""

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for one of its keys."""
        return any(open_key.waiter is not None for open_key in self.open_keys)

    def keys(self) -> list[KeyT]:
        return [open_key.key for open_key in self.open_keys]

    def take_out(self, open_keys: Sequence[OpenKey[KeyT, AnswerT]]) -> None:
        """Let go of keys that are to be asked again."""
        taken = set(open_keys)
        self.open_keys = [open_key for open_key in self.open_keys if open_key not in taken]


class Lanes(Generic[KeyT, AnswerT]):
    """Where keys queue until they are sealed: the lane ``first``, and one for each call for many keys.

    ``first`` goes before all others; what it leaves of a batch is shared out evenly between them. Within a
    lane the order is first come, first served.
    """

    def __init__(self) -> None:
        self.first: Lane[KeyT, AnswerT] = Lane()
        self.queued = 0
        self._others: dict[Lane[KeyT, AnswerT], None] = {}
        self._turns: OrderedDict[Lane[KeyT, AnswerT], None] = OrderedDict()

    def open_lane(self, on_capacity: Callable[[], object]) -> Lane[KeyT, AnswerT]:
        """Return a lane that shares with its like what ``first`` leaves."""
        lane: Lane[KeyT, AnswerT] = Lane(on_capacity, self._turns)
        self._others[lane] = None
        return lane

    def close_lane(self, lane: Lane[KeyT, AnswerT]) -> None:
        """Take out a lane whose waiters have left all their keys."""
        # It leads to whoever has the lane: a cycle.
        lane.on_capacity = None
        del self._others[lane]

    def add_first(self, open_key: OpenKey[KeyT, AnswerT]) -> None:
        """Queue the key before all others of its lane."""
        open_key.lane.append(open_key, is_first=True)
        self.queued += 1

    def drop(self, open_key: OpenKey[KeyT, AnswerT]) -> None:
        """Let go of a queued key for good."""
        open_key.lane.drop(open_key)
        self.queued -= 1

    def move(self, open_key: OpenKey[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]) -> None:
        """Let the key queue in another lane, now or when it is to be asked again."""
        left, open_key.lane = open_key.lane, lane
        if open_key.is_queued and left is not lane:
            left.remove(open_key)
            lane.append(open_key)

    def seal(self, most: int) -> Batch[KeyT, AnswerT]:
        """Take up to ``most`` keys out of the lanes."""
        sealed: list[OpenKey[KeyT, AnswerT]] = []
        self.first.take(most, sealed)
        turns = self._turns
        while turns and (places := most - len(sealed)):
            share = max(1, places // len(turns))
            # Who took its turn is last in the next round, so what no number divides goes round too.
            for lane in list(islice(turns, places)):
                lane.take(share, sealed)
        self.queued -= len(sealed)
        batch = Batch(sealed)
        for open_key in sealed:
            open_key.batch = batch
        return batch

    def seal_keys(self, open_keys: Sequence[OpenKey[KeyT, AnswerT]], batch: Batch[KeyT, AnswerT]) -> None:
        """Move queued keys to the batch, wherever in the lanes they stand."""
        by_lane: dict[Lane[KeyT, AnswerT], set[OpenKey[KeyT, AnswerT]]] = {}
        for open_key in open_keys:
            by_lane.setdefault(open_key.lane, set()).add(open_key)
            open_key.batch = batch
        for lane, wanted in by_lane.items():
            lane.take_out(wanted)
        self.queued -= len(open_keys)
        batch.open_keys += open_keys

    def front(self, most: int) -> tuple[list[KeyT], list[KeyT]]:
        """Return up to ``most`` keys of the lane ``first``, and as many of all others, shared out evenly."""
        first = [open_key.key for open_key in islice(self.first.queued(), most)]
        others: list[KeyT] = []
        lanes = deque(lane.queued() for lane in self._turns)
        while lanes and len(others) < most:
            open_key = next(lanes[0], None)
            if open_key is None:
                lanes.popleft()
            else:
                others.append(open_key.key)
                lanes.rotate(-1)
        return first, others

    def clear(self) -> None:
        self.queued = 0
        self.first.clear()
        for lane in self._others:
            lane.clear()
