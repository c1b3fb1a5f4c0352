"""The limiter's two ways of pacing: by answers and by grants."""

import asyncio
from itertools import pairwise

import pytest

from statuslookup import RateLimit
from tests.support.turns import Journal, journal, now, take_turns

virtual_time = pytest.mark.virtual_time


@virtual_time
async def test_long_round_trips_lead_to_pacing_by_grants_and_short_ones_back() -> None:
    log = journal()
    # The first one is no sample: it opened a connection.
    await take_turns(log.bucket, 10, takes=0.9)
    assert "by answers" in repr(log.bucket)
    await take_turns(log.bucket, 1, takes=0.9)
    assert "by grants" in repr(log.bucket)
    await asyncio.gather(*(log.ask(str(index), takes=0.9) for index in range(10)))
    times = list(log.granted.values())
    # Round trips that are all alike need the smallest margin only.
    assert all(later - earlier == pytest.approx(0.525) for earlier, later in pairwise(times[1:]))
    await take_turns(log.bucket, 20, takes=0.05)
    assert "by answers" in repr(log.bucket)


@virtual_time
@pytest.mark.parametrize(
    ("round_trip", "by_grants"), [(0.6, False), (0.65, False), (0.68, True), (0.9, True)]
)
async def test_answers_are_kept_to_while_they_reach_three_fifths_of_the_limit(
    round_trip: float, by_grants: bool
) -> None:
    # Half of the round trip is credited: at 2 / 3 of a second, the share is 0.5 / (0.5 + 1 / 3).
    log = journal()
    was_by_grants = False
    for _ in range(40):
        await take_turns(log.bucket, 1, takes=round_trip)
        was_by_grants = was_by_grants or "by grants" in repr(log.bucket)
    assert was_by_grants == by_grants


@virtual_time
@pytest.mark.parametrize(("round_trip", "by_grants"), [(0.55, True), (0.52, False)])
async def test_grants_are_kept_to_while_answers_would_reach_barely_more(
    round_trip: float, by_grants: bool
) -> None:
    log = journal()
    await take_turns(log.bucket, 2, takes=round_trip)
    await take_turns(log.bucket, 19, takes=1.5)
    assert "by grants" in repr(log.bucket)
    await take_turns(log.bucket, 40, takes=round_trip)
    assert ("by grants" in repr(log.bucket)) == by_grants


@virtual_time
async def test_the_answer_that_leads_back_to_answers_paces_the_next_request() -> None:
    log = journal()
    await take_turns(log.bucket, 21, takes=0.9)
    assert "by grants" in repr(log.bucket)
    for _ in range(40):
        await take_turns(log.bucket, 1, takes=0.3)
        if "by answers" in repr(log.bucket):
            break
    answered_at = now()
    await log.ask("next")
    assert log.granted["next"] + 1000.0 - answered_at == pytest.approx(0.5 - 0.15)


@virtual_time
async def test_when_the_mode_changes_the_requests_around_it_keep_apart() -> None:
    log = journal()
    await take_turns(log.bucket, 10, takes=0.9)
    await asyncio.gather(*(log.ask(name, takes=0.9) for name in "ab"))
    assert "by grants" in repr(log.bucket)
    # Half of the credit of the smallest round trip was earned by ten samples.
    assert log.granted["b"] - log.granted["a"] == pytest.approx(0.9 + 0.5 - 0.225)


@virtual_time
async def test_after_a_change_to_answers_what_is_under_way_is_waited_for() -> None:
    log = journal()
    await take_turns(log.bucket, 11, takes=0.9)
    await asyncio.gather(
        log.ask("a", takes=2.0), log.ask("b", takes=2.0), log.ask("c", takes=0.1, rejected=0.0), log.ask("d")
    )
    assert "by answers" in repr(log.bucket)
    assert log.granted["d"] >= log.granted["b"] + 2.0 + 0.5


@virtual_time
async def test_a_429_while_pacing_by_grants_leads_back_to_answers_for_ten_minutes() -> None:
    log = journal()
    await take_turns(log.bucket, 11, takes=0.9)
    assert "by grants" in repr(log.bucket)
    await log.ask("a", takes=0.9, rejected=None)
    rejected_at = now()
    assert "by answers" in repr(log.bucket)
    while "by answers" in repr(log.bucket):
        await take_turns(log.bucket, 1, takes=0.9)
        assert now() < rejected_at + 700
    assert 600 <= now() - rejected_at <= 620


@virtual_time
async def test_a_break_leads_back_to_answers_for_connections_are_opened_anew() -> None:
    log = journal()
    await take_turns(log.bucket, 11, takes=0.9)
    await asyncio.sleep(2.9)
    await log.ask("after a moment", takes=0.9)
    assert "by grants" in repr(log.bucket)
    await asyncio.sleep(3.1)
    await log.ask("after a break", takes=0.9)
    assert "by answers" in repr(log.bucket)


@virtual_time
async def test_an_answer_that_is_long_in_coming_is_no_break() -> None:
    log = journal()
    await take_turns(log.bucket, 11, takes=0.9)
    first = log.ask("first", takes=10.0)
    await asyncio.sleep(9)
    await log.ask("second", takes=0.9)
    assert "by grants" in repr(log.bucket)
    await first


@virtual_time
async def test_a_long_interval_is_no_break() -> None:
    log = journal(RateLimit(1, per=10.0), pacing="grants")
    await take_turns(log.bucket, 30, takes=0.2)
    await asyncio.gather(log.ask("a"), log.ask("b"))
    assert log.granted["b"] - log.granted["a"] == pytest.approx(10.5)


@virtual_time
async def test_lookups_far_apart_do_not_lead_to_pacing_by_grants() -> None:
    log = journal()
    for _ in range(40):
        await take_turns(log.bucket, 1, takes=0.9)
        await asyncio.sleep(10)
    assert "by answers" in repr(log.bucket)


@virtual_time
async def test_a_break_forgets_the_jitter() -> None:
    log = journal(pacing="grants")
    await take_turns(log.bucket, 21, takes=0.2)
    await asyncio.sleep(3.1)
    await asyncio.gather(log.ask("a", takes=0.2), log.ask("b"))
    assert log.granted["b"] - log.granted["a"] == pytest.approx(0.6)


@virtual_time
async def test_pacing_by_grants_can_be_chosen_and_stays_after_a_429() -> None:
    log = journal(pacing="grants")
    assert "by grants" in repr(log.bucket)
    await take_turns(log.bucket, 30, takes=0.01)
    await log.ask("a", rejected=None)
    assert "by grants" in repr(log.bucket)


@virtual_time
async def test_pacing_by_answers_can_be_chosen_and_stays() -> None:
    log = journal(pacing="answers")
    await take_turns(log.bucket, 30, takes=5.0)
    assert "by answers" in repr(log.bucket)


@virtual_time
async def test_the_margin_grows_with_the_jitter_up_to_a_fifth() -> None:
    def spacing(log: Journal) -> float:
        first, second = log.granted["a"], log.granted["b"]
        return second - first

    for jitter, expected in [(0.0, 0.525), (0.14, 0.57), (2.0, 0.6)]:
        log = journal(pacing="grants")
        for index in range(21):
            await take_turns(log.bucket, 1, takes=0.2 + jitter * (index % 2))
        await asyncio.gather(log.ask("a"), log.ask("b"))
        assert spacing(log) == pytest.approx(expected), jitter


@virtual_time
async def test_by_grants_sixteen_requests_are_in_flight_at_most() -> None:
    log = journal(pacing="grants")
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, log.bucket.stats().in_flight)
            await asyncio.sleep(0.1)

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(log.ask(str(index), takes=60) for index in range(40)))
    watcher.cancel()
    assert most == 16


@virtual_time
async def test_a_request_that_fails_by_grants_keeps_the_next_one_a_step_away() -> None:
    log = journal(pacing="grants")
    second = log.ask("a", takes=0.55, error=ConnectionError("reset"))
    await asyncio.gather(second, log.ask("b"))
    assert log.granted["b"] == pytest.approx(0.55 + 0.6)
