"""Ends waits whose time is up."""

from itertools import takewhile
from typing import Final, Protocol

from .._clock import Clock, Timer

_TICK: Final = 0.01


class Expiring(Protocol):
    """Somebody who waits no longer than a timeout."""

    def expire(self, timeout: float) -> None:
        """End the wait: ``timeout`` seconds have passed."""


class Deadlines:
    """Ends each wait when its timeout has passed, a hundredth of a second later at most.

    One timer serves all waits with the same timeout, because a timer for each of many thousand lookups
    would cost as much as half of all the rest. No timer is left when nobody waits.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Waits with the same timeout end in the order in which they began, so the first is the next.
        self._waiting: dict[float, dict[Expiring, float]] = {}
        self._timers: dict[float, Timer] = {}

    def add(self, waiter: Expiring, timeout: float) -> None:
        """Let the waiter expire in ``timeout`` seconds."""
        waiting = self._waiting.get(timeout)
        if waiting is None:
            waiting = self._waiting[timeout] = {}
            self._timers[timeout] = self._clock.call_later(timeout, self._expire, timeout)
        waiting[waiter] = self._clock.time() + timeout

    def discard(self, waiter: Expiring, timeout: float) -> None:
        """Forget the waiter, if it is still waited for."""
        waiting = self._waiting.get(timeout)
        if waiting is not None and waiting.pop(waiter, None) is not None and not waiting:
            del self._waiting[timeout]
            self._timers.pop(timeout).cancel()

    def _expire(self, timeout: float) -> None:
        waiting = self._waiting[timeout]
        now = self._clock.time()
        for waiter in list(takewhile(lambda waiter: waiting[waiter] <= now, waiting)):
            waiter.expire(timeout)
            self.discard(waiter, timeout)
        if self._waiting.get(timeout) is waiting:
            delay = next(iter(waiting.values())) - now
            self._timers[timeout] = self._clock.call_later(max(delay, _TICK), self._expire, timeout)
