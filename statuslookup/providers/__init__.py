"""What a provider is, the two of them, and what another one needs to read an answer."""

from .._wire import Request, Response, Secret
from .base import (
    Exchange,
    Provider,
    Results,
    checked_base_url,
    checked_rate_limit,
    error_of,
    host_of,
    items_of,
)
from .bisection import Division
from .fields import date, decode, integer, reader, required, text, unix_time
from .greenapi import GreenAPI
from .smsfire import SMSFire

__all__ = [
    "Division",
    "Exchange",
    "GreenAPI",
    "Provider",
    "Request",
    "Response",
    "Results",
    "SMSFire",
    "Secret",
    "checked_base_url",
    "checked_rate_limit",
    "date",
    "decode",
    "error_of",
    "host_of",
    "integer",
    "items_of",
    "reader",
    "required",
    "text",
    "unix_time",
]
