"""When a request is made: from queued keys, through a grant and the provider's exchange, to outcomes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, Generic, cast

from attrs import define, field

from .._clock import Clock, Timer
from .._http import Progress
from .._limits.limiter import Reply
from .._model import AnswerT, KeyT
from .._wire import Request, Response
from ..errors import ClosedError, ProviderError, RateLimitedError, StatusLookupError, TransportError
from ..providers.base import Exchange, Outcomes, Provider
from .attempts import Verdict, copy_of, judge
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
        loop: asyncio.AbstractEventLoop,
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
        self._loop = loop
        self._runs: dict[asyncio.Task[None], _Run] = {}
        self._under_way: dict[Batch[KeyT, AnswerT], asyncio.Task[None]] = {}
        self._timer: Timer | None = None
        self._asker: asyncio.Task[None] | None = None
        self.is_set = False
        """Whether a timer is set or a grant asked for; then only a batch that became full needs ``wake``."""
        self._lingers = False
        self._waits_since = 0.0
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
        """Since when the rate limit is waited for, a freeze included; ``None`` while it is not."""
        is_frozen = self._timer is not None and self.frozen_by is not None
        return self._waits_since if is_frozen or self._asker is not None else None

    @property
    def is_paused(self) -> bool:
        """Whether nothing is asked for because a failure came shortly before."""
        return self._clock.time() < self._paused_until

    def wake(self) -> None:
        """See to it that queued keys are sent: a full batch as soon as it may go, others after ``linger``."""
        queued = self._lanes.queued
        if self._asker is not None or not (queued or self._source.wants_turn):
            return
        is_full = queued >= self._max_batch
        if self._timer is not None:
            if not (is_full and self._lingers):
                return
            self._timer.cancel()
        now = self._clock.time()
        pause = self._paused_until - now
        self._lingers = pause <= 0
        self._waits_since = now
        if self._lingers:
            self.frozen_by = None
        # Who asks in this turn of the loop goes along in any case, because a task begins in the next one.
        if self._lingers and (is_full or not self._linger):
            self._ask()
        else:
            self._set(timer=self._clock.call_later(self._linger if self._lingers else pause, self._ask))

    def rest(self) -> None:
        """Give up the place in the source's queue if nothing is queued any more."""
        if self.is_set and not self._lanes.queued and not self._source.wants_turn:
            self._stop_asking()

    def _stop_asking(self) -> None:
        timer, asker = self._timer, self._asker
        self._set()
        if timer is not None:
            timer.cancel()
        if asker is not None:
            self._cancel(asker)

    def _set(self, *, timer: Timer | None = None, asker: asyncio.Task[None] | None = None) -> None:
        self._timer, self._asker = timer, asker
        self.is_set = timer is not None or asker is not None

    def _ask(self) -> None:
        if self.frozen_by is None:
            self._waits_since = self._clock.time()
        # The request belongs to no caller, so it does not run in the context of whoever came first, but in
        # one of its own, for what an instrumentation keeps there. The loop's task factory does not make it:
        # an eager task would begin right here, inside a caller or another request.
        task = asyncio.Task(self._run(), loop=self._loop, context=self._context.copy())
        self._runs[task] = _Run()
        self._set(asker=task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._runs[task]
        if task is self._asker:
            # It was cancelled from outside before it began, so it could not say so itself.
            self._set()
            self._open_keys.settle_queued(_cut_off())

    async def _run(self) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        batch: Batch[KeyT, AnswerT] | None = None
        try:
            async with self._source.grant(self._max_batch) as grant:
                batch = grant.batch
                exchange = self._begin(batch, task)
                request = await self._ask_provider(
                    exchange, batch, grant, self._advance(exchange, None, batch)
                )
            while request is not None:
                asked_at = self._clock.time()
                async with self._source.slot(batch) as slot:
                    self.seconds_paced += self._clock.time() - asked_at
                    request = await self._ask_provider(exchange, batch, slot, request)
        except BaseException as error:
            self._fail(batch, task, error)
            # A task that ends as cancelled keeps its frames, and their timeouts lead back to it: a cycle.
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
        finally:
            if batch is not None:
                self._end(batch, task)

    def _begin(self, batch: Batch[KeyT, AnswerT], task: asyncio.Task[None]) -> Exchange[KeyT, AnswerT]:
        """Go on as the exchange of the batch; others may ask for the next one."""
        batch.asked_at, batch.sealed_at = self._waits_since, self._clock.time()
        self.seconds_paced += batch.sealed_at - batch.asked_at
        keys = batch.keys()
        self.keys_sent += len(keys)
        self._under_way[batch] = task
        if task is self._asker:
            self._set()
        self.wake()
        exchange = self._runs[task].exchange = self._provider.exchange(keys)
        return exchange

    def _end(self, batch: Batch[KeyT, AnswerT], task: asyncio.Task[None]) -> None:
        del self._under_way[batch]
        exchange = self._runs[task].exchange
        if exchange is not None:
            try:
                exchange.close()
            except Exception as error:  # noqa: BLE001 # a provider's generator may raise anything
                self._fail(batch, task, error)
        self._source.over(batch)
        if batch.open_keys:
            # It was too late to send anything for them.
            self._open_keys.put_back(batch.open_keys, now=self._clock.time())
            self.wake()

    async def _ask_provider(
        self,
        exchange: Exchange[KeyT, AnswerT],
        batch: Batch[KeyT, AnswerT],
        slot: BatchSlot,
        request: Request | None,
    ) -> Request | None:
        """Send the request, tell the slot what came of it, and return the next one; ``None`` for no more."""
        if request is None or slot.is_late:
            return None
        progress = self._runs[self._under_way[batch]].progress = Progress()
        self.requests += 1
        started_at = self._clock.time()
        reply: Reply
        try:
            response = await self._send(request, progress)
            self.rejections += response.status_code == 429
            reply = _after_success(response) if self._had_success else response
            self._had_success |= response.is_success
        except ProviderError as error:
            reply = error
        except BaseException:
            slot.done(TransportError("the request was cut off", provider=self._provider.name))
            raise
        slot.done(reply)
        self._log(batch, reply, started_at)
        return self._advance(exchange, reply, batch)

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
                self._take(batch, step)
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
        self._take(batch, outcomes)
        if keys := batch.keys():
            forgotten = ProviderError("the exchange forgot a key", provider=self._provider.name)
            self._take(batch, dict.fromkeys(keys, forgotten))
        return None

    def hear(self, batch: Batch[KeyT, AnswerT], outcomes: Outcomes[KeyT, AnswerT]) -> None:
        """Settle keys whose outcomes came from elsewhere, as if a reply had brought them here."""
        now = self._clock.time()
        batch.asked_at, batch.sealed_at = self.asked_at or now, now
        self._settle(batch, outcomes)
        self.rest()

    def _take(self, batch: Batch[KeyT, AnswerT], told: Outcomes[KeyT, AnswerT]) -> None:
        """Take in what a reply said: for the source, whoever waits for it, and then here."""
        self._source.tell(batch, told)
        if told:
            self._settle(batch, told)

    def _settle(self, batch: Batch[KeyT, AnswerT], told: Outcomes[KeyT, AnswerT]) -> None:
        """Hand outcomes to their waiters, queue what is to be asked again, and keep the rest in the batch."""
        verdict: Verdict[KeyT, AnswerT] = Verdict()
        # By the kinds, because most replies have no error, and many outcomes of one kind.
        if any(issubclass(kind, StatusLookupError) for kind in set(map(type, told.values()))):
            failed = [
                (open_key, outcome)
                for open_key in batch.open_keys
                if isinstance(outcome := told.get(open_key.key), StatusLookupError)
            ]
            # The exchange may go on with its own dict.
            told = dict(told)
            verdict = judge(failed, told, self._retry)
            batch.take_out(verdict.again)
        self._open_keys.settle(batch, told)
        self._note_health(verdict.problem)
        if verdict.again:
            self._ask_again(verdict)

    def _ask_again(self, verdict: Verdict[KeyT, AnswerT]) -> None:
        now = self._clock.time()
        self.retries += self._open_keys.put_back(verdict.again, now=now)
        if verdict.pause and now + verdict.pause > self._paused_until:
            self._paused_until = now + verdict.pause
            # Whoever asks already, or is about to, has to wait as well.
            self._stop_asking()
            self.frozen_by = verdict.problem if isinstance(verdict.problem, RateLimitedError) else None
        self.wake()

    def give_up(self, batch: Batch[KeyT, AnswerT]) -> None:
        """End the exchange of a batch that nobody waits for any more."""
        self._open_keys.forget(batch)
        task = self._under_way.get(batch)
        if task is not None:
            self._end_run(task)

    def stop(self, *, at_once: bool) -> set[asyncio.Task[None]]:
        """Ask for no grant any more, end what is under way, and return the tasks of that.

        What connects is ended when it has connected, or ``at_once`` where the whole pool is closed. What
        closes its response does so first.
        """
        self._stop_asking()
        for task in self._runs:
            self._end_run(task, at_once=at_once)
        return set(self._runs)

    def _end_run(self, task: asyncio.Task[None], *, at_once: bool = False) -> None:
        """Cancel a task, but not while httpx's pool would lose a connection's place."""
        progress = self._runs[task].progress
        if progress.is_closing:
            progress.when_closed = partial(self._cancel, task)
        elif progress.is_connecting and not at_once:
            progress.when_connected = partial(self._cancel, task)
        else:
            self._cancel(task)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        run = self._runs[task]
        # A second time would cut off what it does to clean up. In a loop that was closed, nothing runs any
        # more, and lookups end by the garbage collector.
        if not run.is_cancelled and not self._loop.is_closed():
            run.is_cancelled = True
            task.cancel()

    def _fail(
        self, batch: Batch[KeyT, AnswerT] | None, task: asyncio.Task[None], error: BaseException
    ) -> None:
        """Settle the keys of an exchange that broke off: cancelled from outside, or by a bug."""
        if self._loop.is_closed():
            # The garbage collector ends what a closed loop has left, and nobody waits for it.
            return
        # The limiter's own words, such as that it is in use on another event loop.
        outcome = copy_of(error)
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            outcome = _cut_off()
        elif outcome is None:
            outcome = ProviderError(f"{type(error).__name__} in the exchange", provider=self._provider.name)
            logger.error("lookups ended by a bug, in a provider, a limiter or here", exc_info=error)
        if batch is not None:
            self._open_keys.settle(batch, dict.fromkeys(batch.keys(), outcome))
        elif task is self._asker:
            # It was not told to rest, so nobody else is going to ask for a grant.
            self._set()
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


@define(eq=False)
class _Run:
    """What a task does: its exchange, and how far the request of that is."""

    progress: Progress = field(factory=Progress)
    exchange: Exchange[Any, Any] | None = None
    is_cancelled: bool = False


def _after_success(response: Response) -> Response:
    # By hand, because attrs' evolve takes six times as long.
    return Response(
        response.status_code,
        response.content,
        response.retry_after,
        opened_connection=response.opened_connection,
        follows_success=True,
    )


def _cut_off() -> ClosedError:
    return ClosedError("the lookup was cut off: its request was cancelled")
