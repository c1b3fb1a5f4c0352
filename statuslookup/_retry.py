"""Which failures are asked again, and when."""

import math
import random
from collections.abc import Callable

from attrs import Attribute, field, frozen

from .errors import ProviderError, RateLimitedError, ServerError, TransportError


def _whole_and_positive(_: object, attribute: "Attribute[int]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute.name} is an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{attribute.name} must be 1 or more, not {value}")


def _not_negative(_: object, attribute: "Attribute[float]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} is a number of seconds, not {type(value).__name__}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be 0 or more seconds, and finite, not {value}")


@frozen(kw_only=True)
class RetryPolicy:
    """Asks again after failures that may pass: no answer, 5xx, 499 and 429; everything else is final.

    A key is asked at most ``attempts`` times. Before the second time there is a pause of 0 to ``backoff``
    seconds, by chance ("full jitter"), before each further one of up to twice as much, ``max_backoff`` at
    most; while it lasts no queued key is sent. A 429 does not count as an attempt: the rate limit makes it
    wait, until its deadline if need be. ``random`` gives the chance.
    """

    attempts: int = field(default=4, validator=_whole_and_positive)
    """The most times that a key is asked; 1 asks nothing again."""
    backoff: float = field(default=0.5, validator=_not_negative)
    """The longest pause before the second attempt, in seconds."""
    max_backoff: float = field(default=30.0, validator=_not_negative)
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
