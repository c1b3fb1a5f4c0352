"""Keys and statuses as text, for stores."""

import json
from datetime import datetime
from typing import Any, Final

import attrs

from .._model import CustomId, DeliveryState, MessageStatus, Receipt, StatusStatistic

_CLASSES: Final = {cls.__name__: cls for cls in (MessageStatus, StatusStatistic, Receipt)}
_KINDS: Final = {"c": CustomId, "s": str, "i": int}
_SECRET: Final = "instance_token"  # noqa: S105 # the name of a field
# In ASCII, because half a surrogate pair, which JSON can bring, cannot be written in any other way.
_JSON = json.JSONEncoder(separators=(",", ":"))


def text_of_key(key: object) -> str:
    """Return a key as text; one that is no ``int``, ``CustomId`` or ``str`` is a ``TypeError``."""
    if isinstance(key, CustomId):
        return f"c:{key}"
    if isinstance(key, str):
        return f"s:{key}"
    if isinstance(key, int):
        return f"i:{key}"
    raise TypeError(f"a store keeps keys that are int, CustomId or str, not {type(key).__name__}")


def key_of_text(text: str) -> Any:
    """Return the key of a text, or say in a ``ValueError`` that it is none."""
    kind, _, key = text.partition(":")
    if kind not in _KINDS:
        raise ValueError(f"{text[:60]!r} is no key")
    return _KINDS[kind](key)


def text_of_status(status: object) -> str | None:
    """Return a status as JSON; ``None`` for ``None``, and for a class that is none of this library's."""
    return _JSON.encode(_plain(status)) if type(status) in _CLASSES.values() else None


def status_of_text(text: str | None) -> Any:
    """Return the status of a text; ``None`` if it cannot be read, because a lookup will tell it again."""
    if text is None:
        return None
    try:
        status = _value(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    return status if type(status) in _CLASSES.values() else None


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"date": value.isoformat()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if type(value) in _CLASSES.values():
        fields = {
            field.name: _plain(found)
            for field in attrs.fields(type(value))
            if (found := getattr(value, field.name)) != field.default and field.name != _SECRET
        }
        return {type(value).__name__: fields}
    return value


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_value(each) for each in plain)
    if not isinstance(plain, dict):
        return plain
    ((name, found),) = plain.items()
    if name == "date":
        return datetime.fromisoformat(found)
    values = {field: _value(each) for field, each in found.items()}
    if "state" in values:
        values["state"] = DeliveryState(values["state"])
    return _CLASSES[name](**values)
