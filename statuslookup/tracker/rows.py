"""Keys and statuses as text, for stores."""

import json
from typing import Any, Final

from .._model import CustomId

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


def text_of_status(provider: Any, status: object) -> str | None:
    """Return a status as JSON; ``None`` for ``None``, and for what the provider cannot write."""
    if status is None:
        return None
    try:
        form = provider.answer_to_json(status)
        if isinstance(form, dict):
            form = {name: value for name, value in form.items() if name != _SECRET}
        return _JSON.encode(form)
    except Exception:  # noqa: BLE001 # a provider of somebody's own may raise anything
        return None


def status_of_text(provider: Any, text: str | None) -> Any:
    """Return the status of a text; ``None`` if it cannot be read, because a lookup will tell it again."""
    if text is None:
        return None
    try:
        return provider.answer_from_json(json.loads(text))
    except Exception:  # noqa: BLE001 # a provider of somebody's own may raise anything
        return None
