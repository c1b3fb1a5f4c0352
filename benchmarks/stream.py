"""A million keys through ``client.stream``: the memory that takes, and its pace beside that of ``get``.

The rate limit is off, the server is the sandbox in a process of its own, and so is each client, whose peak
memory is its own then. The rounds alternate, so that a machine's mood hits both alike.

    python -m benchmarks.stream [--rounds 3] [--messages 1000000]
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from statuslookup import SMSFire, StatusClient

from .lookups import from_coroutines, server

RESULTS = Path(__file__).parent / "results" / "stream.md"
NAMES = {"get": "`get` from 10,000 coroutines", "stream": "`stream`"}
MOST_MEBIBYTES = 120
LEAST_RATIO = 0.8


async def with_get(base_url: str, messages: int) -> None:
    async with StatusClient(SMSFire("sandbox", base_url=base_url, rate_limit=None)) as client:
        await from_coroutines(client.get, messages)


async def with_stream(base_url: str, messages: int) -> None:
    found = 0
    async with StatusClient(SMSFire("sandbox", base_url=base_url, rate_limit=None)) as client:
        async for outcome in client.stream(range(1, messages + 1)):
            assert outcome.status is not None
            assert outcome.status.id == outcome.key
            found += 1
    assert found == messages


CLIENTS: dict[str, Callable[[str, int], Awaitable[None]]] = {"get": with_get, "stream": with_stream}


def peak_mebibytes() -> float:
    """Return the most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which a process inherits from the one that started it.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def be_client(how: str, base_url: str, messages: int) -> None:
    before, started_at = peak_mebibytes(), time.perf_counter()
    asyncio.run(CLIENTS[how](base_url, messages))  # type: ignore[arg-type] # all are coroutine functions
    seconds = time.perf_counter() - started_at
    print(json.dumps({"rate": messages / seconds, "peak": peak_mebibytes(), "before": before}))


def measured(how: str, base_url: str, messages: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.stream", "--client", how, "--url", base_url]
    command += ["--messages", str(messages)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 # it is this file
    values: dict[str, float] = json.loads(output)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--client", choices=CLIENTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        be_client(options.client, options.url, options.messages)
        return
    results: dict[str, list[dict[str, float]]] = {how: [] for how in CLIENTS}
    with server(options.messages) as base_url:
        for _ in range(options.rounds):
            for how in CLIENTS:
                result = measured(how, base_url, options.messages)
                results[how].append(result)
                print(f"{how}: {result['rate']:,.0f} a second, {result['peak']:.0f} MiB", file=sys.stderr)
    base = statistics.median(result["rate"] for result in results["get"])
    lines = [
        f"{options.messages:,} keys, {options.rounds} rounds, Python {sys.version.split()[0]}; median rates,"
        " highest peaks.",
        "",
        "| | lookups a second | ratio | peak memory | of it before the first lookup |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for how, rounds in results.items():
        rate = statistics.median(result["rate"] for result in rounds)
        peak, before = (max(result[name] for result in rounds) for name in ("peak", "before"))
        lines.append(
            f"| {NAMES[how]} | {rate:,.0f} | {rate / base:.2f} | {peak:.0f} MiB | {before:.0f} MiB |"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    peak = max(result["peak"] for result in results["stream"])
    ratio = statistics.median(result["rate"] for result in results["stream"]) / base
    if peak > MOST_MEBIBYTES or ratio < LEAST_RATIO:
        sys.exit(f"wanted: at most {MOST_MEBIBYTES} MiB, and at least {LEAST_RATIO} of the rate of get")


if __name__ == "__main__":
    main()
