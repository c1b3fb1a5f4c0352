"""The values that go in and come out: keys, statuses, limits, outcomes."""

import enum
import math
import re
from collections import Counter
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, Self, TypeVar

from attrs import Attribute, field, frozen

from .errors import StatusLookupError

KeyT = TypeVar("KeyT", bound=Hashable)
AnswerT = TypeVar("AnswerT")


class DeliveryState(enum.StrEnum):
    """What became of a message, in the same words for every provider.

    The provider's own code and name are kept beside it, so nothing is lost when a provider says
    more than this, or something new (``UNKNOWN``).
    """

    PENDING = "PENDING"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    UNDELIVERED = "UNDELIVERED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"

    @property
    def is_final(self) -> bool:
        """True if the message will not fail or be delivered any more (a read receipt may still follow)."""
        return self not in _OPEN_STATES


_OPEN_STATES = frozenset({DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.UNKNOWN})

_CUSTOM_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")


class CustomId(str):
    """A message's customId: the name that its sender gave it.

    1 to 40 ASCII letters, digits, ``-``, ``_`` and ``.`` (SMSFire, "customId"); anything else is a
    ``ValueError``. It is a ``str``, and equal to the plain one.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if not isinstance(value, str):
            raise TypeError(f"a customId is a str, not {type(value).__name__}")
        if not _CUSTOM_ID.fullmatch(value):
            raise ValueError(
                "a customId has 1 to 40 letters, digits, '-', '_' or '.', and nothing else:"
                f" {value[:60]!r} ({len(value)} characters)"
            )
        return super().__new__(cls, value)

    def __repr__(self) -> str:
        return f"CustomId({super().__repr__()})"


@frozen(kw_only=True)
class MessageStatus:
    """The status of one message, as SMSFire last heard of it.

    ``state`` is final or not (``state.is_final``); ``status_code`` and ``status_name`` are SMSFire's own.
    A field that the provider left out is ``None``. Dates are aware.
    """

    id: int
    custom_id: str | None = None
    instance_token: str | None = field(default=None, repr=False)
    message_type: str | None = None
    country: str | None = None
    phone: str | None = None
    status_code: int | None = None
    status_name: str | None = None
    status_date: datetime | None = None
    sent_date: datetime | None = None
    state: DeliveryState = DeliveryState.UNKNOWN


@frozen(kw_only=True)
class Receipt:
    """What one recipient of a WhatsApp status ("story") did with it, as GREEN-API last heard of it.

    ``status`` is GREEN-API's own word, and ``description`` what a webhook adds to it. The date is aware.
    """

    participant: str
    timestamp: datetime | None = None
    status: str | None = None
    description: str | None = None
    state: DeliveryState = DeliveryState.UNKNOWN


@frozen(kw_only=True)
class StatusStatistic:
    """Who was sent a WhatsApp status ("story"), and who got and saw it: one receipt a recipient.

    ``problems`` says, one line each, which receipts could not be read; they are not in ``receipts``.
    """

    id_message: str
    receipts: tuple[Receipt, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[DeliveryState, int]:
        """How many recipients are in each state; states without any are left out."""
        return dict(Counter(receipt.state for receipt in self.receipts))


@frozen
class Outcome(Generic[KeyT, AnswerT]):
    """The one end of one key: its ``status`` (``None`` if unknown), or its ``error``."""

    key: KeyT
    status: AnswerT | None = None
    error: StatusLookupError | None = None


def _positive(_: object, attribute: "Attribute[float]", value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{attribute.name} is a number, not {type(value).__name__}")
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{attribute.name} must be above 0 and finite, not {value}")


@frozen
class RateLimit:
    """At most ``limit`` requests every ``per`` seconds."""

    limit: float = field(validator=_positive)
    per: float = field(default=1.0, validator=_positive)

    @property
    def interval(self) -> float:
        """The seconds from one request to the next when they are spread evenly."""
        return self.per / self.limit


@frozen(kw_only=True)
class ClientStats:
    """What a client did since it was made, and what it is doing at this moment."""

    lookups: int = 0
    """Keys that were asked for, by any method."""
    coalesced: int = 0
    """Lookups that joined a key which was already queued or in flight."""
    requests: int = 0
    """Requests that were sent."""
    keys_sent: int = 0
    """Keys that those requests carried."""
    retries: int = 0
    """Keys that were put back to be asked again."""
    rejections: int = 0
    """Requests that were answered 429."""
    queued: int = 0
    """Keys that wait to be sent."""
    in_flight: int = 0
    """Keys whose request is under way."""
    seconds_paced: float = 0.0
    """The time that requests waited for the rate limit, added up."""

    @property
    def keys_per_request(self) -> float:
        """How many keys a request carried on average (0.0 before the first one)."""
        return self.keys_sent / self.requests if self.requests else 0.0
