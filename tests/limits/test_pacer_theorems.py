"""What a pacer promises for any delays, failures, 429s and order: as a property, not by examples."""

import heapq
import math
from collections.abc import Callable
from itertools import pairwise

from attrs import field, frozen, mutable
from hypothesis import given, settings
from hypothesis import strategies as st

from statuslookup import ProviderError, RateLimit, Response
from statuslookup._limits.pacer import Grant, Pacer, Pacing
from tests.support.turns import FOUND, LOST, TWO_A_SECOND, too_many

TOLERANCE = 1e-9


class CreditlessPacer(Pacer):
    """The theorems are about this one: what the credit adds to them is a condition on the ways."""

    @property
    def credit(self) -> float:
        return 0.0


@frozen
class Plan:
    """What happens to one request."""

    late: float
    """How long after the moment that the pacer said it is granted."""
    takes: float
    """From the grant to the moment when its reply is noticed, or its failure."""
    reply: Response | ProviderError | None
    """``None`` if nothing was sent."""
    then: str = ""
    """What happens after its grant: another pacer goes on, or the loop was closed."""
    arrives: float = 0.0
    """From the grant to the moment when it is counted; only the credit asks for that."""


@mutable
class Sent:
    """One request that was sent: it was counted between its grant and its end, nobody knows when."""

    granted: float
    plan: Plan
    ended: float = math.inf


@mutable
class Course:
    """Lets requests go as their plans say, by what a pacer says."""

    new_pacer: Callable[[], Pacer]
    pacer: Pacer = field(init=False)
    now: float = 1000.0
    sent: list[Sent] = field(factory=list)
    under_way: list[tuple[float, int, Grant, Sent]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.pacer = self.new_pacer()

    def run(self, plans: list[Plan]) -> list[Sent]:
        for number, plan in enumerate(plans):
            self._let_go(plan, number)
        while self.under_way:
            self._hear_next()
        assert self.pacer.in_flight == 0
        assert self.pacer.next_at < math.inf
        return self.sent

    def _let_go(self, plan: Plan, number: int) -> None:
        at = max(self.now, self.pacer.next_at) + plan.late
        while self.under_way and (at == math.inf or self.under_way[0][0] <= at):
            self._hear_next()
            # What was heard may free a place, and freeze or slow down as well.
            at = max(self.now, self.pacer.next_at) + plan.late
        self.now = at
        grant = self.pacer.grant(at)
        request = Sent(at, plan)
        if plan.reply is None:
            self.pacer.unused(grant)
        else:
            self.sent.append(request)
            heapq.heappush(self.under_way, (at + plan.takes, number, grant, request))
        if plan.then == "another pacer goes on":
            pace = self.pacer.pace(at)
            self.pacer = self.new_pacer()
            self.pacer.go_on_from(pace)
            self._end_all()
        elif plan.then == "the loop was closed":
            self.pacer.abandon(at)
            self._end_all()

    def _end_all(self) -> None:
        for _, _, _, request in self.under_way:
            request.ended = self.now
        self.under_way.clear()

    def _hear_next(self) -> None:
        self.now, _, grant, request = heapq.heappop(self.under_way)
        request.ended = self.now
        assert request.plan.reply is not None
        self.pacer.done(grant, request.plan.reply, self.now)
        # Nobody says a thing twice; if somebody did, it would be nothing new.
        self.pacer.done(grant, request.plan.reply, self.now)


def most_in_a_window(sent: list[Sent], seconds: float) -> int:
    """Return how many requests a window can hold at most, each counted wherever it suits the provider.

    A window that begins when a request ended can hold all that were granted before the window's end and
    ended later; a window that begins at any other moment holds no more.
    """
    beginnings = [request.ended for request in sent]
    return max(
        (
            sum(each.ended >= begins and each.granted < begins + seconds - TOLERANCE for each in sent)
            for begins in beginnings
        ),
        default=0,
    )


# Multiples of a sixty-fourth of a second meet each other exactly.
short = st.integers(0, 80).map(lambda tick: tick / 64)
lateness = st.just(0.0) | st.just(0.0) | short | st.floats(0, 8)
durations = short | short | st.floats(0, 30)
rejections = st.builds(too_many, st.none() | st.floats(0, 90))
replies = st.sampled_from([FOUND, FOUND, FOUND, Response(500), LOST, None]) | rejections
turns = st.sampled_from([""] * 12 + ["another pacer goes on", "the loop was closed"])
# A pacer chooses by the last twenty round trips: they are long for a while, and then short.
plans = st.builds(
    lambda *parts: [plan for part in parts for plan in part],
    *[
        st.lists(
            st.builds(Plan, late=lateness, takes=st.just(takes) | durations, reply=replies, then=turns),
            max_size=14,
        )
        for takes in (0.9, 0.05, 0.9)
    ],
)
limits = st.builds(
    RateLimit, st.sampled_from([2, 1, 3, 16, 0.5, 1.5, 2.75]), st.sampled_from([1.0, 0.5, 2.0])
)
pacings: st.SearchStrategy[Pacing] = st.sampled_from(["auto", "spaced", "windowed"])


@settings(max_examples=300)
@given(limit=limits, pacing=pacings, plans=plans)
def test_no_window_holds_too_many_wherever_each_request_was_counted(
    limit: RateLimit, pacing: Pacing, plans: list[Plan]
) -> None:
    sent = Course(lambda: CreditlessPacer(limit, pacing=pacing)).run(plans)
    assert most_in_a_window(sent, max(limit.per, limit.interval)) <= max(1.0, limit.limit)
    for earlier, later in pairwise(sent):
        assert later.granted - earlier.granted >= limit.interval - TOLERANCE


@settings(max_examples=100)
@given(limit=limits, plans=plans)
def test_spaced_no_two_are_counted_closer_than_the_interval(limit: RateLimit, plans: list[Plan]) -> None:
    sent = Course(lambda: CreditlessPacer(limit, pacing="spaced")).run(plans)
    for earlier, later in pairwise(sent):
        assert later.granted - earlier.ended >= limit.interval - TOLERANCE


# --- the credit -----------------------------------------------------------------------------------


def journey(
    there: float,
    back: float,
    *,
    late: float = 0.0,
    noticed: float = 0.0,
    opens: bool = False,
    reply: Response | ProviderError = FOUND,
) -> Plan:
    """Return what happens to a request that is so long on its ways, and whose reply is noticed so late."""
    # A server keeps an idle connection for 4 s; to open another one, with TLS, takes two round trips.
    arrives = (2 * (there + back) if opens or late >= 4.0 else 0.0) + there
    if reply is FOUND:
        reply = Response(200, opened_connection=opens)
    return Plan(late, arrives + back + noticed, reply, arrives=arrives)


# Any two ways take at least half of any two others: neither way gets more than twice as quick.
ways = st.integers(8, 16).map(lambda tick: tick / 64)
journeys = st.builds(
    lambda few, many: [journey(0.25, 0.25)] * few + many,
    st.integers(0, 25),
    st.lists(
        st.builds(
            journey,
            ways,
            ways,
            late=st.sampled_from([0.0, 0.0, 0.0, 4.0]) | short,
            noticed=st.just(0.0) | st.just(0.0) | short,
            opens=st.sampled_from([False] * 4 + [True]),
            reply=st.sampled_from([FOUND] * 6 + [LOST, too_many(0.0)]),
        ),
        max_size=30,
    ),
)


def counted(pacer: Pacer, plans: list[Plan]) -> list[float]:
    """Return the moments at which requests are counted: when they arrive."""
    return sorted(request.granted + request.plan.arrives for request in Course(lambda: pacer).run(plans))


@settings(max_examples=300)
@given(plans=journeys)
def test_the_credit_keeps_the_interval_while_no_way_gets_more_than_twice_as_quick(plans: list[Plan]) -> None:
    moments = counted(Pacer(TWO_A_SECOND, pacing="spaced"), plans)
    assert all(later - earlier >= 0.5 - TOLERANCE for earlier, later in pairwise(moments))


@settings(max_examples=300)
@given(plans=journeys, limit=st.sampled_from([2, 5, 1]))
def test_the_credit_keeps_every_window_while_no_way_gets_more_than_twice_as_quick(
    plans: list[Plan], limit: int
) -> None:
    moments = counted(Pacer(RateLimit(limit), pacing="windowed"), plans)
    windows = zip(moments, moments[limit:], strict=False)
    assert all(later - earlier >= 1.0 - TOLERANCE for earlier, later in windows)


def test_the_credit_is_no_theorem_where_ways_get_more_than_twice_as_quick() -> None:
    """So the two tests above have something to find."""
    plans = [journey(0.25, 0.25)] * 30 + [journey(0.45, 0.05), journey(0.05, 0.45)]
    moments = counted(Pacer(TWO_A_SECOND, pacing="spaced"), plans)
    assert min(later - earlier for earlier, later in pairwise(moments)) < 0.5 - TOLERANCE
