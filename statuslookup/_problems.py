"""What is said of problems, however many there are."""

from collections.abc import Sequence
from typing import Final

_MOST: Final = 10


def first_few(problems: Sequence[str], *, unread: int = 0) -> tuple[str, ...]:
    """Return the first ten problems, equal ones once, and a line that counts all others."""
    first = problems[:_MOST]
    more = len(problems) - len(first) + unread
    return (*dict.fromkeys(first), f"and {more:,} more") if more else tuple(dict.fromkeys(first))
