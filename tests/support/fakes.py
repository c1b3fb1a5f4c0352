"""A provider, a server and a limiter that are played, and clients of theirs in virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import httpx

from statuslookup import RateLimit, StatusClient, TokenBucket
from statuslookup._wire import Request, Secret
from statuslookup.providers.base import Exchange, error_of
from tests.support.virtual_time import LoopClock

FAST = RateLimit(200)


class Tens:
    """A provider whose answer to a key is ten times the key."""

    name = "Tens"
    base_url = "http://localhost"
    secret = Secret("secret")

    def __init__(self, *, max_batch: int = 200, rate_limit: RateLimit | None = RateLimit(2)) -> None:  # noqa: B008 # frozen
        self.max_batch = max_batch
        self.rate_limit = rate_limit
        # Tests share no rate limit.
        self.budget: object = object()

    def check(self, key: int) -> int:
        if key < 0:
            raise ValueError("a key is not negative")
        return key

    def exchange(self, keys: Sequence[int]) -> Exchange[int, int]:
        response = yield Request("GET", "/" + ",".join(map(str, keys)))
        error = error_of(response, provider=self.name)
        return {key: error or 10 * key for key in keys}


Outcome: TypeAlias = int | Exception
"""What a fake server does with a request: answer with a status, or raise."""


class FakeServer(httpx.AsyncBaseTransport):
    """Takes ``latency`` seconds for each request, and answers number n as ``outcome(n)`` says."""

    def __init__(self, outcome: Callable[[int], Outcome] = lambda number: 200, latency: float = 0.05) -> None:
        self.outcome = outcome
        self.latency = latency
        self.batches: list[list[int]] = []
        self.times: list[float] = []
        self.answered = 0
        self.is_closed = False

    @property
    def requests(self) -> int:
        return len(self.batches)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        loop = asyncio.get_running_loop()
        self.batches.append([int(key) for key in request.url.path[1:].split(",")])
        # A VirtualTimeLoop begins at 1000.
        self.times.append(round(loop.time() - 1000, 6))
        number = self.requests
        await asyncio.sleep(self.latency)
        self.answered += 1
        outcome = self.outcome(number)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome)

    async def aclose(self) -> None:
        self.is_closed = True


class FakeLimiter:
    """Grants each slot at once, or when ``gate`` is set, or raises ``error`` if there is one."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.waiting = 0
        self.replies: list[object] = []

    def slot(self) -> "FakeLimiter":
        return self

    def done(self, reply: object) -> None:
        self.replies.append(reply)

    async def __aenter__(self) -> "FakeLimiter":
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        return self

    async def __aexit__(self, *_: object) -> None: ...


def client_of(
    server: httpx.AsyncBaseTransport, provider: Any = None, **options: Any
) -> StatusClient[int, int]:
    """Return a client of ``Tens`` in virtual time that does not linger."""
    options = {"clock": LoopClock(), "linger": 0.0, **options}
    return StatusClient(provider or Tens(), transport=server, **options)


def new_client(server: httpx.AsyncBaseTransport, **options: Any) -> StatusClient[int, int]:
    """Return a client in real time, with a limit that costs a test nothing."""
    provider = options.pop("provider", None) or Tens(rate_limit=FAST)
    return StatusClient(provider, transport=server, linger=0.0, **options)


def listen(noise: list[dict[str, Any]]) -> None:
    """Write down what the running loop reports by itself."""
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))


def bucket(requests: float = 2) -> TokenBucket:
    return TokenBucket(RateLimit(requests), clock=LoopClock())


def other_tasks() -> set["asyncio.Task[Any]"]:
    """Return the tasks that are not the test's own."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def ticks(count: int = 5) -> None:
    """Let the loop go round, without any time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


def now() -> float:
    return asyncio.get_running_loop().time()
