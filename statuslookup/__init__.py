"""Await the status of WhatsApp messages, as many and as concurrently as you like."""

import logging

from ._client import StatusClient
from ._limiter import Limiter, LimiterStats, Slot, TokenBucket
from ._model import (
    ClientStats,
    CustomId,
    DeliveryState,
    MessageStatus,
    Outcome,
    RateLimit,
    Receipt,
    StatusStatistic,
)
from ._retry import RetryPolicy
from .errors import (
    AuthenticationError,
    ClosedError,
    DecodeError,
    IncompleteError,
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
from .greenapi import GreenAPI
from .smsfire import SMSFire

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
    "ClientStats",
    "ClosedError",
    "CustomId",
    "DecodeError",
    "DeliveryState",
    "GreenAPI",
    "IncompleteError",
    "Limiter",
    "LimiterStats",
    "LookupTimeoutError",
    "MessageStatus",
    "Outcome",
    "ProviderError",
    "QuotaExceededError",
    "RateLimit",
    "RateLimitedError",
    "Receipt",
    "RejectedError",
    "ResponseError",
    "RetryPolicy",
    "SMSFire",
    "ServerError",
    "Slot",
    "StatusClient",
    "StatusLookupError",
    "StatusStatistic",
    "TokenBucket",
    "TransportError",
    "WrongLoopError",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
