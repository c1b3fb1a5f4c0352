"""What a pacer promises for any delays, failures, 429s and order: as a property, not by examples."""

import heapq
import math
from collections.abc import Callable, Iterator
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
    def _credit(self) -> float:
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
    """What happens after its grant: the limit's pacer may be replaced, or its loop closed."""


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


@frozen
class Ways:
    """One request, and how long it is on its ways; what is counted is counted between the two."""

    late: float
    there: float
    back: float
    noticed: float
    """How long the reply lies there before somebody looks."""
    end: str


# Any two of them take at least half of any two others: neither way gets more than twice as quick.
ways = st.integers(8, 16).map(lambda tick: tick / 64)
journeys = st.lists(
    st.builds(
        Ways,
        late=st.just(0.0) | st.just(0.0) | st.just(4.0) | short,
        there=ways,
        back=ways,
        noticed=st.just(0.0) | st.just(0.0) | short,
        end=st.sampled_from(["answer"] * 8 + ["failure", "429", "a new connection"]),
    ),
    max_size=60,
)


replies_of: dict[str, Response | ProviderError] = {"failure": LOST, "429": too_many(0.0)}


def counted(pacer: Pacer, journeys: list[Ways]) -> Iterator[float]:
    """Yield when each request is counted, as it is let go in its turn."""
    now = 1000.0
    under_way: list[tuple[float, int, Grant, Response | ProviderError]] = []

    def hear() -> float:
        noticed_at, _, grant, reply = heapq.heappop(under_way)
        pacer.done(grant, reply, noticed_at)
        return noticed_at

    for number, journey in enumerate(journeys):
        at = max(now, pacer.next_at) + journey.late
        while under_way and (at == math.inf or under_way[0][0] <= at):
            now = hear()
            at = max(now, pacer.next_at) + journey.late
        now = at
        # A server keeps an idle connection for 4 s; to open another one, with TLS, takes two round trips.
        opens = journey.end == "a new connection" or (not under_way and journey.late >= 4.0)
        opening = 2 * (journey.there + journey.back) if opens else 0.0
        arrives = at + opening + journey.there
        yield arrives
        reply = replies_of.get(journey.end, Response(200, opened_connection=opens))
        noticed_at = arrives + journey.back + journey.noticed
        heapq.heappush(under_way, (noticed_at, number, pacer.grant(at), reply))


@settings(max_examples=300)
@given(journeys=journeys)
def test_the_credit_keeps_the_interval_while_no_way_gets_more_than_twice_as_quick(
    journeys: list[Ways],
) -> None:
    moments = list(counted(Pacer(TWO_A_SECOND, pacing="spaced"), journeys))
    assert all(later - earlier >= 0.5 - TOLERANCE for earlier, later in pairwise(moments))


@settings(max_examples=300)
@given(journeys=journeys, limit=st.sampled_from([TWO_A_SECOND, RateLimit(5), RateLimit(1)]))
def test_the_credit_keeps_every_window_while_no_way_gets_more_than_twice_as_quick(
    journeys: list[Ways], limit: RateLimit
) -> None:
    moments = sorted(counted(Pacer(limit, pacing="windowed"), journeys))
    most = int(limit.limit)
    windows = zip(moments, moments[most:], strict=False)
    assert all(later - earlier >= limit.per - TOLERANCE for earlier, later in windows)


def test_the_credit_is_no_theorem_where_ways_get_more_than_twice_as_quick() -> None:
    """So the two tests above have something to find."""
    usual, quick_back = Ways(0.0, 0.25, 0.25, 0.0, "answer"), Ways(0.0, 0.45, 0.05, 0.0, "answer")
    quick_there = Ways(0.0, 0.05, 0.45, 0.0, "answer")
    journeys = [usual] * 30 + [quick_back, quick_there]
    moments = list(counted(Pacer(TWO_A_SECOND, pacing="spaced"), journeys))
    assert min(later - earlier for earlier, later in pairwise(moments)) < 0.5 - TOLERANCE
