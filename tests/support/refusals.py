"""Why functions refuse their arguments, as texts that a test can compare many of at once."""

from collections.abc import Callable, Iterable
from typing import Any


def refusal(function: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """Return the kind and the text of the misuse, as "ValueError: ..."; empty if nothing is refused."""
    try:
        function(*arguments, **options)
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def not_refused(function: Callable[..., object], values: Iterable[Any], text: str) -> list[tuple[Any, str]]:
    """Return those of the values that are taken, or refused with another text, and what is said of them."""
    return [(value, said) for value in values if not (said := refusal(function, value)).startswith(text)]


def not_refused_so(
    function: Callable[..., object], expected: Iterable[tuple[dict[str, Any], str]]
) -> list[tuple[dict[str, Any], str]]:
    """Return those of the options that are not refused with a text that begins as expected."""
    said = [(options, text, refusal(function, **options)) for options, text in expected]
    return [(options, found) for options, text, found in said if not (text and found.startswith(text))]
