"""Which keys ride in the next request: the batcher alone, by example and against a model."""

import sys
from collections.abc import Iterable
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from statuslookup import ClosedError, StatusLookupError
from statuslookup._engine.lanes import Batch, Batcher, Entry, Lane

End: TypeAlias = str | StatusLookupError | None
Keys: TypeAlias = Batcher[int, str]


class Recorder:
    """A waiter that writes down what it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, End]] = []

    def settle(self, key: int, end: End) -> None:
        self.ends.append((key, end))


def fill(batcher: Keys, lane: Lane[int, str], keys: Iterable[int]) -> Recorder:
    waiter = Recorder()
    for key in keys:
        batcher.join(key, waiter, lane)
    return waiter


def seal(batcher: Keys, most: int) -> Batch[int, str]:
    return batcher.seal(most, asked_at=0.0, now=0.0)


def counts(batcher: Keys) -> tuple[int, int]:
    return batcher.queued, batcher.in_flight


def test_first_come_first_served() -> None:
    batcher = Keys()
    fill(batcher, batcher.first, [3, 1, 2])
    assert seal(batcher, 2).keys() == [3, 1]
    assert seal(batcher, 2).keys() == [2]
    assert seal(batcher, 2).keys() == []
    assert counts(batcher) == (0, 3)


def test_the_first_lane_goes_before_all_others() -> None:
    batcher = Keys()
    fill(batcher, batcher.open_lane(int), [10, 11, 12])
    fill(batcher, batcher.first, [1, 2])
    assert seal(batcher, 4).keys() == [1, 2, 10, 11]


def test_the_other_lanes_share_evenly_whoever_came_first() -> None:
    batcher = Keys()
    for start in (100, 200, 300):
        fill(batcher, batcher.open_lane(int), range(start, start + 90))
    taken = [key // 100 for _ in range(3) for key in seal(batcher, 50).keys()]  # noqa: SIM118 # a method, not a dict's
    assert [taken.count(lane) for lane in (1, 2, 3)] == [50, 50, 50]


def test_places_that_no_number_divides_are_off_by_one_at_most() -> None:
    batcher = Keys()
    for start in (100, 200, 300):
        fill(batcher, batcher.open_lane(int), range(start, start + 9))
    taken = [key // 100 for key in seal(batcher, 4).keys()]  # noqa: SIM118 # a method, not a dict's
    assert sorted(taken.count(lane) for lane in (1, 2, 3)) == [1, 1, 2]


def test_what_a_short_lane_does_not_use_goes_to_the_others() -> None:
    batcher = Keys()
    fill(batcher, batcher.open_lane(int), [100])
    fill(batcher, batcher.open_lane(int), range(200, 300))
    fill(batcher, batcher.open_lane(int), range(300, 303))
    assert len(seal(batcher, 50).entries) == 50


def test_one_place_a_batch_goes_round_the_lanes() -> None:
    batcher = Keys()
    for start in (100, 200, 300):
        fill(batcher, batcher.open_lane(int), range(start, start + 9))
    assert sorted(seal(batcher, 1).keys()[0] // 100 for _ in range(6)) == [1, 1, 2, 2, 3, 3]


def test_more_lanes_than_places_take_turns() -> None:
    batcher = Keys()
    for start in range(0, 500, 100):
        fill(batcher, batcher.open_lane(int), range(start, start + 4))
    taken = [[key // 100 for key in seal(batcher, 2).keys()] for _ in range(10)]  # noqa: SIM118 # a method, not a dict's
    assert taken == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]] * 2


def calls_with(lanes: int) -> int:
    """Count the calls that it takes to use a lane beside so many others that are empty or wait."""
    batcher = Keys()
    for number in range(lanes):
        batcher.open_lane(int)
        fill(batcher, batcher.open_lane(int), [number])
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    profile = sys.getprofile()
    sys.setprofile(count)
    try:
        lane = batcher.open_lane(int)
        seal(batcher, 5)
        batcher.close_lane(lane)
    finally:
        sys.setprofile(profile)
    return calls


def test_a_lane_costs_the_same_beside_however_many() -> None:
    assert calls_with(10) == calls_with(1000)


def test_a_lane_is_told_when_some_of_its_keys_were_taken() -> None:
    batcher = Keys()
    calls: list[str] = []
    fill(batcher, batcher.open_lane(lambda: calls.append("a")), [1])
    batcher.open_lane(lambda: calls.append("empty"))
    fill(batcher, batcher.open_lane(lambda: calls.append("b")), [2])
    seal(batcher, 1)
    assert calls == ["a"]
    seal(batcher, 1)
    assert calls == ["a", "b"]


def test_every_lane_is_told_when_the_batcher_was_closed() -> None:
    batcher = Keys()
    calls: list[str] = []
    fill(batcher, batcher.open_lane(lambda: calls.append("a")), [1])
    batcher.open_lane(lambda: calls.append("empty"))
    batcher.close(ClosedError("closed"))
    assert calls == ["a", "empty"]


def test_equal_keys_are_one_question_while_queued_and_while_in_flight() -> None:
    batcher = Keys()
    queued, joined = fill(batcher, batcher.first, [1]), fill(batcher, batcher.first, [1])
    batch = seal(batcher, 9)
    late = fill(batcher, batcher.first, [1])
    assert (batch.keys(), counts(batcher), batcher.coalesced) == ([1], (0, 1), 2)
    batcher.finish(batch, {1: "sent"})
    assert queued.ends == joined.ends == late.ends == [(1, "sent")]
    assert counts(batcher) == (0, 0)


def test_a_key_of_another_lane_moves_up_when_the_first_lane_asks_for_it() -> None:
    batcher = Keys()
    bulk = fill(batcher, batcher.open_lane(int), [10, 11, 12])
    get = fill(batcher, batcher.first, [12])
    batch = seal(batcher, 1)
    assert batch.keys() == [12]
    batcher.finish(batch, {12: None})
    assert get.ends == bulk.ends == [(12, None)]
    assert seal(batcher, 9).keys() == [10, 11]


def test_a_key_that_moved_up_in_flight_is_asked_again_in_the_first_lane() -> None:
    batcher = Keys()
    lane = batcher.open_lane(int)
    fill(batcher, lane, [10, 11])
    batch = seal(batcher, 2)
    fill(batcher, lane, [12])
    fill(batcher, batcher.first, [11])
    batcher.put_back(batch.entries, now=0.0)
    assert seal(batcher, 1).keys() == [11]
    assert seal(batcher, 9).keys() == [10, 12]


def test_the_last_one_who_leaves_takes_the_queued_key_along() -> None:
    batcher = Keys()
    one, two = Recorder(), Recorder()
    entry = batcher.join(1, one, batcher.first)
    assert batcher.join(1, two, batcher.first) is entry
    batcher.leave(entry, one)
    batcher.leave(entry, one)
    assert counts(batcher) == (1, 0)
    batcher.leave(entry, two)
    assert counts(batcher) == (0, 0)
    assert seal(batcher, 9).keys() == []


def test_leaving_a_finished_entry_does_not_touch_its_successor() -> None:
    batcher = Keys()
    waiter = Recorder()
    old = batcher.join(1, waiter, batcher.first)
    batcher.finish(seal(batcher, 9), {1: "old"})
    successor = fill(batcher, batcher.first, [1])
    batcher.leave(old, waiter)
    batcher.finish(seal(batcher, 9), {1: "new"})
    assert (waiter.ends, successor.ends) == ([(1, "old")], [(1, "new")])


def test_what_was_left_in_flight_is_not_asked_again() -> None:
    batcher = Keys()
    waiter = Recorder()
    entry = batcher.join(1, waiter, batcher.first)
    batch = seal(batcher, 9)
    batcher.leave(entry, waiter)
    assert counts(batcher) == (0, 1)
    batcher.put_back(batch.entries, now=0.0)
    assert counts(batcher) == (0, 0)


def test_what_is_put_back_goes_to_the_front_in_its_order() -> None:
    batcher = Keys()
    fill(batcher, batcher.first, [1, 2, 3])
    batch = seal(batcher, 3)
    fill(batcher, batcher.first, [4])
    batcher.put_back(batch.entries, now=0.0)
    assert counts(batcher) == (4, 0)
    assert seal(batcher, 9).keys() == [1, 2, 3, 4]


def test_what_others_want_goes_to_their_lanes_when_its_waiter_leaves() -> None:
    batcher = Keys()
    calls: list[str] = []
    leaving, other = batcher.open_lane(lambda: calls.append("room")), batcher.open_lane(int)
    gone = Recorder()
    entries = [batcher.join(key, gone, leaving) for key in (1, 2, 3)]
    flying = seal(batcher, 1)
    assert flying.keys() == [1]
    stays = fill(batcher, other, [4, 2, 1])
    calls.clear()
    for entry in entries:
        batcher.leave(entry, gone)
    assert (len(leaving), len(other), calls) == (0, 2, ["room", "room"])
    batcher.close_lane(leaving)
    batcher.put_back(flying.entries, now=0.0)
    batch = seal(batcher, 9)
    assert batch.keys() == [1, 4, 2]
    batcher.finish(batch, {1: None, 2: "sent", 4: None})
    assert (gone.ends, stays.ends, counts(batcher)) == ([], [(1, None), (4, None), (2, "sent")], (0, 0))


def test_a_key_that_its_waiters_left_in_flight_is_asked_again_in_the_lane_of_the_next_one() -> None:
    batcher = Keys()
    closing, other = batcher.open_lane(int), batcher.open_lane(int)
    gone = Recorder()
    entry = batcher.join(1, gone, closing)
    flying = seal(batcher, 9)
    batcher.leave(entry, gone)
    batcher.close_lane(closing)
    fill(batcher, other, [1])
    batcher.put_back(flying.entries, now=0.0)
    assert len(other) == 1
    assert seal(batcher, 9).keys() == [1]


def test_a_lane_is_told_when_a_key_of_its_is_asked_for_by_the_first_lane() -> None:
    batcher = Keys()
    calls: list[str] = []
    fill(batcher, batcher.open_lane(lambda: calls.append("room")), [1, 2])
    fill(batcher, batcher.first, [2])
    assert calls == ["room"]


def test_closing_settles_queued_and_in_flight_and_forgets_them() -> None:
    batcher = Keys()
    lane = batcher.open_lane(int)
    waiters = [fill(batcher, batcher.first, [1]), fill(batcher, lane, [2]), fill(batcher, lane, [3])]
    batch = seal(batcher, 2)
    error = ClosedError("closed")
    batcher.close(error)
    batcher.finish(batch, {1: "late", 2: "late"})
    batcher.put_back(batch.entries, now=0.0)
    assert [waiter.ends for waiter in waiters] == [[(1, error)], [(2, error)], [(3, error)]]
    assert (counts(batcher), seal(batcher, 9).keys()) == ((0, 0), [])


def test_a_late_answer_does_not_take_the_key_of_a_later_question() -> None:
    batcher = Keys()
    early = fill(batcher, batcher.first, [1])
    batch = seal(batcher, 9)
    error = ClosedError("closed")
    batcher.close(error)
    late = fill(batcher, batcher.first, [1])
    batcher.finish(batch, {1: "old"})
    batcher.finish(seal(batcher, 9), {1: "new"})
    assert (early.ends, late.ends) == ([(1, error)], [(1, "new")])


def test_a_batch_that_is_finished_in_parts_settles_each_key_once() -> None:
    batcher = Keys()
    waiter = fill(batcher, batcher.first, [1, 2])
    batch = seal(batcher, 9)
    batcher.finish(batch, {1: "one"})
    batcher.finish(batch, {1: "again", 2: None})
    assert waiter.ends == [(1, "one"), (2, None)]


class Visitor(Recorder):
    """A waiter of one key."""

    def __init__(self, key: int, lane: int) -> None:
        super().__init__()
        self.key = key
        self.lane = lane
        self.entry: Entry[int, str] | None = None


class BatcherMachine(RuleBasedStateMachine):
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
        self.batcher = Keys()
        self.real_lanes = [self.batcher.first]
        self.real_batches: list[Batch[int, str]] = []
        self.queues: dict[int, list[int]] = {0: []}
        self.flying: list[list[int]] = []
        self.homes: dict[int, int] = {}
        self.waiting: dict[int, list[Visitor]] = {}
        self.expected: dict[Visitor, list[tuple[int, End]]] = {}
        self.coalesced = 0

    def settle(self, key: int, end: End) -> None:
        for visitor in self.waiting.pop(key):
            self.expected[visitor] = [(key, end)]

    @rule(target=lanes)
    def open_lane(self) -> int:
        self.real_lanes.append(self.batcher.open_lane(int))
        self.queues[len(self.real_lanes) - 1] = []
        return len(self.real_lanes) - 1

    @rule(lane=consumes(lanes))
    def close_lane(self, lane: int) -> None:
        for visitor in self.expected:
            if visitor.lane == lane:
                self.leave(visitor)
        self.batcher.close_lane(self.real_lanes[lane])
        assert self.queues.pop(lane) == []

    @rule(target=visitors, key=keys, lane=st.one_of(st.just(0), lanes))
    def join(self, key: int, lane: int) -> Visitor:
        visitor = Visitor(key, lane)
        visitor.entry = self.batcher.join(key, visitor, self.real_lanes[lane])
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
        assert visitor.entry is not None
        self.batcher.leave(visitor.entry, visitor)
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
        queued = self.batcher.queued
        batch = seal(self.batcher, most)
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

    @rule(batch=batches, end=st.sampled_from(["sent", None, ClosedError("failed")]), keys=st.sets(keys))
    def finish(self, batch: int, end: End, keys: set[int]) -> None:
        self.batcher.finish(self.real_batches[batch], dict.fromkeys(keys, end))
        for key in keys.intersection(self.flying[batch]):
            self.flying[batch].remove(key)
            self.settle(key, end)

    @rule(batch=consumes(batches))
    def put_back(self, batch: int) -> None:
        self.batcher.put_back(self.real_batches[batch].entries, now=0.0)
        again, self.flying[batch] = self.flying[batch], []
        for key in reversed(again):
            if self.waiting[key]:
                self.queues[self.homes[key]].insert(0, key)
            else:
                del self.waiting[key]

    @rule()
    def close(self) -> None:
        error = ClosedError("closed")
        self.batcher.close(error)
        for queue in [*self.queues.values(), *self.flying]:
            queue.clear()
        for key in list(self.waiting):
            self.settle(key, error)

    @invariant()
    def everybody_has_the_end_that_is_theirs(self) -> None:
        for visitor, ends in self.expected.items():
            assert visitor.ends == ends

    @invariant()
    def the_counts_are_right(self) -> None:
        queued, flying = sum(map(len, self.queues.values())), sum(map(len, self.flying))
        assert (self.batcher.queued, self.batcher.in_flight) == (queued, flying)
        assert self.batcher.coalesced == self.coalesced

    def teardown(self) -> None:
        while self.batcher.queued:
            self.seal(7)
        for batch, keys in enumerate(self.flying):
            self.finish(batch, "sent", set(keys))
        assert self.waiting == {}
        self.everybody_has_the_end_that_is_theirs()
        self.the_counts_are_right()


BatcherMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestBatcher = BatcherMachine.TestCase
