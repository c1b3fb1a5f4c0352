"""What Redis knows of the keys that wait here, and what it has to be told."""

from collections.abc import Callable, Iterable, Sequence

from attrs import field, frozen


@frozen
class Changes:
    """What to say of the keys that wait here."""

    first: list[str] = field(factory=list)
    bulk: list[str] = field(factory=list)
    gone: list[str] = field(factory=list)

    def __bool__(self) -> bool:
        return bool(self.first or self.bulk or self.gone)


class Announcements:
    """Remembers what was announced; after a call that failed, what Redis knows of it is in doubt."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        """The keys that were announced, and whether as first."""
        self._is_doubtful = False
        self._told: dict[str, None] = {}
        """Those that were told and may yet have been announced anew before that was heard."""

    def __bool__(self) -> bool:
        return bool(self._known)

    def changes(
        self, first: Sequence[str], bulk: Sequence[str], wanted: Callable[[Iterable[str]], Iterable[str]]
    ) -> Changes:
        """Return what to say so that ``first`` and ``bulk`` are known, and no more than is ``wanted``."""
        known = {} if self._is_doubtful else self._known
        more_first = [text for text in first if not known.get(text)]
        more_bulk = [text for text in bulk if text not in known]
        left = self._known.keys() - set(first) - set(bulk)
        gone = list(left.difference(wanted(left))) if left else []
        return Changes(more_first, more_bulk, gone + list(self._told))

    def all(self) -> list[str]:
        """Return all that Redis may know of."""
        return list({**self._known, **self._told})

    def said(self, changes: Changes) -> None:
        """Take note that Redis knows of the changes, and of all that was announced before."""
        self._is_doubtful = False
        for text in changes.gone:
            self._known.pop(text, None)
            self._told.pop(text, None)
        self._known |= dict.fromkeys(changes.bulk, False)
        self._known |= dict.fromkeys(changes.first, True)

    def told(self, texts: Iterable[str]) -> None:
        """Take note that the keys have left the queue, because their outcomes were told here."""
        for text in texts:
            self._known.pop(text, None)

    def heard(self, texts: Iterable[str]) -> None:
        """Take note that the keys had left the queue by the time when another process told their outcomes."""
        for text in texts:
            if self._known.pop(text, None) is not None:
                self._told[text] = None

    def doubt(self) -> None:
        """Take note that Redis may know less: all is to be said again."""
        self._is_doubtful = True

    def withdraw(self, texts: Iterable[str]) -> None:
        """Take note that Redis may know of keys that are not wanted any more."""
        for text in texts:
            self._known.setdefault(text, False)
        self._is_doubtful = True

    def forget(self) -> None:
        """Leave what was announced to the end of the lease."""
        self._known.clear()
        self._told.clear()
