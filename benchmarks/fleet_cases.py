"""What is measured of a fleet, beside one process and beside a limit that is shared without the requests."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import Any, Final

from attrs import define, evolve, field
from redis import Redis

from tests.support.redis_servers import RedisServer

from .fleet_limiters import LIMITERS
from .fleet_member import Findings, Orders
from .fleet_processes import Processes
from .server import asked, counts, serving

ONE: Final = "one process"
FLEET: Final = "fleet"
SLOT: Final = "own slot alone"
"""A fleet in which each process has an account of its own: the slot is shared, and no request."""
LATENCY: Final = 0.05
SPREAD: Final = 0.2
# Processes are told to begin together, so many seconds later.
_TO_BEGIN: Final = 0.5
_BEFORE: Final = 0.2


def ways() -> list[str]:
    """Return all ways for processes to share the limit that can be measured here."""
    found = [FLEET, SLOT]
    for name in LIMITERS:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found


@define
class Run:
    """What one run found."""

    findings: list[Findings]
    requests: float
    keys: float
    rejections: float
    scripts: float
    """How many calls of scripts Redis had."""
    microseconds: float
    """For how long these kept Redis busy."""
    lasting: list[str]
    """The names in Redis that would stay there for ever."""
    asked: list[tuple[str, int, int]] = field(factory=list)

    @property
    def latencies(self) -> list[float]:
        return sorted(seconds for each in self.findings for seconds in each.latencies)

    @property
    def lookups(self) -> int:
        return len(self.latencies)

    @property
    def failed(self) -> int:
        return sum(sum(each.errors.values()) + each.wrong for each in self.findings)

    @property
    def p50(self) -> float:
        return quantile(self.latencies, 0.5)

    @property
    def p99(self) -> float:
        return quantile(self.latencies, 0.99)

    @property
    def longest(self) -> float:
        return self.latencies[-1] if self.latencies else 0.0

    @property
    def cpu(self) -> float:
        """Seconds of the processor a lookup."""
        return sum(each.cpu for each in self.findings) / max(1, self.lookups)


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@define
class Bench:
    """Runs processes on one Redis, each time at a server of their own."""

    redis: RedisServer

    @contextmanager
    def _watched(self) -> "Iterator[Callable[[], tuple[float, float]]]":
        with Redis.from_url(self.redis.url) as redis:
            redis.flushall()
            redis.config_resetstat()

            def scripts() -> tuple[float, float]:
                stats: Any = redis.info("commandstats")
                of_scripts = [stats[name] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats]
                return sum(each["calls"] for each in of_scripts), sum(each["usec"] for each in of_scripts)

            yield scripts

    def _lasting(self) -> list[str]:
        with Redis.from_url(self.redis.url) as redis:
            names: Any = redis.keys("statuslookup:*")
            return [name.decode() for name in names if redis.ttl(name) == -1]

    def run(
        self,
        way: str,
        processes: int,
        *,
        seconds: float = 0.0,
        counting: str = "spacing",
        latency: float = LATENCY,
        orders: Mapping[str, Any],
        each: Callable[[int], Mapping[str, Any]] = lambda number: {},
        is_busy: bool = False,
    ) -> Run:
        """Run so many processes for some seconds, or until what they ask for at once has come.

        ``each`` gives the orders of one process beside those of all. ``is_busy``: shortly before they begin,
        another one sends a request.
        """
        count = 1 if way == ONE else processes
        spread = SPREAD if latency else 0.0
        with serving(counting, latency, spread) as url, self._watched() as scripts:
            common = Orders(
                redis=self.redis.url,
                url=url,
                uses_fleet=way in (FLEET, SLOT),
                limiter=way if way in LIMITERS else "",
                waits=True,
            )
            with Processes(evolve(common, **orders)) as all_of_them:
                for number in range(count):
                    token = f"token{number}" if way == SLOT else "token"
                    all_of_them.start(1, **{"token": token, **each(number)})
                if is_busy:
                    all_of_them.start(1, at_once=1, first_key=99_000)
                for process in all_of_them.alive:
                    assert process.number >= 0  # it is ready
                starts_at = time.time() + _TO_BEGIN
                for place, process in enumerate(all_of_them.alive):
                    process.begin(starts_at - (_BEFORE if place == count else 0.0))
                time.sleep(_TO_BEGIN + seconds)
                lasting = self._lasting()
                findings = all_of_them.end()
            seen = counts(url)
            calls, microseconds = scripts()
            return Run(
                findings=findings[:count],
                requests=seen["requests"],
                keys=seen["keys"],
                rejections=seen["rejections"],
                scripts=calls,
                microseconds=microseconds,
                lasting=lasting,
                asked=asked(url),
            )

    def arrivals(self, way: str, processes: int, rate: float, **options: Any) -> Run:
        """Lookups at random moments, ``rate`` a second in all."""
        count = 1 if way == ONE else processes
        return self.run(way, processes, orders={"per_second": rate / count}, **options)

    def at_once(self, way: str, processes: int, keys: int, *, are_equal: bool = False, **options: Any) -> Run:
        """``keys`` lookups in each process, all at once; ``ONE`` has those of all."""
        if way == ONE:
            return self.run(way, 1, orders={"at_once": processes * keys}, **options)
        each = _equal if are_equal else lambda number: {"first_key": number * keys}
        return self.run(way, processes, orders={"at_once": keys}, each=each, **options)

    def cpu(self, rounds: int, keys: int) -> tuple[float, float]:
        """Return microseconds of the processor a lookup, without a limit: without a fleet, and in one."""
        costs: dict[str, list[float]] = {ONE: [], FLEET: []}
        for _ in range(rounds):
            for way, found in costs.items():
                run = self.run(way, 1, counting="", latency=0.0, orders={"at_once": keys, "limit": 0})
                found.append(1e6 * run.cpu)
        return median(costs[ONE]), median(costs[FLEET])

    def lone(self, rounds: int, seconds: float) -> tuple[float, float]:
        """Return how many milliseconds a lone lookup takes on loopback: without a fleet, and in one."""
        times: dict[str, list[float]] = {ONE: [], FLEET: []}
        for _ in range(rounds):
            for way, found in times.items():
                orders = {"per_second": 5.0, "limit": 0}
                run = self.run(way, 1, seconds=seconds, counting="", latency=0.0, orders=orders)
                found.append(1e3 * run.p50)
        return median(times[ONE]), median(times[FLEET])

    def accounts(self, keys: int) -> tuple[Run, float, int]:
        """Return a run of two accounts with three processes each, the smaller share of slots, and strays.

        The share is that of the requests while both had keys. A stray is a key under the other's token.
        """

        def each(number: int) -> Mapping[str, Any]:
            account, place = divmod(number, 3)
            return {"token": f"account{account}", "first_key": account * 3 * keys + place * keys}

        run = self.run(FLEET, 6, orders={"at_once": keys}, each=each)
        names = sorted({name for name, _, _ in run.asked})
        strays = sum(
            least <= account * 3 * keys or most > (account + 1) * 3 * keys
            for name, least, most in run.asked
            for account in [names.index(name)]
        )
        both = min(max(place for place, one in enumerate(run.asked) if one[0] == name) for name in names) + 1
        during = [name for name, _, _ in run.asked[:both]]
        return run, min(during.count(name) for name in names) / len(during), strays


def _equal(number: int) -> Mapping[str, Any]:
    return {"first_key": 0}
