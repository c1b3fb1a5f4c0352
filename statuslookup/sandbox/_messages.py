"""SMSFire's JSON: messages written, searches read."""

import json
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from .._arguments import whole
from .._model import CustomId, DeliveryState, MessageStatus

# SMSFire names READ, but its public pages give it no number: 6 is our choice.
CODES: Mapping[DeliveryState, tuple[int, str]] = MappingProxyType(
    {
        DeliveryState.PENDING: (0, "PENDING"),
        DeliveryState.SENT: (1, "ACCEPTED"),
        DeliveryState.DELIVERED: (2, "DELIVERED"),
        DeliveryState.UNDELIVERED: (3, "UNDELIVERED"),
        DeliveryState.REJECTED: (4, "REJECTED"),
        DeliveryState.EXPIRED: (5, "EXPIRED"),
        DeliveryState.READ: (6, "READ"),
    }
)

# SMSFire, "Consulta Status": "id ou customId da mensagem. (Max. 40 caracteres)".
_LONGEST_KEY = 40

# One encoder for all, because json.dumps() would build one for each message.
_JSON = json.JSONEncoder(separators=(",", ":"))


def check_message(message: MessageStatus) -> None:
    if not isinstance(message, MessageStatus):
        raise TypeError(f"a message is a MessageStatus, not {type(message).__name__}")
    whole("the id of a message", message.id, least=0)
    if message.custom_id is not None:
        CustomId(message.custom_id)
    for date in (message.sent_date, message.status_date):
        if date is not None and date.utcoffset() is None:
            raise ValueError("the dates of a message must be aware: give them a tzinfo")


def is_expired(message: MessageStatus) -> bool:
    return DeliveryState.EXPIRED in (message.state, message.status_name) or (
        message.status_code == CODES[DeliveryState.EXPIRED][0]
    )


def encode(message: MessageStatus, *, leading_zeros: bool) -> bytes:
    values = {
        "instanceToken": message.instance_token,
        "id": message.id,
        "customId": message.custom_id,
        "messageType": message.message_type,
        "country": message.country,
        "phone": message.phone,
        "statusCode": message.status_code,
        "statusName": message.status_name,
        "statusDate": _encode_date(message.status_date),
        "sentDate": _encode_date(message.sent_date),
    }
    text = _JSON.encode({name: value for name, value in values.items() if value is not None})
    if leading_zeros:
        # No JSON library writes the documents' "id": 000001, because it is not JSON. Quotes inside strings
        # are escaped, so nothing but the field itself can match.
        text = text.replace(f'"id":{message.id}', f'"id":{message.id:06d}')
    return text.encode()


def _encode_date(date: datetime | None) -> str | None:
    # Twice as fast as strftime(), and every message that is added has two dates.
    return None if date is None else "".join(date.isoformat(timespec="seconds").rsplit(":", 1))


def number(key: str) -> int | None:
    return int(key) if key.isascii() and key.isdigit() and len(key) <= _LONGEST_KEY else None


def parse_search(body: object) -> tuple[list[int], list[str]]:
    if not isinstance(body, dict):
        raise ValueError("the body is not an object")
    ids, custom_ids = body.get("ids", []), body.get("customIds", [])
    if not isinstance(ids, list) or not isinstance(custom_ids, list):
        raise ValueError("ids or customIds is not a list")
    if not all(isinstance(custom_id, str) for custom_id in custom_ids):
        raise ValueError("a customId is not a string")
    return [_parse_id(id) for id in ids], custom_ids


def _parse_id(value: object) -> int:
    id = number(value) if isinstance(value, str) else value
    # A bool is an int to isinstance().
    if type(id) is not int:
        raise ValueError("an id is not a number")
    return id
