"""Open keys and lanes, whatever comes in whatever order, against a model of them."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from statuslookup import ClosedError
from statuslookup._engine.lanes import Batch
from tests.support.open_keys import Keys, Outcome, Recorder


class Visitor(Recorder):
    """A waiter of one key."""

    def __init__(self, key: int, lane: int) -> None:
        super().__init__()
        self.key = key
        self.lane = lane


class OpenKeysMachine(RuleBasedStateMachine):
    """The model: one list of keys for each lane and each batch, and one of the waiters of each open key.

    Lane 0 is the first one. A key is in exactly one list, and its home is the lane in which it queues: the
    first one, or that of the first in its list of waiters.
    """

    lanes = Bundle[int]("lanes")
    visitors = Bundle[Visitor]("visitors")
    batches = Bundle[int]("batches")
    keys = st.integers(0, 11)

    def __init__(self) -> None:
        super().__init__()
        self.open_keys = Keys()
        self.real_lanes = [self.open_keys.first]
        self.real_batches: list[Batch[int, str]] = []
        self.queues: dict[int, list[int]] = {0: []}
        self.flying: list[list[int]] = []
        self.homes: dict[int, int] = {}
        self.waiting: dict[int, list[Visitor]] = {}
        self.expected: dict[Visitor, list[tuple[int, Outcome]]] = {}
        self.coalesced = 0

    def settle(self, key: int, outcome: Outcome) -> None:
        for visitor in self.waiting.pop(key):
            self.expected[visitor] = [(key, outcome)]

    @rule(target=lanes)
    def open_lane(self) -> int:
        self.real_lanes.append(self.open_keys.open_lane(int))
        self.queues[len(self.real_lanes) - 1] = []
        return len(self.real_lanes) - 1

    @rule(lane=consumes(lanes))
    def close_lane(self, lane: int) -> None:
        for visitor in self.expected:
            if visitor.lane == lane:
                self.leave(visitor)
        self.open_keys.close_lane(self.real_lanes[lane])
        assert self.queues.pop(lane) == []

    @rule(target=visitors, key=keys, lane=st.one_of(st.just(0), lanes))
    def join(self, key: int, lane: int) -> Visitor:
        visitor = Visitor(key, lane)
        self.open_keys.join(key, visitor, self.real_lanes[lane])
        self.expected[visitor] = []
        if key not in self.waiting:
            self.queues[lane].append(key)
            self.homes[key] = lane
        else:
            self.coalesced += 1
            if not self.waiting[key]:
                self.homes[key] = lane
            elif lane == 0:
                self.move(key, lane)
        self.waiting.setdefault(key, []).append(visitor)
        return visitor

    def move(self, key: int, lane: int) -> None:
        home = self.homes[key]
        if home not in (0, lane):
            self.homes[key] = lane
            if key in self.queues[home]:
                self.queues[home].remove(key)
                self.queues[lane].append(key)

    @rule(visitor=visitors)
    def leave(self, visitor: Visitor) -> None:
        self.open_keys.leave(visitor.key, visitor)
        waiting = self.waiting.get(visitor.key, [])
        if visitor not in waiting:
            return
        was_first = waiting[0] is visitor
        waiting.remove(visitor)
        if not waiting:
            queue = self.queues.get(self.homes[visitor.key], [])
            if visitor.key in queue:
                queue.remove(visitor.key)
                del self.waiting[visitor.key]
        elif was_first:
            waiting.insert(0, waiting.pop())
            self.move(visitor.key, waiting[0].lane)

    @rule(target=batches, most=st.integers(1, 7))
    def seal(self, most: int) -> int:
        queued = self.open_keys.lanes.queued
        batch = self.open_keys.seal(most)
        taken = batch.keys()
        assert len(taken) == min(most, queued)
        shares = {}
        for lane, queue in self.queues.items():
            shares[lane] = sum(key in queue for key in taken)
            assert [key for key in taken if key in queue] == queue[: shares[lane]]
            del queue[: shares[lane]]
        first = shares.pop(0)
        assert not self.queues[0] or first == most
        assert all(self.homes[key] == 0 for key in taken[:first])
        # Nobody who still has keys got less than another, but for the places that no number divides.
        assert all(shares[lane] >= max(shares.values()) - 1 for lane in shares if self.queues[lane])
        self.real_batches.append(batch)
        self.flying.append(taken)
        return len(self.flying) - 1

    @rule(batch=batches, outcome=st.sampled_from(["sent", None, ClosedError("failed")]), keys=st.sets(keys))
    def finish(self, batch: int, outcome: Outcome, keys: set[int]) -> None:
        self.open_keys.settle(self.real_batches[batch], dict.fromkeys(keys, outcome))
        for key in keys.intersection(self.flying[batch]):
            self.flying[batch].remove(key)
            self.settle(key, outcome)

    @rule(batch=consumes(batches))
    def put_back(self, batch: int) -> None:
        self.open_keys.put_back(self.real_batches[batch])
        again, self.flying[batch] = self.flying[batch], []
        for key in reversed(again):
            if self.waiting[key]:
                self.queues[self.homes[key]].insert(0, key)
            else:
                del self.waiting[key]

    @rule()
    def close(self) -> None:
        error = ClosedError("closed")
        self.open_keys.close(error)
        for queue in [*self.queues.values(), *self.flying]:
            queue.clear()
        for key in list(self.waiting):
            self.settle(key, error)

    @invariant()
    def everybody_has_the_outcome_that_is_theirs(self) -> None:
        for visitor, outcomes in self.expected.items():
            assert visitor.outcomes == outcomes

    @invariant()
    def the_counts_are_right(self) -> None:
        queued, flying = sum(map(len, self.queues.values())), sum(map(len, self.flying))
        assert self.open_keys.counts == (queued, flying)
        assert self.open_keys.open.coalesced == self.coalesced

    def teardown(self) -> None:
        while self.open_keys.lanes.queued:
            self.seal(7)
        for batch, keys in enumerate(self.flying):
            self.finish(batch, "sent", set(keys))
        assert self.waiting == {}
        self.everybody_has_the_outcome_that_is_theirs()
        self.the_counts_are_right()


OpenKeysMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestOpenKeys = OpenKeysMachine.TestCase
