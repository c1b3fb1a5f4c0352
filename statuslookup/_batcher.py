"""Which keys ride in the next request: queues, lanes, and one question for equal keys."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from ._model import AnswerT, KeyT
from .errors import ProviderError, StatusLookupError

AnyKeyT = TypeVar("AnyKeyT", contravariant=True)
AnyAnswerT = TypeVar("AnyAnswerT", contravariant=True)


class Waiter(Protocol[AnyKeyT, AnyAnswerT]):
    """Somebody who wants to know what became of some keys."""

    def settle(self, key: AnyKeyT, end: AnyAnswerT | StatusLookupError | None) -> None:
        """Take the end of a key; its other waiters get the same error object, so hand on ``fresh()`` ones."""


class Entry(Generic[KeyT, AnswerT]):
    """A key whose end is open, and those who wait for it."""

    __slots__ = ("_others", "attempts", "batch", "failure", "key", "lane", "laps", "waiter")

    def __init__(
        self, key: KeyT, lane: "Lane[KeyT, AnswerT]", waiter: "Waiter[KeyT, AnswerT] | None"
    ) -> None:
        self.key = key
        self.lane: Lane[KeyT, AnswerT] | None = lane
        self.waiter = waiter
        # Nearly every key has one waiter, so the rest have a place of their own that is rarely made.
        self._others: dict[Waiter[KeyT, AnswerT], None] | None = None
        self.batch: Batch[KeyT, AnswerT] | None = None
        """The batch that carries the key; ``None`` while it is queued in its lane."""
        self.attempts = 0
        self.failure: ProviderError | None = None
        """What came of the last attempt, if the key is to be asked again."""
        self.laps: list[tuple[float, float, float]] | None = None
        """When each request that failed was asked for, sealed and over."""

    def add(self, waiter: "Waiter[KeyT, AnswerT]") -> None:
        if self.waiter is None or self.waiter is waiter:
            self.waiter = waiter
        elif self._others is None:
            self._others = {waiter: None}
        else:
            self._others[waiter] = None

    def remove(self, waiter: "Waiter[KeyT, AnswerT]") -> None:
        if self._others is not None:
            self._others.pop(waiter, None)
        if self.waiter is waiter:
            self.waiter = self._others.popitem()[0] if self._others else None

    def settle(self, end: AnswerT | StatusLookupError | None) -> None:
        waiter, others = self.waiter, self._others
        # Waiters and batches lead back here: without a cycle, nothing waits for the garbage collector.
        self.waiter = self._others = self.batch = None
        if waiter is not None:
            waiter.settle(self.key, end)
        if others is not None:
            for other in others:
                other.settle(self.key, end)


class Lane(Generic[KeyT, AnswerT]):
    """A queue of entries, first come, first served.

    ``on_taken`` is called after a batch took some, and after the batcher was closed.
    """

    __slots__ = ("_entries", "_size", "is_open", "on_taken")

    def __init__(self, on_taken: Callable[[], object] | None = None) -> None:
        self.on_taken = on_taken
        self.is_open = True
        self._size = 0
        # An entry that left is not searched for: it is passed over when its turn comes.
        self._entries: deque[Entry[KeyT, AnswerT]] = deque()

    def __len__(self) -> int:
        return self._size

    def append(self, entry: Entry[KeyT, AnswerT]) -> None:
        self._entries.append(entry)
        self._size += 1

    def appendleft(self, entry: Entry[KeyT, AnswerT]) -> None:
        self._entries.appendleft(entry)
        self._size += 1

    def left(self) -> None:
        """Note that an entry, whose ``lane`` is another now, is not queued here any more."""
        self._size -= 1
        if not self._size:
            self._entries.clear()
        elif len(self._entries) > 2 * self._size + 64:
            self._entries = deque(self)

    def __iter__(self) -> Iterator[Entry[KeyT, AnswerT]]:
        return (entry for entry in self._entries if entry.lane is self)

    def take(self, most: int, batch: list[Entry[KeyT, AnswerT]]) -> None:
        """Move up to ``most`` entries to the batch."""
        taken = min(most, self._size)
        if not taken:
            return
        self._size -= taken
        pop = self._entries.popleft
        while taken:
            entry = pop()
            if entry.lane is self:
                batch.append(entry)
                taken -= 1
        if self.on_taken is not None:
            self.on_taken()

    def clear(self) -> None:
        self._entries.clear()
        self._size = 0


class Batch(Generic[KeyT, AnswerT]):
    """Keys that were sealed together, for one request."""

    __slots__ = ("asked_at", "entries", "sealed_at")

    def __init__(self, entries: list[Entry[KeyT, AnswerT]], asked_at: float, sealed_at: float) -> None:
        self.entries = entries
        self.asked_at = asked_at
        self.sealed_at = sealed_at

    def keys(self) -> list[KeyT]:
        return [entry.key for entry in self.entries]


class Batcher(Generic[KeyT, AnswerT]):
    """Holds every open key once: queued in a lane, or in flight in a batch.

    It is told the time and does no I/O. The lane ``first`` goes before all others; what it leaves of a
    batch is shared out evenly between them. Within a lane the order is first come, first served.
    """

    def __init__(self) -> None:
        self.first: Lane[KeyT, AnswerT] = Lane()
        self.queued = 0
        self.coalesced = 0
        self.end: StatusLookupError | None = None
        """What ``close`` was given: from then on nothing may join."""
        self._others: deque[Lane[KeyT, AnswerT]] = deque()
        self._open: dict[KeyT, Entry[KeyT, AnswerT]] = {}

    @property
    def in_flight(self) -> int:
        return len(self._open) - self.queued

    def open_lane(self, on_taken: Callable[[], object]) -> Lane[KeyT, AnswerT]:
        """Return a lane that shares with its like what ``first`` leaves."""
        lane: Lane[KeyT, AnswerT] = Lane(on_taken)
        self._others.append(lane)
        return lane

    def close_lane(self, lane: Lane[KeyT, AnswerT]) -> None:
        """Take a lane out; what others still wait for in it goes to ``first``."""
        lane.is_open = False
        # It leads to whoever has the lane: a cycle.
        lane.on_taken = None
        self._others = deque(other for other in self._others if other is not lane)
        for entry in list(lane):
            self._move_to_first(entry)

    def join(
        self, key: KeyT, waiter: Waiter[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]
    ) -> Entry[KeyT, AnswerT]:
        """Let the waiter wait for the key: in the lane, or where the key is already."""
        entry = self._open.get(key)
        if entry is None:
            entry = self._open[key] = Entry(key, lane, waiter)
            lane.append(entry)
            self.queued += 1
            return entry
        self.coalesced += 1
        entry.add(waiter)
        if lane is self.first and entry.lane is not lane:
            self._move_to_first(entry)
        return entry

    def _move_to_first(self, entry: Entry[KeyT, AnswerT]) -> None:
        lane, entry.lane = entry.lane, self.first
        if entry.batch is None:
            if lane is not None:
                lane.left()
            self.first.append(entry)

    def leave(self, entry: Entry[KeyT, AnswerT], waiter: Waiter[KeyT, AnswerT]) -> None:
        """Forget the waiter, and the key too if nobody else waits for it and it is not in flight."""
        entry.remove(waiter)
        if entry.waiter is None and entry.batch is None and self._open.get(entry.key) is entry:
            self._drop(entry)

    def _drop(self, entry: Entry[KeyT, AnswerT]) -> None:
        lane, entry.lane = entry.lane, None
        if lane is not None:
            lane.left()
        del self._open[entry.key]
        self.queued -= 1

    def seal(self, most: int, *, asked_at: float, now: float) -> Batch[KeyT, AnswerT]:
        """Take up to ``most`` keys out of the lanes; ``asked_at`` is when their slot was asked for."""
        entries: list[Entry[KeyT, AnswerT]] = []
        self.first.take(most, entries)
        lanes = [lane for lane in self._others if lane]
        while lanes and len(entries) < most:
            share = max(1, (most - len(entries)) // len(lanes))
            for lane in lanes:
                lane.take(min(share, most - len(entries)), entries)
            lanes = [lane for lane in lanes if lane]
        # Where the places cannot be shared out evenly, another lane is the lucky one next time.
        self._others.rotate(-1)
        self.queued -= len(entries)
        batch = Batch(entries, asked_at, now)
        for entry in entries:
            entry.batch = batch
        return batch

    def finish(
        self, batch: Batch[KeyT, AnswerT], ends: Mapping[KeyT, AnswerT | StatusLookupError | None]
    ) -> None:
        """Settle the keys of the batch that have an end."""
        is_open = self._open
        for entry in batch.entries:
            key = entry.key
            # After ``close`` the key may have been asked for anew, by an entry of its own.
            if key in ends and is_open.get(key) is entry:
                del is_open[key]
                entry.settle(ends[key])

    def put_back(self, entries: Sequence[Entry[KeyT, AnswerT]], *, now: float) -> int:
        """Queue those that are still wanted again, in order, before all others of their lanes; count them."""
        queued_before = self.queued
        for entry in reversed(entries):
            if self._open.get(entry.key) is not entry:
                continue
            if entry.waiter is None:
                del self._open[entry.key]
                entry.batch = None
                continue
            batch, entry.batch = entry.batch, None
            if batch is not None:
                entry.laps = entry.laps or []
                entry.laps.append((batch.asked_at, batch.sealed_at, now))
            if entry.lane is None or not entry.lane.is_open:
                entry.lane = self.first
            entry.lane.appendleft(entry)
            self.queued += 1
        return self.queued - queued_before

    def end_queued(self, error: StatusLookupError) -> None:
        """Settle every key that is not in flight with the error."""
        for entry in [entry for entry in self._open.values() if entry.batch is None]:
            self._drop(entry)
            entry.settle(error)

    def close(self, error: StatusLookupError) -> None:
        """Settle every key with the error."""
        self.end = error
        entries = list(self._open.values())
        self._open.clear()
        self.first.clear()
        for lane in self._others:
            lane.clear()
        self.queued = 0
        for entry in entries:
            entry.settle(error)
        for lane in self._others:
            if lane.on_taken is not None:
                lane.on_taken()
