"""What a provider is, the two of them, and what another one needs to read a response.

A provider is any object with the attributes and methods of ``Provider``. Its ``exchange`` yields each
``Request`` and is sent the ``Response``: ``error_of`` says what its status means, and ``items_of`` reads its
JSON. ``reader`` makes a function that turns an item into a value of an attrs class, by a reading for each
field: ``integer``, ``text``, ``date`` or ``unix_time``, where it has to be there ``required(...)``, or a
function of one's own. A ``SharedProvider`` can be looked up through a fleet as well.
"""

from .._wire import Request, Response, Secret
from .base import Exchange, Outcomes, Provider, SharedProvider, Trackable, error_of, items_of
from .fields import Reading, date, decode, integer, reader, required, text, unix_time
from .greenapi import GreenAPI
from .smsfire import SMSFire

__all__ = [
    "Exchange",
    "GreenAPI",
    "Outcomes",
    "Provider",
    "Reading",
    "Request",
    "Response",
    "SMSFire",
    "Secret",
    "SharedProvider",
    "Trackable",
    "date",
    "decode",
    "error_of",
    "integer",
    "items_of",
    "reader",
    "required",
    "text",
    "unix_time",
]
