"""Keeps the ledger, the store, the lookups, the waits and the loops of one tracker in step."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Generic, cast

from .._client import StatusClient
from .._clock import Clock
from .._model import AnswerT, DeliveryState, KeyT
from .._urls import host_of
from ..errors import ClosedError, StatusLookupError, StoreError, WaitTimeoutError, WrongLoopError
from ..providers.base import Provider, Trackable
from .ledger import Entry, Ledger
from .lookups import Lookups
from .readers import Reader, Readers
from .rows import key_of_text, status_of_text, text_of_key, text_of_status
from .saver import Saver
from .stores.base import Row, Store
from .values import Schedule, TrackerStats
from .waits import Until, Wait, Waits

logger = logging.getLogger("statuslookup")

_ROWS_AT_ONCE = 1_000


class Following(Generic[KeyT, AnswerT]):
    """Follows messages: what is news is saved first, then told, and an end that was taken is forgotten."""

    def __init__(
        self,
        client: StatusClient[KeyT, AnswerT],
        schedule: Schedule,
        store: Store | None,
        *,
        clock: Clock,
        wall_clock: Callable[[], float],
    ) -> None:
        self._client = client
        self.provider = _trackable(client.provider)
        self._give_up = schedule.give_up
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[Exception | None] | None = None
        self.is_closed = self._is_open = False
        # The ends that were handed over, while somebody else has yet to take them.
        self._taken: set[KeyT] = set()
        self.listening: set[Reader[KeyT, AnswerT]] = set()
        """The loops that wait for a change: only the event loop's weak reference would keep their tasks."""
        self.ledger: Ledger[KeyT, AnswerT] = Ledger(self.provider, schedule)
        self._waits: Waits[KeyT, AnswerT] = Waits(self.ledger)
        self._readers: Readers[KeyT, AnswerT] = Readers()
        context = copy_context()
        self._lookups: Lookups[KeyT, AnswerT] = Lookups(
            client,
            self.ledger,
            self._take_news,
            self._end_waits,
            max_batch=self.provider.max_batch,
            clock=clock,
            wall_clock=wall_clock,
            context=context,
        )
        self._saver: Saver[KeyT] | None = None
        if store is not None:
            self._saver = Saver(store, self._row_of, self._tell, clock=clock, context=context)
        self._check_open()

    @property
    def condition(self) -> str:
        return "closed" if self.is_closed else "open" if self._is_open else "unused"

    def checked(self, key: KeyT) -> KeyT:
        """Return the key, or say what to pass instead."""
        key = self.provider.check(key)
        if self._store is not None:
            text_of_key(key)
        return key

    def check_loop(self, advice: str) -> None:
        """Refuse to be used on another event loop than so far, or in a thread without one."""
        if self._loop is None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is not self._loop:
            raise WrongLoopError(advice)

    def _check_open(self) -> None:
        if self.is_closed:
            raise ClosedError("the tracker is closed; make a new one")
        if self._client.is_closed:
            raise ClosedError("the tracker's client is closed; close the tracker first, and then the client")

    # Opening and closing.

    async def open(self) -> None:
        """Bind the tracker to this event loop, and load what the store has, once."""
        self._check_open()
        self.check_loop("this tracker belongs to another event loop: make one in each loop, with its client")
        self._loop = asyncio.get_running_loop()
        if self._is_open:
            return
        if self._store is None:
            self._is_open = True
            return
        if self._opening is None or self._opening.cancelled():
            # A task of its own, because whoever opens first may be cancelled, and others wait for it, too.
            self._opening = self._loop.create_task(self._load(self._store))
        opening = self._opening
        await asyncio.wait([opening])
        # From outside, as by a program that cancels every task; whoever comes next opens it anew.
        is_cut_off = opening.cancelled()
        failure = (
            StoreError("the store was not loaded: the task was cancelled") if is_cut_off else opening.result()
        )
        if failure is not None:
            if self._opening is opening:
                self._opening = None
            raise failure.fresh() if isinstance(failure, StatusLookupError) else type(failure)(*failure.args)
        self._check_open()

    async def _load(self, store: Store) -> Exception | None:
        try:
            rows = await store.load(_account_of(self.provider))
            found: list[tuple[KeyT, Entry[KeyT, AnswerT]]] = []
            for number, row in enumerate(rows, 1):
                found.append(self._message_of(row))
                if number % _ROWS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 # each of those who wait for it raises its own
            # A tracker that never opened is closed by nobody, and would keep the file from the next one.
            with suppress(StoreError):
                await store.aclose()
            return error
        self.ledger.restore(found, self._clock.time())
        self._is_open = True
        if not self.is_closed:
            self._lookups.look()
        return None

    async def close(self) -> None:
        """End all that runs, and save what is left."""
        self.is_closed = True
        # First, because whatever is awaited here may be cut off.
        self._waits.fail(ClosedError("the tracker was closed before the message was at its end"))
        self._readers.close()
        await self._lookups.close()
        if self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening])
        if self._saver is not None:
            unsaved = await self._saver.close()
            if unsaved:
                logger.error("the tracker's store failed to the end: %d rows are not in it", unsaved)
        if self._store is not None:
            await self._store.aclose()

    def _end_waits(self) -> None:
        """The client was closed underneath: whoever waits would wait for ever."""
        logger.error("the client was closed before its tracker; close the tracker first")
        self._waits.fail(ClosedError("the client was closed before the message was at its end"))

    # Messages come in.

    def track(self, keys: Iterable[KeyT], until: DeliveryState | None, *, age: float | None = None) -> None:
        """Track messages that are so many seconds old."""
        now = self._clock.time()
        news = [key for key in keys if self.ledger.track(key, until, now, age=age)]
        # Who wants more of an end wants it told again.
        self._taken.difference_update(news)
        self._save(news)
        self._forget_expired()
        self._lookups.look()

    async def saved(self) -> None:
        """Return when all is in the store, or raise ``StoreError``."""
        if self._saver is not None:
            await self._saver.saved()

    def feed(self, statuses: Iterable[AnswerT]) -> None:
        """Take in what webhooks brought."""
        if self.is_closed:
            raise ClosedError("the tracker is closed; make a new one")
        self.check_loop(
            "feed the tracker in the event loop that it is used in; elsewhere, as in a handler that is no"
            " 'async def', call loop.call_soon_threadsafe(tracker.feed, statuses)"
        )
        moved: list[KeyT] = []
        try:
            self.ledger.feed(statuses, self._clock.time(), moved)
        finally:
            if moved:
                self._take_news(moved)

    # What becomes of them goes out.

    def _take_news(self, moved: Iterable[KeyT]) -> None:
        if self._saver is None:
            self._tell(moved)
        elif moved:
            self._saver.add(moved)
            if self._saver.is_failing:
                self._tell(moved)
        self._forget_expired()
        self._lookups.look()

    def _tell(self, keys: Iterable[KeyT]) -> None:
        for key in keys:
            entry = self.ledger.get(key)
            if entry is not None:
                self._waits.tell(key, entry)
                for reader in self._readers.of(key):
                    reader.note(key, entry)

    def join(self, key: KeyT, until: Until[AnswerT]) -> Wait[AnswerT]:
        """Wait for a message, which is tracked from now on; ``leave`` follows."""
        wait = self._waits.join(key, until)
        if callable(until):
            self.ledger.wait(key, self._clock.time())
            self._taken.discard(key)
        self.track([key], None if callable(until) else until)
        if not self._is_held(key):
            self._tell([key])
        return wait

    def expire(self, key: KeyT, wait: Wait[AnswerT], timeout: float) -> None:
        """End a wait whose time is up."""
        if not wait.done():
            entry, failure = self.ledger.get(key), self._lookups.last_failure
            wait.set_exception(
                WaitTimeoutError(
                    timeout,
                    last=None if entry is None else entry.status,
                    last_failure=None if failure is None else failure.fresh(),
                )
            )
            # Its caller may be gone before it can take the error.
            wait.exception()

    def leave(self, key: KeyT, wait: Wait[AnswerT], until: Until[AnswerT], *, is_served: bool) -> None:
        """Forget a wait; a key that nobody else wants anything of is tracked no more."""
        self._waits.leave(key, wait)
        if key in self._taken:
            self.forget_if_taken(key)
        if callable(until):
            is_let_go = is_served and not self._readers.of(key)
            if self.ledger.leave(key, self._clock.time(), is_let_go=is_let_go):
                self._take_news([key])
            elif self.ledger.get(key) is None:
                self._save([key])
                self._lookups.look()

    async def begin(self, reader: Reader[KeyT, AnswerT]) -> None:
        await self.open()
        self._readers.add(reader)
        if reader.keys is not None:
            self.track(reader.keys, reader.until)
        for key in list(self.ledger.keys() if reader.keys is None else reader.keys):
            entry = self.ledger.get(key)
            if entry is not None and not self._is_held(key):
                reader.note(key, entry)

    def handed_over(
        self, reader: Reader[KeyT, AnswerT], key: KeyT, state: DeliveryState | None, *, is_over: bool
    ) -> None:
        if is_over:
            self.forget_if_taken(key)
        elif reader.keys is None and (entry := self.ledger.get(key)) is not None:
            entry.told = state
            self._save([key])

    def forget_if_taken(self, key: KeyT) -> None:
        """Forget an end that was handed over, unless somebody else has yet to take it."""
        entry = self.ledger.get(key)
        if entry is None or not entry.is_over:
            return
        if self._is_owed(key):
            self._taken.add(key)
        else:
            self._forget(key)

    def _forget_expired(self) -> None:
        now = self._clock.time()
        for key in self.ledger.expired(now):
            if self._is_owed(key):
                self.ledger.keep(key, now)
            else:
                self._forget(key)

    def _forget(self, key: KeyT) -> None:
        self.ledger.forget(key)
        self._taken.discard(key)
        if (reader := self._readers.of_all) is not None:
            reader.forget(key)
        self._save([key])

    def _is_owed(self, key: KeyT) -> bool:
        """Tell whether a loop, or a wait for what is not durable yet, has still to be told of a key."""
        return key in self._waits or any(reader.owes(key) for reader in self._readers.of(key))

    # What the store is to hold.

    def _is_held(self, key: KeyT) -> bool:
        """Tell whether news of a key wait to be durable before they are told."""
        return self._saver is not None and self._saver.holds(key)

    def _save(self, keys: Iterable[KeyT]) -> None:
        if self._saver is not None:
            self._saver.add(keys)

    def _row_of(self, key: KeyT) -> Row:
        entry, text = self.ledger.get(key), text_of_key(key)
        if entry is None:
            return Row(key=text, is_forgotten=True)
        return Row(
            key=text,
            born=self._wall_clock() - (self._clock.time() - entry.born),
            until=(entry.until or DeliveryState.DELIVERED).value,
            told=None if entry.told is None else entry.told.value,
            status=text_of_status(self.provider, entry.status),
        )

    def _message_of(self, row: Row) -> tuple[KeyT, Entry[KeyT, AnswerT]]:
        try:
            age = min(max(0.0, self._wall_clock() - row.born), self._give_up)
            key = self.provider.check(key_of_text(row.key))
            entry: Entry[KeyT, AnswerT] = Entry(
                self._clock.time() - age,
                DeliveryState(row.until),
                is_whole=self.provider.webhooks_tell_all,
            )
            entry.told = None if row.told is None else DeliveryState(row.told)
        except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise StoreError(f"the store holds a row that cannot be read: {error}") from None
        # One that cannot be read is told again by a lookup.
        entry.status = status_of_text(self.provider, row.status)
        return key, entry

    def stats(self) -> TrackerStats:
        ledger = self.ledger
        return TrackerStats(
            open=len(ledger) - ledger.ends,
            overdue=ledger.overdue(self._clock.time()),
            untold=ledger.ends,
            unsaved=0 if self._saver is None else len(self._saver),
            last_failure=self._lookups.last_failure,
            **vars(ledger.counts),
        )


def _trackable(provider: Provider[KeyT, AnswerT]) -> Trackable[KeyT, AnswerT]:
    methods = ("keys_of", "advance", "reached")
    if not all(callable(getattr(provider, name, None)) for name in methods):
        raise TypeError(
            f"messages of {provider.name} cannot be tracked: its provider lacks keys_of, advance or reached,"
            " as statuslookup.providers.Trackable has them"
        )
    return cast("Trackable[KeyT, AnswerT]", provider)


def _account_of(provider: Provider[Any, Any]) -> str:
    """Return the provider, its host and, where the budget has one, its instance: what a store belongs to."""
    budget = provider.budget
    if isinstance(budget, tuple) and budget and all(isinstance(part, str | int) for part in budget):
        return " ".join(map(str, budget))
    return f"{provider.name} {host_of(provider.base_url)}"
