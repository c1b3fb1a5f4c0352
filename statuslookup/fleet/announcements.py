"""What Redis knows of the keys that wait here, and what it has to be told."""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic

from attrs import field, frozen

from .._model import KeyT


@frozen
class Changes(Generic[KeyT]):
    """What to say of the keys that wait here."""

    first: list[KeyT] = field(factory=list)
    bulk: list[KeyT] = field(factory=list)
    gone: list[KeyT] = field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.first or self.bulk or self.gone)


class Announcements(Generic[KeyT]):
    """Remembers what was announced; after a call that failed, what Redis knows of it is in doubt."""

    def __init__(self) -> None:
        self._known: dict[KeyT, bool] = {}
        """The keys that were announced, and whether as first."""
        self._is_doubtful = False
        self._told: dict[KeyT, None] = {}
        """Those that were told and may yet have been announced anew before that was heard."""

    def __bool__(self) -> bool:
        return bool(self._known)

    def changes(
        self,
        first: Sequence[KeyT],
        bulk: Sequence[KeyT],
        wanted: Callable[[Iterable[KeyT]], Iterable[KeyT]],
        *,
        is_all: bool = True,
    ) -> Changes[KeyT]:
        """Return what to say so that ``first`` and ``bulk`` are known, and no more than is ``wanted``.

        If that ``is_all``, it ends the doubt; whoever says it, and fails, has to doubt anew.
        """
        known = {} if self._is_doubtful else self._known
        if is_all:
            # Now, because what is doubted while this is said is not among it.
            self._is_doubtful = False
        more_first = [key for key in first if not known.get(key)]
        more_bulk = [key for key in bulk if key not in known]
        left = self._known.keys() - set(first) - set(bulk)
        gone = list(left.difference(wanted(left))) if left else []
        return Changes(more_first, more_bulk, gone + list(self._told))

    def all(self) -> list[KeyT]:
        """Return all that Redis may know of."""
        return list({**self._known, **self._told})

    def said(self, changes: Changes[KeyT]) -> None:
        """Take note that Redis knows of the changes, and of all that was announced before."""
        for key in changes.gone:
            self._known.pop(key, None)
            self._told.pop(key, None)
        self._known |= dict.fromkeys(changes.bulk, False)
        self._known |= dict.fromkeys(changes.first, True)

    def told(self, keys: Iterable[KeyT]) -> None:
        """Take note that the keys have left the queue, because their outcomes were told here."""
        for key in keys:
            self._known.pop(key, None)

    def heard(self, keys: Iterable[KeyT]) -> None:
        """Take note that the keys had left the queue by the time when another process told their outcomes."""
        for key in keys:
            if self._known.pop(key, None) is not None:
                self._told[key] = None

    def doubt(self) -> None:
        """Take note that Redis may know less: all is to be said again."""
        self._is_doubtful = True

    def withdraw(self, keys: Iterable[KeyT]) -> None:
        """Take note that Redis may know of keys that are not wanted any more."""
        for key in keys:
            self._known.setdefault(key, False)
        self._is_doubtful = True

    def forget(self) -> None:
        """Leave what was announced to the end of the lease."""
        self._known.clear()
        self._told.clear()
