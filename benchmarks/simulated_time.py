"""An event loop in simulated time, and around it a network and a server that go on while it is blocked.

The clock jumps to the next thing that is due, so ten minutes take a fraction of a second, and the same
seed gives the same run.
"""

import asyncio
import heapq
import math
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from importlib import import_module
from itertools import count, pairwise
from random import Random
from types import ModuleType
from typing import Any, Final, get_args
from unittest import mock

from attrs import field, frozen

from statuslookup import RateLimit
from statuslookup._clock import Timer
from statuslookup.sandbox import Counting
from statuslookup.sandbox._counting import WINDOWS

COUNTINGS: Final[tuple[Counting, ...]] = get_args(Counting)
LIMIT: Final = RateLimit(2, per=1.0)
HALVED_FROM: Final = 60.0
HALVED_UNTIL: Final = 180.0

# Monotonic clocks start anywhere. Wall clocks are past 2020, and some limiters rely on that.
_START = 5000.0
_EPOCH = 1_800_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Nothing here talks to a socket: what comes from outside is an event of the world.
        if timeout != 0:
            self.loop.wait(timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs a program in simulated time; its timers fire up to ``lateness`` seconds late, at random."""

    def __init__(self, random: Random, *, lateness: float = 0.0) -> None:
        self._now = _START
        self.random = random
        self._lateness = lateness
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def happens(self, delay: float, event: Callable[[], object]) -> None:
        """Let something happen outside the program, at its time even if the loop is blocked then."""
        heapq.heappush(self._events, (self._now + delay, next(self._order), event))

    def block(self, seconds: float) -> None:
        """Let time pass in which the program does nothing; from inside a callback, this blocks the loop."""
        until = self._now + seconds
        while self._events and self._events[0][0] <= until:
            when, _, event = heapq.heappop(self._events)
            self._now = when
            event()
        self._now = until

    def wait(self, timeout: float | None) -> None:
        if timeout is None and not self._events:
            raise RuntimeError("deadlock: every task waits, and nothing is due")
        until_event = self._events[0][0] - self._now if self._events else float("inf")
        self.block(until_event if timeout is None else min(timeout, until_event))

    def call_at(  # type: ignore[override]  # the callback's own arguments do not matter here
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if self._lateness:
            when += self.random.uniform(0, self._lateness)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # nor here
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        # A real thread would need real time, while which the simulated time would jump on.
        future = self.create_future()
        future.set_result(func(*args))
        return future


class SimulatedClock:
    """The loop's time, for limiters that take a clock."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.time = loop.time
        self._loop = loop

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        return self._loop.call_later(delay, callback, *arguments)


@contextmanager
def simulated_time_module(loop: SimulatedLoop) -> Iterator[None]:
    """Let libraries that read the machine's clocks read the loop's instead."""

    def monotonic() -> float:
        return loop.time()

    def monotonic_ns() -> int:
        return int(loop.time() * 1e9)

    clocks: dict[str, Callable[[], float]] = {
        "time": lambda: _EPOCH + loop.time(),
        "time_ns": lambda: int((_EPOCH + loop.time()) * 1e9),
        "monotonic": monotonic,
        "monotonic_ns": monotonic_ns,
        "perf_counter": monotonic,
        "perf_counter_ns": monotonic_ns,
    }
    with ExitStack() as stack:
        for module in (time, *_modules_with_clocks_of_their_own()):
            for name, clock in clocks.items():
                if callable(getattr(module, name, None)):
                    stack.enter_context(mock.patch.object(module, name, clock))
        yield


def _modules_with_clocks_of_their_own() -> Iterator[ModuleType]:
    """Find the modules that did ``from time import monotonic``, where replacing ``time``'s does not help."""
    for name in ("pyrate_limiter.clocks", "pyrate_limiter.limiter"):
        try:
            yield import_module(name)
        except ImportError:
            pass


@frozen(kw_only=True)
class Scenario:
    """What happens between a program and a server; delays are seconds, from and to."""

    name: str
    one_way: tuple[float, float]
    """The way to the server, and independently the way back."""
    processing: tuple[float, float] = (0.0, 0.0)
    """From counting a request to sending its answer."""
    lateness: float = 0.0
    """How late the program's timers fire at most."""
    blocked: tuple[float, float] | None = None
    """How long the program's event loop is blocked, once every 2 to 10 seconds."""
    stragglers: float = 0.0
    """The share of requests that take 0.8 s longer, on the way there or on the way back."""
    stalls: float = 0.0
    """The share of ways, there and back, that take 1 to 2 s longer."""
    stopped: float = 0.0
    """How long the process is stopped, once every 2 to 10 seconds, and before it sends every 20th request."""
    halves: bool = False
    """From second 60 to second 180 the server admits half of its limit."""
    count_rejected: bool = False
    """Rejected requests count, too."""


@frozen
class Run:
    """What a server saw in one run: when, in seconds from the start, it counted which requests."""

    seconds: float
    admitted: list[float] = field(factory=list)
    rejected: list[float] = field(factory=list)

    @property
    def share(self) -> float:
        """The admitted requests as a share of what the unchanged limit allows."""
        return len(self.admitted) / (self.seconds * LIMIT.limit / LIMIT.per)

    @property
    def rejected_per_thousand(self) -> float:
        return 1000 * len(self.rejected) / max(1, len(self.admitted) + len(self.rejected))

    @property
    def closest(self) -> float:
        """The seconds between the two admitted requests that were counted closest together."""
        return min((later - earlier for earlier, later in pairwise(self.admitted)), default=math.inf)

    @property
    def share_of_halved(self) -> float:
        """The requests admitted while the limit was halved, as a share of what it allowed then."""
        admitted = sum(HALVED_FROM <= when < HALVED_UNTIL for when in self.admitted)
        return admitted / ((HALVED_UNTIL - HALVED_FROM) * LIMIT.limit / LIMIT.per / 2)

    @property
    def seconds_until_back(self) -> float:
        """The seconds from the limit's return to the first ten seconds with 95 % of the rate."""
        enough = math.ceil(10 * 0.95 * LIMIT.limit / LIMIT.per)
        after = [when for when in self.admitted if when >= HALVED_UNTIL]
        for first, last in zip(after, after[enough:], strict=False):
            if last - first <= 10:
                return first - HALVED_UNTIL
        return math.inf


class Server:
    """Counts requests as they arrive, at the far end of a network."""

    def __init__(self, loop: SimulatedLoop, scenario: Scenario, counting: Counting, seconds: float) -> None:
        self._loop = loop
        self._scenario = scenario
        self._window = WINDOWS[counting]()
        self._random = Random(loop.random.random())
        self._started_at = loop.time()
        # The server's windows do not begin when the program does.
        self._phase = self._random.random()
        self.run = Run(seconds)

    async def ask(self) -> bool:
        scenario, random = self._scenario, self._random
        there, back = random.uniform(*scenario.one_way), random.uniform(*scenario.one_way)
        if random.random() < scenario.stragglers:
            if random.random() < 0.5:
                there += 0.8
            else:
                back += 0.8
        if scenario.stalls:
            there += self._stall()
            back += self._stall()
        if scenario.stopped and random.random() < 0.05:
            self._loop.block(scenario.stopped)
        answer: asyncio.Future[bool] = self._loop.create_future()

        def arrive() -> None:
            admitted = self._admit()
            processing = random.uniform(*scenario.processing) if admitted else 0.0
            self._loop.happens(processing + back, lambda: _answer(answer, admitted))

        self._loop.happens(there, arrive)
        return await answer

    def _stall(self) -> float:
        random = self._random
        return random.uniform(1.0, 2.0) if random.random() < self._scenario.stalls else 0.0

    def _admit(self) -> bool:
        when = self._loop.time() - self._started_at
        halved = self._scenario.halves and HALVED_FROM <= when < HALVED_UNTIL
        limit = RateLimit(LIMIT.limit / 2, LIMIT.per) if halved else LIMIT
        now = self._started_at + self._phase + when
        admitted = self._window.admit(now, limit, count_rejected=self._scenario.count_rejected)
        if when < self.run.seconds:
            (self.run.admitted if admitted else self.run.rejected).append(when)
        return admitted


def _answer(answer: asyncio.Future[bool], admitted: bool) -> None:
    # Whoever asked may be cancelled by now.
    if not answer.done():
        answer.set_result(admitted)
