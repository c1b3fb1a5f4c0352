"""One deadline serves all waits of a turn of the loop, and no timer is left when nobody waits."""

from collections.abc import Callable

import pytest

from statuslookup._engine.deadlines import Deadlines
from tests.support.virtual_time import ManualClock


class Turns:
    """Deadlines on a clock that is driven by hand, and what they say has expired."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.soon: list[Callable[[], None]] = []
        self.expired: list[tuple[float, dict[str, int]]] = []
        self.deadlines: Deadlines[str, int] = Deadlines(
            self.clock, lambda call: self.soon.append(call), self.expire
        )

    def expire(self, waiting: dict[str, int], timeout: float) -> None:
        self.expired.append((self.clock.time() - 1000, waiting))

    def add(self, timeout: float, **waiting: int) -> Callable[[str], None]:
        deadline = self.deadlines.of_this_turn(timeout)
        deadline.waiting.update(waiting)
        return deadline.discard

    def end_turn(self) -> None:
        soon, self.soon = self.soon, []
        for each in soon:
            each()


def test_the_waits_of_a_turn_with_one_timeout_share_a_timer_that_counts_from_its_end() -> None:
    turns = Turns()
    turns.add(2.0, a=1)
    turns.add(2.0, b=2)
    turns.add(3.0, c=3)
    assert (len(turns.soon), turns.clock.timers) == (1, 0)
    turns.clock.advance(0.5)
    turns.end_turn()
    assert turns.clock.timers == 2
    turns.add(2.0, d=4)
    turns.end_turn()
    turns.clock.advance(9)
    assert turns.expired == [(2.5, {"a": 1, "b": 2}), (2.5, {"d": 4}), (3.5, {"c": 3})]


def test_no_timer_is_left_when_nobody_waits() -> None:
    turns = Turns()
    discard = turns.add(2.0, a=1, b=2)
    turns.end_turn()
    discard("a")
    assert turns.clock.timers == 1
    discard("b")
    assert turns.clock.timers == 0
    discard("b")


def test_no_timer_is_set_for_a_turn_that_nobody_waits_in_any_more() -> None:
    turns = Turns()
    discard = turns.add(2.0, a=1)
    discard("a")
    turns.end_turn()
    assert turns.clock.timers == 0


def test_who_leaves_after_the_end_is_no_news() -> None:
    turns = Turns()
    discard = turns.add(2.0, a=1)
    turns.end_turn()
    turns.clock.advance(2)
    discard("a")
    assert turns.expired == [(2.0, {"a": 1})]


@pytest.mark.parametrize(("stopped", "ends_at"), [(1.0, 5.0), (1.25, 6.5), (3.0, 10.0), (60.0, 68.0)])
def test_time_in_which_the_process_did_not_run_is_nobodys(stopped: float, ends_at: float) -> None:
    turns = Turns()
    turns.add(4.0, a=1)
    turns.end_turn()
    turns.clock.stop(4.0 + stopped)
    turns.clock.advance(20)
    assert turns.expired == [(ends_at, {"a": 1})]
