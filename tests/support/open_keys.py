"""Open keys and their lanes without a dispatcher, and who waits for them."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from statuslookup import StatusLookupError
from statuslookup._engine.lanes import Batch, Lane, Lanes
from statuslookup._engine.open_keys import OpenKeys

Outcome: TypeAlias = str | StatusLookupError | None


class Keys:
    """Open keys and their lanes; what is put off to the next turn of the loop comes at once."""

    def __init__(self) -> None:
        self.lanes: Lanes[int, str] = Lanes()
        self.put_off: list[Callable[[], None]] = []
        self.open: OpenKeys[int, str] = OpenKeys(self.lanes, self.put_off.append)
        self.first = self.lanes.first
        self.open_lane = self.lanes.open_lane
        self.close_lane = self.lanes.close_lane
        self.seal = self.lanes.seal
        self.join = self.open.join
        self.join_all = self.open.join_all
        self.leave = self.open.leave
        self.close = self.open.close

    @property
    def counts(self) -> tuple[int, int]:
        return self.lanes.queued, self.open.in_flight

    def settle(self, batch: Batch[int, str], outcomes: dict[int, Outcome]) -> None:
        self.open.settle(batch, outcomes)
        while self.put_off:
            self.put_off.pop()()

    def put_back(self, batch: Batch[int, str]) -> None:
        self.open.put_back(batch.open_keys, now=0.0)


class Recorder:
    """A waiter that writes down its outcomes."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[int, Outcome]] = []

    def settle(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
        self.outcomes += outcomes


def fill(open_keys: Keys, lane: Lane[int, str], keys: Iterable[int]) -> Recorder:
    waiter = Recorder()
    for key in keys:
        open_keys.join(key, waiter, lane)
    return waiter
