"""One token bucket for all clients that a provider counts together."""

import asyncio
import threading
import warnings
from collections.abc import Hashable
from weakref import WeakSet, WeakValueDictionary

from ._clock import Clock
from ._limiter import TokenBucket
from ._model import RateLimit


class _Budget:
    """What a provider counts together."""

    def __init__(self) -> None:
        self.shares: WeakSet[_Share] = WeakSet()


class _Share:
    """The bucket that an event loop has for a budget, and the limits that its clients were given."""

    def __init__(
        self, budget: _Budget, loop: asyncio.AbstractEventLoop, clock: Clock, bucket: TokenBucket
    ) -> None:
        self.budget = budget
        self.loop = loop
        self.clock = clock
        self.bucket = bucket
        self.limits: list[RateLimit] = []

    def hold_strictest(self) -> None:
        # A copy, because a client may be garbage collected, and leave, in the middle of this.
        limits = tuple(self.limits)
        self.bucket.limit = max(limits, key=lambda limit: limit.interval, default=self.bucket.limit)

    def ready_at(self) -> float:
        """Return when the next request may go if this bucket grants no more."""
        stats = self.bucket.stats()
        # A request that nobody waits for any more may be counted as late as now.
        under_way = 1 / stats.rate if stats.in_flight else 0.0
        return self.clock.time() + max(stats.frozen_for, under_way)


# The loops of several threads come here, and clients that are garbage collected in the middle of it.
_lock = threading.RLock()
# A client holds its share, and that the budget; a loop that ended without closing its clients is not kept.
_budgets: WeakValueDictionary[Hashable, _Budget] = WeakValueDictionary()
_ready_at: dict[tuple[Hashable, Clock], float] = {}


class SharedBucket:
    """A client's part in the one bucket that its event loop has for a budget.

    Where the clients' limits differ, the strictest one holds for all. The last one to release it leaves
    behind when the next request may go, and so does a loop that was closed, so that a client that is made
    right after does not come too early. That holds between clients with the same clock.
    """

    def __init__(
        self, budget: Hashable, limit: RateLimit, *, loop: asyncio.AbstractEventLoop, clock: Clock
    ) -> None:
        is_second = False
        with _lock:
            shared = _budgets.setdefault(budget, _Budget())
            # One that was released may still be there, in a traceback for example.
            shares = [share for share in shared.shares if share.limits]
            share = next((share for share in shares if share.loop is loop), None)
            if share is None:
                for other in shares:
                    if other.loop.is_closed():
                        shared.shares.discard(other)
                        _leave_behind(budget, other)
                    else:
                        is_second = True
                bucket = TokenBucket(limit, clock=clock, ready_at=_left_behind(budget, clock))
                share = _Share(shared, loop, clock, bucket)
                shared.shares.add(share)
            share.limits.append(limit)
            share.hold_strictest()
        self.bucket = share.bucket
        self._budget = budget
        self._limit = limit
        self._share: _Share | None = share
        if is_second:
            self._warn()

    def _warn(self) -> None:
        try:
            warnings.warn(
                f"two event loops in this process look up statuses at {self._budget!r}: each keeps to the"
                " rate limit, but the two together can pass it; use one loop, or give each client a limiter"
                " of its own with a part of the limit",
                RuntimeWarning,
                # The line that uses the client: four frames of this package lie between.
                stacklevel=5,
            )
        except RuntimeWarning:
            # Where warnings are errors, nobody gets this object, so nobody else can release it.
            self.release()
            raise

    def release(self) -> None:
        """Leave the bucket to the others; a second time does nothing."""
        with _lock:
            share, self._share = self._share, None
            if share is None:
                return
            share.limits.remove(self._limit)
            share.hold_strictest()
            if not share.limits:
                _leave_behind(self._budget, share)


def _leave_behind(budget: Hashable, share: _Share) -> None:
    key, moment = (budget, share.clock), share.ready_at()
    _ready_at[key] = max(moment, _ready_at.get(key, moment))


def _left_behind(budget: Hashable, clock: Clock) -> float | None:
    for key, moment in tuple(_ready_at.items()):
        if moment <= key[1].time():
            _ready_at.pop(key, None)
    return _ready_at.get((budget, clock))
