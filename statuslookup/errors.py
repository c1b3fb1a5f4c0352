"""What can go wrong with a lookup.

::

    StatusLookupError
    ├ ProviderError(provider)               what a provider did, or failed to do
    │ ├ TransportError                      no response: connection, TLS, HTTP timeouts
    │ ├ ResponseError(status_code)          a response that says no
    │ │ ├ AuthenticationError               401, 403
    │ │ ├ ForbiddenError                    403 of a firewall, maybe: HTML, or after a success
    │ │ ├ InstanceError                     the instance is expired, deleted, not authorized
    │ │ ├ RateLimitedError(retry_after)     429, after all retries
    │ │ ├ QuotaExceededError(used, total)   466: never retried
    │ │ ├ RejectedError                     other 4xx
    │ │ └ ServerError                       5xx, 499; an instance that is starting
    │ └ DecodeError(problems)               a response that is not what is documented
    ├ LookupTimeoutError                    the deadline passed; says where the time went
    ├ IncompleteError(statuses, errors)     get_many: what was found is not lost
    ├ WaitTimeoutError(last)                a tracker's wait: the message is not at its end yet
    ├ StoreError                            a tracker's store cannot be read or written
    │ └ StoreLockedError                    another process tracks with this file
    ├ FleetError                            what the processes of a fleet share cannot be used
    ├ WrongLoopError                        used on a second event loop; says what to do
    └ ClosedError                           the client or the tracker was closed

Asking again later may help (``is_transient``) after a ``TransportError``, ``ForbiddenError``,
``RateLimitedError``, ``ServerError``, ``LookupTimeoutError``, ``WaitTimeoutError`` and ``StoreLockedError``.
Every other key would fail as well (``ends_all``) after an ``AuthenticationError``, ``InstanceError``,
``QuotaExceededError`` and ``ClosedError``.

A ``FleetError`` is either of the two, and says which. An unknown message is no error: its status is ``None``.
Misuse is ``TypeError`` or ``ValueError``.
No text and no attribute of these errors holds a URL, a header or a body, but for the words of a bug in a
transport that was lent; the credentials are in none. Every waiter gets an exception of its own, so that
tracebacks and notes of one caller never show up at another.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

from ._problems import first_few

__all__ = [
    "AuthenticationError",
    "ClosedError",
    "DecodeError",
    "FleetError",
    "ForbiddenError",
    "IncompleteError",
    "InstanceError",
    "LookupTimeoutError",
    "ProviderError",
    "QuotaExceededError",
    "RateLimitedError",
    "RejectedError",
    "ResponseError",
    "ServerError",
    "StatusLookupError",
    "StoreError",
    "StoreLockedError",
    "TransportError",
    "WaitTimeoutError",
    "WrongLoopError",
]


class StatusLookupError(Exception):
    """The base of every error that a lookup raises; misuse is ``TypeError`` or ``ValueError``.

    ``is_transient`` and ``ends_all`` say what the error means for the next lookup.
    """

    is_transient: bool = False
    """Whether asking again later may help."""
    ends_all: bool = False
    """Whether it is about the whole account or client, so that every other key would fail as well."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())

    def fresh(self) -> Self:
        """Return an equal error of the same class, without traceback, context, notes, and whatever caused it.

        Its ``last_failure``, if it has one, is a fresh error, too. A cause that was never raised, as that of
        a transport's bug, leads nowhere: a copy of it stays.
        """
        attributes = {
            name: value.fresh() if isinstance(value, StatusLookupError) else value
            for name, value in vars(self).items()
            if name != "__notes__"
        }
        error = _rebuild(type(self), self.args, attributes)
        if self.__cause__ is not None and self.__cause__.__traceback__ is None:
            error.__cause__ = _rebuild(type(self.__cause__), self.__cause__.args, {})
        return error


_Error = TypeVar("_Error", bound=BaseException)


def _rebuild(cls: type[_Error], args: tuple[Any, ...], attributes: dict[str, Any]) -> _Error:
    error = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class ProviderError(StatusLookupError):
    """A provider did not answer a lookup; ``provider`` is its name, ``attempts`` how often it was asked."""

    provider: str
    """The provider's name, such as "SMSFire"."""
    attempts: int
    """How often the key was asked for in vain; a 429 counts only in a timeout's ``last_failure``."""

    def __init__(self, message: str, *, provider: str) -> None:
        super().__init__(f"{provider}: {message}")
        self.provider = provider
        self.attempts = 1

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.attempts == 1 else f"{text} (after {self.attempts} attempts)"


class TransportError(ProviderError):
    """No response came: the connection or TLS failed, or an HTTP timeout passed."""

    is_transient = True


class ResponseError(ProviderError):
    """The provider answered with the error status ``status_code``, and maybe with a ``retry_after``."""

    status_code: int
    """The HTTP status of the response."""
    retry_after: float | None
    """The seconds that the last response asked to wait; ``None`` if it did not say."""

    def __init__(
        self, message: str, *, provider: str, status_code: int, retry_after: float | None = None
    ) -> None:
        super().__init__(message, provider=provider)
        self.status_code = status_code
        self.retry_after = retry_after


class AuthenticationError(ResponseError):
    """The provider refused the credentials (401, 403)."""

    ends_all = True


class ForbiddenError(ResponseError):
    """A 403 of the provider, or of something in between such as a firewall: asking later may help.

    It is HTML, or it came to a client whose credentials had been accepted before.
    """

    is_transient = True


class InstanceError(ResponseError):
    """The instance itself is not served: it is expired, deleted, not authorized or not found.

    Source: GREEN-API, "Common errors".
    """

    ends_all = True


class RateLimitedError(ResponseError):
    """The provider kept answering 429; ``retry_after`` is what it last asked for, in seconds."""

    is_transient = True

    def __init__(self, message: str, *, provider: str, retry_after: float | None = None) -> None:
        super().__init__(message, provider=provider, status_code=429, retry_after=retry_after)


class QuotaExceededError(ResponseError):
    """The plan's quota is used up (466); ``used``, ``total`` and ``description`` are the provider's own.

    It is never asked again. Source: GREEN-API, "Common errors".
    """

    ends_all = True
    used: int | None
    """How many requests were made; ``None`` if the response does not say."""
    total: int | None
    """How many requests the plan allows; ``None`` if the response does not say."""
    description: str | None
    """The provider's own words, without its credentials; ``None`` if there are none."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        used: int | None = None,
        total: int | None = None,
        description: str | None = None,
    ) -> None:
        super().__init__(message, provider=provider, status_code=466)
        self.used = used
        self.total = total
        self.description = description


class RejectedError(ResponseError):
    """The provider refused the request itself (any other 4xx)."""


class ServerError(ResponseError):
    """The provider failed on its side (5xx, 499), or the instance is starting: asking later may help."""

    is_transient = True


class DecodeError(ProviderError):
    """The response is not what the provider documents; ``problems`` says where, one line each.

    ``unread`` counts further ones that nobody looked at.
    """

    problems: tuple[str, ...]
    """What is wrong where, by the names of the wire's fields: the first few, and how many more there are."""

    def __init__(self, message: str, *, provider: str, problems: Sequence[str] = (), unread: int = 0) -> None:
        self.problems = first_few(problems, unread=unread)
        details = f": {'; '.join(self.problems)}" if self.problems else ""
        super().__init__(message + details, provider=provider)


class LookupTimeoutError(StatusLookupError):
    """The deadline of a lookup, ``timeout`` seconds, passed; its attributes say where the time went.

    ``queued``, ``paced`` and ``in_flight`` are seconds, too, and add up to ``timeout``. ``last_failure`` is
    what became of the last attempt that was over by then.
    """

    is_transient = True
    timeout: float
    """The seconds that the lookup had in all."""
    queued: float
    """The seconds behind other keys, and in the pauses after failed attempts."""
    paced: float
    """The seconds of waiting for the rate limit's next slot, until the key was sent."""
    in_flight: float
    """The seconds since the key was sent, in each attempt: follow-ups and the wait for their slots count."""
    last_failure: ProviderError | None
    """Why the last attempt failed; ``None`` if none had failed."""

    def __init__(
        self,
        timeout: float,
        *,
        queued: float,
        paced: float,
        in_flight: float,
        last_failure: ProviderError | None = None,
    ) -> None:
        failed = "" if last_failure is None else f"; it had failed before: {last_failure}"
        super().__init__(
            f"no status within {timeout:g} s: {queued:.2f} s queued, {paced:.2f} s waiting for the rate"
            f" limit, {in_flight:.2f} s in flight{failed}"
        )
        self.timeout = timeout
        self.queued = queued
        self.paced = paced
        self.in_flight = in_flight
        self.last_failure = last_failure


class IncompleteError(StatusLookupError):
    """Some keys of a ``get_many`` failed; ``statuses`` holds what was found, ``errors`` the rest by key."""

    statuses: Mapping[Any, Any]
    """The status of each key that has one; ``None`` where the provider does not know the key."""
    errors: Mapping[Any, StatusLookupError]
    """The error of each key that failed."""

    def __init__(self, statuses: Mapping[Any, Any], errors: Mapping[Any, StatusLookupError]) -> None:
        first = next(iter(errors.values()))
        super().__init__(
            f"{len(errors)} of {len(errors) + len(statuses)} lookups failed, the first with"
            f" {type(first).__name__}: {first}; what was found is in .statuses"
        )
        self.statuses = statuses
        self.errors = errors


class FleetError(StatusLookupError):
    """What the processes of a fleet share in Redis cannot be used; nothing is sent without it.

    It is transient if Redis could not be reached until the lookup's deadline. Otherwise Redis refuses what
    the fleet needs, such as its password, and every other lookup fails as well. Its text names Redis by host,
    port and database, and holds no user and no password.
    """

    is_transient: bool
    ends_all: bool

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient
        self.ends_all = not is_transient


class WaitTimeoutError(StatusLookupError):
    """A message did not reach its end within ``timeout`` seconds of ``StatusTracker.wait``; it stays tracked.

    ``last`` is the last status seen, and ``last_failure`` why the last lookups failed, if they did.
    """

    is_transient = True
    timeout: float
    """The seconds that the wait had."""
    last: Any
    """The last status that is known; ``None`` if there is none."""
    last_failure: StatusLookupError | None
    """Why the tracker's last lookups failed; ``None`` if they went well."""

    def __init__(
        self, timeout: float, *, last: Any = None, last_failure: StatusLookupError | None = None
    ) -> None:
        state = getattr(last, "state", None)
        seen = "nothing is known of it" if last is None else f"the last state is {state}"
        failed = "" if last_failure is None else f"; the last lookups failed: {last_failure}"
        super().__init__(f"the message is not at its end after {timeout:g} s: {seen}{failed}")
        self.timeout = timeout
        self.last = last
        self.last_failure = last_failure


class StoreError(StatusLookupError):
    """A tracker's store cannot be read or written; its text says which, and how to go on."""


class StoreLockedError(StoreError):
    """Another process, or another tracker here, tracks with this file."""

    is_transient = True


class WrongLoopError(StatusLookupError):
    """A client, a tracker or a ``TokenBucket`` was used on a second event loop; its text says what to do."""


class ClosedError(StatusLookupError):
    """The client was closed before, or while, the status was looked up, or the tracker before its end."""

    ends_all = True
