"""Which keys are open, and who waits for them: one question for equal keys."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Generic

from .._model import AnswerT, KeyT
from ..errors import StatusLookupError
from .lanes import Batch, Collected, Collector, Lane, Lanes, OpenKey, Waiter

_MOST_WOKEN_A_TURN: Final = 200


class OpenKeys(Generic[KeyT, AnswerT]):
    """Holds every open key once: queued in a lane, or in flight in a batch.

    It does no I/O. Outcomes wake at most 200 callers in a turn of the event loop, because more of them would
    fall out of the processor's caches before they run; ``call_soon`` goes on in the next turn. A key whose
    outcome waits to be handed out is still open.
    """

    def __init__(
        self, lanes: Lanes[KeyT, AnswerT], call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self.coalesced = 0
        self._lanes = lanes
        self._call_soon = call_soon
        self._open: dict[KeyT, OpenKey[KeyT, AnswerT]] = {}
        self._settled: deque[tuple[OpenKey[KeyT, AnswerT], AnswerT | StatusLookupError | None]] = deque()

    @property
    def in_flight(self) -> int:
        return len(self._open) - self._lanes.queued

    def __getitem__(self, key: KeyT) -> OpenKey[KeyT, AnswerT]:
        return self._open[key]

    def queued(self, keys: Iterable[KeyT]) -> list[OpenKey[KeyT, AnswerT]]:
        """Return those of the keys that are queued here."""
        found = map(self._open.get, keys)
        return [open_key for open_key in found if open_key is not None and open_key.is_queued]

    def join(self, key: KeyT, waiter: Waiter[AnswerT, KeyT], lane: Lane[KeyT, AnswerT]) -> None:
        """Let somebody new wait for the key: in the lane, or where the key is already."""
        open_key = self._open.get(key)
        if open_key is None:
            open_key = self._open[key] = OpenKey(key, lane, waiter)
            lane.append(open_key)
            self._lanes.queued += 1
            return
        self.coalesced += 1
        if open_key.add(waiter, lane) or (lane is self._lanes.first and open_key.lane is not lane):
            self._lanes.move(open_key, lane)

    def join_all(
        self, keys: Iterable[KeyT], collector: Collector[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]
    ) -> None:
        """Let a call for many wait for the keys, in its own lane."""
        is_open = self._open
        new: list[OpenKey[KeyT, AnswerT]] = []
        for key in keys:
            if key in is_open:
                self.join(key, collector, lane)
            else:
                open_key = is_open[key] = OpenKey(key, lane, collector)
                new.append(open_key)
        if new:
            lane.extend(new)
            self._lanes.queued += len(new)

    def leave(self, key: KeyT, waiter: Waiter[AnswerT, KeyT]) -> Batch[KeyT, AnswerT] | None:
        """Forget the waiter, and the key too if nobody else waits for it and it is not in flight.

        If it was queued in the waiter's lane, it goes on to the lane of somebody who still wants it: in a
        lane that others fill, its waiter would have no capacity, whatever its deadlines say. Return the batch
        in flight that nobody waits for any more, if that is what became of it.
        """
        open_key = self._open.get(key)
        # After an outcome the key may have been asked for anew, by somebody else.
        if open_key is None or not open_key.is_awaited_by(waiter):
            return None
        lane = open_key.remove(waiter)
        if lane is not None:
            if open_key.lane is not self._lanes.first:
                self._lanes.move(open_key, lane)
        elif open_key.waiter is None:
            batch = open_key.batch
            if batch is not None:
                return None if batch.is_wanted else batch
            self._lanes.drop(open_key)
            del self._open[key]
        return None

    def settle(
        self, batch: Batch[KeyT, AnswerT], outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]
    ) -> None:
        """Take the keys that have an outcome out of the batch, and hand the outcomes to their waiters."""
        open_keys, left = batch.open_keys, []
        keys = [open_key.key for open_key in open_keys]
        if not all(map(outcomes.__contains__, keys)):
            left = [open_key for open_key in open_keys if open_key.key not in outcomes]
            open_keys = [open_key for open_key in open_keys if open_key.key in outcomes]
            keys = [key for key in keys if key in outcomes]
        is_idle = not self._settled
        self._settled.extend(zip(open_keys, map(outcomes.__getitem__, keys), strict=True))
        batch.open_keys = left
        if is_idle:
            self._hand_out()

    def _hand_out(self) -> None:
        settled, is_open = self._settled, self._open
        woken = 0
        collected: Collected[KeyT, AnswerT] = defaultdict(list)
        try:
            while settled and woken < _MOST_WOKEN_A_TURN:
                open_key, outcome = settled.popleft()
                key = open_key.key
                # After ``close`` the key may have been asked for anew, by an open key of its own.
                if is_open.get(key) is open_key:
                    del is_open[key]
                    woken += open_key.settle(outcome, collected)
        finally:
            _hand_over(collected)
            if settled:
                self._call_soon(self._hand_out)

    def put_back(self, open_keys: Sequence[OpenKey[KeyT, AnswerT]], *, now: float) -> int:
        """Queue those that are still wanted again, in order, before all others of their lanes; count them."""
        queued_before = self._lanes.queued
        for open_key in reversed(open_keys):
            if self._open.get(open_key.key) is not open_key:
                continue
            batch, open_key.batch = open_key.batch, None
            if open_key.waiter is None:
                del self._open[open_key.key]
                continue
            if batch is not None:
                open_key.note_lap(batch.asked_at, batch.sealed_at, now)
            self._lanes.add_first(open_key)
        return self._lanes.queued - queued_before

    def forget(self, batch: Batch[KeyT, AnswerT]) -> None:
        """Drop what is left in a batch that nobody waits for."""
        for open_key in batch.open_keys:
            if self._open.get(open_key.key) is open_key:
                del self._open[open_key.key]
                open_key.batch = None
        batch.open_keys = []

    def settle_queued(self, error: StatusLookupError) -> None:
        """Settle every key that is not in flight with the error."""
        collected: Collected[KeyT, AnswerT] = defaultdict(list)
        for open_key in [open_key for open_key in self._open.values() if open_key.batch is None]:
            self._lanes.drop(open_key)
            del self._open[open_key.key]
            open_key.settle(error, collected)
        _hand_over(collected)

    def close(self, error: StatusLookupError) -> None:
        """Settle every key with the error."""
        open_keys = list(self._open.values())
        self._open.clear()
        self._settled.clear()
        self._lanes.clear()
        collected: Collected[KeyT, AnswerT] = defaultdict(list)
        for open_key in open_keys:
            open_key.settle(error, collected)
        _hand_over(collected)


def _hand_over(collected: Collected[KeyT, AnswerT]) -> None:
    for collector, outcomes in collected.items():
        collector.settle(outcomes)
