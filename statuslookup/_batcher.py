"""Which keys ride in the next request: queues, lanes, and one question for equal keys."""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from ._model import AnswerT, KeyT
from .errors import StatusLookupError

AnyKeyT = TypeVar("AnyKeyT", contravariant=True)
AnyAnswerT = TypeVar("AnyAnswerT", contravariant=True)


class Waiter(Protocol[AnyKeyT, AnyAnswerT]):
    """Somebody who wants to know what became of some keys."""

    def settle(self, key: AnyKeyT, end: AnyAnswerT | StatusLookupError | None) -> None:
        """Take the end of a key; its other waiters get the same error object, so hand on ``fresh()`` ones."""


class Entry(Generic[KeyT, AnswerT]):
    """A key whose end is open, and those who wait for it."""

    __slots__ = ("attempts", "batch", "in_flight", "key", "lane", "paced", "waiters")

    def __init__(self, key: KeyT, lane: "Lane[KeyT, AnswerT]") -> None:
        self.key = key
        self.lane = lane
        self.waiters: dict[Waiter[KeyT, AnswerT], None] = {}
        self.batch: Batch[KeyT, AnswerT] | None = None
        """The last batch that carried the key; ``None`` while it is queued in its lane."""
        self.attempts = 0
        self.paced = 0.0
        self.in_flight = 0.0


class Lane(OrderedDict[KeyT, Entry[KeyT, AnswerT]]):
    """A queue of entries; ``on_taken`` is called after a batch took some of them."""

    def __init__(self, on_taken: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.on_taken = on_taken
        self.is_open = True


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
        self._others = deque(other for other in self._others if other is not lane)
        for entry in list(lane.values()):
            self._move_to_first(entry)

    def join(
        self, key: KeyT, waiter: Waiter[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]
    ) -> Entry[KeyT, AnswerT]:
        """Let the waiter wait for the key: in the lane, or where the key is already."""
        entry = self._open.get(key)
        if entry is None:
            entry = self._open[key] = lane[key] = Entry(key, lane)
            self.queued += 1
        else:
            self.coalesced += 1
            if lane is self.first and entry.lane is not lane:
                self._move_to_first(entry)
        entry.waiters[waiter] = None
        return entry

    def _move_to_first(self, entry: Entry[KeyT, AnswerT]) -> None:
        if entry.batch is None:
            del entry.lane[entry.key]
            self.first[entry.key] = entry
        entry.lane = self.first

    def leave(self, entry: Entry[KeyT, AnswerT], waiter: Waiter[KeyT, AnswerT]) -> None:
        """Forget the waiter, and the key too if nobody else waits for it and it is not in flight."""
        entry.waiters.pop(waiter, None)
        if not entry.waiters and entry.batch is None and self._open.get(entry.key) is entry:
            self._drop(entry)

    def _drop(self, entry: Entry[KeyT, AnswerT]) -> None:
        del entry.lane[entry.key]
        del self._open[entry.key]
        self.queued -= 1

    def seal(self, most: int, *, asked_at: float, now: float) -> Batch[KeyT, AnswerT]:
        """Take up to ``most`` keys out of the lanes; ``asked_at`` is when their slot was asked for."""
        entries: list[Entry[KeyT, AnswerT]] = []
        _take(self.first, most, entries)
        lanes = [lane for lane in self._others if lane]
        while lanes and len(entries) < most:
            share = -(-(most - len(entries)) // len(lanes))
            for lane in lanes:
                _take(lane, min(share, most - len(entries)), entries)
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
        for entry in batch.entries:
            key = entry.key
            if key in ends and self._open.pop(key, None) is not None:
                end = ends[key]
                for waiter in entry.waiters:
                    waiter.settle(key, end)

    def put_back(self, entries: Sequence[Entry[KeyT, AnswerT]], *, now: float) -> None:
        """Queue the entries again, in their order, before all others of their lanes."""
        for entry in reversed(entries):
            if self._open.get(entry.key) is not entry:
                continue
            if not entry.waiters:
                del self._open[entry.key]
                continue
            batch, entry.batch = entry.batch, None
            if batch is not None:
                entry.paced += batch.sealed_at - batch.asked_at
                entry.in_flight += now - batch.sealed_at
            lane = entry.lane = entry.lane if entry.lane.is_open else self.first
            lane[entry.key] = entry
            lane.move_to_end(entry.key, last=False)
            self.queued += 1

    def close(self, error: StatusLookupError) -> None:
        """Settle every key with the error."""
        entries = list(self._open.values())
        self._open.clear()
        self.first.clear()
        for lane in self._others:
            lane.clear()
        self.queued = 0
        for entry in entries:
            for waiter in entry.waiters:
                waiter.settle(entry.key, error)


def _take(lane: Lane[KeyT, AnswerT], most: int, entries: list[Entry[KeyT, AnswerT]]) -> None:
    taken = min(most, len(lane))
    if taken:
        entries.extend(lane.popitem(last=False)[1] for _ in range(taken))
        lane.on_taken()
