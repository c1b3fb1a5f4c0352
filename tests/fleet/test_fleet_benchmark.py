"""The benchmark of fleets, in small: it measures what it says, and shows what it measured."""

import pytest

from benchmarks.fleet import QUICK, burst_goals, count_rows, goal_rows, rate_goals, rate_rows
from benchmarks.fleet_cases import FLEET, ONE, Bench, Run, ways
from benchmarks.fleet_limiters import LIMITERS
from benchmarks.fleet_member import Findings
from benchmarks.plots import processes_plot
from tests.support.redis_servers import RedisServer


def made_up(latency: float, *, rejections: int = 0, lasting: list[str] | None = None) -> Run:
    findings = [Findings(answers=100, latencies=[latency] * 100)]
    return Run(findings, 1, 100, rejections, scripts=20, microseconds=300, lasting=lasting or [])


def test_a_run_counts_what_processes_and_redis_did(server: RedisServer) -> None:
    for _ in range(5):
        run = Bench(server).at_once(FLEET, 2, 5, are_equal=True)
        assert (run.lookups, run.failed, run.rejections, run.lasting) == (10, 0, 0, [])
        if run.keys == 5:
            break
    # Equal keys are asked for once, unless the system lets one process begin later than the other each time.
    assert run.keys == 5
    assert run.scripts > 0
    assert run.microseconds > 0
    assert {name for name, _, _ in run.asked} == {run.asked[0][0]}


@pytest.mark.parametrize("name", LIMITERS)
def test_a_limit_of_a_library_is_shared(server: RedisServer, name: str) -> None:
    if name not in ways():
        pytest.skip("a peer that is not installed is left out of the benchmarks, too")
    run = Bench(server).at_once(name, 2, 201)
    assert (run.lookups, run.failed) == (402, 0)
    # Four requests: the last one waits for 1.5 s, less what a process begins late. Alone, it would be 0.5 s.
    assert run.longest >= 0.9


def test_a_goal_that_is_missed_is_shown() -> None:
    good = {10: {ONE: [made_up(0.5)], FLEET: [made_up(0.54)]}}
    assert all(goal.is_met for goal in rate_goals(good))
    bad = {10: {ONE: [made_up(0.5)], FLEET: [made_up(0.56, rejections=1, lasting=["x"])]}}
    missed = [goal for goal in rate_goals(bad) if not goal.is_met]
    assert [goal.measured for goal in missed] == ["1", "1.12", "1.12", "1"]
    assert all("**no**" in line for line in goal_rows(missed))
    runs = {FLEET: made_up(0.5), ONE: made_up(0.5)}
    assert [goal.is_met for goal in burst_goals(runs, runs, made_up(0.5), QUICK)] == [False, True, False]


def test_tables_and_the_plot_have_every_way() -> None:
    found = {way: [(2, made_up(0.5)), (4, made_up(1.5))] for way in (ONE, *ways())}
    rows = list(count_rows(found))
    assert len(rows) == 1 + 2 * len(ways())
    assert all(row.count("|") == 9 for row in rows)
    rates = list(rate_rows({10: {ONE: [made_up(0.5)] * 3, FLEET: [made_up(0.5)] * 3}}, 4))
    assert [row.count("|") for row in rates] == [7, 7]
    assert "| 0.50 / 0.50 / 0.50 | 0.20 | 3 |" in rates[1]
    plot = processes_plot({"a": [(1, 0.5), (10, 0.6)], "b": [(1, 0.5), (10, 9.0)]}, "A title")
    assert plot.count("<polyline") == 2
    assert "prefers-color-scheme: dark" in plot
