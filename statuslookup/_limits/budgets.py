"""One token bucket for all clients that a provider counts together."""

import asyncio
import threading
import warnings
from collections.abc import Hashable
from weakref import WeakSet, WeakValueDictionary

from .._clock import Clock
from .._model import RateLimit
from .pacer import Pace
from .token_bucket import TokenBucket


class _Share:
    """The bucket that an event loop has for a budget, and the limits that its clients were given."""

    def __init__(
        self, shares: "WeakSet[_Share]", loop: asyncio.AbstractEventLoop, clock: Clock, bucket: TokenBucket
    ) -> None:
        self.shares = shares
        """Those of the budget, of all event loops."""
        self.loop = loop
        self.clock = clock
        self.bucket = bucket
        self.limits: list[RateLimit] = []
        self.is_over = False
        """Whether nobody uses it any more: all clients have released it, or its loop was closed."""

    def hold_strictest(self) -> None:
        # A copy, because a client may be garbage collected, and leave, in the middle of this.
        limits = tuple(self.limits)
        self.bucket.limit = max(limits, key=_strictness, default=self.bucket.limit)


# The loops of several threads come here, and clients that are garbage collected in the middle of it.
_lock = threading.RLock()
# A client holds its share, and that the others'; a loop that ended without closing its clients is not kept.
_budgets: WeakValueDictionary[Hashable, WeakSet[_Share]] = WeakValueDictionary()
_left_behind: dict[tuple[Hashable, Clock], Pace] = {}


def _strictness(limit: RateLimit) -> tuple[float, float]:
    # Of two requests in 1 s and ten in 5 s, the first keeps both.
    return limit.interval, -limit.per


class SharedBucket:
    """A client's part in the one bucket that its event loop has for a budget.

    Where the clients' limits differ, the strictest one holds for all. The last one to release it leaves
    behind when the next request may go and how far a 429 slowed the bucket down, and so does a loop that was
    closed: a client that is made right after does not come too early, and need not learn by a 429 of its
    own. That holds between clients with the same clock.
    """

    def __init__(
        self, budget: Hashable, limit: RateLimit, *, loop: asyncio.AbstractEventLoop, clock: Clock
    ) -> None:
        is_second = False
        with _lock:
            all_shares = _budgets.setdefault(budget, WeakSet())
            # One that was released may still be there, in a traceback for example.
            shares = [share for share in all_shares if not share.is_over]
            share = next((share for share in shares if share.loop is loop), None)
            if share is None:
                for other in shares:
                    if other.loop.is_closed():
                        _leave_behind(budget, other)
                    else:
                        is_second = True
                bucket = TokenBucket(limit, clock=clock)
                _go_on(budget, clock, bucket)
                share = _Share(all_shares, loop, clock, bucket)
                all_shares.add(share)
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
                " rate limit, but the two together can pass it; use one loop",
                RuntimeWarning,
                # The line that uses the client: five frames of this package lie between.
                stacklevel=6,
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
            if not share.limits and not share.is_over:
                _leave_behind(self._budget, share)


def _leave_behind(budget: Hashable, share: _Share) -> None:
    share.is_over = True
    key, pace = (budget, share.clock), share.bucket._pace()
    other = _left_behind.get(key)
    _left_behind[key] = pace if other is None else pace.joined(other)


def _go_on(budget: Hashable, clock: Clock, bucket: TokenBucket) -> None:
    # Also what nobody came back for goes, so no more is kept than was used of late.
    for key, pace in tuple(_left_behind.items()):
        if pace.lasts_until <= key[1].time():
            _left_behind.pop(key, None)
    # It stays, because another loop's bucket may need it, too.
    before = _left_behind.get((budget, clock))
    if before is not None:
        bucket._go_on_from(before)
