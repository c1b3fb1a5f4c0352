"""What came of an attempt: to be asked again, final, or out of time."""

from collections.abc import Sequence
from typing import Generic

from attrs import field, frozen

from .._model import AnswerT, KeyT
from ..errors import LookupTimeoutError, ProviderError, RateLimitedError, ResponseError, StatusLookupError
from ..providers.base import Outcomes
from .lanes import OpenKey
from .retry import RetryPolicy


@frozen
class Verdict(Generic[KeyT, AnswerT]):
    """What is to be done about the keys of a reply that failed."""

    again: list[OpenKey[KeyT, AnswerT]] = field(factory=list)
    """Those to ask again, in order."""
    pause: float = 0.0
    """The seconds before that."""
    problem: ProviderError | None = None
    """What may pass, if anything."""


def judge(
    failed: Sequence[tuple[OpenKey[KeyT, AnswerT], StatusLookupError]],
    outcomes: Outcomes[KeyT, AnswerT],
    retry: RetryPolicy,
) -> Verdict[KeyT, AnswerT]:
    """Take the keys that are to be asked again out of ``outcomes``, and count the attempts of the others."""
    again: list[OpenKey[KeyT, AnswerT]] = []
    pause, problem = 0.0, None
    # Draw the delay once a reply: the largest of 200 random delays would nearly always be the maximum.
    delays: dict[tuple[type[ProviderError], float | None, int], float | None] = {}
    for open_key, error in failed:
        if not isinstance(error, ProviderError):
            outcomes[open_key.key] = error.fresh()
            continue
        # It leads to the frames of the exchange, and they to all its outcomes: to this error, in a circle.
        error.__traceback__ = None
        if not isinstance(error, RateLimitedError):
            open_key.attempts += 1
        if error.is_transient:
            problem = error
        asked_for = error.retry_after if isinstance(error, ResponseError) else None
        kind = type(error), asked_for, open_key.attempts
        if kind not in delays:
            delays[kind] = retry.delay(error, open_key.attempts)
        delay = delays[kind]
        if delay is None:
            outcomes[open_key.key] = final = error.fresh()
            final.attempts = max(1, open_key.attempts)
        else:
            del outcomes[open_key.key]
            open_key.failure = error
            again.append(open_key)
            pause = max(pause, delay)
    return Verdict(again, pause, problem)


def too_late(
    open_key: OpenKey[KeyT, AnswerT],
    timeout: float,
    *,
    now: float,
    asked_at: float | None,
    frozen_by: RateLimitedError | None,
) -> StatusLookupError:
    """Say where a lookup's time went; what others waited for the key before it does not count.

    ``asked_at`` is since when a grant is waited for, ``frozen_by`` the 429 that holds back all keys. If the
    provider's last word of this key was 429, that is the error: it is why the time did not suffice.
    """
    laps = list(open_key.laps or ())
    failure = open_key.failure
    if failure is None and open_key.batch is None:
        failure = frozen_by
    if failure is not None:
        failure = failure.fresh()
        failure.attempts = max(1, len(laps))
    if isinstance(failure, RateLimitedError) and open_key.failure is not None:
        return failure
    if open_key.batch is not None:
        laps.append((open_key.batch.asked_at, open_key.batch.sealed_at, now))
    elif asked_at is not None:
        laps.append((asked_at, now, now))
    began_at = now - timeout
    paced = sum(max(0.0, sealed_at - max(asked_at, began_at)) for asked_at, sealed_at, _ in laps)
    in_flight = sum(max(0.0, over_at - max(sealed_at, began_at)) for _, sealed_at, over_at in laps)
    queued = max(0.0, timeout - paced - in_flight)
    return LookupTimeoutError(timeout, queued=queued, paced=paced, in_flight=in_flight, last_failure=failure)


def copy_of(error: BaseException) -> StatusLookupError | None:
    """Return a copy of one of this library's errors; ``None`` for any other, and where none can be made.

    Each of those who wait is to have a copy, and one that cannot be made would hold up all the others.
    """
    if not isinstance(error, StatusLookupError):
        return None
    try:
        return error.fresh()
    except Exception:  # noqa: BLE001 # a class of somebody's own may raise anything
        return None
