"""Which keys ride in the next request: queues, lanes, and one question for equal keys."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Generic, Protocol, TypeVar

from .._model import AnswerT, KeyT
from ..errors import ProviderError, StatusLookupError

AnyKeyT = TypeVar("AnyKeyT", contravariant=True)
AnyAnswerT = TypeVar("AnyAnswerT", contravariant=True)


class Waiter(Protocol[AnyKeyT, AnyAnswerT]):
    """Somebody who wants to know what became of some keys."""

    def settle(self, key: AnyKeyT, end: AnyAnswerT | StatusLookupError | None) -> None:
        """Take the end of a key; its other waiters get the same error object, so hand on ``fresh()`` ones."""


class Entry(Generic[KeyT, AnswerT]):
    """A key whose end is open, and those who wait for it."""

    __slots__ = ("_others", "attempts", "batch", "failure", "key", "lane", "laps", "waiter")

    def __init__(self, key: KeyT, lane: "Lane[KeyT, AnswerT]", waiter: "Waiter[KeyT, AnswerT]") -> None:
        self.key = key
        self.lane = lane
        """Where it queues, now or if it is to be asked again: in the first lane, or in that of ``waiter``."""
        self.waiter: Waiter[KeyT, AnswerT] | None = waiter
        # Nearly every key has one waiter, so the rest have a place of their own that is rarely made.
        self._others: dict[Waiter[KeyT, AnswerT], Lane[KeyT, AnswerT]] | None = None
        self.batch: Batch[KeyT, AnswerT] | None = None
        """The batch that carries the key; ``None`` while it is queued in its lane."""
        self.attempts = 0
        self.failure: ProviderError | None = None
        """What came of the last attempt, if the key is to be asked again."""
        self.laps: list[tuple[float, float, float]] | None = None
        """When each request that failed was asked for, sealed and over."""

    def add(self, waiter: "Waiter[KeyT, AnswerT]", lane: "Lane[KeyT, AnswerT]") -> None:
        if self.waiter is None:
            # It is in flight, and its waiters have left, maybe with their lanes.
            self.waiter, self.lane = waiter, lane
        elif self._others is None:
            self._others = {waiter: lane}
        else:
            self._others[waiter] = lane

    def remove(self, waiter: "Waiter[KeyT, AnswerT]") -> "Lane[KeyT, AnswerT] | None":
        """Forget the waiter; if another takes the place of ``self.waiter``, return that one's lane."""
        if self.waiter is not waiter:
            if self._others is not None:
                self._others.pop(waiter, None)
            return None
        if not self._others:
            self.waiter = None
            return None
        self.waiter, lane = self._others.popitem()
        return lane

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

    ``on_room`` is called when there are fewer than before: a batch took some, one left, or all were ended.
    """

    __slots__ = ("_entries", "_turns", "on_room")

    def __init__(
        self,
        on_room: Callable[[], object] | None = None,
        turns: "OrderedDict[Lane[KeyT, AnswerT], None] | None" = None,
    ) -> None:
        self.on_room = on_room
        # A dict finds its first key by going over all that were deleted before it; an ordered one does not.
        self._entries: OrderedDict[Entry[KeyT, AnswerT], None] = OrderedDict()
        # The lanes that hold something, the next one first; this one keeps its own place in it.
        self._turns = turns

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, entry: Entry[KeyT, AnswerT]) -> None:
        self._entries[entry] = None
        if self._turns is not None:
            self._turns[self] = None

    def appendleft(self, entry: Entry[KeyT, AnswerT]) -> None:
        self.append(entry)
        self._entries.move_to_end(entry, last=False)

    def remove(self, entry: Entry[KeyT, AnswerT]) -> None:
        del self._entries[entry]
        self._note_fewer()

    def take(self, most: int, batch: list[Entry[KeyT, AnswerT]]) -> None:
        """Move up to ``most`` entries to the batch, and go to the end of the turns."""
        entries = self._entries
        taken = min(most, len(entries))
        if not taken:
            return
        batch.extend(entries.popitem(last=False)[0] for _ in range(taken))
        if self._turns is not None:
            self._turns.move_to_end(self)
        self._note_fewer()

    def clear(self) -> None:
        self._entries.clear()
        self._note_fewer()

    def _note_fewer(self) -> None:
        if self._turns is not None and not self._entries:
            self._turns.pop(self, None)
        if self.on_room is not None:
            self.on_room()


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
        self._others: dict[Lane[KeyT, AnswerT], None] = {}
        self._turns: OrderedDict[Lane[KeyT, AnswerT], None] = OrderedDict()
        self._open: dict[KeyT, Entry[KeyT, AnswerT]] = {}

    @property
    def in_flight(self) -> int:
        return len(self._open) - self.queued

    def open_lane(self, on_room: Callable[[], object]) -> Lane[KeyT, AnswerT]:
        """Return a lane that shares with its like what ``first`` leaves."""
        lane: Lane[KeyT, AnswerT] = Lane(on_room, self._turns)
        self._others[lane] = None
        return lane

    def close_lane(self, lane: Lane[KeyT, AnswerT]) -> None:
        """Take out a lane whose waiters have left all their keys."""
        # It leads to whoever has the lane: a cycle.
        lane.on_room = None
        del self._others[lane]

    def join(
        self, key: KeyT, waiter: Waiter[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]
    ) -> Entry[KeyT, AnswerT]:
        """Let somebody new wait for the key: in the lane, or where the key is already."""
        entry = self._open.get(key)
        if entry is None:
            entry = self._open[key] = Entry(key, lane, waiter)
            lane.append(entry)
            self.queued += 1
            return entry
        self.coalesced += 1
        entry.add(waiter, lane)
        if lane is self.first and entry.lane is not lane:
            self._move(entry, lane)
        return entry

    def leave(self, entry: Entry[KeyT, AnswerT], waiter: Waiter[KeyT, AnswerT]) -> None:
        """Forget the waiter, and the key too if nobody else waits for it and it is not in flight.

        If it was queued in the waiter's lane, it goes on to the lane of somebody who still wants it: in a
        lane that others fill, its waiter would have no room, whatever its deadlines say.
        """
        lane = entry.remove(waiter)
        if lane is not None:
            if entry.lane is not self.first:
                self._move(entry, lane)
        elif entry.waiter is None and entry.batch is None and self._open.get(entry.key) is entry:
            self._drop(entry)

    def _move(self, entry: Entry[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]) -> None:
        left, entry.lane = entry.lane, lane
        if entry.batch is None and left is not lane:
            lane.append(entry)
            left.remove(entry)

    def _drop(self, entry: Entry[KeyT, AnswerT]) -> None:
        entry.lane.remove(entry)
        del self._open[entry.key]
        self.queued -= 1

    def seal(self, most: int, *, asked_at: float, now: float) -> Batch[KeyT, AnswerT]:
        """Take up to ``most`` keys out of the lanes; ``asked_at`` is when their slot was asked for."""
        entries: list[Entry[KeyT, AnswerT]] = []
        self.first.take(most, entries)
        turns = self._turns
        while turns and (places := most - len(entries)):
            share = max(1, places // len(turns))
            # Who took its turn is last in the next round, so what no number divides goes round too.
            for lane in list(islice(turns, places)):
                lane.take(share, entries)
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
        self.queued = 0
        for entry in entries:
            entry.settle(error)
        self.first.clear()
        for lane in self._others:
            lane.clear()
