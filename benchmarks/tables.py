"""What was measured, as tables in Markdown."""

import math
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from statistics import median as middle
from typing import Final

from .at_limit import OPTIMUM, RATES
from .goals import Goal
from .runner import Found
from .scenario import OURS, Scenario, median, ratios
from .server import COUNTINGS

_PACKAGES: Final = (
    "httpx",
    "cattrs",
    "aiolimiter",
    "aiodataloader",
    "strawberry-graphql",
    "whatsapp-api-client-python",
)

Rows = Iterator[str]


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def head(first: str, *others: str) -> Rows:
    yield row(first, *others)
    yield row("---", *("---:" for _ in others))


def amount(seconds: float) -> str:
    """Return seconds as microseconds, or as milliseconds where they are many."""
    if seconds >= 0.01:
        return f"{seconds * 1e3:,.1f} ms"
    return f"{seconds * 1e6:,.1f} µs"


def spread(values: list[float]) -> str:
    """Return the median of paired ratios and, of several, their range."""
    text = f"{middle(values):.2f}"
    return text if len(values) == 1 else f"{text} ({values[0]:.2f} to {values[-1]:.2f})"


def timed_table(scenario: Scenario, found: Found) -> Rows:
    """One line a contender: what it costs, and how many times as much as the base's."""
    has_counts = scenario.has_server
    counts = ("requests", "keys sent") if has_counts else ()
    compared = scenario.base.replace("`", "")
    yield from head(
        "",
        f"processor time {scenario.unit}",
        f"times that of {compared}",
        f"time {scenario.unit}",
        f"times that of {compared}",
        *counts,
    )
    for name, rounds in found.runs.items():
        cells = [name]
        for figure in ("cpu", "wall"):
            cells.append(amount(median(rounds, figure)))
            cells.append(spread(ratios(found.runs, name, scenario.base, figure)))
        if has_counts:
            cells += [f"{median(rounds, figure):,.0f}" for figure in ("requests", "keys")]
        yield row(*cells)


def scaling_table(_: Scenario, found: Found) -> Rows:
    yield from head("keys", "processor time a key", "time a key", "peak memory")
    for rounds in found.runs.values():
        keys, peak = median(rounds, "size"), max(run["peak"] for run in rounds)
        costs = (amount(median(rounds, figure)) for figure in ("cpu", "wall"))
        yield row(f"{keys:,.0f}", *costs, f"{peak:.0f} MiB")


def pending_table(scenario: Scenario, found: Found) -> Rows:
    base = median(found.runs[scenario.base], "bytes")
    yield from head("", "bytes", "more than the future")
    for name, rounds in found.runs.items():
        used = median(rounds, "bytes")
        yield row(name, f"{used:,.0f}", f"{used - base:+,.0f}")


def _of_countings(found: Found, name: str, case: str, figure: str) -> str:
    """Return a count for each way of counting; one figure if they are all the same."""
    counts = [f"{median(found.runs[name], f'{case}{way}: {figure}'):,.0f}" for way in COUNTINGS]
    return counts[0] if len(set(counts)) == 1 else " / ".join(counts)


def _worst(found: Found, name: str, case: str, figure: str) -> float:
    return max(median(found.runs[name], f"{case}{way}: {figure}") for way in COUNTINGS)


def waited(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.2f} s"


def at_once_table(_: Scenario, found: Found) -> Rows:
    yield from head("", "until the last answer", "requests", "rejections")
    for name in found.runs:
        counts = (_of_countings(found, name, "", figure) for figure in ("requests", "rejections"))
        yield row(name, waited(_worst(found, name, "", "last")), *counts)


def varying_table(_: Scenario, found: Found) -> Rows:
    yield from head("", "p50", "p99", "requests", "rejections")
    for name in found.runs:
        times = (waited(_worst(found, name, "", figure)) for figure in ("p50", "p99"))
        counts = (_of_countings(found, name, "", figure) for figure in ("requests", "rejections"))
        yield row(name, *times, *counts)


def arrivals_table(_: Scenario, found: Found) -> Rows:
    yield from head("arrivals", "", "p50", "p99", "requests", "keys a request", "rejections")
    for rate in RATES:
        case = f"{rate}, "
        for name in found.runs:
            keys, requests = (_worst(found, name, case, figure) for figure in ("keys", "requests"))
            yield row(
                f"{rate} a second" if name == OPTIMUM else "",
                name,
                *(waited(_worst(found, name, case, figure)) for figure in ("p50", "p99")),
                _of_countings(found, name, case, "requests"),
                f"{keys / requests:.1f}",
                _of_countings(found, name, case, "rejections"),
            )


def sockets_table(_: Scenario, found: Found) -> Rows:
    names = list(found.runs)
    yield from head("", *names)
    for case in [name.removesuffix(": last") for name in found.runs[OURS][0] if name.endswith(": last")]:
        cells = []
        for name in names:
            last, p50, p99, requests, rejections = (
                median(found.runs[name], f"{case}: {figure}")
                for figure in ("last", "p50", "p99", "requests", "rejections")
            )
            times = f"last {waited(last)}" if case in COUNTINGS else f"p50 {waited(p50)}, p99 {waited(p99)}"
            cells.append(f"{times}; {requests:.0f} requests, {rejections:.0f} rejections")
        yield row(f"2,000 at once, {case}" if case in COUNTINGS else case, *cells)


_TABLES: Final[Mapping[str, Callable[[Scenario, Found], Rows]]] = {
    "scaling": scaling_table,
    "pending": pending_table,
    "limit-at-once": at_once_table,
    "limit-arrivals": arrivals_table,
    "limit-varying": varying_table,
    "limit-over-sockets": sockets_table,
}
_THREE: Final = f"Three figures are those of a server that counts by {', '.join(COUNTINGS)}."


def goals_table(goals: list[Goal]) -> Rows:
    yield from head("", "goal", "measured", "met")
    for goal in goals:
        met = "" if goal.is_met is None else "yes" if goal.is_met else "**no**"
        yield row(goal.case, goal.wanted, goal.measured, met)


def section(name: str, title: str, text: str, rows: Rows) -> Rows:
    """Yield the lines between two marks, by which a page includes them."""
    yield from (f"## {title}", "", f"<!-- {name} -->", "")
    if text:
        yield from (text, "")
    yield from rows
    yield from ("", f"<!-- end of {name} -->", "")


def document(scenarios: Mapping[str, Scenario], found: Mapping[str, Found], goals: list[Goal]) -> str:
    """Return the page of all tables."""
    lines = ["# Measured", "", f"`python -m benchmarks`; {', '.join(_versions())}.", ""]
    lines += section("goals", "Goals", "", goals_table(goals))
    for name, scenario in scenarios.items():
        if name in found:
            each = found[name]
            notes = [scenario.text]
            if name.startswith("limit-"):
                notes.append(_THREE)
            rounds = "1 round" if each.rounds == 1 else f"{each.rounds} rounds"
            size = "" if math.isclose(each.size, 100_000) else f"; in small, as of {each.size:,} messages"
            notes.append(f"Medians of {rounds}, Python {each.python}{size}.")
            table = _TABLES.get(name, timed_table)
            lines += section(name, scenario.title, " ".join(notes), table(scenario, each))
    return "\n".join(lines)


def _versions() -> Iterator[str]:
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"{package} is not installed, and left out"
