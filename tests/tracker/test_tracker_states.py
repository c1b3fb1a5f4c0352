"""The tracker over a store and a client that fail at random, killed and restarted: it loses no message."""

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from statuslookup import (
    AuthenticationError,
    Change,
    DecodeError,
    DeliveryState,
    ServerError,
    StatusTracker,
    StoreError,
)
from tests.support.fakes import ticks
from tests.support.tracking import (
    DELIVERED,
    EXPIRED,
    PENDING,
    READ,
    SENT,
    UNDELIVERED,
    FailingStore,
    PlayedClient,
    message,
    smsfire_tracker,
)
from tests.support.virtual_time import VirtualTimeLoop

LIVES = (
    (PENDING, SENT, DELIVERED, READ),
    (PENDING, SENT, DELIVERED),
    (PENDING, SENT, UNDELIVERED),
    (PENDING, EXPIRED),
    (SENT, DELIVERED, READ),
)
KEYS = st.integers(0, 9)
FAILURES = (
    ServerError("failed", provider="SMSFire", status_code=500),
    AuthenticationError("refused", provider="SMSFire", status_code=401),
    DecodeError("unreadable", provider="SMSFire"),
)


class TrackerStates(RuleBasedStateMachine):
    """Messages live, webhooks are lost and doubled, callers come and go; a model knows whose end is owed."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.random = Random(7)
        self.store = FailingStore(seconds=0.002)
        self.truth: dict[int, list[DeliveryState]] = {}
        # Messages whose end nobody has taken; and of those the ones that the store was sure to have.
        self.owed: set[int] = set()
        self.safe: set[int] = set()
        self.told: dict[int, DeliveryState] = {}
        self.waits: list[tuple[int, asyncio.Task[Any]]] = []
        self.run(self.start())

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    async def start(self) -> None:
        self.client = PlayedClient()
        self.client.statuses = {key: self.status(key) for key in self.truth}
        self.tracker: StatusTracker[Any, Any] = smsfire_tracker(self.client, store=self.store)
        self.reader: Any = None
        self.current: Change[Any, Any] | None = None
        self.ended: set[int] = set()
        await self.tracker.__aenter__()

    def status(self, key: int) -> Any:
        states = self.truth[key]
        return message(key, states[-1], seconds=len(states))

    # --- what happens to messages ---------------------------------------------------------------

    @rule(key=KEYS, webhooks=st.integers(0, 2))
    def live(self, key: int, webhooks: int) -> None:
        life, states = LIVES[key % len(LIVES)], self.truth.setdefault(key, [])
        if len(states) < len(life):
            states.append(life[len(states)])
            self.client.statuses[key] = self.status(key)
            self.run(self.feed([self.status(key)] * webhooks))

    @rule(key=KEYS)
    def repeat_an_old_webhook(self, key: int) -> None:
        if self.truth.get(key):
            self.run(self.feed([message(key, self.truth[key][0], seconds=1)]))

    async def feed(self, statuses: list[Any]) -> None:
        self.tracker.feed(statuses)
        await ticks(3)

    # --- what callers do ------------------------------------------------------------------------

    @rule(keys=st.sets(KEYS, min_size=1, max_size=4))
    def track(self, keys: set[int]) -> None:
        for key in keys:
            if self.tracker._following.ledger.get(key) is None:
                self.ended.discard(key)
                self.told.pop(key, None)
        self.owed |= keys
        with suppress(StoreError):
            self.run(self.tracker.track(*keys))
            self.safe |= keys

    @rule(key=KEYS, is_served_by_any=st.booleans())
    def wait(self, key: int, is_served_by_any: bool) -> None:
        until: Any = (lambda status: True) if is_served_by_any and key in self.owed else DELIVERED
        if self.tracker._following.ledger.get(key) is None:
            self.ended.discard(key)
            self.told.pop(key, None)
        self.owed.add(key)
        self.waits.append((key, self.loop.create_task(self.tracker.wait(key, until=until))))
        self.run(ticks(3))

    @precondition(lambda self: self.waits)
    @rule()
    def cancel_a_wait(self) -> None:
        key, wait = self.waits.pop(self.random.randrange(len(self.waits)))
        wait.cancel()
        self.run(asyncio.wait([wait]))
        if not wait.cancelled():
            self.returned(key, wait)

    @rule()
    def read(self) -> None:
        if self.reader is None:
            self.reader, self.ended, self.current = self.tracker.changes(), set(), None
        self.run(self.read_one())

    async def read_one(self) -> None:
        if self.current is not None and self.current.is_over:
            self.hand_over(self.current.key, self.current.status)
        self.current = None
        reading = asyncio.ensure_future(anext(self.reader))
        await ticks(3)
        if not reading.done():
            reading.cancel()
            await asyncio.wait([reading])
            return
        change = reading.result()
        self.current = change
        if change.is_over:
            assert change.key not in self.ended, "an end was told twice to one reader"
            self.ended.add(change.key)

    @rule()
    def leave_the_loop(self) -> None:
        self.reader = self.current = None

    # --- what goes wrong ------------------------------------------------------------------------

    @rule(is_failing=st.booleans())
    def let_the_store_fail(self, is_failing: bool) -> None:
        self.store.is_failing = is_failing

    @rule(failure=st.sampled_from([None, *FAILURES]), share=st.sampled_from([0.3, 1.0]))
    def let_the_client_fail(self, failure: Any, share: float) -> None:
        fails = [key for key in range(10) if self.random.random() < share]
        self.client.errors = {} if failure is None else dict.fromkeys(fails, failure)

    @rule(seconds=st.sampled_from([0.001, 1.0, 20.0, 400.0, 5000.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(is_killed=st.booleans())
    def restart(self, is_killed: bool) -> None:
        self.run(self.end(is_killed=is_killed))
        if is_killed or self.store.is_failing:
            self.owed &= {int(key[2:]) for key in self.store.rows}
            assert self.safe <= self.owed, "the store lost what it was sure to have"
        self.store.is_failing = False
        self.run(self.start())

    async def end(self, *, is_killed: bool) -> None:
        if is_killed:
            rows = dict(self.store.rows)
            self.store.is_failing = True
        await self.tracker.aclose()
        for key, wait in self.waits:
            with suppress(Exception):
                await wait
            if not wait.exception():
                self.returned(key, wait)
        self.waits = []
        if is_killed:
            assert self.store.rows == rows

    # --- what has to hold -----------------------------------------------------------------------

    def hand_over(self, key: int, status: Any) -> None:
        self.told[key] = status and status.state
        self.owed.discard(key)
        self.safe.discard(key)

    def returned(self, key: int, wait: "asyncio.Task[Any]") -> None:
        status = wait.result()
        entry = self.tracker._following.ledger.get(key)
        if entry is None:
            self.hand_over(key, status)

    @invariant()
    def no_message_is_lost(self) -> None:
        for key, wait in list(self.waits):
            if wait.done():
                self.waits.remove((key, wait))
                self.returned(key, wait)
        ledger = self.tracker._following.ledger
        for key in self.owed:
            entry = ledger.get(key)
            assert entry is not None or self.is_handed_over(key), f"{key} is lost"
            if entry is not None and entry.status is not None:
                assert entry.status.state in self.truth[key]
        self.owed = {key for key in self.owed if ledger.get(key) is not None}
        self.safe &= self.owed

    def is_handed_over(self, key: int) -> bool:
        return key in self.told or (self.current is not None and self.current.key == key)

    def teardown(self) -> None:
        self.store.is_failing = False
        self.client.errors = {}
        # Those too whose end was taken while the store failed: a restart has brought them back.
        for key in self.owed.union(self.tracker.open()):
            self.truth.setdefault(key, [SENT])
            if self.truth[key][-1] in (PENDING, SENT):
                self.truth[key].append(DELIVERED)
            self.client.statuses[key] = self.status(key)
        try:
            self.run(self.finish())
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.run(ticks())
            self.loop.close()

    async def finish(self) -> None:
        owed = set(self.owed)
        self.reader = None
        ends: dict[int, Any] = {}

        async def read() -> None:
            async for change in self.tracker.changes():
                if change.is_over:
                    assert change.key not in ends
                    ends[change.key] = change.status and change.status.state

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(3 * 3600)
        for key, wait in self.waits:
            assert wait.done()
            self.returned(key, wait)
            owed.discard(key)
        stats = self.tracker.stats()
        assert (stats.open, stats.untold, stats.unsaved) == (0, 0, 0)
        assert owed <= ends.keys() | self.told.keys()
        for key, state in ends.items():
            # Nothing was known of a message of which nobody knows for longer than the grace.
            assert state is None or state in self.truth[key]
        assert self.store.rows == {}
        await self.tracker.aclose()
        await reading
        await self.client.aclose()


TestTrackerStates = TrackerStates.TestCase
TestTrackerStates.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
