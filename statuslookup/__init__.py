"""Await the status of WhatsApp messages at SMSFire and GREEN-API, as many at a time as you like.

::

    import asyncio
    from statuslookup import CustomId, SMSFire, StatusClient

    async def main():
        async with StatusClient(SMSFire(token="...")) as client:
            status = await client.get(42)  # by id: a MessageStatus, or None if SMSFire does not know it
            found = await client.get_many([1, 2, CustomId("firezap0001")])  # a dict of exactly these keys
            async for outcome in client.stream(range(1_000_000)):  # in bounded memory
                print(outcome.key, outcome.status, outcome.error)

    asyncio.run(main())

Lookups travel in as few requests as the provider's rules allow, and never in more. A ``StatusTracker``
follows messages to their end: webhooks first, and lookups for what they lost. Go on with
``help(statuslookup.StatusClient)``, then with the providers ``SMSFire`` and ``GreenAPI`` and their answers
``MessageStatus`` and ``StatusStatistic``. ``statuslookup.errors`` draws the tree of the errors, and
``statuslookup.sandbox`` imitates both providers for tests. In a shell, see ``statuslookup --help``.
"""

import importlib
import logging
import typing

from . import errors
from ._client import StatusClient
from ._clock import Clock, Timer
from ._engine.retry import RetryPolicy
from ._engine.source import Fleet
from ._http import Transport
from ._limits.limiter import Limiter, Slot
from ._limits.pacer import Pacing
from ._limits.token_bucket import TokenBucket
from ._model import (
    ClientStats,
    CustomId,
    DeliveryState,
    LimiterStats,
    MessageKey,
    MessageStatus,
    Outcome,
    RateLimit,
    Receipt,
    StatusStatistic,
)
from ._wire import Request, Response, Secret
from .errors import (
    AuthenticationError,
    ClosedError,
    DecodeError,
    FleetError,
    ForbiddenError,
    IncompleteError,
    InstanceError,
    LookupTimeoutError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
    StatusLookupError,
    StoreError,
    StoreLockedError,
    TransportError,
    WaitTimeoutError,
    WrongLoopError,
)
from .providers import Exchange, GreenAPI, Provider, SMSFire, Trackable

if typing.TYPE_CHECKING:
    from .tracker import Change, MemoryStore, Row, Schedule, SQLiteStore, StatusTracker, Store, TrackerStats

__version__ = "0.2.0"

__all__ = [
    "AuthenticationError",
    "Change",
    "ClientStats",
    "Clock",
    "ClosedError",
    "CustomId",
    "DecodeError",
    "DeliveryState",
    "Exchange",
    "Fleet",
    "FleetError",
    "ForbiddenError",
    "GreenAPI",
    "IncompleteError",
    "InstanceError",
    "Limiter",
    "LimiterStats",
    "LookupTimeoutError",
    "MemoryStore",
    "MessageKey",
    "MessageStatus",
    "Outcome",
    "Pacing",
    "Provider",
    "ProviderError",
    "QuotaExceededError",
    "RateLimit",
    "RateLimitedError",
    "Receipt",
    "RejectedError",
    "Request",
    "Response",
    "ResponseError",
    "RetryPolicy",
    "Row",
    "SMSFire",
    "SQLiteStore",
    "Schedule",
    "Secret",
    "ServerError",
    "Slot",
    "StatusClient",
    "StatusLookupError",
    "StatusStatistic",
    "StatusTracker",
    "Store",
    "StoreError",
    "StoreLockedError",
    "Timer",
    "TokenBucket",
    "Trackable",
    "TrackerStats",
    "Transport",
    "TransportError",
    "WaitTimeoutError",
    "WrongLoopError",
]

# Those who only look up need not wait until the tracker is imported: what is not here yet is the tracker's.
_OF_THE_TRACKER = tuple(name for name in __all__ if name not in globals())


def _adopt(name: str, value: typing.Any) -> None:
    """Let help(), tracebacks and pickles name the place from which a class is imported."""
    if isinstance(value, type) and value.__module__ != errors.__name__:
        value.__module__ = __name__
    globals()[name] = value


def __getattr__(name: str) -> typing.Any:
    """Import the tracker when one of its names is asked for."""
    if name not in _OF_THE_TRACKER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    tracker = importlib.import_module(".tracker", __name__)
    for each in _OF_THE_TRACKER:
        _adopt(each, getattr(tracker, each))
    return globals()[name]


def __dir__() -> list[str]:
    """Name also what is not imported yet."""
    return sorted({*globals(), *_OF_THE_TRACKER})


for _name in __all__:
    if _name not in _OF_THE_TRACKER:
        _adopt(_name, globals()[_name])

logging.getLogger(__name__).addHandler(logging.NullHandler())
