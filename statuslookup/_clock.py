"""The clock as an argument."""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol


class Timer(Protocol):
    """A call that is due; it can be cancelled."""

    def cancel(self) -> None:
        """Let the call not come; a second time, or after it came, this does nothing."""


class Clock(Protocol):
    """A monotonic time in seconds, and calls that come due on it in the running event loop.

    A test that does not want to wait gives the client, and the limiter, one that jumps.
    """

    def time(self) -> float:
        """Return the seconds since some moment in the past; they never go back."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        """Call ``callback(*arguments)`` once in ``delay`` seconds, in the event loop that runs now."""
        ...


class SystemClock:
    """The machine's monotonic clock.

    ``loop.time()`` would not do: uvloop reads it once an iteration, so a moment taken after a long
    callback would lie in the past.
    """

    time = staticmethod(time.monotonic)

    def __repr__(self) -> str:
        return "SystemClock()"

    @staticmethod
    def call_later(delay: float, callback: Callable[..., object], *arguments: Any) -> Timer:
        # In a context of its own, because a timer may set the next one for as long as there is work: whatever
        # the first caller's context holds would live as long.
        loop = asyncio.get_running_loop()
        if not delay:
            # It need not find its place among the timers.
            return loop.call_soon(callback, *arguments, context=Context())
        return loop.call_later(delay, callback, *arguments, context=Context())


SYSTEM_CLOCK = SystemClock()
