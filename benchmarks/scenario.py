"""What a scenario is: contenders that do the same work, each measured in a process of its own."""

import asyncio
import gc
import resource
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx
from attrs import frozen

from statuslookup import Clock

Figures: TypeAlias = dict[str, float]
"""What one run measured; ``cpu`` and ``wall`` are seconds of processor and of the clock for each lookup."""
Runs: TypeAlias = Mapping[str, Sequence[Figures]]
"""For each contender its rounds; the same place in two lists is the same round."""

OURS: Final = "statuslookup"
FAST: Final = "msgspec"
"""What the extra ``fast`` installs; only contenders that need it have it."""


@frozen(kw_only=True)
class Job:
    """What the process of a run is told."""

    url: str = ""
    """The server's, if the scenario has one."""
    size: int
    """How many lookups."""
    round: int = 0
    """It seeds what is random, alike for all contenders."""


@frozen(kw_only=True)
class Target:
    """Where a contender sends its requests, and under which rules."""

    url: str
    transport: httpx.AsyncBaseTransport | None = None
    is_limited: bool = False
    """Whether to keep SMSFire's limit."""
    clock: Clock | None = None
    """The simulated time, for who does not read the event loop's."""


@frozen
class Contender:
    """One of those that are compared."""

    measure: Callable[[Job], Figures]
    needs: str = ""
    """The distributions, with blanks between, without one of which it is left out."""
    is_before: bool = False
    """Whether it runs with an older version of the library."""


@frozen(kw_only=True)
class Scenario:
    """Contenders that do the same work, of which ``base`` is the one that the others are compared with."""

    name: str
    title: str
    text: str
    """What exactly is done."""
    contenders: Mapping[str, Contender]
    base: str = OURS
    unit: str = "a lookup"
    """What ``cpu`` and ``wall`` are given for; empty if the scenario has a table of its own."""
    most_rounds: int = 99
    has_server: bool = True
    is_timed: bool = True
    """Whether runs must be alone on the machine; all others share its processors."""


def is_installed(contender: Contender) -> bool:
    try:
        for distribution in contender.needs.split():
            version(distribution)
    except PackageNotFoundError:
        return False
    return True


def timed(work: Callable[[], Awaitable[None]], size: int) -> Figures:
    """Run the work in an event loop of its own; return what each of its ``size`` lookups cost."""

    async def run() -> None:
        await work()

    gc.collect()
    started, processor_started = time.perf_counter(), time.process_time()
    asyncio.run(run())
    cpu, wall = time.process_time() - processor_started, time.perf_counter() - started
    return {"cpu": cpu / size, "wall": wall / size, "peak": peak_mebibytes()}


def peak_mebibytes() -> float:
    """Return the most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which a process inherits from the one that started it.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def median(runs: Sequence[Figures], figure: str) -> float:
    return statistics.median(run[figure] for run in runs)


def ratios(runs: Runs, contender: str, base: str, figure: str) -> list[float]:
    """Return a contender's figure over the base's, round by round, from the least to the greatest."""
    pairs = zip(runs[contender], runs[base], strict=True)
    return sorted(theirs[figure] / ours[figure] for theirs, ours in pairs)


def check(status: Any, id: int) -> None:
    """Refuse an answer about another message: whoever is fast must be right, too."""
    if status is None or status.id != id:
        raise RuntimeError(f"asked for {id}, and got {status}")
