"""The limiter of a rate limit: a pacer, and a queue in which everybody waits for it."""

import asyncio
import math
from collections import OrderedDict
from types import TracebackType
from typing import Self

from .._arguments import shown_unfinished
from .._clock import SYSTEM_CLOCK, Clock, Timer
from .._model import LimiterStats, RateLimit
from ..errors import WrongLoopError
from .limiter import Reply, Slot
from .pacer import Grant, Pace, Pacer, Pacing


class TokenBucket:
    """Keeps requests within ``limit``, however the provider counts them, and follows a limit that changes.

    First come, first served; nothing is saved up while it is idle or late.

    - ``pacing="spaced"``: one request at a time, the next one ``limit.interval`` after the reply, less the
      half of a round trip that they surely spend on their ways. The provider never counts two of them closer
      together than the interval: fixed window, sliding window and strict spacing alike.
    - ``pacing="windowed"``: up to ``limit`` requests under way, each place free again ``limit.per`` after
      *its* reply. No fixed and no sliding window ever holds more than ``limit``, however long the ways are.
    - ``pacing="auto"``: spaced; windowed where round trips are so long that spaced requests would reach less
      than 60 % of the limit, and while a request takes three intervals or longer (1 s at least). A break
      of 3 s leads back to spaced, and so does a 429, for ten minutes.

    A 429 freezes the bucket for what the provider asks, ``max_freeze`` seconds at most, or for one period
    and a tenth; and it halves the rate, once for all requests that were under way. After 30 s without a 429
    the rate is doubled again, up to ``limit``.

    A bucket serves one event loop at a time, and any number of clients in it. A loop that was closed is
    over, whatever was waited for or under way in it.
    """

    def __init__(
        self,
        limit: RateLimit,
        *,
        pacing: Pacing = "auto",
        max_freeze: float = 60.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._pacer = Pacer(limit, pacing=pacing, max_freeze=max_freeze)
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: OrderedDict[_BucketSlot, asyncio.Future[None]] = OrderedDict()
        self._timer: Timer | None = None

    @shown_unfinished
    def __repr__(self) -> str:
        stats, limit = self.stats(), self.limit
        return (
            f"<TokenBucket {limit.limit:g} per {limit.per:g} s, rate {stats.rate:g}/s"
            f" {'windowed' if self._pacer.is_windowed else 'spaced'}, {stats.waiting} waiting,"
            f" {stats.in_flight} in flight, {stats.rejections} rejections, next in {stats.frozen_for:.3f} s>"
        )

    @property
    def limit(self) -> RateLimit:
        """The most that is allowed; a new one counts from the next request."""
        return self._pacer.limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        # Another thread may change it, so nobody is woken here: who waits looks when the old turn comes.
        self._pacer.limit = limit

    def slot(self) -> Slot:
        """Return the right to send one request; entering it waits for its turn.

        A bucket that is in use on another event loop raises ``WrongLoopError``.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._move_to(loop)
        return _BucketSlot(self)

    def stats(self) -> LimiterStats:
        """Return what the bucket is doing at this moment."""
        pacer = self._pacer
        return LimiterStats(
            rate=pacer.rate,
            waiting=len(self._waiters),
            in_flight=pacer.in_flight,
            rejections=pacer.rejections,
            frozen_for=max(0.0, pacer.held_until - self._clock.time()),
        )

    def _pace(self) -> Pace:
        return self._pacer.pace(self._clock.time())

    def _go_on_from(self, pace: Pace) -> None:
        self._pacer.go_on_from(pace)

    def _move_to(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and self._loop.is_closed():
            # Nobody there will take a turn or leave a slot.
            self._pacer.abandon(self._clock.time())
            self._waiters.clear()
            self._timer = None
        if self._pacer.in_flight or self._waiters:
            raise WrongLoopError(
                "this TokenBucket is in use on another event loop: send all requests that one limit counts"
                " from one loop"
            )
        self._loop = loop
        self._pacer.change_connections()

    def _advance(self) -> None:
        """Wake the first waiter if its turn has come, or when it comes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiters or self._loop is None or self._loop.is_closed():
            return
        turn = next(iter(self._waiters.values()))
        if turn.done():
            # It did not run yet. Nobody passes it; when it runs, it goes, or passes the turn on.
            return
        next_at = self._pacer.next_at
        seconds_left = next_at - self._clock.time()
        if seconds_left <= 0:
            turn.set_result(None)
        elif seconds_left < math.inf:
            self._timer = self._clock.call_later(seconds_left, self._advance)

    async def _wait(self, slot: "_BucketSlot") -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                # Who was woken and finds that a 429 or a failure came in between stays in its place.
                self._waiters[slot] = turn = loop.create_future()
                self._advance()
                await turn
                # The task may run much later than its turn came: what counts is now.
                now = self._clock.time()
                if now >= self._pacer.next_at:
                    slot.grant = self._pacer.grant(now)
                    return
        finally:
            # It is no waiter any more if its loop was closed and the bucket serves another one.
            if self._waiters.pop(slot, None) is not None:
                self._advance()


class _BucketSlot:
    __slots__ = ("_bucket", "grant")

    def __init__(self, bucket: TokenBucket) -> None:
        self._bucket = bucket
        self.grant: Grant | None = None

    def done(self, reply: Reply) -> None:
        bucket = self._bucket
        if self.grant is not None:
            bucket._pacer.done(self.grant, reply, bucket._clock.time())
            self.grant = None
            if bucket._waiters:
                bucket._advance()

    async def __aenter__(self) -> Self:
        bucket = self._bucket
        now = bucket._clock.time()
        if bucket._waiters or now < bucket._pacer.next_at:
            await bucket._wait(self)
        else:
            self.grant = bucket._pacer.grant(now)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        bucket = self._bucket
        if self.grant is not None:
            bucket._pacer.unused(self.grant)
            self.grant = None
            bucket._advance()
