"""A client to which something happens before each step of the event loop in turn."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from attrs import define, field

from statuslookup import ClosedError, IncompleteError, RateLimit, RetryPolicy, StatusClient, StatusLookupError
from tests.support.fakes import FakeServer, Tens, bucket, client_of, other_tasks, ticks
from tests.support.interleavings import Call, Event, Explorer, Play, Stage, event

INTERVAL = 0.5


class SlowLimiter:
    """A limiter of somebody's own: one slot at a time, which takes a while to enter and to leave."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.holder: SlowSlot | None = None
        self.error: Exception | None = None
        """What the next turn raises instead."""

    def slot(self) -> "SlowSlot":
        return SlowSlot(self)


class SlowSlot:
    def __init__(self, limiter: SlowLimiter) -> None:
        self._limiter = limiter
        self._was_told = False

    def done(self, reply: object) -> None:
        assert self._limiter.holder is self, "told outside"
        assert not self._was_told, "told twice"
        self._was_told = True

    async def __aenter__(self) -> "SlowSlot":
        limiter = self._limiter
        await limiter.turn.acquire()
        try:
            await asyncio.sleep(0.01)
            error, limiter.error = limiter.error, None
            if error is not None:
                raise error
        except BaseException:
            limiter.turn.release()
            raise
        limiter.holder = self
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._limiter.holder is self, "left without having been entered"
        try:
            await asyncio.sleep(0.01)
        finally:
            self._limiter.holder = None
            self._limiter.turn.release()


class Twice(Tens):
    """Asks once more for the last key of a batch, so that an exchange needs a further slot."""

    def exchange(self, keys: Any) -> Any:
        *first, last = keys
        outcomes = yield from super().exchange(keys)
        yield {key: outcomes[key] for key in first}
        return (yield from super().exchange([last]))


@define
class Scene:
    """One client, its limiter and its server, and what is asked of it."""

    stage: Stage
    limiter: Any = None
    provider: Any = None
    server: FakeServer = field(factory=FakeServer)
    calls: dict[str, Call] = field(factory=dict)
    closing: asyncio.Task[None] | None = None
    excuses: tuple[type[BaseException], ...] = ()
    """How every call may end."""
    patience: float = 5.0
    client: StatusClient[int, int] = field(init=False)
    other: StatusClient[int, int] = field(init=False)
    """One that shares the limiter."""

    def __attrs_post_init__(self) -> None:
        self.stage.scene = self
        self.stage.may_log = ("lookups ended by a bug, in a provider, a limiter",)
        provider = self.provider or Tens(max_batch=2)
        retry = RetryPolicy(attempts=4, backoff=0.1, max_backoff=0.2)
        self.client, self.other = (
            client_of(self.server, provider, limiter=self.limiter, retry=retry) for _ in range(2)
        )

    def call(self, name: str, work: Any, expected: Any, *keys: int) -> None:
        self.calls[name] = Call(asyncio.ensure_future(work), expected, keys)

    async def stream(self, *keys: int) -> dict[int, int | None]:
        async def come() -> AsyncIterator[int]:
            for key in keys:
                await asyncio.sleep(0.02)
                yield key

        found: dict[int, int | None] = {}
        async for outcome in self.client.stream(come()):
            await asyncio.sleep(0.001)
            if outcome.error is not None:
                raise outcome.error
            found[outcome.key] = outcome.status
        return found

    # --- what happens ---------------------------------------------------------------------------------

    def cancel(self, name: str) -> None:
        if name in self.calls and self.calls[name].task.cancel():
            self.calls[name].excuses += (asyncio.CancelledError,)

    def expire(self, name: str) -> None:
        """Let the deadline of a call for one key come."""
        engine = self.client._engine
        if engine is None or name not in self.calls or self.calls[name].task.done():
            return
        call = self.calls[name]
        answer = call.task._fut_waiter  # type: ignore[attr-defined] # what the call waits for
        if answer is not None and not answer.done():
            engine._expire({answer: call.keys[0]}, 60.0)
            call.excuses += (StatusLookupError,)

    def join(self, key: int) -> None:
        self.call(f"x{len(self.calls)}", self.client.get(key), 10 * key, key)
        self.patience += 1.0

    def close(self) -> None:
        if self.closing is None:
            self.excuses += (ClosedError,)
            self.closing = asyncio.ensure_future(self.client.aclose())

    def cancel_closing(self) -> None:
        if self.closing is not None:
            self.closing.cancel()

    def cut_all_off(self) -> None:
        """Cancel every task but the callers', as a careless program does."""
        callers = {self.stage.main, *(call.task for call in self.calls.values())}
        for task in asyncio.all_tasks() - callers:
            task.cancel()
        self.excuses += (ClosedError, IncompleteError)

    def answer_once(self, outcome: int | Exception) -> None:
        number = self.server.answered + 1
        self.server.outcome = lambda n: outcome if n == number else 200
        self.patience += 6.0

    def let_limiter_fail(self) -> None:
        if isinstance(self.limiter, SlowLimiter):
            self.limiter.error = ZeroDivisionError()
            self.excuses += (StatusLookupError,)

    def block(self) -> None:
        """Let time pass without that anything runs."""
        self.stage.loop.jump(0.7)
        self.patience += 0.7

    # --- the end --------------------------------------------------------------------------------------

    async def finish(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while open_tasks := [call.task for call in self.calls.values() if not call.task.done()]:
                left = self.stage.began_at + self.patience - loop.time()
                if left <= 0:
                    break
                await asyncio.wait(open_tasks, timeout=left)
            self.stage.end()
            await self.check()
        finally:
            await self.client.aclose()
            await self.other.aclose()

    async def check(self) -> None:
        for name, call in self.calls.items():
            call.excuses += self.excuses
            call.check(name)
        if isinstance(self.limiter, SlowLimiter):
            self.limiter.error = None
        if self.closing is not None:
            await asyncio.wait([self.closing])
        else:
            await ticks()
            async with asyncio.timeout(8.0):
                assert await self.client.get(9) == 90
        assert await self.other.get(9) == 90
        await asyncio.sleep(8.0)
        assert other_tasks() == set(), f"at rest: {other_tasks()}"
        assert self.stage.timers == [], f"at rest: {self.stage.timers}"
        for client in (self.client, self.other):
            stats = client.stats()
            assert (stats.queued, stats.in_flight) == (0, 0)
        if isinstance(self.limiter, SlowLimiter):
            assert self.limiter.holder is None
            assert not self.limiter.turn.locked()
        else:
            gaps = [after - before for before, after in pairwise(self.server.times)]
            assert min(gaps, default=1.0) >= INTERVAL - 1e-6 - self.server.latency, self.server.times
            assert self.limiter.stats().waiting == self.limiter.stats().in_flight == 0


async def play(stage: Stage, limiter: Any = None, provider: Any = None) -> None:
    """Calls for one key and for many, some for the same, in three batches, and another client."""
    scene = Scene(stage, limiter or bucket(), provider)
    stage.begin()
    client = scene.client
    scene.call("a", client.get(1), 10, 1)
    scene.call("b", client.get(1), 10, 1)
    await asyncio.sleep(0.03)
    scene.call("c", client.get(2), 20, 2)
    scene.call("other", scene.other.get(1), 10, 1)
    scene.call("many", client.get_many([2, 3]), {2: 20, 3: 30}, 2, 3)
    scene.call("stream", scene.stream(3, 4), {3: 30, 4: 40}, 3, 4)
    await scene.finish()


async def play_slow_limiter(stage: Stage) -> None:
    """As before, with a limiter of somebody's own."""
    await play(stage, SlowLimiter())


async def play_twice(stage: Stage) -> None:
    """As before, with two requests for each batch."""
    await play(stage, SlowLimiter(), Twice(max_batch=2, rate_limit=RateLimit(2)))


EVENTS: dict[str, Event] = {
    **{f"cancel {name}": event(Scene.cancel, name) for name in ("a", "b", "c", "other", "many", "stream")},
    **{f"deadline of {name}": event(Scene.expire, name) for name in ("a", "b", "c")},
    **{f"a call for {key}": event(Scene.join, key) for key in (1, 5)},
    "close": event(Scene.close),
    "cancel closing": event(Scene.cancel_closing),
    "429": event(Scene.answer_once, 429),
    "500": event(Scene.answer_once, 500),
    "no answer": event(Scene.answer_once, httpx.ReadError("cut")),
    "the limiter fails": event(Scene.let_limiter_fail),
    "a blocked loop": event(Scene.block),
}
# What only a program does that cancels tasks that are not its own.
CUTS = {"cut all off": event(Scene.cut_all_off)}
EVENTS_AND_CUTS = EVENTS | CUTS


@pytest.mark.parametrize("name", EVENTS_AND_CUTS)
@pytest.mark.parametrize("play", [play, play_slow_limiter, play_twice])
def test_one_event(play: Play, name: str, is_thorough: bool) -> None:
    explorer = Explorer(play)
    explorer.try_each(name, EVENTS_AND_CUTS[name], every=1 if is_thorough else 2)
    explorer.check()


@pytest.mark.parametrize("play", [play, play_slow_limiter, play_twice])
def test_two_events(play: Play, is_thorough: bool) -> None:
    explorer = Explorer(play)
    explorer.try_pairs(EVENTS, 10_000 if is_thorough else 200)
    explorer.check()
