"""Rejections and throughput of ``TokenBucket`` and of other limiters, in simulated time.

``python -m benchmarks.limiter_simulation`` writes a table and a plot to ``benchmarks/results/``; it needs
the dependency group ``benchmarks``, and leaves out what is not installed. Simulated are the clock, the
network and the server. Twenty workers ask without a pause, and ask again what was rejected.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

from attrs import evolve

from benchmarks.limiters import CONTENDERS, OURS, Contender, installed
from benchmarks.simulated_time import (
    COUNTINGS,
    HALVED_FROM,
    HALVED_UNTIL,
    Run,
    Scenario,
    Server,
    SimulatedLoop,
    simulated_time_module,
)
from statuslookup import RateLimit, Response, TokenBucket
from statuslookup.sandbox import Counting

WORKERS: Final = 20
RESULTS: Final = Path(__file__).parent / "results"

CONSTANT = Scenario(name="constant delay of 20 ms", one_way=(0.02, 0.02))
QUICK = Scenario(name="round trip of 10 ms", one_way=(0.005, 0.005))
JITTER = Scenario(name="jitter, 20 to 120 ms one way", one_way=(0.02, 0.12))
LATE = Scenario(name="jitter, timers 0 to 50 ms late", one_way=(0.02, 0.12), lateness=0.05)
BLOCKED = Scenario(name="jitter, loop blocked 0.2 to 1 s", one_way=(0.02, 0.12), blocked=(0.2, 1.0))
STRAGGLERS = Scenario(name="jitter, 2 % stragglers of 0.8 s", one_way=(0.02, 0.12), stragglers=0.02)
SLOW = Scenario(name="slow server, 0.3 to 0.8 s", one_way=(0.005, 0.025), processing=(0.3, 0.8))
HALVES = Scenario(name="the limit halves for 120 s", one_way=(0.005, 0.005), halves=True)
COUNTS = Scenario(name="jitter, rejected ones count", one_way=(0.02, 0.12), count_rejected=True)
COUNTS_HALVES = Scenario(
    name="the limit halves, rejected ones count", one_way=(0.005, 0.005), halves=True, count_rejected=True
)
SCENARIOS: Final = (
    CONSTANT,
    QUICK,
    JITTER,
    LATE,
    BLOCKED,
    STRAGGLERS,
    SLOW,
    HALVES,
    COUNTS,
    COUNTS_HALVES,
)

LONG_ANSWERS = Scenario(name="answers take 1 s", one_way=(0.005, 0.025), processing=(1.0, 1.0))
LONG_WAYS = Scenario(name="a way of 0.4 s", one_way=(0.4, 0.4))


def _under_faults(case: Scenario) -> tuple[Scenario, ...]:
    return (
        case,
        evolve(case, name=f"{case.name}, 5 % of the ways stall for 1 to 2 s", stalls=0.05),
        evolve(case, name=f"{case.name}, the loop is blocked for 1 to 2 s", blocked=(1.0, 2.0)),
        evolve(case, name=f"{case.name}, the process is stopped for 2 s", stopped=2.0),
    )


LONG: Final = (*_under_faults(LONG_ANSWERS), *_under_faults(LONG_WAYS))
"""Where round trips are long, and worse; other limiters are not shown there."""


def simulate(
    contender: Contender, scenario: Scenario, counting: Counting, seed: int, seconds: float = 600.0
) -> Run:
    """Return what the server saw of twenty workers that ask without a pause."""
    if scenario.halves and seconds < HALVED_UNTIL + 50:
        raise ValueError(f"a limit that halves needs at least {HALVED_UNTIL + 50:g} seconds, not {seconds:g}")
    loop = SimulatedLoop(Random(seed), lateness=scenario.lateness)
    with asyncio.Runner(loop_factory=lambda: loop) as runner, simulated_time_module(loop):
        return runner.run(_simulate(loop, contender, scenario, counting, seconds))


async def _simulate(
    loop: SimulatedLoop, contender: Contender, scenario: Scenario, counting: Counting, seconds: float
) -> Run:
    server = Server(loop, scenario, counting, seconds)
    paced = contender.make(loop)

    async def work() -> None:
        while True:
            await paced(server.ask)

    async def block(longest: tuple[float, float]) -> None:
        while True:
            await asyncio.sleep(loop.random.uniform(2, 10))
            loop.block(loop.random.uniform(*longest))

    tasks = [asyncio.create_task(work()) for _ in range(WORKERS)]
    if scenario.blocked is not None:
        tasks.append(asyncio.create_task(block(scenario.blocked)))
    if scenario.stopped:
        tasks.append(asyncio.create_task(block((scenario.stopped, scenario.stopped))))
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(end, asyncio.CancelledError):
            raise RuntimeError(f"{contender.name} stopped before its time") from end
    return server.run


Runs: TypeAlias = dict[tuple[Contender, Scenario, Counting], list[Run]]


def _simulate_case(case: tuple[str, Scenario, Counting, int, float]) -> Run:
    name, scenario, counting, seed, seconds = case
    contender = next(contender for contender in CONTENDERS if contender.name == name)
    return simulate(contender, scenario, counting, seed, seconds)


def simulate_all(contenders: Sequence[Contender], *, seeds: int, seconds: float) -> Runs:
    """Simulate every contender in every scenario under every way of counting, on all processors."""
    cases = [*product(contenders, SCENARIOS, COUNTINGS), *product([OURS], LONG, COUNTINGS)]
    # A contender holds a function, which cannot be sent to another process: its name can.
    work = [(case[0].name, case[1], case[2], seed, seconds) for case in cases for seed in range(seeds)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = pool.map(_simulate_case, work, chunksize=8)
        return {case: [next(runs) for _ in range(seeds)] for case in cases}


async def slot_cost(slots: int = 200_000) -> float:
    """Return the microseconds of a processor that a slot costs which nobody else wants."""
    bucket = TokenBucket(RateLimit(1e9))
    rounds, found = [], Response(200)
    for _ in range(100):
        started_at = time.process_time()
        for _ in range(slots // 100):
            async with bucket.slot() as slot:
                slot.done(found)
        rounds.append(time.process_time() - started_at)
    return statistics.median(rounds) / (slots // 100) * 1e6


def goals(runs: Runs, cost: float) -> list[tuple[str, str, bool]]:
    """Return what ``TokenBucket`` is to reach, what it reached at worst, and whether that is enough."""

    def of(scenarios: Sequence[Scenario], countings: Sequence[Counting] = COUNTINGS) -> list[Run]:
        return [run for case in product([OURS], scenarios, countings) for run in runs[case]]

    def rejections(found: list[Run]) -> int:
        return max(len(run.rejected) for run in found)

    def share(found: list[Run]) -> float:
        return min(run.share for run in found)

    steady = of([CONSTANT, QUICK, JITTER, LATE, BLOCKED, STRAGGLERS, COUNTS])
    closest = min(run.closest for run in steady)
    windows: list[Counting] = ["fixed_window", "sliding_window"]
    slow, long, ways = of([SLOW], windows), of(LONG, windows), of([LONG_WAYS], windows)
    halved = of([HALVES, COUNTS_HALVES])
    share_of_halved = min(run.share_of_halved for run in halved)
    until_back = max(run.seconds_until_back for run in halved)
    return [
        ("short round trips: 0 rejections", f"{rejections(steady)}", rejections(steady) == 0),
        ("short round trips: counted 0.5 s apart or more", f"{closest:.4f} s", closest >= 0.5 - 1e-9),
        (f"{QUICK.name}: 95 % of the rate", f"{share(of([QUICK])):.1%}", share(of([QUICK])) >= 0.95),
        (f"{JITTER.name}: 80 %", f"{share(of([JITTER])):.1%}", share(of([JITTER])) >= 0.80),
        (f"{COUNTS.name}: 80 %", f"{share(of([COUNTS])):.1%}", share(of([COUNTS])) >= 0.80),
        (f"{SLOW.name}, both windows: 0 rejections", f"{rejections(slow)}", rejections(slow) == 0),
        (f"{SLOW.name}, both windows: 68 %", f"{share(slow):.1%}", share(slow) >= 0.68),
        ("long round trips, both windows: 0 rejections", f"{rejections(long)}", rejections(long) == 0),
        (f"{LONG_WAYS.name}, both windows: 70 %", f"{share(ways):.1%}", share(ways) >= 0.70),
        (f"{HALVES.name}: 6 rejections at most", f"{rejections(halved)}", rejections(halved) <= 6),
        (f"{HALVES.name}: 85 % of the halved rate", f"{share_of_halved:.1%}", share_of_halved >= 0.85),
        (f"{HALVES.name}: back at 95 % within 40 s", f"{until_back:.1f} s", until_back <= 40),
        ("an uncontended slot: 5 microseconds", f"{cost:.1f} microseconds", cost <= 5),
    ]


def _cells(runs: Runs, contender: Contender, scenario: Scenario, figure: Callable[[Run], float]) -> str:
    """Return the means of a figure, one for each way of counting."""
    found = (runs[contender, scenario, counting] for counting in COUNTINGS)
    return " / ".join(f"{sum(map(figure, each)) / len(each):.0f}" for each in found)


def table(runs: Runs, versions: dict[Contender, str], cost: float, *, seeds: int, seconds: float) -> str:
    """Return the results in Markdown."""
    lines = [
        "# Limiters, simulated",
        "",
        f"`python -m benchmarks.limiter_simulation --seeds {seeds} --seconds {seconds:g}`: {WORKERS} workers,"
        f" {seconds:g} simulated seconds, {seeds} seeds, limit 2 requests a second, Python"
        f" {platform.python_version()}.",
        "",
        "## TokenBucket against its goals (the worst of all runs)",
        "",
        "| goal | measured | met |",
        "| --- | --- | --- |",
        *(f"| {text} | {figure} | {'yes' if met else '**no**'} |" for text, figure, met in goals(runs, cost)),
        "",
        f"The limit is halved from second {HALVED_FROM:g} to second {HALVED_UNTIL:g}; the rate is back when"
        " ten seconds see 95 % of it. Where round trips are long (the slow server, and the cases of the"
        " next table), requests are windowed, which does not promise strict spacing.",
        "",
        "## TokenBucket where round trips are long",
        "",
        "Server counting by fixed window / sliding window / strict spacing.",
        "",
        "| case | rejections per 1000 requests | percent of the limit |",
        "| --- | --- | --- |",
        *(
            f"| {case.name} | {_cells(runs, OURS, case, lambda run: run.rejected_per_thousand)}"
            f" | {_cells(runs, OURS, case, lambda run: 100 * run.share)} |"
            for case in LONG
        ),
    ]
    sections: list[tuple[str, Callable[[Run], float]]] = [
        ("Rejections per 1000 requests", lambda run: run.rejected_per_thousand),
        ("Admitted requests, in percent of the limit", lambda run: 100 * run.share),
    ]
    names = [scenario.name for scenario in SCENARIOS]
    for title, figure in sections:
        lines += [
            "",
            f"## {title}",
            "",
            "Server counting by fixed window / sliding window / strict spacing.",
            "",
        ]
        lines += [f"| limiter | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        for contender in versions:
            cells = (_cells(runs, contender, scenario, figure) for scenario in SCENARIOS)
            lines.append(f"| {contender.name} | {' | '.join(cells)} |")
    packages = {contender.package: number for contender, number in versions.items() if contender is not OURS}
    left_out = sorted({contender.package for contender in CONTENDERS} - {*packages, OURS.package})
    lines += [
        "",
        "## How the others were driven",
        "",
        f"Versions: {', '.join(f'{name} {number}' for name, number in packages.items()) or 'none'}."
        f" Not installed: {', '.join(left_out) or 'none'}.",
        "",
        "- aiolimiter and asynciolimiter read the event loop's clock, which is simulated. The others read the"
        " `time` module, which is replaced during a run.",
        "- asynciolimiter's `LeakyBucketLimiter` is left out: it grants a burst at the start by design.",
        "- limits does not wait: as its README shows, a worker sleeps until `get_window_stats` says that the"
        " window resets (1 ms at least), and tries again. Its clean-up in a thread runs in the event loop.",
        "- pyrate-limiter runs behind `BucketAsyncWrapper`, as its README says for asyncio.",
        "- throttled-py waits by itself for up to `timeout=60`; a worker that got no turn in it asks again.",
        "- None of them is told of a 429.",
        "",
    ]
    return "\n".join(lines)


def plot(runs: Runs, contenders: Sequence[Contender], scenario: Scenario) -> str:
    """Return bars of the rejections per 1000 requests in one scenario, as an SVG image."""
    colours = dict(zip(COUNTINGS, ("#4477aa", "#ddaa33", "#bb5566"), strict=True))
    left, width, row, top = 350, 420, 46, 76
    height = top + row * len(contenders) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" height="{height}"'
        ' font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16">Rejections per 1000 requests: {scenario.name}</text>',
    ]
    for index, counting in enumerate(COUNTINGS):
        x = left + 140 * index
        parts.append(f'<rect x="{x}" y="42" width="12" height="12" fill="{colours[counting]}"/>')
        parts.append(f'<text x="{x + 18}" y="53">{counting.replace("_", " ")}</text>')
    for index, contender in enumerate(contenders):
        y = top + row * index
        name = contender.name.replace("&", "&amp;").replace('"', "&quot;")
        parts.append(f'<text x="{left - 10}" y="{y + 22}" text-anchor="end">{name}</text>')
        for place, counting in enumerate(COUNTINGS):
            found = runs[contender, scenario, counting]
            figure = sum(run.rejected_per_thousand for run in found) / len(found)
            bar = max(1.0, width * figure / 1000)
            parts.append(
                f'<rect x="{left}" y="{y + 12 * place}" width="{bar:.1f}" height="10"'
                f' fill="{colours[counting]}"/>'
                f'<text x="{left + bar + 5:.1f}" y="{y + 12 * place + 9}" font-size="10">{figure:.0f}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    """Run the simulation; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description="Simulate TokenBucket and other limiters.")
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="simulated seconds of a run, 230 at least"
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each case")
    parser.add_argument("--ours", action="store_true", help="print the goals of TokenBucket, write nothing")
    parser.add_argument("--slot-cost", action="store_true", help="measure only what a slot costs")
    arguments = parser.parse_args()
    cost = asyncio.run(slot_cost())
    if arguments.slot_cost:
        print(f"an uncontended slot costs {cost:.2f} microseconds")
        return 0 if cost <= 5 else 1
    versions = {OURS: "here"} if arguments.ours else dict(installed())
    runs = simulate_all(list(versions), seeds=arguments.seeds, seconds=arguments.seconds)
    results = goals(runs, cost)
    for text, figure, met in results:
        print(f"{'met   ' if met else 'MISSED'} {text}: {figure}")
    if not arguments.ours:
        RESULTS.mkdir(exist_ok=True)
        page = table(runs, versions, cost, seeds=arguments.seeds, seconds=arguments.seconds)
        (RESULTS / "limiter_simulation.md").write_text(page, encoding="utf-8")
        (RESULTS / "limiter_simulation.svg").write_text(plot(runs, list(versions), JITTER), encoding="utf-8")
    return 0 if all(met for _, _, met in results) else 1


if __name__ == "__main__":
    sys.exit(main())
