"""How far a message of SMSFire is: which news of it count."""

from datetime import UTC, datetime

import attrs

from ..._model import FAILED_RANK, RANKS, CustomId, DeliveryState, MessageKey, MessageStatus

_NEVER = datetime.min.replace(tzinfo=UTC)
# What describes a message, and stays as it is while its status changes.
_DESCRIPTION = ("custom_id", "instance_token", "message_type", "country", "phone", "sent_date")


def sent(status: MessageStatus) -> tuple[datetime, int]:
    """Return what tells which of two messages with one customId was sent last."""
    return status.sent_date or _NEVER, status.id


def keys_of(status: MessageStatus) -> list[MessageKey]:
    if not isinstance(status, MessageStatus):
        raise TypeError(f"a status of SMSFire is a MessageStatus, not {type(status).__name__}")
    keys: list[MessageKey] = [status.id]
    if status.custom_id is not None:
        try:
            keys.append(CustomId(status.custom_id))
        except ValueError:
            # Nobody can track by it, but the id still names the message.
            pass
    return keys


def advance(known: MessageStatus | None, status: MessageStatus) -> MessageStatus | None:
    if known is None:
        return status
    if status.id != known.id:
        return status if sent(status) > sent(known) else None
    if _progress(status) <= _progress(known):
        return None
    missing = {
        name: getattr(known, name)
        for name in _DESCRIPTION
        if getattr(status, name) is None and getattr(known, name) is not None
    }
    return attrs.evolve(status, **missing) if missing else status


def reached(status: MessageStatus, until: DeliveryState) -> bool:
    rank = RANKS[status.state]
    return rank == FAILED_RANK or rank >= RANKS[until]


def _progress(status: MessageStatus) -> tuple[int, datetime, str]:
    # The state's name decides between two failures of one second: which of them came first must not.
    return RANKS[status.state], status.status_date or _NEVER, status.state
