"""What it takes to know what became of messages: the tracker, a ladder and a poll, in simulated time.

``python -m benchmarks.tracker`` writes tables and a plot to ``benchmarks/results/``; it takes some minutes.
Simulated are the messages, the webhooks, the provider and its limit; the ledger is the real one. The delivery
curve is an assumption. ``--ledger`` only measures what a million messages cost the ledger, on this machine.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

from attrs import frozen

from benchmarks.plots import Chart, image, plain
from benchmarks.tracker_costs import costs
from benchmarks.tracker_model import (
    DAY,
    NONE,
    ByAge,
    OurWay,
    Run,
    Simulation,
    Way,
    Webhooks,
    by_ladder,
    evenly,
    every,
)
from statuslookup import DeliveryState, Schedule

RESULTS: Final = Path(__file__).parent / "results"
DELIVERED: Final = DeliveryState.DELIVERED
MODEL: Final = Webhooks()
USUAL: Final = Schedule()
_SEED: Final = 15


@frozen(kw_only=True)
class Case:
    """One campaign, and one way of asking."""

    name: str
    way: str = "ledger"
    messages: int = 10_000
    seconds: float = DAY
    webhooks: Webhooks = MODEL
    schedule: Schedule = USUAL
    until: DeliveryState = DELIVERED

    def make(self) -> Way:
        if self.way == "poll":
            return ByAge(every(15), self.until)
        if self.way == "ladder":
            return ByAge(by_ladder, self.until)
        return OurWay(self.schedule, self.until, is_filled=self.way == "ledger")


TRACKER: Final = "the tracker"
A_DAY: Final = (
    Case(name=TRACKER),
    Case(name="the same, without filling", way="unfilled"),
    Case(name="the same, no webhooks at all", webhooks=NONE),
    Case(name="a ladder", way="ladder"),
    Case(name="a ladder, no webhooks", way="ladder", webhooks=NONE),
    Case(name="a poll every 15 s, no webhooks", way="poll", webhooks=NONE),
    Case(name="`first` 30 s", schedule=Schedule(first=30)),
    Case(name="`first` 60 s", schedule=Schedule(first=60)),
    Case(name="`longest` 4 h", schedule=Schedule(longest=14_400)),
    Case(name="webhooks lose 5 %", webhooks=Webhooks(lost=0.05)),
    Case(name="webhooks lose 60 %", webhooks=Webhooks(lost=0.6)),
    Case(name="`until=READ`", until=DeliveryState.READ),
)
LOADS: Final = (
    Case(name="100 a day (a small bot)", messages=100),
    Case(name="100,000 a day", messages=100_000),
    Case(name="1,000,000 a day", messages=1_000_000),
    Case(name="100,000 in 10 minutes", messages=100_000, seconds=600),
    Case(name="1,000,000 in an hour", messages=1_000_000, seconds=3600),
)
Runs: TypeAlias = Mapping[str, Run]


def simulate(case: Case) -> Run:
    sends = evenly(case.messages, case.seconds, _SEED)
    return Simulation(case.make(), sends, case.webhooks, case.until, _SEED).result()


def simulate_all(cases: tuple[Case, ...], *, at_once: int) -> dict[str, Run]:
    """Run the cases, the long ones first."""
    found: dict[str, Run] = {}
    by_length = sorted(cases, key=lambda case: (case.messages, case.way == "poll"), reverse=True)
    with ProcessPoolExecutor(at_once) as pool:
        for case, run in zip(by_length, pool.map(simulate, by_length), strict=True):
            found[case.name] = run
            print(f"{case.name}: {run.requests:,} requests, p90 {told(run.know(0.9))}", flush=True)
    return {case.name: found[case.name] for case in cases}


def told(seconds: float) -> str:
    """Return a time as people say it."""
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def known(run: Run) -> str:
    times = [*(run.know(share) for share in (0.5, 0.9, 0.99)), run.mean, max(run.delays)]
    return " | ".join(map(told, times))


def tables(a_day: Runs, loads: Runs, figures: list[tuple[str, str, str]]) -> Iterator[str]:
    ours = a_day[TRACKER]
    found_by_lookup = sorted(ours.by_lookup)
    yield "# What it takes to know what became of messages"
    yield ""
    yield "Made by `python -m benchmarks.tracker`, in simulated time, from the tracker's real ledger."
    yield ""
    yield "10,000 messages are sent in a day, and followed until they are over or 72 hours old. The delivery"
    yield "curve is the sandbox's, an assumption: 86 % of what is delivered is so in seconds, 8 % in minutes,"
    yield "5 % in hours, 1 % in about a day; 2 % fail, 1 % expire after 24 hours and 1 % early, and 3 % stay"
    yield "SENT. 30 % of the webhooks are lost, 10 % doubled, 10 % late by up to 5 minutes, 10 % held back."
    yield "A request carries 200 keys, and 1.85 a second can go. Times are from an end to knowing of it."
    yield ""
    yield "| 10,000 messages a day | requests | keys a message | p50 | p90 | p99 | mean | latest | wrong |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, run in a_day.items():
        keys = run.keys / run.messages
        yield f"| {name} | {run.requests:,} | {keys:.1f} | {known(run)} | {run.wrong} |"
    yield ""
    lookups = (found_by_lookup[len(found_by_lookup) // 2], found_by_lookup[len(found_by_lookup) * 9 // 10])
    yield f"The tracker found {len(found_by_lookup):,} of its ends by a lookup, half of them within"
    yield f"{told(lookups[0])} and 90 % within {told(lookups[1])}; webhooks told the others."
    yield ""
    yield "![The time to know against the requests](tracker.svg)"
    yield ""
    yield "| load | requests | keys a message | peak a second | open at most | late at p99"
    yield "| p50 | p90 | p99 | mean | latest | wrong |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, run in loads.items():
        late = sorted(run.late)[len(run.late) * 99 // 100]
        yield (
            f"| {name} | {run.requests:,} | {run.keys / run.messages:.1f} | {run.peak:.2f} |"
            f" {run.most_open:,} | {late:.1f} s | {known(run)} | {run.wrong} |"
        )
    yield ""
    yield '"Peak" is over ten minutes. "Late" is how long keys waited for the limit after they were due.'
    yield ""
    yield "| a million messages, on this machine | goal | measured |"
    yield "| --- | ---: | ---: |"
    for name, goal, figure in figures:
        yield f"| {name} | {goal} | {figure} |"
    yield ""


def plot(a_day: Runs) -> str:
    """Return the time to know against the requests, as an SVG image for light and dark."""
    points = {name: (run.requests, run.know(0.9), run.mean) for name, run in a_day.items()}
    ticks = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)

    def parts() -> Iterator[str]:
        for place, (figure, title) in enumerate(
            ((1, "90 of 100 known within"), (2, "the mean time to know"))
        ):
            values = [point[figure] for point in points.values()]
            chart = Chart(90 + 520 * place, 76, ticks, values)
            yield from chart.axes(f"{title}; requests for 10,000 messages below", ticks, "s")
            for number, (name, point) in enumerate(points.items(), 1):
                colour = "var(--c0)" if name == TRACKER else f"var(--c{1 + (number - 2) % 6})"
                yield from chart.mark(point[0], point[figure], colour, str(number))
        for number, name in enumerate(points, 1):
            x, y = 90 + 340 * ((number - 1) % 3), 430 + 22 * ((number - 1) // 3)
            yield f'<text x="{x}" y="{y}">{number}&#160;&#160;{plain(name)}</text>'

    return image(
        1050, 450 + 22 * ((len(points) + 2) // 3), "What it takes to know: requests and time", parts()
    )


def goals(loads: Runs) -> Iterator[tuple[str, bool]]:
    """Yield what is asked of a million messages in an hour, and whether it is met."""
    run = loads["1,000,000 in an hour"]
    late = sorted(run.late)[len(run.late) * 99 // 100]
    yield f"a million in an hour: {run.peak:.2f} requests a second at most, of 1.85", run.peak <= 1.86
    yield f"a million in an hour: 90 % known within {run.know(0.9):.1f} s, of 40", run.know(0.9) <= 40
    yield f"a million in an hour: due keys late by {late:.1f} s at p99, of 30", late <= 30
    yield (
        f"no end is wrong: {sum(run.wrong for run in loads.values())}",
        not any(r.wrong for r in loads.values()),
    )


def main() -> int:
    """Run the simulation; 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description="Simulate trackers, and measure the ledger.")
    parser.add_argument("--ledger", action="store_true", help="only measure a million messages")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="how many simulations")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    chosen = parser.parse_args()
    started_at = time.perf_counter()
    figures = costs()
    for name, goal, figure in figures:
        print(f"{name}: {figure} (goal: {goal})")
    if chosen.ledger:
        return 0
    runs = simulate_all(A_DAY + LOADS, at_once=chosen.at_once)
    a_day = {case.name: runs[case.name] for case in A_DAY}
    loads = {case.name: runs[case.name] for case in LOADS}
    chosen.results.mkdir(parents=True, exist_ok=True)
    (chosen.results / "tracker.md").write_text("\n".join(tables(a_day, loads, figures)), encoding="utf-8")
    (chosen.results / "tracker.svg").write_text(plot(a_day), encoding="utf-8")
    met = list(goals(loads))
    for text, is_met in met:
        print(f"{'met   ' if is_met else 'MISSED'} {text}")
    print(f"{time.perf_counter() - started_at:.0f} s")
    return 0 if all(is_met for _, is_met in met) else 1


if __name__ == "__main__":
    sys.exit(main())
