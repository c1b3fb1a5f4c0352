"""Members of a fleet, as many as a test wants, on one server."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from attrs import define, field
from redis.asyncio import Redis

from statuslookup._clock import SYSTEM_CLOCK, Clock
from statuslookup._wire import Secret
from statuslookup.fleet.identity import Identity
from statuslookup.fleet.link import Link
from statuslookup.fleet.scripts import Script
from statuslookup.fleet.shared_queue import SharedQueue
from statuslookup.fleet.slot import LeftPace, Sent, Taken, Terms
from tests.support.timed_scripts import TimedLink
from tests.support.virtual_time import ManualClock

# Long, so that none ends on a busy machine; short for those who wait for its end, where Redis's time is real.
LEASE = 30.0
SHORT_LEASE = 0.4
TERMS = Terms(interval=0.05, period=0.1, places=2)
NO_PACE = LeftPace(0, None)
SENT = Sent(pause=0.05, period=0.1, pace=NO_PACE)
NO_PAUSE = Sent(pause=0.0, period=0.0, pace=NO_PACE)


def identity(account: str = "a", *, name: str = "test", budget: str = "b") -> Identity:
    secret = Secret(f"token-{account}")
    return Identity.of(name, budget, provider="Test", base_url="https://test.example", secret=secret)


async def taken(queue: SharedQueue, *keys: str) -> Taken:
    """Take the slot, which has to be free, and announce the keys with it."""
    reply = await queue.take(TERMS, 200, first=keys)
    assert isinstance(reply, Taken), reply
    return reply


@define
class Heard:
    """What a member has heard."""

    turns: list[tuple[bool, int]] = field(factory=list)
    payloads: list[bytes] = field(factory=list)
    reconnections: int = 0

    def hear_turn(self, *, is_free: bool, process: int, seconds: float, beside: float) -> None:
        self.turns.append((is_free, process))

    def hear_outcomes(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def reconnected(self) -> None:
        self.reconnections += 1


class _TimedLink(TimedLink):
    """Lets a millisecond pass before each call, because two are never one: Redis's time is their order."""

    async def run(self, script: Script, keys: Any, *arguments: str | bytes) -> Any:
        self.clock.stop(0.001)
        return await super().run(script, keys, *arguments)


class Fleet:
    """Members on one server, which end with it.

    With a ``ManualClock`` its time is also Redis's, and passes when a test says so: however busy the machine
    is, nothing ends in between.
    """

    def __init__(self, redis: Any, *, lease: float = LEASE, clock: Clock = SYSTEM_CLOCK) -> None:
        self._redis = redis
        self._lease = lease
        self._clock = clock
        self._stack = AsyncExitStack()
        self.heard: dict[int, Heard] = {}

    def member(self, account: str = "a", *, process: int | None = None) -> SharedQueue:
        clock = self._clock
        if isinstance(clock, ManualClock):
            link: Link = _TimedLink(self._redis, clock)
        else:
            link = Link(self._redis, clock=clock)
        heard = Heard()
        queue = SharedQueue(link, identity(account), heard, lease=self._lease, process=process)
        self.heard[queue.process] = heard
        self._stack.push_async_callback(link.aclose)
        self._stack.push_async_callback(queue._subscription.aclose)
        return queue

    def pass_time(self, seconds: float) -> None:
        assert isinstance(self._clock, ManualClock)
        self._clock.stop(seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()


async def whole_database(url: str) -> dict[str, Any]:
    """Return every key with its value, to look for what may not be there."""
    async with Redis.from_url(url) as redis:
        found: dict[str, Any] = {}
        name: Any
        for name in await redis.keys("*"):
            kind: Any = await redis.type(name)
            read: Any = {b"hash": redis.hgetall, b"string": redis.get}.get(kind)
            found[name.decode()] = await (read(name) if read else redis.zrange(name, 0, -1, withscores=True))
        return found
