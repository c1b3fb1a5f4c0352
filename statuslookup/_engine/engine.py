"""From keys to their outcomes: what every call of one client joins and leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from typing import Any, Generic, TypeAlias, cast

from .._clock import Clock
from .._http import Progress
from .._model import AnswerT, ClientStats, KeyT
from .._wire import Request, Response
from ..errors import StatusLookupError
from ..providers.base import Provider
from .attempts import too_late
from .deadlines import Deadlines
from .dispatcher import Dispatcher
from .lanes import Batch, Collector, Lane, Waiter
from .open_keys import OpenKeys
from .retry import RetryPolicy
from .source import Source

_Answer: TypeAlias = asyncio.Future[AnswerT | None]


class Engine(Generic[KeyT, AnswerT]):
    """Takes keys in, and sees to it that each has its outcome; it wakes and rests by itself."""

    def __init__(
        self,
        provider: Provider[KeyT, AnswerT],
        source: Source[KeyT, AnswerT],
        send: Callable[[Request, Progress], Awaitable[Response]],
        *,
        retry: RetryPolicy,
        linger: float,
        clock: Clock,
        context: Context,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.max_batch = provider.max_batch
        self.lookups = 0
        self.closed_by: StatusLookupError | None = None
        """What ``close`` was given: from then on nothing may join."""
        self._clock = clock
        self._loop = loop
        self._source = source
        self._lanes = source.lanes
        self._open_keys: OpenKeys[KeyT, AnswerT] = OpenKeys(self._lanes, loop.call_soon)
        self._dispatcher: Dispatcher[KeyT, AnswerT] = Dispatcher(
            provider,
            self._lanes,
            self._open_keys,
            source,
            send,
            retry=retry,
            linger=linger,
            clock=clock,
            context=context,
            loop=loop,
        )
        self.deadlines: Deadlines[_Answer[AnswerT], KeyT] = self.new_deadlines(self._expire)
        """Those of calls for one key."""
        self._feeders: dict[asyncio.Task[bool], bool] = {}
        """The tasks that take keys from elsewhere, and whether each is cancelled."""
        source.begin(self)

    def join(self, key: KeyT, loop: asyncio.AbstractEventLoop) -> _Answer[AnswerT]:
        """Ask for a key before all that calls for many ask for; return the future of its answer."""
        self.lookups += 1
        answer: _Answer[AnswerT] = asyncio.Future(loop=loop)
        lanes, dispatcher = self._lanes, self._dispatcher
        self._open_keys.join(key, answer, lanes.first)
        if not dispatcher.is_set or lanes.queued == self.max_batch:
            dispatcher.wake()
        return answer

    def join_all(
        self, keys: Iterable[KeyT], collector: Collector[KeyT, AnswerT], lane: Lane[KeyT, AnswerT]
    ) -> None:
        """Ask for keys in a lane of its own."""
        self._open_keys.join_all(keys, collector, lane)
        self._dispatcher.wake()

    def leave(self, key: KeyT, waiter: Waiter[AnswerT, KeyT]) -> None:
        """Forget that somebody waits for the key, and the key too if nobody else does.

        A request is ended when nobody waits for any of its keys any more.
        """
        unwanted = self._open_keys.leave(key, waiter)
        if unwanted is not None:
            self._dispatcher.give_up(unwanted)
        self._dispatcher.rest()

    def open_lane(self, on_capacity: Callable[[], object]) -> Lane[KeyT, AnswerT]:
        return self._lanes.open_lane(on_capacity)

    def close_lane(self, lane: Lane[KeyT, AnswerT]) -> None:
        self._lanes.close_lane(lane)

    def new_deadlines(self, expire: Callable[[dict[Any, Any], float], None]) -> Deadlines[Any, Any]:
        return Deadlines(self._clock, self._loop.call_soon, expire)

    def too_late(self, key: KeyT, timeout: float) -> StatusLookupError:
        """Return the error of a lookup whose time is up."""
        dispatcher, open_key, problem = self._dispatcher, self._open_keys[key], self._source.problem
        if problem is not None and open_key.batch is None:
            return problem.fresh()
        return too_late(
            open_key,
            timeout,
            now=self._clock.time(),
            asked_at=dispatcher.asked_at,
            frozen_by=dispatcher.frozen_by,
        )

    def _expire(self, waiting: dict[_Answer[AnswerT], KeyT], timeout: float) -> None:
        for answer, key in waiting.items():
            if not answer.done():
                error = self.too_late(key, timeout)
                self.leave(key, answer)
                answer.set_exception(error)
                # Its caller may be gone before it can take the error.
                answer.exception()

    @property
    def is_paused(self) -> bool:
        return self._dispatcher.is_paused

    def queued(self, keys: Iterable[KeyT]) -> list[KeyT]:
        return [open_key.key for open_key in self._open_keys.queued(keys)]

    def seal(self, keys: Iterable[KeyT], batch: Batch[KeyT, AnswerT]) -> None:
        """Move those of the keys that are queued here to the batch."""
        self._lanes.seal_keys(self._open_keys.queued(keys), batch)

    def hear(self, outcomes: Mapping[KeyT, AnswerT | StatusLookupError | None]) -> int:
        """Settle those of the keys that are queued here, as if a reply had been one's own; count them."""
        batch: Batch[KeyT, AnswerT] = Batch([])
        self.seal(outcomes, batch)
        keys = batch.keys()
        if keys:
            self._dispatcher.hear(batch, {key: outcomes[key] for key in keys})
        return len(keys)

    def wake(self) -> None:
        self._dispatcher.wake()

    def rest(self) -> None:
        self._dispatcher.rest()

    def start_feeder(self, feed: Coroutine[Any, Any, bool]) -> "asyncio.Task[bool]":
        """Run what takes a call's keys from elsewhere, until ``close`` at the latest."""
        feeder = asyncio.ensure_future(feed)
        self._feeders[feeder] = False
        feeder.add_done_callback(self._feeders.pop)
        return feeder

    def stats(self) -> ClientStats:
        dispatcher = self._dispatcher
        return ClientStats(
            lookups=self.lookups,
            coalesced=self._open_keys.coalesced,
            requests=dispatcher.requests,
            keys_sent=dispatcher.keys_sent,
            retries=dispatcher.retries,
            rejections=dispatcher.rejections,
            told=self._source.told,
            queued=self._lanes.queued,
            in_flight=self._open_keys.in_flight,
            seconds_paced=dispatcher.seconds_paced,
        )

    async def close(self, error: StatusLookupError, *, at_once: bool) -> None:
        """End every lookup with the error, and return when no task is left.

        Requests that connect are ended ``at_once``, or when they have connected.
        """
        self.closed_by = error
        self._open_keys.close(error)
        try:
            await self._source.finish()
        finally:
            try:
                await self._stop(at_once=at_once)
            finally:
                await self._source.leave()

    async def _stop(self, *, at_once: bool) -> None:
        requests = self._dispatcher.stop(at_once=at_once)
        # The keys themselves may close the client; their task ends when it comes to the next one.
        current = asyncio.current_task()
        for feeder, is_cancelled in self._feeders.items():
            if feeder is not current and not is_cancelled:
                self._feeders[feeder] = True
                feeder.cancel()
        # Of those who close the client from inside, none waits for one that may wait for it.
        tasks: set[asyncio.Task[Any]] = set() if current in requests else {*requests}
        if current not in self._feeders:
            tasks |= self._feeders.keys()
        tasks.discard(cast("asyncio.Task[Any]", current))
        if tasks:
            await asyncio.wait(tasks)
