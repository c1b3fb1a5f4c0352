"""What travels between a provider and the sender: requests, responses, and the secret that is put in last."""

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NoReturn

from attrs import field, frozen

PLACEHOLDER = "***"
"""Stands in a request's path or ``Authorization`` header where the sender puts the secret."""

_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_MOST_SECONDS: Final = 1e12


class Secret:
    """A text that shows itself to nobody but to ``reveal()``.

    It is in no repr, it cannot be pickled, and no walk over attributes finds it.
    """

    __slots__ = ("reveal",)
    reveal: Callable[[], str]
    """Returns the text."""

    def __init__(self, text: str) -> None:
        # A method of the text, so that no walk over the attributes finds it, and no frame of a call shows it.
        self.reveal = text.__str__

    def __repr__(self) -> str:
        return f"Secret({PLACEHOLDER})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled; build the provider anew where it is needed")


@frozen
class Request:
    """One HTTP request to a provider: ``method``, ``path``, ``query``, ``authorization`` and ``content``.

    Where ``path`` or ``authorization`` says ``***``, the provider's secret is put in when it is sent.
    ``most_bytes`` is about the response, and does not count when requests are compared.
    """

    method: str
    """``GET`` or ``POST``."""
    path: str
    """The path below the provider's base URL, with a slash at its beginning."""
    query: str = ""
    """What comes after the question mark, percent-encoded; empty for none."""
    authorization: str | None = None
    """The ``Authorization`` header; ``None`` for none."""
    content: bytes | None = None
    """A JSON body; ``None`` for none."""
    most_bytes: int = field(default=16 * 1024 * 1024, repr=False, eq=False)
    """The largest body that the response may have, decompressed; a larger one is a ``DecodeError``."""


@frozen
class Response:
    """One HTTP response, read whole: ``status_code``, ``content`` and ``retry_after``.

    ``opened_connection`` and ``follows_success`` say how it came; they do not count when responses are
    compared.
    """

    status_code: int
    """The HTTP status, whatever it is."""
    content: bytes = field(default=b"", repr=False)
    """The body, decompressed; it is not in the repr."""
    retry_after: float | None = None
    """The seconds that the provider asks to wait; ``None`` if it does not say."""
    opened_connection: bool = field(default=False, repr=False, eq=False)
    """Whether a connection was opened for it; ``False`` if the transport does not say."""
    follows_success: bool = field(default=False, repr=False, eq=False)
    """Whether the same client had a success before it, so that its credentials were accepted."""

    @property
    def is_success(self) -> bool:
        """Whether the status is one of 200 to 299."""
        return 200 <= self.status_code < 300


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; ``now`` is UNIX time, for its dates.

    Servers send fractions, too, which the standard does not know.
    """
    header = (header or "").strip()
    if _SECONDS.fullmatch(header):
        return min(float(header), _MOST_SECONDS)
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - now)
