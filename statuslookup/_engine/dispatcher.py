"""When a request is made: from queued keys, through the limiter and the provider, to their ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, cast

from .._clock import Clock, Timer
from .._http import Progress
from .._limits.token_bucket import BucketSlot, Limiter
from .._model import AnswerT, KeyT
from .._wire import Request, Response
from ..errors import (
    ClosedError,
    ProviderError,
    RateLimitedError,
    StatusLookupError,
)
from ..providers.base import Exchange, Provider, Results
from .lanes import Batch, Batcher, Entry
from .retry import RetryPolicy

logger = logging.getLogger("statuslookup")


class Dispatcher(Generic[KeyT, AnswerT]):
    """Sends what is queued, and does nothing while nothing is.

    One task asks the limiter for a slot while keys are queued; when the slot is granted, the keys that are
    queued at that very moment are sealed into a batch, and the task goes on as the request of that batch.
    """

    def __init__(
        self,
        provider: Provider[KeyT, AnswerT],
        batcher: Batcher[KeyT, AnswerT],
        limiter: Limiter,
        send: Callable[[Request, Progress], Awaitable[Response]],
        *,
        retry: RetryPolicy,
        linger: float,
        clock: Clock,
        context: Context,
    ) -> None:
        self._provider = provider
        self._max_batch = provider.max_batch
        self._batcher = batcher
        self._limiter = limiter
        self._send = send
        self._retry = retry
        self._linger = linger
        self._clock = clock
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()
        self._asker: asyncio.Task[None] | None = None
        self.is_asking = False
        self.asked_at = 0.0
        """When the slot that is waited for was asked for."""
        self._timer: Timer | None = None
        self._lingers = False
        self._is_failing = False
        self._paused_until = clock.time()
        self.requests = 0
        self.keys_sent = 0
        self.retries = 0
        self.rejections = 0
        self.seconds_paced = 0.0

    def wake(self) -> None:
        """See to it that queued keys are sent: a full batch as soon as it may go, others after ``linger``."""
        queued = self._batcher.queued
        if self.is_asking or not queued:
            return
        is_full = queued >= self._max_batch
        if self._timer is not None:
            if not (is_full and self._lingers):
                return
            self._timer.cancel()
            self._timer = None
        pause = self._paused_until - self._clock.time()
        self._lingers = pause <= 0
        if pause > 0:
            self._timer = self._clock.call_later(pause, self._ask)
        elif is_full:
            self._ask()
        else:
            self._timer = self._clock.call_later(self._linger, self._ask)

    def rest(self) -> None:
        """Give up the place in the limiter's queue if nothing is queued any more."""
        if self._batcher.queued:
            return
        self._stop_asking()

    def _stop_asking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asker is not None:
            self._asker.cancel()
            self._asker = None
            self.is_asking = False

    def _ask(self) -> None:
        self._timer = None
        self.asked_at = self._clock.time()
        # The request belongs to no caller, so it does not run in the context of whoever came first, but in
        # one of its own, for what an instrumentation keeps there. The loop's task factory does not make it:
        # an eager task would begin right here, inside a caller or another request.
        context = self._context.copy()
        task = asyncio.Task(self._run(), loop=asyncio.get_running_loop(), context=context)
        self._tasks.add(task)
        self._asker = task
        self.is_asking = True
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._asker:
            # It was cancelled from outside before it began, so it could not say so itself.
            self._asker = None
            self.is_asking = False
            self._batcher.end_queued(_cut_off())

    async def _run(self) -> None:
        batch: Batch[KeyT, AnswerT] = Batch([], 0.0, 0.0)
        granted_at = self._clock.time()
        exchange: Exchange[KeyT, AnswerT]
        request: Request | None = None
        answer: Response | ProviderError
        try:
            while True:
                asked_at = self._clock.time()
                try:
                    async with self._limiter.slot() as slot:
                        granted_at = self._clock.time()
                        self.seconds_paced += granted_at - asked_at
                        if request is None:
                            batch = self._seal(asked_at, granted_at)
                            exchange = self._provider.exchange(batch.keys())
                            request = self._advance(exchange, None, batch)
                        if request is None or self._give_up(exchange, batch):  # pyright: ignore[reportPossiblyUnboundVariable] # a batch is sealed first
                            # Not by return: the slot would take it for an answer that came in no time.
                            raise _SlotUnused
                        self.requests += 1
                        answer = await self._send(request, Progress())
                        if answer.opened_connection and isinstance(slot, BucketSlot):
                            slot.opened_connection = True
                        if answer.status_code == 429:
                            self.rejections += 1
                            slot.rejected(answer.retry_after)
                except _SlotUnused:
                    return
                except ProviderError as error:
                    answer = error
                self._log(batch, answer, granted_at)
                request = self._advance(exchange, answer, batch)  # pyright: ignore[reportPossiblyUnboundVariable] # a batch is sealed first
                if request is None:
                    return
        except BaseException as error:
            self._fail(batch, error)
            if not isinstance(error, Exception):
                raise

    def _seal(self, asked_at: float, now: float) -> Batch[KeyT, AnswerT]:
        self.is_asking = False
        self._asker = None
        batch = self._batcher.seal(self._max_batch, asked_at=asked_at, now=now)
        self.keys_sent += len(batch.entries)
        self.wake()
        return batch

    def _advance(
        self,
        exchange: Exchange[KeyT, AnswerT],
        answer: Response | ProviderError | None,
        batch: Batch[KeyT, AnswerT],
    ) -> Request | None:
        """Settle what comes of an answer, and return the next request; ``None`` if none is needed."""
        try:
            if answer is None:
                step = next(exchange)
            elif isinstance(answer, ProviderError):
                step = exchange.throw(answer)
            else:
                step = exchange.send(answer)
            while not isinstance(step, Request):
                self._settle(batch, step)
                step = next(exchange)
        except StopIteration as end:
            ends: Results[KeyT, AnswerT] = end.value
        except ProviderError as error:
            ends = dict.fromkeys(batch.keys(), error)
        else:
            return None if self._give_up(exchange, batch) else step
        if not all(map(ends.__contains__, keys := batch.keys())):
            forgotten = ProviderError("the exchange forgot a key", provider=self._provider.name)
            ends = dict.fromkeys(keys, forgotten) | ends
        self._settle(batch, ends)
        return None

    def _give_up(self, exchange: Exchange[KeyT, AnswerT], batch: Batch[KeyT, AnswerT]) -> bool:
        """Close the exchange if nobody waits for the keys that it has left, and tell whether that is so."""
        if any(entry.waiter is not None for entry in batch.entries):
            return False
        exchange.close()
        # Nobody waits for them, so this forgets them.
        self._batcher.put_back(batch.entries, now=self._clock.time())
        return True

    def _settle(self, batch: Batch[KeyT, AnswerT], told: Results[KeyT, AnswerT]) -> None:
        """Give ends to their waiters, queue what is to be asked again, and keep the rest in the batch."""
        # The exchange may go on with its own dict, and tell a key twice.
        ends = {key: told[key] for entry in batch.entries if (key := entry.key) in told}
        rest = [entry for entry in batch.entries if entry.key not in ends]
        failed = [entry for entry in batch.entries if isinstance(ends.get(entry.key), ProviderError)]
        again, pause, problem = self._judge(failed, ends) if failed else ([], 0.0, None)
        self._batcher.finish(batch, ends)
        batch.entries = rest
        self._note_health(problem)
        if again:
            now = self._clock.time()
            self.retries += self._batcher.put_back(again, now=now)
            if now + pause > self._paused_until:
                self._paused_until = now + pause
                # Whoever asks already, or is about to, has to wait as well.
                self._stop_asking()
        self.wake()

    def _judge(
        self, failed: list[Entry[KeyT, AnswerT]], ends: Results[KeyT, AnswerT]
    ) -> tuple[list[Entry[KeyT, AnswerT]], float, ProviderError | None]:
        """Take the keys that are to be asked again out of ``ends``; return them, the pause, and why."""
        again: list[Entry[KeyT, AnswerT]] = []
        pause, problem = 0.0, None
        # By chance, but once a request: the longest of 200 chances would be no chance.
        delays: dict[tuple[type[ProviderError], int], float | None] = {}
        for entry in failed:
            error = cast("ProviderError", ends[entry.key])
            # It leads to the frames of the exchange, and they to all its ends: to this error, in a circle.
            error.__traceback__ = None
            if not isinstance(error, RateLimitedError):
                entry.attempts += 1
            if error.is_transient:
                problem = error
            kind = type(error), entry.attempts
            if kind not in delays:
                delays[kind] = self._retry.delay(error, entry.attempts)
            delay = delays[kind]
            if delay is None:
                ends[entry.key] = final = error.fresh()
                final.attempts = max(1, entry.attempts)
            else:
                del ends[entry.key]
                entry.failure = error
                again.append(entry)
                pause = max(pause, delay)
        return again, pause, problem

    def _fail(self, batch: Batch[KeyT, AnswerT], error: BaseException) -> None:
        """End the lookups of a request that did not come to its end: cancelled from outside, or by a bug."""
        # A task of a loop that was closed ends by the garbage collector's GeneratorExit.
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            end: StatusLookupError = _cut_off()
        elif isinstance(error, StatusLookupError):
            # The limiter's own words, such as that it is in use on another event loop.
            end = error
        else:
            end = ProviderError(f"{type(error).__name__} in the exchange", provider=self._provider.name)
            logger.error("lookups ended by a bug, in a provider, a limiter or here", exc_info=error)
        if batch.entries:
            self._batcher.finish(batch, dict.fromkeys(batch.keys(), end))
        elif self._asker is asyncio.current_task():
            # It was not told to rest, so nobody else is going to ask for a slot.
            self._asker = None
            self.is_asking = False
            self._batcher.end_queued(end)

    def _log(self, batch: Batch[KeyT, AnswerT], answer: Response | ProviderError, started_at: float) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%s: %s after %.3f s, for a batch with %d open keys",
                self._provider.name,
                f"status {answer.status_code}" if isinstance(answer, Response) else type(answer).__name__,
                self._clock.time() - started_at,
                len(batch.entries),
            )

    def _note_health(self, problem: ProviderError | None) -> None:
        """Log the first failure of a row, and the first success after it."""
        if problem is not None and not self._is_failing:
            logger.warning("lookups are asked again until it passes: %s", problem)
        elif problem is None and self._is_failing:
            logger.info("%s answers again", self._provider.name)
        self._is_failing = problem is not None

    def stop(self) -> set[asyncio.Task[None]]:
        """Ask for no slot any more, and return the requests that are under way."""
        if self._timer is not None:
            self._timer.cancel()
        return self._tasks.copy()


class _SlotUnused(Exception):
    """Leaves a slot in which nothing was sent."""


def _cut_off() -> ClosedError:
    return ClosedError("the lookup was cut off: its request was cancelled")
