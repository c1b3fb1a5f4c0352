"""What messages cost the tracker on this machine: memory, processor time, and the way from news to a wait."""

import asyncio
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

from statuslookup import CustomId, DeliveryState, Schedule, SMSFire, SQLiteStore, StatusClient, StatusTracker
from statuslookup.tracker.ledger import Ledger

from .scenario import peak_mebibytes

MILLION: Final = 1_000_000
OPEN: Final = 100_000
ROOT: Final = Path(__file__).parent.parent
Figure = tuple[str, str, str]


def news_of(id: int, code: int = 1, name: str = "ACCEPTED") -> bytes:
    return json.dumps(
        {
            "id": id,
            "customId": f"order-{id}",
            "statusCode": code,
            "statusName": name,
            "instanceToken": "1234567890ABCDEF",
            "messageType": "TEXT",
            "country": "55",
            "phone": f"5511{id:09d}",
            "statusDate": "2026-11-27T09:59:02-0300",
            "sentDate": "2026-11-27T09:58:59-0300",
        }
    ).encode()


def memory() -> float:
    """Return how much memory the process has, in bytes."""
    statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(statm[1]) * resource.getpagesize()


def a_million() -> list[Figure]:
    gc.collect()
    before = memory()
    ledger: Ledger[Any, Any] = Ledger(SMSFire("token"), Schedule())
    random = Random(1)
    for key in range(MILLION):
        ledger.track(key, DeliveryState.DELIVERED, random.uniform(0, 3600))
    gc.collect()
    each = (memory() - before) / MILLION
    started_at = time.process_time()
    gc.collect()
    collection = time.process_time() - started_at
    takes = []
    for _ in range(200):
        started_at = time.process_time()
        keys = ledger.take(200)
        takes.append(time.process_time() - started_at)
        ledger.put_back(keys, 3600)
    parse = SMSFire.parse_webhook
    fed = []
    for first in range(0, MILLION, 1000):
        statuses = [parse(news_of(key))[0] for key in range(first, first + 1000)]
        started_at = time.process_time()
        for status in statuses:
            ledger.feed((status,), 4000, [])
        fed.append((time.process_time() - started_at) / 1000)
    gc.collect()
    with_status = (memory() - before) / MILLION
    return [
        ("memory of a message, its key included", "400 B", f"{each:.0f} B"),
        ("... with a status", "1.2 kB", f"{with_status / 1000:.2f} kB"),
        ("`feed` of one status", "5 µs", f"{sorted(fed)[len(fed) // 2] * 1e6:.1f} µs"),
        ("`take` of 200 keys, at most", "5 ms", f"{max(takes) * 1e3:.1f} ms"),
        ("a full garbage collection", "", f"{collection * 1e3:.0f} ms"),
    ]


async def _open_keys(*, with_status: bool) -> float:
    async with (
        StatusClient(SMSFire("token", base_url="http://localhost:1")) as client,
        StatusTracker(client, schedule=Schedule(first=3000)) as tracker,
    ):
        for first in range(0, OPEN, 1000):
            await tracker.track(*(CustomId(f"order-{key}") for key in range(first, first + 1000)))
        if with_status:
            for key in range(OPEN):
                tracker.feed(SMSFire.parse_webhook(news_of(key)))
        assert tracker.stats().open == OPEN
    return peak_mebibytes()


def open_keys() -> list[Figure]:
    return [
        (
            "a process with 100,000 open messages",
            "120 MiB",
            f"{asyncio.run(_open_keys(with_status=False)):.0f} MiB",
        )
    ]


def open_keys_with_status() -> list[Figure]:
    peak = asyncio.run(_open_keys(with_status=True))
    return [("... each of them with a status", "", f"{peak:.0f} MiB")]


async def _news(store: SQLiteStore | None) -> list[float]:
    """Return how long waits take to return, from the call of ``feed`` on, beside 2,000 open ones."""
    seconds: list[float] = []
    async with (
        StatusClient(SMSFire("token", base_url="http://localhost:1")) as client,
        StatusTracker(client, schedule=Schedule(first=3000), store=store) as tracker,
    ):
        fed_at: dict[int, float] = {}

        async def wait(key: int) -> None:
            await tracker.wait(key)
            seconds.append(time.perf_counter() - fed_at[key])

        waits = [asyncio.create_task(wait(key)) for key in range(4000)]
        while len(list(tracker.open())) < len(waits) or tracker.stats().unsaved:  # noqa: ASYNC110 # nothing says it
            await asyncio.sleep(0.1)
        for key in range(2000):
            (status,) = SMSFire.parse_webhook(news_of(key, 2, "DELIVERED"))
            fed_at[key] = time.perf_counter()
            tracker.feed([status])
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.5)
        for task in waits[2000:]:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    return sorted(seconds)


def news() -> list[Figure]:
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, goal, store in (
            ("without a store", "5 ms", None),
            ("with SQLite", "50 ms", SQLiteStore(Path(folder) / "messages.db")),
        ):
            seconds = asyncio.run(_news(store))
            assert len(seconds) == 2000
            p50, p99 = seconds[1000] * 1e3, seconds[1980] * 1e3
            figures.append((f"from `feed` to `wait`, {name}, p99", goal, f"{p99:.2f} ms (p50 {p50:.2f} ms)"))
    return figures


PARTS: Final[dict[str, Callable[[], list[Figure]]]] = {
    "million": a_million,
    "open": open_keys,
    "open-with-status": open_keys_with_status,
    "news": news,
}


def costs() -> list[Figure]:
    """Measure each part in a process of its own."""
    figures: list[Figure] = []
    for name in PARTS:
        command = [sys.executable, "-m", "benchmarks.tracker_costs", name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 # our own module
        figures += [tuple(figure) for figure in json.loads(done.stdout)]
    return figures


if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]]()))
