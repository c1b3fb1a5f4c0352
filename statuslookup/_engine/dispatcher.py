"""When a request is made: from queued keys, through a grant and the provider's exchange, to outcomes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Generic, cast

from attrs import evolve, frozen

from .._clock import Clock, Timer
from .._http import Progress
from .._limits.limiter import Reply
from .._model import AnswerT, KeyT
from .._wire import Request, Response
from ..errors import ClosedError, ProviderError, RateLimitedError, StatusLookupError, TransportError
from ..providers.base import Exchange, Outcomes, Provider
from .attempts import Verdict, judge
from .lanes import Batch, Lanes
from .open_keys import OpenKeys
from .retry import RetryPolicy
from .source import BatchSlot, Source

logger = logging.getLogger("statuslookup")


class Dispatcher(Generic[KeyT, AnswerT]):
    """Sends what is queued, and does nothing while nothing is.

    One task asks the source for a grant while keys are queued; the keys that are queued in the moment of the
    grant are its batch, and the task goes on as the exchange of that batch.
    """

    def __init__(
        self,
        provider: Provider[KeyT, AnswerT],
        lanes: Lanes[KeyT, AnswerT],
        open_keys: OpenKeys[KeyT, AnswerT],
        source: Source[KeyT, AnswerT],
        send: Callable[[Request, Progress], Awaitable[Response]],
        *,
        retry: RetryPolicy,
        linger: float,
        clock: Clock,
        context: Context,
    ) -> None:
        self._provider = provider
        self._max_batch = provider.max_batch
        self._lanes = lanes
        self._open_keys = open_keys
        self._source = source
        self._send = send
        self._retry = retry
        self._linger = linger
        self._clock = clock
        self._context = context
        self._tasks: dict[asyncio.Task[None], Progress] = {}
        self._under_way: dict[Batch[KeyT, AnswerT], _UnderWay] = {}
        self._stopped: set[asyncio.Task[None]] = set()
        self._asker: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self._timer: Timer | None = None
        self._lingers = False
        self.is_set = False
        """Whether a timer is set or a grant asked for; then only a batch that became full needs ``wake``."""
        self._is_failing = False
        self._had_success = False
        self._paused_until = clock.time()
        self.frozen_by: RateLimitedError | None = None
        """The 429 that holds back all that is queued; its pause is time paced."""
        self.requests = 0
        self.keys_sent = 0
        self.retries = 0
        self.rejections = 0
        self.seconds_paced = 0.0

    @property
    def asked_at(self) -> float | None:
        """Since when a grant is waited for; ``None`` while none is."""
        return None if self._asker is None and self.frozen_by is None else self._asked_at

    def wake(self) -> None:
        """See to it that queued keys are sent: a full batch as soon as it may go, others after ``linger``."""
        if self._asker is not None:
            self._source.note()
            return
        queued = self._lanes.queued
        if not queued and not self._source.wants_turn:
            return
        is_full = queued >= self._max_batch
        if self._timer is not None:
            if not (is_full and self._lingers):
                return
            self._timer.cancel()
            self._timer = None
        pause = self._paused_until - self._clock.time()
        self._lingers = pause <= 0
        if is_full and self._lingers:
            self._ask()
        else:
            self._timer = self._clock.call_later(self._linger if self._lingers else pause, self._ask)
        self.is_set = True

    def rest(self) -> None:
        """Give up the place in the source's queue if nothing is queued any more."""
        if not self._lanes.queued and not self._source.wants_turn:
            self._stop_asking()
            self.frozen_by = None

    def _stop_asking(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asker is not None:
            _cancel(self._asker)
            self._asker = None
        self.is_set = False

    def _ask(self) -> None:
        self._timer = None
        if self.frozen_by is None:
            self._asked_at = self._clock.time()
        # The request belongs to no caller, so it does not run in the context of whoever came first, but in
        # one of its own, for what an instrumentation keeps there. The loop's task factory does not make it:
        # an eager task would begin right here, inside a caller or another request.
        context = self._context.copy()
        task = asyncio.Task(self._run(), loop=asyncio.get_running_loop(), context=context)
        self._tasks[task] = Progress()
        self._asker = task
        self.is_set = True
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if task is self._asker:
            # It was cancelled from outside before it began, so it could not say so itself.
            self._asker = None
            self.is_set = False
            self._open_keys.settle_queued(_cut_off())

    async def _run(self) -> None:
        batch: Batch[KeyT, AnswerT] | None = None
        asked_at = self._asked_at
        try:
            async with self._source.grant(self._max_batch) as grant:
                batch = grant.batch
                exchange = self._begin(batch, asked_at)
                reply = await self._ask_provider(batch, grant, self._advance(exchange, None, batch))
            while reply is not None:
                request = self._advance(exchange, reply, batch)
                if request is None:
                    break
                asked_at = self._clock.time()
                async with self._source.slot(batch) as slot:
                    self.seconds_paced += self._clock.time() - asked_at
                    reply = await self._ask_provider(batch, slot, request)
        except BaseException as error:
            self._fail(batch, error)
            # A task that ends as cancelled keeps its frames, and their timeouts lead back to it: a cycle.
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
        finally:
            if batch is not None:
                self._end(batch)

    def _begin(self, batch: Batch[KeyT, AnswerT], asked_at: float) -> Exchange[KeyT, AnswerT]:
        """Go on as the exchange of the batch; others may ask for the next one."""
        self._asker = self.frozen_by = None
        self.is_set = False
        batch.asked_at, batch.sealed_at = asked_at, self._clock.time()
        self.seconds_paced += batch.sealed_at - asked_at
        self.keys_sent += len(batch.open_keys)
        self.wake()
        exchange = self._provider.exchange(batch.keys())
        self._under_way[batch] = _UnderWay(exchange, cast("asyncio.Task[None]", asyncio.current_task()))
        return exchange

    def _end(self, batch: Batch[KeyT, AnswerT]) -> None:
        under_way = self._under_way.pop(batch, None)
        if under_way is not None:
            try:
                under_way.exchange.close()
            except Exception as error:  # noqa: BLE001 # a provider's generator may raise anything
                self._fail(batch, error)
        self._source.over(batch)
        if batch.open_keys:
            # It was too late to send anything for them.
            self._open_keys.put_back(batch.open_keys, now=self._clock.time())
            self.wake()

    async def _ask_provider(
        self, batch: Batch[KeyT, AnswerT], slot: BatchSlot, request: Request | None
    ) -> Reply | None:
        """Send the request, tell the slot what came of it, and return that; ``None`` if nothing was sent."""
        if request is None or slot.is_late:
            return None
        progress = self._tasks[self._under_way[batch].task] = Progress()
        self.requests += 1
        started_at = self._clock.time()
        reply: Reply
        try:
            response = await self._send(request, progress)
            self.rejections += response.status_code == 429
            reply = evolve(response, follows_success=self._had_success)
            self._had_success |= response.is_success
        except ProviderError as error:
            reply = error
        except BaseException:
            slot.done(TransportError("the request was cut off", provider=self._provider.name))
            raise
        slot.done(reply)
        self._log(batch, reply, started_at)
        return reply

    def _advance(
        self, exchange: Exchange[KeyT, AnswerT], reply: Reply | None, batch: Batch[KeyT, AnswerT]
    ) -> Request | None:
        """Settle what comes of a reply, and return the next request; ``None`` if none is needed."""
        try:
            if reply is None:
                step = next(exchange)
            elif isinstance(reply, ProviderError):
                step = exchange.throw(reply)
            else:
                step = exchange.send(reply)
            while not isinstance(step, Request):
                self._settle(batch, step)
                step = next(exchange)
        except StopIteration as end:
            outcomes: Outcomes[KeyT, AnswerT] = end.value
        except ProviderError as error:
            outcomes = dict.fromkeys(batch.keys(), error)
        else:
            if batch.is_wanted:
                return step
            self._open_keys.forget(batch)
            return None
        self._settle(batch, outcomes)
        if batch.open_keys:
            forgotten = ProviderError("the exchange forgot a key", provider=self._provider.name)
            self._settle(batch, dict.fromkeys(batch.keys(), forgotten))
        return None

    def _settle(self, batch: Batch[KeyT, AnswerT], told: Outcomes[KeyT, AnswerT]) -> None:
        """Hand outcomes to their waiters, queue what is to be asked again, and keep the rest in the batch."""
        self._source.tell(batch, told)
        verdict: Verdict[KeyT, AnswerT] = Verdict()
        failed = [
            (open_key, outcome)
            for open_key in batch.open_keys
            if isinstance(outcome := told.get(open_key.key), ProviderError)
        ]
        if failed:
            # The exchange may go on with its own dict.
            told = dict(told)
            verdict = judge(failed, told, self._retry)
            batch.take_out(verdict.again)
        self._open_keys.settle(batch, told)
        self._note_health(verdict.problem)
        if verdict.again:
            now = self._clock.time()
            self.retries += self._open_keys.put_back(verdict.again, now=now)
            if now + verdict.pause > self._paused_until:
                self._paused_until = now + verdict.pause
                # Whoever asks already, or is about to, has to wait as well.
                self._stop_asking()
                if isinstance(verdict.problem, RateLimitedError):
                    self.frozen_by, self._asked_at = verdict.problem, now
            self.wake()

    def give_up(self, batch: Batch[KeyT, AnswerT]) -> None:
        """End the exchange of a batch that nobody waits for any more."""
        self._open_keys.forget(batch)
        under_way = self._under_way.get(batch)
        if under_way is not None:
            self._end_task(under_way.task)

    def _end_task(self, task: asyncio.Task[None]) -> None:
        """Cancel what a task does, but not while it connects: httpx's pool would lose that place for good."""
        progress = self._tasks[task]
        if progress.is_connecting:
            progress.when_connected = task.cancel
        else:
            _cancel(task)

    def _fail(self, batch: Batch[KeyT, AnswerT] | None, error: BaseException) -> None:
        """Settle the keys of an exchange that broke off: cancelled from outside, or by a bug."""
        # A task of a loop that was closed ends by the garbage collector's GeneratorExit.
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            outcome: StatusLookupError = _cut_off()
        elif isinstance(error, StatusLookupError):
            # The limiter's own words, such as that it is in use on another event loop.
            outcome = error
        else:
            outcome = ProviderError(f"{type(error).__name__} in the exchange", provider=self._provider.name)
            logger.error("lookups ended by a bug, in a provider, a limiter or here", exc_info=error)
        if batch is not None:
            self._open_keys.settle(batch, dict.fromkeys(batch.keys(), outcome))
        elif self._asker is asyncio.current_task():
            # It was not told to rest, so nobody else is going to ask for a grant.
            self._asker = None
            self.is_set = False
            self._open_keys.settle_queued(outcome)

    def _log(self, batch: Batch[KeyT, AnswerT], reply: Reply, started_at: float) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "%s: %s after %.3f s, for a batch with %d open keys",
                self._provider.name,
                f"status {reply.status_code}" if isinstance(reply, Response) else type(reply).__name__,
                self._clock.time() - started_at,
                len(batch.open_keys),
            )

    def _note_health(self, problem: ProviderError | None) -> None:
        """Log the first failure of a row, and the first success after it."""
        if problem is not None and not self._is_failing:
            logger.warning("lookups are asked again until it passes: %s", problem)
        elif problem is None and self._is_failing:
            logger.info("%s answers again", self._provider.name)
        self._is_failing = problem is not None

    def stop(self, *, at_once: bool) -> set[asyncio.Task[None]]:
        """Ask for no grant any more, end what is under way, and return the tasks of that.

        What connects is ended when it has connected, or ``at_once`` where the whole pool is closed.
        """
        if self._timer is not None:
            self._timer.cancel()
        tasks = set(self._tasks)
        for task in tasks - self._stopped:
            if at_once:
                task.cancel()
            else:
                self._end_task(task)
        # A second time would cut off what they do to clean up.
        self._stopped |= tasks
        return tasks


@frozen
class _UnderWay:
    """An exchange that is under way, and the task that runs it."""

    exchange: Exchange[Any, Any]
    task: asyncio.Task[None]


def _cancel(task: asyncio.Task[None]) -> None:
    # In a loop that was closed, lookups end by the garbage collector, and nothing runs any more.
    if not task.get_loop().is_closed():
        task.cancel()


def _cut_off() -> ClosedError:
    return ClosedError("the lookup was cut off: its request was cancelled")
