"""Who waits for which key, and which keys go next: open keys and lanes, by example."""

import sys
from collections.abc import Sequence

import pytest

from statuslookup import ClosedError
from tests.support.open_keys import Keys, Outcome, Recorder, fill


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


@pytest.mark.parametrize("at_once", [True, False])
def test_who_joins_for_many_keys_at_once_joins_as_if_for_one_after_another(at_once: bool) -> None:
    open_keys, waiter = Keys(), Recorder()
    lane = open_keys.open_lane(int)
    fill(open_keys, open_keys.first, [1])
    gone = fill(open_keys, open_keys.first, [2, 3])
    flying = open_keys.seal(3)
    open_keys.leave(2, gone)
    first = fill(open_keys, open_keys.first, [4])
    other = fill(open_keys, open_keys.open_lane(int), [5])
    if at_once:
        open_keys.join_all([1, 2, 4, 5, 6, 7, 6], waiter, lane)
    else:
        for key in [1, 2, 4, 5, 6, 7, 6]:
            open_keys.join(key, waiter, lane)
    assert (open_keys.counts, open_keys.open.coalesced, lane.length) == ((4, 3), 5, 2)
    open_keys.put_back(flying)
    assert [open_key.key for open_key in lane.queued()] == [2, 6, 7]
    batch = open_keys.seal(9)
    assert sorted(batch.keys()) == list(range(1, 8))
    error = ClosedError("x")
    open_keys.settle(batch, {key: error if key == 7 else f"of {key}" for key in batch.keys()})  # noqa: SIM118 # a method, not a dict's
    told = dict(waiter.outcomes)
    assert told == {1: "of 1", 2: "of 2", 4: "of 4", 5: "of 5", 6: "of 6", 7: error}
    assert (first.outcomes, other.outcomes) == ([(4, "of 4")], [(5, "of 5")])
    assert open_keys.counts == (0, 0)


def test_a_call_for_many_keys_has_the_outcomes_of_a_reply_at_once() -> None:
    open_keys = Keys()
    lane = open_keys.open_lane(int)
    calls: list[list[int]] = []

    class Counted(Recorder):
        def settle(self, outcomes: Sequence[tuple[int, Outcome]]) -> None:
            calls.append([key for key, _ in outcomes])

    open_keys.join_all([1, 2, 3], Counted(), lane)
    open_keys.settle(open_keys.seal(9), {1: "a", 2: None, 3: "c"})
    assert calls == [[1, 2, 3]]


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


def test_at_most_200_waiters_are_woken_in_a_turn_of_the_loop() -> None:
    for failure in (None, ClosedError("gone")):
        open_keys = Keys()
        waiter = fill(open_keys, open_keys.first, range(500))
        batch = open_keys.seal(500)
        open_keys.open.settle(batch, dict.fromkeys(range(500), failure))
        more = fill(open_keys, open_keys.first, [500])
        open_keys.open.settle(open_keys.seal(1), {500: failure})
        assert more.outcomes == []
        woken = [len(waiter.outcomes)]
        while open_keys.put_off:
            open_keys.put_off.pop()()
            woken.append(len(waiter.outcomes))
        assert woken == [200, 400, 500]
