"""Who waits for which key, and which keys go next: open keys and lanes, by example and against a model."""

import sys
from collections.abc import Callable, Iterable
from typing import TypeAlias

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from statuslookup import ClosedError, StatusLookupError
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

    def settle(self, key: int, outcome: Outcome) -> None:
        self.outcomes.append((key, outcome))


def fill(open_keys: Keys, lane: Lane[int, str], keys: Iterable[int]) -> Recorder:
    waiter = Recorder()
    for key in keys:
        open_keys.join(key, waiter, lane)
    return waiter


def test_first_come_first_served() -> None:
    open_keys = Keys()
    fill(open_keys, open_keys.first, [3, 1, 2])
    assert open_keys.seal(2).keys() == [3, 1]
    assert open_keys.seal(2).keys() == [2]
    assert open_keys.seal(2).keys() == []
    assert open_keys.counts == (0, 3)


def test_the_first_lane_goes_before_all_others() -> None:
    open_keys = Keys()
    fill(open_keys, open_keys.open_lane(int), [10, 11, 12])
    fill(open_keys, open_keys.first, [1, 2])
    assert open_keys.seal(4).keys() == [1, 2, 10, 11]


def test_the_other_lanes_share_evenly_whoever_came_first() -> None:
    open_keys = Keys()
    for start in (100, 200, 300):
        fill(open_keys, open_keys.open_lane(int), range(start, start + 90))
    taken = [key // 100 for _ in range(3) for key in open_keys.seal(50).keys()]  # noqa: SIM118 # a method, not a dict's
    assert [taken.count(lane) for lane in (1, 2, 3)] == [50, 50, 50]


def test_places_that_no_number_divides_are_off_by_one_at_most() -> None:
    open_keys = Keys()
    for start in (100, 200, 300):
        fill(open_keys, open_keys.open_lane(int), range(start, start + 9))
    taken = [key // 100 for key in open_keys.seal(4).keys()]  # noqa: SIM118 # a method, not a dict's
    assert sorted(taken.count(lane) for lane in (1, 2, 3)) == [1, 1, 2]


def test_what_a_short_lane_does_not_use_goes_to_the_others() -> None:
    open_keys = Keys()
    fill(open_keys, open_keys.open_lane(int), [100])
    fill(open_keys, open_keys.open_lane(int), range(200, 300))
    fill(open_keys, open_keys.open_lane(int), range(300, 303))
    assert len(open_keys.seal(50).open_keys) == 50


def test_one_place_a_batch_goes_round_the_lanes() -> None:
    open_keys = Keys()
    for start in (100, 200, 300):
        fill(open_keys, open_keys.open_lane(int), range(start, start + 9))
    assert sorted(open_keys.seal(1).keys()[0] // 100 for _ in range(6)) == [1, 1, 2, 2, 3, 3]


def test_more_lanes_than_places_take_turns() -> None:
    open_keys = Keys()
    for start in range(0, 500, 100):
        fill(open_keys, open_keys.open_lane(int), range(start, start + 4))
    taken = [[key // 100 for key in open_keys.seal(2).keys()] for _ in range(10)]  # noqa: SIM118 # a method, not a dict's
    assert taken == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]] * 2


def calls_with(lanes: int) -> int:
    """Count the calls that it takes to use a lane beside so many others that are empty or wait."""
    open_keys = Keys()
    for number in range(lanes):
        open_keys.open_lane(int)
        fill(open_keys, open_keys.open_lane(int), [number])
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    profile = sys.getprofile()
    sys.setprofile(count)
    try:
        lane = open_keys.open_lane(int)
        open_keys.seal(5)
        open_keys.close_lane(lane)
    finally:
        sys.setprofile(profile)
    return calls


def test_a_lane_costs_the_same_beside_however_many() -> None:
    assert calls_with(10) == calls_with(1000)


def test_a_lane_notices_that_some_of_its_keys_were_taken() -> None:
    open_keys = Keys()
    calls: list[str] = []
    fill(open_keys, open_keys.open_lane(lambda: calls.append("a")), [1])
    open_keys.open_lane(lambda: calls.append("empty"))
    fill(open_keys, open_keys.open_lane(lambda: calls.append("b")), [2])
    open_keys.seal(1)
    assert calls == ["a"]
    open_keys.seal(1)
    assert calls == ["a", "b"]


def test_every_lane_notices_that_all_was_closed() -> None:
    open_keys = Keys()
    calls: list[str] = []
    fill(open_keys, open_keys.open_lane(lambda: calls.append("a")), [1])
    open_keys.open_lane(lambda: calls.append("empty"))
    open_keys.close(ClosedError("closed"))
    assert calls == ["a", "empty"]


def test_equal_keys_are_one_question_while_queued_and_while_in_flight() -> None:
    open_keys = Keys()
    queued, joined = fill(open_keys, open_keys.first, [1]), fill(open_keys, open_keys.first, [1])
    batch = open_keys.seal(9)
    late = fill(open_keys, open_keys.first, [1])
    assert (batch.keys(), open_keys.counts, open_keys.open.coalesced) == ([1], (0, 1), 2)
    open_keys.settle(batch, {1: "sent"})
    assert queued.outcomes == joined.outcomes == late.outcomes == [(1, "sent")]
    assert open_keys.counts == (0, 0)


def test_a_key_of_another_lane_moves_up_when_the_first_lane_asks_for_it() -> None:
    open_keys = Keys()
    bulk = fill(open_keys, open_keys.open_lane(int), [10, 11, 12])
    get = fill(open_keys, open_keys.first, [12])
    batch = open_keys.seal(1)
    assert batch.keys() == [12]
    open_keys.settle(batch, {12: None})
    assert get.outcomes == bulk.outcomes == [(12, None)]
    assert open_keys.seal(9).keys() == [10, 11]


def test_a_key_that_moved_up_in_flight_is_asked_again_in_the_first_lane() -> None:
    open_keys = Keys()
    lane = open_keys.open_lane(int)
    fill(open_keys, lane, [10, 11])
    batch = open_keys.seal(2)
    fill(open_keys, lane, [12])
    fill(open_keys, open_keys.first, [11])
    open_keys.put_back(batch)
    assert open_keys.seal(1).keys() == [11]
    assert open_keys.seal(9).keys() == [10, 12]


def test_the_last_one_who_leaves_takes_the_queued_key_along() -> None:
    open_keys = Keys()
    one, two = Recorder(), Recorder()
    open_keys.join(1, one, open_keys.first)
    open_keys.join(1, two, open_keys.first)
    open_keys.leave(1, one)
    open_keys.leave(1, one)
    assert open_keys.counts == (1, 0)
    open_keys.leave(1, two)
    assert open_keys.counts == (0, 0)
    assert open_keys.seal(9).keys() == []


def test_leaving_after_the_outcome_does_not_touch_a_successor() -> None:
    open_keys = Keys()
    waiter = Recorder()
    open_keys.join(1, waiter, open_keys.first)
    open_keys.settle(open_keys.seal(9), {1: "old"})
    successor = fill(open_keys, open_keys.first, [1])
    open_keys.leave(1, waiter)
    open_keys.settle(open_keys.seal(9), {1: "new"})
    assert (waiter.outcomes, successor.outcomes) == ([(1, "old")], [(1, "new")])


def test_what_was_left_in_flight_is_not_asked_again() -> None:
    open_keys = Keys()
    waiter = Recorder()
    open_keys.join(1, waiter, open_keys.first)
    batch = open_keys.seal(9)
    assert open_keys.leave(1, waiter) is batch
    assert open_keys.counts == (0, 1)
    open_keys.put_back(batch)
    assert open_keys.counts == (0, 0)


def test_what_is_put_back_goes_to_the_front_in_its_order() -> None:
    open_keys = Keys()
    fill(open_keys, open_keys.first, [1, 2, 3])
    batch = open_keys.seal(3)
    fill(open_keys, open_keys.first, [4])
    open_keys.put_back(batch)
    assert open_keys.counts == (4, 0)
    assert open_keys.seal(9).keys() == [1, 2, 3, 4]


def test_what_others_want_goes_to_their_lanes_when_its_waiter_leaves() -> None:
    open_keys = Keys()
    calls: list[str] = []
    leaving, other = open_keys.open_lane(lambda: calls.append("capacity")), open_keys.open_lane(int)
    gone = Recorder()
    for key in (1, 2, 3):
        open_keys.join(key, gone, leaving)
    flying = open_keys.seal(1)
    assert flying.keys() == [1]
    stays = fill(open_keys, other, [4, 2, 1])
    calls.clear()
    for key in (1, 2, 3):
        open_keys.leave(key, gone)
    assert (leaving.length, other.length, calls) == (0, 2, ["capacity", "capacity"])
    open_keys.close_lane(leaving)
    open_keys.put_back(flying)
    batch = open_keys.seal(9)
    assert batch.keys() == [1, 4, 2]
    open_keys.settle(batch, {1: None, 2: "sent", 4: None})
    assert (gone.outcomes, stays.outcomes, open_keys.counts) == (
        [],
        [(1, None), (4, None), (2, "sent")],
        (0, 0),
    )


def test_a_key_that_its_waiters_left_in_flight_is_asked_again_in_the_lane_of_the_next_one() -> None:
    open_keys = Keys()
    closing, other = open_keys.open_lane(int), open_keys.open_lane(int)
    gone = Recorder()
    open_keys.join(1, gone, closing)
    flying = open_keys.seal(9)
    open_keys.leave(1, gone)
    open_keys.close_lane(closing)
    fill(open_keys, other, [1])
    open_keys.put_back(flying)
    assert other.length == 1
    assert open_keys.seal(9).keys() == [1]


def test_a_lane_notices_that_a_key_of_its_own_is_asked_for_by_the_first_lane() -> None:
    open_keys = Keys()
    calls: list[str] = []
    fill(open_keys, open_keys.open_lane(lambda: calls.append("capacity")), [1, 2])
    fill(open_keys, open_keys.first, [2])
    assert calls == ["capacity"]


def test_closing_settles_queued_and_in_flight_and_forgets_them() -> None:
    open_keys = Keys()
    lane = open_keys.open_lane(int)
    waiters = [fill(open_keys, open_keys.first, [1]), fill(open_keys, lane, [2]), fill(open_keys, lane, [3])]
    batch = open_keys.seal(2)
    error = ClosedError("closed")
    open_keys.close(error)
    open_keys.settle(batch, {1: "late", 2: "late"})
    open_keys.put_back(batch)
    assert [waiter.outcomes for waiter in waiters] == [[(1, error)], [(2, error)], [(3, error)]]
    assert (open_keys.counts, open_keys.seal(9).keys()) == ((0, 0), [])


def test_a_late_answer_does_not_take_the_key_of_a_later_question() -> None:
    open_keys = Keys()
    early = fill(open_keys, open_keys.first, [1])
    batch = open_keys.seal(9)
    error = ClosedError("closed")
    open_keys.close(error)
    late = fill(open_keys, open_keys.first, [1])
    open_keys.settle(batch, {1: "old"})
    open_keys.settle(open_keys.seal(9), {1: "new"})
    assert (early.outcomes, late.outcomes) == ([(1, error)], [(1, "new")])


def test_a_batch_that_is_finished_in_parts_settles_each_key_once() -> None:
    open_keys = Keys()
    waiter = fill(open_keys, open_keys.first, [1, 2])
    batch = open_keys.seal(9)
    open_keys.settle(batch, {1: "one"})
    open_keys.settle(batch, {1: "again", 2: None})
    assert waiter.outcomes == [(1, "one"), (2, None)]


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
