"""The receiver under uvicorn: posts on new connections at a steady rate, and what they cost.

Two processes: this one posts, the other one has uvicorn, the receiver and a tracker. Some of its messages are
waited for, each by a ``wait`` of its own, and each post of theirs ends one.

    python -m benchmarks.receiver  # exits with 1 when a goal is missed
    python -m benchmarks.receiver --http httptools --uvloop --seconds 30
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any, Final

import httpx
import uvicorn
from attrs import define, field, frozen

from statuslookup import CustomId, Schedule, SMSFire, StatusClient, StatusTracker
from statuslookup.sandbox import Sandbox
from statuslookup.webhooks import receiver

SECRET: Final = "a-secret-of-the-benchmark"
MOST_SECONDS_TO_ANSWER: Final = 0.050
MOST_SECONDS_TO_RETURN: Final = 0.050
MOST_CPU_A_POST: Final = 0.0006
_WARM_UP: Final = 50
"""Posts before the measured ones, which import and compile what is done once."""


@frozen(kw_only=True)
class Load:
    """What is posted, and to what."""

    rate: float = 500.0
    """Posts a second."""
    seconds: float = 10.0
    waits: int = 2000
    """Messages that are waited for when the posts begin."""
    http: str = "h11"
    uvloop: bool = False

    @property
    def posts(self) -> int:
        return round(self.rate * self.seconds)


@define(kw_only=True)
class Figures:
    """What a run measured, in seconds."""

    answers: list[float] = field(factory=list)
    """From before each connection to the end of its response."""
    returns: list[float] = field(factory=list)
    """From before each post that a wait waits for to the return of that wait."""
    failed: int = 0
    """Posts that were answered anything but 200."""
    cpu: float = 0.0
    """Of the receiver's process, for each post."""

    def problems(self, load: Load) -> list[str]:
        """Return which goals were missed."""
        waited = min(load.waits, load.posts)
        found = {
            f"{self.failed} posts failed": self.failed > 0,
            f"{waited - len(self.returns)} waits did not return": len(self.returns) != waited,
            "p99 of the answers": share(self.answers, 0.99) > MOST_SECONDS_TO_ANSWER,
            "p99 from post to return": share(self.returns, 0.99) > MOST_SECONDS_TO_RETURN,
            "CPU a post": self.cpu > MOST_CPU_A_POST,
        }
        return [problem for problem, is_true in found.items() if is_true]


def share(values: list[float], share: float) -> float:
    """Return the value that so many of all are below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


# --- the receiver's process -----------------------------------------------------------------------


def serve(listener: socket.socket, load: Load, pipe: Connection) -> None:
    """Serve until the other end says so, and send what was measured here."""
    if load.uvloop:
        import uvloop

        uvloop.run(_serve(listener, load, pipe))
    else:
        asyncio.run(_serve(listener, load, pipe))


async def _serve(listener: socket.socket, load: Load, pipe: Connection) -> None:
    sandbox = Sandbox(token="token")
    provider = SMSFire("token", base_url="http://localhost")
    returned: dict[str, float] = {}

    async def wait(tracker: "StatusTracker[Any, Any]", key: CustomId) -> None:
        await tracker.wait(key)
        returned[key] = time.monotonic()

    client = StatusClient(provider, transport=httpx.ASGITransport(sandbox))
    # What is measured here are webhooks alone.
    async with client, StatusTracker(client, schedule=Schedule(first=3600.0)) as tracker:
        app = receiver(tracker, path_secret=SECRET)
        config = uvicorn.Config(app, http=load.http, access_log=False, log_config=None, backlog=2048)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        waits = [asyncio.create_task(wait(tracker, _key(number))) for number in range(load.waits)]
        while not server.started or len(list(tracker.open())) < load.waits:  # noqa: ASYNC110 # neither has an event
            await asyncio.sleep(0.01)
        pipe.send("ready")
        await _received(pipe)
        begin = _cpu()
        pipe.send("measuring")
        await _received(pipe)
        cpu = _cpu() - begin
        await asyncio.wait(waits, timeout=10.0) if waits else None
        for task in waits:
            task.cancel()
        server.should_exit = True
        await serving
    pipe.send((cpu, returned))


async def _received(pipe: Connection) -> Any:
    while not pipe.poll():  # noqa: ASYNC110 # a pipe has no event
        await asyncio.sleep(0.02)
    return pipe.recv()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _key(number: int) -> CustomId:
    return CustomId(f"order-{number}")


# --- the posts' process ---------------------------------------------------------------------------


def measure(load: Load) -> Figures:
    """Start the receiver's process, post to it, and return what was measured at both ends."""
    spawn = multiprocessing.get_context("spawn")
    pipe, its_end = spawn.Pipe()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    process = spawn.Process(target=serve, args=(listener, load, its_end))
    process.start()
    try:
        assert _answer(pipe, 60) == "ready"
        port = listener.getsockname()[1]
        listener.close()
        return asyncio.run(_measure(load, port, pipe))
    finally:
        process.join(10)
        process.kill()


def _answer(pipe: Connection, seconds: float) -> Any:
    if not pipe.poll(seconds):
        raise RuntimeError("the receiver's process says nothing")
    return pipe.recv()


async def _measure(load: Load, port: int, pipe: Connection) -> Figures:
    figures = Figures()
    # Messages that nobody waits for: strangers, or already told.
    await asyncio.gather(*(_post(port, load.posts + number, Figures()) for number in range(_WARM_UP)))
    pipe.send("measure")
    assert _answer(pipe, 60) == "measuring"
    posted: dict[str, float] = {}
    begin = time.monotonic()
    posts: set[asyncio.Task[None]] = set()
    for number in range(load.posts):
        await asyncio.sleep(max(0.0, begin + number / load.rate - time.monotonic()))
        posted[_key(number)] = time.monotonic()
        posts.add(asyncio.create_task(_post(port, number, figures)))
    await asyncio.gather(*posts)
    pipe.send("end")
    cpu, returned = _answer(pipe, 60)
    figures.cpu = cpu / load.posts
    figures.returns = [at - posted[key] for key, at in returned.items() if key in posted]
    return figures


class _Post(asyncio.Protocol):
    """One post on a connection of its own; less than a stream, because its time is measured, too."""

    def __init__(self, number: int, figures: Figures) -> None:
        self._number = number
        self._figures = figures
        self._begun_at = time.monotonic()
        self.is_answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        body = json.dumps({"id": self._number, "customId": _key(self._number), "statusCode": 2}).encode()
        head = b"POST /%b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % SECRET.encode()
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))

    def data_received(self, data: bytes) -> None:
        if not self.is_answered.done():
            self._figures.answers.append(time.monotonic() - self._begun_at)
            self._figures.failed += not data.startswith(b"HTTP/1.1 200")
            self.is_answered.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        if not self.is_answered.done():
            self._figures.failed += 1
            self.is_answered.set_result(None)


async def _post(port: int, number: int, figures: Figures) -> None:
    post = _Post(number, figures)
    try:
        await asyncio.get_running_loop().create_connection(lambda: post, "127.0.0.1", port)
    except OSError:
        post.connection_lost(None)
    await post.is_answered


def main() -> int:
    default = Load()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receiver", description=__doc__)
    parser.add_argument("--rate", type=float, default=default.rate, help="posts a second")
    parser.add_argument("--seconds", type=float, default=default.seconds)
    parser.add_argument("--waits", type=int, default=default.waits, help="open waits")
    parser.add_argument("--http", choices=["h11", "httptools"], default=default.http)
    parser.add_argument("--uvloop", action="store_true")
    chosen = parser.parse_args()
    load = Load(
        rate=chosen.rate,
        seconds=chosen.seconds,
        waits=chosen.waits,
        http=chosen.http,
        uvloop=chosen.uvloop,
    )
    figures = measure(load)
    print(f"{load.posts:,} posts on new connections, {load.rate:g} a second, {load.http}")
    for name, values in (("to the answer", figures.answers), ("from post to return", figures.returns)):
        if values:
            p50, p99 = statistics.median(values), share(values, 0.99)
            print(
                f"{name}: p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, at most {max(values) * 1e3:.1f} ms"
            )
    print(f"CPU a post: {figures.cpu * 1e3:.2f} ms")
    problems = figures.problems(load)
    for problem in problems:
        print(f"missed: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
