"""How long lookups wait at 2 requests a second and 50 ms, over a real socket.

2,000 lookups at once, under each way of counting; and lookups that come one by one, for 20 seconds.

    python -m benchmarks.waiting  # exits with 1 when a goal is missed
"""

import asyncio
import random
import statistics
import sys
from pathlib import Path
from typing import TypeAlias, get_args

from statuslookup import MessageKey, MessageStatus, SMSFire, StatusClient
from statuslookup.sandbox import Counting, Sandbox

Client: TypeAlias = StatusClient[MessageKey, MessageStatus]

LATENCY = 0.05
AT_ONCE = 2000
RATES = (20, 100, 300)
MOST_AT_ONCE = 1.15 * 4.55
MOST_P99 = 1.15 * 0.545
RESULTS = Path(__file__).parent / "results" / "waiting.md"


async def all_at_once(client: Client, messages: int) -> float:
    """Return the seconds that so many concurrent lookups took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    statuses = await asyncio.gather(*(client.get(id) for id in range(messages)))
    elapsed = loop.time() - started
    assert all(status is not None for status in statuses)
    return elapsed


async def one_by_one(client: Client, rate: float, seconds: float) -> list[float]:
    """Return the seconds that each lookup took, of lookups that come at random moments."""
    loop = asyncio.get_running_loop()
    chance = random.Random(rate)
    taken: list[float] = []

    async def ask(id: int) -> None:
        started = loop.time()
        await client.get(id)
        taken.append(loop.time() - started)

    async with asyncio.TaskGroup() as tasks:
        due = loop.time()
        for id in range(round(rate * seconds)):
            due += chance.expovariate(rate)
            await asyncio.sleep(max(0.0, due - loop.time()))
            tasks.create_task(ask(id))
    return taken


def p99(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100)[98]


async def measure_at_once(counting: Counting) -> tuple[str, bool]:
    """Return the line of the table, and whether the goal was met."""
    sandbox = Sandbox(latency=LATENCY, counting=counting)
    for id in range(AT_ONCE):
        sandbox.add_message(id)
    with sandbox.serve() as base_url:
        async with StatusClient(SMSFire("sandbox", base_url=base_url)) as client:
            elapsed = await all_at_once(client, AT_ONCE)
    line = (
        f"| {AT_ONCE:,} at once, {counting} | {sandbox.requests} requests, {sandbox.rejections} rejections |"
        f" {elapsed:.2f} s | {MOST_AT_ONCE:.2f} s |"
    )
    return line, elapsed <= MOST_AT_ONCE and not sandbox.rejections


async def measure_one_by_one(rate: float) -> tuple[str, bool]:
    """Return the line of the table, and whether the goal was met."""
    sandbox = Sandbox(latency=LATENCY)
    with sandbox.serve() as base_url:
        async with StatusClient(SMSFire("sandbox", base_url=base_url)) as client:
            taken = await one_by_one(client, rate, 20)
    line = (
        f"| {rate} a second | {sandbox.requests} requests, {sandbox.rejections} rejections, median"
        f" {statistics.median(taken):.3f} s | p99 {p99(taken):.3f} s | {MOST_P99:.3f} s |"
    )
    return line, p99(taken) <= MOST_P99 and not sandbox.rejections


async def main() -> None:
    measured = [await measure_at_once(counting) for counting in get_args(Counting)]
    measured += [await measure_one_by_one(rate) for rate in RATES]
    lines = ["| lookups | | waited | goal |", "| --- | --- | ---: | ---: |", *(line for line, _ in measured)]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if missed := sum(not met for _, met in measured):
        sys.exit(f"{missed} of {len(measured)} goals missed; no rejection is a part of each")


if __name__ == "__main__":
    asyncio.run(main())
