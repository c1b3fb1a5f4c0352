"""One token bucket for all clients that a provider counts together."""

import asyncio
import threading
import warnings
from collections.abc import Hashable
from weakref import WeakKeyDictionary

from ._clock import Clock
from ._limiter import TokenBucket
from ._model import RateLimit


class _Share:
    """The bucket of one event loop, and the limits that its clients were given."""

    def __init__(self, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.limits: list[RateLimit] = []

    def hold_strictest(self) -> None:
        self.bucket.limit = min(self.limits, key=lambda limit: 1 / limit.interval)


class _Budget:
    """What a provider counts together: a share for each event loop, and when the next request may go."""

    def __init__(self) -> None:
        self.shares: WeakKeyDictionary[asyncio.AbstractEventLoop, _Share] = WeakKeyDictionary()
        self.ready_at: dict[Clock, float] = {}

    def is_over(self) -> bool:
        return not self.shares and all(moment <= clock.time() for clock, moment in self.ready_at.items())


# The loops of several threads come here, and clients that are garbage collected in the middle of it.
_lock = threading.RLock()
_budgets: dict[Hashable, _Budget] = {}


class SharedBucket:
    """A client's part in the one bucket that its event loop has for a budget.

    Where the clients' limits differ, the strictest one holds for all. The last one to release it leaves
    behind when the next request may go, so that a client that is made right after does not come too early.
    """

    def __init__(
        self, budget: Hashable, limit: RateLimit, *, loop: asyncio.AbstractEventLoop, clock: Clock
    ) -> None:
        with _lock:
            for other in [key for key, value in _budgets.items() if value.is_over()]:
                del _budgets[other]
            shared = _budgets.setdefault(budget, _Budget())
            is_elsewhere = any(not other.is_closed() for other in shared.shares if other is not loop)
            share = shared.shares.get(loop)
            if share is None:
                bucket = TokenBucket(limit, clock=clock, ready_at=shared.ready_at.get(clock))
                share = shared.shares[loop] = _Share(bucket)
            share.limits.append(limit)
            share.hold_strictest()
        self.bucket = share.bucket
        self._shared = shared
        self._share: _Share | None = share
        self._limit = limit
        self._loop = loop
        self._clock = clock
        if is_elsewhere:
            warnings.warn(
                f"two event loops in this process look up statuses at {budget!r}: each keeps to the rate"
                " limit, but the two together can pass it; use one loop, or give each client a limiter of its"
                " own with a part of the limit",
                RuntimeWarning,
                stacklevel=2,
            )

    def release(self) -> None:
        """Leave the bucket to the others; a second time does nothing."""
        with _lock:
            share, self._share = self._share, None
            if share is None:
                return
            share.limits.remove(self._limit)
            if share.limits:
                share.hold_strictest()
                return
            self._shared.shares.pop(self._loop, None)
            self._shared.ready_at[self._clock] = self._clock.time() + share.bucket.stats().frozen_for
