"""What the library is built to reach, beside what was measured."""

from collections.abc import Callable, Iterator, Mapping
from statistics import median as middle
from typing import Final

from attrs import frozen

from .alone import FUTURE, HTTPX, IMPORTS, SCALES
from .at_limit import OPTIMUM, RATES
from .peers import AIODATALOADER, DISPATCHER
from .runner import Found
from .scenario import OURS, median, ratios
from .server import COUNTINGS
from .without_limit import BEFORE, FLOOR_WITH_FUTURES, GET_MANY, STREAM

_TOO_FULL: Final = 390


@frozen
class Goal:
    case: str
    wanted: str
    measured: str
    is_met: bool | None
    """``None`` if nothing was asked for."""


def faster(case: str, found: Found, ours: str, other: str, times: float, told: str) -> Iterator[Goal]:
    """Processor time: another one's, over ours."""
    if other in found.runs:
        values = ratios(found.runs, other, ours, "cpu")
        shown = f"{middle(values):.2f} times ({values[0]:.2f} to {values[-1]:.2f})"
        yield Goal(case, f"{times:.2f} times {told}", shown, middle(values) >= times)


def distinct(found: Found) -> Iterator[Goal]:
    case = "distinct lookups"
    yield from faster(case, found, OURS, DISPATCHER, 1.35, "the dispatcher by hand")
    yield from faster(case, found, OURS, AIODATALOADER, 1.4, "aiodataloader")
    pairs = zip(found.runs[OURS], found.runs[FLOOR_WITH_FUTURES], strict=True)
    above = middle((ours["cpu"] - floor["cpu"]) * 1e6 for ours, floor in pairs)
    wanted = "1.5 µs above the floor with a future each"
    yield Goal(case, wanted, f"{above:.1f} µs above", above <= 1.5)


def custom_ids(found: Found) -> Iterator[Goal]:
    yield from faster("by customId", found, OURS, DISPATCHER, 1.15, "the dispatcher by hand")


def five_at_once(found: Found) -> Iterator[Goal]:
    case, keys = "each key five times at once", median(found.runs[OURS], "keys")
    wanted = found.size // 5
    yield Goal(case, f"{wanted:,} keys sent", f"{keys:,.0f}", keys == wanted)
    yield from faster(case, found, OURS, DISPATCHER, 1.08, "the dispatcher by hand")


def bulk(found: Found) -> Iterator[Goal]:
    for name in (GET_MANY, STREAM):
        yield from faster(name, found, name, BEFORE.format(name), 1.5, "itself before")


def from_memory(found: Found) -> Iterator[Goal]:
    yield from faster("from memory", found, OURS, DISPATCHER, 1.05, "the dispatcher by hand")


def scaling(found: Found) -> Iterator[Goal]:
    _, few, _, many = SCALES
    values = ratios(found.runs, many, few, "cpu")
    keys = [f"{median(found.runs[name], 'size'):,.0f}" for name in (few, many)]
    case = f"`stream`, from {keys[0]} to {keys[1]} keys"
    yield Goal(case, "cost a key at most 1.10 times", f"{middle(values):.2f} times", middle(values) <= 1.1)
    peak = max(run["peak"] for run in found.runs[many])
    yield Goal(case, "peak memory at most 50 MiB", f"{peak:.0f} MiB", peak <= 50)


def pending(found: Found) -> Iterator[Goal]:
    more = median(found.runs[OURS], "bytes") - median(found.runs[FUTURE], "bytes")
    yield Goal("a lookup that waits", "230 bytes more than a future at most", f"{more:+.0f}", more <= 230)


def lone(found: Found) -> Iterator[Goal]:
    values = ratios(found.runs, OURS, HTTPX, "cpu")
    wanted = "1.00 times httpx's client and json at most"
    yield Goal("a lone lookup", wanted, f"{middle(values):.2f} times", middle(values) <= 1)


def imports(found: Found) -> Iterator[Goal]:
    values = ratios(found.runs, OURS, IMPORTS, "cpu")
    wanted = f"1.70 times {IMPORTS} at most"
    yield Goal("import", wanted, f"{middle(values):.2f} times", middle(values) <= 1.7)
    before = BEFORE.format(OURS)
    if before in found.runs:
        values = ratios(found.runs, OURS, before, "cpu")
        yield Goal("import", "no slower than before", f"{middle(values):.2f} times", middle(values) <= 1.02)


def at_once(found: Found) -> Iterator[Goal]:
    ours, best = found.runs[OURS], found.runs[OPTIMUM]
    for way in COUNTINGS:
        case = f"2,000 at once, {way}"
        requests, least = (median(runs, f"{way}: requests") for runs in (ours, best))
        rejections = max(run[f"{way}: rejections"] for run in ours)
        shown = f"{requests:.0f} requests, {rejections:.0f} rejections"
        wanted = f"{least:.0f} requests, no rejection"
        yield Goal(case, wanted, shown, requests == least and not rejections)
        values = ratios(found.runs, OURS, OPTIMUM, f"{way}: last")
        yield Goal(
            case, "1.12 times the optimum at most", f"{middle(values):.3f} times", middle(values) <= 1.12
        )


def arrivals(found: Found) -> Iterator[Goal]:
    ours = found.runs[OURS]
    for rate in RATES:
        cases = [f"{rate}, {way}" for way in COUNTINGS]
        rejections = max(run[f"{case}: rejections"] for run in ours for case in cases)
        told = f"{rate} a second"
        if rate == _TOO_FULL:
            end = max(median(ours, f"{case}: p99 of the end") for case in cases)
            before = max(median(ours, f"{case}: p99 of the middle") for case in cases)
            wanted = "the queue stays bounded: no longer at the end than before"
            shown = f"p99 {end:.2f} s in the last third, {before:.2f} s in the middle"
            yield Goal(told, wanted, shown, end <= 1.25 * before)
            continue
        p50, p99 = (
            max(middle(ratios(found.runs, OURS, OPTIMUM, f"{case}: {figure}")) for case in cases)
            for figure in ("p50", "p99")
        )
        wanted = "p50 and p99 1.10 times the optimum at most, no rejection"
        shown = f"{p50:.2f} and {p99:.2f} times, {rejections:.0f} rejections"
        yield Goal(told, wanted, shown, max(p50, p99) <= 1.1 and not rejections)


_GOALS: Final[Mapping[str, Callable[[Found], Iterator[Goal]]]] = {
    "distinct": distinct,
    "custom-ids": custom_ids,
    "five-at-once": five_at_once,
    "bulk": bulk,
    "from-memory": from_memory,
    "scaling": scaling,
    "pending": pending,
    "limit-at-once": at_once,
    "limit-arrivals": arrivals,
    "lone": lone,
    "import": imports,
}


def goals_of(found: Mapping[str, Found]) -> list[Goal]:
    """Return the goals of all scenarios that were measured."""
    return [goal for name, goals in _GOALS.items() if name in found for goal in goals(found[name])]
