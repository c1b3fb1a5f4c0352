"""Asks for the messages that are due, one batch at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from typing import Final, Generic

from .._client import StatusClient
from .._clock import Clock
from .._model import AnswerT, KeyT
from ..errors import ClosedError, IncompleteError, StatusLookupError
from .alarm import Alarm
from .ledger import Ledger

logger = logging.getLogger("statuslookup")

_TIMEOUT: Final = 120.0
_PAUSES: Final = 5.0, 300.0
_PAUSES_OF_THE_ACCOUNT: Final = 60.0, 3600.0
"""The shortest and the longest pause after a lookup that failed as a whole, in seconds."""
_SUSPENDED: Final = 60.0
"""By how many seconds the wall clock runs ahead of the monotonic one where the machine slept."""


class Lookups(Generic[KeyT, AnswerT]):
    """Follows the ledger's calendar; it runs only while messages are open.

    ``on_news`` is told of the keys that moved, and ``on_closed`` if the client is closed underneath.
    """

    def __init__(
        self,
        client: StatusClient[KeyT, AnswerT],
        ledger: Ledger[KeyT, AnswerT],
        on_news: Callable[[Iterable[KeyT]], None],
        on_closed: Callable[[], None],
        *,
        max_batch: int,
        clock: Clock,
        wall_clock: Callable[[], float],
        context: Context,
    ) -> None:
        self.last_failure: StatusLookupError | None = None
        """Why the last lookup failed; ``None`` if it went well."""
        self._client = client
        self._ledger = ledger
        self._on_news = on_news
        self._on_closed = on_closed
        self._max_batch = max_batch
        self._clock = clock
        self._wall_clock = wall_clock
        self._context = context
        self._alarm = Alarm(clock)
        self._paused_until = 0.0
        self._pause = 0.0
        self._ahead = 0.0
        self._is_running = self._is_closed = False
        self._task: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Look at the calendar, because it changed; without an open message, no task and no timer is left."""
        due, alarm = self._ledger.first_due(), self._alarm
        if due is None:
            alarm.ring()
        elif not self._is_running and not self._is_closed:
            # First, because an eager task begins before it is returned.
            self._is_running = True
            self._ahead = self._wall_clock() - self._clock.time()
            self._task = asyncio.get_running_loop().create_task(self._run(), context=self._context)
            self._task.add_done_callback(self._forget)
        elif alarm.due is not None and max(due, self._paused_until) < alarm.due:
            alarm.ring()

    def _forget(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            # Also where it was cancelled from outside before it began: whatever comes next starts it anew.
            self._is_running = False

    async def close(self) -> None:
        """Stop asking; what is being asked for is withdrawn."""
        self._is_closed = True
        task = self._task
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            while (due := self._ledger.first_due()) is not None:
                delay = max(due, self._paused_until) - self._clock.time()
                if delay > 0:
                    # Not longer, to see soon that the machine slept; not shorter than a clock can tell.
                    await self._alarm.sleep(min(max(delay, 0.001), _SUSPENDED))
                    self._look_at_the_clocks()
                elif not await self._ask():
                    return
        finally:
            self._is_running = False

    def _look_at_the_clocks(self) -> None:
        """Let all be due at once if the machine slept: a gap is when webhooks are lost."""
        ahead = self._wall_clock() - self._clock.time()
        if ahead - self._ahead >= _SUSPENDED:
            self._ledger.make_all_due(self._clock.time())
        self._ahead = ahead

    async def _ask(self) -> bool:
        """Ask for the keys that are due, and for as many others as fit; return whether to go on."""
        keys = self._ledger.take(self._max_batch)
        statuses: Mapping[KeyT, AnswerT | None] = {}
        errors: Mapping[KeyT, StatusLookupError] = {}
        try:
            statuses = await self._client.get_many(keys, timeout=_TIMEOUT)
        except IncompleteError as error:
            statuses, errors = error.statuses, error.errors
        except ClosedError:
            self._ledger.put_back(keys, self._clock.time())
            self._on_closed()
            return False
        except StatusLookupError as error:
            errors = dict.fromkeys(keys, error)
        except Exception as error:
            # A bug in a provider, such as another sort of answer: the messages must not be lost for it.
            logger.exception("a tracker's lookup ended by a bug, in a provider or here")
            errors = dict.fromkeys(
                keys, StatusLookupError(f"the lookup ended by a bug, a {type(error).__name__}")
            )
        except BaseException:
            # Cancelled from outside: whatever comes next starts the task anew, and finds them.
            self._ledger.put_back(keys, self._clock.time())
            raise
        self._take_in(keys, statuses, errors)
        return True

    def _take_in(
        self,
        keys: list[KeyT],
        statuses: Mapping[KeyT, AnswerT | None],
        errors: Mapping[KeyT, StatusLookupError],
    ) -> None:
        ledger, now = self._ledger, self._clock.time()
        moved: list[KeyT] = []
        for key, status in statuses.items():
            try:
                if ledger.answer(key, status, now):
                    moved.append(key)
            except Exception:
                logger.exception("a tracker's answer ended in a bug, in a provider or here")
                ledger.fail(key, now)
        refused = next((error for error in errors.values() if error.ends_all), None)
        failure = refused or next(iter(errors.values()), None)
        # Not an error of the only key, such as an answer that cannot be read: others may do better.
        is_lost = refused is not None or (
            not statuses and any(error.is_transient for error in errors.values())
        )
        for key, error in errors.items():
            is_about_all = is_lost and (error.ends_all or error.is_transient)
            if not is_about_all and ledger.fail(key, now):
                moved.append(key)
        # All others that were asked for stay due.
        ledger.put_back(keys, now)
        self._note(failure, is_lost=is_lost, is_refused=refused is not None, now=now)
        self._on_news(moved)

    def _note(
        self, failure: StatusLookupError | None, *, is_lost: bool, is_refused: bool, now: float
    ) -> None:
        if is_refused and not (self.last_failure is not None and self.last_failure.ends_all):
            logger.error("the tracker cannot ask any more, and goes on with webhooks: %s", failure)
        # A copy, because its frames hold the statuses.
        self.last_failure = None if failure is None else failure.fresh()
        if not is_lost:
            self._pause = 0.0
            return
        shortest, longest = _PAUSES_OF_THE_ACCOUNT if is_refused else _PAUSES
        self._pause = min(longest, max(shortest, 2 * self._pause))
        self._paused_until = now + self._pause
