"""Trackers under fire: ``python -m benchmarks.tracker_soak --minutes 60`` kills, stops, cuts and restarts.

A campaign sends messages that trackers in processes of their own follow: each with its store, its receiver
of webhooks and its place in one fleet. Webhooks are lost, doubled and shuffled, processes are killed and
stopped, Redis and the provider go away. It fails if a message was forgotten, if its end was told otherwise
than it came about, if a strict server rejected more than the failure table allows, or if the process that
nobody kills grew.
"""

import argparse
import asyncio
import json
import random
import signal
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import httpx
from attrs import define, field

from statuslookup import DeliveryState, RateLimit
from statuslookup.sandbox import Campaign, DeliveryCurve, Mishaps, Sandbox, Step
from tests.support.redis_servers import RedisServer, binaries, free_port

from .fleet_processes import ROOT
from .fleet_soak import RedisFaults
from .tracker_member import SECRET, Orders

LIMIT: Final = RateLimit(2, per=1.0)
CURVE: Final = DeliveryCurve(
    delivered=((0.8, (0.5, 8.0)), (0.2, (8.0, 60.0))),
    read=(2.0, 60.0),
    fail=0.04,
    expire=0.0,
    expire_early=0.02,
    early=(5.0, 60.0),
    stay_sent=0.02,
)
_MISHAPS: Final = Mishaps(lose=0.3, repeat=0.1, reorder=0.1, delay=0.1, delay_by=(0.0, 30.0))
_ENDS: Final = frozenset(DeliveryState) - {DeliveryState.PENDING, DeliveryState.SENT}
_UNTIL_ALL_IS_TOLD: Final = 400.0
_MOST_GROWTH: Final = 16.0
"""Mebibytes that a process may grow by after its first minute: what its allocator keeps varies by some."""


@define
class Result:
    """What came of it all."""

    messages: int = 0
    told_again: int = 0
    """Ends that were told once more, after a kill."""
    forgotten: int = 0
    wrong: list[str] = field(factory=list)
    delays: list[float] = field(factory=list)
    """Seconds from the end of each message to when it was told."""
    killed: int = 0
    faults: Counter[str] = field(factory=Counter)
    requests: int = 0
    rejections: int = 0
    growth: float = 0.0
    """Mebibytes by which the process that nobody kills grew after its first minute."""

    def problems(self) -> list[str]:
        """Return what is not as it should be."""
        # A Redis that forgets everything while only newcomers ask may let one request go early, each time.
        allowed = self.faults["restart Redis"] + self.faults["FLUSHALL"]
        found = {
            f"{self.forgotten} messages were forgotten": self.forgotten > 0,
            f"wrong ends: {self.wrong}": bool(self.wrong),
            f"{self.rejections} rejections, {allowed} are allowed": self.rejections > allowed,
            f"a process grew by {self.growth:.0f} MiB": self.growth > _MOST_GROWTH,
        }
        return [problem for problem, is_true in found.items() if is_true]

    def __str__(self) -> str:
        p50, p90, p99 = (statistics.quantiles(self.delays, n=100)[place - 1] for place in (50, 90, 99))
        return (
            f"{self.messages:,} messages, {self.told_again} told again after one of {self.killed} kills;"
            f" {p50:.1f} s (p50), {p90:.1f} s (p90), {p99:.1f} s (p99) after the end, at most"
            f" {max(self.delays):.0f} s;"
            f" {self.requests:,} requests, {self.rejections} rejections; grew by {self.growth:.1f} MiB;"
            f" faults: {dict(self.faults)}"
        )


def _end_of(steps: tuple[Step, ...]) -> float:
    """Return when a message came to an end that is awaited; READ is further, and nobody waits for it."""
    return next(step.at for step in steps if step.state in _ENDS)


class Member:
    """One tracker, which may be killed and started again with the same store and the same port."""

    def __init__(self, orders: Orders, said: "asyncio.Queue[list[str]]") -> None:
        self._orders = orders
        self._said = said
        self.unsure: dict[str, None] = {}
        """Keys that it was told to track, and did not say that it does."""
        self.has_spoken = asyncio.Event()
        """Whether it has begun to work, which takes a moment: there is much to import."""
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self._orders.port}/{SECRET}"

    async def start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.tracker_member", self._orders.in_json()]
        self._process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        self._listening = asyncio.create_task(self._listen(self._process))
        for key in list(self.unsure):
            self._write(key)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            words = line.decode().split()
            self.has_spoken.set()
            if words[0] == "tracked":
                self.unsure.pop(words[1], None)
            await self._said.put(words)

    def track(self, key: str) -> None:
        self.unsure[key] = None
        self._write(key)

    def _write(self, key: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{key}\n".encode())

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._listening is not None:
            with suppress(ProcessLookupError):
                process.kill()
            # What it said before is still to be heard.
            await self._listening
            await process.wait()

    async def end(self, within: float) -> bool:
        """Let it go on until all is told; return whether it came to that."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._listening is not None
        self._process.stdin.close()
        done, _ = await asyncio.wait([self._listening], timeout=within)
        return bool(done) and await self._process.wait() == 0

    @property
    def mebibytes(self) -> float:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status")
        if not status.exists():
            # Only Linux says it.
            return 0.0
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


class Soak:
    """A campaign, the trackers that follow it, and what is done to them; the first one is never killed."""

    def __init__(
        self,
        server: RedisServer,
        sandbox: Sandbox,
        url: str,
        folder: Path,
        curve: DeliveryCurve,
        faults: Sequence[str],
        seed: int,
    ) -> None:
        self._random = random.Random(seed)
        self._sandbox = sandbox
        all_faults: dict[str, Callable[[], Awaitable[None]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "provider away": self._provider_away,
            **{name: _in_thread(fault) for name, fault in RedisFaults(server, self._random).all.items()},
        }
        self._faults = {name: all_faults[name] for name in faults or all_faults}
        self._deck: list[str] = []
        self.result = Result()
        self.campaign = Campaign(sandbox, curve=curve, webhooks=_MISHAPS, random=random.Random(seed + 1))
        self._said: asyncio.Queue[list[str]] = asyncio.Queue()
        self._members = [
            Member(
                Orders(redis=server.url, url=url, store=str(folder / f"{number}.db"), port=free_port()),
                self._said,
            )
            for number in range(3)
        ]
        self._lives: dict[str, tuple[Step, ...]] = {}
        self._told: dict[str, list[str]] = {}
        self._began = 0.0
        self._posts: deque[asyncio.Task[None]] = deque()
        self._http = httpx.AsyncClient(timeout=2.0, trust_env=False)

    async def run(self, seconds: float, *, per_second: float, pause: float) -> Result:
        """Send messages and do one fault after each pause; return what came of it when all is told."""
        async with self._http, self.campaign.playing(hand=self._post), asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen())
            for member in self._members:
                await member.start()
            sending = tasks.create_task(self._send(per_second))
            for member in self._members:
                await member.has_spoken.wait()
            self._began = time.monotonic()
            await self._do_faults(min(60.0, seconds / 2), pause)
            warm = self._members[0].mebibytes
            await self._do_faults(seconds, pause)
            sending.cancel()
            self.result.growth = self._members[0].mebibytes - warm
            ended = [await member.end(_UNTIL_ALL_IS_TOLD) for member in self._members]
            listening.cancel()
            if not all(ended):
                self.result.wrong.append(f"members that did not end: {ended.count(False)}")
                for member in self._members:
                    await member.kill()
        return self._judged()

    async def _send(self, per_second: float) -> None:
        for number in range(1, sys.maxsize):
            await asyncio.sleep(self._random.expovariate(per_second))
            self._random.choice(self._members).track(f"key-{number}")

    async def _listen(self) -> None:
        while True:
            match await self._said.get():
                case ["tracked", key] if key not in self._lives:
                    # One is sent only after it is tracked for sure, as the page of the tracker says.
                    self._lives[key] = self.campaign.send(len(self._lives) + 1, custom_id=key)
                case ["told", key, state]:
                    told = self._told.setdefault(key, [])
                    told.append(state)
                    if len(told) == 1 and key in self._lives and state != "SENT":
                        self.result.delays.append(self.campaign.now - _end_of(self._lives[key]))

    def _post(self, body: bytes) -> None:
        task = asyncio.create_task(self._post_to_all(body))
        self._posts.append(task)
        while self._posts and self._posts[0].done():
            self._posts.popleft()

    async def _post_to_all(self, body: bytes) -> None:
        # The trackers do not know whose message is whose; neither does the provider.
        for member in self._members:
            with suppress(httpx.HTTPError):
                await self._http.post(member.webhook_url, content=body)

    # --- faults -----------------------------------------------------------------------------------

    async def _do_faults(self, until: float, pause: float) -> None:
        """Do one fault after another, until so many seconds after the beginning."""
        while time.monotonic() < self._began + until:
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
            # Dealt like cards: each of them comes, also in a short run.
            self._deck = self._deck or self._random.sample(list(self._faults), len(self._faults))
            name = self._deck.pop()
            await self._faults[name]()
            self.result.faults[name] += 1

    async def _kill(self) -> None:
        member = self._random.choice(self._members[1:])
        await member.kill()
        self.result.killed += 1
        await asyncio.sleep(self._random.choice([0.0, self._random.uniform(0.0, 5.0)]))
        await member.start()

    async def _stop(self) -> None:
        member = self._random.choice(self._members)
        member.send(signal.SIGSTOP)
        await asyncio.sleep(self._random.uniform(0.5, 5.0))
        member.send(signal.SIGCONT)

    async def _provider_away(self) -> None:
        self._sandbox.fault = lambda _: 503
        await asyncio.sleep(self._random.uniform(1.0, 8.0))
        self._sandbox.fault = None

    # --- the end ----------------------------------------------------------------------------------

    def _judged(self) -> Result:
        result = self.result
        result.messages = len(self._lives)
        result.requests, result.rejections = self._sandbox.requests, self._sandbox.rejections
        for key, steps in self._lives.items():
            told = self._told.get(key, [])
            result.forgotten += not told
            result.told_again += max(0, len(told) - 1)
            ends = {str(step.state) for step in steps if step.state in _ENDS} or {"SENT"}
            if not ends.issuperset(told):
                result.wrong.append(f"{key} told as {told}, but {sorted(ends)}")
        return result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for member in self._members:
            await member.kill()


def _in_thread(fault: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    return lambda: asyncio.to_thread(fault)


async def soak(
    seconds: float,
    *,
    per_second: float = 3.0,
    pause: float = 4.0,
    curve: DeliveryCurve = CURVE,
    faults: Sequence[str] = (),
    seed: int = 0,
    binary: str = "",
) -> Result:
    """Let trackers follow a campaign under fire for so many seconds, and return what came of it.

    Without ``faults``, all of them are done.
    """
    servers = binaries()
    sandbox = Sandbox(rate_limit=LIMIT, counting="spacing", latency=0.05)
    with (
        RedisServer(servers[binary or next(iter(servers))]) as server,
        sandbox.serve() as url,
        tempfile.TemporaryDirectory(prefix="statuslookup-soak-") as folder,
    ):
        async with Soak(server, sandbox, url, Path(folder), curve, faults, seed) as under_fire:
            return await under_fire.run(seconds, per_second=per_second, pause=pause)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracker_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--per-second", type=float, default=3.0, help="messages (default: 3)")
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two faults (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="for other faults")
    chosen = parser.parse_args()
    result = asyncio.run(
        soak(60 * chosen.minutes, per_second=chosen.per_second, pause=chosen.pause, seed=chosen.seed)
    )
    print(result)
    problems = result.problems()
    print(json.dumps(problems, indent=1) if problems else "all is as it should be")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
