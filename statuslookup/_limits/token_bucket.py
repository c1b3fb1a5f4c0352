"""How fast requests may go: the limiter that a batch waits for."""

import asyncio
import math
from collections import OrderedDict, deque
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias, get_args

from attrs import frozen

from .._clock import SYSTEM_CLOCK, Clock, Timer
from .._model import LimiterStats, RateLimit
from .._wire import Response
from ..errors import WrongLoopError
from .limiter import Reply, Slot

Pacing: TypeAlias = Literal["auto", "answers", "grants"]
"""What a ``TokenBucket`` counts its interval from: answers, grants, or whichever suits the round trips."""

_LOWEST_RUNG: Final = 6
_PROBE_AFTER: Final = 30.0
_FREEZE_MARGIN: Final = 0.1
_SAMPLES: Final = 20
_SAMPLES_FOR_CREDIT: Final = 5
# HTTP clients keep a connection that nobody uses for 5 s or longer.
_COLD_AFTER: Final = 3.0
_SAMPLES_TO_CHOOSE: Final = 10
_CHOOSE_EVERY: Final = 5
_CHOOSE_GRANTS_BELOW: Final = 0.60
_CHOOSE_ANSWERS_ABOVE: Final = 0.65
_DISTRUST_GRANTS: Final = 600.0
_LEAST_MARGIN: Final = 0.05
_MOST_MARGIN: Final = 0.2
_MOST_IN_FLIGHT: Final = 16


@frozen
class Pace:
    """Where a bucket stands: another one for the same budget can go on from it."""

    ready_at: float
    """The moment before which no request may go."""
    rung: int
    """How often the rate is halved."""
    calm_since: float
    """The moment of the last 429, or of the probe that went well after it."""

    @property
    def lasts_until(self) -> float:
        """The moment from which a bucket that knows nothing of this does as well."""
        return max(self.ready_at, self.calm_since + self.rung * _PROBE_AFTER)

    def joined(self, other: "Pace") -> "Pace":
        """Return what holds after both: the later moment, and the rung that was reached last."""
        calm_since, rung = max((self.calm_since, self.rung), (other.calm_since, other.rung))
        return Pace(max(self.ready_at, other.ready_at), rung, calm_since)


class TokenBucket:
    """Keeps requests within ``limit``, however the provider counts them, and follows a limit that changes.

    A token bucket of capacity 1: first come, first served, nothing is saved up while it is idle or late.

    ``pacing="answers"`` sends one request at a time, and the next one ``limit.interval`` after the answer,
    less half of the smallest round trip seen since the last break (of 3 s, or two intervals). What opens a
    connection is not looked at, nor is the first round trip after a break. The provider counted the request
    before it answered, so two requests are never counted closer together than the interval: under a fixed
    window, a sliding window and strict spacing alike. An answer and the next request together are on their
    ways for half the smallest round trip at least, as long as neither way gets more than twice as quick. A
    request without an answer keeps its slot until it failed, and one interval more.

    ``pacing="grants"`` sends a request every ``limit.interval`` plus 5 to 20 % for the jitter that it sees,
    up to 16 in flight. It holds fixed and sliding windows as long as the way to the provider does not vary
    by more than that extra time, ``limit.limit`` times; it does not promise strict spacing.

    ``pacing="auto"`` uses "answers", and "grants" while round trips are so long that "answers" would reach
    less than 60 % of the limit. A break sends it back to "answers", and a 429 does so for ten minutes.

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
        if pacing not in get_args(Pacing):
            raise ValueError(f'pacing must be "auto", "answers" or "grants", not {pacing!r}')
        if not 0 < max_freeze < math.inf:
            raise ValueError(f"max_freeze must be above 0 and finite, not {max_freeze}")
        self._rung = 0
        self.limit = limit
        self._pacing = pacing
        self._max_freeze = max_freeze
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: OrderedDict[BucketSlot, asyncio.Future[None]] = OrderedDict()
        self._turn: BucketSlot | None = None
        """The waiter that was woken and did not run yet: nobody passes it, and it costs nothing so far."""
        self._in_flight: set[BucketSlot] = set()
        self._ready_at = clock.time()
        self._timer: Timer | None = None
        self._round_trips: deque[float] = deque(maxlen=_SAMPLES)
        self._forget_round_trips()
        self._answered_at = -math.inf
        self._rejections = 0
        self._steps = 0
        self._calm_since = -math.inf
        self._distrust_grants_until = -math.inf

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<TokenBucket {self.limit.limit:g} per {self.limit.per:g} s, rate {stats.rate:g}/s by"
            f" {'grants' if self._by_grants else 'answers'}, {stats.waiting} waiting,"
            f" {stats.in_flight} in flight, {stats.rejections} rejections, next in {stats.frozen_for:.3f} s>"
        )

    @property
    def limit(self) -> RateLimit:
        """The most that is allowed; a new one counts from the next request."""
        return self._limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        if not isinstance(limit, RateLimit):
            raise TypeError(f"limit is a RateLimit, not {type(limit).__name__}")
        self._limit = limit
        self._change_rung(0)

    def slot(self) -> Slot:
        """Return the right to send one request; entering it waits for its turn.

        A bucket that is in use on another event loop raises ``WrongLoopError``.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None and self._loop.is_closed():
                self._forget_users()
            if self._in_flight or self._waiters or self._turn is not None:
                raise WrongLoopError(
                    "this TokenBucket is in use on another event loop; make one for each loop,"
                    " with a share of the limit each"
                )
            self._loop = loop
            # The connections of another loop are of no use here.
            self._answered_at = -math.inf
        return BucketSlot(self)

    def stats(self) -> LimiterStats:
        """Return what the bucket is doing at this moment."""
        return LimiterStats(
            rate=1 / self._interval,
            waiting=len(self._waiters) + (self._turn is not None),
            in_flight=len(self._in_flight),
            rejections=self._rejections,
            frozen_for=max(0.0, self._ready_at - self._clock.time()),
        )

    @property
    def _has_room(self) -> bool:
        return len(self._in_flight) < (_MOST_IN_FLIGHT if self._by_grants else 1)

    @property
    def _step(self) -> float:
        """The seconds from one request to the next."""
        return self._interval * (1 + self._margin) if self._by_grants else self._interval

    def _forget_users(self) -> None:
        """Begin anew after a loop that was closed: nobody there will leave a slot or take a turn."""
        self._ready_at = self._pace().ready_at
        self._in_flight.clear()
        self._waiters.clear()
        self._turn = None
        self._timer = None

    def _forget_round_trips(self) -> None:
        self._by_grants = self._pacing == "grants"
        self._round_trips.clear()
        self._round_trips_seen = 0
        self._smallest_round_trip = math.inf
        self._margin = _MOST_MARGIN

    def _pace(self) -> Pace:
        # A request that nobody waits for any more may be counted as late as now.
        under_way_until = self._clock.time() + self._step if self._in_flight else -math.inf
        return Pace(max(self._ready_at, under_way_until), self._rung, self._calm_since)

    def _go_on_from(self, pace: Pace) -> None:
        self._ready_at, self._rung, self._calm_since = pace.ready_at, pace.rung, pace.calm_since
        self._change_rung(0)

    def _change_rung(self, by: int) -> None:
        self._rung = min(self._rung + by, _LOWEST_RUNG)
        self._interval = self._limit.interval * (1 << self._rung)

    def _grant_at_once(self, slot: "BucketSlot") -> bool:
        now = self._clock.time()
        if self._waiters or self._turn is not None or now < self._ready_at or not self._has_room:
            return False
        slot.steps_before = self._steps
        self._grant(slot, now)
        return True

    def _grant(self, slot: "BucketSlot", now: float) -> None:
        if self._rung and now - self._calm_since >= _PROBE_AFTER:
            self._calm_since = now
            self._change_rung(-1)
        if not self._in_flight and now - self._answered_at > max(_COLD_AFTER, 2 * self._interval):
            slot.opened_connection = True
            self._forget_round_trips()
        self._in_flight.add(slot)
        slot.granted_at = now
        self._ready_at = max(self._ready_at, now + self._step)

    def _advance(self) -> None:
        """Give the next turn if it has come, and see to it that it is not missed if it has not."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is None or self._loop.is_closed():
            return
        while self._waiters and self._has_room and self._turn is None:
            seconds_left = self._ready_at - self._clock.time()
            if seconds_left > 0:
                self._timer = self._clock.call_later(seconds_left, self._advance)
                return
            slot, turn = self._waiters.popitem(last=False)
            if not turn.done():
                slot.steps_before = self._steps
                self._turn = slot
                turn.set_result(None)

    async def _wait(self, slot: "BucketSlot") -> None:
        await self._turn_of(slot)
        while self._clock.time() < self._ready_at or not self._has_room:
            # A 429, a failure or a change of mode came between the turn and this: it stays the first.
            await self._turn_of(slot, is_first=True)
        # The task may run much later than its turn came: the interval counts from here.
        self._grant(slot, self._clock.time())
        self._advance()

    async def _turn_of(self, slot: "BucketSlot", *, is_first: bool = False) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiters[slot] = turn
        if is_first:
            self._waiters.move_to_end(slot, last=False)
        self._advance()
        try:
            await turn
        except BaseException:
            if self._turn is slot:
                self._turn = None
            elif self._waiters.pop(slot, None) is None:
                # It was passed over already, or its loop was closed and the bucket serves another one.
                raise
            self._advance()
            raise
        self._turn = None

    def _leave(self, slot: "BucketSlot", *, answered: bool) -> None:
        if slot not in self._in_flight:
            # Its loop was closed, and the bucket serves another one.
            return
        now = self._clock.time()
        self._in_flight.remove(slot)
        if answered:
            self._answered_at = now
            was_by_grants = self._by_grants
            if not slot.opened_connection:
                self._learn(now - slot.granted_at, now)
            # When the mode changes, the last request of the one and the first of the other keep apart, too.
            if not (was_by_grants and self._by_grants):
                self._ready_at = max(self._ready_at, now + self._interval - self._credit)
        else:
            self._ready_at = max(self._ready_at, now + self._step)
        if self._waiters:
            self._advance()

    @property
    def _credit(self) -> float:
        """The seconds that the last answer and the next request will surely be on their way, together.

        Half of the smallest round trip; less of it while few were seen, for they may all be slow by chance.
        """
        seen = self._round_trips_seen
        if seen < _SAMPLES_FOR_CREDIT:
            return 0.0
        return self._smallest_round_trip / 2 * min(1.0, seen / _SAMPLES)

    def _learn(self, round_trip: float, now: float) -> None:
        self._round_trips.append(round_trip)
        self._round_trips_seen = seen = self._round_trips_seen + 1
        if round_trip < self._smallest_round_trip:
            self._smallest_round_trip = round_trip
        if self._pacing != "answers" and seen >= _SAMPLES_TO_CHOOSE and seen % _CHOOSE_EVERY == 0:
            self._choose(sorted(self._round_trips), now)

    def _choose(self, trips: list[float], now: float) -> None:
        """Take the margin, and the mode if it is not given, from the latest round trips."""
        self._margin = min(max((trips[-1] - trips[0]) / 2 / self._interval, _LEAST_MARGIN), _MOST_MARGIN)
        if self._pacing == "auto":
            half_smallest = self._smallest_round_trip / 2
            share = self._interval / (self._interval + trips[len(trips) // 2] - half_smallest)
            if self._by_grants:
                self._by_grants = share <= _CHOOSE_ANSWERS_ABOVE
            else:
                self._by_grants = share < _CHOOSE_GRANTS_BELOW and now >= self._distrust_grants_until

    def _reject(self, slot: "BucketSlot", retry_after: float | None) -> None:
        now = self._clock.time()
        self._rejections += 1
        self._calm_since = now
        freeze = self.limit.per * (1 + _FREEZE_MARGIN) if retry_after is None else retry_after
        self._ready_at = max(self._ready_at, now + min(freeze, self._max_freeze))
        if slot.steps_before == self._steps:
            self._steps += 1
            self._change_rung(1)
        if self._pacing == "auto" and self._by_grants:
            self._by_grants = False
            self._distrust_grants_until = now + _DISTRUST_GRANTS


class BucketSlot:
    """A slot of a ``TokenBucket``; if it ``opened_connection``, or may have, its time is not looked at."""

    __slots__ = ("_bucket", "granted_at", "opened_connection", "reply", "steps_before")

    def __init__(self, bucket: TokenBucket) -> None:
        self._bucket = bucket
        self.granted_at = 0.0
        self.opened_connection = False
        self.steps_before = 0
        self.reply: Reply | None = None

    def done(self, reply: Reply) -> None:
        self.reply = reply
        if isinstance(reply, Response):
            self.opened_connection |= reply.opened_connection
            if reply.status_code == 429:
                self._bucket._reject(self, reply.retry_after)

    async def __aenter__(self) -> Self:
        if not self._bucket._grant_at_once(self):
            await self._bucket._wait(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bucket._leave(self, answered=isinstance(self.reply, Response))
