"""A sleep that can be ended, on a clock that is an argument."""

import asyncio

from .._clock import Clock


class Alarm:
    """Lets one task sleep until a time, or until somebody rings."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleeper: asyncio.Future[None] | None = None
        self.due: float | None = None
        """When the sleep ends by itself; ``None`` while nobody sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or when the alarm rings."""
        sleeper = asyncio.get_running_loop().create_future()
        self._sleeper, self.due = sleeper, self._clock.time() + seconds
        timer = self._clock.call_later(seconds, self.ring)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleeper = self.due = None

    def ring(self) -> None:
        """Wake who sleeps; if nobody does, this does nothing."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
