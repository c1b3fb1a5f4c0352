"""One process of a fleet: ``python -m benchmarks.fleet_member ORDERS`` looks keys up until its stdin ends.

``ORDERS`` is the JSON of ``Orders``. It prints the number of its client first, and its ``Findings`` last.
"""

import asyncio
import json
import random
import sys
import threading
import time
from collections import Counter
from typing import Any

from attrs import asdict, define, field, frozen

from statuslookup import RateLimit, SMSFire, StatusClient, StatusLookupError
from statuslookup.fleet import RedisFleet

from .fleet_limiters import LIMITERS


@frozen(kw_only=True)
class Orders:
    """What a member is to do."""

    redis: str
    url: str
    per_second: float = 10.0
    """Lookups a second, at random moments."""
    at_once: int = 0
    """Lookups right at the beginning, in place of those a second."""
    keys: int = 100_000
    """Keys are the numbers from 1 to this, by chance."""
    first_key: int = 0
    """Where the keys of ``at_once`` begin."""
    cancelled: float = 0.0
    """The share of callers that go away within half a second."""
    limit: float = 2.0
    """Requests a second; 0 is no limit."""
    lease: float = 2.0
    timeout: float | None = 60.0
    seed: int = 0
    uses_fleet: bool = True
    limiter: str = ""
    """One of ``fleet_limiters.LIMITERS``, in place of the fleet."""
    token: str = "sandbox"
    waits: bool = False
    """Whether it does nothing before a line of its stdin says at which ``time.time()`` to begin."""


@define
class Findings:
    """What a member found."""

    answers: int = 0
    wrong: int = 0
    cancelled: int = 0
    errors: Counter[str] = field(factory=Counter)
    latencies: list[float] = field(factory=list)
    requests: int = 0
    told: int = 0
    left_over: list[str] = field(factory=list)
    """Tasks that were there after the client was closed."""
    cpu: float = 0.0


class Member:
    """Looks keys up, and writes down what came of it."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._random = random.Random(orders.seed)
        self.findings = Findings()
        self.starts_at: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.is_over = asyncio.Event()

    def client(self) -> StatusClient[int, object]:
        orders = self._orders
        fleet = RedisFleet(orders.redis, lease=orders.lease) if orders.uses_fleet else None
        limit = RateLimit(orders.limit) if orders.limit else None
        provider = SMSFire(orders.token, base_url=orders.url, rate_limit=limit)
        limiter = LIMITERS[orders.limiter](orders.redis) if orders.limiter else None
        options: Any = {"fleet": fleet, "limiter": limiter, "timeout": orders.timeout}
        return StatusClient(provider, **options)  # type: ignore[arg-type] # ids alone

    async def run(self) -> Findings:
        orders, findings = self._orders, self.findings
        async with self.client() as client:
            source: Any = client._engine and client._engine._source
            print(json.dumps({"process": source.queue.process if orders.uses_fleet else 0}), flush=True)
            await asyncio.sleep(max(0.0, await self.starts_at - time.time()))
            began = time.process_time()
            lookups: set[asyncio.Task[None]] = set()
            for number in range(orders.at_once):
                self._start(client, orders.first_key + number + 1, lookups)
            while not orders.at_once and not self.is_over.is_set():
                await asyncio.sleep(self._random.expovariate(orders.per_second))
                self._start(client, self._random.randint(1, orders.keys), lookups)
            if lookups:
                await asyncio.wait(lookups)
            findings.cpu = time.process_time() - began
            stats = client.stats()
            findings.requests, findings.told = stats.requests, stats.told
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        findings.left_over = [repr(task) for task in others]
        return findings

    def _start(self, client: StatusClient[int, object], key: int, lookups: "set[asyncio.Task[None]]") -> None:
        lookup = asyncio.create_task(self._look_up(client, key))
        lookups.add(lookup)
        lookup.add_done_callback(lookups.discard)
        if self._random.random() < self._orders.cancelled:
            asyncio.get_running_loop().call_later(self._random.random() / 2, lookup.cancel)

    async def _look_up(self, client: StatusClient[int, object], key: int) -> None:
        began_at = time.monotonic()
        try:
            status = await client.get(key)
        except asyncio.CancelledError:
            self.findings.cancelled += 1
            return
        except StatusLookupError as error:
            self.findings.errors[f"{type(error).__name__}: {error}"] += 1
            return
        self.findings.latencies.append(time.monotonic() - began_at)
        self.findings.answers += 1
        self.findings.wrong += getattr(status, "id", None) != key


async def _main(orders: Orders) -> Findings:
    member = Member(orders)
    loop = asyncio.get_running_loop()

    def wait_for_the_end() -> None:
        line = sys.stdin.readline() if orders.waits else ""
        loop.call_soon_threadsafe(member.starts_at.set_result, float(line or 0))
        sys.stdin.read()
        loop.call_soon_threadsafe(member.is_over.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    return await member.run()


def main() -> None:
    findings = asyncio.run(_main(Orders(**json.loads(sys.argv[1]))))
    print(json.dumps(asdict(findings)), flush=True)


if __name__ == "__main__":
    main()
