"""Which failures are asked again, and when."""

import random
from collections.abc import Callable

from attrs import field, frozen, validators

from .errors import ProviderError, RateLimitedError, ServerError, TransportError


@frozen(kw_only=True)
class RetryPolicy:
    """Asks again after failures that may pass: no answer, 5xx, 499 and 429; everything else is final.

    A key is asked at most ``attempts`` times. Before the second time there is a pause of 0 to ``backoff``
    seconds, by chance ("full jitter"), before each further one of up to twice as much, ``max_backoff`` at
    most; while it lasts no queued key is sent. A 429 does not count as an attempt: the rate limit makes it
    wait, until its deadline if need be. ``random`` gives the chance.
    """

    attempts: int = field(default=4, validator=[validators.instance_of(int), validators.ge(1)])
    """The most times that a key is asked; 1 asks nothing again."""
    backoff: float = field(default=0.5, validator=validators.ge(0))
    """The longest pause before the second attempt, in seconds."""
    max_backoff: float = field(default=30.0, validator=validators.ge(0))
    """The longest pause of all, in seconds."""
    random: Callable[[], float] = field(default=random.random, repr=False, eq=False)
    """Gives the chance: a number from 0 up to, but not including, 1."""

    def delay(self, error: ProviderError, attempts: int) -> float | None:
        """Return the seconds to wait before the next attempt, or ``None`` to give up.

        ``attempts`` is how often the key was asked and failed, this error included.
        """
        if isinstance(error, RateLimitedError):
            # A limit that asks for no pause, and is off here, must not be hammered.
            return min(self.max_backoff, max(error.retry_after or 0.0, self.random() * self.backoff))
        if isinstance(error, TransportError | ServerError) and attempts < self.attempts:
            return self.random() * min(self.max_backoff, self.backoff * 2.0 ** min(attempts - 1, 60))
        return None
