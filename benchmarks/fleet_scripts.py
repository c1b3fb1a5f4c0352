"""How long Redis is busy with each step of a fleet: ``python -m benchmarks.fleet_scripts``.

A hundred processes wait for 400 keys each. Each step is repeated, and timed by Redis itself.
"""

import asyncio
import time
from collections.abc import Awaitable
from statistics import median
from typing import Any, Final

from redis.asyncio import Redis

from statuslookup._wire import Secret
from statuslookup.fleet.identity import Identity
from statuslookup.fleet.link import Link
from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import ANNOUNCE, LeftPace, Sent, Taken, Terms
from tests.support.redis_servers import RedisServer, binaries

PROCESSES: Final = 100
KEYS: Final = 400
ROUNDS: Final = 60
_SAID_KEYS: Final = 20
# So short that nobody waits for the slot, but for one test of what a busy one costs.
TERMS: Final = Terms(interval=0.0, period=0.0, places=1)
SENT: Final = Sent(pause=0.0, period=0.0, pace=LeftPace(0, None))


class Nobody:
    """Hears nothing."""

    def hear_turn(self, *, is_free: bool, process: int, seconds: float, beside: float) -> None: ...

    def hear_outcomes(self, payload: bytes) -> None: ...

    def reconnected(self) -> None: ...


def keys_of(process: int, count: int = KEYS) -> list[str]:
    return [f"{process}{key:012d}" for key in range(count)]


class Bench:
    """A fleet on a server, and what its steps took there."""

    def __init__(self, server: RedisServer, redis: "Redis") -> None:
        self._redis = redis
        self._link = Link(server.url, timeout=30)
        secret = Secret("token")
        self._identity = Identity.of("bench", "b", provider="Test", base_url="https://test", secret=secret)
        self.steps: list[str] = []
        """The name of each script that ran, in order; empty for those that are not measured."""
        self.spent: dict[str, list[float]] = {}

    def member(self, lease: float = 60.0) -> SharedQueue:
        return SharedQueue(self._link, self._identity, Nobody(), lease=lease)

    async def step(self, name: str, call: Awaitable[Any]) -> Any:
        began = time.process_time()
        result = await call
        self.spent.setdefault(name, []).append((time.process_time() - began) * 1e6)
        self.steps.append(name)
        return result

    async def took(self) -> dict[str, list[float]]:
        """Return how many microseconds Redis was busy with each step."""
        entries: list[Any] = await self._redis.slowlog_get(1_000_000)
        times = [entry["duration"] for entry in reversed(entries) if entry["command"].startswith(b"EVAL")]
        assert len(times) >= len(self.steps)
        took: dict[str, list[float]] = {}
        # One more ran for each script that Redis did not know.
        for name, microseconds in zip(self.steps, times[len(times) - len(self.steps) :], strict=True):
            took.setdefault(name, []).append(microseconds)
        took.pop("", None)
        return took

    async def fill(self, members: list[SharedQueue]) -> None:
        await self._redis.flushall()
        for number, member in enumerate(members):
            await self.step("", member.take(TERMS, ANNOUNCE, bulk=keys_of(number)))

    async def aclose(self) -> None:
        await self._link.aclose()


async def measure(bench: Bench, processes: int) -> None:
    members = [bench.member() for _ in range(processes)]
    await bench.fill(members)
    for round in range(ROUNDS):
        member, other = members[round % processes], members[(round + 1) % processes]
        fresh = [f"new{round}-{key}" for key in range(_SAID_KEYS)]
        await bench.step("a process lives on", member.take(TERMS, ANNOUNCE))
        await bench.step(f"{_SAID_KEYS} keys are announced", member.take(TERMS, ANNOUNCE, first=fresh))
        taken: Taken = await bench.step("200 keys are taken", member.take(TERMS, 200))
        assert len(taken.keys) == 200
        await bench.step("the slot is busy", other.take(TERMS, 200))
        told = member.done(taken.fence, SENT, told=taken.keys, payload=b"x" * 6000)
        await bench.step("200 keys are told (6 KB)", told)
        # As many come in again.
        more = keys_of(10_000 + round, 200)
        await bench.step("", member.take(TERMS, ANNOUNCE, gone=fresh, bulk=more))


async def measure_the_dead(bench: Bench, count: int) -> None:
    for _ in range(5):
        await bench.fill([bench.member(lease=0.05) for _ in range(count)])
        await asyncio.sleep(0.1)
        await bench.step(f"{count * KEYS:,} keys of the dead are dropped", bench.member().take(TERMS, 200))


async def run(server: RedisServer) -> None:
    async with Redis.from_url(server.url, socket_timeout=60) as redis:
        await redis.config_set("slowlog-log-slower-than", 0)
        await redis.config_set("slowlog-max-len", 1_000_000)
        for processes in (2, PROCESSES):
            bench = Bench(server, redis)
            # Redis learns the scripts first.
            await bench.member().done(None, None)
            await bench.member().take(TERMS, ANNOUNCE)
            await redis.slowlog_reset()
            await measure(bench, processes)
            if processes == PROCESSES:
                await measure_the_dead(bench, 1)
                await measure_the_dead(bench, 10)
            show(await bench.took(), bench.spent, f"{processes} x {KEYS} keys wait")
            await bench.aclose()


def show(took: dict[str, list[float]], spent: dict[str, list[float]], title: str) -> None:
    print(f"\n| {title} | Redis, µs (median) | least | process, µs of CPU |")
    print("| --- | ---: | ---: | ---: |")
    for name, times in took.items():
        print(f"| {name} | {median(times):,.0f} | {min(times):,.0f} | {median(spent[name]):,.0f} |")


def main() -> None:
    for name, binary in binaries().items():
        with RedisServer(binary) as server:
            print(f"\n{name}: {server.version}")
            asyncio.run(run(server))


if __name__ == "__main__":
    main()
