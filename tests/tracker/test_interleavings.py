"""A tracker to which something happens before each step of the event loop in turn."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from attrs import define, field

from statuslookup import (
    ClosedError,
    MemoryStore,
    Row,
    Schedule,
    ServerError,
    StatusLookupError,
    StoreError,
    WaitTimeoutError,
)
from tests.support.fakes import other_tasks, ticks
from tests.support.interleavings import Call, Event, Explorer, Play, Stage, event
from tests.support.tracking import (
    DELIVERED,
    EPOCH,
    READ,
    SENT,
    PlayedClient,
    message,
    smsfire_tracker,
)

WATCHED = {2, 4}
KEPT = (7, 8)
"""What the store holds from before: one message that is open, and one whose end nobody has taken."""


class SlowStore(MemoryStore):
    """Takes its time, and fails as long as ``is_failing``."""

    def __init__(self) -> None:
        super().__init__()
        self.is_failing = False
        self.is_used = False
        self.is_closed = False

    async def _take_time(self) -> None:
        assert not self.is_used, "its methods are called one at a time"
        self.is_used = True
        try:
            await asyncio.sleep(0.01)
        finally:
            self.is_used = False
        if self.is_failing:
            raise StoreError("the disk is full")

    async def load(self, account: str) -> Any:
        await self._take_time()
        self.is_closed = False
        return await super().load(account)

    async def save(self, rows: Any) -> None:
        await self._take_time()
        await super().save(rows)
        await asyncio.sleep(0.01)

    async def aclose(self) -> None:
        await asyncio.sleep(0.01)
        self.is_closed = True


@define
class Scene:
    """One tracker, its store and its client, and what is asked of it."""

    stage: Stage
    has_store: bool = True
    store: SlowStore = field(factory=SlowStore)
    client: PlayedClient = field(factory=PlayedClient)
    tracker: Any = None
    calls: dict[str, Call] = field(factory=dict)
    reader: asyncio.Task[None] | None = None
    closing: asyncio.Task[None] | None = None
    handed: set[int] = field(factory=set)
    """Whose ends somebody has taken."""
    owed: set[int] = field(factory=set)
    """Whose ends a loop over all changes was busy with when it was cut off: they come again."""
    excuses: tuple[type[BaseException], ...] = ()
    """How every call may end."""
    patience: float = 12.0

    def __attrs_post_init__(self) -> None:
        self.stage.scene = self
        self.stage.may_log = ("the tracker's store", "the client was closed")
        self.store.rows = dict(ROWS)
        self.client.seconds = 0.3
        self.client.statuses = {key: message(key, DELIVERED) for key in range(1, 9)}
        self.client.failure = lambda: ClosedError("closed") if self.client.is_closed else None
        self.tracker = self.new_tracker()

    def new_tracker(self) -> Any:
        store = self.store if self.has_store else None
        return smsfire_tracker(self.client, store=store, schedule=Schedule(first=1.0))

    def call(self, name: str, work: Any, *excuses: type[BaseException]) -> None:
        self.calls[name] = Call(asyncio.ensure_future(work), excuses=excuses)

    async def wait(self, key: int, **options: Any) -> None:
        status = await self.tracker.wait(key, **options)
        assert status.state in (DELIVERED, READ)
        self.handed.add(key)

    async def read(self, begin: Callable[[], Any]) -> None:
        # Not from a local of this frame, which a task that was cancelled keeps, and with it the loop.
        async for change in begin():
            # What a loop is busy with when it is cancelled was not handed over.
            is_of_all = change.is_over and begin == self.tracker.changes
            # What a watch takes before the next loop over all begins does not come again there.
            owed = {change.key} - WATCHED if is_of_all else set[int]()
            self.owed |= owed
            await asyncio.sleep(0.001)
            self.owed -= owed
            if change.is_over:
                assert change.status.state in (DELIVERED, READ)
                self.handed.add(change.key)

    async def read_all(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait([before])
        await self.read(self.tracker.changes)

    # --- what happens ---------------------------------------------------------------------------------

    def cancel(self, name: str) -> None:
        if name in self.calls and self.calls[name].task.cancel():
            self.calls[name].excuses += (asyncio.CancelledError,)

    def read_anew(self) -> None:
        """Cancel the loop over all changes, and begin another one."""
        before = self.reader
        if before is not None:
            before.cancel()
            self.reader = asyncio.ensure_future(self.read_all(before))

    def close(self) -> None:
        if self.closing is None:
            self.excuse(ClosedError)
            self.closing = asyncio.ensure_future(self.tracker.aclose())

    def cancel_closing(self) -> None:
        if self.closing is not None:
            self.closing.cancel()

    def cut_all_off(self) -> None:
        """Cancel every task but the callers', as a careless program does."""
        callers = {self.stage.main, self.reader, *(call.task for call in self.calls.values())}
        for task in asyncio.all_tasks() - callers:
            task.cancel()
        self.excuse(StatusLookupError)
        self.patience += 20.0
        # Whatever comes next starts anew what was cut off.
        self.stage.loop.call_later(
            0.01, lambda: self.call(f"next {len(self.calls)}", self.tracker.track(1, 2, 3, 4))
        )

    def track_again(self) -> None:
        self.call(f"next {len(self.calls)}", self.tracker.track(1, 2, 3, 4))

    def close_client(self) -> None:
        self.excuse(ClosedError)
        self.client._is_closed = True
        # Webhooks may bring what it waits for.
        self.cancel("watch")

    def excuse(self, kind: type[BaseException]) -> None:
        self.excuses += (kind,)

    def let_store_fail(self, seconds: float) -> None:
        self.store.is_failing = True
        asyncio.get_running_loop().call_later(seconds, setattr, self.store, "is_failing", False)
        self.excuse(StoreError)
        self.patience += 2 * seconds + 2

    def let_lookup_fail(self, error: StatusLookupError) -> None:
        """Let the lookup fail that is under way, or the next one."""
        failure = self.client.failure

        def fail_once() -> Exception | None:
            self.client.failure = failure
            return error

        self.client.failure = fail_once
        self.patience += 20.0

    def feed(self, *statuses: Any) -> None:
        with suppress(ClosedError):
            self.tracker.feed(statuses)

    # --- the end --------------------------------------------------------------------------------------

    async def finish(self) -> None:
        loop = asyncio.get_running_loop()
        while open_tasks := [call.task for call in self.calls.values() if not call.task.done()]:
            left = self.stage.began_at + self.patience - loop.time()
            if left <= 0:
                break
            await asyncio.wait(open_tasks, timeout=left)
        while (left := self.stage.began_at + self.patience - loop.time()) > 0:  # noqa: ASYNC110 # it may grow
            await asyncio.sleep(left)
        self.stage.end()
        await ticks()
        for name, call in self.calls.items():
            call.excuses += self.excuses
            call.check(name)
        own = {self.reader, self.closing}
        if not self.client.is_closed and self.closing is None:
            assert {task for task in other_tasks() if task not in own} == set(), "at rest"
            assert self.stage.timers == [], self.stage.timers
        if self.closing is not None:
            await asyncio.wait([self.closing])
        await self.tracker.aclose()
        assert self.reader is not None
        await asyncio.wait([self.reader])
        has_failed = not self.reader.cancelled() and self.reader.exception() is not None
        if has_failed:
            assert isinstance(self.reader.exception(), self.excuses), self.reader.exception()
        assert self.store.is_closed or not self.has_store
        durable = {2, 3} if self.calls["track"].is_well else set[int]()
        if self.has_store:
            durable.update(KEPT)
        if self.closing is None and not self.client.is_closed and not has_failed:
            assert durable <= self.handed, f"not told: {durable - self.handed}"
            assert not self.owed, f"not told again: {self.owed}"
        if not self.has_store:
            return
        await self.start_anew()
        assert durable <= self.handed, f"lost: {durable - self.handed}"
        assert not self.owed, f"not told again: {self.owed}"

    async def start_anew(self) -> None:
        """Let another tracker go on with the store, until it has told all."""
        self.store.is_failing = False
        self.client._is_closed = False
        async with self.new_tracker() as self.tracker:
            reader = asyncio.ensure_future(self.read(self.tracker.changes))
            await asyncio.sleep(30.0)
        await reader
        assert self.store.rows == {}, self.store.rows


async def play(stage: Stage, *, has_store: bool = True) -> None:
    """Waits, loops, webhooks and lookups, some for the same message."""
    scene = Scene(stage, has_store=has_store)
    stage.begin()
    scene.reader = asyncio.ensure_future(scene.read_all(None))
    scene.call("wait", scene.wait(1))
    scene.call("track", scene.tracker.track(2, 3))
    await asyncio.sleep(0.02)
    scene.call("watch", scene.read(lambda: scene.tracker.watch(sorted(WATCHED))))
    scene.call("callable", scene.wait(5, until=lambda status: status.state is DELIVERED))
    scene.call("timeout", scene.wait(6, timeout=0.5), WaitTimeoutError)
    await asyncio.sleep(0.03)
    scene.feed(message(2, SENT))
    await asyncio.sleep(0.05)
    scene.feed(message(1, DELIVERED), message(4, DELIVERED))
    await scene.finish()


async def play_without_store(stage: Stage) -> None:
    await play(stage, has_store=False)


ROWS: dict[str, Row] = {
    "i:7": Row(key="i:7", born=EPOCH - 5),
    "i:8": Row(key="i:8", born=EPOCH - 5),
}


CALLS = ("wait", "track", "watch", "callable", "timeout")
EVENTS: dict[str, Event] = {
    **{f"cancel {name}": event(Scene.cancel, name) for name in CALLS},
    "read anew": event(Scene.read_anew),
    "close": event(Scene.close),
    "cancel closing": event(Scene.cancel_closing),
    "close client": event(Scene.close_client),
    "store fails": event(Scene.let_store_fail, 0.5),
    "store fails long": event(Scene.let_store_fail, 3.0),
    "lookup fails": event(Scene.let_lookup_fail, ServerError("down", provider="P", status_code=500)),
    "feed": event(Scene.feed, message(1, DELIVERED), message(3, READ), message(5, SENT), message(9, READ)),
}
# What only a program does that cancels tasks that are not its own.
CUTS = {"cut all off": event(Scene.cut_all_off)}


@pytest.mark.parametrize("name", EVENTS | CUTS)
def test_one_event(name: str) -> None:
    explorer = Explorer(play)
    explorer.try_each(name, (EVENTS | CUTS)[name])
    explorer.check()


@pytest.mark.parametrize("name", EVENTS | CUTS)
def test_one_event_without_a_store(name: str, is_thorough: bool) -> None:
    explorer = Explorer(play_without_store)
    explorer.try_each(name, (EVENTS | CUTS)[name], every=1 if is_thorough else 5)
    explorer.check()


@pytest.mark.parametrize("play", [play, play_without_store])
def test_two_events(play: Play, is_thorough: bool) -> None:
    explorer = Explorer(play)
    explorer.try_pairs(EVENTS, 10_000 if is_thorough else 300)
    explorer.check()
