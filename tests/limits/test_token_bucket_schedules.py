"""The bucket under any schedule: nobody is passed, and nobody is lost."""

import asyncio
from itertools import pairwise

from attrs import field, frozen, mutable
from hypothesis import given, settings
from hypothesis import strategies as st

from statuslookup import Pacing, ProviderError, Response, TokenBucket
from tests.support.fakes import now
from tests.support.turns import FOUND, LOST, TWO_A_SECOND, take_turns, too_many
from tests.support.virtual_time import LoopClock, VirtualTimeLoop


@frozen
class Plan:
    """One request: when it is asked for, what becomes of it, and when somebody cancels it."""

    pause: float
    takes: float
    reply: Response | ProviderError | None
    cancelled_after: float | None


@mutable
class Story:
    """What became of the requests."""

    asked: list[int] = field(factory=list)
    granted: list[int] = field(factory=list)
    granted_at: list[float] = field(factory=list)


# Multiples of a sixty-fourth of a second meet each other exactly, and that is where the races are.
ticks = st.integers(0, 96).map(lambda tick: tick / 64)
plans = st.builds(
    Plan,
    pause=st.just(0.0) | ticks | st.just(10.0),
    takes=ticks | st.just(0.9) | st.just(4.0),
    reply=st.sampled_from([FOUND, FOUND, FOUND, LOST, None]) | st.none() | st.floats(0, 90).map(too_many),
    cancelled_after=st.none() | st.none() | ticks,
)
schedules = st.lists(plans, min_size=1, max_size=40)
blocks = st.lists(st.tuples(ticks, ticks), max_size=4)


async def live(bucket: TokenBucket, plan: Plan, number: int, story: Story) -> None:
    story.asked.append(number)
    async with bucket.slot() as slot:
        story.granted.append(number)
        granted_at = now()
        reply: Response | ProviderError | None = LOST
        try:
            await asyncio.sleep(plan.takes)
            reply = plan.reply
        finally:
            if reply is not None:
                story.granted_at.append(granted_at)
                slot.done(reply)


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
        assert task.cancelled() or number in story.granted
    stats = bucket.stats()
    assert (stats.waiting, stats.in_flight, bucket._timer) == (0, 0, None)
    # Whoever comes later is served, however the others went.
    await asyncio.wait_for(take_turns(bucket, 2, takes=0.1), 600)
    return story


@settings(max_examples=150)
@given(pacing=st.sampled_from(["auto", "spaced", "windowed"]), schedule=schedules, blocked=blocks)
def test_any_schedule(pacing: Pacing, schedule: list[Plan], blocked: list[tuple[float, float]]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        story = runner.run(play(pacing, schedule, blocked))
    assert story.granted == [number for number in story.asked if number in set(story.granted)]
    moments = sorted(story.granted_at)
    assert all(later - earlier >= 0.5 - 1e-9 for earlier, later in pairwise(moments))
