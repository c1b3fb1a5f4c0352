"""The limiter against simulated servers: ``benchmarks.limiter_simulation``, in small."""

import time

import pytest

from benchmarks.limiter_simulation import (
    BLOCKED,
    CONSTANT,
    COUNTS,
    COUNTS_HALVES,
    HALVES,
    JITTER,
    LATE,
    LONG,
    LONG_WAYS,
    QUICK,
    SLOW,
    STRAGGLERS,
    simulate,
    slot_cost,
)
from benchmarks.limiters import OURS
from benchmarks.simulated_time import COUNTINGS, Scenario
from statuslookup.sandbox import Counting

WINDOWS: list[Counting] = ["fixed_window", "sliding_window"]


def name_of(value: object) -> str | None:
    return value.name if isinstance(value, Scenario) else None


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
    ids=name_of,
)
def test_no_way_of_counting_sees_a_request_too_many(
    scenario: Scenario, share: float, counting: Counting
) -> None:
    for seed in (11, 12):
        run = simulate(OURS, scenario, counting, seed, seconds=120)
        assert run.rejected == []
        assert run.closest >= 0.5 - 1e-9
        assert run.share >= share


@pytest.mark.parametrize("counting", WINDOWS)
@pytest.mark.parametrize(
    ("scenario", "share"),
    [(SLOW, 0.66), *((scenario, 0.69 if scenario is LONG_WAYS else 0.3) for scenario in LONG)],
    ids=name_of,
)
def test_long_round_trips_break_no_window_and_leave_most_of_the_rate(
    scenario: Scenario, share: float, counting: Counting
) -> None:
    run = simulate(OURS, scenario, counting, seed=11, seconds=300)
    assert run.rejected == []
    assert run.share >= share


@pytest.mark.parametrize("counting", COUNTINGS)
@pytest.mark.parametrize("scenario", [HALVES, COUNTS_HALVES], ids=name_of)
def test_a_limit_that_halves_and_returns_is_followed(scenario: Scenario, counting: Counting) -> None:
    run = simulate(OURS, scenario, counting, seed=11, seconds=300)
    assert 1 <= len(run.rejected) <= 6
    assert run.share_of_halved >= 0.85
    assert run.seconds_until_back <= 40


async def test_a_slot_that_nobody_else_wants_costs_little() -> None:
    # The goal is 5 microseconds: `python -m benchmarks.limiter_simulation --slot-cost` measures it. A busy
    # machine may be much slower, so this only catches a change of kind.
    started_at = time.perf_counter()
    assert await slot_cost(5_000) < 100
    assert time.perf_counter() - started_at < 5
