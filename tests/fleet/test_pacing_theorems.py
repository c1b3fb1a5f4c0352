"""Members with pacers of their own, spaced, windowed or either, never send too much together."""

import asyncio
import heapq
import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from statuslookup import RateLimit, Response
from statuslookup._limits.pacer import Grant, Pacer, Pacing
from statuslookup.fleet.pacing import SharedPacer
from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import ANNOUNCE, FOLLOW_UP, Taken
from tests.limits.test_pacer_theorems import TOLERANCE, CreditlessPacer, Plan, most_in_a_window
from tests.limits.test_pacer_theorems import Course as PlainCourse
from tests.limits.test_pacer_theorems import Sent as Request
from tests.support.members import Heard, identity
from tests.support.redis_servers import RedisServer
from tests.support.timed_scripts import TimedLink
from tests.support.turns import LOST, too_many
from tests.support.virtual_time import ManualClock

LEASE = 60.0
# Redis counts in milliseconds, and is told them with three digits more.
ROUGH = 1e-5


class Member:
    """A process, and the requests that it has under way."""

    def __init__(self, link: TimedLink, number: int, pacer: Pacer) -> None:
        self.queue = SharedQueue(link, identity(), Heard(), lease=LEASE, process=number)
        self.pacer = SharedPacer(pacer.limit)
        self.pacer._pacer = pacer


@define(order=False)
class UnderWay:
    member: Member
    grant: Grant | None
    fence: int
    plan: Plan
    request: Request | None


@define
class Course:
    """Lets members' requests go as their plans say, as soon as the slot can be had."""

    clock: ManualClock
    members: list[Member]
    sent: list[Request] = field(factory=list)
    under_way: list[tuple[float, int, UnderWay]] = field(factory=list)

    async def run(self, plans: list[Plan], turns: Iterator[int]) -> list[Request]:
        for number, plan in enumerate(plans):
            await self.let_go(self.members[next(turns)], plan, number)
        while self.under_way:
            await self.hear_next()
        return self.sent

    async def pass_time(self, until: float) -> None:
        while self.under_way and self.under_way[0][0] <= until:
            await self.hear_next()
        for member in self.members:
            await member.queue.take(member.pacer.terms(self.clock.time()), ANNOUNCE)
        self.clock.stop(max(0.0, until - self.clock.time()))

    async def hear_next(self) -> None:
        at, _, heard = heapq.heappop(self.under_way)
        self.clock.stop(max(0.0, at - self.clock.time()))
        now, member, plan = self.clock.time(), heard.member, heard.plan
        if plan.reply is None:
            member.pacer.unused(heard.grant)
            await member.queue.done(heard.fence, None)
            return
        assert heard.request is not None
        heard.request.ended = now
        await member.queue.done(heard.fence, member.pacer.done(heard.grant, plan.reply, now))

    async def let_go(self, member: Member, plan: Plan, number: int) -> None:
        await self.pass_time(self.clock.time() + plan.late)
        for _ in range(200):
            now = self.clock.time()
            reply = await member.queue.take(member.pacer.terms(now), FOLLOW_UP)
            if isinstance(reply, Taken):
                break
            if reply.why == "pace":
                member.pacer.go_on_from(reply.pace, now)
                continue
            replies = self.under_way[0][0] if self.under_way else math.inf
            # Who has a request under way that takes unusually long may go beside it later.
            later = member.pacer.next_at if member.pacer.in_flight else math.inf
            at = min(now + reply.seconds, replies, later if later > now else math.inf)
            await self.pass_time(at + ROUGH)
        assert isinstance(reply, Taken)
        grant = member.pacer.grant(reply.pace, self.clock.time())
        request = None if plan.reply is None else Request(self.clock.time(), plan)
        if request is not None:
            self.sent.append(request)
        ends_at = self.clock.time() + plan.takes
        heapq.heappush(self.under_way, (ends_at, number, UnderWay(member, grant, reply.fence, plan, request)))


def run(
    server: RedisServer, limit: RateLimit, pacings: list[Pacing], plans: list[Plan], turns: list[int]
) -> list[Request]:
    async def course() -> list[Request]:
        clock = ManualClock(1_700_000_000.0)
        async with Redis.from_url(server.url, protocol=2) as redis:
            await redis.flushall()
            link = TimedLink(redis, clock)
            members = [
                Member(link, number, CreditlessPacer(limit, pacing=pacing))
                for number, pacing in enumerate(pacings, 1)
            ]
            whose = (turns[number % len(turns)] % len(members) for number in range(len(plans)))
            return await Course(clock, members).run(plans, whose)

    return asyncio.run(course())


limits = st.sampled_from([RateLimit(2), RateLimit(1), RateLimit(3, per=0.5), RateLimit(0.5), RateLimit(2.75)])
turns = st.lists(st.integers(0, 2), min_size=1, max_size=10)
FOUND = Response(
    200, opened_connection=True
)  # so that there is no credit, and nothing is chosen by round trips
short = st.integers(0, 80).map(lambda tick: tick / 64)
some_plans = st.lists(
    st.builds(
        Plan,
        late=st.just(0.0) | short | st.floats(0, 8),
        takes=short | short | st.floats(0, 30),
        reply=st.sampled_from(
            [FOUND, FOUND, FOUND, LOST, None, Response(429), Response(429, retry_after=3.0)]
        ),
    ),
    max_size=20,
)
thoroughly = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


@thoroughly
@given(
    limit=limits,
    pacings=st.lists(st.sampled_from(["auto", "spaced", "windowed"]), min_size=1, max_size=3),
    plans=some_plans,
    turns=turns,
)
def test_no_window_holds_too_many_of_members_that_pace_unlike(
    shared_server: RedisServer, limit: RateLimit, pacings: list[Pacing], plans: list[Plan], turns: list[int]
) -> None:
    sent = run(shared_server, limit, pacings, plans, turns)
    assert most_in_a_window(sent, max(limit.per, limit.interval)) <= max(1.0, limit.limit)
    for earlier, later in pairwise(sent):
        assert later.granted - earlier.granted >= limit.interval - TOLERANCE - ROUGH


@thoroughly
@given(limit=limits, plans=some_plans, turns=turns)
def test_spaced_no_two_of_any_members_are_counted_closer_than_the_interval(
    shared_server: RedisServer, limit: RateLimit, plans: list[Plan], turns: list[int]
) -> None:
    sent = run(shared_server, limit, ["spaced"] * 3, plans, turns)
    for earlier, later in pairwise(sent):
        assert later.granted - earlier.ended >= limit.interval - TOLERANCE - ROUGH


@pytest.mark.parametrize("pacing", ["spaced", "windowed"])
def test_several_members_are_as_quick_as_one_pacer_alone(shared_server: RedisServer, pacing: Pacing) -> None:
    limit = RateLimit(2)
    replies = [FOUND, FOUND, too_many(1.0), *[FOUND] * 17]
    plans = [Plan(0.0, (0.1, 0.9, 0.0, 0.3)[number % 4], reply) for number, reply in enumerate(replies)]
    together = run(shared_server, limit, [pacing] * 3, plans, [0, 1, 2])
    alone = PlainCourse(lambda: CreditlessPacer(limit, pacing=pacing)).run(plans)
    begins = together[0].granted - alone[0].granted
    for one, other in zip(together, alone, strict=True):
        assert one.granted - other.granted - begins == pytest.approx(0.0, abs=0.01)
