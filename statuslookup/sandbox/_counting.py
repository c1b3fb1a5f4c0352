"""How a server counts requests against its rate limit, decided from their times alone."""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from .._model import RateLimit

Counting = Literal["fixed_window", "sliding_window", "spacing"]
"""How a server counts requests against its rate limit.

``fixed_window``: so many in each window of the clock; windows begin at the multiples of ``per``.
``sliding_window``: so many in any ``per`` seconds.
``spacing``: each at least ``per / limit`` seconds after the last one that was counted.
"""

# A clock that is added up in floats misses a round time by a hair. That is no request too early.
_TOLERANCE = 1e-9


class Window(ABC):
    """Decides which requests a server's rate limit admits, from their times alone."""

    def admit(self, now: float, rate_limit: RateLimit, *, count_rejected: bool) -> bool:
        """Return whether a request at ``now`` is within the limit; ``now`` never goes back."""
        admitted = self._has_capacity(now, rate_limit)
        if admitted or count_rejected:
            self._count(now)
        return admitted

    @abstractmethod
    def _has_capacity(self, now: float, rate_limit: RateLimit) -> bool: ...

    @abstractmethod
    def _count(self, now: float) -> None: ...


class FixedWindow(Window):
    def __init__(self) -> None:
        self._window = (0.0, 0)
        self._counted = 0

    def _has_capacity(self, now: float, rate_limit: RateLimit) -> bool:
        window = (rate_limit.per, math.floor((now + _TOLERANCE) / rate_limit.per))
        if window != self._window:
            self._window = window
            self._counted = 0
        return self._counted < rate_limit.limit

    def _count(self, now: float) -> None:
        self._counted += 1


class SlidingWindow(Window):
    def __init__(self) -> None:
        self._counted: deque[float] = deque()

    def _has_capacity(self, now: float, rate_limit: RateLimit) -> bool:
        while self._counted and now - self._counted[0] >= rate_limit.per - _TOLERANCE:
            self._counted.popleft()
        return len(self._counted) < rate_limit.limit

    def _count(self, now: float) -> None:
        self._counted.append(now)


class Spacing(Window):
    def __init__(self) -> None:
        self._last = -math.inf

    def _has_capacity(self, now: float, rate_limit: RateLimit) -> bool:
        return now - self._last >= rate_limit.interval - _TOLERANCE

    def _count(self, now: float) -> None:
        self._last = now


WINDOWS: Mapping[Counting, type[Window]] = MappingProxyType(
    {"fixed_window": FixedWindow, "sliding_window": SlidingWindow, "spacing": Spacing}
)
