"""Brings rows into the store: one save at a time, and what comes meanwhile goes with the next."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from itertools import islice
from typing import Final, Generic

from .._clock import Clock
from .._model import KeyT
from ..errors import StoreError
from .alarm import Alarm
from .stores.base import Row, Store

logger = logging.getLogger("statuslookup")

_MOST_ROWS: Final = 500
_SHORTEST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class Saver(Generic[KeyT]):
    """Saves what changed; it runs only while something is unsaved.

    ``row_of`` gives a key's row as it is now, and ``tell`` is told of keys once they are durable. If the
    store fails, it is told all the same, and the rows are tried again.
    """

    def __init__(
        self,
        store: Store,
        row_of: Callable[[KeyT], Row],
        tell: Callable[[Iterable[KeyT]], None],
        *,
        clock: Clock,
        context: Context,
    ) -> None:
        self._store = store
        self._row_of = row_of
        self._tell = tell
        self._context = context
        self._alarm = Alarm(clock)
        # The keys whose rows are to be saved, with rising numbers: a caller waits for all up to a number.
        self._unsaved: dict[KeyT, int] = {}
        self._saving: dict[KeyT, int] = {}
        self._count = 0
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._failure: StoreError | None = None
        self._is_closed = self._is_running = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._unsaved.keys() | self._saving.keys())

    @property
    def is_failing(self) -> bool:
        """Whether the last save failed: until one succeeds, nothing is durable, and all is told at once."""
        return self._failure is not None

    def holds(self, key: KeyT) -> bool:
        """Tell whether something about a key waits to be durable before it is told."""
        return self._failure is None and (key in self._unsaved or key in self._saving)

    def add(self, keys: Iterable[KeyT]) -> None:
        """Save the rows of some keys, soon."""
        for key in keys:
            if key not in self._unsaved:
                self._count += 1
                self._unsaved[key] = self._count
        if self._unsaved and not self._is_closed and not self._is_running:
            # First, because an eager task begins before it is returned.
            self._is_running = True
            self._task = asyncio.get_running_loop().create_task(self._run(), context=self._context)
            self._task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if task is self._task and task.cancelled():
            # From outside, and maybe before it began: whatever comes next starts it anew.
            self._is_running = False
            self._fail_waiters(StoreError("the save was cut off: its task was cancelled"))

    async def saved(self) -> None:
        """Return when all that was added so far is durable; raise ``StoreError`` if the store fails."""
        if self._failure is not None:
            raise self._failure.fresh()
        if not self._unsaved and not self._saving:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = self._count
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)

    async def close(self) -> int:
        """Save what is left, without trying again; return how many rows could not be saved."""
        self._is_closed = True
        self._alarm.ring()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])
        while self._unsaved and await self._save():
            pass
        return len(self._unsaved)

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        try:
            while self._unsaved and not (self._is_closed and self._failure is not None):
                if await self._save():
                    pause = _SHORTEST_PAUSE
                elif not self._is_closed:
                    await self._alarm.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._is_running = False

    async def _save(self) -> bool:
        """Save the rows that have waited longest, and tell of them; return whether that went well."""
        first = list(islice(self._unsaved, _MOST_ROWS))
        self._saving = {key: self._unsaved.pop(key) for key in first}
        is_saved = False
        try:
            failure = await self._failure_of([self._row_of(key) for key in first])
            is_saved = failure is None
        finally:
            saving, self._saving = self._saving, {}
            if not is_saved:
                self._unsaved = saving | {key: n for key, n in self._unsaved.items() if key not in saving}
        if failure is None and self._failure is not None:
            logger.warning("the tracker's store works again")
        elif failure is not None and self._failure is None:
            logger.error("the tracker's store fails, tracking goes on in memory: %s", failure)
        self._failure = failure
        self._answer()
        # All of them, where the store fails: nobody knows for how long.
        self._tell(
            [key for key in saving if key not in self._unsaved] if failure is None else [*self._unsaved]
        )
        return failure is None

    async def _failure_of(self, rows: Sequence[Row]) -> StoreError | None:
        try:
            await self._store.save(rows)
        except StoreError as error:
            return error.fresh()
        except Exception as error:  # noqa: BLE001 # a store of one's own may fail in its own words
            return StoreError(f"the store failed with {type(error).__name__}: {error}")
        return None

    def _answer(self) -> None:
        """Let those go on whose rows are durable, or all, if the store fails."""
        if self._failure is not None:
            self._fail_waiters(self._failure)
            return
        # They are in the order of their numbers.
        done_up_to = next(iter(self._unsaved.values()), self._count + 1) - 1
        for waiter, number in list(self._waiters.items()):
            if number <= done_up_to and not waiter.done():
                waiter.set_result(None)

    def _fail_waiters(self, failure: StoreError) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(failure.fresh())
                # Its caller may be gone before it can take the error.
                waiter.exception()
