"""How long a lookup waits at SMSFire's limit, 50 ms away: in simulated time, and over real sockets.

Simulated are the clock, the network and the server; the contenders are the real ones. A server's windows
begin at another moment in each round.
"""

import asyncio
import math
import statistics
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

import httpx

from . import server
from .ours import by_statuslookup
from .peers import AIODATALOADER, BY_GET, DISPATCHER, MAX_BATCH, PACKAGES, STRAWBERRY, WAYS, Get, Way
from .scenario import OURS, Contender, Figures, Job, Scenario, Target, check
from .server import COUNTINGS, LATENCY, Answers

OPTIMUM: Final = "the spaced optimum"
AT_ONCE: Final = 2000
RATES: Final = (5, 20, 100, 300, 390)
SECONDS: Final = 30
_INTERVAL: Final = 0.5
_USUAL_RATE: Final = 100
CONSTANT: Final = (LATENCY / 2, LATENCY / 2)
VARYING: Final = (0.005, 0.045)
# From the size of a whole benchmark to what is asked here.
_LOOKUPS: Final = 100_000

Ask = Callable[[Get], Awaitable[Sequence[float]]]
"""Returns how long each lookup took, in the order of asking."""


class SimulatedServer(httpx.AsyncBaseTransport):
    """A server at the far end of a network, in the time of the event loop."""

    def __init__(self, counting: str, chance: Random, one_way: tuple[float, float]) -> None:
        self.answers = Answers(counting)
        self._chance = chance
        self._one_way = one_way
        self._phase = chance.random()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self._chance.uniform(*self._one_way))
        now = asyncio.get_running_loop().time() + self._phase
        status, content = self.answers.respond(now, request.url.path, request.content)
        await asyncio.sleep(self._chance.uniform(*self._one_way))
        return httpx.Response(status, content=content)


def scaled(whole: int, job: Job) -> int:
    """Return a part of what is asked at full size, for a shorter look."""
    return max(1, min(whole, whole * job.size // _LOOKUPS))


def at_once(count: int) -> Ask:
    async def ask(get: Get) -> Sequence[float]:
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def one(id: int) -> float:
            check(await get(id), id)
            return loop.time() - started

        return await asyncio.gather(*map(one, range(1, count + 1)))

    return ask


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the moments at which lookups come, at random as they do where many people are at work."""
    chance, moments, now = Random(1000 * seed + rate), [], 0.0
    while (now := now + chance.expovariate(rate)) < seconds:
        moments.append(now)
    return moments or [0.0]


def one_by_one(moments: Sequence[float]) -> Ask:
    async def ask(get: Get) -> Sequence[float]:
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def one(id: int) -> float:
            asked = loop.time()
            check(await get(id), id)
            return loop.time() - asked

        tasks = []
        for id, moment in enumerate(moments, 1):
            await asyncio.sleep(started + moment - loop.time())
            tasks.append(asyncio.create_task(one(id)))
        return await asyncio.gather(*tasks)

    return ask


def optimum(moments: Sequence[float]) -> tuple[list[float], int]:
    """Return how long each lookup takes where one knows the server's clock, and the number of requests.

    Requests reach the server exactly an interval apart, from the first lookup on, with all that came by then.
    """
    taken: list[float] = []
    sent, requests = -math.inf, 0
    while len(taken) < len(moments):
        sent = max(sent + _INTERVAL, moments[len(taken)])
        requests += 1
        batch = [moment for moment in moments[len(taken) : len(taken) + MAX_BATCH] if moment <= sent]
        taken += [sent + LATENCY - moment for moment in batch]
    return taken, requests


def quantile(taken: Sequence[float], percent: int) -> float:
    return statistics.quantiles(taken, n=100)[percent - 1] if len(taken) > 1 else taken[0]


def figures_of(taken: Sequence[float], counts: Figures) -> Figures:
    third = max(1, len(taken) // 3)
    return {
        "last": max(taken),
        "p50": quantile(taken, 50),
        "p99": quantile(taken, 99),
        # A queue that grows is seen by who comes last.
        "p99 of the middle": quantile(taken[third : 2 * third] or taken, 99),
        "p99 of the end": quantile(taken[-third:], 99),
        **counts,
    }


def simulate(
    way: Way, counting: str, ask: Ask, seed: int, *, one_way: tuple[float, float] = CONSTANT
) -> Figures:
    """Return what the lookups took, and what the server saw; each way takes so many seconds, at random."""
    # Only here, because it imports the sandbox and with it a web server: others would measure its memory.
    from .simulated_time import SimulatedClock, SimulatedLoop

    loop = SimulatedLoop(Random(seed))
    transport = SimulatedServer(counting, Random(seed), one_way)
    target = Target(url="http://localhost", transport=transport, is_limited=True, clock=SimulatedClock(loop))

    async def run() -> Sequence[float]:
        async with way(target) as get:
            return await ask(get)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        taken = runner.run(run())
    answers = transport.answers
    counts = {"requests": answers.requests, "keys": answers.keys, "rejections": answers.rejections}
    return figures_of(taken, {name: float(count) for name, count in counts.items()})


def over_sockets(way: Way, counting: str, ask: Ask) -> Figures:
    async def run(url: str) -> Sequence[float]:
        async with way(Target(url=url, is_limited=True)) as get:
            return await ask(get)

    with server.serving(counting, LATENCY) as url:
        taken = asyncio.run(run(url))
        return figures_of(taken, server.counts(url))


def named(case: str, figures: Figures) -> Figures:
    return {f"{case}: {name}": figure for name, figure in figures.items()}


def _at_once(way: Way) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        found: Figures = {}
        for counting in COUNTINGS:
            found |= named(counting, simulate(way, counting, at_once(scaled(AT_ONCE, job)), job.round))
        return found

    return measure


def _optimum_at_once(job: Job) -> Figures:
    taken, requests = optimum([0.0] * scaled(AT_ONCE, job))
    figures = figures_of(taken, {"requests": requests, "keys": len(taken), "rejections": 0})
    return {name: value for counting in COUNTINGS for name, value in named(counting, figures).items()}


def _moments(rate: int, job: Job) -> list[float]:
    return arrivals(rate, scaled(SECONDS, job), job.round)


def _arriving(way: Way) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        found: Figures = {}
        for rate in RATES:
            for counting in COUNTINGS:
                figures = simulate(way, counting, one_by_one(_moments(rate, job)), job.round)
                found |= named(f"{rate}, {counting}", figures)
        return found

    return measure


def _optimum_of_arrivals(job: Job) -> Figures:
    found: Figures = {}
    for rate in RATES:
        taken, requests = optimum(_moments(rate, job))
        figures = figures_of(taken, {"requests": requests, "keys": len(taken), "rejections": 0})
        for counting in COUNTINGS:
            found |= named(f"{rate}, {counting}", figures)
    return found


def _varying(way: Way) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        found: Figures = {}
        for counting in COUNTINGS:
            ask = one_by_one(_moments(_USUAL_RATE, job))
            figures = simulate(way, counting, ask, job.round, one_way=VARYING)
            found |= named(counting, figures)
        return found

    return measure


def _over_sockets(way: Way) -> Callable[[Job], Figures]:
    def measure(job: Job) -> Figures:
        found: Figures = {}
        for counting in COUNTINGS:
            found |= named(counting, over_sockets(way, counting, at_once(scaled(AT_ONCE, job))))
        ask = one_by_one(_moments(_USUAL_RATE, job))
        return found | named(f"{_USUAL_RATE} a second", over_sockets(way, "sliding_window", ask))

    return measure


def _contenders(measured: Callable[[Way], Callable[[Job], Figures]], *peers: str) -> dict[str, Contender]:
    found = {OURS: Contender(measured(by_statuslookup))}
    return found | {
        peer: Contender(measured(WAYS[peer]), f"aiolimiter {PACKAGES.get(peer, '')}") for peer in peers
    }


_PEERS: Final = (DISPATCHER, AIODATALOADER, STRAWBERRY, BY_GET)
AT_ONCE_LIMITED: Final = Scenario(
    name="limit-at-once",
    title="At the limit, 2,000 lookups at once",
    text="Simulated time: 2 requests a second, 50 ms away.",
    unit="",
    has_server=False,
    is_timed=False,
    contenders={OPTIMUM: Contender(_optimum_at_once), **_contenders(_at_once, *_PEERS)},
)
ARRIVING: Final = Scenario(
    name="limit-arrivals",
    title="At the limit, lookups that come one by one",
    text="Simulated time: 30 seconds of lookups that come at random moments (Poisson); their waiting time.",
    unit="",
    most_rounds=3,
    has_server=False,
    is_timed=False,
    contenders={OPTIMUM: Contender(_optimum_of_arrivals), **_contenders(_arriving, *_PEERS)},
)
VARYING_WAYS: Final = Scenario(
    name="limit-varying",
    title="At the limit, ways that vary",
    text="Simulated time: 100 lookups a second for 30 seconds; each way there and back takes 5 to 45 ms.",
    unit="",
    has_server=False,
    is_timed=False,
    contenders=_contenders(_varying, DISPATCHER, AIODATALOADER),
)
OVER_SOCKETS: Final = Scenario(
    name="limit-over-sockets",
    title="At the limit, over real sockets",
    text="The same in real time: 2,000 lookups at once, and 100 a second for 30 seconds.",
    unit="",
    most_rounds=3,
    has_server=False,
    is_timed=False,
    contenders=_contenders(_over_sockets, DISPATCHER),
)
SCENARIOS: Final = (AT_ONCE_LIMITED, ARRIVING, VARYING_WAYS, OVER_SOCKETS)
