"""The values that go in and come out: keys, statuses, limits, outcomes."""

import enum
import re
from collections import Counter
from collections.abc import Hashable
from datetime import datetime
from typing import Any, Generic, Self, TypeAlias, TypeVar

from attrs import Attribute, field, frozen

from ._arguments import number
from .errors import StatusLookupError

KeyT = TypeVar("KeyT", bound=Hashable)
AnswerT = TypeVar("AnswerT")


def draft_of(cls: type) -> type[Any]:
    """Return a class whose instances become those of a frozen one when their fields are set.

    They are made by ``object.__new__``, and ``__class__`` is set last. It takes half as long as what attrs
    does to get past its own guard.
    """
    guards = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    # Both of them, because with one of attrs' own left, Python takes the slow way to every field.
    return type(f"{cls.__name__}Draft", (cls,), {"__slots__": (), **guards})


class DeliveryState(enum.StrEnum):
    """What became of a message, in the same words for every provider.

    ``PENDING``, ``SENT`` and ``UNKNOWN`` may still change. ``DELIVERED``, ``READ``, ``UNDELIVERED``,
    ``REJECTED``, ``EXPIRED`` and ``FAILED`` are final. Each is also the ``str`` of its name. The provider's
    own code and name are kept beside it, so nothing is lost when a provider says more than this.

    Source: SMSFire, "Código de status"; GREEN-API, "GetStatusStatistic" and "Outgoing message status".
    """

    PENDING = "PENDING"
    """SMSFire has it and did not send it yet (SMSFire's code 0)."""
    SENT = "SENT"
    """It was sent, one tick (SMSFire's code 1, ACCEPTED; GREEN-API's sent)."""
    DELIVERED = "DELIVERED"
    """It reached the recipient, two ticks (SMSFire's code 2; GREEN-API's delivered)."""
    READ = "READ"
    """The recipient saw it, blue ticks (SMSFire's READ, whose code is not published; GREEN-API's read)."""
    UNDELIVERED = "UNDELIVERED"
    """It could not be delivered (SMSFire's code 3)."""
    REJECTED = "REJECTED"
    """It was refused (SMSFire's code 4)."""
    EXPIRED = "EXPIRED"
    """It was in the queue for 24 hours (SMSFire's code 5); no webhook tells of this."""
    FAILED = "FAILED"
    """It could not be sent (GREEN-API's failed, noAccount, notInGroup and yellowCard)."""
    UNKNOWN = "UNKNOWN"
    """The provider said nothing, or a word that this library does not know."""

    @property
    def is_final(self) -> bool:
        """True if the message will not fail or be delivered any more (a read receipt may still follow)."""
        return RANKS[self] >= FAILED_RANK


FAILED_RANK = 3
RANKS = {
    DeliveryState.UNKNOWN: 0,
    DeliveryState.PENDING: 1,
    DeliveryState.SENT: 2,
    DeliveryState.UNDELIVERED: FAILED_RANK,
    DeliveryState.REJECTED: FAILED_RANK,
    DeliveryState.EXPIRED: FAILED_RANK,
    DeliveryState.FAILED: FAILED_RANK,
    DeliveryState.DELIVERED: 4,
    DeliveryState.READ: 5,
}
"""How far a message is, from the least far; all failures are as far."""


def has_reached(state: DeliveryState, until: DeliveryState) -> bool:
    """Tell whether a message got as far as ``until``; a failure is reached only by that very failure."""
    rank, wanted = RANKS[state], RANKS[until]
    return state is until if FAILED_RANK in (rank, wanted) else rank >= wanted


_CUSTOM_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")


class CustomId(str):
    """A message's customId: the name that its sender gave it.

    1 to 40 ASCII letters, digits, ``-``, ``_`` and ``.`` (SMSFire, "customId"); anything else is a
    ``ValueError``, and what is no ``str`` a ``TypeError``. It is a ``str``, and equal to the plain one.
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


MessageKey: TypeAlias = int | CustomId
"""What names a message at SMSFire: its id, or its customId."""


@frozen(kw_only=True)
class MessageStatus:
    """The status of one message, as SMSFire last heard of it.

    ``state`` is final or not (``state.is_final``); ``status_code`` and ``status_name`` are SMSFire's own, as
    of ``status_date``. ``id`` and ``custom_id`` name the message, ``instance_token`` its instance, and
    ``message_type``, ``country``, ``phone`` and ``sent_date`` say what was sent, where, to whom and when. A
    field that SMSFire left out is ``None``, and so is one that could not be read, which ``problems`` names.
    Dates are aware.

    Source: SMSFire, "Consulta Status".
    """

    id: int
    """SMSFire's number of the message."""
    custom_id: str | None = None
    """The name that the sender gave it; several messages may have the same."""
    instance_token: str | None = field(default=None, repr=False)
    """The token of the instance that sent it; it is not in the repr."""
    message_type: str | None = None
    """What was sent, in SMSFire's words: TEXT, IMAGE, VIDEO, AUDIO, DOCUMENT, LOCATION or STICKER."""
    country: str | None = None
    """The prefix of the recipient's country, such as "55"."""
    phone: str | None = None
    """The recipient's number in the international format."""
    status_code: int | None = None
    """SMSFire's code of the status."""
    status_name: str | None = None
    """SMSFire's name of the status."""
    status_date: datetime | None = None
    """When the status last changed."""
    sent_date: datetime | None = None
    """When the message was sent."""
    state: DeliveryState = DeliveryState.UNKNOWN
    """What the code means, or the name where the code is new."""
    problems: tuple[str, ...] = ()
    """One line for each field that could not be read."""


@frozen(kw_only=True)
class Receipt:
    """What became of a WhatsApp status ("story") at one recipient, as GREEN-API last heard of it.

    ``participant`` is the recipient, ``state`` what became of it, and ``timestamp`` when. ``status`` is
    GREEN-API's own word, and ``description`` what a webhook adds to it. A field that GREEN-API left out is
    ``None``, and so is one that could not be read, which ``problems`` names.

    Source: GREEN-API, "GetStatusStatistic" and "Outgoing message status".
    """

    participant: str
    """The recipient's chat, such as "79876543210@c.us"."""
    timestamp: datetime | None = None
    """When it was sent, delivered or read; aware, and to the second."""
    status: str | None = None
    """GREEN-API's own word for the state, such as "delivered"."""
    description: str | None = None
    """What a webhook says of a failure; a lookup has none."""
    state: DeliveryState = DeliveryState.UNKNOWN
    """What GREEN-API's word means."""
    problems: tuple[str, ...] = ()
    """One line for each field that could not be read."""


@frozen(kw_only=True)
class StatusStatistic:
    """Who was sent a WhatsApp status ("story"), and who got and saw it: one receipt a recipient.

    ``id_message`` is the key, ``receipts`` are in GREEN-API's order, and ``problems`` says which could not be
    read. ``state`` and ``counts`` sum them up. A webhook's has one receipt.

    Source: GREEN-API, "GetStatusStatistic".
    """

    id_message: str
    """The idMessage that it is about."""
    receipts: tuple[Receipt, ...] = ()
    """One for each recipient; none if GREEN-API knows nothing of the key."""
    problems: tuple[str, ...] = ()
    """What is wrong with the receipts that could not be read, and are not in ``receipts``: the first few."""

    @property
    def counts(self) -> dict[DeliveryState, int]:
        """How many recipients are in each state; states without any are left out."""
        return dict(Counter(receipt.state for receipt in self.receipts))

    @property
    def state(self) -> DeliveryState | None:
        """The state of the recipient who is least far; ``None`` if GREEN-API knows nothing of the key.

        A failure is further than SENT, and less far than DELIVERED. A receipt that could not be read is
        UNKNOWN, the least far.
        """
        states = [receipt.state for receipt in self.receipts]
        if self.problems:
            states.append(DeliveryState.UNKNOWN)
        return min(states, key=list(RANKS).index, default=None)

    def share(self, state: DeliveryState) -> float:
        """Return the part of the receipts, from 0.0 to 1.0, that reached the state; 0.0 if there are none.

        Whoever saw the story has got it, too: READ counts for DELIVERED. A failure counts for itself alone.
        """
        if not isinstance(state, DeliveryState):
            raise TypeError(
                f"state is a DeliveryState, such as DeliveryState.READ, not {type(state).__name__}"
            )
        reached = sum(has_reached(receipt.state, state) for receipt in self.receipts)
        return reached / len(self.receipts) if self.receipts else 0.0


@frozen
class Outcome(Generic[KeyT, AnswerT]):
    """What became of one key: ``key``, and its ``status`` (``None`` if unknown) or its ``error``."""

    key: KeyT
    """The key that was asked for, equal to the one that was passed."""
    status: AnswerT | None = None
    """The provider's answer; ``None`` if it does not know the key, or if there is an error."""
    error: StatusLookupError | None = None
    """Why there is no answer; ``None`` if all went well."""


def _positive(_: object, attribute: "Attribute[float]", value: float) -> None:
    number(attribute.name, value, above=0)


@frozen
class RateLimit:
    """At most ``limit`` requests every ``per`` seconds.

    Both are above 0 and finite; anything else is a ``TypeError`` or ``ValueError``.
    """

    limit: float = field(validator=_positive)
    """How many requests; also a part of one."""
    per: float = field(default=1.0, validator=_positive)
    """In how many seconds."""

    @property
    def interval(self) -> float:
        """The seconds from one request to the next when they are spread evenly."""
        return self.per / self.limit


def checked_rate_limit(rate_limit: RateLimit | None) -> RateLimit | None:
    """Return the limit; what is neither one nor ``None`` is a ``TypeError``."""
    if rate_limit is not None and not isinstance(rate_limit, RateLimit):
        raise TypeError(f"rate_limit is a RateLimit or None, not {type(rate_limit).__name__}")
    return rate_limit


@frozen(kw_only=True)
class LimiterStats:
    """What a ``TokenBucket`` is doing at this moment.

    ``rate`` is in requests a second, ``waiting`` and ``in_flight`` count slots, ``rejections`` counts the
    responses with 429 so far, and ``frozen_for`` is in seconds.
    """

    rate: float
    """The requests a second that it allows at most."""
    waiting: int
    """The slots that are waited for."""
    in_flight: int
    """The slots that are in use."""
    rejections: int
    """The requests that were answered 429, of all clients that share the bucket."""
    frozen_for: float
    """The seconds until it may grant the next slot."""


@frozen(kw_only=True)
class ClientStats:
    """What a client did since it was made, and what it is doing at this moment.

    Since it was made: ``lookups`` and how many of them ``coalesced``, ``requests``, ``keys_sent``,
    ``retries``, ``rejections``, ``told`` and ``seconds_paced``. At this moment: ``queued`` and ``in_flight``.
    """

    lookups: int = 0
    """Keys that were asked for, by any method."""
    coalesced: int = 0
    """Lookups that joined a key which was already queued or in flight."""
    requests: int = 0
    """Requests that were made, also those that got no response or no connection."""
    keys_sent: int = 0
    """Keys that were asked for, once for each attempt; requests that only follow up on others add none."""
    retries: int = 0
    """Keys that were put back to be asked again."""
    rejections: int = 0
    """Requests that were answered 429."""
    told: int = 0
    """Keys whose outcomes another process of the fleet brought, once for each time that one was asked."""
    queued: int = 0
    """Keys that wait to be sent."""
    in_flight: int = 0
    """Keys whose request is under way."""
    seconds_paced: float = 0.0
    """The seconds that requests waited for the rate limit, added up."""

    @property
    def keys_per_request(self) -> float:
        """How many keys were asked for with each request, follow-ups included (0.0 before the first)."""
        return self.keys_sent / self.requests if self.requests else 0.0
