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

Lookups travel in as few requests as the provider's rules allow, and never in more. Go on with
``help(statuslookup.StatusClient)``, then with the providers ``SMSFire`` and ``GreenAPI`` and their answers
``MessageStatus`` and ``StatusStatistic``. ``statuslookup.errors`` draws the tree of the errors, and
``statuslookup.sandbox`` imitates both providers for tests. In a shell, see ``statuslookup --help``.
"""

import logging

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
    TransportError,
    WrongLoopError,
)
from .providers import Exchange, GreenAPI, Provider, SMSFire

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
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
    "SMSFire",
    "Secret",
    "ServerError",
    "Slot",
    "StatusClient",
    "StatusLookupError",
    "StatusStatistic",
    "Timer",
    "TokenBucket",
    "Transport",
    "TransportError",
    "WrongLoopError",
]

# help(), tracebacks and pickles name the place from which these are imported.
for _name in __all__:
    _value = globals()[_name]
    if isinstance(_value, type) and _value.__module__ != errors.__name__:
        _value.__module__ = __name__

logging.getLogger(__name__).addHandler(logging.NullHandler())
