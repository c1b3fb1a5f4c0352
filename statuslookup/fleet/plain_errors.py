"""The plain form of errors: what the processes of a fleet tell each other of a key that failed."""

from typing import Any, Final

from ..errors import (
    AuthenticationError,
    DecodeError,
    ForbiddenError,
    InstanceError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    RejectedError,
    ResponseError,
    ServerError,
    StatusLookupError,
    TransportError,
)

# What is shared of an error, and no more: no class but these is ever made of what came from elsewhere.
_MOST_TEXT: Final = 4_000
_SHARED: Final[dict[str, type[StatusLookupError]]] = {
    cls.__name__: cls
    for cls in (
        *(
            StatusLookupError,
            ProviderError,
            TransportError,
            ResponseError,
            AuthenticationError,
            ForbiddenError,
        ),
        *(InstanceError, RateLimitedError, QuotaExceededError, RejectedError, ServerError, DecodeError),
    )
}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "provider": (str,),
    "status_code": (int,),
    "retry_after": (float, int, type(None)),
    "used": (int, type(None)),
    "total": (int, type(None)),
    "description": (str, type(None)),
    "problems": (list,),
}
_NEEDED: Final[dict[type[StatusLookupError], tuple[str, ...]]] = {
    ProviderError: ("provider",),
    ResponseError: ("status_code", "retry_after"),
    QuotaExceededError: ("used", "total", "description"),
    DecodeError: ("problems",),
}


def plain_form(error: StatusLookupError) -> dict[str, Any]:
    """Return what other processes may know of a key's error: its class, text and facts, for JSON."""
    cls = next(base for base in type(error).__mro__ if _SHARED.get(base.__name__) is base)
    facts = {name: getattr(error, name) for name in _facts_of(cls)}
    if "problems" in facts:
        facts["problems"] = [problem[:_MOST_TEXT] for problem in facts["problems"]]
    return {"class": cls.__name__, "text": str(error.args[0] if error.args else "")[:_MOST_TEXT], **facts}


def of_plain_form(value: Any) -> StatusLookupError:
    """Return the error of a plain form; anything else raises ``ValueError``."""
    cls = _SHARED.get(str(value.get("class"))) if isinstance(value, dict) else None
    if cls is None or not isinstance(text := value.get("text"), str):
        raise ValueError("the plain form of an error is of no class that is known")
    facts: dict[str, Any] = {name: value.get(name) for name in _facts_of(cls)}
    if not all(type(fact) in _KINDS[name] for name, fact in facts.items()):
        raise ValueError(f"the plain form of a {cls.__name__} lacks something")
    if "problems" in facts:
        facts["problems"] = tuple(map(str, facts["problems"]))
    if issubclass(cls, ProviderError):
        facts["attempts"] = 1
    # Its constructor would want other arguments than it keeps.
    error = cls.__new__(cls, text)
    error.args = (text[:_MOST_TEXT],)
    vars(error).update(facts)
    return error


def _facts_of(cls: type[StatusLookupError]) -> list[str]:
    return [name for base, names in _NEEDED.items() if issubclass(cls, base) for name in names]
