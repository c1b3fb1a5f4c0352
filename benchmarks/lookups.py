"""How many lookups a second the library's own work allows, beside others that do the same.

The rate limit is off, the server is the sandbox in a process of its own, and each contender looks up
100,000 messages from 10,000 coroutines, 200 messages a request, and ends with a ``MessageStatus`` for each.
The rounds alternate, so that a machine's mood hits all alike; compare the ratios, not the figures. The
processor time is the client's alone: the least of the rounds, which other programs disturb least.

    python -m benchmarks.lookups [--rounds 5] [--messages 100000]
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
from aiodataloader import DataLoader

from statuslookup import MessageStatus, SMSFire, StatusClient
from statuslookup.providers.smsfire.reading import read
from statuslookup.sandbox import Sandbox

COROUTINES = 10_000
MAX_BATCH = 200
SEARCH = "/whatsapp/status/search"
HEADERS = {"Authorization": "Basic sandbox"}
RESULTS = Path(__file__).parent / "results" / "lookups.md"

Contender = Callable[[str, int], Awaitable[None]]


def serve(messages: int, pipe: Connection) -> None:
    sandbox = Sandbox(rate_limit=None)
    for id in range(1, messages + 1):
        sandbox.add_message(id, custom_id=f"campaign-{id}")
    with sandbox.serve() as base_url:
        pipe.send(base_url)
        pipe.recv()


@contextmanager
def server(messages: int) -> Iterator[str]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(messages, there))
    process.start()
    try:
        yield here.recv()
        here.send("stop")
    finally:
        process.join(10)
        process.kill()


async def from_coroutines(get: Callable[[int], Awaitable[MessageStatus | None]], messages: int) -> None:
    async def ask(first: int) -> None:
        for id in range(first, messages + 1, COROUTINES):
            status = await get(id)
            assert status is not None
            assert status.id == id

    await asyncio.gather(*(ask(first) for first in range(1, COROUTINES + 1)))


async def with_statuslookup(base_url: str, messages: int) -> None:
    provider = SMSFire("sandbox", base_url=base_url, rate_limit=None)
    async with StatusClient(provider) as client:
        await from_coroutines(client.get, messages)


async def with_get_many(base_url: str, messages: int) -> None:
    provider = SMSFire("sandbox", base_url=base_url, rate_limit=None)
    async with StatusClient(provider) as client:
        statuses = await client.get_many(range(1, messages + 1))
        assert all(statuses.values())


def body_of(ids: list[int]) -> bytes:
    return json.dumps({"ids": [str(id) for id in ids]}).encode()


async def with_dataloader(base_url: str, messages: int) -> None:
    async with httpx.AsyncClient(base_url=base_url, headers=HEADERS, timeout=60) as http:

        async def load(ids: list[int]) -> list[MessageStatus | None]:
            response = await http.post(SEARCH, content=body_of(ids))
            found = {status.id: status for status in map(read, response.raise_for_status().json())}
            return [found.get(id) for id in ids]

        loader = DataLoader(load, max_batch_size=MAX_BATCH)
        await from_coroutines(loader.load, messages)


async def with_bare_httpx(base_url: str, messages: int) -> None:
    async with httpx.AsyncClient(base_url=base_url, headers=HEADERS, timeout=60) as http:
        for first in range(1, messages + 1, MAX_BATCH):
            ids = list(range(first, min(first + MAX_BATCH, messages + 1)))
            response = await http.post(SEARCH, content=body_of(ids))
            found = {status.id: status for status in map(read, response.raise_for_status().json())}
            assert len(found) == len(ids)


BASE = "aiodataloader + httpx"
CONTENDERS: dict[str, Contender] = {
    BASE: with_dataloader,
    "statuslookup, `get` from 10,000 coroutines": with_statuslookup,
    "statuslookup, `get_many`": with_get_many,
    "httpx in a loop, batches cut by hand": with_bare_httpx,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=100_000)
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    costs: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    with server(options.messages) as base_url:
        for _ in range(options.rounds):
            for name, contender in CONTENDERS.items():
                gc.collect()
                started, processor_started = time.perf_counter(), time.process_time()
                asyncio.run(contender(base_url, options.messages))  # type: ignore[arg-type] # all are coroutine functions
                rates[name].append(options.messages / (time.perf_counter() - started))
                costs[name].append((time.process_time() - processor_started) / options.messages * 1e6)
                print(
                    f"{name}: {rates[name][-1]:,.0f} a second, {costs[name][-1]:.1f} us each", file=sys.stderr
                )
    base = statistics.median(rates[BASE])
    lines = [
        f"{options.messages:,} lookups, {options.rounds} rounds, Python {sys.version.split()[0]};"
        " median rates, least processor time.",
        "",
        "| | lookups a second | ratio | microseconds of processor time a lookup | ratio |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in CONTENDERS:
        rate, cost = statistics.median(rates[name]), min(costs[name])
        lines.append(
            f"| {name} | {rate:,.0f} | {rate / base:.2f} | {cost:.1f} | {min(costs[BASE]) / cost:.2f} |"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
