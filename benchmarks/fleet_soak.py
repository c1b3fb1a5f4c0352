"""A fleet under fire: ``python -m benchmarks.fleet_soak --minutes 10`` kills, stops, cuts and restarts.

Processes look messages up at a strict server while one fault after the other is done to them or to Redis.
It fails if an answer was wrong, if a lookup of a process that lived on was lost, if the server rejected more
than the failure table allows, or if something is left over.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from redis import Redis, RedisError

from statuslookup import RateLimit
from statuslookup.sandbox import Sandbox
from tests.support.redis_servers import RedisServer, binaries

from .fleet_member import Findings, Orders
from .fleet_processes import Process, Processes

LIMIT: Final = RateLimit(2, per=1.0)
KEYS: Final = 20_000
_LONGEST_STOP: Final = 5.0
_QUIET: Final = 12.0
"""What is left after this is left for good: a subscription ends by itself, and so does a lease."""


@define
class Result:
    """What came of it all."""

    findings: list[Findings]
    requests: int
    rejections: int
    killed: int
    killed_in_flight: int
    """Those of them whose request the server had, and which had not yet said that it is over."""
    faults: Counter[str]
    keys_left: dict[str, int] = field(factory=dict)
    """The keys in Redis at the end, with the number of their members."""

    @property
    def answers(self) -> int:
        return sum(each.answers for each in self.findings)

    def latency(self, share: float) -> float:
        ordered = sorted(seconds for each in self.findings for seconds in each.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def problems(self, *, most_rejections: int = 0) -> list[str]:
        """Return what is not as it should be."""
        problems = [f"{each.wrong} wrong answers" for each in self.findings if each.wrong]
        problems += [f"lost: {dict(each.errors)}" for each in self.findings if each.errors]
        problems += [f"left over: {each.left_over}" for each in self.findings if each.left_over]
        if self.rejections > most_rejections:
            problems.append(f"{self.rejections} rejections, {most_rejections} are allowed")
        # Who was killed is in the list of those that live until the next call of anybody.
        left = {name for name in self.keys_left if not name.endswith(("}", ":alive"))}
        if left:
            problems.append(f"left in Redis: {sorted(left)}")
        return problems

    def __str__(self) -> str:
        cancelled = sum(each.cancelled for each in self.findings)
        return (
            f"{self.answers:,} answers and {cancelled:,} cancelled lookups of {len(self.findings)} processes"
            f" that lived on, {self.killed} killed, at least {self.killed_in_flight} in flight;"
            f" {self.requests:,} requests, {self.rejections} rejections;"
            f" p50 {self.latency(0.5):.2f} s, p99 {self.latency(0.99):.2f} s, at most {self.latency(1):.2f}"
            f" s; faults: {dict(self.faults)}"
        )


class RedisFaults:
    """What is done to a Redis."""

    def __init__(self, server: RedisServer, random: random.Random) -> None:
        self._server = server
        self._random = random

    @property
    def all(self) -> dict[str, Callable[[], None]]:
        return {"cut": self.cut, "restart Redis": self.restart, "FLUSHALL": self.flush}

    def cut(self) -> None:
        """Cut all connections to Redis."""
        with Redis.from_url(self._server.url) as redis:
            redis.execute_command(
                "CLIENT", "KILL", "TYPE", self._random.choice(["normal", "pubsub"]), "SKIPME", "yes"
            )

    def restart(self) -> None:
        self._server.stop()
        time.sleep(self._random.uniform(0.0, 1.0))
        self._server.start()

    def flush(self) -> None:
        with Redis.from_url(self._server.url) as redis:
            redis.flushall()


class Soak:
    """Processes, a server and a Redis, and what is done to them."""

    def __init__(
        self, server: RedisServer, sandbox: Sandbox, processes: Processes, seed: int = 0, *, spared: int = 0
    ) -> None:
        self._server = server
        self._sandbox = sandbox
        self._processes = processes
        self._spared = processes.alive[:spared]
        self._random = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.killed_in_flight = 0

    @property
    def all_faults(self) -> dict[str, Callable[[], None]]:
        return {
            "kill": self.kill_any,
            "kill the holder": self.kill_holder,
            "stop": self.stop_any,
            **RedisFaults(self._server, self._random).all,
        }

    def do(self, name: str) -> None:
        self.all_faults[name]()
        self.faults[name] += 1

    def go_on(
        self, seconds: float, *, names: list[str], pause: float = 2.0, is_regular: bool = False
    ) -> None:
        """Do one of the faults after each pause, by chance."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            time.sleep(pause if is_regular else pause * self._random.uniform(0.5, 1.5))
            self.do(self._random.choice(names))

    def kill_any(self) -> None:
        self._processes.kill(self._random.choice(self._mortal))
        self._processes.start()

    @property
    def _mortal(self) -> list[Process]:
        return [process for process in self._processes.alive if process not in self._spared]

    def kill_holder(self, *, within: float = 5.0) -> None:
        """Kill a process whose request the server has."""
        # To be told the number of one that is just starting would take longer than a request.
        numbers = {process.number: process for process in self._mortal}
        ends_at = time.monotonic() + within
        seen = self._sandbox.requests
        while time.monotonic() < ends_at:
            requests = self._sandbox.requests
            holder = numbers.get(self._holder()) if requests > seen else None
            seen = requests
            if holder is not None:
                self._processes.kill(holder)
                # The dead say nothing: if its place is still taken, it was killed before it could free it.
                self.killed_in_flight += self._holder() == holder.number
                self._processes.start()
                return
            time.sleep(0.005)

    def _holder(self) -> int:
        try:
            with Redis.from_url(self._server.url) as redis:
                for name in redis.scan_iter("statuslookup:*}"):
                    places: Any = redis.hget(name, "places") or b""
                    for place in filter(None, places.decode().split(",")):
                        _, process, state, _ = place.split(" ")
                        if state in ("alone", "beside"):
                            return int(process)
        except RedisError:
            pass
        return -1

    def stop_any(self) -> None:
        process = self._random.choice(self._processes.alive)
        process.stop()
        time.sleep(self._random.uniform(0.5, _LONGEST_STOP))
        process.go_on()

    def end(self) -> Result:
        findings = self._processes.end()
        with Redis.from_url(self._server.url) as redis:
            left: dict[str, int] = {}
            for name in redis.scan_iter("*"):
                kind: Any = redis.type(name)
                members: Any = redis.zcard(name) if kind == b"zset" else 1
                left[name.decode()] = members
        return Result(
            findings=findings,
            requests=self._sandbox.requests,
            rejections=self._sandbox.rejections,
            killed=self._processes.killed,
            killed_in_flight=self.killed_in_flight,
            faults=self.faults,
            keys_left=left,
        )


def soak(
    seconds: float,
    *,
    processes: int = 10,
    per_second: float = 8.0,
    names: list[str] | None = None,
    pause: float = 2.0,
    is_regular: bool = False,
    spared: int = 0,
    counting: Any = "spacing",
    cancelled: float = 0.05,
    seed: int = 0,
    binary: str = "",
) -> Result:
    """Run a fleet under fire for so many seconds, and return what came of it."""
    servers = binaries()
    sandbox = Sandbox(rate_limit=LIMIT, counting=counting, latency=0.05)
    for id in range(1, KEYS + 1):
        sandbox.add_message(id)
    with RedisServer(servers[binary or next(iter(servers))]) as server, sandbox.serve() as url:
        orders = Orders(
            redis=server.url, url=url, per_second=per_second, keys=KEYS, cancelled=cancelled, seed=seed
        )
        with Processes(orders) as fleet:
            fleet.start(processes)
            for process in fleet.alive:
                assert process.number
            under_fire = Soak(server, sandbox, fleet, seed, spared=spared)
            under_fire.go_on(
                seconds, names=names or list(under_fire.all_faults), pause=pause, is_regular=is_regular
            )
            return under_fire.end()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--processes", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="for other faults")
    parser.add_argument("--faults", nargs="+", metavar="FAULT", help="these alone, such as 'kill the holder'")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two (default: 2)")
    parser.add_argument("--regular", action="store_true", help="no pause is shorter or longer than that")
    parser.add_argument(
        "--spared",
        type=int,
        default=0,
        help="how many are never killed: what is killed cannot tell how long it waited",
    )
    parser.add_argument("--counting", default="spacing", help="how the server counts (default: spacing)")
    chosen = parser.parse_args()
    result = soak(
        60 * chosen.minutes,
        processes=chosen.processes,
        seed=chosen.seed,
        names=chosen.faults,
        pause=chosen.pause,
        is_regular=chosen.regular,
        spared=chosen.spared,
        counting=chosen.counting,
    )
    print(result)
    # A Redis that forgets everything while only newcomers ask may let one request go early, each time.
    forgot = result.faults["restart Redis"] + result.faults["FLUSHALL"]
    problems = result.problems(most_rejections=forgot)
    print("\n".join(problems) or "all is as it should be")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
