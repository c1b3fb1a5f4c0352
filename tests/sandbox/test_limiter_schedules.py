"""The limiter under any schedule, and under simulated servers."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from attrs import field, frozen, mutable
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.limiter_simulation import (
    BLOCKED,
    CONSTANT,
    COUNTS,
    COUNTS_HALVES,
    HALVES,
    JITTER,
    LATE,
    OURS,
    QUICK,
    SLOW,
    STRAGGLERS,
    simulate,
    slot_cost,
)
from benchmarks.simulated_time import COUNTINGS, Scenario
from statuslookup import TokenBucket
from statuslookup._limits.token_bucket import Pacing
from statuslookup.sandbox import Counting
from tests.support.turns import TWO_A_SECOND, now, take_turns
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

virtual_time = pytest.mark.virtual_time


# --- random schedules -----------------------------------------------------------------------------


@frozen
class Plan:
    """One request: when it is asked for, what becomes of it, and when somebody cancels it."""

    pause: float
    there: float
    back: float
    end: str = "answer"
    retry_after: float | None = None
    cancelled_after: float | None = None


@mutable
class Story:
    """What became of the requests."""

    asked: list[int] = field(factory=list)
    granted: list[int] = field(factory=list)
    counted: list[float] = field(factory=list)
    granted_at: list[float] = field(factory=list)
    answered_at: float = -math.inf
    in_flight: int = 0
    most_in_flight: int = 0


# Multiples of a sixty-fourth of a second meet each other exactly, and that is where the races are.
ticks = st.integers(0, 96).map(lambda tick: tick / 64)


# A connection that nobody uses for so long is closed, as httpx does it.
KEPT_FOR = 5.0

# Ways that differ by less than a factor of two: any two of them take at least half of any two others.
ways = st.integers(8, 16).map(lambda tick: tick / 64)
plans = st.builds(
    Plan,
    pause=st.just(0.0) | ticks,
    there=ways,
    back=ways,
    end=st.sampled_from(["answer", "answer", "answer", "failure", "429"]),
    retry_after=st.none() | st.floats(0, 90),
    cancelled_after=st.none() | st.none() | ticks,
)
# After a while of single requests, each on a connection of its own, many come at once.
schedules = st.builds(
    lambda singles, many: [Plan(pause=10.0, there=0.25, back=0.25)] * singles + many,
    st.integers(0, 25),
    st.lists(plans, min_size=1, max_size=30),
)
blocks = st.lists(st.tuples(ticks, ticks), max_size=4)


async def live(bucket: TokenBucket, plan: Plan, number: int, story: Story) -> None:
    story.asked.append(number)
    async with bucket.slot() as slot:
        granted_at = now()
        story.granted.append(number)
        story.granted_at.append(granted_at)
        story.in_flight += 1
        story.most_in_flight = max(story.most_in_flight, story.in_flight)
        # To open a connection, with TLS, takes two more round trips.
        opening = 2 * (plan.there + plan.back) if granted_at - story.answered_at >= KEPT_FOR else 0.0
        story.counted.append(granted_at + opening + plan.there)
        try:
            await asyncio.sleep(opening + plan.there + plan.back)
            if plan.end == "failure":
                raise ConnectionError
            story.answered_at = now()
            if plan.end != "answer":
                slot.rejected(plan.retry_after)
        except asyncio.CancelledError:
            # It was given up under way: it counts as late as that, or never.
            story.counted[-1] = min(story.counted[-1], now())
            raise
        finally:
            story.in_flight -= 1


async def play(pacing: Pacing, schedule: list[Plan], blocked: list[tuple[float, float]]) -> Story:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    story = Story()
    bucket = TokenBucket(TWO_A_SECOND, pacing=pacing, clock=LoopClock())
    for after, seconds in blocked:
        loop.call_later(after, loop.jump, seconds)
    tasks = []
    for number, plan in enumerate(schedule):
        task = asyncio.create_task(live(bucket, plan, number, story))
        tasks.append(task)
        if plan.cancelled_after is not None:
            loop.call_later(plan.cancelled_after, task.cancel)
        if plan.pause:
            await asyncio.sleep(plan.pause)
    # In virtual time a day costs nothing, and a wake-up that was lost never comes.
    _, lost = await asyncio.wait(tasks, timeout=86400)
    assert not lost
    for number, task in enumerate(tasks):
        if not task.cancelled() and task.exception() is None:
            assert number in story.granted
    stats = bucket.stats()
    assert (stats.waiting, stats.in_flight, bucket._timer) == (0, 0, None)
    assert 0 < stats.rate <= 2.0
    # Whoever comes later is served, however the others went.
    await asyncio.wait_for(take_turns(bucket, 2, takes=0.1), 600)
    return story


def run_in_virtual_time(play: Callable[[], Awaitable[Story]]) -> Story:
    async def main() -> Story:
        return await play()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def in_order(story: Story) -> bool:
    return story.granted == [number for number in story.asked if number in set(story.granted)]


def closest(moments: list[float]) -> float:
    ordered = sorted(moments)
    return min((later - earlier for earlier, later in pairwise(ordered)), default=math.inf)


@settings(max_examples=150, deadline=None)
@given(schedule=schedules, blocked=blocks)
def test_any_schedule_by_answers(schedule: list[Plan], blocked: list[tuple[float, float]]) -> None:
    story = run_in_virtual_time(lambda: play("answers", schedule, blocked))
    assert in_order(story)
    assert story.most_in_flight <= 1
    assert closest(story.counted) >= 0.5 - 1e-9


@settings(max_examples=150, deadline=None)
@given(schedule=schedules, blocked=blocks)
def test_any_schedule_by_grants(schedule: list[Plan], blocked: list[tuple[float, float]]) -> None:
    story = run_in_virtual_time(lambda: play("grants", schedule, blocked))
    assert in_order(story)
    assert story.most_in_flight <= 16
    assert closest(story.granted_at) >= 0.5 * 1.05 - 1e-9


@settings(max_examples=60, deadline=None)
@given(schedule=st.lists(plans, min_size=15, max_size=40), blocked=blocks, slower=st.floats(0, 3))
def test_any_schedule_with_a_mode_of_its_own_choice(
    schedule: list[Plan], blocked: list[tuple[float, float]], slower: float
) -> None:
    slow = [Plan(plan.pause, plan.there, plan.back + slower, plan.end, plan.retry_after) for plan in schedule]
    story = run_in_virtual_time(lambda: play("auto", slow, blocked))
    assert in_order(story)
    assert len(story.granted) == len(schedule)
    # Less the credit, which is for the answer that the request waited for.
    assert closest(story.granted_at) >= 0.5 - 1e-9


# --- the simulation, in small ---------------------------------------------------------------------


@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize(
    ("scenario", "share"),
    [
        (QUICK, 0.95),
        (CONSTANT, 0.9),
        (JITTER, 0.79),
        (LATE, 0.74),
        (BLOCKED, 0.7),
        (STRAGGLERS, 0.74),
        (COUNTS, 0.79),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else "",
)
def test_no_way_of_counting_sees_a_request_too_many(
    scenario: Scenario, share: float, counting: Counting
) -> None:
    for seed in (11, 12):
        run = simulate(OURS, scenario, counting, seed, seconds=120)
        assert run.rejected == []
        assert run.closest >= 0.5 - 1e-9
        assert run.share >= share


@pytest.mark.parametrize("counting", ["fixed_window", "sliding_window"])
def test_a_slow_server_is_used_well_without_a_rejection(counting: Counting) -> None:
    for seed in (11, 12):
        run = simulate(OURS, SLOW, counting, seed, seconds=300)
        assert run.rejected == []
        assert run.share >= 0.8


@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize("scenario", [HALVES, COUNTS_HALVES], ids=lambda scenario: str(scenario.name))
def test_a_limit_that_halves_and_returns_is_followed(scenario: Scenario, counting: Counting) -> None:
    run = simulate(OURS, scenario, counting, seed=11, seconds=300)
    assert 1 <= len(run.rejected) <= 6
    assert run.share_of_halved >= 0.85
    assert run.seconds_until_back <= 40


@virtual_time
@pytest.mark.parametrize("halved_for", [1.0, 33.0, 65.0, 96.0])
async def test_the_full_rate_is_back_within_forty_seconds_wherever_a_probe_fell(halved_for: float) -> None:
    bucket = TokenBucket(TWO_A_SECOND, clock=LoopClock())
    returns_at = now() + 10 + halved_for
    counted: list[float] = []
    while now() < returns_at + 60:
        async with bucket.slot() as slot:
            await asyncio.sleep(0.005)
            halved = returns_at - halved_for <= now() < returns_at
            if halved and counted and now() - counted[-1] < 1.0:
                slot.rejected()
            else:
                counted.append(now())
            await asyncio.sleep(0.005)
    late = [when for when in counted if returns_at + 40 <= when < returns_at + 60]
    assert len(late) >= 0.95 * 40


async def test_a_slot_that_nobody_else_wants_costs_little() -> None:
    # The goal is 5 microseconds: `python -m benchmarks.limiter_simulation --slot-cost` measures it. A busy
    # machine may be much slower, so this only catches a change of kind.
    started_at = time.perf_counter()
    assert await slot_cost(5_000) < 100
    assert time.perf_counter() - started_at < 5
