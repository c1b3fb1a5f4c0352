"""An event loop whose clock jumps to the next thing that is due, so that no test waits."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

from statuslookup._clock import SystemClock, Timer


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            # Only another thread can end this wait, and only for a short while.
            events = super().select(self.loop.patience)
            if not events:
                raise RuntimeError("deadlock: every task waits, and nothing is due")
            return events
        self.loop.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs timers in their order, each at its exact time, without waiting for it."""

    patience = 10.0
    """How many seconds of real time it waits for a thread where nothing else is due."""

    def __init__(self) -> None:
        self._now = 1000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        """Let time pass; from inside a callback, this is a loop that was blocked."""
        self._now += seconds

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads in real time: they would not end within a timeout that is jumped over."""
        await super().shutdown_default_executor()


class LoopClock(SystemClock):
    """The running loop's own time, for clients that are tested on a ``VirtualTimeLoop``."""

    @staticmethod
    def time() -> float:
        return asyncio.get_running_loop().time()


class HandClock:
    """A clock for the sandbox that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class ManualClock:
    """A clock that a test drives by hand, without a loop: ``advance`` runs what comes due, in order."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._timers: list[_ManualTimer] = []

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        timer = _ManualTimer(self._now + delay, callback, arguments)
        self._timers.append(timer)
        return timer

    @property
    def timers(self) -> int:
        """How many calls are due some time."""
        return sum(not timer.is_cancelled for timer in self._timers)

    def stop(self, seconds: float) -> None:
        """Let time pass without running what comes due meanwhile, as where the process is stopped."""
        self._now += seconds

    def advance(self, seconds: float) -> None:
        until = self._now + seconds
        while True:
            due = [timer for timer in self._timers if not timer.is_cancelled and timer.when <= until]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.when)
            self._timers.remove(timer)
            self._now = max(self._now, timer.when)
            timer.callback(*timer.arguments)
        self._now = until


class _ManualTimer:
    def __init__(self, when: float, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.when = when
        self.callback = callback
        self.arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
