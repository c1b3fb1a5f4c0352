"""What is published in Redis, heard while there is need for it."""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from typing import Any, Final, Protocol

from .._clock import Timer
from ..errors import FleetError
from .link import Link
from .redis_problems import is_redis_error, problem_of

_REST_AFTER: Final = 5.0
_PING_AFTER: Final = 5.0


class Listener(Protocol):
    """Who hears what is published; nothing here may raise."""

    def hear(self, channel: str, message: bytes) -> None:
        """Take what was published on a channel, by anybody who may publish there."""

    def reconnected(self) -> None:
        """Take note that messages may have been missed: whatever Redis should know is to be said again."""


class Subscription:
    """Hears channels from the first ``listen()`` until some seconds after ``rest()``, and through all cuts.

    A connection on which nothing came for 5 s is asked for a sign of life; without one it is made anew.
    """

    def __init__(
        self,
        link: Link,
        channels: Sequence[str],
        listener: Listener,
        *,
        rest_after: float = _REST_AFTER,
        ping_after: float = _PING_AFTER,
    ) -> None:
        self._link = link
        self._channels = tuple(channels)
        self._listener = listener
        self._rest_after = rest_after
        self._ping_after = ping_after
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._up = asyncio.Event()
        """Set while the channels are heard; each task has one of its own."""

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def listen(self) -> None:
        """Return once the channels are heard; what Redis refuses raises ``FleetError``.

        While Redis is away this waits.
        """
        self._stay()
        if self._up.is_set():
            return
        if self._task is None:
            self._up = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run(self._up), context=Context())
            self._task.add_done_callback(self._over)
        task, up = self._task, asyncio.ensure_future(self._up.wait())
        try:
            await asyncio.wait({task, up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error.fresh() if isinstance(error, FleetError) else error

    def rest(self) -> None:
        """End in some seconds, unless ``listen()`` is called before."""
        if self._task is not None and self._timer is None:
            self._timer = self._link.clock.call_later(self._rest_after, self._stop)

    async def aclose(self) -> None:
        """End at once."""
        self._stay()
        self._stop()
        if self._ending:
            await asyncio.wait(self._ending)

    def _stay(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop(self) -> None:
        self._timer = None
        task, self._task = self._task, None
        if task is not None:
            self._ending.add(task)
            self._up = asyncio.Event()
            task.cancel()

    def _over(self, task: "asyncio.Task[None]") -> None:
        self._ending.discard(task)
        if self._task is task:
            self._task = None
        if not task.cancelled():
            # Who listened has it from the task, and nobody may be listening.
            task.exception()

    async def _run(self, up: asyncio.Event) -> None:
        was_up = False
        try:
            while True:
                self._check_wanted(up)
                await self._link.pause()
                problem = await self._hear_until_cut(up, was_up)
                was_up = was_up or up.is_set()
                up.clear()
                self._link.note_failure(problem)
                if not problem.is_transient:
                    raise problem
        finally:
            up.clear()

    def _check_wanted(self, up: asyncio.Event) -> None:
        # Up to Python 3.11, wait_for, by which redis-py sends, may swallow a cancellation.
        if self._up is not up:
            raise asyncio.CancelledError

    async def _hear_until_cut(self, up: asyncio.Event, was_up: bool) -> FleetError:
        pubsub = self._link.redis.pubsub()
        try:
            async with asyncio.timeout(self._link.timeout):
                await pubsub.subscribe(*self._channels)
            return await self._hear(pubsub, up, was_up)
        except Exception as error:
            if not is_redis_error(error):
                raise
            return problem_of(error, self._link.where)
        finally:
            await _close(pubsub)

    async def _hear(self, pubsub: Any, up: asyncio.Event, was_up: bool) -> FleetError:
        confirmed, is_asked = 0, False
        while True:
            self._check_wanted(up)
            message = await pubsub.get_message(timeout=self._link.timeout if is_asked else self._ping_after)
            if message is None:
                if is_asked:
                    return problem_of(TimeoutError(), self._link.where)
                await pubsub.ping()
            # Whatever comes is a sign of life.
            is_asked = message is None
            if message is None:
                continue
            if message["type"] == "message":
                self._listener.hear(message["channel"].decode(errors="replace"), message["data"])
            elif message["type"] == "subscribe":
                confirmed += 1
                if confirmed % len(self._channels):
                    continue
                # A lent client may reconnect by itself: then all is confirmed once more.
                if was_up or confirmed > len(self._channels):
                    self._listener.reconnected()
                self._link.note_success()
                up.set()


async def _close(pubsub: Any) -> None:
    try:
        await pubsub.aclose()
    except Exception as error:
        # What was cut already need not be closed.
        if not is_redis_error(error):
            raise
