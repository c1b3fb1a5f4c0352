"""What a worker is given to do, and whose keys it announces."""

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import define, field

from .._model import KeyT
from .slot import FOLLOW_UP, Sent, Taken


class Owner(Protocol[KeyT]):
    """Whose keys the worker announces."""

    @property
    def is_needed(self) -> bool:
        """Whether the lease has to be renewed for what is under way."""
        ...

    @property
    def is_paused(self) -> bool:
        """Whether nothing new may be announced because a failure came shortly before."""
        ...

    def front(self) -> tuple[list[KeyT], list[KeyT]]:
        """Return the keys to announce: those of calls for one key, and the rest."""
        ...

    def wanted(self, keys: Iterable[KeyT]) -> Iterable[KeyT]:
        """Return those of the keys that are queued or under way here."""
        ...

    def text(self, key: KeyT) -> str:
        """Return the text that names the key in Redis."""
        ...

    def keys_of(self, texts: Iterable[str]) -> Iterable[KeyT]:
        """Return the keys that the texts name."""
        ...

    def note_idle(self) -> None:
        """Take note that nothing waits anywhere."""

    def note_overtaken(self) -> None:
        """Take note that another process has sent since."""


@define(eq=False)
class Report:
    """What one call tells: that a slot is free again, and what became of keys."""

    fence: int | None
    """Of the slot that is given back, if there is one."""
    sent: Sent | None
    """What the pacer made of the reply; ``None`` if nothing was sent."""
    made_at: float
    told: list[str] = field(factory=list)
    back: list[str] = field(factory=list)
    write: Callable[[], bytes] = bytes
    """Returns what all others hear; it is called once at most."""
    is_open: bool = True
    """Whether something may be added to it."""


@define(eq=False)
class Turn:
    """Somebody here who waits for the slot."""

    most: int
    taken: "asyncio.Future[Taken]"
    not_before: float = -math.inf
    """Until when it is known to have nothing to ask for."""

    @property
    def is_follow_up(self) -> bool:
        return self.most == FOLLOW_UP
