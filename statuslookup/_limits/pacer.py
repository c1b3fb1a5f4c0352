"""Decides when the next request may go: told the times and the replies, without a clock and without I/O."""

import math
from collections import deque
from itertools import islice
from typing import Final, Literal, TypeAlias, get_args

from attrs import define, frozen

from .._arguments import number
from .._model import RateLimit
from ..errors import ProviderError
from .limiter import Reply

Pacing: TypeAlias = Literal["auto", "spaced", "windowed"]
"""How a ``TokenBucket`` keeps the limit: spaced, windowed, or whichever suits the round trips."""

_RENAMED: Final = {
    "answers": 'it is called "spaced" now',
    "grants": 'it could break the limit where ways vary, so it is gone: write "auto" or "windowed"',
}

_LOWEST_RUNG: Final = 6
_PROBE_AFTER: Final = 30.0
_FREEZE_MARGIN: Final = 0.1
_SAMPLES: Final = 20
_SAMPLES_FOR_CREDIT: Final = 5
# HTTP clients keep a connection that nobody uses for 5 s or longer.
_COLD_AFTER: Final = 3.0
_SAMPLES_TO_CHOOSE: Final = 10
_CHOOSE_EVERY: Final = 5
_WINDOWED_BELOW: Final = 0.60
_SPACED_ABOVE: Final = 0.65
_DISTRUST_WINDOWED: Final = 600.0
# Requests stay spaced only while their usual round trip takes less than 1.4 intervals.
_PATIENCE_INTERVALS: Final = 3
_LEAST_PATIENCE: Final = 1.0


@frozen
class Pace:
    """Where a pacer stands, for another one of the same budget to go on from."""

    ready_at: float
    """The moment before which a pacer that knows nothing else must not grant."""
    rung: int
    """How often the rate is halved."""
    calm_since: float
    """The moment of the last 429, or of the probe that went well after it."""

    @property
    def lasts_until(self) -> float:
        """The moment from which a pacer that knows nothing of this does as well."""
        return max(self.ready_at, self.calm_since + self.rung * _PROBE_AFTER)

    def joined(self, other: "Pace") -> "Pace":
        """Return what holds after both: the later moment, and the rung that was reached last."""
        calm_since, rung = max((self.calm_since, self.rung), (other.calm_since, other.rung))
        return Pace(max(self.ready_at, other.ready_at), rung, calm_since)


@define(eq=False)
class Grant:
    """One request that a pacer let go, until the pacer is told what came of it."""

    at: float
    before: float
    """The moment of the grant before this one."""
    halvings: int
    """How often the rate had been halved until then."""
    is_cold: bool
    """Whether it probably opens a connection, because the last response was long ago."""


class Pacer:
    """Says from which moment on the next request may go, so that a provider counts no request too many.

    A request is counted at some moment between its grant and its reply; nothing else is certain. It holds
    one of ``limit`` places from its grant until one period after it was counted at the latest, and only
    where a place is free may a request go: so no window holds too many. Grants are an interval apart.

    Spaced, requests go one at a time besides, each an interval after the reply: so none are counted closer.
    The page "rate limits" of the documentation has the proofs, the credit and the choice between the two.
    """

    def __init__(self, limit: RateLimit, *, pacing: Pacing = "auto", max_freeze: float = 60.0) -> None:
        if pacing not in get_args(Pacing):
            why = f"; {_RENAMED[pacing]}" if pacing in _RENAMED else ""
            raise ValueError(f'pacing must be "auto", "spaced" or "windowed", not {pacing!r}{why}')
        self._pacing = pacing
        self._max_freeze = number("max_freeze", max_freeze, what="a number of seconds", above=0)
        self._rung = 0
        self.limit = limit
        self.rejections = 0
        self._halvings = 0
        self._calm_since = -math.inf
        self._frozen_until = -math.inf
        self._distrust_windowed_until = -math.inf
        self._granted_at = -math.inf
        self._answered_at = -math.inf
        self._in_flight: dict[Grant, None] = {}
        self._counted_by: deque[float] = deque()
        """The moments, in order, by which the requests of the last period were counted, less the credit."""
        self._round_trips: deque[float] = deque(maxlen=_SAMPLES)
        self.is_windowed = False
        """Whether requests are windowed because of ``pacing`` or of the round trips."""
        self._forget_round_trips()

    @property
    def limit(self) -> RateLimit:
        """The most that is allowed; a new one counts from the next request, and keeps the rung."""
        return self._limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        if not isinstance(limit, RateLimit):
            raise TypeError(f"limit is a RateLimit, not {type(limit).__name__}")
        self._limit = limit
        self._go_to_rung(self._rung)

    @property
    def rate(self) -> float:
        """The requests a second that it allows at most."""
        return 1 / self._interval

    @property
    def interval(self) -> float:
        """The seconds between two requests."""
        return self._interval

    @property
    def period(self) -> float:
        """The seconds for which a request has its place."""
        return self._period

    @property
    def places(self) -> int:
        """How many requests there may be in a period."""
        return self._places

    @property
    def counted_by(self) -> float:
        """The moment by which the last request was counted, less the credit."""
        return self._counted_by[-1] if self._counted_by else -math.inf

    @property
    def frozen_until(self) -> float:
        """The moment until which a 429 holds everything back."""
        return self._frozen_until

    @property
    def in_flight(self) -> int:
        """How many requests are granted and have no reply yet."""
        return len(self._in_flight)

    @property
    def next_at(self) -> float:
        """The moment from which the next request may go; infinite while only a reply can free a place."""
        return self._next_at(len(self._in_flight))

    @property
    def held_until(self) -> float:
        """The moment from which the next request may go if no reply has to come first."""
        return self._next_at(0)

    def _next_at(self, in_flight: int) -> float:
        at = max(self._frozen_until, self._granted_at + self._interval)
        free = self._places - in_flight
        if free <= 0:
            return math.inf
        counted_by = self._counted_by
        if len(counted_by) >= free:
            at = max(at, counted_by[-free] + self._period)
        if self.is_windowed:
            return at
        if not in_flight:
            return max(at, counted_by[-1] + self._interval) if counted_by else at
        if self._pacing == "spaced":
            return math.inf
        # A request that takes unusually long keeps its own place, and the others go on windowed.
        oldest = next(iter(self._in_flight))
        return max(at, oldest.at + self._patience, self._distrust_windowed_until)

    def grant(self, now: float) -> Grant:
        """Let a request go; the caller has seen to it that ``next_at`` has come."""
        if self._rung and now - self._calm_since >= _PROBE_AFTER:
            self._calm_since = now
            self._go_to_rung(self._rung - 1)
        is_cold = not self._in_flight and now - self._answered_at > max(_COLD_AFTER, 2 * self._interval)
        if is_cold:
            self._forget_round_trips()
        grant = Grant(now, self._granted_at, self._halvings, is_cold)
        self._in_flight[grant] = None
        self._granted_at = now
        return grant

    def unused(self, grant: Grant) -> None:
        """Take back a grant for which nothing was sent."""
        if grant in self._in_flight:
            del self._in_flight[grant]
            if self._granted_at == grant.at:
                self._granted_at = grant.before

    def done(self, grant: Grant, reply: Reply, now: float) -> None:
        """Take what came of a request; a second time this does nothing."""
        if grant not in self._in_flight:
            return
        del self._in_flight[grant]
        if isinstance(reply, ProviderError):
            self._count(now)
            return
        self._answered_at = now
        if not (grant.is_cold or reply.opened_connection):
            self._learn(now - grant.at, now)
        self._count(now - self.credit)
        if reply.status_code == 429:
            self._slow_down(grant, reply.retry_after, now)

    def abandon(self, now: float) -> None:
        """Give up what is under way, because nobody will tell; it may have been counted until now."""
        for _ in self._in_flight:
            self._count(now)
        self._in_flight.clear()

    def change_connections(self) -> None:
        """Expect that the next request opens a connection."""
        self._answered_at = -math.inf

    def pace(self, now: float) -> Pace:
        """Return where another pacer may go on from, one that knows nothing of the requests before."""
        counted_by = [now] * len(self._in_flight) + list(reversed(self._counted_by))
        # The other one's requests are an interval apart, so these may be as close as if they were, too.
        ready_at = max(
            (by + place * self._interval for place, by in enumerate(islice(counted_by, self._places), 1)),
            default=-math.inf,
        )
        return Pace(max(self._frozen_until, ready_at), self._rung, self._calm_since)

    def go_on_from(self, pace: Pace) -> None:
        """Go on from where another pacer of the same budget stood."""
        self._frozen_until = max(self._frozen_until, pace.ready_at)
        self._calm_since = pace.calm_since
        self._go_to_rung(pace.rung)

    def _go_to_rung(self, rung: int) -> None:
        self._rung = min(rung, _LOWEST_RUNG)
        allowed = self._limit.limit / (1 << self._rung)
        # Half a request more would be one too many in some windows; less than one is one in a longer period.
        self._places = max(1, math.floor(allowed))
        self._period = max(self._limit.per, self._limit.per / allowed)
        self._interval = self._period / self._places
        self._patience = max(_LEAST_PATIENCE, _PATIENCE_INTERVALS * self._interval)

    def _count(self, by: float) -> None:
        """Keep the place of a request that was counted ``by`` then, and forget those that are free again."""
        counted_by = self._counted_by
        while counted_by and counted_by[0] <= by - self._period:
            counted_by.popleft()
        counted_by.append(max(by, counted_by[-1]) if counted_by else by)

    def _slow_down(self, grant: Grant, retry_after: float | None, now: float) -> None:
        self.rejections += 1
        self._calm_since = now
        freeze = self._limit.per * (1 + _FREEZE_MARGIN) if retry_after is None else retry_after
        self._frozen_until = max(self._frozen_until, now + min(freeze, self._max_freeze))
        # Requests that were under way together say the same thing, and say it once.
        if grant.halvings == self._halvings:
            self._halvings += 1
            self._go_to_rung(self._rung + 1)
        if self._pacing == "auto" and self.is_windowed:
            self.is_windowed = False
            self._distrust_windowed_until = now + _DISTRUST_WINDOWED

    # --- round trips ----------------------------------------------------------------------------------

    def _forget_round_trips(self) -> None:
        self.is_windowed = self._pacing == "windowed"
        self._round_trips.clear()
        self._round_trips_seen = 0
        self._smallest_round_trip = math.inf

    @property
    def credit(self) -> float:
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
        if self._pacing == "auto" and seen >= _SAMPLES_TO_CHOOSE and seen % _CHOOSE_EVERY == 0:
            self._choose(now)

    def _choose(self, now: float) -> None:
        """Choose the pacing by the share of the rate that spaced requests would reach."""
        trips = sorted(self._round_trips)
        lost = trips[len(trips) // 2] - self._smallest_round_trip / 2
        share = self._interval / (self._interval + lost)
        if self.is_windowed:
            self.is_windowed = share <= _SPACED_ABOVE
        else:
            self.is_windowed = share < _WINDOWED_BELOW and now >= self._distrust_windowed_until
