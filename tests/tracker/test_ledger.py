"""The ledger and its calendar: pure, and told the time."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from statuslookup import DeliveryState, MessageStatus, Schedule, SMSFire
from statuslookup.tracker.calendar import GRID, Calendar
from statuslookup.tracker.ledger import Entry, Ledger
from tests.support.tracking import DELIVERED, READ, SENT, message

GIVE_UP = Schedule().give_up


def ledger_of(**options: Any) -> Ledger[int, MessageStatus]:
    return Ledger(SMSFire("token"), Schedule(**options))  # type: ignore[arg-type] # an int is a key, too


# --- the calendar -----------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1000), max_size=30), st.integers(1, 40))
def test_a_calendar_gives_its_keys_in_the_order_of_their_slots(dues: list[float], most: int) -> None:
    calendar: Calendar[int] = Calendar()
    for key, due in enumerate(dues):
        calendar.put(key, due)
    taken: list[int] = []
    while keys := calendar.take(most):
        assert len(keys) <= most
        taken += keys
    assert sorted(taken) == list(range(len(dues)))
    slots = [-int(-dues[key] // GRID) for key in taken]
    assert slots == sorted(slots)
    assert calendar.first() is None


def test_a_key_is_due_at_the_end_of_its_slot_and_leaves_it_at_once() -> None:
    calendar: Calendar[str] = Calendar()
    place = calendar.put("a", 11)
    calendar.put("b", 23)
    assert (calendar.first(), calendar.overdue(14.9), calendar.overdue(15)) == (15, 0, 1)
    del place["a"]
    assert calendar.first() == 25
    assert calendar.take(5, until=24) == []
    assert calendar.take(5, until=25) == ["b"]


def test_what_is_put_due_is_taken_from_its_end() -> None:
    calendar: Calendar[str] = Calendar()
    calendar.put_due(["old", "young"], now=12)
    assert calendar.first() == 10
    assert calendar.take(9) == ["young", "old"]


# --- the ledger -------------------------------------------------------------------------------------


def test_what_a_store_had_is_due_at_once_the_youngest_first() -> None:
    ledger = ledger_of()
    ages = {1: 500.0, 2: 5.0, 3: 1e9, 4: 50.0}
    entries = [
        (key, Entry[int, MessageStatus](1000 - age, DELIVERED, is_whole=True)) for key, age in ages.items()
    ]
    entries[3][1].status = message(4, DELIVERED)
    ledger.restore(entries, 1000)
    ledger.restore([(1, Entry(0, READ, is_whole=True))], 1000)
    assert (len(ledger), ledger.ends, ledger.overdue(1000)) == (4, 1, 3)
    assert ledger.take(9) == [2, 1, 3]
    # The very old one is as old as it can be, and not over before its last lookup.
    assert ledger.answer(3, None, 1001)
    assert ledger.counts.given_up == 1


def test_news_give_a_key_in_flight_a_place_and_a_failed_round_leaves_it_there() -> None:
    ledger = ledger_of()
    ledger.track(1, DELIVERED, 0)
    ledger.track(2, DELIVERED, 0)
    assert sorted(ledger.take(2)) == [1, 2]
    assert ledger.first_due() is None
    ledger.feed([message(1, SENT)], 100, [])
    ledger.put_back([1, 2], 100)
    assert ledger.first_due() == 100
    assert ledger.take(1) == [2]
    assert ledger.first_due() == 200


def test_an_answer_about_a_key_that_is_gone_is_nothing() -> None:
    ledger = ledger_of()
    ledger.track(1, DELIVERED, 0)
    ledger.take(1)
    ledger.forget(1)
    assert not ledger.answer(1, message(1, DELIVERED), 1)
    assert not ledger.fail(1, 1)
    ledger.put_back([1], 1)
    assert (len(ledger), ledger.first_due()) == (0, None)


def test_the_furthest_that_anyone_asked_for_counts() -> None:
    ledger = ledger_of()
    assert ledger.track(1, SENT, 0)
    assert ledger.track(1, READ, 0)
    assert not ledger.track(1, DELIVERED, 0)
    ledger.feed([message(1, DELIVERED)], 1, [])
    assert list(ledger.open()) == [1]
    ledger.feed([message(1, READ)], 1, [])
    assert (list(ledger.open()), ledger.ends) == ([], 1)


def test_who_wants_more_of_an_end_opens_it_again() -> None:
    ledger = ledger_of()
    ledger.track(1, DELIVERED, 0)
    ledger.feed([message(1, DELIVERED)], 1, [])
    assert (ledger.ends, ledger.first_due()) == (1, None)
    ledger.track(1, READ, 2)
    assert (ledger.ends, ledger.first_due()) == (0, 20)


def test_an_end_that_nobody_takes_is_let_go_in_time() -> None:
    ledger = ledger_of()
    ledger.track(1, DELIVERED, 0)
    ledger.feed([message(1, DELIVERED)], 100, [])
    assert ledger.expired(GIVE_UP + 99) == []
    assert ledger.expired(GIVE_UP + 105) == [1]
    ledger.keep(1, GIVE_UP + 105)
    assert ledger.expired(GIVE_UP + 3700) == []
    assert ledger.expired(GIVE_UP + 3800) == [1]
    ledger.forget(1)
    assert (len(ledger), ledger.ends) == (0, 0)


def lookups_of(ledger: Ledger[int, MessageStatus], status: MessageStatus | None, born: float) -> list[float]:
    """Return when a message that is tracked at ``born`` is asked for; nothing else is heard until its end."""
    ledger.track(1, READ, born)
    times: list[float] = []
    while (due := ledger.first_due()) is not None:
        times.append(max(due, born))
        (key,) = ledger.take(1)
        ledger.answer(key, status, times[-1])
    return times


def test_a_message_is_let_go_in_time_and_not_a_silence_later() -> None:
    assert lookups_of(ledger_of(give_up=100), message(1, SENT), 0) == [15, 30, 60, 100]
    *_, before, last = lookups_of(ledger_of(), message(1, SENT), 0)
    assert before < GIVE_UP <= last <= GIVE_UP * 1.001 + GRID


def test_a_message_is_unknown_in_time_and_not_a_silence_later() -> None:
    assert lookups_of(ledger_of(grace=600), None, 0) == [15, 30, 60, 120, 240, 480, 600]
    assert lookups_of(ledger_of(grace=0), None, 0) == [15]
    # Also where it is over before the first silence would be.
    assert lookups_of(ledger_of(first=100, grace=10), None, 0) == [10]
    assert lookups_of(ledger_of(first=100, give_up=10), message(1, SENT), 0) == [10]
    # A known one has its silence.
    assert 600 not in lookups_of(ledger_of(grace=600), message(1, SENT), 0)


@given(st.floats(0, 1e6), st.floats(15, 1e5))
def test_the_last_lookup_is_the_first_that_is_late_enough(born: float, seconds: float) -> None:
    for schedule, status in (({"give_up": seconds}, message(1, SENT)), ({"grace": seconds}, None)):
        *before, last = lookups_of(ledger_of(**schedule), status, born)
        assert born + seconds <= last <= born + seconds * 1.001 + 2 * GRID
        assert all(time < born + seconds for time in before)


def test_last_lookups_of_about_one_time_go_together() -> None:
    ends = {lookups_of(ledger_of(), message(1, SENT), born)[-1] for born in range(0, 200, 10)}
    assert len(ends) <= 2


def test_what_is_no_status_is_refused_with_all_others() -> None:
    ledger = ledger_of()
    ledger.track(1, DELIVERED, 0)
    with pytest.raises(TypeError):
        ledger.feed([message(1, DELIVERED), {}], 1, [])  # type: ignore[list-item] # what a caller may pass
    assert (list(ledger.open()), ledger.counts.fed) == ([1], 0)


STATES = st.sampled_from(DeliveryState)
KEYS = st.integers(0, 4)


class LedgerStates(RuleBasedStateMachine):
    """Tracks, feeds, asks, fails, forgets and restarts, beside a model that only knows what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ledger_of()
        self.now = 0.0
        self.until: dict[int, DeliveryState] = {}
        self.born: dict[int, float] = {}
        self.known: dict[int, MessageStatus] = {}
        self.in_flight: list[int] = []

    @rule(seconds=st.sampled_from([1.0, 14.0, 300.0, 4000.0, 100_000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=KEYS, until=st.sampled_from([SENT, DELIVERED, READ]), age=st.sampled_from([None, 5, 9_999]))
    def track(self, key: int, until: DeliveryState, age: float | None) -> None:
        if self.ledger.get(key) is None:
            self.born[key] = self.now - (age or 0)
        self.ledger.track(key, until, self.now, age=age)
        order = [SENT, DELIVERED, READ]
        self.until[key] = max(until, self.until.get(key, SENT), key=order.index)

    def _hear(self, key: int, status: MessageStatus) -> None:
        known = self.known.get(key)
        self.known[key] = SMSFire.advance(known, status) or known or status

    @rule(key=KEYS, state=STATES, second=st.integers(0, 9))
    def feed(self, key: int, state: DeliveryState, second: int) -> None:
        status = message(key, state, seconds=second)
        self.ledger.feed([status, status], self.now, [])
        if key in self.until:
            self._hear(key, status)

    @rule(most=st.integers(1, 5))
    def take(self, most: int) -> None:
        if not self.in_flight:
            self.in_flight = self.ledger.take(most)
            assert len(self.in_flight) == len(set(self.in_flight)) <= most

    @rule(state=STATES | st.none(), second=st.integers(0, 9))
    def answer(self, state: DeliveryState | None, second: int) -> None:
        for key in self.in_flight:
            status = None if state is None else message(key, state, seconds=second)
            self.ledger.answer(key, status, self.now)
            if status is not None and key in self.until:
                self._hear(key, status)
        self.in_flight = []

    @rule()
    def fail(self) -> None:
        for key in self.in_flight:
            self.ledger.fail(key, self.now)
        self.in_flight = []

    @rule()
    def put_back(self) -> None:
        self.ledger.put_back(self.in_flight, self.now)
        self.in_flight = []

    @rule()
    def wake_up(self) -> None:
        self.ledger.make_all_due(self.now)

    @rule()
    def hand_over(self) -> None:
        for key in list(self.until):
            entry = self.ledger.get(key)
            assert entry is not None
            if entry.is_over:
                self.ledger.forget(key)
                self._forget(key)

    @rule()
    def expire(self) -> None:
        for key in self.ledger.expired(self.now):
            self.ledger.forget(key)
            self._forget(key)

    def _forget(self, key: int) -> None:
        del self.until[key]
        self.known.pop(key, None)

    @rule()
    def restart(self) -> None:
        rows = [(key, self.ledger.get(key)) for key in self.until]
        self.ledger = ledger_of()
        self.in_flight = []
        messages: list[tuple[int, Entry[int, MessageStatus]]] = []
        for key, entry in rows:
            assert entry is not None
            restored = Entry[int, MessageStatus](entry.born, entry.until, is_whole=True)
            restored.status = entry.status
            messages.append((key, restored))
        self.ledger.restore(messages, self.now)

    @invariant()
    def no_key_is_lost_and_each_is_somewhere(self) -> None:
        assert len(self.ledger) == len(self.until)
        ends = 0
        for key, until in self.until.items():
            entry = self.ledger.get(key)
            assert entry is not None
            assert entry.until is until
            assert entry.status == self.known.get(key)
            assert (entry.place is None) <= (key in self.in_flight)
            assert entry.place is None or key in entry.place
            ends += entry.is_over
            if entry.status is not None and SMSFire.reached(entry.status, until):
                assert entry.is_over
            elif entry.is_over:
                age = self.now - self.born[key]
                assert age >= GIVE_UP or (entry.status is None and age >= 3600)
        assert self.ledger.ends == ends
        assert sorted(self.ledger.open()) == sorted(
            key
            for key in self.until
            if not self.ledger.get(key).is_over  # type: ignore[union-attr] # it is there
        )


TestLedgerStates = LedgerStates.TestCase
TestLedgerStates.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
