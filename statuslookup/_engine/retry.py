"""Which failures are asked again, and when."""

import random
from collections.abc import Callable

from attrs import Attribute, field, frozen

from .._arguments import number, whole
from ..errors import ProviderError, RateLimitedError, ResponseError


def _whole_and_positive(_: object, attribute: "Attribute[int]", value: object) -> None:
    whole(attribute.name, value, least=1)


def _not_negative(_: object, attribute: "Attribute[float]", value: object) -> None:
    number(attribute.name, value, what="a number of seconds", least=0)


@frozen(kw_only=True)
class RetryPolicy:
    """Asks again after failures that may pass: no answer, 5xx, 499, 429; everything else is final.

    A key is asked at most ``attempts`` times. Before the second time there is a pause of 0 to ``backoff``
    seconds, by chance ("full jitter"), before each further one of up to twice as much, and it is at least
    what the provider's ``Retry-After`` asks for, but ``max_backoff`` at most; while it lasts no queued key
    is sent. A 429 does not count as an attempt: the rate limit makes it wait, until its deadline if need be.
    ``random`` gives the chance.
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
            longest = self.backoff
        elif error.is_transient and attempts < self.attempts:
            longest = min(self.max_backoff, self.backoff * 2.0 ** min(attempts - 1, 60))
        else:
            return None
        asked_for = error.retry_after if isinstance(error, ResponseError) else None
        return min(self.max_backoff, max(asked_for or 0.0, self.random() * longest))
